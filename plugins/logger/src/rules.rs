//! Which flows are recorded, and in which folder.
//!
//! Place: read from the configuration once; tells the host what to subscribe to, and finds each flow's category again afterwards,
//! for the host does not say which rule matched.

use flowgate_guest::{Registration, Rule, text};
use memchr::memmem::Finder;
use serde::Deserialize;

/// Where Copilot answers, for the endpoints that other services have under the same paths.
const COPILOT_HOSTS: &[&str] = &["*.githubcopilot.com", "copilot-proxy.githubusercontent.com", "*.ghe.com"];

/// What may be configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// In place of the default table; the first rule that matches a flow names its folder.
    rules: Option<Vec<Category>>,
    /// In place of the hosts the default table knows for `/responses` and `/v1/messages`.
    copilot_hosts: Option<Vec<String>>,
}

/// All that is given must hold; of a list, any. Patterns are globs over the entire string.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    /// Folder of the records.
    category: String,
    /// Anywhere in the URL, in this case of letters.
    contains: Option<Word>,
    /// Against the host, in any case of letters.
    #[serde(default)]
    hosts: Vec<String>,
    /// Against path with query.
    #[serde(default)]
    paths: Vec<String>,
    /// Against the method.
    #[serde(default)]
    methods: Vec<String>,
    /// Only flows that became WebSockets.
    #[serde(default)]
    websocket: bool,
}

/// A text that is looked for in each URL, made ready for that once.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
struct Word {
    text: String,
    finder: Finder<'static>,
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self { finder: Finder::new(&text).into_owned(), text }
    }
}

impl Word {
    fn is_in(&self, url: &str) -> bool {
        self.finder.find(url.as_bytes()).is_some()
    }
}

/// Rules in order.
#[derive(Debug)]
pub(crate) struct Table(Vec<Category>);

impl Table {
    /// # Errors
    /// Says which key is wrong.
    pub(crate) fn new(config: Config) -> Result<Self, String> {
        let table = match config.rules {
            Some(_) if config.copilot_hosts.is_some() => {
                return Err("copilot_hosts belongs to the default rules: with rules of your own, write the hosts there".to_owned());
            }
            Some(rules) if rules.is_empty() => return Err("rules is empty: leave it out for the default rules".to_owned()),
            Some(rules) => rules,
            None => default_rules(config.copilot_hosts),
        };
        match table.iter().find(|rule| !is_folder(&rule.category)) {
            Some(rule) => Err(format!("category {:?} is no folder: use up to 64 letters, digits, - and _", rule.category)),
            None => Ok(Self(table)),
        }
    }

    /// The folder for a flow, if it is to be recorded.
    pub(crate) fn category(&self, url: &str, method: &str, is_websocket: bool) -> Option<&str> {
        self.0.iter().find(|rule| (is_websocket || !rule.websocket) && rule.matches(url, method)).map(|rule| rule.category.as_str())
    }

    /// Asks the host for every flow that some rule may match.
    pub(crate) fn subscribe(&self, registration: Registration) -> Registration {
        self.0.iter().flat_map(Category::subscriptions).fold(registration, Registration::rule)
    }
}

/// Telemetry first: it wins over completions.
fn default_rules(copilot_hosts: Option<Vec<String>>) -> Vec<Category> {
    let anywhere = |word: &str| Category { category: word.to_owned(), contains: Some(Word::from(word.to_owned())), ..Category::default() };
    let hosts = copilot_hosts.unwrap_or_else(|| COPILOT_HOSTS.iter().map(ToString::to_string).collect());
    let endpoint = |category: &str, path: &str| Category {
        category: category.to_owned(),
        contains: None,
        hosts: hosts.clone(),
        paths: vec![format!("*{path}"), format!("*{path}?*")],
        // What is asked for by GET under these paths is an earlier answer or a list, not a prompt.
        methods: vec!["POST".to_owned()],
        websocket: false,
    };
    // The newest way to the same endpoint; a WebSocket begins with a GET (RFC 6455 §4.1).
    let socket = Category { methods: vec!["GET".to_owned()], websocket: true, ..endpoint("responses", "/responses") };
    vec![anywhere("telemetry"), anywhere("completions"), endpoint("responses", "/responses"), socket, endpoint("messages", "/v1/messages")]
}

