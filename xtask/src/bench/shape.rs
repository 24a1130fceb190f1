//! What passes: a Copilot completion, and certificates for the origin.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::ValueEnum;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Octets of a completion's request content.
const REQUEST_OCTETS: usize = 548;
/// Octets of its response content.
const RESPONSE_OCTETS: usize = 367;
/// The same of telemetry.
const REPORT_OCTETS: usize = 9700;
const RECEIPT_OCTETS: usize = 62;

/// The end of `localhost` and of all names that certificates here are good for. Nobody looks such names up: they are this machine (RFC 6761 §6.3).
pub(crate) const NAMES: &str = ".first.localhost";

/// A request and its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Exchange {
    /// 548 octets in, 367 octets of events out, chunked
    Completion,
    /// 9.7 KB in, 62 octets out
    Telemetry,
}

impl Exchange {
    /// That which a head asks for.
    pub(crate) fn of(head: &[u8]) -> Self {
        match head.starts_with(b"POST /telemetry ") {
            true => Self::Telemetry,
            false => Self::Completion,
        }
    }

    pub(crate) fn request(self, authority: &str) -> Vec<u8> {
        match self {
            Self::Completion => request(authority),
            Self::Telemetry => report(authority),
        }
    }

    pub(crate) fn response(self) -> Vec<u8> {
        match self {
            Self::Completion => response(),
            Self::Telemetry => receipt(),
        }
    }

    /// How its answer ends, whoever passed it on; such octets are nowhere else in it.
    pub(crate) fn end(self) -> &'static [u8] {
        match self {
            Self::Completion => b"data: [DONE]\n\n\r\n0\r\n\r\n",
            Self::Telemetry => RECEIPT_END.as_bytes(),
        }
    }
}

