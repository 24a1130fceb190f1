//! Requests through the proxy to its own name, in clear and over TLS: whether it listens, admits, intercepts, and with which root.
//!
//! Place: part of `mod`. Speaks HTTP as any client does; the root is what the proxy itself hands out.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::Deserialize;
use time::{OffsetDateTime, PrimitiveDateTime};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{Finding, Subject, variables, written};
use crate::{flow::HTTP_DATE, tasks::Tasks, tls};

/// The proxy's name for those who come through it.
const NAME: &str = "flowgate.internal";
/// For a connection: more is no network to work with.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer: a wrong login is answered after eight seconds at most.
const ANSWER: Duration = Duration::from_secs(15);
/// Octets of an answer.
const LARGEST: usize = 1 << 20;
/// How far apart clocks may be before it is worth a word.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// How far apart they may be at most: certificates are valid from a day before they are made.
const LARGEST_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
struct Whoami {
    through_proxy: bool,
    user: Option<String>,
    tls: bool,
}

struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    content: Vec<u8>,
}

impl Answer {
    fn whoami(&self) -> Option<Whoami> {
        serde_json::from_slice(&self.content).ok().filter(|_| self.status == StatusCode::OK)
    }
}

/// What was found, and the roots that the proxy hands out; none if it does not get that far.
pub(super) async fn examine(subject: &Subject) -> (Vec<Finding>, Vec<CertificateDer<'static>>) {
    let (mut findings, tasks) = (Vec::new(), Tasks::new());
    let roots = look(subject, &tasks, &mut findings).await;
    (findings, roots)
}

async fn look(subject: &Subject, tasks: &Tasks, findings: &mut Vec<Finding>) -> Vec<CertificateDer<'static>> {
    const LISTENER: &str = "listener";
    let here = &subject.here;
    let roots = match clear(subject, tasks, Method::GET, "/flowgate-ca.pem").await {
        Err(error) => {
            let mend = "start the proxy, or say where it is with --through HOST:PORT; is a firewall between?";
            findings.push(Finding::fault(LISTENER, format!("{here} does not answer: {error:#}"), mend));
            return Vec::new();
        }
        Ok(answer) => CertificateDer::pem_slice_iter(&answer.content).filter_map(Result::ok).collect::<Vec<_>>(),
    };
    if roots.is_empty() {
        findings.push(Finding::fault(
            LISTENER,
            format!("what listens at {here} is no flowgate: it has no root certificate"),
            "look at host and port",
        ));
        return roots;
    }
    findings.push(Finding::ok(LISTENER, format!("a flowgate listens at {here}")));
    findings.extend(admission(subject, tasks).await);
    if findings.iter().all(|finding| finding.verdict != super::Verdict::Fault) {
        findings.push(interception(subject, tasks, &roots).await);
    }
    roots
}

/// In clear, as for `http://` URLs.
async fn admission(subject: &Subject, tasks: &Tasks) -> Vec<Finding> {
    const ABOUT: &str = "login";
    let answer = match clear(subject, tasks, Method::GET, &format!("http://{NAME}/whoami")).await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Finding::fault(ABOUT, format!("a request through the proxy breaks off: {error:#}"), "look at its diagnostics")];
        }
    };
    let mut findings = Vec::from_iter(clock(&answer.fields));
    findings.push(match (answer.whoami(), answer.status, login(subject)) {
        (Some(Whoami { through_proxy: true, user: Some(user), .. }), ..) => {
            Finding::ok(ABOUT, format!("the proxy admits this client as {user}"))
        }
        (Some(Whoami { through_proxy: true, user: None, .. }), _, Some(_)) => Finding::warning(
            ABOUT,
            "the proxy admits this client and keeps no name",
            "records have no user: set its auth to identify, ask or require",
        ),
        (Some(Whoami { through_proxy: true, .. }), ..) => Finding::warning(
            ABOUT,
            "the proxy admits this client without a name",
            "say who it is with --user NAME, or records have no user",
        ),
        (_, StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some((name, _))) => {
            let mend = "give its password with --password-stdin; the operator adds users with `flowgate user add`";
            Finding::fault(ABOUT, format!("the proxy does not admit {name} with that password"), mend)
        }
        (_, StatusCode::PROXY_AUTHENTICATION_REQUIRED, None) => Finding::fault(
            ABOUT,
            "the proxy wants a login",
            "log in with --user NAME --password-stdin, and write both into clients' settings",
        ),
        (_, status, _) => {
            let mend = "is another proxy between here and flowgate? say flowgate's own address with --through";
            Finding::fault(ABOUT, format!("a request through the proxy to {NAME} was answered with {status}"), mend)
        }
    });
    findings
}

