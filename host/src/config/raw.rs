//! What was written: flags, environment variables, `flowgate.toml`. Nothing is decided here.
//!
//! Place: [`Flags`] is read by the command line parser, [`File`] by the TOML parser; `mod` makes a `Config` of both.

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{OnFailure, Secret, units};
use crate::auth::Mode;

/// Read from the working directory where no other file is named.
const DEFAULT_FILE: &str = "flowgate.toml";
/// Where the admin listener is if only that there is one was said.
const DEFAULT_ADMIN: &str = "127.0.0.1:8081";
/// How alike two words must be for one to be offered in place of the other: two letters in ten may differ.
const ALIKE: f64 = 0.8;

/// Flags of `run` and `check`, each also an environment variable. What is given here goes before the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file; default: flowgate.toml in the working directory, if there is one
    #[arg(long, short, env = "FLOWGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen; may be repeated; port 0: any free one [default: 127.0.0.1:8080]
    #[arg(long, short, env = "FLOWGATE_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',', value_parser = listen)]
    pub listen: Vec<SocketAddr>,
    /// Where to listen for clients that speak TLS to the proxy itself (https:// proxies); may be repeated
    #[arg(long, env = "FLOWGATE_LISTEN_TLS", value_name = "ADDRESS:PORT", value_delimiter = ',', value_parser = listen)]
    pub listen_tls: Vec<SocketAddr>,
    /// Where operators look: status page, metrics and health [without a value: 127.0.0.1:8081; default: nowhere]
    #[arg(long, env = "FLOWGATE_ADMIN", value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = DEFAULT_ADMIN, value_parser = listen)]
    pub admin: Option<SocketAddr>,
    /// Name, as in proxy.example, that the admin listener may be called by besides its addresses; may be repeated
    #[arg(long, env = "FLOWGATE_ADMIN_NAME", value_name = "HOST", value_delimiter = ',')]
    pub admin_name: Vec<String>,
    /// File with the token that opens the admin listener; made if there is none [default: admin-token in the state folder]
    #[arg(long, env = "FLOWGATE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// The token itself. Not as a flag: every user of the machine sees those.
    #[arg(long, env = "FLOWGATE_ADMIN_TOKEN", hide = true, hide_env_values = true)]
    pub admin_token: Option<Secret>,
    /// Whether the status page shows fields and contents of flows [default: true]
    #[arg(long, env = "FLOWGATE_ADMIN_CONTENT", value_name = "BOOL")]
    pub admin_content: Option<bool>,
    /// Listen beyond this machine although anybody may then use the proxy
    #[arg(long, env = "FLOWGATE_OPEN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub open: Option<bool>,
    /// Address or network of load balancers: connections from there begin with a PROXY header that says whose they are; may be repeated
    #[arg(long, env = "FLOWGATE_PROXY_PROTOCOL", value_name = "NETWORK", value_delimiter = ',')]
    pub proxy_protocol: Vec<String>,
    /// Folder with plugins: a .wasm put in here is live within a second [default: plugins]
    #[arg(long, env = "FLOWGATE_PLUGINS", value_name = "FOLDER")]
    pub plugins: Option<PathBuf>,
    /// Folder for records [default: logs]
    #[arg(long, env = "FLOWGATE_LOGS", value_name = "FOLDER")]
    pub logs: Option<PathBuf>,
    /// Record every flow that is looked into in this file, with everything in it but credentials for this proxy; see `flowgate flows`
    #[arg(long, env = "FLOWGATE_RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Folder for the root certificate, its key and compiled plugins [default: ~/.local/state/flowgate]
    #[arg(long, env = "FLOWGATE_STATE", value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// off: nobody's name is kept; identify: a name given is believed; ask: the same, and clients are asked for one; require: name and
    /// password must be in the users file [default: identify; with --users: require]
    #[arg(long, env = "FLOWGATE_AUTH", value_name = "MODE", value_parser = mode())]
    pub auth: Option<Mode>,
    /// Users file (htpasswd with bcrypt or argon2); see `flowgate user`
    #[arg(long, env = "FLOWGATE_USERS", value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// PEM file with certificates that origins may be signed by, besides the system's; may be repeated
    #[arg(long, env = "FLOWGATE_UPSTREAM_CA", value_name = "FILE", value_delimiter = ',')]
    pub upstream_ca: Vec<PathBuf>,
    /// Another proxy on the way to origins: http://, https:// or socks5://, then USER:PASSWORD@ if it asks for them, then HOST:PORT
    #[arg(long, env = "FLOWGATE_UPSTREAM_PROXY", value_name = "URL", hide_env_values = true)]
    pub upstream_proxy: Option<String>,
    /// Reach this host (and those below it), address or network without that proxy; may be repeated [default: localhost, 127.0.0.0/8, ::1]
    #[arg(long, env = "FLOWGATE_NO_PROXY", value_name = "HOST", value_delimiter = ',')]
    pub no_proxy: Vec<String>,
    /// Host pattern, as in *.example.com: look into TLS to these hosts even if no plugin asks for it; may be repeated
    #[arg(long, env = "FLOWGATE_INTERCEPT", value_name = "PATTERN", value_delimiter = ',')]
    pub intercept: Vec<String>,
    /// Host pattern: never look into TLS to these hosts, whatever plugins ask for; may be repeated
    #[arg(long, env = "FLOWGATE_TUNNEL", value_name = "PATTERN", value_delimiter = ',')]
    pub tunnel: Vec<String>,
    /// A client that twice turns our certificate for a host down reaches that host unseen for so long, as in 1h; default: never
    #[arg(long, env = "FLOWGATE_AUTO_SPLICE", value_name = "DURATION", value_parser = units::duration)]
    pub auto_splice: Option<Duration>,
    /// Connect to that address instead of looking the host up, as in api.test:443=127.0.0.1:8443; may be repeated
    #[arg(long, env = "FLOWGATE_RESOLVE", value_name = "HOST:PORT=ADDRESS:PORT", value_delimiter = ',')]
    pub resolve: Vec<Resolve>,
    /// How much of each request's and response's content is kept for plugins whose rules name no other amount, as in 8MiB [default: 8MiB]
    #[arg(long, env = "FLOWGATE_CAPTURE", value_name = "SIZE", value_parser = units::size)]
    pub capture: Option<usize>,
    /// Address or network that clients are taken to although it would be refused, as in 10.0.0.0/8; may be repeated
    #[arg(long, env = "FLOWGATE_ALLOW_DESTINATION", value_name = "NETWORK", value_delimiter = ',')]
    pub allow_destination: Vec<String>,
    /// Address or network that clients are not taken to, as in 10.0.0.0/8 or private; may be repeated
    #[arg(long, env = "FLOWGATE_DENY_DESTINATION", value_name = "NETWORK", value_delimiter = ',')]
    pub deny_destination: Vec<String>,
    /// Port that CONNECT reaches; may be repeated [default: any, for clients of this machine alone; else 80, 443, 8443]
    #[arg(long, env = "FLOWGATE_CONNECT_PORT", value_name = "PORT", value_delimiter = ',')]
    pub connect_port: Vec<u16>,
    /// URL of a collector that traces of flows are sent to (OpenTelemetry, OTLP over HTTP), as in http://127.0.0.1:4318 [default: none]
    #[arg(long, env = "FLOWGATE_TRACES", value_name = "URL", hide_env_values = true)]
    pub traces: Option<String>,
    /// How long a stop waits for what is in flight, as in 10s [default: 10s]
    #[arg(long, env = "FLOWGATE_GRACE", value_name = "DURATION", value_parser = units::duration)]
    pub grace: Option<Duration>,
}

