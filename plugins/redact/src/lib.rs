//! Takes configured fields out of requests and refuses configured hosts.
//!
//! Place: an example of a request filter; see `docs/plugins.md`. Configuration: `{"remove": ["x-secret"], "refuse": ["*.example.test"]}`.

use flowgate_guest::{Direction, Flow, LocalResponse, Plugin, Registration, RequestAction, RequestFilter, Rule, log, text};
use serde::Deserialize;

/// What is removed and what is refused. Without either, no flow is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Names of request fields, in any case of letters.
    remove: Vec<String>,
    /// Globs over the host a request is for, in any case of letters.
    refuse: Vec<String>,
}

/// The filter.
#[derive(Debug)]
pub struct Redact {
    config: Config,
}

impl Plugin for Redact {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        if let Some(name) = config.remove.iter().find(|name| !is_token(name)) {
            return Err(format!("remove: {name:?} is not the name of a field"));
        }
        let registration =
            Registration::new("redact", env!("CARGO_PKG_VERSION")).description("Removes fields from requests and refuses hosts.");
        // A field can be in any request; hosts to refuse are no business of other flows.
        let registration = match config.remove.is_empty() {
            false => registration.rule(Rule::any()),
            true if config.refuse.is_empty() => registration,
            true => registration.rule(config.refuse.iter().fold(Rule::any(), |rule, pattern| rule.host(pattern))),
        };
        Ok((Self { config }, registration))
    }
}

impl RequestFilter for Redact {
    fn on_request(&mut self, flow: &Flow, _body_held: bool) -> RequestAction {
        if !self.config.refuse.is_empty() {
            let host = flow.host();
            if self.config.refuse.iter().any(|pattern| text::glob_ignoring_case(pattern, &host)) {
                return RequestAction::Answer(LocalResponse::text(403, "refused by the redact plugin\n"));
            }
        }
        for name in &self.config.remove {
            if let Err(why) = flow.remove_header(Direction::Request, name) {
                log::warn(format_args!("{name} stays: {why}"));
            }
        }
        RequestAction::Proceed
    }
}

flowgate_guest::export!(Redact: request_filter);

/// What a field name is made of (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure};

    use super::*;

    fn redact(config: &str) -> (Redact, Registration) {
        configure(config).expect("the configuration is good")
    }

    #[test]
    fn named_fields_go_and_others_stay() {
        let (mut redact, _) = redact(r#"{"remove": ["x-secret"]}"#);
        let flow: Flow = Sample::new("GET", "https://a.test/")
            .request_header("X-Secret", "1")
            .request_header("a", "2")
            .request_header("x-SECRET", "3")
            .into();

        assert_eq!(redact.on_request(&flow, false), RequestAction::Proceed);

        let left: Vec<String> = flow.request().headers.into_iter().map(|header| header.name).collect();
        assert_eq!(left, ["a"]);
    }

    #[test]
    fn refused_hosts_are_answered_whatever_the_host_field_says() {
        let (mut redact, _) = redact(r#"{"refuse": ["*.example.test"]}"#);
        for (url, refused) in
            [("https://a.Example.test:8443/", true), ("https://example.test/", false), ("https://a.test/x.example.test", false)]
        {
            let flow: Flow = Sample::new("GET", url).request_header("host", "harmless.test").into();

            let answer = redact.on_request(&flow, false);

            assert_eq!(matches!(answer, RequestAction::Answer(LocalResponse { status: 403, .. })), refused, "{url}");
        }
    }

    #[test]
    fn only_what_is_configured_is_subscribed_to() {
        let hosts = |config| redact(config).1.rules.into_iter().map(|rule| rule.hosts).collect::<Vec<_>>();

        assert!(hosts("{}").is_empty());
        assert_eq!(hosts(r#"{"refuse": ["a.test", "b.test"]}"#), [["a.test", "b.test"]]);
        assert_eq!(hosts(r#"{"refuse": ["a.test"], "remove": ["x"]}"#), [Vec::<String>::new()]);
    }

    #[test]
    fn bad_configuration_names_what_is_wrong() {
        for (config, names) in
            [(r#"{"delete": []}"#, "`delete`"), (r#"{"remove": "x"}"#, "expected a sequence"), (r#"{"remove": ["a b"]}"#, "\"a b\"")]
        {
            let error = configure::<Redact>(config).expect_err("the configuration is bad");
            assert!(error.contains(names), "{error}");
        }
    }
}