impl Category {
    fn matches(&self, url: &str, method: &str) -> bool {
        let any =
            |patterns: &[String], matches: &dyn Fn(&str) -> bool| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern));
        self.contains.as_ref().is_none_or(|word| word.is_in(url))
            && any(&self.methods, &|pattern| text::glob(pattern, method))
            && any(&self.hosts, &|pattern| text::glob_ignoring_case(pattern, text::host_of(url)))
            && any(&self.paths, &|pattern| text::glob(pattern, text::path_of(url)))
    }

    /// Rules for the host that let through at least what [`Self::matches`] takes, and as little else as rules can say.
    fn subscriptions(&self) -> Vec<Rule> {
        let base = || {
            let mut rule = Rule::any().capture();
            (rule.hosts, rule.paths, rule.methods) = (self.hosts.clone(), self.paths.clone(), self.methods.clone());
            rule
        };
        match &self.contains {
            Some(Word { text: word, .. }) if self.hosts.is_empty() && self.paths.is_empty() && lies_in_host_or_path(word) => {
                vec![base().host(&format!("*{word}*")), base().path(&format!("*{word}*"))]
            }
            _ => vec![base()],
        }
    }
}

/// Whether a word can only be found inside the host or inside the path, so that two globs say the same: it is no part of the scheme, holds
/// nothing that parts a URL, and is no number, which may be the port. `*` is no glob's to look for.
fn lies_in_host_or_path(word: &str) -> bool {
    let is_name = word.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'));
    is_name && !"https".contains(word) && !word.bytes().all(|octet| octet.is_ascii_digit())
}