/// `HOST:PORT=ADDRESS:PORT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolve {
    /// In lower case.
    pub host: String,
    /// Of the origin.
    pub port: u16,
    /// What to connect to.
    pub address: SocketAddr,
}

impl FromStr for Resolve {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "HOST:PORT=ADDRESS:PORT is expected, as in api.test:443=127.0.0.1:8443";
        let (name, address) = text.split_once('=').ok_or(EXPECTED)?;
        let (host, port) = name.rsplit_once(':').ok_or(EXPECTED)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(EXPECTED);
        }
        Ok(Self { host, port: port.parse().map_err(|_| EXPECTED)?, address: address.parse().map_err(|_| EXPECTED)? })
    }
}

fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are expected, as in 127.0.0.1:8080 or [::1]:8080")
}

fn mode() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::ALL.map(Mode::as_str)).try_map(|name| name.parse::<Mode>())
}

/// `flowgate.toml`. Keys are those of the flags, but for `plugins-dir`: `plugins` is a table with one table per plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    #[serde(deserialize_with = "listens")]
    pub(super) listen: Vec<SocketAddr>,
    #[serde(deserialize_with = "listens")]
    pub(super) listen_tls: Vec<SocketAddr>,
    pub(super) open: Option<bool>,
    #[serde(deserialize_with = "texts")]
    pub(super) proxy_protocol: Vec<String>,
    pub(super) plugins_dir: Option<PathBuf>,
    pub(super) logs: Option<PathBuf>,
    pub(super) record: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    #[serde(deserialize_with = "parsed")]
    pub(super) auth: Option<Mode>,
    pub(super) users: Option<PathBuf>,
    #[serde(deserialize_with = "texts")]
    pub(super) upstream_ca: Vec<String>,
    pub(super) upstream_proxy: Option<String>,
    #[serde(deserialize_with = "maybe_texts")]
    pub(super) no_proxy: Option<Vec<String>>,
    #[serde(deserialize_with = "texts")]
    pub(super) intercept: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) tunnel: Vec<String>,
    #[serde(deserialize_with = "timed")]
    pub(super) auto_splice: Option<Duration>,
    #[serde(deserialize_with = "resolves")]
    pub(super) resolve: Vec<Resolve>,
    #[serde(deserialize_with = "sized")]
    pub(super) capture: Option<usize>,
    #[serde(deserialize_with = "timed")]
    pub(super) grace: Option<Duration>,
    pub(super) admin: Admin,
    pub(super) destinations: Destinations,
    pub(super) limits: Limits,
    pub(super) origins: BTreeMap<String, Origin>,
    pub(super) records: Records,
    pub(super) redaction: Redaction,
    pub(super) swap: Swap,
    pub(super) traces: Traces,
    pub(super) plugins: BTreeMap<String, Plugin>,
}

