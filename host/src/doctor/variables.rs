//! The environment variables by which programs of the command line find a proxy.
//!
//! Place: part of `mod`. There is no standard: curl reads names in lower case first, most others both, and all of them a list in `no_proxy`.

use super::{Finding, Subject, written};
use crate::{flow::Authority, origin::Direct};

const ABOUT: &str = "environment";
/// Hosts of Copilot, of each kind of subscription.
const COPILOT: [&str; 5] = [
    "api.githubcopilot.com",
    "api.individual.githubcopilot.com",
    "api.business.githubcopilot.com",
    "proxy.enterprise.githubcopilot.com",
    "copilot-proxy.githubusercontent.com",
];

/// What a variable holds, whatever its spelling.
pub(super) fn proxy_for_tls(subject: &Subject) -> Option<&str> {
    ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].into_iter().find_map(|name| subject.surroundings.variable(name))
}

pub(super) fn examine(subject: &Subject) -> Vec<Finding> {
    let set = |name: &str| subject.surroundings.variable(name);
    let mut findings = Vec::new();
    for lower in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        let upper = lower.to_uppercase();
        match (set(lower), set(&upper)) {
            (Some(one), Some(other)) if one != other => {
                let what = format!("{lower} and {upper} are set to different things, and programs differ about which one counts");
                findings.push(Finding::fault(ABOUT, what, format!("set both to the same, or unset {lower}")));
            }
            _ => {}
        }
        for name in [lower, &*upper] {
            match set(name) {
                Some(list) if lower == "no_proxy" => findings.extend(exceptions(ABOUT, name, list.split([',', ' ']))),
                Some(text) => findings.push(written::judge(ABOUT, name, text, subject)),
                None => {}
            }
        }
    }
    let is_set = |name: &str| set(name).or_else(|| set(&name.to_uppercase())).is_some();
    let wanted = format!("export HTTP_PROXY=http://NAME:PASSWORD@{0} HTTPS_PROXY=http://NAME:PASSWORD@{0}", subject.here);
    if proxy_for_tls(subject).is_none() {
        findings.push(match is_set("http_proxy") {
            true => Finding::fault(ABOUT, "http_proxy is set and https_proxy is not: what is fetched over TLS goes past the proxy", wanted),
            false => Finding::warning(ABOUT, "https_proxy is not set: programs of the command line go past the proxy", wanted),
        });
    }
    findings
}

/// Which hosts of Copilot go past the proxy by those words.
pub(super) fn exceptions<'a>(about: &'static str, place: &str, words: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut good = 0;
    for word in words.map(str::trim).filter(|word| !word.is_empty()) {
        let Ok(direct) = Direct::parse(&[word.to_owned()]) else {
            let what = format!("{place} has {word:?}, which is no host, address or network");
            findings.push(Finding::warning(about, what, "take it out: programs differ about what they make of it"));
            continue;
        };
        match COPILOT.iter().find(|host| direct.covers(&Authority::new(host, 443))) {
            Some(host) => {
                let what = format!("{place} has {word:?}: {host} is reached past the proxy, and nothing of it is recorded");
                findings.push(Finding::fault(about, what, format!("take {word:?} out of {place}")));
            }
            None => good += 1,
        }
    }
    if findings.is_empty() && good > 0 {
        findings.push(Finding::ok(about, format!("{place} leaves Copilot's hosts to the proxy")));
    }
    findings
}
