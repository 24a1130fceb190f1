//! Labels requests, and refuses some.

use flowgate_guest::{Direction, Flow, LocalResponse, Plugin, Registration, RequestAction, RequestFilter, Rule, log};

/// The plugin's table in the proxy's configuration.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the field `x-label` says.
    label: String,
    /// Requests to paths that begin so are refused; empty: none.
    refuse: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { label: "reviewed".into(), refuse: "/upload".into() }
    }
}

/// The plugin.
pub struct Label(Config);

impl Plugin for Label {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let registration =
            Registration::new("{{name}}", env!("CARGO_PKG_VERSION")).description("Labels requests, and refuses some.").rule(Rule::any());
        Ok((Self(config), registration))
    }
}

impl RequestFilter for Label {
    fn on_request(&mut self, flow: &Flow, _body_held: bool) -> RequestAction {
        let Config { label, refuse } = &self.0;
        if !refuse.is_empty() && flow.request().path.starts_with(refuse) {
            return RequestAction::Answer(LocalResponse::text(403, "refused by {{name}}\n"));
        }
        if let Err(why) = flow.set_header(Direction::Request, "x-label", label) {
            log::warn(format_args!("a request has no label: {why}"));
        }
        RequestAction::Proceed
    }
}

flowgate_guest::export!(Label: request_filter);

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure};

    use super::*;

    #[test]
    fn requests_are_labelled_or_refused() {
        let (mut plugin, _) = configure::<Label>("{}").unwrap();
        let flow = |path: &str| Flow::from(Sample::new("GET", &format!("https://api.example.com{path}")));

        let models = flow("/v1/models");
        assert_eq!(plugin.on_request(&models, false), RequestAction::Proceed);
        assert_eq!(models.header_text(Direction::Request, "x-label").as_deref(), Some("reviewed"));
        assert!(matches!(plugin.on_request(&flow("/upload/a"), false), RequestAction::Answer(LocalResponse { status: 403, .. })));
    }
}
