//! What a plugin subscribed to, compiled.
//!
//! Place: made of a registration by `load`; asked by `matcher` about requests that may match, without allocating.

use super::{
    bindings::exports::flowgate::plugin::lifecycle::{self, BodyMode, Framing},
    glob::{Case, Glob},
};
use crate::{flow::Direction, hooks::Probe};

/// Most rules of one plugin: which of them match a flow is kept in the bits of a `u64`.
const MAX_RULES: usize = 64;
/// Most patterns of one rule.
const MAX_PATTERNS: usize = 1000;
/// Most octets of one pattern.
const MAX_PATTERN: usize = 1024;
/// Most octets a rule may keep or hold of a body: what an instance of the usual memory could still take in.
const MAX_LIMIT: usize = 32 << 20;

/// All rules of one plugin, in their order.
#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

/// Which rules match a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Matched(u64);

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    hosts: Vec<Glob>,
    methods: Vec<Glob>,
    paths: Vec<Glob>,
    media_types: Vec<Glob>,
    pub(super) request: Body,
    pub(super) response: Body,
    /// Chunks are events where the content is made of such.
    pub(super) by_events: bool,
    /// Most octets of a body it may hold, whatever the mode says now.
    pub(super) limit: usize,
}

/// How a rule meets a body, and up to how many octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Body {
    Skip,
    Capture(usize),
    Chunks,
    Whole(usize),
}

impl Body {
    /// Most octets a plugin gets to see under this rule.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::Skip | Self::Chunks => 0,
            Self::Capture(limit) | Self::Whole(limit) => limit,
        }
    }
}

impl Rules {
    /// Compiles rules; `default_limit` stands for a limit of 0.
    ///
    /// # Errors
    /// Says which rule is at fault.
    pub(super) fn compile(rules: &[lifecycle::Rule], default_limit: usize) -> Result<Self, String> {
        if rules.len() > MAX_RULES {
            return Err(format!("{} rules are more than {MAX_RULES}", rules.len()));
        }
        let compiled =
            rules.iter().enumerate().map(|(at, rule)| Rule::compile(rule, default_limit).map_err(|why| format!("rule {}: {why}", at + 1)));
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a flow to that host may match.
    pub(super) fn want_host(&self, host: &str) -> bool {
        (0..self.0.len()).any(|at| self.holds_for_host(at, host))
    }

    /// Whether that rule may match flows to that host.
    pub(super) fn holds_for_host(&self, at: usize, host: &str) -> bool {
        any(&self.0[at].hosts, plain(host))
    }

    /// Whether that rule matches as far as can be told from the request.
    pub(super) fn holds(&self, at: usize, request: &Probe<'_>) -> bool {
        self.0[at].matches(request)
    }

    /// The patterns of hosts of each rule, in their order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (usize, &[Glob])> {
        self.0.iter().map(|rule| &*rule.hosts).enumerate()
    }

    /// Whether any rule asks for chunks.
    pub(super) fn ask_for_chunks(&self) -> bool {
        self.0.iter().any(|rule| [rule.request, rule.response].contains(&Body::Chunks))
    }

    /// All that do: what `matcher` finds by another way.
    #[cfg(test)]
    pub(super) fn matching(&self, request: &Probe<'_>) -> Matched {
        let mut matched = 0;
        for (at, rule) in self.0.iter().enumerate() {
            if rule.matches(request) {
                matched |= 1 << at;
            }
        }
        Matched(matched)
    }

    /// Those rules, in their order.
    pub(super) fn of(&self, matched: Matched) -> impl Iterator<Item = &Rule> {
        self.0.iter().enumerate().filter(move |(at, _)| matched.0 & (1 << at) != 0).map(|(_, rule)| rule)
    }

    /// The one that counts, now that the response's media type (lower case) is known; `None`: there was no response.
    pub(super) fn deciding(&self, matched: Matched, media_type: Option<&str>) -> Option<&Rule> {
        self.of(matched).find(|rule| match media_type {
            Some(media_type) => any(&rule.media_types, media_type.as_bytes()),
            None => rule.media_types.is_empty(),
        })
    }
}

impl Matched {
    /// One rule does.
    pub(super) fn only(rule: usize) -> Self {
        Self(1 << rule)
    }

    /// So does that rule.
    pub(super) fn add(&mut self, rule: usize) {
        self.0 |= 1 << rule;
    }

