//! What a failed handshake comes down to, in words for people.
//!
//! Place: `net` and `origin` have an `io::Error`; somewhere in it may be one of TLS.
//! Source: RFC 8446 §6.2 for the alerts.

use std::{error::Error as StdError, fmt, io};

use rustls::{AlertDescription, CertificateError, Error};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use super::client::{Distrust, printable};

/// What a TLS error is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateTrouble {
    /// We do not trust the peer's certificate. Says why, as the end of "the certificate is not trusted: ".
    Untrusted(String),
    /// The peer sent an alert that says it does not trust ours: of a client, that it does not know the root. Names the alert.
    Refused(String),
    /// No certificate is to blame. Says what is.
    Other(String),
}

impl CertificateTrouble {
    /// The peer's certificate is to blame: it was not trusted here, and nothing was sent to it.
    pub fn is_certificate(&self) -> bool {
        matches!(self, Self::Untrusted(_))
    }

    /// The peer does not trust us: of a client, that the root is not installed there.
    pub fn is_distrust(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// The reason, without saying which of the three it is.
impl fmt::Display for CertificateTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(reason) | Self::Other(reason) => f.write_str(reason),
            Self::Refused(alert) => write!(f, "the peer refused the certificate with the alert {alert}"),
        }
    }
}

/// The TLS error in an I/O error; `None` where there is none, as when the connection broke.
pub fn explain(error: &io::Error) -> Option<CertificateTrouble> {
    let mut next: Option<&(dyn StdError + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(inner) = next {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return Some(explain_error(error));
        }
        next = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(deeper) => Some(deeper),
            None => inner.source(),
        };
    }
    None
}

pub(super) fn explain_error(error: &Error) -> CertificateTrouble {
    match error {
        Error::InvalidCertificate(error) => CertificateTrouble::Untrusted(words(error)),
        Error::NoCertificatesPresented => CertificateTrouble::Untrusted("there is none".to_owned()),
        Error::AlertReceived(alert) if blames_certificate(*alert) => CertificateTrouble::Refused(format!("{alert:?}")),
        Error::AlertReceived(alert) => CertificateTrouble::Other(format!("the peer sent the alert {alert:?}")),
        Error::InvalidMessage(_) => CertificateTrouble::Other("what the peer sent is not TLS".to_owned()),
        other => CertificateTrouble::Other(other.to_string()),
    }
}

/// Alerts by which clients say that they do not trust a certificate. Which one is theirs to choose: OpenSSL says `UnknownCA`, BoringSSL
/// `CertificateUnknown`, NSS `BadCertificate`.
fn blames_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
    )
}

fn words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("it expired on {}", date(not_after)),
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => format!("it is not valid before {}", date(not_before)),
        CertificateError::NotValidForName => "it is for another host".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().take(5).map(|name| plain(name)).collect::<Vec<_>>().join(", ");
            match names.is_empty() {
                true => format!("it is not for {}: it names no host", expected.to_str()),
                false => format!("it is not for {} but for {names}", expected.to_str()),
            }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "it is not for servers".to_owned(),
        CertificateError::UnknownIssuer => "its issuer is not trusted".to_owned(),
        CertificateError::BadSignature => "its signature does not verify".to_owned(),
        CertificateError::BadEncoding => "it is malformed".to_owned(),
        CertificateError::Revoked => "it has been revoked".to_owned(),
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that is not understood".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => "it is signed in a way that is not safe".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref::<Distrust>() {
            Some(distrust) => distrust.to_string(),
            // webpki's own error type is not ours to name; its words are stable enough for people.
            None if other.0.to_string().contains("CaUsedAsEndEntity") => "it is an authority's, not a server's".to_owned(),
            None => printable(&other.0.to_string()),
        },
        other => other.to_string(),
    }
}

/// rustls prints names as Rust would: `DnsName("a.test")`.
fn plain(name: &str) -> String {
    let inner = name.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or(name, |(inner, _)| inner);
    printable(inner)
}

fn date(time: &UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .map_or_else(|| "another day".to_owned(), |time| time.date().to_string())
}

#[cfg(test)]
mod tests {
    use rustls::{InvalidMessage, PeerIncompatible};

    use super::*;

    fn wrapped(error: Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    #[test]
    fn tls_errors_are_found_however_deep() {
        let direct = wrapped(Error::AlertReceived(AlertDescription::UnknownCA));
        let deep = io::Error::other(io::Error::other(wrapped(Error::AlertReceived(AlertDescription::UnknownCA))));

        for error in [direct, deep] {
            assert_eq!(explain(&error), Some(CertificateTrouble::Refused("UnknownCA".to_owned())));
        }
        assert_eq!(explain(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
        assert_eq!(explain(&io::Error::other("no")), None);
    }

    #[test]
    fn what_no_certificate_is_to_blame_for_is_said_to_be_other() {
        let cases = [
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "not TLS"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "HandshakeFailure"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "NoCipherSuitesInCommon"),
        ];
        for (error, expected) in cases {
            match explain(&wrapped(error)) {
                Some(CertificateTrouble::Other(reason)) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