/// `[admin]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Admin {
    #[serde(deserialize_with = "listened")]
    pub(super) listen: Option<SocketAddr>,
    #[serde(deserialize_with = "texts")]
    pub(super) names: Vec<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) content: Option<bool>,
}

/// `[origins."PATTERN"]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Origin {
    pub(super) accept_any_certificate: bool,
    #[serde(deserialize_with = "texts")]
    pub(super) ca: Vec<String>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
}

/// `[destinations]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Destinations {
    #[serde(deserialize_with = "texts")]
    pub(super) allow: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) deny: Vec<String>,
    pub(super) connect_ports: Option<Vec<u16>>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Limits {
    pub(super) connections: Option<usize>,
    pub(super) connections_per_client: Option<usize>,
    pub(super) tunnels_per_user: Option<usize>,
    pub(super) handshakes: Option<usize>,
    pub(super) handshakes_per_client: Option<usize>,
    pub(super) leaves_per_client: Option<usize>,
    pub(super) streams: Option<usize>,
    pub(super) streams_per_client: Option<usize>,
    pub(super) origin_connections: Option<usize>,
    pub(super) idle_origin_connections: Option<usize>,
    #[serde(deserialize_with = "sized")]
    pub(super) captured: Option<usize>,
    #[serde(deserialize_with = "timed")]
    pub(super) keepalive: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) head_deadline: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) client_idle: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) content_idle: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) response_deadline: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) handshake_deadline: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) connect_deadline: Option<Duration>,
}

/// `[records]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Records {
    #[serde(deserialize_with = "timed")]
    pub(super) max_age: Option<Duration>,
    pub(super) max_count: Option<usize>,
    #[serde(deserialize_with = "sized")]
    pub(super) max_size: Option<usize>,
}

/// `[redaction]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Redaction {
    #[serde(deserialize_with = "texts")]
    pub(super) fields: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) json: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) patterns: Vec<String>,
}

/// `[swap]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Swap {
    pub(super) replay: Option<usize>,
}

/// `[traces]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Traces {
    pub(super) endpoint: Option<String>,
    pub(super) headers_file: Option<PathBuf>,
    pub(super) ratio: Option<f64>,
    pub(super) users: Option<bool>,
}

