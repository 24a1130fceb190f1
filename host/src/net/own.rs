//! What the proxy itself says: refusals that leave the connection usable, and the root certificate to whoever fetches it.
//!
//! Place: requests in origin-form, which are for the proxy (RFC 9112 §3.2.1).

use bytes::Bytes;
use http::{Method, StatusCode};

use super::Front;
use crate::{
    exchange::{error, local_head, local_refusal},
    flow::{Fields, LocalResponse, Refusal, RequestHead},
    h1::{Framing, encode_response},
    io::{HalfReader, HalfWriter},
};

/// Answers a client that is not admitted. One that is asked for credentials, and has no content under way, gets its connection back to ask
/// again on, as some insist on; `None`: the connection has ended.
pub(super) async fn turn_away(
    front: &Front,
    refusal: Refusal,
    method: &Method,
    framing: Framing,
    reader: HalfReader,
    mut writer: HalfWriter,
) -> Option<(HalfReader, HalfWriter)> {
    if framing != Framing::Empty || !matches!(refusal, Refusal::AuthenticationRequired(_)) {
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

/// The root certificate, or a page that says where it is.
pub(super) fn page(front: &Front, head: &RequestHead) -> LocalResponse {
    let path = head.path.split(|octet| *octet == b'?').next().unwrap_or_default();
    let (status, media_type, content) = match (head.method == Method::GET || head.method == Method::HEAD, path) {
        (false, _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "flowgate: only GET is answered here\n".to_owned()),
        (_, b"/flowgate-ca.pem") => (StatusCode::OK, "application/x-x509-ca-cert", front.root_pem.clone()),
        (_, b"/") => (StatusCode::OK, "text/plain; charset=utf-8", welcome(head)),
        _ => (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "flowgate: there is only / and /flowgate-ca.pem here\n".to_owned()),
    };
    let mut fields = Fields::default();
    fields.push("Content-Type", media_type);
    let content = if head.method == Method::HEAD { String::new() } else { content };
    LocalResponse { status, fields, content: Bytes::from(content) }
}

fn welcome(head: &RequestHead) -> String {
    let own = String::from_utf8_lossy(&head.authority);
    format!(
        "This is flowgate, a forward proxy. Set your client's HTTP and HTTPS proxy to http://{own}\n\
         and let it trust the root certificate at http://{own}/flowgate-ca.pem\n\n\
         curl   curl -x http://NAME@{own} --cacert flowgate-ca.pem https://example.com/\n\
         Node   NODE_EXTRA_CA_CERTS=flowgate-ca.pem\n\
         Python REQUESTS_CA_BUNDLE=flowgate-ca.pem SSL_CERT_FILE=flowgate-ca.pem\n\
         git    git config http.proxy http://NAME@{own} && git config http.sslCAInfo flowgate-ca.pem\n"
    )
}
