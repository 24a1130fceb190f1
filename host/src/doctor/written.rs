//! Proxies as people write them: `http://NAME:PASSWORD@HOST:PORT`.
//!
//! Place: read for `variables` and `settings`, which differ in where it stands and not in what may be wrong with it.
//! Source: RFC 3986 §3.2.1 for what may stand before the `@`.

use url::Url;

use super::{Finding, Subject};

/// A proxy's URL that every program reads alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Proxy {
    is_tls: bool,
    is_socks: bool,
    host: String,
    port: u16,
    /// As it was meant, percent-encoding undone.
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Why programs differ about it. Holds nothing of what was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Misread {
    Scheme,
    Credentials,
    Url,
}

/// # Errors
/// Says what programs differ about.
pub(super) fn read(text: &str) -> Result<Proxy, Misread> {
    let (scheme, rest) = text.trim().split_once("://").ok_or(Misread::Scheme)?;
    if rest.rsplit_once('@').is_some_and(|(userinfo, _)| !is_userinfo(userinfo)) {
        return Err(Misread::Credentials);
    }
    let url = Url::parse(text.trim()).map_err(|_| Misread::Url)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Misread::Url)?;
    let (is_tls, is_socks, default) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (false, false, 80),
        "https" => (true, false, 443),
        "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => (false, true, 1080),
        _ => return Err(Misread::Scheme),
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Ok(Proxy {
        is_tls,
        is_socks,
        host: host.to_owned(),
        port: url.port().unwrap_or(default),
        user: Some(decoded(url.username())).filter(|user| !user.is_empty()),
        password: url.password().map(decoded).filter(|password| !password.is_empty()),
    })
}

fn is_userinfo(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let good = match octet {
            b'%' => [octets.next(), octets.next()].iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' => true,
            other => other.is_ascii_alphanumeric(),
        };
        if !good {
            return false;
        }
    }
    true
}

impl Proxy {
    /// Without the password.
    fn shown(&self) -> String {
        let scheme = if self.is_socks {
            "socks5"
        } else if self.is_tls {
            "https"
        } else {
            "http"
        };
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        format!("{scheme}://{user}{}:{}", self.host, self.port)
    }

    pub(super) fn leads_to(&self, subject: &Subject) -> bool {
        subject.here.is(&self.host, self.port)
    }
}

/// Judges what stands in `place`, as in `HTTPS_PROXY`.
pub(super) fn judge(about: &'static str, place: &str, text: &str, subject: &Subject) -> Finding {
    let here = &subject.here;
    let name = subject.user.as_deref().unwrap_or("NAME");
    let wanted = format!("http://{}:PASSWORD@{here}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC));
    let proxy = match read(text) {
        Ok(proxy) => proxy,
        Err(Misread::Scheme) => {
            let what = format!("{place} does not begin with http://, which Node and Python do not take");
            return Finding::fault(about, what, format!("write it as {wanted}"));
        }
        Err(Misread::Credentials) => {
            let what = format!("{place} holds credentials that programs read differently");
            let mend = "write all but letters, digits and -._~ in name and password percent-encoded, as in %40 for @ and %23 for #";
            return Finding::fault(about, what, mend);
        }
        Err(Misread::Url) => return Finding::fault(about, format!("{place} is no URL of a proxy"), format!("write it as {wanted}")),
    };
    let shown = proxy.shown();
    if !proxy.leads_to(subject) {
        return Finding::warning(about, format!("{place} leads to {shown}, and not to this proxy"), format!("set it to {wanted}"));
    }
    if proxy.is_tls || proxy.is_socks {
        let what = format!("{place} is {shown}, but this proxy speaks HTTP in clear there");
        return Finding::fault(about, what, format!("write {wanted}: the scheme is that of the way to the proxy, not of what is fetched"));
    }
    match (&proxy.user, &proxy.password, &subject.user) {
        (Some(is), _, Some(wanted)) if is != wanted => {
            let what = format!("{place} gives the name {is}, not {wanted}");
            Finding::warning(about, what, format!("put {wanted} in its place, or records will be kept under {is}"))
        }
        (None, _, Some(wanted_name)) => {
            Finding::warning(about, format!("{place} gives no name"), format!("write {wanted}, or records will not say {wanted_name}"))
        }
        (Some(_), None, _) => {
            let mend = format!("write any password behind the name, as in {wanted}: several clients send no name without one");
            Finding::warning(about, format!("{place} is {shown}, a name without a password"), mend)
        }
        _ => Finding::ok(about, format!("{place} is {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_differ_about_is_told() {
        let good = read("http://ana:p%40ss@127.0.0.1:8080").unwrap();
        assert_eq!((good.user.as_deref(), good.password.as_deref(), good.port), (Some("ana"), Some("p@ss"), 8080));
        assert_eq!(good.shown(), "http://ana@127.0.0.1:8080");
        let table = [
            ("127.0.0.1:8080", Misread::Scheme),
            ("ftp://127.0.0.1:8080", Misread::Scheme),
            ("http://ana:p@ss@127.0.0.1:8080", Misread::Credentials),
            ("http://ana:p#ss@127.0.0.1:8080", Misread::Credentials),
            ("http://ana:p/s@127.0.0.1:8080", Misread::Credentials),
            ("http://ana:50%@127.0.0.1:8080", Misread::Credentials),
            ("http://ana:p s@127.0.0.1:8080", Misread::Credentials),
            ("http://127.0.0.1:port", Misread::Url),
            ("http://", Misread::Url),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }
}