/// `[plugins.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Plugin {
    pub(super) enabled: Option<bool>,
    pub(super) order: Option<i32>,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) required: Option<bool>,
    #[serde(deserialize_with = "sized")]
    pub(super) memory: Option<usize>,
    #[serde(deserialize_with = "timed")]
    pub(super) call: Option<Duration>,
    #[serde(deserialize_with = "timed")]
    pub(super) wall: Option<Duration>,
    pub(super) instances: Option<usize>,
    #[serde(deserialize_with = "texts")]
    pub(super) grants: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) outbound: Vec<String>,
    #[serde(deserialize_with = "sized")]
    pub(super) key_value: Option<usize>,
    pub(super) host_calls: Option<u64>,
    #[serde(deserialize_with = "sized")]
    pub(super) output: Option<usize>,
    pub(super) log_lines: Option<u32>,
    pub(super) streams: Option<usize>,
    pub(super) config: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Keys of the file, as `File` has them.
pub(super) const KEYS: [&str; 28] = [
    "admin",
    "auth",
    "auto-splice",
    "capture",
    "destinations",
    "grace",
    "intercept",
    "limits",
    "listen",
    "listen-tls",
    "logs",
    "no-proxy",
    "open",
    "origins",
    "plugins",
    "plugins-dir",
    "proxy-protocol",
    "record",
    "records",
    "redaction",
    "resolve",
    "state",
    "swap",
    "traces",
    "tunnel",
    "upstream-ca",
    "upstream-proxy",
    "users",
];
/// Keys of that table, as `Admin` has them.
pub(super) const ADMIN_KEYS: [&str; 4] = ["content", "listen", "names", "token-file"];
/// Keys of that table, as `Destinations` has them.
pub(super) const DESTINATION_KEYS: [&str; 3] = ["allow", "connect-ports", "deny"];
/// Keys of that table, as `Limits` has them.
pub(super) const LIMIT_KEYS: [&str; 18] = [
    "captured",
    "client-idle",
    "connect-deadline",
    "connections",
    "connections-per-client",
    "content-idle",
    "handshake-deadline",
    "handshakes",
    "handshakes-per-client",
    "head-deadline",
    "idle-origin-connections",
    "keepalive",
    "leaves-per-client",
    "origin-connections",
    "response-deadline",
    "streams",
    "streams-per-client",
    "tunnels-per-user",
];
/// Keys of an origin's table, as `Origin` has them.
pub(super) const ORIGIN_KEYS: [&str; 4] = ["accept-any-certificate", "ca", "client-certificate", "client-key"];
/// Keys of that table, as `Records` has them.
pub(super) const RECORDS_KEYS: [&str; 3] = ["max-age", "max-count", "max-size"];
/// Keys of that table, as `Redaction` has them.
pub(super) const REDACTION_KEYS: [&str; 3] = ["fields", "json", "patterns"];
/// Keys of that table, as `Swap` has them.
pub(super) const SWAP_KEYS: [&str; 1] = ["replay"];
/// Keys of that table, as `Traces` has them.
pub(super) const TRACES_KEYS: [&str; 4] = ["endpoint", "headers-file", "ratio", "users"];
/// Keys of a plugin's table, as `Plugin` has them.
pub(super) const PLUGIN_KEYS: [&str; 16] = [
    "call",
    "config",
    "enabled",
    "grants",
    "host-calls",
    "instances",
    "key-value",
    "log-lines",
    "memory",
    "on-failure",
    "order",
    "outbound",
    "output",
    "required",
    "streams",
    "wall",
];

