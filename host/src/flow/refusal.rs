//! Why the proxy answers itself.
//!
//! Place: returned from everywhere on the way of a flow; `exchange::respond` alone turns it into a status.
//! Source: RFC 9209 §2.3 for the variants.

use std::{io, time::Duration};

use super::{Authority, AuthorityError, Origin};

/// Why the proxy answers itself. Variants follow the proxy error types of RFC 9209 §2.3.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `http_request_error`: the request cannot be understood in one way only, or is not for a forward proxy.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The authority in the request-target or in Host is not one.
    #[error("the authority of the request is malformed")]
    BadAuthority(#[from] AuthorityError),
    /// `http_request_denied`: the head is larger than the limit.
    #[error("the head of the request is larger than {limit} octets or has too many fields")]
    HeadTooLarge {
        /// In octets.
        limit: usize,
    },
    /// `http_request_error`: the client says no more of its request.
    #[error("nothing more of the request's content has come for {after:?}")]
    RequestTimeout {
        /// How long was waited.
        after: Duration,
    },
    /// A held request is larger than its plugin's bound.
    #[error("the content of the request is larger than the {limit} octets that plugin {plugin} may hold")]
    ContentTooLarge {
        /// Whose bound.
        plugin: String,
        /// In octets.
        limit: usize,
    },
    /// Credentials are missing or do not verify; the challenge says what is asked for.
    #[error("proxy authentication is required")]
    AuthenticationRequired(Challenge),
    /// `http_request_denied`: by the configuration.
    #[error("{0}")]
    Denied(String),
    /// `dns_error`.
    #[error("no address for {}", authority.host())]
    DnsError {
        /// Whom.
        authority: Authority,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// `connection_refused`, and whatever else keeps a connection from coming up.
    #[error("connecting to {authority} failed")]
    ConnectionRefused {
        /// Whom.
        authority: Authority,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// `connection_timeout`.
    #[error("{authority} did not accept within {after:?}")]
    ConnectionTimeout {
        /// Whom.
        authority: Authority,
        /// How long was waited.
        after: Duration,
    },
    /// The upstream proxy cannot be used, for a reason that would be a refusal of its own if it was an origin: the error type is that one's.
    #[error("the upstream proxy {authority} cannot be used")]
    Upstream {
        /// Where it should be.
        authority: Authority,
        /// Why.
        #[source]
        source: Box<Refusal>,
    },
    /// `tls_certificate_error`: the origin's certificate is not to be trusted. The request was not sent.
    #[error("the certificate of {authority} is not trusted: {reason}")]
    CertificateError {
        /// Whose.
        authority: Authority,
        /// For people: expired, wrong host, unknown issuer …
        reason: String,
    },
    /// `tls_protocol_error` and `tls_alert_received`.
    #[error("TLS with {authority} failed: {reason}")]
    TlsError {
        /// With whom.
        authority: Authority,
        /// For people.
        reason: String,
    },
    /// `http_response_incomplete` before a head came: the origin closed.
    #[error("{origin} closed the connection without a response")]
    NoResponse {
        /// Which.
        origin: Origin,
        /// Where the system said more.
        #[source]
        source: Option<io::Error>,
    },
    /// `http_response_timeout`: the origin does not answer, and has taken all of the request, or takes nothing of it, for too long.
    #[error("{origin} has not answered, and given no sign of life for {after:?}")]
    ResponseTimeout {
        /// Which.
        origin: Origin,
        /// How long was waited.
        after: Duration,
    },
    /// `http_protocol_error`: the origin's response cannot be understood in one way only.
    #[error("the response of {origin} is malformed: {reason}")]
    BadResponse {
        /// Which.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// `connection_limit_reached` and its kin: not now.
    #[error("{0}")]
    Overloaded(&'static str),
    /// `proxy_loop_detected`.
    #[error("the request leads back to this proxy")]
    Loop,
    /// A filter failed whose failure refuses the flow.
    #[error("plugin {plugin} failed in {hook}")]
    PluginFailed {
        /// Which.
        plugin: String,
        /// In which of its hooks.
        hook: &'static str,
        /// Trap, deadline, memory …
        #[source]
        source: anyhow::Error,
    },
    /// `proxy_internal_error`.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// What is asked for with 407 (RFC 9110 §11.7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// Names the protection space.
    pub realm: &'static str,
}
