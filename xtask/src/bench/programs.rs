//! The programs of a benchmark: built, found and started.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{
    OTHER_CPU, Options, PROXY_CPU, load,
    process::{Helper, Proxy},
    shape::Certificates,
};
use crate::{cargo, target_folder, to_its_end};

/// No plugin at all.
pub(crate) const PLAIN: &str = "[plugins.logger]\nenabled = false\n";

/// What plugins are compiled for.
const GUEST: &str = "wasm32-wasip2";

/// What is measured, and this very program for the helpers; both optimised, so that the lower bound is not slowed down by a debug build,
/// unless nothing is to be built.
pub(crate) struct Programs {
    flowgate: PathBuf,
    xtask: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    builds: bool,
}

impl Programs {
    /// That binary, and this very program as it is for the rest.
    pub(crate) fn of(flowgate: &Path) -> anyhow::Result<Self> {
        Ok(Self { flowgate: flowgate.to_owned(), xtask: this_program()?, target: target_folder(), builds: true })
    }

    pub(crate) fn built(options: &Options) -> anyhow::Result<Self> {
        let target = target_folder();
        let builds = !options.no_build;
        let release = |package: &str| -> anyhow::Result<PathBuf> {
            if builds {
                build(package, &["--release"])?;
            }
            let program = target.join("release").join(package);
            ensure!(program.is_file(), "there is no {}: run without --no-build", program.display());
            Ok(program)
        };
        let flowgate = match &options.binary {
            // It runs in a folder of its own.
            Some(binary) => binary.canonicalize().with_context(|| format!("looking for {}", binary.display()))?,
            None => release("flowgate")?,
        };
        let xtask = match options.no_build {
            true => this_program()?,
            false => release("xtask")?,
        };
        Ok(Self { flowgate, xtask, target, builds })
    }

    /// Puts a component of this workspace, `flowgate-PACKAGE`, among the plugins in that folder under these names.
    pub(crate) fn put_plugin(&self, own: &Path, package: &str, names: impl Iterator<Item = String>) -> anyhow::Result<()> {
        let folder = self.target.join("guests");
        if self.builds {
            build(&format!("flowgate-{package}"), &["--profile", "guest", "--target", GUEST, "--target-dir", path(&folder)?])?;
        }
        let (plugins, component) = (own.join("plugins"), folder.join(GUEST).join(format!("guest/flowgate_{package}.wasm")));
        fs::create_dir_all(&plugins).with_context(|| format!("making {}", plugins.display()))?;
        for name in names {
            let copied = fs::copy(&component, plugins.join(format!("{name}.wasm")));
            copied.with_context(|| format!("copying {} (--no-build?)", component.display()))?;
        }
        Ok(())
    }

    pub(crate) fn helper(&self, chore: &'static str, arguments: &[impl AsRef<OsStr>], cpu: usize) -> anyhow::Result<Helper> {
        Helper::start(&self.xtask, chore, arguments, cpu)
    }

    /// The lower bound, and where it listens. `ends`: that of whoever ends TLS.
    pub(crate) fn tunnel(&self, ends: Option<&Certificates>) -> anyhow::Result<(Proxy, SocketAddr)> {
        let files = ends.map(|ends| [&ends.chain, &ends.key, &ends.root]);
        let files = files.into_iter().flatten().map(|file| path(file)).collect::<anyhow::Result<Vec<_>>>()?;
        let helper = self.helper("bench-tunnel", &files, PROXY_CPU)?;
        let address = helper.line()?.parse().context("reading the tunnel's address")?;
        Ok((Proxy::Helper(helper), address))
    }

    /// The product with these settings, everything it has in that folder; where it listens, and its root certificate.
    pub(crate) fn flowgate(&self, settings: &str, own: &Path, certificates: &Certificates) -> anyhow::Result<(Proxy, SocketAddr, PathBuf)> {
        start(&self.flowgate, settings, own, &own.join("plugins"), certificates)
    }

    /// Load that is connected and warm.
    pub(crate) fn load(&self, options: &load::Options) -> anyhow::Result<Helper> {
        let load = self.helper("bench-load", &options.arguments()?, OTHER_CPU)?;
        ensure!(load.line()? == load::READY, "the load did not come up");
        Ok(load)
    }
}

/// `flowgate run` with these settings and plugins, everything else it has in the folder `own`; where it listens, and its root certificate.
pub(crate) fn start(
    flowgate: &Path,
    settings: &str,
    own: &Path,
    plugins: &Path,
    certificates: &Certificates,
) -> anyhow::Result<(Proxy, SocketAddr, PathBuf)> {
    let (state, logs, config) = (own.join("state"), own.join("logs"), own.join("flowgate.toml"));
    for made in [&state, &logs, plugins] {
        fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
    }
    fs::write(&config, settings).with_context(|| format!("writing {}", config.display()))?;
    let mut command = Command::new(flowgate);
    command.current_dir(own).env("RUST_LOG", "warn").args(["run", "--intercept", "*", "--listen", "127.0.0.1:0"]);
    command.arg("--config").arg(&config).arg("--state").arg(&state).arg("--logs").arg(&logs);
    command.arg("--plugins").arg(plugins).arg("--upstream-ca").arg(&certificates.root);
    let (proxy, address) = Proxy::start(command, PROXY_CPU)?;
    Ok((proxy, address, root_of(&state)?))
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("finding this program")
}

/// The folder of a contender of that name.
pub(crate) fn own(folder: &Path, name: &str) -> PathBuf {
    folder.join(name.replace([' ', ','], "-"))
}

fn build(package: &str, how: &[&str]) -> anyhow::Result<()> {
    to_its_end(cargo().args(["build", "--package", package]).args(how))
}

/// The root certificate in a state folder: the PEM file with a certificate and without a key.
fn root_of(state: &Path) -> anyhow::Result<PathBuf> {
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY") {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no root certificate in {}", state.display())
}

pub(crate) fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
