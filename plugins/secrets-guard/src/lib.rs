//! Refuses prompts that hold what looks like a credential, before they leave the house.
//!
//! Place: a filter of requests and of WebSocket messages from clients. What is looked for is in `patterns`; configuration and answers are described in
//! this folder's README. What was found is never written anywhere, only what it is called.

mod patterns;
mod readings;
mod texts;

use std::collections::BTreeMap;

use flowgate_guest::{
    BodyInfo, BodyMode, Direction, Flow, LocalResponse, Message, MessageAction, MessageFilter, Plugin, Registration, RequestAction,
    RequestFilter, Rule, chat, log, text,
};
use patterns::Patterns;
use serde::Deserialize;
use serde_json::json;

/// Clients show what an origin says is wrong with a request under this status, and do not send it again by themselves.
const STATUS: u16 = 400;
/// A WebSocket closed for what was said over it (RFC 6455 §7.4.1).
const POLICY: u16 = 1008;
/// Bits per octet from which an assigned value is taken for a secret, unless configured otherwise: words have less, keys in base64 or
/// hexadecimal with some letters have more.
const LEAST_ENTROPY: f64 = 3.5;

/// What lies below the interfaces of models carries prompts, too (to have their tokens counted, or many at once), as do the interfaces with a `/` at the end.
const BELOW: &[&str] = &["*/completions/*", "*/responses/*", "*/v1/messages/*"];

/// What may be configured.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whose requests are looked at; globs. Default: the hosts that are known to answer prompts.
    hosts: Vec<String>,
    /// Which requests; globs over path with query. Default: the interfaces of models, and what lies below them.
    paths: Vec<String>,
    /// More patterns, by name; one of a known name takes its place.
    patterns: BTreeMap<String, String>,
    /// Names of known patterns that are not looked for.
    without: Vec<String>,
    /// Values like random ones are refused where a name like `password` is assigned them.
    assignments: bool,
    /// Bits per octet that such a value must have.
    entropy: f64,
    /// Texts that are no secrets though they look like it: the beginnings of what is let be.
    ignore: Vec<String>,
    /// Users who may send what they like; globs.
    allow_users: Vec<String>,
    /// Hosts that may get what they like; globs.
    allow_hosts: Vec<String>,
    /// Whether requests are refused, or only noted.
    refuse: bool,
    /// Most octets of a request that are held for being looked at; 0: what the proxy holds anyway.
    limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Self {
            hosts: owned(chat::HOSTS),
            paths: owned(&[chat::PATHS, BELOW].concat()),
            patterns: BTreeMap::new(),
            without: Vec::new(),
            assignments: false,
            entropy: LEAST_ENTROPY,
            ignore: Vec::new(),
            allow_users: Vec::new(),
            allow_hosts: Vec::new(),
            refuse: true,
            limit: 0,
        }
    }
}

/// The filter.
#[derive(Debug)]
pub struct SecretsGuard {
    patterns: Patterns,
    allow_users: Vec<String>,
    allow_hosts: Vec<String>,
    refuse: bool,
}

impl Plugin for SecretsGuard {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let rule = chat::rule(Rule::any().request_body(BodyMode::Whole).limit(config.limit), &config.hosts, &config.paths)?;
        if let Some(at) = config.ignore.iter().position(|text| text.len() < 8) {
            return Err(format!("ignore[{at}]: a text of fewer than 8 octets would excuse too much"));
        }
        let least_entropy = config.assignments.then_some(config.entropy);
        let patterns = Patterns::new(&config.patterns, &config.without, least_entropy, config.ignore)?;
        let registration =
            Registration::new("secrets-guard", env!("CARGO_PKG_VERSION")).description("Refuses prompts that hold credentials.").rule(rule);
        Ok((Self { patterns, allow_users: config.allow_users, allow_hosts: config.allow_hosts, refuse: config.refuse }, registration))
    }
}

impl RequestFilter for SecretsGuard {
    fn on_request(&mut self, flow: &Flow, body_held: bool) -> RequestAction {
        if !body_held || self.is_allowed(flow) {
            return RequestAction::Proceed;
        }
        let body = flow.body(Direction::Request);
        let objection = self.judge(flow, &body).or_else(|| self.doubt(flow, flow.body_info(Direction::Request)));
        match objection {
            Some(objection) => {
                // Observers hear of refused requests, too: what they keep is what stands here.
                if let Err(why) = flow.set_body(Direction::Request, objection.left_out()) {
                    log::error(format_args!("what was refused is recorded as it came: {why}"));
                }
                RequestAction::Answer(objection.refusal())
            }
            None => RequestAction::Proceed,
        }
    }
}