/// A completion as an editor asks for it: 13 fields, 548 octets of JSON.
fn request(authority: &str) -> Vec<u8> {
    let fields = [
        ("host", authority),
        ("authorization", "Bearer tid=0;exp=0;sku=test;st=dotcom:0000000000000000000000000000000000000000"),
        ("x-request-id", "00000000-0000-4000-8000-000000000000"),
        ("openai-organization", "github-copilot"),
        ("vscode-sessionid", "00000000-0000-4000-8000-0000000000001700000000000"),
        ("vscode-machineid", "4ce93ec3b20000000000000000000000000000000000000000000000000000aa"),
        ("editor-version", "vscode/1.95.3"),
        ("editor-plugin-version", "copilot/1.248.0"),
        ("copilot-language-server-version", "1.248.0"),
        ("openai-intent", "copilot-ghost"),
        ("content-type", "application/json"),
        ("user-agent", "GithubCopilot/1.248.0"),
        ("content-length", "548"),
    ];
    let mut octets = b"POST /v1/engines/copilot-codex/completions HTTP/1.1\r\n".to_vec();
    for (name, value) in fields {
        octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    octets.extend_from_slice(b"\r\n");
    let begin = r##"{"prompt":"# Path: hello.py\ndef hello(name):\n    ","suffix":"","max_tokens":500,"temperature":0,"top_p":1,"n":1,"stop":["\n"],"stream":true,"extra":{"language":"python","next_indent":4,"trim_by_indentation":true,"context":""##;
    octets.extend_from_slice(padded(begin, "\"}}", REQUEST_OCTETS).as_bytes());
    octets
}

/// A completion of which the site is to make that, with so many octets of content to follow.
pub(crate) fn asking(authority: &str, wanted: &str, content: u64) -> Vec<u8> {
    let target = format!("/v1/engines/copilot-codex/completions?{wanted}");
    format!("POST {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {content}\r\n\r\n")
        .into_bytes()
}

/// The answer: one chunk of two events, 367 octets.
fn response() -> Vec<u8> {
    let begin = r#"data: {"id":"cmpl-000000000000000000000000000","created":1700000000,"model":"gpt-35-turbo","choices":[{"text":"return f\"hello {name}\"","index":0,"finish_reason":"stop","logprobs":null,"p":""#;
    let events = padded(begin, "\"}]}\n\ndata: [DONE]\n\n", RESPONSE_OCTETS);
    let mut octets = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in [
        ("azureml-model-deployment", "d169-20240925214105"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("content-type", "text/event-stream"),
        ("openai-processing-ms", "41.1556"),
        ("strict-transport-security", "max-age=31536000"),
        ("x-request-id", "00000000-0000-4000-8000-000000000000"),
        ("date", "Sun, 08 Dec 2024 13:18:23 GMT"),
        ("x-github-backend", "Kubernetes"),
        ("x-github-request-id", "793D:3AE21:3087E1:352BF1:67559C9E"),
        ("transfer-encoding", "chunked"),
    ] {
        octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    octets.extend_from_slice(format!("\r\n{:x}\r\n{events}\r\n0\r\n\r\n", events.len()).as_bytes());
    octets
}

/// A batch of events as an editor reports them.
fn report(authority: &str) -> Vec<u8> {
    let mut octets = b"POST /telemetry HTTP/1.1\r\n".to_vec();
    for (name, value) in [
        ("host", authority),
        ("user-agent", "GitHubCopilotChat/0.22.4"),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),
        ("content-length", &REPORT_OCTETS.to_string()),
    ] {
        octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    octets.extend_from_slice(b"\r\n");
    let event = r##"{"ver":1,"name":"Microsoft.ApplicationInsights.Event","time":"2024-12-08T13:18:23.331Z","tags":{"ai.cloud.roleInstance":"0"},"data":{"baseType":"EventData","baseData":{"name":"agent/completion.shown","properties":{"path":"# a \"file\"\n","languageId":"python"}}}},"##;
    let most = (REPORT_OCTETS - 100) / event.len();
    octets.extend_from_slice(padded(&format!("[{}{{\"last\":\"", event.repeat(most)), "\"}]", REPORT_OCTETS).as_bytes());
    octets
}

const RECEIPT_END: &str = r#""errors":[]}"#;

/// What becomes of it.
fn receipt() -> Vec<u8> {
    let content = padded(r#"{"itemsReceived":29,"itemsAccepted":29,"appId":""#, &format!("\",{RECEIPT_END}"), RECEIPT_OCTETS);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", content.len());
    [head, content].concat().into_bytes()
}

/// `begin`, as many `a` as it takes, `end`.
fn padded(begin: &str, end: &str, octets: usize) -> String {
    format!("{begin}{}{end}", "a".repeat(octets.saturating_sub(begin.len() + end.len())))
}

/// Files of the origin's throw-away authority.
pub(crate) struct Certificates {
    /// What proxies and direct clients trust.
    pub(crate) root: PathBuf,
    /// Of `localhost`.
    pub(crate) chain: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them, into that folder.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let root = Root::make("root of the benchmark's origins")?;
        let leaf_key = KeyPair::generate().context("making the origin's certificate")?;
        let leaf = CertificateParams::new(vec!["localhost".to_owned(), format!("*{NAMES}")])
            .and_then(|params| params.signed_by(&leaf_key, &root.issuer));
        let leaf = leaf.context("making the origin's certificate")?;
        let made = Self { root: folder.join("origins.pem"), chain: folder.join("origin.pem"), key: folder.join("origin.key") };
        for (path, text) in [(&made.root, root.certificate.pem()), (&made.chain, leaf.pem()), (&made.key, leaf_key.serialize_pem())] {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(made)
    }
}

/// A root certificate and what signs in its name.
pub(crate) struct Root {
    pub(crate) certificate: Certificate,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl Root {
    /// OpenSSL takes a certificate that is called as its issuer to have signed itself, so each needs a name of its own.
    pub(crate) fn make(name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate().with_context(|| format!("making {name}"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).with_context(|| format!("making {name}"))?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_real_thing() {
        let content = |octets: &[u8]| octets.windows(4).position(|window| window == b"\r\n\r\n").map(|at| octets.len() - at - 4);
        let framed = "16f\r\n".len() + RESPONSE_OCTETS + "\r\n0\r\n\r\n".len();

        for (exchange, sent, answered) in
            [(Exchange::Completion, REQUEST_OCTETS, framed), (Exchange::Telemetry, REPORT_OCTETS, RECEIPT_OCTETS)]
        {
            let (request, response) = (exchange.request("localhost:1"), exchange.response());
            assert_eq!((content(&request), content(&response)), (Some(sent), Some(answered)), "{exchange:?}");
            assert!(response.ends_with(exchange.end()) && Exchange::of(&request) == exchange);
        }
    }
}