    /// No rule does.
    #[cfg(test)]
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl Rule {
    fn compile(rule: &lifecycle::Rule, default_limit: usize) -> Result<Self, String> {
        let limit = if rule.limit == 0 { default_limit } else { rule.limit as usize }.min(MAX_LIMIT);
        Ok(Self {
            hosts: globs(&rule.hosts, Case::Ignored)?,
            methods: globs(&rule.methods, Case::Counts)?,
            paths: globs(&rule.paths, Case::Counts)?,
            media_types: globs(&rule.content_types, Case::Ignored)?,
            request: body(rule.request_body, limit),
            response: body(rule.response_body, limit),
            by_events: rule.framing == Framing::SseEvents,
            limit,
        })
    }

    /// How it meets one of the two bodies.
    pub(super) fn body(&self, of: Direction) -> Body {
        match of {
            Direction::Request => self.request,
            Direction::Response => self.response,
        }
    }

    fn matches(&self, request: &Probe<'_>) -> bool {
        any(&self.hosts, plain(request.host)) && any(&self.methods, request.method.as_str().as_bytes()) && any(&self.paths, request.path)
    }
}

fn body(mode: BodyMode, limit: usize) -> Body {
    match mode {
        BodyMode::Skip => Body::Skip,
        BodyMode::Capture => Body::Capture(limit),
        BodyMode::Chunks => Body::Chunks,
        BodyMode::Whole => Body::Whole(limit),
    }
}

fn globs(patterns: &[String], case: Case) -> Result<Vec<Glob>, String> {
    if patterns.len() > MAX_PATTERNS {
        return Err(format!("{} patterns are more than {MAX_PATTERNS}", patterns.len()));
    }
    if let Some(long) = patterns.iter().find(|pattern| pattern.len() > MAX_PATTERN) {
        return Err(format!("a pattern of {} octets is longer than {MAX_PATTERN}", long.len()));
    }
    Ok(patterns.iter().map(|pattern| Glob::new(pattern, case)).collect())
}

/// An empty list always matches.
fn any(patterns: &[Glob], subject: &[u8]) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(subject))
}

/// Without the dot that marks a name as complete: it names the same host, and must not be a way around a rule.
pub(super) fn plain(host: &str) -> &[u8] {
    host.strip_suffix('.').unwrap_or(host).as_bytes()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn rule(hosts: &[&str], methods: &[&str], paths: &[&str], types: &[&str]) -> lifecycle::Rule {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        lifecycle::Rule {
            hosts: owned(hosts),
            methods: owned(methods),
            paths: owned(paths),
            content_types: owned(types),
            request_body: BodyMode::Capture,
            response_body: BodyMode::Skip,
            framing: lifecycle::Framing::AsReceived,
            limit: 0,
        }
    }

    fn matched(rules: &Rules, host: &str, method: &Method, path: &str) -> Vec<usize> {
        let matched = rules.matching(&Probe { host, method, path: path.as_bytes() });
        (0..rules.0.len()).filter(|at| matched.0 & (1 << at) != 0).collect()
    }

    #[test]
    fn all_conditions_must_hold() {
        let rules = [rule(&[], &[], &[], &[]), rule(&["*.test"], &["GET", "P*"], &["/a*"], &[])];
        let rules = Rules::compile(&rules, 10).expect("good rules");

        let table = [
            ("x.test", Method::GET, "/a", vec![0, 1]),
            ("X.TEST.", Method::POST, "/ab?c", vec![0, 1]),
            ("x.test", Method::DELETE, "/a", vec![0]),
            ("x.test", Method::GET, "/A", vec![0]),
            ("test", Method::GET, "/a", vec![0]),
        ];
        for (host, method, path, expected) in table {
            assert_eq!(matched(&rules, host, &method, path), expected, "{method} {host} {path}");
        }
    }

    #[test]
    fn media_types_decide_when_there_is_a_response() {
        let rules = [rule(&[], &[], &[], &["text/*"]), rule(&[], &[], &[], &["application/JSON"]), rule(&[], &["POST"], &[], &[])];
        let rules = Rules::compile(&rules, 10).expect("good rules");
        let at = |matched, media_type| {
            let deciding = rules.deciding(matched, media_type)?;
            rules.0.iter().position(|rule| std::ptr::eq(rule, deciding))
        };
        let get = rules.matching(&Probe { host: "a", method: &Method::GET, path: b"/" });
        let post = rules.matching(&Probe { host: "a", method: &Method::POST, path: b"/" });

        assert_eq!(at(get, Some("text/html")), Some(0));
        assert_eq!(at(get, Some("application/json")), Some(1));
        assert_eq!([at(get, Some("image/png")), at(get, None)], [None, None]);
        assert_eq!([at(post, Some("image/png")), at(post, None)], [Some(2), Some(2)]);
    }

    #[test]
    fn rules_out_of_bounds_are_refused() {
        let long = "x".repeat(MAX_PATTERN + 1);
        let table = [
            (vec![rule(&[], &[], &[], &[]); MAX_RULES + 1], "65 rules"),
            (vec![rule(&[], &[], &[], &[]), rule(&[&long], &[], &[], &[])], "rule 2"),
            (vec![rule(&["a"; MAX_PATTERNS + 1], &[], &[], &[])], "1001 patterns"),
        ];
        for (rules, reason) in table {
            let error = Rules::compile(&rules, 10).expect_err("refused");
            assert!(error.contains(reason), "{error}");
        }
    }
}