impl MessageFilter for SecretsGuard {
    fn on_message(&mut self, flow: &Flow, of: Direction, message: Message) -> MessageAction {
        if of == Direction::Response || self.is_allowed(flow) {
            return MessageAction::Pass;
        }
        let said = match message {
            Message::Text(said) => said.into_bytes(),
            Message::Binary(said) => said,
        };
        self.judge(flow, &said).map_or(MessageAction::Pass, |_| MessageAction::Close(POLICY))
    }
}

impl SecretsGuard {
    fn is_allowed(&self, flow: &Flow) -> bool {
        let hosts = !self.allow_hosts.is_empty() && {
            let host = flow.host();
            self.allow_hosts.iter().any(|pattern| text::glob_ignoring_case(pattern, &host))
        };
        let by_user = |user: String| self.allow_users.iter().any(|pattern| text::glob(pattern, &user));
        hosts || (!self.allow_users.is_empty() && flow.principal().is_some_and(by_user))
    }

    /// Credentials that were found and are to be refused.
    fn judge(&self, flow: &Flow, content: &[u8]) -> Option<Objection> {
        let found = self.found(content);
        if found.is_empty() {
            return None;
        }
        let found = found.join(", ");
        self.note(flow, format_args!("holds {found}"));
        flow.set_tag("secrets-guard.found", &found);
        self.refuse.then_some(Objection::Credential(found))
    }

    /// Why a body could hold some that could not be found, where that is to be refused.
    fn doubt(&self, flow: &Flow, info: BodyInfo) -> Option<Objection> {
        let why = match info {
            BodyInfo { wire_length: 0, .. } => return None,
            BodyInfo { decoded: false, .. } => "its content coding cannot be undone",
            BodyInfo { truncated: true, .. } => "it is larger than what can be held of it, or its content coding breaks off",
            _ => return None,
        };
        self.note(flow, format_args!("cannot be looked at: {why}"));
        flow.set_tag("secrets-guard.unseen", why);
        self.refuse.then_some(Objection::Unseen(why))
    }

    fn note(&self, flow: &Flow, what: std::fmt::Arguments<'_>) {
        let user = flow.principal().unwrap_or_else(|| "somebody".to_owned());
        let verb = if self.refuse { "refused" } else { "let pass" };
        log::warn(format_args!("{verb}: what {user} sends to {} {what}", flow.host()));
    }

    /// What credentials there are, by their patterns' names, however the content is read.
    fn found(&self, content: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        let mut look = |text: &str| {
            self.patterns.find(text, &mut found);
            if let Some(text) = readings::unescaped(text) {
                self.patterns.find(&text, &mut found);
            }
        };
        if texts::each(content, &mut look).is_err() {
            look(&String::from_utf8_lossy(content));
            readings::decoded(content).iter().for_each(|text| look(text));
        }
        found
    }
}

/// Why something is refused.
enum Objection {
    /// It holds these.
    Credential(String),
    /// It could not be looked at, for this reason.
    Unseen(&'static str),
}

impl Objection {
    /// What stands in records in a refused request's place. Other credentials could be in it that no pattern knows, so nothing of it is left.
    fn left_out(&self) -> String {
        let why = match self {
            Self::Credential(found) => format!("it held what looks like a credential ({found})"),
            Self::Unseen(why) => format!("it could not be looked at: {why}"),
        };
        json!({"left_out": format!("secrets-guard refused this request: {why}")}).to_string()
    }

