//! What the client reads when the proxy answers itself.
//!
//! Place: the one file that knows which refusal is which status.
//! Source: RFC 9110 §15, RFC 9209 (Proxy-Status).

use std::error::Error;

use bytes::Bytes;
use http::{StatusCode, Version};

use crate::flow::{Fields, LocalResponse, Refusal, ResponseHead};

/// A refusal as a response: a sentence for people and a `Proxy-Status` for programs.
pub fn refusal(refusal: &Refusal) -> LocalResponse {
    let (status, kind) = status(refusal);
    let mut fields = Fields::default();
    if let Refusal::AuthenticationRequired(challenge) = refusal {
        // RFC 7617 §2.1: names may be other than ASCII, in UTF-8.
        fields.push("Proxy-Authenticate", format!("Basic realm=\"{}\", charset=\"UTF-8\"", challenge.realm));
    }
    fields.push("Proxy-Status", format!("flowgate; error={kind}"));
    fields.push("Content-Type", "text/plain; charset=utf-8");
    LocalResponse { status, fields, content: Bytes::from(format!("flowgate: {}\n", sentence(refusal))) }
}

/// The error of RFC 9209 that it stands for.
pub fn error(refusal: &Refusal) -> &'static str {
    status(refusal).1
}

/// The refusal and what lies below it, in one line. Holds no credentials and no content.
pub fn sentence(refusal: &Refusal) -> String {
    // What a plugin's failure looks like inside is for the operator alone.
    if matches!(refusal, Refusal::PluginFailed { .. }) {
        return refusal.to_string();
    }
    let mut sentence = refusal.to_string();
    let mut below = refusal.source();
    while let Some(error) = below {
        sentence.push_str(&format!(": {error}"));
        below = error.source();
    }
    sentence
}

/// The status, and the error of RFC 9209 that it stands for.
pub(super) fn status(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::BadRequest(_) | Refusal::BadAuthority(_) => (StatusCode::BAD_REQUEST, "http_request_error"),
        Refusal::HeadTooLarge { .. } => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_error"),
        Refusal::RequestTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "http_request_error"),
        Refusal::ContentTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "http_request_denied"),
        Refusal::AuthenticationRequired(_) => (StatusCode::PROXY_AUTHENTICATION_REQUIRED, "http_request_denied"),
        Refusal::Denied(_) => (StatusCode::FORBIDDEN, "http_request_denied"),
        Refusal::DnsError { .. } => (StatusCode::BAD_GATEWAY, "dns_error"),
        Refusal::ConnectionRefused { .. } => (StatusCode::BAD_GATEWAY, "connection_refused"),
        Refusal::ConnectionTimeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
        Refusal::Upstream { source, .. } => status(source),
        Refusal::CertificateError { .. } => (StatusCode::BAD_GATEWAY, "tls_certificate_error"),
        Refusal::TlsError { .. } => (StatusCode::BAD_GATEWAY, "tls_protocol_error"),
        Refusal::NoResponse { .. } => (StatusCode::BAD_GATEWAY, "http_response_incomplete"),
        Refusal::ResponseTimeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout"),
        Refusal::BadResponse { .. } => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        Refusal::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached"),
        Refusal::Loop => (StatusCode::BAD_GATEWAY, "proxy_loop_detected"),
        Refusal::PluginFailed { .. } => (StatusCode::BAD_GATEWAY, "proxy_internal_error"),
        Refusal::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "proxy_internal_error"),
    }
}

/// The head of a response made here. `closes`: the connection ends with it (HTTP/1 only).
pub fn head(response: &LocalResponse, closes: bool) -> ResponseHead {
    let mut fields = Fields::with_capacity(response.fields.len() + 2);
    for field in &response.fields {
        fields.append(field.clone());
    }
    // RFC 9110 §8.6: never where there can be no content.
    if !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        fields.push("Content-Length", response.content.len().to_string());
    }
    if closes {
        fields.push("Connection", "close");
    }
    let reason = response.status.canonical_reason().unwrap_or_default();
    ResponseHead { status: response.status, reason: Some(Bytes::from_static(reason.as_bytes())), version: Version::HTTP_11, fields }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::flow::{Authority, Challenge};

    #[test]
    fn a_refusal_says_all_in_one_line() {
        let authority = Authority::new("a.test", 443);
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);

        let response = refusal(&Refusal::ConnectionRefused { authority, source });

        assert_eq!(response.status, StatusCode::BAD_GATEWAY);
        assert_eq!(response.content, "flowgate: connecting to a.test:443 failed: connection refused\n");
    }

    #[test]
    fn a_challenge_names_its_realm() {
        let response = refusal(&Refusal::AuthenticationRequired(Challenge { realm: "flowgate" }));

        assert_eq!(response.fields.get("proxy-authenticate"), Some(b"Basic realm=\"flowgate\", charset=\"UTF-8\"".as_ref()));
    }

    #[test]
    fn what_a_plugin_said_stays_inside() {
        let source = anyhow::anyhow!("wasm trap at 0x1234");
        let response = refusal(&Refusal::PluginFailed { plugin: "rule".to_owned(), hook: "on-request", source });

        assert_eq!(response.content, "flowgate: plugin rule failed in on-request\n");
    }
}
