//! What is meant: one plain struct, every path resolved, every value checked.
//!
//! Place: made by `cli` (or by whoever embeds the library) and consumed by `app`; no other part knows it.

mod admin;
mod bounds;
mod destinations;
#[cfg(test)]
mod fuzz;
pub mod limits;
mod origin;
mod plugin;
mod raw;
mod records;
mod show;
mod traces;
pub mod units;

use std::{
    collections::BTreeMap,
    env,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use globset::Glob;
use ipnet::IpNet;

use crate::auth::Mode;
pub use admin::{AdminConfig, Secret};
pub use bounds::LimitsConfig;
pub use destinations::{CONNECT_PORTS, DestinationsConfig};
pub use origin::OriginConfig;
use plugin::LOGGER;
pub use plugin::{Grant, OnFailure, PluginConfig};
use raw::File;
pub use raw::{Flags, Resolve};
pub use records::RecordsConfig;
pub use traces::TracesConfig;

/// Everything that can be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it came from, where there was one.
    pub file: Option<PathBuf>,
    /// Where that file is looked for, whether there is one or not; `None`: nowhere.
    pub sought: Option<PathBuf>,
    /// The program that compiles components, of this very build; `None`: this process does. No key: the command line is one, and says so.
    pub compiler: Option<PathBuf>,
    /// At least one. Port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// The same for clients that speak TLS to the proxy itself.
    pub listen_tls: Vec<SocketAddr>,
    /// Where load balancers are: connections from there begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// Where operators look.
    pub admin: AdminConfig,
    /// Components are loaded from here.
    pub plugins_dir: PathBuf,
    /// Records go here.
    pub logs_dir: PathBuf,
    /// Flows are recorded in this file.
    pub record: Option<PathBuf>,
    /// The root and compiled components are kept here.
    pub state_dir: PathBuf,
    /// How much is asked of clients.
    pub auth: Mode,
    /// There, if `auth` is [`Mode::Require`].
    pub users: Option<PathBuf>,
    /// PEM files with roots for origins, besides the system's.
    pub upstream_ca: Vec<PathBuf>,
    /// URL of another proxy on the way to origins, with its credentials.
    pub upstream_proxy: Option<String>,
    /// Hosts, addresses and networks that are reached without it.
    pub no_proxy: Vec<String>,
    /// Patterns of hosts that are intercepted even if no plugin asks, in lower case.
    pub intercept: Vec<String>,
    /// Patterns of hosts that are never intercepted, in lower case.
    pub tunnel: Vec<String>,
    /// For how long a host is left alone that a client does not trust our certificates for; `None`: never.
    pub auto_splice: Option<Duration>,
    /// Addresses of hosts (in lower case) and ports that are not to be looked up.
    pub resolve: BTreeMap<(String, u16), SocketAddr>,
    /// Listening beyond this machine without verified users is intended.
    pub open: bool,
    /// How long a stop waits for what is in flight.
    pub grace: Duration,
    /// Where clients may be taken to.
    pub destinations: DestinationsConfig,
    /// What depends on how large the installation is.
    pub limits: LimitsConfig,
    /// What holds for single origins, by pattern of their hosts, in lower case.
    pub origins: BTreeMap<String, OriginConfig>,
    /// Octets of each content kept for plugins; 0: none.
    pub capture_bytes: usize,
    /// Which records are let go.
    pub records: RecordsConfig,
    /// What observers do not get to see.
    pub redaction: RedactionConfig,
    /// Flows kept per plugin that its next build is tried on; 0: none.
    pub swap_replay: usize,
    /// Where traces go.
    pub traces: TracesConfig,
    /// By name. The logger is always in it, others where they were written down; [`PluginConfig::of`] has the defaults of the rest.
    pub plugins: BTreeMap<String, PluginConfig>,
}

/// What observers do not get to see; empty: they see everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RedactionConfig {
    /// Patterns of field names.
    pub fields: Vec<String>,
    /// JSON paths (RFC 9535).
    pub json: Vec<String>,
    /// Regular expressions.
    pub patterns: Vec<String>,
}

