//! Patterns in rules that nothing can match: what authors of plugins write by mistake, and would only learn of by what does not happen.
//!
//! Place: asked by `load`, which says it, and by `examine`. A rule like that is no reason to refuse a plugin: others of it may match.

use super::bindings::exports::flowgate::plugin::lifecycle::Rule;

/// A sentence for each pattern that matches nothing, with what it should be.
pub(super) fn doubts(rules: &[Rule]) -> Vec<String> {
    let mut doubts = Vec::new();
    for (rule, number) in rules.iter().zip(1..) {
        let lists = [
            ("host", &rule.hosts, is_host as fn(&str) -> bool, "a host is a name or an address, without scheme, port and path"),
            ("method", &rule.methods, is_method, "methods are written in capitals"),
            ("path", &rule.paths, is_path, "a path begins with /"),
            ("content type", &rule.content_types, is_media_type, "a content type is written type/subtype, without parameters"),
        ];
        for (what, patterns, is_one, mend) in lists {
            for pattern in patterns.iter().filter(|pattern| !is_one(pattern)) {
                doubts.push(format!("rule {number}: the {what} {pattern:?} matches nothing: {mend}"));
            }
        }
    }
    doubts
}

/// `*`, names, and addresses of both kinds, which have no one colon alone.
fn is_host(pattern: &str) -> bool {
    let is_letter = |sign: char| sign.is_ascii_alphanumeric() || "*-._:[]".contains(sign);
    !pattern.is_empty() && pattern.chars().all(is_letter) && (pattern.matches(':').count() != 1 || pattern.contains('*'))
}

fn is_method(pattern: &str) -> bool {
    !pattern.is_empty() && !pattern.chars().any(|sign| sign.is_ascii_lowercase() || sign.is_whitespace())
}

fn is_path(pattern: &str) -> bool {
    pattern.starts_with(['/', '*'])
}

fn is_media_type(pattern: &str) -> bool {
    !pattern.contains([';', ' ']) && (pattern.contains('/') || pattern.contains('*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::bindings::exports::flowgate::plugin::lifecycle::{BodyMode, Framing};

    fn of(hosts: &[&str], methods: &[&str], paths: &[&str], types: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let rule = Rule {
            hosts: owned(hosts),
            methods: owned(methods),
            paths: owned(paths),
            content_types: owned(types),
            request_body: BodyMode::Skip,
            response_body: BodyMode::Skip,
            framing: Framing::AsReceived,
            limit: 0,
        };
        doubts(&[rule])
    }

    #[test]
    fn what_can_match_is_not_doubted() {
        let hosts = ["*", "a.test", "*.a.test", "10.0.0.7", "::1", "A_b-c.Test.", "*:*"];
        assert_eq!(of(&hosts, &["GET", "M-SEARCH", "P*"], &["/", "*", "/a?b=*", "*/chat"], &["text/*", "*json", "a/b+c"]), [""; 0]);
    }

    #[test]
    fn what_matches_nothing_is_named_with_what_it_should_be() {
        for host in ["https://a.test", "a.test/chat", "a.test:443", "a test", "", "a.test?"] {
            let expected =
                format!("rule 1: the host {host:?} matches nothing: a host is a name or an address, without scheme, port and path");
            assert_eq!(of(&[host], &[], &[], &[]), [expected]);
        }
        let rest = of(&[], &["post", "GET POST"], &["chat", ""], &["json", "text/html; charset=utf-8"]);
        assert_eq!(rest.len(), 6, "{rest:?}");
        assert_eq!(rest[0], "rule 1: the method \"post\" matches nothing: methods are written in capitals");
    }
}
