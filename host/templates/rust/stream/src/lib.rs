//! Replaces a word in answers while they pass.

use flowgate_guest::{BodyMode, ChunkAction, Framing, Plugin, Registration, Rule, StreamFilter};

/// The plugin's table in the proxy's configuration.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    from: String,
    to: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { from: "secret".into(), to: "public".into() }
    }
}

/// The plugin.
pub struct Words(Config);

impl Plugin for Words {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        if config.from.is_empty() {
            return Err("from: there must be a word to replace".into());
        }
        let rule = Rule::any().content_type("text/event-stream").response_body(BodyMode::Chunks).framing(Framing::SseEvents);
        let registration =
            Registration::new("{{name}}", env!("CARGO_PKG_VERSION")).description("Replaces a word in events.").rule(rule);
        Ok((Self(config), registration))
    }
}

impl StreamFilter for Words {
    fn on_chunk(&mut self, _body_id: u32, chunk: Vec<u8>) -> ChunkAction {
        let text = String::from_utf8_lossy(&chunk);
        match text.contains(&self.0.from) {
            true => ChunkAction::Replace(text.replace(&self.0.from, &self.0.to).into_bytes()),
            false => ChunkAction::Pass,
        }
    }
}

flowgate_guest::export!(Words: stream_filter);

#[cfg(test)]
mod tests {
    use flowgate_guest::{
        Direction, Flow,
        testing::{Sample, configure, stream},
    };

    use super::*;

    #[test]
    fn the_word_is_replaced_in_every_event() {
        let (mut plugin, _) = configure::<Words>("{}").unwrap();
        let flow: Flow = Sample::new("POST", "https://api.example.com/").response(200).into();

        let out = stream(&mut plugin, &flow, Direction::Response, &[b"data: a secret\n\n", b"data: more\n\n"]);

        assert_eq!(out, b"data: a public\n\ndata: more\n\n");
    }
}
