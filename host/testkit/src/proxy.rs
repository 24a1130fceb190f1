//! The proxy in this process, on a free port of loopback, with folders of its own.
//!
//! Place: between the kit's clients and origins. It trusts the origins' authority; everything it writes goes with it when it is dropped.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use flowgate::{
    app::{self, App, Network, Sockets},
    auth,
    config::{Config, Grant, PluginConfig, Secret},
    hooks::Hooks,
    plugin::{PluginEvent, PluginInfo},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Duration, MissedTickBehavior, interval},
};

use crate::{certificates::Authority, client::Client, compiled, origin::Origin, patience::within, records::Records};

/// How often the set of plugins is looked at while a test waits.
const LOOK: Duration = Duration::from_millis(5);

/// The least cost that bcrypt has: tests have no secrets to keep.
const BCRYPT_COST: u32 = 4;

/// Opens the admin listener of [`Options::admin`].
pub const ADMIN_TOKEN: &str = "a-token-of-the-kit";

type Change = Box<dyn FnOnce(&mut Config, &Path) + Send>;

/// How the proxy shall be configured; the defaults of the product, otherwise.
#[derive(Default)]
pub struct Options(Vec<Change>);

impl Options {
    /// Defaults throughout.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in those users only.
    pub fn users<const N: usize>(users: [(&str, &str); N]) -> Self {
        let entry = |(name, password): (&str, &str)| {
            let hash = bcrypt::hash(password, BCRYPT_COST).expect("the password is short enough");
            format!("{name}:{hash}\n")
        };
        let text: String = users.into_iter().map(entry).collect();
        Self::new().change_in(move |config, folder| {
            let path = folder.join("users");
            fs::write(&path, text).expect("the folder can be written to");
            (config.auth, config.users) = (auth::Mode::Require, Some(path));
        })
    }

    /// With that origin under that `host:port`, whatever the system's resolver says.
    pub fn resolving(self, authority: &str, origin: &Origin) -> Self {
        self.resolving_to(authority, origin.address())
    }

    /// With that address under that `host:port`.
    pub fn resolving_to(self, authority: &str, address: SocketAddr) -> Self {
        let (host, port) = authority.rsplit_once(':').expect("host:port");
        let key = (host.to_owned(), port.parse().expect("a port"));
        self.change(move |config| {
            config.resolve.insert(key, address);
        })
    }

    /// With that configuration of a plugin.
    pub fn plugin(self, name: &str, settings: Value) -> Self {
        self.plugin_with(name, move |plugin| plugin.config = settings)
    }

    /// With other settings of a plugin.
    pub fn plugin_with(self, name: &str, change: impl FnOnce(&mut PluginConfig) + Send + 'static) -> Self {
        let name = name.to_owned();
        self.change(move |config| change(config.plugins.entry(name.clone()).or_insert_with(|| PluginConfig::of(&name))))
    }

    /// With everything granted to that plugin that it may ask for.
    pub fn granting(self, name: &str) -> Self {
        self.plugin_with(name, |plugin| plugin.grants = Grant::ALL.into())
    }

    /// With that component in the plugins' folder from the start, and all that it may ask for granted.
    pub fn component(self, name: &str, component: &[u8]) -> Self {
        let (file, component) = (format!("{name}.wasm"), component.to_vec());
        self.granting(name).change_in(move |config, _| {
            fs::create_dir_all(&config.plugins_dir).expect("the folder can be written to");
            fs::write(config.plugins_dir.join(file), component).expect("the folder can be written to");
        })
    }

    /// With an admin listener on a free port of loopback, which [`ADMIN_TOKEN`] opens.
    pub fn admin(self) -> Self {
        self.change(|config| {
            config.admin.listen = Some(([127, 0, 0, 1], 0).into());
            config.admin.token = Some(Secret(ADMIN_TOKEN.to_owned()));
        })
    }

    /// Without the logger: nothing subscribes to anything, so nothing is intercepted unless [`Config::intercept`] says so.
    pub fn without_logger(self) -> Self {
        self.plugin_with("logger", |logger| logger.enabled = false)
    }

    /// Whatever else.
    pub fn change(self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.change_in(|config, _| change(config))
    }

    /// The same, with the folder that everything lies in.
    pub fn change_in(mut self, change: impl FnOnce(&mut Config, &Path) + Send + 'static) -> Self {
        self.0.push(Box::new(change));
        self
    }

    fn config(self, folder: &Path) -> Config {
        let authority = folder.join("origins.pem");
        fs::write(&authority, Authority::shared().pem()).expect("the folder can be written to");
        let mut config = Config::in_folder(folder);
        config.upstream_ca = vec![authority];
        for change in self.0 {
            change(&mut config, folder);
        }
        config
    }
}

/// A running proxy.
pub struct Proxy {
    running: Running,
    folder: TempDir,
    config: Config,
}

enum Running {
    Whole(App),
    Network(Network),
}

impl Proxy {
    /// Starts the whole of it, plugins included.
    ///
    /// # Panics
    /// Where it does not start; [`Proxy::try_start`] is for tests of that.
    pub async fn start(options: Options) -> Self {
        Self::try_start(options).await.unwrap_or_else(|error| panic!("the proxy does not start: {error:#}"))
    }