impl Config {
    /// Defaults throughout, any free port on loopback, and everything in one folder: for tests and embedding.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            file: None,
            sought: None,
            compiler: None,
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            listen_tls: Vec::new(),
            proxy_protocol: Vec::new(),
            admin: AdminConfig::default(),
            plugins_dir: folder.join("plugins"),
            logs_dir: folder.join("logs"),
            record: None,
            state_dir: folder.join("state"),
            auth: Mode::default(),
            users: None,
            upstream_ca: Vec::new(),
            upstream_proxy: None,
            no_proxy: no_proxy(),
            intercept: Vec::new(),
            tunnel: Vec::new(),
            auto_splice: None,
            resolve: BTreeMap::new(),
            open: false,
            grace: limits::GRACE,
            destinations: DestinationsConfig::default(),
            limits: LimitsConfig::default(),
            origins: BTreeMap::new(),
            capture_bytes: limits::CAPTURE_BYTES,
            records: RecordsConfig::default(),
            redaction: RedactionConfig::default(),
            swap_replay: limits::PLUGIN_REPLAY,
            traces: TracesConfig::default(),
            plugins: BTreeMap::from([(LOGGER.to_owned(), PluginConfig::of(LOGGER))]),
        }
    }

    /// Flag beats environment beats file beats default.
    ///
    /// # Errors
    /// Where the file is malformed, a value is out of its bounds or two of them contradict each other; says the mend.
    pub fn load(flags: Flags) -> anyhow::Result<Self> {
        Self::read(flags, Self::checked)
    }

    /// The same for whoever looks for a folder, or for the settings of a plugin: nobody listens by it, and the proxy that does may have been
    /// told more.
    ///
    /// # Errors
    /// The file is malformed, or a value is out of its bounds.
    pub fn look_up(flags: Flags) -> anyhow::Result<Self> {
        Self::read(flags, Self::bounded)
    }

    fn read(flags: Flags, check: fn(Self) -> anyhow::Result<Self>) -> anyhow::Result<Self> {
        let here = Surroundings::current()?;
        let file = File::find(flags.config.as_deref())?;
        let sought = here.folder.join(File::path(flags.config.as_deref()));
        let path = file.as_ref().map(|(path, _)| path.display().to_string());
        let resolved = Self::resolve(flags, file, &here).and_then(check).map_err(|error| match path {
            Some(path) if !error.chain().any(|cause| cause.to_string().contains(&path)) => {
                error.context(format!("in what flags, environment and {path} say together"))
            }
            _ => error,
        });
        Ok(Self { sought: Some(sought), ..resolved? })
    }

    fn resolve(flags: Flags, found: Option<(PathBuf, File)>, here: &Surroundings) -> anyhow::Result<Self> {
        let (path, written) = found.map_or((None, File::default()), |(path, file)| (Some(here.folder.join(path)), file));
        let destinations = DestinationsConfig::resolve(&flags, written.destinations)?;
        // Paths in the file are relative to it, all others to the working directory.
        let beside = path.as_deref().and_then(Path::parent).unwrap_or(&here.folder).to_owned();
        let admin = AdminConfig::resolve(&flags, written.admin, &here.folder, &beside)?;
        let traces = TracesConfig::resolve(&flags, written.traces, &beside)?;
        let chosen = |flag: Option<PathBuf>, key: Option<PathBuf>| match (flag, key) {
            (Some(flag), _) => Some(here.folder.join(flag)),
            (None, key) => key.map(|key| beside.join(key)),
        };
        let in_file = |error: anyhow::Error| match &path {
            Some(path) => error.context(format!("in configuration {}", path.display())),
            None => error,
        };

        let users = chosen(flags.users, written.users);
        let implied = if users.is_some() { Mode::Require } else { Mode::Identify };
        let mut plugins = BTreeMap::from([(LOGGER.to_owned(), PluginConfig::of(LOGGER))]);
        for (name, plugin) in written.plugins {
            let plugin = PluginConfig::resolve(&name, plugin).with_context(|| format!("in plugins.{name}")).map_err(in_file)?;
            plugins.insert(name, plugin);
        }
        let mut origins = BTreeMap::new();
        for (hosts, origin) in written.origins {
            let (hosts, origin) = OriginConfig::resolve(&hosts, origin, &beside).map_err(in_file)?;
            origins.insert(hosts, origin);
        }
        Ok(Self {
            listen: either(flags.listen, either(written.listen, vec![(Ipv4Addr::LOCALHOST, 8080).into()])),
            listen_tls: either(flags.listen_tls, written.listen_tls),
            proxy_protocol: destinations::networks("proxy-protocol", &either(flags.proxy_protocol, written.proxy_protocol))?,
            admin,
            plugins_dir: chosen(flags.plugins, written.plugins_dir).unwrap_or_else(|| here.folder.join("plugins")),
            logs_dir: chosen(flags.logs, written.logs).unwrap_or_else(|| here.folder.join("logs")),
            record: chosen(flags.record, written.record),
            state_dir: match chosen(flags.state, written.state) {
                Some(folder) => folder,
                None => here
                    .state
                    .clone()
                    .context("neither HOME nor XDG_STATE_HOME says where to keep the root certificate: name a folder with --state")?,
            },
            auth: flags.auth.or(written.auth).unwrap_or(implied),
            users,
            upstream_ca: match flags.upstream_ca.is_empty() {
                true => written.upstream_ca.iter().map(|file| beside.join(file)).collect(),
                false => flags.upstream_ca.iter().map(|file| here.folder.join(file)).collect(),
            },
            upstream_proxy: flags.upstream_proxy.or(written.upstream_proxy).map(upstream_proxy).transpose()?,
            no_proxy: either(flags.no_proxy, written.no_proxy.unwrap_or_else(no_proxy)),
            intercept: patterns("intercept", either(flags.intercept, written.intercept))?,
            tunnel: patterns("tunnel", either(flags.tunnel, written.tunnel))?,
            auto_splice: flags.auto_splice.or(written.auto_splice),
            resolve: either(flags.resolve, written.resolve).into_iter().map(|fixed| ((fixed.host, fixed.port), fixed.address)).collect(),
            open: flags.open.or(written.open).unwrap_or(false),
            destinations,
            limits: LimitsConfig::resolve(&written.limits).map_err(in_file)?,
            grace: flags.grace.or(written.grace).unwrap_or(limits::GRACE),
            capture_bytes: flags.capture.or(written.capture).unwrap_or(limits::CAPTURE_BYTES),
            origins,
            records: RecordsConfig::resolve(&written.records).map_err(in_file)?,
            redaction: RedactionConfig {
                fields: written.redaction.fields,
                json: written.redaction.json,
                patterns: written.redaction.patterns,
            },
            swap_replay: written.swap.replay.unwrap_or(limits::PLUGIN_REPLAY),
            traces,
            plugins,
            file: path,
            sought: None,
            compiler: None,
        })
    }

    /// Each value for itself.
    fn bounded(self) -> anyhow::Result<Self> {
        within("grace", self.grace, &(Duration::ZERO..=limits::MAX_GRACE), units::show_duration)?;
        within("capture", self.capture_bytes, &(0..=limits::MAX_CAPTURE_BYTES), units::show_size)?;
        within("swap.replay", self.swap_replay, &(0..=limits::MAX_PLUGIN_REPLAY), |flows| flows.to_string())?;
        if let Some(period) = self.auto_splice {
            within("auto-splice", period, &limits::AUTO_SPLICE_RANGE, units::show_duration)?;
        }
        Ok(self)
    }

    /// And against the others.
    fn checked(self) -> anyhow::Result<Self> {
        let this = self.bounded()?;
        this.agrees()?;
        Ok(this)
    }

    fn agrees(&self) -> anyhow::Result<()> {
        ensure!(
            self.auth != Mode::Require || self.users.is_some(),
            "auth is require, but nobody has said who the users are: make a file with `flowgate user add NAME --users FILE` and name it with --users"
        );
        self.check_records(&self.records)?;
        let beyond = self.listen.iter().chain(&self.listen_tls).find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(address) = beyond.filter(|_| self.auth != Mode::Require && !self.open) {
            bail!(
                "listening on {address} lets anybody who reaches this machine use the proxy: let users log in (--users FILE), \
                 listen on 127.0.0.1, or say that this is intended (--open)"
            );
        }
        ensure!(
            self.proxy_protocol.is_empty() || self.auth == Mode::Require || self.open,
            "proxy-protocol lets anybody who reaches the balancer use the proxy: let users log in (--users FILE), or say that this is intended (--open)"
        );
        Ok(())
    }
}

