//! Another proxy on the way to origins.
//!
//! Place: between `dial` and the network, where the configuration names one. Everything goes through it as a tunnel, requests in clear as
//! well: what the origin gets is then the same octets as without it. Names are looked up by that proxy.
//! Source: RFC 9110 §9.3.6 for CONNECT, RFC 7617 for Basic, RFC 1928 and RFC 1929 for SOCKS5.

use std::{
    fmt, io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::BytesMut;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use http::Uri;
use hyper_util::{client::legacy::connect::proxy::SocksV5, rt::TokioIo};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, ReadBuf};
use tower_service::Service;
use url::Url;

use crate::{
    flow::Authority,
    h1::HeadLimits,
    io::{Io, Layer, Layered, halves, whole},
};

/// Of the answer to CONNECT: what is larger comes from no proxy.
const HEAD: HeadLimits = HeadLimits { octets: 16 * 1024, fields: 64 };

/// See the module.
#[derive(Clone)]
pub struct Upstream {
    /// How it is spoken to.
    pub(super) kind: Kind,
    /// Where it listens.
    pub(super) authority: Authority,
    credentials: Option<(String, String)>,
    direct: Direct,
}

/// How an upstream proxy is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// HTTP in clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS, version 5.
    Socks5,
}

/// Origins that are reached without it.
#[derive(Clone, Debug)]
pub struct Direct(Vec<Exception>);

/// Some of them.
#[derive(Clone, Debug)]
struct Exception {
    hosts: Hosts,
    /// All ports if it names none.
    port: Option<u16>,
}

/// How an exception says which hosts it is for.
#[derive(Clone, Debug)]
enum Hosts {
    /// `*`: names and addresses.
    All,
    /// Names.
    Named(GlobSet),
    /// Addresses.
    Within(IpNet),
}

/// Why a setting cannot be followed. Holds no credentials.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The URL of the proxy.
    #[error(
        "the upstream proxy is to be written as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before HOST if it asks for them: {0}"
    )]
    Url(String),
    /// An exception.
    #[error(
        "no-proxy: {0:?} is neither a host, as in .example.com, nor an address or a network, as in 10.0.0.0/8, each with :PORT behind it if only that is meant"
    )]
    Exception(String),
}

impl Upstream {
    /// Reads `http://user:password@host:port` (or `https`, `socks5`) and the hosts that are reached without it: names with all names below
    /// them, shell-like patterns, addresses, networks, or `*`, each with `:port` behind it if it is for that port only.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(url: &str, direct: &[String]) -> Result<Self, UpstreamError> {
        let bad = |why: &str| UpstreamError::Url(why.to_owned());
        let url = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        let (kind, port) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            other => return Err(bad(&format!("{other} is not among them"))),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a path"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it names no host"))?;
        let authority =
            Authority::parse(format!("{host}:{}", url.port().unwrap_or(port)).as_bytes()).map_err(|error| bad(&error.to_string()))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = (!url.username().is_empty() || url.password().is_some())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        Ok(Self { kind, authority, credentials, direct: Direct::parse(direct)? })
    }

    /// Whether that origin is reached through it.
    pub(super) fn leads_to(&self, authority: &Authority) -> bool {
        !self.direct.covers(authority)
    }

    /// Makes `io`, a connection to it, one to that origin.
    ///
    /// # Errors
    /// It refuses, or does not speak as expected; says which upstream proxy it was.
    pub(super) async fn open(&self, io: Io, authority: &Authority) -> io::Result<Io> {
        let opened = match self.kind {
            Kind::Http | Kind::Https => self.connect(io, authority).await,
            Kind::Socks5 => self.socks(io, authority).await,
        };
        opened.map_err(|error| io::Error::other(format!("the upstream proxy {} {error}", self.authority)))
    }

    async fn connect(&self, io: Io, authority: &Authority) -> io::Result<Io> {
        let (mut reader, mut writer) = halves(io, BytesMut::new());
        let buffer = writer.buffer();
        buffer.extend_from_slice(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").as_bytes());
        if let Some((user, password)) = &self.credentials {
            let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
            buffer.extend_from_slice(format!("Proxy-Authorization: Basic {basic}\r\n").as_bytes());
        }
        buffer.extend_from_slice(b"\r\n");
        writer.flush().await?;
        let head = reader.response(HEAD).await.map_err(|error| io::Error::other(format!("does not answer as one: {error}")))?;
        let Some(head) = head else { return Err(io::Error::other("closed the connection without an answer")) };
        match head.status.as_u16() {
            200..=299 => Ok(Box::new(whole(reader, writer))),
            407 if self.credentials.is_some() => Err(io::Error::other("does not accept the credentials it was given (407)")),
            407 => Err(io::Error::other("asks for credentials (407): write them into its URL")),
            status => {
                Err(io::Error::other(format!("refused to connect: {status} {}", String::from_utf8_lossy(&head.reason.unwrap_or_default()))))
            }
        }
    }

    async fn socks(&self, io: Io, authority: &Authority) -> io::Result<Io> {
        let said = |error: &dyn fmt::Display| io::Error::other(format!("refused to connect: {error}"));
        let uri: Uri = format!("socks5://{}", self.authority).parse().map_err(|error| said(&error))?;
        let target: Uri = format!("https://{authority}").parse().map_err(|error| said(&error))?;
        let mut socks = SocksV5::new(uri, Connected(Some(io)));
        if let Some((user, password)) = &self.credentials {
            socks = socks.with_auth(user.clone(), password.clone());
        }
        let opened = socks.call(target).await.map_err(|error| said(&error))?;
        Ok(opened.into_inner().into_inner())
    }
}

