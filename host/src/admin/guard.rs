//! Who may ask what on the admin listener.
//!
//! Place: in front of every route of `listener`. A web page that was opened elsewhere must not get anything out of it: neither by a name that
//! it makes lead here (DNS rebinding), nor by asking from its own origin. What the token opens is sent with each request by hand, so there is
//! nothing that a browser would add by itself.
//! Source: RFC 9110 §7.2, RFC 6454 §7, the Fetch Metadata Request Headers of the W3C.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Token, routes::refused};
use crate::flow::Authority;

/// What a page from here may do: load what lies beside it, ask its own origin, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// See the module.
pub(super) struct Guard {
    pub(super) token: Token,
    /// Names it may be called by besides addresses and `localhost`, in lower case.
    pub(super) names: Vec<String>,
    /// Only this machine reaches it.
    pub(super) is_loopback: bool,
}

impl Guard {
    /// Whether that Host is one of ours. A name that is not can be anybody's, made to lead here.
    fn is_host(&self, host: Option<&HeaderValue>) -> bool {
        let Some(authority) = host.and_then(|host| Authority::parse_or(host.as_bytes(), Some(80)).ok()) else { return false };
        match authority.ip() {
            Some(ip) => !self.is_loopback || IpAddr::to_canonical(&ip).is_loopback(),
            None => {
                let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || self.names.contains(&name)
            }
        }
    }

    fn objection(&self, request: &Request) -> Option<Response> {
        let path = request.uri().path();
        // Load balancers ask by whatever name and version they have; the answer is one bit.
        if matches!(path, "/healthz" | "/readyz") {
            return None;
        }
        let fields = request.headers();
        let host = fields.get(header::HOST);
        if !self.is_host(host) {
            let sentence =
                "this is not called by one of its names: call it by its address or by localhost, or write the name into admin.names";
            return Some(refused(StatusCode::MISDIRECTED_REQUEST, sentence.to_owned()));
        }
        if comes_from_elsewhere(request) {
            return Some(refused(StatusCode::FORBIDDEN, "a page of another origin asks; only this listener's own page may".to_owned()));
        }
        let is_open = match path {
            "/metrics" => self.is_loopback,
            path => !path.starts_with("/v1/"),
        };
        let has_token = || fields.get(header::AUTHORIZATION).is_some_and(|value| self.token.is_in(value.as_bytes()));
        if is_open || has_token() {
            return None;
        }
        let sentence = "the token is wanted, as in Authorization: Bearer TOKEN: it is in the file admin-token of the state folder, if no other was named".to_owned();
        let mut response = refused(StatusCode::UNAUTHORIZED, sentence);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"flowgate\""));
        Some(response)
    }
}

/// Whether a browser says that some other origin's page asks. Following a link to the page itself is anybody's right.
fn comes_from_elsewhere(request: &Request) -> bool {
    let fields = request.headers();
    let text = |name: HeaderName| fields.get(name).map(HeaderValue::as_bytes);
    let is_visit = request.method() == Method::GET && text(HeaderName::from_static("sec-fetch-mode")) == Some(b"navigate");
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) && !is_visit {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = text(header::HOST).unwrap_or_default();
    let own = |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host));
    // https: where something in front of this ends TLS.
    !own(b"http://") && !own(b"https://")
}

/// Lets a request through to its route, or answers it.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.objection(&request) {
        Some(objection) => objection.into_response(),
        None => next.run(request).await,
    };
    let fields = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    for (name, value) in fields {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