impl Config {
    /// Whether the records folder may be emptied as that says.
    ///
    /// # Errors
    /// It holds something else.
    pub fn check_records(&self, records: &RecordsConfig) -> anyhow::Result<()> {
        let files = [&self.file, &self.record, &self.users, &self.admin.token_file, &self.traces.headers_file].into_iter().flatten();
        let certificates = self.upstream_ca.iter().chain(self.origins.values().flat_map(OriginConfig::files));
        records.check_folder(&self.logs_dir, [&self.plugins_dir, &self.state_dir].into_iter().chain(files).chain(certificates))
    }
}

/// What the process was started in.
struct Surroundings {
    folder: PathBuf,
    state: Option<PathBuf>,
}

impl Surroundings {
    fn current() -> anyhow::Result<Self> {
        // The XDG Base Directory Specification has relative paths ignored.
        let given = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
        let folder = env::current_dir().context("finding the working directory")?;
        Ok(Self { folder, state: state.map(|state| state.join("flowgate")) })
    }
}

/// What follows the scheme may be credentials: none of it is repeated.
fn upstream_proxy(url: String) -> anyhow::Result<String> {
    let is_url = url.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//"));
    ensure!(is_url, "upstream-proxy is no URL, as in http://HOST:PORT, https://HOST:PORT or socks5://USER:PASSWORD@HOST:PORT");
    Ok(url)
}