/// Without its credentials.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("kind", &self.kind).field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Direct {
    /// Reads exceptions, as [`Upstream::parse`] does.
    ///
    /// # Errors
    /// Names the one that is none.
    pub fn parse(exceptions: &[String]) -> Result<Self, UpstreamError> {
        let parsed = |text: &String| Exception::parse(text).ok_or_else(|| UpstreamError::Exception(text.clone()));
        exceptions.iter().map(parsed).collect::<Result<_, _>>().map(Self)
    }

    /// Whether that origin is one of them.
    pub fn covers(&self, authority: &Authority) -> bool {
        self.0.iter().any(|exception| exception.covers(authority))
    }
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        // The last colon of a bare `::1` comes before no port.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port.parse().ok()?)),
            _ => (text.as_str(), None),
        };
        Some(Self { hosts: Hosts::parse(host)?, port })
    }

    fn covers(&self, authority: &Authority) -> bool {
        self.port.is_none_or(|port| port == authority.port()) && self.hosts.cover(authority)
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = bare.parse::<IpNet>() {
            return Some(Self::Within(network));
        }
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Within(address.into()));
        }
        // `example.com`, `.example.com` and `*.example.com` are all written for the name and what is below it. No brackets are taken off:
        // they are a class in a pattern.
        let name = text.strip_prefix("*.").or(text.strip_prefix('.')).unwrap_or(text).trim_end_matches('.');
        if name.is_empty() || name.contains(['/', ':', ' ']) {
            return None;
        }
        let glob = |pattern: &str| GlobBuilder::new(pattern).build().ok();
        let named = GlobSetBuilder::new().add(glob(name)?).add(glob(&format!("*.{name}"))?).build();
        Some(Self::Named(named.ok()?))
    }

    fn cover(&self, authority: &Authority) -> bool {
        match (self, authority.ip()) {
            (Self::All, _) => true,
            (Self::Within(network), Some(address)) => network.contains(&address),
            (Self::Named(names), None) => names.is_match(authority.host().trim_end_matches('.').to_ascii_lowercase()),
            _ => false,
        }
    }
}

/// A connector that hands out the one connection it was given.
struct Connected(Option<Io>);

impl Service<Uri> for Connected {
    type Response = TokioIo<Layered<Io, Sips>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Layered<Io, Sips>>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let io = self.0.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        Box::pin(async { io.map(|io| TokioIo::new(Layered::new(io, Sips))) })
    }
}

/// Reads octet by octet: the handshake throws away what it reads beyond the last reply, which a server that speaks first may have sent right
/// behind it.
struct Sips;

