//! What keeps a client, or the proxy itself, from working: looked for on this machine, each finding with its mend.
//!
//! Place: asked by `cli`, which says where the proxy is and prints what was found. Knows neither configuration nor arguments. Reads files,
//! asks `git` and `certutil` where they are, sends two requests through the proxy to its own name, and changes nothing. Passwords are never
//! part of a finding.

mod nss;
mod operator;
mod request;
mod settings;
mod trust;
mod variables;
mod written;

use std::{
    collections::BTreeMap,
    env,
    net::{IpAddr, ToSocketAddrs, UdpSocket},
    path::PathBuf,
    process::{Command, Stdio},
};

use rustls_pki_types::CertificateDer;
use serde::Serialize;

pub use operator::Premises;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, or may work, for some programs only.
    Warning,
    /// Does not work.
    Fault,
}

impl Verdict {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found, in one sentence.
    pub what: String,
    /// What to do about it, in one sentence; none where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Ok, what: what.into(), mend: None }
    }

    fn warning(about: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Warning, what: what.into(), mend: Some(mend.into()) }
    }

    fn fault(about: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Fault, what: what.into(), mend: Some(mend.into()) }
    }
}

/// The proxy that is meant, as its clients write it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Here {
    /// A name or an address, without brackets.
    pub host: String,
    /// Where it takes HTTP in clear.
    pub port: u16,
    /// It listens on all addresses of this machine, and `host` is one of them.
    pub is_everywhere: bool,
}

impl Here {
    /// Whether a client that is told this host and port reaches it. Names are looked up where they differ.
    fn is(&self, host: &str, port: u16) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = |one: &IpAddr| addresses(&self.host).contains(one) || (self.is_everywhere && is_own(*one));
        port == self.port && (bare.eq_ignore_ascii_case(&self.host) || addresses(bare).iter().any(is_here))
    }
}

impl std::fmt::Display for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Whether that address is this machine's: only then can a socket have it.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// All of this machine's loopback addresses count as one.
fn addresses(host: &str) -> Vec<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return vec![std::net::Ipv4Addr::LOCALHOST.into()];
    }
    let found: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => (host, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default(),
    };
    let one =
        |address: IpAddr| if address.to_canonical().is_loopback() { std::net::Ipv4Addr::LOCALHOST.into() } else { address.to_canonical() };
    found.into_iter().map(one).collect()
}

/// A developer's surroundings.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The home folder.
    pub home: PathBuf,
    /// Where programs keep their settings.
    pub config: PathBuf,
    /// The environment; what is no UTF-8 is left out.
    pub variables: BTreeMap<String, String>,
    /// Files with what the system trusts, of which the first that is there counts.
    pub bundles: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn current() -> Self {
        let variables: BTreeMap<String, String> =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        let home = variables.get("HOME").map(PathBuf::from).unwrap_or_default();
        let given = variables.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let config = given.unwrap_or_else(|| home.join(".config"));
        Self { home, config, variables, bundles: trust::BUNDLES.map(PathBuf::from).to_vec() }
    }

    /// Set to something.
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// What a program prints; `None`: it is not there, or does not end well.
    fn asked(&self, program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then_some(output.stdout)
    }
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The proxy.
    pub here: Here,
    /// Who the client is to be.
    pub user: Option<String>,
    /// What they log in with, if it is known.
    pub password: Option<String>,
    /// The client's side.
    pub surroundings: Surroundings,
    /// The proxy's side, where its files are on this machine.
    pub premises: Option<Premises>,
}

/// Looks at everything, in the order in which things have to work.
pub async fn examine(subject: &Subject) -> Vec<Finding> {
    let (mut findings, roots) = request::examine(subject).await;
    if let Some(premises) = &subject.premises {
        findings.extend(operator::examine(premises, &roots).await);
    }
    let roots = if roots.is_empty() { subject.premises.as_ref().and_then(Premises::root).into_iter().collect() } else { roots };
    findings.extend(client(subject, &roots));
    findings
}

/// The client's side. Without roots, nothing is said about trust.
fn client(subject: &Subject, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    const MEND: &str = "let it trust the next root, too, before the operator changes over: the page at the proxy's own address has both";
    // The one in use comes first; the next one signs nothing yet.
    let (in_use, next) = roots.split_at(roots.len().min(1));
    let mut findings = trusting(subject, in_use);
    if !next.is_empty() {
        let worse = |then: &Finding| then.verdict != Verdict::Ok && !findings.contains(then);
        let later: Vec<_> = trusting(subject, next).into_iter().filter(worse).collect();
        findings.extend(later.into_iter().map(|then| Finding::warning(then.about, format!("with the next root: {}", then.what), MEND)));
    }
    findings
}

fn trusting(subject: &Subject, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !roots.is_empty() {
        findings.extend(trust::examine(&subject.surroundings, roots));
        findings.extend(nss::examine(&subject.surroundings, roots));
    }
    findings.extend(variables::examine(subject));
    findings.extend(settings::examine(subject, roots));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_all_its_names() {
        let at = |host: &str, port| Here { host: host.into(), port, is_everywhere: false };
        let here = at("127.0.0.1", 8080);

        for host in ["127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.0.0.2"] {
            assert!(here.is(host, 8080), "{host}");
        }
        assert!(!here.is("127.0.0.1", 8081) && !here.is("192.0.2.1", 8080));
        assert!(at("Proxy.example", 3128).is("proxy.EXAMPLE", 3128));
        assert_eq!(at("::1", 1).to_string(), "[::1]:1");
    }

    #[test]
    fn who_listens_everywhere_is_known_by_each_address_of_this_machine() {
        // On Linux a whole network is the machine's own; it stands for the address of a network card.
        let here = |is_everywhere| Here { host: "192.0.2.7".into(), port: 8080, is_everywhere };

        assert!(here(true).is("127.0.0.1", 8080) && !here(false).is("127.0.0.1", 8080));
        assert!(!here(true).is("192.0.2.1", 8080) && !here(true).is("127.0.0.1", 8081));
    }
}