/// What is on this machine is not for another proxy to reach.
fn no_proxy() -> Vec<String> {
    ["localhost", "127.0.0.0/8", "::1"].map(str::to_owned).to_vec()
}

fn either<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    if first.is_empty() { second } else { first }
}

fn patterns(key: &str, written: Vec<String>) -> anyhow::Result<Vec<String>> {
    let lower = written.into_iter().map(|pattern| {
        let pattern = pattern.trim().to_lowercase();
        ensure!(!pattern.is_empty() && !pattern.contains(['/', ':']), "{key}: {pattern:?} is no pattern of a host, as in *.example.com");
        Glob::new(&pattern).with_context(|| format!("{key}: reading pattern {pattern:?}"))?;
        Ok(pattern)
    });
    lower.collect()
}

fn within<T: PartialOrd + Copy>(key: &str, value: T, range: &RangeInclusive<T>, show: fn(T) -> String) -> anyhow::Result<()> {
    ensure!(range.contains(&value), "{key} is {}, but must be between {} and {}", show(value), show(*range.start()), show(*range.end()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: Flags, file: &str) -> anyhow::Result<Config> {
        let found = Some((PathBuf::from("etc/flowgate.toml"), File::parse(file).unwrap()));
        let here = Surroundings { folder: "/srv".into(), state: Some("/home/ana/.local/state/flowgate".into()) };
        Config::resolve(flags, found, &here)?.checked()
    }

    fn users(text: &str) -> Flags {
        Flags { users: Some(text.into()), ..Flags::default() }
    }

    #[test]
    fn nothing_written_is_a_proxy_for_this_machine() {
        let config = resolve(Flags::default(), "").unwrap();

        assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!((config.auth, config.open, config.grace), (Mode::Identify, false, Duration::from_secs(10)));
        assert_eq!(config.plugins_dir, Path::new("/srv/plugins"));
        assert_eq!(config.logs_dir, Path::new("/srv/logs"));
        assert_eq!(config.state_dir, Path::new("/home/ana/.local/state/flowgate"));
        let [logger, other] = [&config.plugins["logger"], &PluginConfig::of("other")];
        assert_eq!((logger.memory_bytes, logger.required), (256 << 20, true));
        assert_eq!((other.memory_bytes, other.required), (128 << 20, false));
    }

    #[test]
    fn flags_go_before_the_file() {
        let flags = Flags {
            listen: vec!["127.0.0.1:1".parse().unwrap()],
            open: Some(false),
            logs: Some("l".into()),
            auth: Some(Mode::Off),
            upstream_ca: vec!["a.pem".into()],
            tunnel: vec!["*.A.test".to_owned()],
            capture: Some(7),
            ..Flags::default()
        };
        let file = "listen = ['127.0.0.1:2', '127.0.0.1:3']\nopen = true\nlogs = 'records'\nauth = 'ask'\nupstream-ca = ['b.pem', 'c.pem']\n\
                    tunnel = 'b.test'\nintercept = 'C.test'\ncapture = '1MiB'\ngrace = '1s'\nstate = '../state'";

        let config = resolve(flags, file).unwrap();

        assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!((config.open, config.auth, config.capture_bytes, config.grace), (false, Mode::Off, 7, Duration::from_secs(1)));
        assert_eq!(config.logs_dir, Path::new("/srv/l"));
        assert_eq!(config.state_dir, Path::new("/srv/etc/../state"), "relative to the file");
        assert_eq!(config.upstream_ca, [Path::new("/srv/a.pem")]);
        assert_eq!((config.tunnel, config.intercept), (vec!["*.a.test".to_owned()], vec!["c.test".to_owned()]));
        assert_eq!(config.file.as_deref(), Some(Path::new("/srv/etc/flowgate.toml")));
    }

    #[test]
    fn users_mean_that_they_are_required() {
        let config = resolve(Flags::default(), "users = 'u'\nlisten = '0.0.0.0:1'").unwrap();

        assert_eq!((config.auth, config.users.as_deref()), (Mode::Require, Some(Path::new("/srv/etc/u"))));
        assert_eq!(resolve(users("u"), "auth = 'off'").unwrap().auth, Mode::Off, "what is written holds");
    }

    #[test]
    fn plugins_have_their_own_settings() {
        let file = "[plugins.redact]\nenabled = true\norder = -5\non-failure = 'refuse'\nrequired = true\nmemory = '64MiB'\ncall = '10s'\n\
                    instances = 2\ngrants = ['key-value']\nkey-value = '1MiB'\nconfig = { fields = ['a'], since = 2024-01-02 }";

        let redact = resolve(Flags::default(), file).unwrap().plugins.remove("redact").unwrap();

        assert_eq!((redact.order, redact.on_failure, redact.required, redact.instances), (-5, OnFailure::Refuse, true, 2));
        assert_eq!(redact.memory_bytes, 64 << 20);
        assert_eq!((redact.grants.iter().copied().collect::<Vec<_>>(), redact.key_value_bytes), (vec![Grant::KeyValue], 1 << 20));
        assert_eq!((redact.call, redact.wall), (Duration::from_secs(10), Duration::from_secs(10)), "never less than computing takes");
        assert_eq!(redact.config, serde_json::json!({ "fields": ["a"], "since": "2024-01-02" }));
    }

    #[test]
    fn the_logger_may_be_left_out() {
        let config = resolve(Flags::default(), "[plugins.logger]\nenabled = false").unwrap();

        assert!(!config.plugins["logger"].enabled && !config.plugins["logger"].required);
    }

    #[test]
    fn addresses_may_be_fixed() {
        let config = resolve(Flags::default(), "resolve = ['A.test:443=127.0.0.1:8443']").unwrap();

        assert_eq!(config.resolve[&("a.test".to_owned(), 443)], "127.0.0.1:8443".parse().unwrap());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_mend() {
        let cases = [
            ("auth = 'require'", "flowgate user add NAME --users FILE"),
            ("listen = '0.0.0.0:8080'", "listening on 0.0.0.0:8080 lets anybody"),
            ("listen = ['127.0.0.1:1', '[::]:2']\nauth = 'ask'", "--open"),
            ("listen = '192.168.1.1:8080'", "--users FILE"),
            ("proxy-protocol = '10.0.0.5'", "who reaches the balancer"),
            ("proxy-protocol = 'balancer.test'", "proxy-protocol: \"balancer.test\" is no network"),
            ("grace = '2h'", "grace is 2h, but must be between 0ms and 1h"),
            ("capture = '2GiB'", "capture is 2GiB, but must be between 0B and 1GiB"),
            ("tunnel = '[a'", "tunnel: reading pattern \"[a\""),
            ("intercept = 'https://a.test'", "is no pattern of a host"),
            ("intercept = ''", "is no pattern of a host"),
            ("[plugins.a]\nmemory = '1KiB'", "in configuration /srv/etc/flowgate.toml: in plugins.a: memory is 1KiB"),
            ("[origins.'a.test']", "origins.a.test says nothing"),
            ("[origins.'https://a.test']\nca = 'x'", "is no pattern of a host"),
            ("[origins.'a.test']\nca = 'x'\naccept-any-certificate = true", "ca means nothing where any certificate is accepted"),
            ("[origins.'a.test']\nclient-key = 'x'", "client-key without client-certificate"),
            ("[plugins.a]\ncall = '0ms'", "call is 0ms"),
            ("[plugins.a]\ncall = '2s'\nwall = '1s'", "wall is 1s, but must be between 2s"),
            ("[plugins.a]\ninstances = 0", "instances is 0"),
            ("[plugins.a]\nstreams = 0", "streams is 0, but must be between 1 and 65536"),
            ("[plugins.a]\nenabled = false\nrequired = true", "can never be met"),
            ("[plugins.a]\ngrants = 'key_value'", "there is no capability key_value; did you mean key-value?"),
            ("[plugins.a]\ngrants = ['files']", "there is no capability files; there are key-value, metrics, outbound"),
            ("[plugins.a]\noutbound = ['api.example.com']", "outbound: \"api.example.com\" is no origin, as in https://api.example.com"),
            ("[plugins.a]\noutbound = ['https://a.test/path']", "the path is not part of an origin"),
            ("[plugins.a]\ngrants = ['outbound']", "outbound is granted without an origin"),
            ("[plugins.a]\ngrants = ['log']", "every plugin has log: take it out"),
            ("[plugins.a]\nhost-calls = 0", "host-calls is 0, but must be between 1"),
            ("[plugins.a]\noutput = '1KiB'", "output is 1KiB, but must be between 64KiB and 1GiB"),
            ("[plugins.a]\nlog-lines = 0", "log-lines is 0, but must be between 1"),
            ("[records]\nmax-age = '5m'", "records.max-age is 5m, but must be between 1h"),
            ("[records]\nmax-count = 0", "records.max-count is 0, but must be between 1"),
            ("[records]\nmax-size = '1KiB'", "records.max-size is 1KiB, but must be between 1MiB"),
            ("logs = '.'\n[records]\nmax-count = 1", "where /srv/etc/flowgate.toml is as well"),
            ("logs = 'l'\nusers = 'l/a/u'\n[records]\nmax-count = 1", "where /srv/etc/l/a/u is as well"),
            ("logs = 'l'\nrecord = 'l/a/x.flows'\n[records]\nmax-count = 1", "where /srv/etc/l/a/x.flows is as well"),
            ("logs = 'l'\nupstream-ca = ['x.pem', 'l/a/ca.pem']\n[records]\nmax-count = 1", "where /srv/etc/l/a/ca.pem is as well"),
            ("logs = 'l'\n[admin]\ntoken-file = 'l/a/t'\n[records]\nmax-count = 1", "where /srv/etc/l/a/t is as well"),
            ("logs = 'l'\n[traces]\nheaders-file = 'l/a/h'\n[records]\nmax-count = 1", "where /srv/etc/l/a/h is as well"),
            ("logs = 'l'\n[origins.'a.test']\nclient-certificate = 'l/a/c'\n[records]\nmax-count = 1", "where /srv/etc/l/a/c is as well"),
            ("upstream-proxy = 'http:/ana:hunter2@a.test:3128'", "upstream-proxy is no URL"),
            ("upstream-proxy = 'ana:hunter2@a.test:3128'", "upstream-proxy is no URL"),
            ("upstream-proxy = 'http:/ana:hunter2://@a.test:3128'", "upstream-proxy is no URL"),
            ("logs = '..'\nstate = '/s'\n[records]\nmax-count = 1", "where /srv/plugins is as well"),
            ("[swap]\nreplay = 1001", "swap.replay is 1001, but must be between 0 and 1000"),
            ("[plugins.a]\nkey-value = '1KiB'", "key-value is 1KiB, but must be between 4KiB and 1GiB"),
        ];
        for (file, expected) in cases {
            let error = format!("{:#}", resolve(Flags::default(), file).expect_err(file));
            assert!(error.contains(expected) && !error.contains("hunter2"), "{file}: {expected} is not in {error}");
        }
        for file in ["listen = '0.0.0.0:1'\nopen = true", "listen = ['[::1]:1', '127.9.9.9:1', '[::ffff:127.0.0.1]:1']"] {
            assert!(resolve(Flags::default(), file).is_ok(), "{file}");
        }
    }

    #[test]
    fn without_a_home_the_state_must_be_said() {
        let here = Surroundings { folder: "/srv".into(), state: None };

        let error = Config::resolve(Flags::default(), None, &here).unwrap_err().to_string();
        assert!(error.contains("--state"), "{error}");
        let flags = Flags { state: Some("s".into()), ..Flags::default() };
        assert_eq!(Config::resolve(flags, None, &here).unwrap().state_dir, Path::new("/srv/s"));
    }

    #[test]
    fn the_example_in_the_documentation_is_true() {
        let text = include_str!("../../../docs/flowgate.toml");
        let names = |key: &str| text.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
        let tables = ["admin", "destinations", "limits", "origins", "plugins", "records", "redaction", "swap", "traces"];
        let keys = raw::KEYS
            .iter()
            .filter(|key| !tables.contains(key))
            .chain(&raw::ADMIN_KEYS)
            .chain(&raw::DESTINATION_KEYS)
            .chain(&raw::LIMIT_KEYS)
            .chain(&raw::ORIGIN_KEYS)
            .chain(&raw::RECORDS_KEYS)
            .chain(&raw::REDACTION_KEYS)
            .chain(&raw::SWAP_KEYS)
            .chain(&raw::TRACES_KEYS)
            .chain(&raw::PLUGIN_KEYS);
        for key in keys {
            assert!(names(key), "{key} is not in the example");
        }

        // As it stands it is the defaults, all of them but one.
        let text_here = text.replace("\"plugins\"", "'/srv/plugins'").replace("\"logs\"", "'/srv/logs'");
        let mut example = resolve(Flags::default(), &text_here).unwrap();
        assert!(std::mem::take(&mut example.redaction).fields.contains(&"authorization".to_owned()));
        assert_eq!(example, resolve(Flags::default(), "").unwrap());

        // Each line that is switched off is good, too.
        for line in text.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.is_empty() && !line.starts_with(' ')) {
            let table = match line {
                line if raw::ORIGIN_KEYS.iter().any(|key| line.starts_with(key)) => "[origins.'a.test']\n",
                line if raw::ADMIN_KEYS.iter().any(|key| line.starts_with(key)) => "[admin]\n",
                line if raw::RECORDS_KEYS.iter().any(|key| line.starts_with(key)) => "[records]\n",
                line if raw::DESTINATION_KEYS.iter().any(|key| line.starts_with(key)) => "[destinations]\n",
                line if line.starts_with("endpoint") || line.starts_with("headers-file") => "[traces]\n",
                _ => "",
            };
            let more = match line {
                line if line.starts_with("auth") => "users = 'u'",
                line if line.starts_with("client-key") => "client-certificate = 'c'",
                line if line.starts_with("[origins") => "ca = 'c'",
                _ => "",
            };
            resolve(Flags::default(), &format!("{table}{line}\n{more}")).unwrap_or_else(|error| panic!("{line}: {error:#}"));
        }
    }

    #[test]
    fn documented_balancers_wait_longer_than_the_proxy_does() {
        let text = include_str!("../../../docs/operation.md");
        let waits = ["timeout client ", "timeout server ", "proxy_timeout "].map(|name| {
            let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("{name}is not in operation.md"));
            let value = rest.split([';', '\n']).next().unwrap_or_default();
            units::duration(value.trim()).unwrap_or_else(|error| panic!("{name}{value}: {error}"))
        });

        assert!(waits.iter().all(|wait| *wait > limits::RESPONSE_DEADLINE.max(limits::CONTENT_IDLE)), "{waits:?}");
    }

    #[test]
    fn the_documentation_names_every_setting() {
        use clap::Args;

        let text = include_str!("../../../docs/operation.md");
        let flags = Flags::augment_args(clap::Command::new("x"));
        for flag in flags.get_arguments() {
            let (long, variable) = (flag.get_long().unwrap(), flag.get_env().unwrap().to_str().unwrap());
            assert!(text.contains(&format!("`--{long}")) && text.contains(&format!("`{variable}`")), "{long} is not in operation.md");
        }
        for key in raw::KEYS
            .iter()
            .filter(|key| **key != "plugins")
            .chain(&raw::ADMIN_KEYS)
            .chain(&raw::DESTINATION_KEYS)
            .chain(&raw::LIMIT_KEYS)
            .chain(&raw::ORIGIN_KEYS)
            .chain(&raw::RECORDS_KEYS)
            .chain(&raw::REDACTION_KEYS)
            .chain(&raw::SWAP_KEYS)
            .chain(&raw::TRACES_KEYS)
            .chain(&raw::PLUGIN_KEYS)
        {
            assert!(text.contains(&format!("`{key}`")), "{key} is not in operation.md");
        }
    }
}