/// Over TLS: what is shown has to be signed by the root, and by nothing else.
async fn interception(subject: &Subject, tasks: &Tasks, roots: &[CertificateDer<'static>]) -> Finding {
    const ABOUT: &str = "interception";
    let signs = |root: &CertificateDer<'_>| tls::Permitted::of_der(root).is_ok_and(|permitted| permitted.has(NAME));
    // The first one, which is in use; the next one signs nothing yet.
    if !roots.first().is_some_and(signs) {
        return Finding::ok(ABOUT, format!("not tried, for the root signs for certain names only, and {NAME} is none of them"));
    }
    match secured(subject, tasks, roots).await.map(|answer| answer.whoami()) {
        Ok(Some(Whoami { tls: true, .. })) => Finding::ok(ABOUT, "TLS through the proxy is looked into, with certificates of its root"),
        Ok(_) => {
            Finding::fault(ABOUT, "TLS through the proxy ends elsewhere than in flowgate", "is another proxy between here and flowgate?")
        }
        Err(error) => Finding::fault(
            ABOUT,
            format!("TLS through the proxy fails: {error:#}"),
            "look at its diagnostics; a proxy between here and flowgate that looks into TLS itself does that, too",
        ),
    }
}

/// What the proxy's clock says against this machine's.
fn clock(fields: &HeaderMap) -> Option<Finding> {
    const ABOUT: &str = "clock";
    let date = fields.get(http::header::DATE)?.to_str().ok()?;
    let there = PrimitiveDateTime::parse(date, HTTP_DATE).ok()?.assume_utc();
    let apart = (OffsetDateTime::now_utc() - there).unsigned_abs();
    let what = || format!("this machine's clock and the proxy's are {} minutes apart", apart.as_secs() / 60);
    const MEND: &str = "let both be set by the network (NTP)";
    Some(match apart {
        apart if apart > LARGEST_SKEW => Finding::fault(ABOUT, format!("{}: its certificates are not valid here", what()), MEND),
        apart if apart > SKEW => Finding::warning(ABOUT, what(), MEND),
        _ => Finding::ok(ABOUT, "this machine's clock and the proxy's agree"),
    })
}

/// Who logs in, with what: as was said, else as a variable says that leads to this proxy.
fn login(subject: &Subject) -> Option<(String, String)> {
    let written = variables::proxy_for_tls(subject).and_then(|text| written::read(text).ok()).filter(|proxy| proxy.leads_to(subject));
    let (user, password) = written.map_or((None, None), |proxy| (proxy.user, proxy.password));
    let name = subject.user.clone().or_else(|| user.clone())?;
    let known = password.filter(|_| user.as_ref() == Some(&name));
    Some((name, subject.password.clone().or(known).unwrap_or_default()))
}

async fn connect(subject: &Subject) -> anyhow::Result<TcpStream> {
    let connected = timeout(CONNECT, TcpStream::connect((&*subject.here.host, subject.here.port))).await;
    Ok(connected.map_err(|_| anyhow::anyhow!("nobody takes a connection within {CONNECT:?}"))??)
}

fn request(subject: &Subject, method: Method, target: &str) -> anyhow::Result<Request<Empty<bytes::Bytes>>> {
    let host = if target.starts_with('/') { subject.here.to_string() } else { NAME.to_owned() };
    let mut request = Request::builder().method(method).uri(target).header("host", host);
    if let Some((name, password)) = login(subject).filter(|_| !target.starts_with('/')) {
        request = request.header("proxy-authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))));
    }
    Ok(request.body(Empty::new())?)
}

/// One request on a connection of its own; origin-form is for the proxy itself.
async fn clear(subject: &Subject, tasks: &Tasks, method: Method, target: &str) -> anyhow::Result<Answer> {
    let request = request(subject, method, target)?;
    exchange(connect(subject).await?, tasks, request).await
}

async fn exchange<S>(stream: S, tasks: &Tasks, request: Request<Empty<bytes::Bytes>>) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Why it ended is what the request says.
        tasks.spawn(async move { connection.await.ok() });
        let (head, body) = sender.send_request(request).await?.into_parts();
        let content = Limited::new(body, LARGEST).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok(Answer { status: head.status, fields: head.headers, content: content.into() })
    };
    timeout(ANSWER, asked).await.map_err(|_| anyhow::anyhow!("there is no answer within {ANSWER:?}"))?
}

/// The same question within a tunnel.
async fn secured(subject: &Subject, tasks: &Tasks, roots: &[CertificateDer<'static>]) -> anyhow::Result<Answer> {
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(roots.iter().cloned());
    let config = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(trusted).with_no_client_auth();
    let opened = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(connect(subject).await?)).await?;
        tasks.spawn(async move { connection.with_upgrades().await.ok() });
        let response = sender.send_request(request(subject, Method::CONNECT, &format!("{NAME}:443"))?).await?;
        anyhow::ensure!(response.status().is_success(), "a tunnel is answered with {}", response.status());
        let tunnel = TokioIo::new(hyper::upgrade::on(response).await?);
        Ok(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME)?, tunnel).await?)
    };
    let stream = timeout(ANSWER, opened).await.map_err(|_| anyhow::anyhow!("it is not there within {ANSWER:?}"))??;
    exchange(stream, tasks, Request::builder().uri("/whoami").header("host", NAME).body(Empty::new())?).await
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn clocks_are_compared() {
        let table = [
            (0, Verdict::Ok),
            (-4 * 60, Verdict::Ok),
            (6 * 60, Verdict::Warning),
            (-6 * 60, Verdict::Warning),
            (25 * 60 * 60, Verdict::Fault),
        ];
        for (seconds, expected) in table {
            let there = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
            let fields = HeaderMap::from_iter([(http::header::DATE, there.format(HTTP_DATE).unwrap().parse().unwrap())]);
            assert_eq!(clock(&fields).map(|finding| finding.verdict), Some(expected), "{seconds}");
        }
        assert_eq!(clock(&HeaderMap::new()), None);
    }
}
