//! What it does to bodies that pass.

use flowgate_guest::{ChunkAction, Direction, Flow, StreamFilter};

use crate::{Act, Chameleon, misbehave};

impl StreamFilter for Chameleon {
    fn on_body_start(&mut self, body_id: u32, flow: &Flow, of: Direction) -> bool {
        self.calls += 1;
        self.enter(format_args!("on-body-start {of:?} {}", flow.url()));
        let acts = self.config.on_body_start.clone();
        self.act(flow, of, &acts);
        if acts.decision() == Act::Decline {
            return false;
        }
        self.bodies.insert(body_id, 0);
        true
    }

    fn on_chunk(&mut self, body_id: u32, chunk: Vec<u8>) -> ChunkAction {
        self.calls += 1;
        let count = self.bodies.get_mut(&body_id).expect("a body that has begun");
        let at = std::mem::replace(count, *count + 1);
        self.enter(format_args!("on-chunk {at} {:?}", String::from_utf8_lossy(&chunk)));
        if self.config.at_chunk.is_none_or(|only| only == at) {
            let acts = self.config.on_chunk.clone();
            acts.iter().for_each(misbehave);
            match acts.decision() {
                Act::Drop => return ChunkAction::Replace(Vec::new()),
                Act::Finish => return ChunkAction::Finish(self.config.tail.clone().into_bytes()),
                Act::Flood => return ChunkAction::Replace(vec![b'x'; self.config.leak_bytes]),
                _ => {}
            }
        }
        let Some((word, other)) = &self.config.word else { return ChunkAction::Pass };
        match String::from_utf8(chunk) {
            Ok(text) if text.contains(word) => ChunkAction::Replace(text.replace(word, other).into_bytes()),
            _ => ChunkAction::Pass,
        }
    }

    fn on_body_end(&mut self, body_id: u32, broken: bool) -> Vec<u8> {
        self.calls += 1;
        let chunks = self.bodies.remove(&body_id).expect("a body that has begun");
        self.enter(format_args!("on-body-end chunks={chunks} broken={broken} others={}", self.bodies.len()));
        let acts = self.config.on_body_end.clone();
        acts.iter().for_each(misbehave);
        match acts.decision() {
            Act::Append => self.config.tail.clone().into_bytes(),
            Act::Flood => vec![b'x'; self.config.leak_bytes],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure, stream};

    use super::*;

    #[test]
    fn a_body_is_rewritten_as_configured() {
        let flow = Flow::from(Sample::new("GET", "https://a.test/").response(200));
        let table = [
            (r#"{}"#, "one two three"),
            (r#"{"word": ["two", "2"], "on_body_end": "append", "tail": "!"}"#, "one 2 three!"),
            (r#"{"on_chunk": "drop", "at_chunk": 1}"#, "one three"),
            (r#"{"on_chunk": "finish", "at_chunk": 1, "tail": "."}"#, "one ."),
            (r#"{"on_body_start": "decline", "word": ["two", "2"]}"#, "one two three"),
        ];
        for (config, expected) in table {
            let (mut chameleon, _) = configure::<Chameleon>(config).expect("the configuration is good");

            let out = stream(&mut chameleon, &flow, Direction::Response, &[b"one ", b"two ", b"three"]);

            assert_eq!(String::from_utf8_lossy(&out), expected, "{config}");
        }
    }
}