fn is_folder(name: &str) -> bool {
    let is_safe = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(config: &str) -> Table {
        Table::new(serde_json::from_str(config).expect("the configuration is JSON of that shape")).expect("the configuration is good")
    }

    fn subscriptions(table: &Table) -> Vec<Rule> {
        table.subscribe(Registration::new("x", "0")).rules
    }

    /// What the host does with a rule.
    fn subscribed(rules: &[Rule], url: &str, method: &str) -> bool {
        rules.iter().any(|rule| {
            let any = |patterns: &[String], matches: &dyn Fn(&str) -> bool| patterns.is_empty() || patterns.iter().any(|one| matches(one));
            any(&rule.hosts, &|pattern| text::glob_ignoring_case(pattern, text::host_of(url)))
                && any(&rule.paths, &|pattern| text::glob(pattern, text::path_of(url)))
                && any(&rule.methods, &|pattern| text::glob(pattern, method))
        })
    }

    #[test]
    fn the_default_table() {
        let table = table("{}");
        let rules = subscriptions(&table);
        let cases = [
            // Anywhere in the URL, whatever the method; telemetry wins.
            ("GET", "https://telemetry.enterprise.githubcopilot.com/v1/engines/x/completions", Some("telemetry")),
            ("GET", "https://proxy.a.test/v1/completions?x=telemetry", Some("telemetry")),
            ("POST", "https://api.a.test/chat/completions", Some("completions")),
            ("GET", "https://api.a.test/search?q=completions", Some("completions")),
            ("GET", "http://api.a.test/xcompletionsy/z", Some("completions")),
            ("GET", "https://copilot-telemetry.githubusercontent.com/anything", Some("telemetry")),
            ("GET", "https://completions.a.test/x", Some("completions")),
            ("GET", "https://completions.a.test/telemetry", Some("telemetry")),
            ("GET", "https://proxy.a.test/a/telemetry.gif?completions", Some("telemetry")),
            // Letter case counts, and what is escaped is not the word.
            ("POST", "https://api.a.test/Completions", None),
            ("POST", "https://api.a.test/complet%69ons", None),
            ("POST", "https://api.a.test/models", None),
            // Newer endpoints: posted to, of Copilot only.
            ("POST", "https://api.enterprise.githubcopilot.com/responses", Some("responses")),
            ("POST", "https://api.githubcopilot.com/v1/responses?x=1", Some("responses")),
            ("POST", "https://copilot-api.corp.ghe.com/v1/messages?beta=true", Some("messages")),
            ("POST", "https://API.GithubCopilot.com/v1/messages", Some("messages")),
            ("GET", "https://api.githubcopilot.com/v1/messages", None),
            ("GET", "https://api.githubcopilot.com/responses", None),
            ("POST", "https://api.githubcopilot.com/responses/x", None),
            ("POST", "https://api.anthropic.com/v1/messages", None),
            ("POST", "https://githubcopilot.com.evil.test/responses", None),
        ];
        for (method, url, category) in cases {
            assert_eq!(table.category(url, method, false), category, "{method} {url}");
            assert!(category.is_none() || subscribed(&rules, url, method), "the host is not asked for {method} {url}");
        }
        let sockets = [
            ("https://api.githubcopilot.com/responses", Some("responses")),
            ("https://api.githubcopilot.com/v1/responses?x=1", Some("responses")),
            ("https://api.githubcopilot.com/v1/messages", None),
            ("https://api.openai.com/v1/responses", None),
            ("https://api.a.test/completions", Some("completions")),
        ];
        for (url, category) in sockets {
            assert_eq!(table.category(url, "GET", true), category, "{url}");
            assert!(category.is_none() || subscribed(&rules, url, "GET"), "the host is not asked for {url}");
        }
        assert!(!subscribed(&rules, "https://api.a.test/models", "GET"), "flows of no category stay out of WebAssembly");
    }

    #[test]
    fn a_table_of_ones_own_takes_its_place() {
        let table = table(
            r#"{"rules": [
                {"category": "chat", "hosts": ["*.a.test"], "paths": ["/chat/*"], "methods": ["POST", "PUT"]},
                {"category": "rest", "contains": "a.test/x"}
            ]}"#,
        );
        let rules = subscriptions(&table);
        let cases = [
            ("PUT", "https://w.a.test/chat/completions", Some("chat")),
            ("GET", "https://w.a.test/chat/completions", None),
            ("GET", "https://w.a.test/x", Some("rest")),
            ("GET", "https://b.test/completions", None),
        ];
        for (method, url, category) in cases {
            assert_eq!(table.category(url, method, false), category, "{method} {url}");
            assert!(category.is_none() || subscribed(&rules, url, method), "the host is not asked for {method} {url}");
        }
    }

    #[test]
    fn a_word_that_may_straddle_the_parts_of_a_url_is_looked_for_everywhere() {
        for word in ["http", "8443", "a.test/x", "a b", "x*"] {
            let config = serde_json::json!({"rules": [{"category": "c", "contains": word}]});
            let rules = subscriptions(&table(&config.to_string()));

            assert!(subscribed(&rules, "https://any.test/", "GET"), "{word}");
        }
    }

    #[test]
    fn bad_tables_are_refused_in_words() {
        let table = [
            (r#"{"rules": []}"#, "rules is empty"),
            (r#"{"rules": [{"category": "../x"}]}"#, "\"../x\""),
            (r#"{"rules": [{"category": ""}]}"#, "\"\""),
            (r#"{"rules": [{"category": "c"}], "copilot_hosts": []}"#, "copilot_hosts"),
        ];
        for (config, names) in table {
            let config = serde_json::from_str(config).expect("the shape is right");
            assert!(Table::new(config).is_err_and(|error| error.contains(names)), "{names}");
        }
        for (config, names) in [(r#"{"rule": []}"#, "`rule`"), (r#"{"rules": [{"category": "c", "host": []}]}"#, "`host`")] {
            assert!(serde_json::from_str::<Config>(config).is_err_and(|error| error.to_string().contains(names)), "{names}");
        }
    }
}
