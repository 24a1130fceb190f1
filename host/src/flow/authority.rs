//! Hosts, ports and origins as a forward proxy meets them.
//!
//! Place: parsed once at the edge; everything behind it takes an [`Authority`] for well-formed.
//! Source: RFC 9110 §4.3, RFC 3986 §3.2, RFC 9112 §3.2.3.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// `host:port` without userinfo (RFC 9112 §3.2.3, authority-form). The host keeps the client's spelling; an IPv6 literal is kept without
/// its brackets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Authority {
    host: Arc<str>,
    port: u16,
}

/// Why a piece of text is not an authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// No port where one is required.
    #[error("the port is missing")]
    NoPort,
    /// The port is not a decimal number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    BadPort,
    /// The host is empty, or holds an octet no host may hold.
    #[error("the host is not a host name or an IP literal")]
    BadHost,
    /// `user@host`: a place to hide credentials or another host in.
    #[error("userinfo is not allowed")]
    Userinfo,
}

impl Authority {
    /// From parts that are known to be good, as in configuration and tests.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// `host:port`, the port required: the request-target of CONNECT.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, AuthorityError> {
        Self::parse_or(text, None)
    }

    /// `host[:port]`, with the scheme's port where none is written: the authority of a URI or a Host field.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse_or(text: &[u8], default_port: Option<u16>) -> Result<Self, AuthorityError> {
        let text = std::str::from_utf8(text).map_err(|_| AuthorityError::BadHost)?;
        if text.contains('@') {
            return Err(AuthorityError::Userinfo);
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (literal, after) = rest.split_once(']').ok_or(AuthorityError::BadHost)?;
            literal.parse::<Ipv6Addr>().map_err(|_| AuthorityError::BadHost)?;
            match after {
                "" => (literal, None),
                _ => (literal, Some(after.strip_prefix(':').ok_or(AuthorityError::BadHost)?)),
            }
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if !text.starts_with('[') && !is_reg_name(host) {
            return Err(AuthorityError::BadHost);
        }
        let port = match port {
            // RFC 3986 §3.2.3: an empty port means the scheme's.
            None | Some("") => default_port.ok_or(AuthorityError::NoPort)?,
            Some(digits) => parse_port(digits)?,
        };
        Ok(Self { host: host.into(), port })
    }

    /// Host name or IP literal, an IPv6 literal without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, if it is an IP literal.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// `reg-name` narrowed to what resolvers take: letters, digits, `-`, `.`, `_`, and octets above ASCII.
fn is_reg_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_') || octet >= 0x80)
}

fn parse_port(digits: &str) -> Result<u16, AuthorityError> {
    // `u16::from_str` takes `+80`; a port is digits only (RFC 3986 §3.2.3).
    if digits.len() > 5 || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(AuthorityError::BadPort);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(AuthorityError::BadPort),
        Ok(port) => Ok(port),
    }
}

/// `http` or `https` (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Lower case, without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Scheme, host and port (RFC 9110 §4.3.1): where a request is sent to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    /// Decides whether TLS is spoken.
    pub scheme: Scheme,
    /// Whom to connect to.
    pub authority: Authority,
}

impl Origin {
    /// `https://host[:port]`, with or without a slash at the end.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(OriginError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(OriginError::Path);
        }
        let authority = Authority::parse_or(authority.to_ascii_lowercase().as_bytes(), Some(scheme.default_port()))?;
        Ok(Self { scheme, authority })
    }

    /// What the Host field says (RFC 9110 §7.2): the authority with the default port left out.
    pub fn host_field(&self) -> impl fmt::Display {
        fmt::from_fn(|f| match (self.authority.port() == self.scheme.default_port(), self.authority.host()) {
            (false, _) => write!(f, "{}", self.authority),
            (true, host) if host.contains(':') => write!(f, "[{host}]"),
            (true, host) => f.write_str(host),
        })
    }
}

/// Why a piece of text is not an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Neither `http://` nor `https://` in front.
    #[error("it begins neither with https:// nor with http://")]
    Scheme,
    /// More than an origin.
    #[error("the path is not part of an origin")]
    Path,
    /// What is between is wrong.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// `https://host` with the default port left out.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host_field())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_parsed_or_refused() {
        let good = [("a.test:443", "a.test:443"), ("[::1]:8443", "[::1]:8443"), ("under_score.test:80", "under_score.test:80")];
        for (text, shown) in good {
            assert_eq!(Authority::parse(text.as_bytes()).map(|authority| authority.to_string()), Ok(shown.to_owned()));
        }
        let bad = [
            ("a.test", AuthorityError::NoPort),
            ("a.test:0", AuthorityError::BadPort),
            ("a.test:65536", AuthorityError::BadPort),
            ("a.test:+80", AuthorityError::BadPort),
            ("a.test:0x50", AuthorityError::BadPort),
            ("me@a.test:80", AuthorityError::Userinfo),
            ("a b:80", AuthorityError::BadHost),
            ("http://a.test:80", AuthorityError::BadPort),
            (":80", AuthorityError::BadHost),
            ("[::1:80", AuthorityError::BadHost),
            ("::1:80", AuthorityError::BadHost),
            ("a/b:80", AuthorityError::BadHost),
        ];
        for (text, error) in bad {
            assert_eq!(Authority::parse(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn origins_are_parsed_or_refused() {
        for text in ["https://a.test", "http://a.test:8080", "https://[::1]:8443"] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Origin::parse("https://A.test:443/").map(|origin| origin.to_string()), Ok("https://a.test".to_owned()));
        let bad = [
            ("a.test", OriginError::Scheme),
            ("ftp://a.test", OriginError::Scheme),
            ("https://a.test/x", OriginError::Path),
            ("https://a.test?x", OriginError::Path),
            ("https://", OriginError::Authority(AuthorityError::BadHost)),
            ("https://me@a.test", OriginError::Authority(AuthorityError::Userinfo)),
            ("https://*.a.test", OriginError::Authority(AuthorityError::BadHost)),
        ];
        for (text, error) in bad {
            assert_eq!(Origin::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn origins_leave_out_the_default_port() {
        let origin = |scheme, host, port| Origin { scheme, authority: Authority::new(host, port) }.to_string();

        assert_eq!(origin(Scheme::Https, "a.test", 443), "https://a.test");
        assert_eq!(origin(Scheme::Http, "a.test", 443), "http://a.test:443");
        assert_eq!(origin(Scheme::Https, "::1", 8443), "https://[::1]:8443");
    }
}
