//! Where traces go: what is written about it.
//!
//! Place: a part of [`super::Config`]; `app` sends them.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use http::Uri;

use super::raw;

/// Where one is posted to where the URL names no path (OpenTelemetry Protocol 1.x, OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// Traces of flows.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesConfig {
    /// The collector's whole URL; `None`: there are no traces.
    pub endpoint: Option<String>,
    /// File with fields to send along, as for a login.
    pub headers_file: Option<PathBuf>,
    /// Which part of the flows is told of, 0 to 1; those that bring a trace of their own are if that is.
    pub ratio: f64,
    /// Whether they say who it was.
    pub users: bool,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { endpoint: None, headers_file: None, ratio: 1.0, users: false }
    }
}

impl TracesConfig {
    /// A flag beats the file.
    ///
    /// # Errors
    /// What is written makes no sense, and the mend.
    pub(super) fn resolve(flags: &raw::Flags, written: raw::Traces, beside: &Path) -> anyhow::Result<Self> {
        let endpoint = flags.traces.clone().or(written.endpoint).map(|url| endpoint(&url)).transpose()?;
        let ratio = written.ratio.unwrap_or(1.0);
        ensure!((0.0..=1.0).contains(&ratio), "traces.ratio is {ratio}, but must be between 0 and 1");
        let headers_file = written.headers_file.map(|file| beside.join(file));
        Ok(Self { endpoint, headers_file, ratio, users: written.users.unwrap_or(false) })
    }
}

/// It is shown and written to diagnostics: secrets have no place in it.
fn endpoint(url: &str) -> anyhow::Result<String> {
    const EXPECTED: &str = "traces.endpoint is the http:// or https:// URL of a collector, as in http://127.0.0.1:4318";
    let uri: Uri = url.parse().context(EXPECTED)?;
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority().context(EXPECTED)?);
    ensure!(matches!(scheme, "http" | "https"), EXPECTED);
    ensure!(
        !authority.as_str().contains('@') && uri.query().is_none(),
        "traces.endpoint is shown to people and takes neither credentials nor a query: put them into traces.headers-file"
    );
    let path = if uri.path() == "/" { PATH } else { uri.path() };
    Ok(format!("{scheme}://{authority}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: &str) -> anyhow::Result<TracesConfig> {
        let flags = raw::Flags { traces: Some(url.to_owned()), ..raw::Flags::default() };
        TracesConfig::resolve(&flags, raw::Traces::default(), Path::new("/srv"))
    }

    #[test]
    fn a_collector_is_a_url_without_secrets() {
        for (url, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example/v1/traces"),
            ("https://otel.example/api/otlp/v1/traces", "https://otel.example/api/otlp/v1/traces"),
        ] {
            assert_eq!(resolve(url).unwrap().endpoint.as_deref(), Some(expected));
        }
        for (url, expected) in [
            ("127.0.0.1:4318", "as in http://127.0.0.1:4318"),
            ("grpc://a.test:4317", "as in http://127.0.0.1:4318"),
            ("/v1/traces", "as in http://127.0.0.1:4318"),
            ("", "as in http://127.0.0.1:4318"),
            ("https://ana:hunter2@otel.example", "traces.headers-file"),
            ("https://otel.example/?key=hunter2", "traces.headers-file"),
        ] {
            let error = format!("{:#}", resolve(url).expect_err(url));
            assert!(error.contains(expected) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_part_is_a_part() {
        let written = |ratio| raw::Traces { ratio: Some(ratio), ..raw::Traces::default() };
        let resolve = |ratio| TracesConfig::resolve(&raw::Flags::default(), written(ratio), Path::new("/srv"));

        assert_eq!(resolve(0.25).unwrap().ratio, 0.25);
        for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(resolve(ratio).unwrap_err().to_string().contains("must be between 0 and 1"), "{ratio}");
        }
    }
}