impl<I: Unpin> Layer<I> for Sips {
    fn poll_read(&mut self, below: &mut I, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead,
    {
        let mut octet = [0];
        let mut sip = ReadBuf::new(&mut octet);
        ready!(Pin::new(below).poll_read(cx, &mut sip))?;
        out.put_slice(sip.filled());
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_from_their_urls() {
        let read = |url: &str| {
            let upstream = Upstream::parse(url, &[]).expect("good");
            (upstream.kind, upstream.authority.to_string(), upstream.credentials)
        };

        assert_eq!(read("http://proxy.test:3128"), (Kind::Http, "proxy.test:3128".into(), None));
        assert_eq!(read("https://proxy.test/").0, Kind::Https);
        assert_eq!(read("socks5://[::1]").0, Kind::Socks5);
        assert_eq!(read("http://ana:p%40ss@proxy.test:1").2, Some(("ana".into(), "p@ss".into())));
    }

    #[test]
    fn bad_settings_are_refused_without_showing_credentials() {
        for url in
            ["proxy.test:3128", "ftp://ana:s3cret@proxy.test", "http://ana:s3cret@proxy.test/path", "http://", "http://ana:s3cret@:1"]
        {
            let error = Upstream::parse(url, &[]).expect_err(url).to_string();
            assert!(error.contains("http://HOST:PORT") && !error.contains("s3cret"), "{error}");
        }
        for exception in ["", ".", "http://a.test", "10.0.0.0/33", "a b", "a.test:", "a.test:https", "a.test:65536", "[::1]:x"] {
            let error = Upstream::parse("http://proxy.test", &[exception.to_owned()]).expect_err(exception).to_string();
            assert!(error.contains("no-proxy"), "{error}");
        }
        let shown = format!("{:?}", Upstream::parse("http://ana:s3cret@proxy.test", &[]).expect("good"));
        assert!(!shown.contains("s3cret") && !shown.contains("ana"), "{shown}");
    }

    #[test]
    fn every_form_of_an_exception_covers_what_it_says() {
        // The exception, what is reached directly by it, and what is not.
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "example.com",
                &["example.com:443", "A.Example.com.:80", "x.y.example.com:1"],
                &["notexample.com:443", "example.com.evil.test:443"],
            ),
            (".inner.test", &["inner.test:443", "x.inner.test:443"], &["xinner.test:443"]),
            ("*.glob.test", &["glob.test:443", "a.glob.test:443"], &["aglob.test:443"]),
            (" Dotted.Test. ", &["dotted.test:443", "a.dotted.test:443"], &["dotted.tes:443"]),
            ("db-[0-9]?.test", &["db-1a.test:443", "x.db-22.test:443"], &["db-xa.test:443", "db-1.test:443"]),
            ("db-[0-9]", &["db-1:443"], &["db-x:443", "db-:443"]),
            ("192.168.1.7", &["192.168.1.7:443"], &["192.168.1.8:443", "192.168.1.7.test:443"]),
            ("::1", &["[::1]:443"], &["[::2]:443"]),
            ("[::2]", &["[::2]:443", "[0:0:0:0:0:0:0:2]:443"], &["[::1]:443"]),
            ("10.0.0.0/8", &["10.1.2.3:443"], &["11.0.0.1:443", "[::a01:203]:443", "ten.test:443"]),
            ("fd00::/8", &["[fd12::1]:443"], &["[fe80::1]:443"]),
            ("*", &["any.test:1", "10.1.2.3:443", "[::1]:443"], &[]),
            ("ports.test:8443", &["ports.test:8443", "a.ports.test:8443"], &["ports.test:443"]),
            ("10.0.0.0/8:8443", &["10.1.2.3:8443"], &["10.1.2.3:443"]),
            ("[::1]:8443", &["[::1]:8443"], &["[::1]:443"]),
            ("*:8443", &["any.test:8443", "[::1]:8443"], &["any.test:443"]),
        ];
        for (exception, direct, through) in table {
            let upstream = Upstream::parse("http://proxy.test", &[(*exception).to_owned()]).expect(exception);
            let leads_to = |authority: &str| upstream.leads_to(&Authority::parse(authority.as_bytes()).expect(authority));
            for authority in *direct {
                assert!(!leads_to(authority), "{exception} covers {authority}");
            }
            for authority in *through {
                assert!(leads_to(authority), "{exception} does not cover {authority}");
            }
        }
    }

    #[test]
    fn exceptions_add_up() {
        let upstream =
            Upstream::parse("http://proxy.test", &["a.test:1".to_owned(), "::1".to_owned(), "a.test:2".to_owned()]).expect("good");
        let direct: Vec<bool> = [("a.test", 1), ("a.test", 2), ("a.test", 3), ("::1", 3)]
            .map(|(host, port)| !upstream.leads_to(&Authority::new(host, port)))
            .into();
        assert_eq!(direct, [true, true, false, true]);
        assert!(Upstream::parse("http://proxy.test", &[]).expect("good").leads_to(&Authority::new("a.test", 1)));
    }
}