impl File {
    /// The file named, or the default one if it exists; with where it was.
    ///
    /// # Errors
    /// Where it cannot be read or is malformed; names file, line or key, and the nearest right key.
    pub(super) fn find(named: Option<&Path>) -> anyhow::Result<Option<(PathBuf, Self)>> {
        let path = Self::path(named);
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let file = Self::parse(&text).with_context(|| format!("reading configuration {}", path.display()))?;
                Ok(Some((path.to_owned(), file)))
            }
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading configuration {}", path.display())),
        }
    }

    /// Where it is looked for.
    pub(super) fn path(named: Option<&Path>) -> &Path {
        named.unwrap_or(Path::new(DEFAULT_FILE))
    }

    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        // Twice: the first time for keys, of which serde would only say which ones it knows.
        let said = |error| said(text, &error);
        let table = DeTable::parse(text).map_err(said)?;
        let (table, check) = (table.get_ref(), |table: &_, known: &[&str], prefix: &str| check(text, table, known, prefix));
        check(table, &KEYS, "")?;
        let tables = [
            ("admin", &ADMIN_KEYS[..]),
            ("destinations", &DESTINATION_KEYS),
            ("limits", &LIMIT_KEYS),
            ("records", &RECORDS_KEYS),
            ("redaction", &REDACTION_KEYS),
            ("swap", &SWAP_KEYS),
            ("traces", &TRACES_KEYS),
        ];
        for (name, keys) in tables {
            match table.get(name).map(Spanned::get_ref) {
                Some(DeValue::Table(table)) => check(table, keys, &format!("{name}."))?,
                Some(_) => bail!("{name} is to be a table, as in [{name}]"),
                None => {}
            }
        }
        match table.get("origins").map(Spanned::get_ref) {
            Some(DeValue::Table(origins)) => {
                for (hosts, origin) in origins {
                    let hosts = hosts.get_ref();
                    let DeValue::Table(origin) = origin.get_ref() else {
                        bail!("origins.{hosts} is to be a table, as in [origins.\"*.example.com\"]: a name with dots needs quotes");
                    };
                    if origin.values().any(|value| value.get_ref().is_table()) {
                        bail!("origins.{hosts} holds a table: a name with dots needs quotes, as in [origins.\"*.example.com\"]");
                    }
                    check(origin, &ORIGIN_KEYS, &format!("origins.{hosts:?}."))?;
                }
            }
            Some(_) => bail!("origins is to hold tables, as in [origins.\"*.example.com\"]"),
            None => {}
        }
        match table.get("plugins").map(Spanned::get_ref) {
            Some(DeValue::Table(plugins)) => {
                for (name, plugin) in plugins {
                    let name = name.get_ref();
                    let DeValue::Table(plugin) = plugin.get_ref() else {
                        bail!("plugins.{name} is to be a table, as in [plugins.{name}]; the folder's key is plugins-dir");
                    };
                    check(plugin, &PLUGIN_KEYS, &format!("plugins.{name}."))?;
                    if let Some((key, value)) = plugin.get_key_value("config")
                        && !value.get_ref().is_table()
                    {
                        let line = place(text, key.span().start).0;
                        bail!("line {line}: plugins.{name}.config is to be a table, as in config = {{ key = \"value\" }}");
                    }
                }
            }
            Some(_) => bail!("plugins is to hold tables, as in [plugins.logger]; the folder's key is plugins-dir"),
            None => {}
        }
        toml::from_str(text).map_err(said)
    }
}

/// Where it is and what it is, without the line itself, which the parser's own text quotes: a password may stand in it.
fn said(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let message = error.message().trim().replace('\n', ", ");
    match error.span() {
        Some(span) => {
            let (line, column) = place(text, span.start);
            anyhow::anyhow!("line {line}, column {column}: {message}")
        }
        None => anyhow::anyhow!("{message}"),
    }
}

/// Line and column, in characters, both from 1 on, of what begins after so many octets.
fn place(text: &str, octets: usize) -> (usize, usize) {
    let before = text.get(..octets).unwrap_or(text);
    let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
    (1 + before.matches('\n').count(), 1 + line.chars().count())
}

/// All keys of `table`, which stands in `text`, have to be known.
fn check(text: &str, table: &DeTable<'_>, known: &[&str], prefix: &str) -> anyhow::Result<()> {
    let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
    let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
    let ((line, _), key) = (place(text, key.span().start), key.get_ref());
    match nearest(key, known) {
        Some(near) => bail!("line {line}: there is no key {prefix}{key}; did you mean {prefix}{near}?"),
        None => bail!("line {line}: there is no key {prefix}{key}; there are {}", known.join(", ")),
    }
}

