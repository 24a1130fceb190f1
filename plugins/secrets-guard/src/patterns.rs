//! What credentials look like.
//!
//! Source: what the issuers publish about the beginnings of their tokens, so that scanners find them. Patterns are read octet by octet: `\w`, `\b` and
//! letters are ASCII. A text is looked through once for what all of them have in
//! them, and once more for those of which something is there: prompts have megabytes, and calls have milliseconds.

use std::{cell::LazyCell, collections::BTreeMap, ops::Range};

use regex::bytes::{Captures, Match, Regex, RegexBuilder};

/// Name, texts of which one is in each such credential, and what is looked for where one of them is.
const KNOWN: &[(&str, &[&str], &str)] = &[
    ("age-key", &["AGE-SECRET-KEY-1"], r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    ("anthropic-key", &["sk-ant-"], r"\bsk-ant-[A-Za-z0-9_-]{24,}"),
    ("atlassian-token", &["ATATT3", "ATBB"], r"\bAT(?:ATT3[A-Za-z0-9_=-]{60,}|BB[A-Za-z0-9]{32})"),
    ("aws-key-id", &["AKIA", "ASIA"], r"\bA(?:KIA|SIA)[A-Z2-7]{16}\b"),
    ("azure-client-secret", &["8Q~"], r"\b[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}"),
    ("azure-storage-key", &["AccountKey="], r"\bAccountKey=[A-Za-z0-9+/]{86}=="),
    ("cargo-token", &["cio"], r"\bcio[A-Za-z0-9]{32}\b"),
    ("digitalocean-token", &["_v1_"], r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    ("docker-token", &["dckr_"], r"\bdckr_[po]at_[A-Za-z0-9_-]{27}"),
    (
        "github-token",
        &["ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_"],
        r"\b(?:gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    ),
    (
        "gitlab-token",
        &["glpat-", "glrt-", "gldt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glagent-"],
        r"\bgl(?:pat|rt|dt|cbt|ptt|ft|soat|agent)-[A-Za-z0-9_-]{20,}",
    ),
    ("google-key", &["AIza"], r"\bAIza[A-Za-z0-9_-]{35}"),
    ("google-secret", &["GOCSPX-", "ya29."], r"\b(?:GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{30,})"),
    ("huggingface-token", &["hf_"], r"\bhf_[A-Za-z0-9]{34}\b"),
    ("jwt", &["eyJ"], r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
    ("npm-token", &["npm_"], r"\bnpm_[A-Za-z0-9]{36}\b"),
    (
        "openai-key",
        &["sk-proj-", "sk-svcacct-", "sk-admin-", "T3BlbkFJ"],
        r"\bsk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{24,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})",
    ),
    (
        "private-key",
        &["PRIVATE KEY", "PuTTY-User-Key-File-"],
        r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23]:",
    ),
    ("pypi-token", &["pypi-AgE"], r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ("sendgrid-key", &["SG."], r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    ("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_"], r"\bshp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}\b"),
    (
        "slack-token",
        &["xox", "hooks.slack.com"],
        r"\bxox[abeoprs]-[A-Za-z0-9-]{20,}|hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
    ),
    ("stripe-key", &["k_live_", "whsec_"], r"\b(?:[rs]k_live_[A-Za-z0-9]{20,}|whsec_[A-Za-z0-9+/]{32,})"),
    ("telegram-token", &[":AA"], r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    ("vault-token", &["hvs.", "hvb."], r"\bhv[bs]\.[A-Za-z0-9_-]{24,}"),
];

/// With more octets of base64 around it, what looks like a credential is there by chance: encrypted reasoning, signatures and pictures have thousands,
/// and clients send them along with every prompt of a conversation.
const ROW: usize = 256;

/// A name that says secrets, and a value behind it.
const ASSIGNMENT: &str = concat!(
    r"(?i)(?:passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]{0,20}",
    r#"["'`]?[ \t]{0,4}(?::=|=>|[:=])[ \t]{0,4}["'`]?([A-Za-z0-9+/=_~.!@#$%^&*-]{16,200})"#
);

/// What an assignment is reported as.
pub(crate) const ASSIGNED: &str = "assignment";

/// All patterns that are looked for.
#[derive(Debug)]
pub(crate) struct Patterns {
    patterns: Vec<Pattern>,
    anchors: Anchors,
    assignment: Option<(Regex, f64)>,
    /// Beginnings of what is let be.
    ignored: Vec<String>,
}

#[derive(Debug)]
struct Pattern {
    name: String,
    /// Compiled when it is needed first: most instances never meet a text that needs it.
    regex: LazyRegex,
    /// Configured: it may begin with anything, and is looked for in every text.
    is_own: bool,
}

type LazyRegex = LazyCell<Option<Regex>, Box<dyn FnOnce() -> Option<Regex>>>;

impl Patterns {
    /// # Errors
    /// Names the pattern that is wrong.
    pub(crate) fn new(
        own: &BTreeMap<String, String>,
        without: &[String],
        least_entropy: Option<f64>,
        ignored: Vec<String>,
    ) -> Result<Self, String> {
        let known = KNOWN.iter().map(|(name, ..)| *name);
        if let Some(name) = without.iter().find(|name| !known.clone().any(|known| known == *name)) {
            let known: Vec<_> = known.collect();
            return Err(format!("without: there is no pattern {name:?}; there are {}", known.join(", ")));
        }
        let mut patterns = Vec::new();
        let mut anchors = Anchors::default();
        for (name, texts, pattern) in KNOWN {
            if own.contains_key(*name) || without.iter().any(|other| other == name) {
                continue;
            }
            texts.iter().for_each(|text| anchors.add(text.as_bytes(), patterns.len()));
            let regex: Box<dyn FnOnce() -> Option<Regex>> = Box::new(|| compile(pattern).ok());
            patterns.push(Pattern { name: (*name).to_owned(), regex: LazyCell::new(regex), is_own: false });
        }
        for (name, pattern) in own {
            let regex = compile(pattern).map_err(|error| format!("patterns.{name}: {error}"))?;
            if regex.is_match(b"") {
                return Err(format!("patterns.{name}: it matches nothing at all, and so every prompt"));
            }
            let regex: Box<dyn FnOnce() -> Option<Regex>> = Box::new(|| Some(regex));
            patterns.push(Pattern { name: name.clone(), regex: LazyCell::new(regex), is_own: true });
        }
        let assignment = match least_entropy {
            Some(least) => Some((compile(ASSIGNMENT).map_err(|error| error.to_string())?, least)),
            None => None,
        };
        Ok(Self { patterns, anchors, assignment, ignored })
    }

    /// The names of what is found in a text, once each.
    pub(crate) fn find<'a>(&'a self, text: &str, found: &mut Vec<&'a str>) {
        let octets = text.as_bytes();
        let near = self.anchors.in_text(octets);
        for (at, pattern) in self.patterns.iter().enumerate() {
            if !pattern.is_own && near & (1 << at) == 0 {
                continue;
            }
            let Some(regex) = &*pattern.regex else { continue };
            let is_chance = |hit: &Match<'_>| !pattern.is_own && is_in_a_row(octets, hit.range());
            if regex.find_iter(octets).any(|hit| !self.is_ignored(hit.as_bytes()) && !is_chance(&hit)) {
                note(found, &pattern.name);
            }
        }
        if let Some((assignment, least)) = &self.assignment {
            let is_secret = |found: Captures<'_>| {
                found.get(1).is_some_and(|value| looks_random(value.as_bytes(), *least) && !self.is_ignored(value.as_bytes()))
            };
            if assignment.captures_iter(octets).any(is_secret) {
                note(found, ASSIGNED);
            }
        }
    }

    fn is_ignored(&self, hit: &[u8]) -> bool {
        self.ignored.iter().any(|ignored| hit.starts_with(ignored.as_bytes()))
    }
}

/// Texts to look for, all in one pass over a text: most of it is left behind after two octets and one bit.
#[derive(Debug, Default)]
struct Anchors {
    /// For each two octets, which group of texts begins with them, from 1; 0: none. Empty until there is a text.
    pairs: Vec<u8>,
    /// The texts and the numbers of their patterns, below 64.
    groups: Vec<Vec<(&'static [u8], usize)>>,
}

impl Anchors {
    /// `text` has two octets at least.
    fn add(&mut self, text: &'static [u8], pattern: usize) {
        self.pairs.resize(1 << 16, 0);
        let group = &mut self.pairs[pair(text[0], text[1])];
        if *group == 0 {
            self.groups.push(Vec::new());
            *group = self.groups.len() as u8;
        }
        self.groups[usize::from(*group) - 1].push((text, pattern));
    }

    /// A bit for each pattern one of whose texts is there.
    fn in_text(&self, octets: &[u8]) -> u64 {
        let mut near = 0;
        if self.pairs.is_empty() {
            return near;
        }
        for (at, two) in octets.windows(2).enumerate() {
            let group = self.pairs[pair(two[0], two[1])];
            if group != 0 {
                for (text, pattern) in &self.groups[usize::from(group) - 1] {
                    if octets[at..].starts_with(text) {
                        near |= 1 << pattern;
                    }
                }
            }
        }
        near
    }
}

fn pair(one: u8, other: u8) -> usize {
    usize::from(one) << 8 | usize::from(other)
}

fn note<'a>(found: &mut Vec<&'a str>, name: &'a str) {
    if !found.contains(&name) {
        found.push(name);
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).build()
}

/// It begins within a long row of base64 (RFC 4648 §4, §5), which is as mixed as encoded octets are.
fn is_in_a_row(text: &[u8], hit: Range<usize>) -> bool {
    let is_base64 = |octet: &&u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'-' | b'_');
    let before = text[..hit.start].iter().rev().take(ROW).take_while(is_base64);
    let after = text[hit.end..].iter().take(ROW).take_while(is_base64);
    let around: Vec<u8> = before.clone().chain(after).copied().collect();
    let is_mixed = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit].iter().all(|kind| around.iter().any(kind));
    before.count() > 0 && around.len() > ROW && is_mixed
}

/// Letters and digits, as random ones are: bits per octet (Shannon) are high, and it is no word with a number behind it.
fn looks_random(value: &[u8], least: f64) -> bool {
    let digits = value.iter().filter(|octet| octet.is_ascii_digit()).count();
    digits >= 2 && value.iter().any(u8::is_ascii_alphabetic) && entropy(value) >= least
}

fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    value.iter().for_each(|octet| counts[usize::from(*octet)] += 1);
    let all = value.len() as f64;
    counts.into_iter().filter(|count| *count > 0).map(|count| f64::from(count) / all).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(patterns: &Patterns, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        patterns.find(text, &mut found);
        found.into_iter().map(str::to_owned).collect()
    }

    fn known() -> Patterns {
        Patterns::new(&BTreeMap::new(), &[], None, Vec::new()).unwrap()
    }

    /// Nothing in here is a secret, and nothing looks like one to whoever scans this file.
    fn samples() -> Vec<(&'static str, String)> {
        let x = |count: usize| "x7".repeat(count)[..count].to_owned();
        vec![
            ("age-key", format!("AGE-SECRET-KEY-1{}", "Q".repeat(58))),
            ("anthropic-key", format!("sk-ant-{}", x(40))),
            ("atlassian-token", format!("ATATT3{}", x(60))),
            ("atlassian-token", format!("ATBB{}", x(32))),
            ("aws-key-id", format!("AKIA{}", "Q".repeat(16))),
            ("azure-client-secret", format!("abc8Q~{}", x(34))),
            ("azure-storage-key", format!("AccountKey={}==", x(86))),
            ("cargo-token", format!("cio{}", x(32))),
            ("digitalocean-token", format!("dop_v1_{}", "a".repeat(64))),
            ("docker-token", format!("dckr_pat_{}", x(27))),
            ("github-token", format!("ghp_{}", x(36))),
            ("github-token", format!("github_pat_{}", x(60))),
            ("gitlab-token", format!("glpat-{}", x(20))),
            ("google-key", format!("AIza{}", x(35))),
            ("google-secret", format!("GOCSPX-{}", x(28))),
            ("huggingface-token", format!("hf_{}", x(34))),
            ("jwt", format!("eyJ{}.eyJ{}.{}", x(12), x(12), x(30))),
            ("npm-token", format!("npm_{}", x(36))),
            ("openai-key", format!("sk-proj-{}", x(40))),
            ("openai-key", format!("sk-{}T3Blbk{}{}", x(20), "FJ", x(20))),
            ("private-key", format!("-----BEGIN RSA {}-----", "PRIVATE KEY")),
            ("private-key", format!("-----BEGIN {}-----", "PRIVATE KEY")),
            ("private-key", format!("-----BEGIN PGP {} BLOCK-----", "PRIVATE KEY")),
            ("pypi-token", format!("pypi-AgE{}", x(60))),
            ("sendgrid-key", format!("SG.{}.{}", x(22), x(43))),
            ("shopify-token", format!("shpat_{}", "a".repeat(32))),
            ("slack-token", format!("xoxb-{}", x(30))),
            ("slack-token", format!("https://hooks.slack.com/services/T{}/B{}/{}", "A".repeat(8), "B".repeat(8), x(24))),
            ("stripe-key", format!("sk_live_{}", x(24))),
            ("telegram-token", format!("123456789:AA{}", x(33))),
            ("vault-token", format!("hvs.{}", x(24))),
        ]
    }

    #[test]
    fn every_known_credential_is_found_among_words_of_any_language() {
        let patterns = known();
        for (name, sample) in samples() {
            for text in [sample.clone(), format!("Schlüssel:\n{sample}\n完了"), format!("\"{sample}\"")] {
                assert_eq!(found(&patterns, &text), [name], "{text}");
            }
        }
        let names: Vec<_> = samples().into_iter().map(|(name, _)| name).collect();
        assert!(KNOWN.iter().all(|(name, ..)| names.contains(name)), "each has a sample");
        assert!(KNOWN.len() < 64 && KNOWN.iter().map(|(_, texts, _)| texts.len()).sum::<usize>() < 256);
        assert!(KNOWN.iter().all(|(_, texts, _)| texts.iter().all(|text| text.len() > 1)));
        assert!(KNOWN.iter().all(|(.., pattern)| compile(pattern).is_ok()));
    }

    #[test]
    fn what_only_speaks_of_credentials_is_let_be() {
        let patterns = known();
        for text in [
            "set GITHUB_TOKEN to your ghp_ token",
            "ghp_xxxxxxxx",
            "AKIA in the middle of wordsAKIAQQQQQQQQQQQQQQQQ",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "sk-learn and task-proj-manager",
            "fn eyJ() {}",
            "",
        ] {
            assert!(found(&patterns, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_stands_in_base64_by_chance_is_let_be() {
        const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut state = 1_u64;
        let mut random = |octets: usize| {
            let signs = (0..octets).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(SIGNS[(state >> 58) as usize])
            });
            signs.collect::<String>()
        };
        let x = |count: usize| "x7".repeat(count)[..count].to_owned();
        let planted = [
            format!("-hf_{}-", x(30)),
            format!("-hf_{}-", x(34)),
            format!("-hf_{}-", x(40)),
            format!("-AIza{}", x(35)),
            format!("/AIza{}/", x(35)),
            format!("+ghp_{}", x(36)),
            format!("-npm_{}-", x(36)),
            format!("-cio{}-", x(32)),
            format!("-ATBB{}", x(32)),
        ];
        let patterns = known();

        let row: String = planted.iter().map(|planted| random(100_000) + planted).collect();

        assert!(found(&patterns, &(row.clone() + &random(1000))).is_empty(), "{:?}", found(&patterns, &row));
        assert!(found(&patterns, &format!("hf_{}", x(40))).is_empty(), "no token is that long");
        for (name, sample) in samples() {
            let texts = [format!("{}\n{sample}", random(1000)), format!("{}/{sample}", "-".repeat(1000)), format!("in/dir-2/A/{sample}/b")];
            assert!(texts.iter().all(|text| found(&patterns, text) == [name]), "{sample}");
        }
    }

    #[test]
    fn patterns_are_added_taken_out_and_excused() {
        let own = BTreeMap::from([("acme".to_owned(), "acme_[0-9]{4}".to_owned())]);
        let patterns = Patterns::new(&own, &["jwt".to_owned()], None, vec!["acme_0000".to_owned()]).unwrap();
        let jwt = format!("eyJ{0}.eyJ{0}.{0}{0}", "a".repeat(12));

        assert_eq!(found(&patterns, "acme_1234 acme_5678"), ["acme"]);
        assert!(found(&patterns, "acme_0000").is_empty());
        assert_eq!(found(&patterns, "acme_0000 acme_0001"), ["acme"]);
        assert!(found(&patterns, &jwt).is_empty());
    }

    #[test]
    fn assignments_of_random_values_are_found_where_that_is_wanted() {
        let patterns = Patterns::new(&BTreeMap::new(), &[], Some(3.5), Vec::new()).unwrap();
        let value = ["q8Zt", "3LmX", "v1Pw", "9RkB", "y6Nd"].concat();
        for text in [
            format!("DB_PASSWORD={value}"),
            format!("api_key: \"{value}\""),
            format!("\"clientSecret\" : '{value}'"),
            format!("token := `{value}`"),
        ] {
            assert_eq!(found(&patterns, &text), [ASSIGNED], "{text}");
            assert!(found(&known(), &text).is_empty());
        }
        for text in ["password = process.env.PASSWORD_FOR_TESTS", "token = aaaaaaaaaaaaaaaaaaaa11", "secret: changeme", "the token is long"]
        {
            assert!(found(&patterns, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        let own = |pattern: &str| BTreeMap::from([("acme".to_owned(), pattern.to_owned())]);
        for (own, without, says) in [
            (own("acme_[0-9"), vec![], "patterns.acme: "),
            (own("(acme)?"), vec![], "every prompt"),
            (BTreeMap::new(), vec!["github".to_owned()], "github-token"),
        ] {
            let error = Patterns::new(&own, &without, None, Vec::new()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
