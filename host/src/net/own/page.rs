//! The page that helps to set a client up, and the root certificate in the forms that systems take.
//!
//! Place: part of `own`, which knows who asks. Plain HTML without scripts: whoever reads it has a client that does not work yet.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{NAME, Visit};
use crate::tls::{Root, keystore};

const PAGE: &str = include_str!("page.html");

/// For browsers.
pub(super) fn html(root: &Root, next: Option<&Root>, visit: &Visit<'_>) -> String {
    let (proxy, authority) = (visit.proxy(), visit.authority());
    let name = visit.user().unwrap_or("NAME");
    let (mood, verdict) = verdict(visit);
    let scheme = visit.scheme();
    let (host, port) = authority.rsplit_once(':').unwrap_or((&authority, "8080"));
    let values = [
        ("mood", mood.to_owned()),
        ("verdict", verdict),
        ("subject", root.subject().to_owned()),
        ("until", root.not_after().date().to_string()),
        ("fingerprint", root.fingerprint()),
        ("next", next.map_or_else(String::new, |next| next.subject().to_owned())),
        ("next-fingerprint", next.map_or_else(String::new, Root::fingerprint)),
        ("signs-for", root.permitted().to_string()),
        ("keystore-password", keystore::PASSWORD.to_owned()),
        ("login", format!("{scheme}://{}:PASSWORD@{authority}", in_url(name))),
        ("name", name.to_owned()),
        ("host", host.to_owned()),
        ("port", port.to_owned()),
        ("proxy", proxy),
    ];
    let mut page = String::with_capacity(2 * PAGE.len());
    let signs_own = root.permitted().has(NAME);
    let template = template(&[("next", next.is_some()), ("own", signs_own), ("limited", !signs_own)]);
    let mut rest = template.as_str();
    // One pass: what a value holds is never looked at again.
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (key, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value);
        escape(&mut page, value);
        rest = after;
    }
    page + rest
}

/// The page with those of its marked parts that are wanted.
fn template(wanted: &[(&str, bool)]) -> String {
    let (mut page, mut rest) = (String::with_capacity(PAGE.len()), PAGE);
    while let Some((before, marked)) = rest.split_once("<!-- ") {
        let (mark, marked) = marked.split_once(" -->\n").unwrap_or((marked, ""));
        let (part, after) = marked.split_once("<!-- end -->\n").unwrap_or((marked, ""));
        page.push_str(before);
        if wanted.contains(&(mark, true)) {
            page.push_str(part);
        }
        rest = after;
    }
    page + rest
}

/// For terminals.
pub(super) fn text(visit: &Visit<'_>) -> String {
    let (authority, scheme) = (visit.authority(), visit.scheme());
    let (name, verdict) = (in_url(visit.user().unwrap_or("NAME")), verdict(visit).1);
    format!(
        "{verdict}\n\n\
         This is flowgate, a forward proxy. Set your client's HTTP and HTTPS proxy to {scheme}://{authority}\n\
         and let it trust the root certificate at {scheme}://{authority}/flowgate-ca.pem\n\n\
         curl   curl -x {scheme}://{name}:PASSWORD@{authority} --cacert flowgate-ca.pem https://example.com/\n\
         Node   NODE_EXTRA_CA_CERTS=flowgate-ca.pem\n\
         Python REQUESTS_CA_BUNDLE=flowgate-ca.pem SSL_CERT_FILE=flowgate-ca.pem\n\
         git    git config http.proxy {scheme}://{name}:PASSWORD@{authority} && git config http.sslCAInfo flowgate-ca.pem\n\n\
         All systems and clients: {scheme}://{authority}/ in a browser.\n"
    )
}

/// For programs.
pub(super) fn facts(visit: &Visit<'_>) -> String {
    serde_json::json!({ "through_proxy": visit.through.is_some(), "user": visit.user(), "tls": visit.is_tls }).to_string() + "\n"
}

fn verdict(visit: &Visit<'_>) -> (&'static str, String) {
    match (visit.through.is_some(), visit.user()) {
        (false, _) => {
            ("", "You have opened the proxy's own address. Whether your client goes through it is not known from that.".to_owned())
        }
        (true, Some(user)) => {
            let trust = if visit.is_tls { ", and your client trusts its certificate" } else { "" };
            ("good", format!("Your client goes through the proxy, as {user}{trust}."))
        }
        (true, None) => {
            let trust = if visit.is_tls { ", trusts its certificate" } else { "" };
            ("good", format!("Your client goes through the proxy{trust}, and gives no name: records have none either."))
        }
    }
}

/// A profile that installs roots on macOS and iOS; its identifiers are those of the first certificate, so that a second one replaces the first.
pub(super) fn apple_profile<'a>(roots: impl Iterator<Item = &'a Root>) -> String {
    let (mut outer, mut name, mut payloads) = (String::new(), String::new(), String::new());
    for root in roots {
        if outer.is_empty() {
            outer = uuid(root.certificate_der(), "profile");
            escape(&mut name, root.subject());
        }
        payloads.push_str(&apple_payload(root));
    }
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>PayloadType</key><string>Configuration</string>
    <key>PayloadVersion</key><integer>1</integer>
    <key>PayloadIdentifier</key><string>flowgate.{outer}</string>
    <key>PayloadUUID</key><string>{outer}</string>
    <key>PayloadDisplayName</key><string>{name}</string>
    <key>PayloadDescription</key><string>Trusts the certificates that this flowgate makes.</string>
    <key>PayloadContent</key>
    <array>
{payloads}    </array>
</dict>
</plist>
"#
    )
}

fn apple_payload(root: &Root) -> String {
    let der = root.certificate_der();
    let (id, data) = (uuid(der, "certificate"), BASE64_STANDARD.encode(der));
    let mut subject = String::new();
    escape(&mut subject, root.subject());
    format!(
        r#"        <dict>
            <key>PayloadType</key><string>com.apple.security.root</string>
            <key>PayloadVersion</key><integer>1</integer>
            <key>PayloadIdentifier</key><string>flowgate.{id}</string>
            <key>PayloadUUID</key><string>{id}</string>
            <key>PayloadDisplayName</key><string>{subject}</string>
            <key>PayloadCertificateFileName</key><string>flowgate-ca.crt</string>
            <key>PayloadContent</key><data>{data}</data>
        </dict>
"#
    )
}

/// RFC 9562 §5.8: a UUID of our own making, always the same for one certificate.
fn uuid(der: &[u8], part: &str) -> String {
    let hash = Sha256::new_with_prefix(part).chain_update(der).finalize();
    let mut octets = [0; 16];
    octets.copy_from_slice(&hash[..16]);
    octets[6] = octets[6] & 0x0f | 0x80;
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex: String = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// As it can stand in the userinfo of a URL.
fn in_url(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// As it can stand in HTML and XML, in text and in attributes.
fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
}
