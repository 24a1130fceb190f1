//! What the proxy itself says: refusals that leave the connection usable, and how to set a client up, with the root certificate.
//!
//! Place: requests in origin-form, which are for the proxy (RFC 9112 §3.2.1), and those for its own name through itself, in clear or over TLS.

mod page;

use std::net::SocketAddr;

use http::{Method, StatusCode};
use time::OffsetDateTime;

use super::{Front, Speaks};
use crate::{
    exchange::{error, local_head, local_refusal},
    flow::{Authority, Fields, HTTP_DATE, LocalResponse, Principal, Refusal, RequestHead},
    h1::encode_response,
    io::{HalfReader, HalfWriter},
    tls::{Root, keystore},
};

/// The name of the proxy for those who come through it; `internal` is reserved for such (ICANN resolution 2024.07.29.06).
const NAME: &str = "flowgate.internal";
/// The page loads its sign, and runs nothing.
const POLICY: &str =
    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether that host is the proxy itself.
pub(super) fn is_own(host: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case(NAME)
}

/// How a client reached the proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    /// The address it connected to.
    pub(super) address: Option<SocketAddr>,
    /// What it speaks there.
    pub(super) speaks: Speaks,
}

/// A request for the proxy itself.
pub(super) struct Visit<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) here: Here,
    /// It came through the proxy, as whom.
    pub(super) through: Option<&'a Principal>,
    /// Over TLS that was ended with a leaf of ours.
    pub(super) is_tls: bool,
}

impl Visit<'_> {
    fn user(&self) -> Option<&str> {
        self.through.and_then(Principal::name)
    }

    fn scheme(&self) -> &'static str {
        match self.here.speaks {
            Speaks::Clear => "http",
            Speaks::Tls => "https",
        }
    }

    /// The proxy as this client knows it: as it called it, else the address it came to.
    fn authority(&self) -> String {
        let called = || {
            Authority::parse_or(&self.head.authority, Some(if self.here.speaks == Speaks::Tls { 443 } else { 80 }))
                .ok()
                .map(|authority| authority.to_string())
        };
        let address = || self.here.address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()).to_string());
        let known = if self.through.is_some() { address() } else { called().or_else(address) };
        known.unwrap_or_else(|| NAME.to_owned())
    }

    fn proxy(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }
}

/// Answers a client that is not admitted. One that is asked for credentials gets its connection back to ask again on, as some insist on, where
/// that `persists`; `None`: the connection has ended.
pub(super) async fn turn_away(
    front: &Front,
    refusal: Refusal,
    method: &Method,
    persists: bool,
    reader: HalfReader,
    mut writer: HalfWriter,
) -> Option<(HalfReader, HalfWriter)> {
    if !persists || !matches!(refusal, Refusal::AuthenticationRequired(_)) {
        front.exchange.refuse(refusal, reader, writer).await;
        return None;
    }
    front.exchange.meters.refused(error(&refusal));
    let response = local_refusal(&refusal);
    encode_response(writer.buffer(), &local_head(&response, false));
    // RFC 9112 §6.3: such a client would take content for the next response.
    if method != Method::HEAD {
        writer.buffer().extend_from_slice(&response.content);
    }
    writer.flush().await.ok()?;
    Some((reader, writer))
}

/// The page, the root certificate, or what is known of whoever asks.
pub(super) fn answer(front: &Front, visit: &Visit<'_>) -> LocalResponse {
    const TEXT: &str = "text/plain; charset=utf-8";
    const CERTIFICATE: &str = "application/x-x509-ca-cert";
    let (head, root, next) = (visit.head, &*front.root, front.next_root.as_ref());
    let roots = || [Some(root), next].into_iter().flatten();
    let path = head.path.split(|octet| *octet == b'?').next().unwrap_or_default();
    let is_get = head.method == Method::GET || head.method == Method::HEAD;
    let (status, media_type, content) = match (is_get, path) {
        (false, _) => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "flowgate: only GET is answered here\n".into()),
        (_, b"/") if wants_html(head) => (StatusCode::OK, "text/html; charset=utf-8", page::html(root, next, visit).into_bytes()),
        (_, b"/") => (StatusCode::OK, TEXT, page::text(visit).into_bytes()),
        (_, b"/flowgate-ca.pem") => (StatusCode::OK, CERTIFICATE, roots().map(Root::certificate_pem).collect::<String>().into_bytes()),
        (_, b"/flowgate-ca.crt") => (StatusCode::OK, CERTIFICATE, root.certificate_der().to_vec()),
        (_, b"/flowgate-ca-next.crt") if next.is_some() => {
            (StatusCode::OK, CERTIFICATE, next.map(|next| next.certificate_der().to_vec()).unwrap_or_default())
        }
        (_, b"/flowgate-ca.p12") => (StatusCode::OK, "application/x-pkcs12", keystore::pkcs12(roots())),
        (_, b"/flowgate-ca.mobileconfig") => {
            (StatusCode::OK, "application/x-apple-aspen-config", page::apple_profile(roots()).into_bytes())
        }
        (_, b"/favicon.svg") => (StatusCode::OK, "image/svg+xml", include_bytes!("../../../assets/sign.svg").to_vec()),
        (_, b"/whoami") => (StatusCode::OK, "application/json", page::facts(visit).into_bytes()),
        _ => {
            let known = "flowgate: there are only /, /whoami, and /flowgate-ca with .pem, .crt, .p12 or .mobileconfig here\n";
            (StatusCode::NOT_FOUND, TEXT, known.into())
        }
    };
    let mut fields = Fields::default();
    // RFC 9110 §6.6.1; `flowgate doctor` compares clocks by it.
    if let Ok(date) = OffsetDateTime::now_utc().format(HTTP_DATE) {
        fields.push("Date", &date);
    }
    fields.push("Content-Type", media_type);
    fields.push("Cache-Control", "no-store");
    fields.push("Content-Security-Policy", POLICY);
    if !is_get {
        fields.push("Allow", "GET, HEAD");
    }
    LocalResponse { status, fields, content: content.into() }
}

/// Browsers say so; terminals take anything.
fn wants_html(head: &RequestHead) -> bool {
    head.fields.get_all("accept").any(|value| value.windows(b"text/html".len()).any(|part| part.eq_ignore_ascii_case(b"text/html")))
}