    /// Starts one that may fail to.
    ///
    /// # Errors
    /// What start-up says.
    pub async fn try_start(options: Options) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir()?, options).await
    }

    /// Starts one in a folder that another one left behind.
    ///
    /// # Errors
    /// What start-up says.
    pub async fn start_in(folder: TempDir, options: Options) -> anyhow::Result<Self> {
        let config = options.config(folder.path());
        compiled::lend(&config.state_dir);
        let app = app::start(config.clone()).await?;
        compiled::keep(&config.state_dir);
        Ok(Self { running: Running::Whole(app), folder, config })
    }

    /// Starts one that reads its configuration again as that says, out of the one that it was started with.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn rereading(options: Options, reread: impl Fn(&Config) -> anyhow::Result<Config> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("the system has a place for temporary folders");
        let config = options.config(folder.path());
        compiled::lend(&config.state_dir);
        let first = config.clone();
        let app = app::start_rereading(config.clone(), Sockets::default(), Box::new(move || reread(&first))).await;
        let app = app.unwrap_or_else(|error| panic!("the proxy does not start: {error:#}"));
        compiled::keep(&config.state_dir);
        Self { running: Running::Whole(app), folder, config }
    }

    /// Starts the network alone: every host intercepted, no plugin, nothing recorded. Quick, for tests of what passes on the wire.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn without_plugins(options: Options) -> Self {
        Self::with_hooks(options.change(|config| config.intercept.push("*".to_owned())), Arc::new(())).await
    }

    /// Starts the network with something else in the place of plugins.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn with_hooks(options: Options, hooks: Arc<dyn Hooks>) -> Self {
        let folder = tempfile::tempdir().expect("the system has a place for temporary folders");
        let config = options.config(folder.path());
        let network = Network::start(&config, hooks).unwrap_or_else(|error| panic!("the proxy does not start: {error:#}"));
        Self { running: Running::Network(network), folder, config }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Everywhere it listens: in clear, then for TLS.
    pub fn addresses(&self) -> &[SocketAddr] {
        match &self.running {
            Running::Whole(app) => app.addresses(),
            Running::Network(network) => network.addresses(),
        }
    }

    /// Where its admin listener is.
    ///
    /// # Panics
    /// It has none.
    pub fn admin(&self) -> SocketAddr {
        match &self.running {
            Running::Whole(app) => app.admin().expect("an admin listener was asked for"),
            Running::Network(_) => panic!("this proxy has no admin listener"),
        }
    }

    /// Its root certificate.
    pub fn root_pem(&self) -> &str {
        match &self.running {
            Running::Whole(app) => app.root_pem(),
            Running::Network(network) => network.root().certificate_pem(),
        }
    }

    /// A client that trusts the root and says nothing about who it is.
    pub fn client(&self) -> Client {
        Client::through(self.address(), self.root_pem())
    }

    /// A client that trusts the root and has credentials.
    pub fn client_as(&self, user: &str, password: &str) -> Client {
        self.client().with_user(user, password)
    }

    /// What was recorded.
    pub fn records(&self) -> Records {
        Records::in_folder(&self.config.logs_dir)
    }

    /// Where components are put.
    pub fn plugins_dir(&self) -> &Path {
        &self.config.plugins_dir
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The folder that everything lies in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The plugins that run.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        match &self.running {
            Running::Whole(app) => app.plugins(),
            Running::Network(_) => Vec::new(),
        }
    }

    /// How often calls of that plugin failed; `None`: it does not run.
    pub fn failures(&self, name: &str) -> Option<u64> {
        match &self.running {
            Running::Whole(app) => app.platform().counts(name).map(|counts| counts.failures),
            Running::Network(_) => None,
        }
    }

    /// Puts a component into the plugins' folder, whole at once, as `mv` does; does not wait for it to be taken.
    pub fn put_plugin(&self, name: &str, component: &[u8]) -> PathBuf {
        let path = self.plugins_dir().join(format!("{name}.wasm"));
        let beside = self.plugins_dir().join(format!(".{name}.new"));
        fs::create_dir_all(self.plugins_dir()).expect("the folder can be written to");
        fs::write(&beside, component).expect("the folder can be written to");
        fs::rename(&beside, &path).expect("the folder can be written to");
        path
    }

    /// Takes a component out of the plugins' folder; does not wait for that to be noticed.
    pub fn take_plugin(&self, name: &str) {
        fs::remove_file(self.plugins_dir().join(format!("{name}.wasm"))).expect("the component is there");
    }

    /// Waits until the plugins that run are such.
    ///
    /// # Panics
    /// Where they are not within [`PATIENCE`](crate::PATIENCE).
    pub async fn until_plugins(&self, what: &str, such: impl Fn(&[PluginInfo]) -> bool) -> Vec<PluginInfo> {
        let mut looking = interval(LOOK);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        within(what, async {
            loop {
                let plugins = self.plugins();
                if such(&plugins) {
                    return plugins;
                }
                looking.tick().await;
            }
        })
        .await
    }

    /// Why the next file of that name is refused; ask before it is put there.
    ///
    /// # Panics
    /// Where it is not refused within [`PATIENCE`](crate::PATIENCE).
    pub fn refusal_of(&self, name: &str) -> impl Future<Output = String> + use<> {
        let Running::Whole(app) = &self.running else { panic!("this proxy has no plugins") };
        let (mut events, name) = (app.platform().events(), name.to_owned());
        async move {
            within(&format!("the refusal of {name}"), async {
                loop {
                    match events.recv().await {
                        Ok(PluginEvent::Refused { name: refused, reason }) if refused == name => return reason,
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => panic!("the proxy ended before it refused {name}"),
                    }
                }
            })
            .await
        }
    }

    /// Stops in good order; what it wrote stays as long as the folder returned.
    pub async fn stop(self) -> TempDir {
        within("the proxy's stop", async {
            match self.running {
                Running::Whole(app) => app.stop().await,
                Running::Network(network) => network.stop().await,
            }
        })
        .await;
        self.folder
    }
}