    /// Reads as an error of either kind of interface, and says what to do.
    fn refusal(&self) -> LocalResponse {
        let (code, message) = match self {
            Self::Credential(found) => (
                "credential_in_prompt",
                format!(
                    "This was not sent: it holds what looks like a credential ({found}). Take it out of the message, of the attached files and \
                     of the conversation so far, then send it again. If it was real and has been elsewhere, replace it."
                ),
            ),
            Self::Unseen(why) => (
                "prompt_not_readable",
                format!(
                    "This was not sent: it could not be looked through for credentials, because {why}. Send less, or without a coding."
                ),
            ),
        };
        let error = json!({"type": "invalid_request_error", "code": code, "param": null, "message": message});
        let body = json!({"type": "error", "error": error}).to_string();
        let json = flowgate_guest::Header::new("content-type", "application/json");
        LocalResponse { status: STATUS, headers: vec![json], body: body.into_bytes() }
    }
}

flowgate_guest::export!(SecretsGuard: request_filter, message_filter);

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure, take_lines};
    use serde_json::Value;

    use super::*;

    fn guard(config: Value) -> SecretsGuard {
        configure::<SecretsGuard>(&config.to_string()).expect("the configuration is good").0
    }

    fn token() -> String {
        format!("ghp_{}", "a1B2".repeat(9))
    }

    fn prompt(text: &str) -> Flow {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]});
        Sample::new("POST", "https://api.githubcopilot.com/chat/completions").user("ana").request_body(body.to_string()).into()
    }

    #[test]
    fn a_prompt_with_a_credential_is_refused_in_words_and_not_repeated() {
        let flow = prompt(&format!("why does this fail?\nexport TOKEN={}", token()));

        let RequestAction::Answer(answer) = guard(json!({})).on_request(&flow, true) else { panic!("it proceeds") };

        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["type"], &body["error"]["code"]), (400, &json!("error"), &json!("credential_in_prompt")));
        let said = body["error"]["message"].as_str().unwrap();
        assert!(said.contains("github-token") && said.contains("Take it out"), "{said}");
        let lines = take_lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].1.contains("ana") && lines[0].1.contains("api.githubcopilot.com"), "{lines:?}");
        let everything = format!("{body}{lines:?}{:?}", flow.tag("secrets-guard.found"));
        assert!(!everything.contains(&token()[4..12]), "{everything}");
        let kept = flow.content(Direction::Request).json::<Value>().unwrap();
        assert_eq!(kept, json!({"left_out": "secrets-guard refused this request: it held what looks like a credential (github-token)"}));
    }

    #[test]
    fn everything_else_proceeds_unchanged() {
        let mut guard = guard(json!({}));
        for flow in [prompt("how do I make a ghp_ token?"), Sample::new("GET", "https://api.openai.com/v1/responses").into()] {
            assert_eq!(guard.on_request(&flow, true), RequestAction::Proceed);
        }
        assert_eq!(guard.on_request(&prompt(&token()), false), RequestAction::Proceed, "its body is not there");
        assert!(take_lines().is_empty());
    }

    #[test]
    fn what_is_no_json_is_looked_at_as_text() {
        for body in [token(), format!("{{\"prompt\": \"{}", token()), format!("name=x&key={}&y", token())] {
            let flow: Flow = Sample::new("POST", "https://api.openai.com/v1/completions").request_body(&body).into();
            assert!(matches!(guard(json!({})).on_request(&flow, true), RequestAction::Answer(_)), "{body}");
        }
    }

    #[test]
    fn a_credential_at_the_beginning_of_a_line_is_found_where_json_is_broken() {
        let (token, deep) = (token(), "[".repeat(130) + &"]".repeat(130));
        for body in [
            format!(r#"{{"prompt": "cut emoji \ud83d and\n{token}\n"}}"#),
            format!(r#"{{"a": {deep}, "prompt": "x\n{token}"}}"#),
            format!("{{\"prompt\": \"x\"}}\n{{\"prompt\": \"x\\n{token}\"}}\n"),
            json!({"arguments": json!({"content": format!("x\n{token}")}).to_string()}).to_string(),
        ] {
            let flow: Flow = Sample::new("POST", "https://api.openai.com/v1/completions").request_body(&body).into();
            assert!(matches!(guard(json!({})).on_request(&flow, true), RequestAction::Answer(_)), "{body}");
        }
    }

    #[test]
    fn other_encodings_are_read() {
        let text = json!({"prompt": format!("乡{}", token())}).to_string();
        let body: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let flow: Flow = Sample::new("POST", "https://api.openai.com/v1/completions").request_body(body).into();
        assert!(matches!(guard(json!({})).on_request(&flow, true), RequestAction::Answer(_)));
    }

    #[test]
    fn what_cannot_be_looked_at_does_not_pass() {
        let sample = || Sample::new("POST", "https://api.openai.com/v1/completions").user("ana").request_body("{}");
        for (sample, says) in [(sample().truncated(Direction::Request, 9), "larger"), (sample().still_coded(Direction::Request), "coding")]
        {
            let flow: Flow = sample.clone().into();

            let RequestAction::Answer(answer) = guard(json!({})).on_request(&flow, true) else { panic!("{says}: it proceeds") };

            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, &body["error"]["code"]), (400, &json!("prompt_not_readable")));
            assert!(body["error"]["message"].as_str().unwrap().contains(says), "{body}");
            assert!(
                flow.content(Direction::Request).text().contains("could not be looked at") && flow.tag("secrets-guard.unseen").is_some()
            );
            assert_eq!(take_lines().len(), 1);
            let flow: Flow = sample.clone().into();
            assert_eq!(guard(json!({"refuse": false})).on_request(&flow, true), RequestAction::Proceed);
            assert!(take_lines()[0].1.contains("let pass") && flow.content(Direction::Request).text() == "{}");
            assert_eq!(guard(json!({"allow_users": ["ana"]})).on_request(&sample.into(), true), RequestAction::Proceed);
        }
        let empty = Sample::new("GET", "https://api.openai.com/v1/responses/x").still_coded(Direction::Request);
        assert_eq!(guard(json!({})).on_request(&empty.into(), true), RequestAction::Proceed);
    }

    #[test]
    fn interfaces_and_what_lies_below_them_are_looked_at() {
        let paths = Config::default().paths;
        for path in
            ["/chat/completions", "/chat/completions/", "/chat/completions/?a", "/v1/responses//", "/v1/messages/count_tokens", "/agents/x"]
        {
            assert!(paths.iter().any(|pattern| text::glob(pattern, path)), "{path}");
        }
        assert!(!paths.iter().any(|pattern| text::glob(pattern, "/v1/models")));
    }

    #[test]
    fn users_hosts_and_texts_are_excused_and_noting_alone_is_possible() {
        let leak = token();
        for (config, lines) in [
            (json!({"allow_users": ["an*"]}), 0),
            (json!({"allow_hosts": ["*.GITHUBCOPILOT.com"]}), 0),
            (json!({"ignore": [leak]}), 0),
            (json!({"without": ["github-token"]}), 0),
            (json!({"refuse": false}), 1),
        ] {
            let mut guard = guard(config.clone());

            assert_eq!(guard.on_request(&prompt(&leak), true), RequestAction::Proceed, "{config}");
            assert_eq!(guard.on_message(&prompt(""), Direction::Request, Message::Text(leak.clone())), MessageAction::Pass, "{config}");
            assert_eq!(take_lines().len(), 2 * lines, "{config}");
            let flow = prompt(&leak);
            guard.on_request(&flow, true);
            assert!(flow.content(Direction::Request).text().contains(&leak), "what goes on goes on as it came");
            take_lines();
        }
        let mut guard = guard(json!({"allow_users": ["bob"], "allow_hosts": ["*.example.test"]}));
        assert!(matches!(guard.on_request(&prompt(&leak), true), RequestAction::Answer(_)));
    }

    #[test]
    fn a_websocket_is_closed_over_what_a_client_says_and_not_over_what_it_hears() {
        let mut guard = guard(json!({}));
        let flow: Flow = Sample::new("GET", "https://api.githubcopilot.com/responses").response(101).into();
        let said = json!({"type": "response.create", "input": format!("x\n{}", token())}).to_string();

        assert_eq!(guard.on_message(&flow, Direction::Request, Message::Text(said.clone())), MessageAction::Close(1008));
        assert_eq!(guard.on_message(&flow, Direction::Response, Message::Text(said.clone())), MessageAction::Pass);
        assert_eq!(guard.on_message(&flow, Direction::Request, Message::Binary(said.into_bytes())), MessageAction::Close(1008));
        assert_eq!(guard.on_message(&flow, Direction::Request, Message::Binary(vec![0xff, 0, 7])), MessageAction::Pass);
        assert_eq!(guard.on_message(&flow, Direction::Request, Message::Text("{}".into())), MessageAction::Pass);
    }

    #[test]
    fn bad_configuration_names_what_is_wrong() {
        for (config, names) in [
            (json!({"host": []}), "`host`"),
            (json!({"hosts": []}), "hosts is empty"),
            (json!({"ignore": ["a"]}), "ignore[0]"),
            (json!({"patterns": {"acme": "("}}), "patterns.acme"),
            (json!({"without": ["nothing"]}), "\"nothing\""),
        ] {
            let error = configure::<SecretsGuard>(&config.to_string()).expect_err("the configuration is bad");
            assert!(error.contains(names), "{error}");
        }
    }
}