/// The one of `known` that `key` was probably meant to be.
pub(super) fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let key = key.to_lowercase().replace('_', "-");
    let scored = known.iter().map(|name| (strsim::jaro_winkler(&key, name), *name));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

fn parsed<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(value)?.parse().map(Some).map_err(de::Error::custom)
}

fn sized<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    units::size(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

fn timed<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    units::duration(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

fn listens<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<SocketAddr>, D::Error> {
    texts(value)?.iter().map(|text| listen(text).map_err(de::Error::custom)).collect()
}

fn listened<'de, D: Deserializer<'de>>(value: D) -> Result<Option<SocketAddr>, D::Error> {
    listen(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

fn resolves<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Resolve>, D::Error> {
    texts(value)?.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

fn maybe_texts<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    texts(value).map(Some)
}

/// One text or a list of them.
fn texts<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    value.deserialize_any(Texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood() {
        let value = |key: &str| {
            match key {
                "plugins" => return "[plugins.logger]\n".to_owned(),
                "origins" => return "[origins.'*.a.test']\naccept-any-certificate = true\n".to_owned(),
                "admin" => {
                    return "[admin]\nlisten = '127.0.0.1:1'\nnames = 'a.test'\ntoken-file = 'x'\ncontent = false\n".to_owned();
                }
                "destinations" => return "[destinations]\nallow = '10.0.0.0/8'\ndeny = ['private']\nconnect-ports = [80]\n".to_owned(),
                "limits" => {
                    let value = |key: &str| match key {
                        "captured" => "'1MiB'",
                        _ if key == "keepalive" || key.ends_with("-idle") || key.ends_with("-deadline") => "'2s'",
                        _ => "3",
                    };
                    let line = |key: &&str| format!("{key} = {}\n", value(key));
                    return format!("[limits]\n{}", LIMIT_KEYS.iter().map(line).collect::<String>());
                }
                "records" => return "[records]\nmax-age = '30d'\nmax-count = 3\nmax-size = '1GiB'\n".to_owned(),
                "redaction" => return "[redaction]\nfields = 'a'\njson = ['$.a']\npatterns = ['b', 'c']\n".to_owned(),
                "swap" => return "[swap]\nreplay = 3\n".to_owned(),
                "traces" => return "[traces]\nendpoint = 'x'\nheaders-file = 'y'\nratio = 0.5\nusers = true\n".to_owned(),
                "listen" | "listen-tls" => "'127.0.0.1:1'",
                "open" | "enabled" | "required" => "true",
                "auth" => "'ask'",
                "resolve" => "['a.test:443=127.0.0.1:1']",
                "capture" | "memory" | "key-value" | "output" => "'64MiB'",
                "auto-splice" | "grace" | "call" | "wall" => "'2s'",
                "order" | "instances" | "host-calls" | "log-lines" | "streams" => "3",
                "on-failure" => "'refuse'",
                "config" => "{ a = 1 }",
                _ => "'x'",
            }
            .to_owned()
        };
        let line = |key: &&str| match *key {
            "admin" | "destinations" | "limits" | "origins" | "plugins" | "records" | "redaction" | "swap" | "traces" => value(key),
            key => format!("{key} = {}\n", value(key)),
        };
        for key in &KEYS {
            File::parse(&line(key)).unwrap_or_else(|error| panic!("{key}: {error:#}"));
        }
        let plugin = PLUGIN_KEYS.iter().map(line).collect::<String>();
        File::parse(&format!("[plugins.logger]\n{plugin}")).unwrap();
    }

    #[test]
    fn bad_files_say_what_is_wrong_where() {
        let cases = [
            ("zzz = 1\nlistn = '127.0.0.1:1'\naaa = 1", "line 1: there is no key zzz"),
            ("auth = 'ask'\n\nlistn = '127.0.0.1:1'", "line 3: there is no key listn; did you mean listen?"),
            ("upstream_ca = 'x'", "there is no key upstream_ca; did you mean upstream-ca?"),
            ("Listen = 'x'", "did you mean listen?"),
            ("zzz = 1", "there is no key zzz; there are admin, auth, auto-splice"),
            (
                "[plugins.logger]\norder = 1\nmemroy = '1MiB'",
                "line 3: there is no key plugins.logger.memroy; did you mean plugins.logger.memory?",
            ),
            ("plugins = 'wasm'", "the folder's key is plugins-dir"),
            ("[admin]\nlisten = 'x'", "an IP address and a port are expected"),
            ("admin = '127.0.0.1:1'", "as in [admin]"),
            ("[redaction]\nfield = 'a'", "there is no key redaction.field; did you mean redaction.fields?"),
            ("redaction = 'a'", "as in [redaction]"),
            ("[records]\nmax_age = '1d'", "there is no key records.max_age; did you mean records.max-age?"),
            ("[swap]\nreply = 1", "there is no key swap.reply; did you mean swap.replay?"),
            ("swap = 1", "as in [swap]"),
            ("[traces]\nendpiont = 'a'", "there is no key traces.endpiont; did you mean traces.endpoint?"),
            ("traces = 'http://a.test'", "as in [traces]"),
            ("[limits]\nconnection = 1", "there is no key limits.connection; did you mean limits.connections?"),
            ("[limits]\nconnections = '1'", "line 2"),
            ("origins = 'a'", "as in [origins."),
            ("[origins.'a.test']\ncertificate = 'a'", "there is no key origins.\"a.test\".certificate"),
            ("[origins.a.test]\nca = 'a'", "a name with dots needs quotes"),
            ("[plugins]\nfolder = 'wasm'", "the folder's key is plugins-dir"),
            ("listen = 8080", "a text or a list of texts"),
            ("listen = 'localhost'", "an IP address and a port are expected"),
            ("\nlisten = ['127.0.0.1:1', 2]", "line 2"),
            ("auth = 'none'", "auth is off, identify, ask or require"),
            ("grace = 10", "line 1, column 9"),
            ("grace = '10'", "a duration is expected, as in 50ms"),
            ("capture = '10 MiB of it'", "a size is expected"),
            ("open = 'yes'", "expected a boolean"),
            ("resolve = 'a=b'", "HOST:PORT=ADDRESS:PORT is expected"),
            ("[plugins.logger]\non-failure = 'ignore'", "unknown variant `ignore`, expected `pass` or `refuse`"),
            ("[plugins.logger]\ninstances = -1", "line 2"),
            ("[plugins.logger]\nconfig = 'hunter2'", "line 2: plugins.logger.config is to be a table"),
            ("upstream-proxy = 'http://ana:hunter2@a.test:1\n", "line 1, column 46: invalid literal string"),
            ("open = true\nupstream-proxy = http://ana:hunter2@a.test:1\n", "line 2, column 1"),
            ("[plugins.logger]\nconfig = { key = 'hunter2', }}", "line 2, column 3"),
            ("# \u{e4}\u{e4}\nopen = '\u{e4}' hunter2", "line 2, column 1"),
            ("listen", "line 1"),
            ("a = 1\na = 2", "duplicate key"),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", File::parse(text).expect_err(text));
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {expected} is not in {error}");
        }
    }

    #[test]
    fn places_are_told_in_lines_and_characters() {
        assert_eq!([place("a\n'\u{e4}' b", 7), place("a", 0), place("a\n", 9)], [(2, 5), (1, 1), (2, 1)]);
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.toml");

        let error = format!("{:#}", File::find(Some(&path)).unwrap_err());
        assert!(error.contains("reading configuration") && error.contains("f.toml"), "{error}");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(File::find(Some(&path)).is_err());
        std::fs::write(&path, "open = true").unwrap();
        assert_eq!(File::find(Some(&path)).unwrap().unwrap().1.open, Some(true));
    }

    #[test]
    fn fixed_addresses_are_read() {
        let good = [("A.test:443=127.0.0.1:8443", "a.test", 443, "127.0.0.1:8443"), ("[::1]:80=[::1]:81", "::1", 80, "[::1]:81")];
        for (text, host, port, address) in good {
            let expected = Resolve { host: host.to_owned(), port, address: address.parse().unwrap() };
            assert_eq!(text.parse(), Ok(expected));
        }
        for text in ["", "a.test=127.0.0.1:1", "a.test:443=127.0.0.1", ":443=127.0.0.1:1", "a.test:x=127.0.0.1:1"] {
            assert!(text.parse::<Resolve>().is_err(), "{text}");
        }
    }
}
