//! squid from Debian, intercepting everything and keeping nothing: unpacked and not installed, for that would start a server.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use rustix::process::getuid;

use crate::{
    bench::{programs::path, shape::Root},
    to_its_end,
};

/// What it is, and what it needs that a machine may be without.
const PACKAGES: [&str; 7] =
    ["squid-openssl", "squid-common", "squid-langpack", "libecap3", "libltdl7", "libnetfilter-conntrack3", "libnfnetlink0"];

/// Its program, its configuration in `own` with a root of its own, where it will listen, and that root's file.
pub(super) fn squid(place: &Path, own: &Path, trusted: &Path) -> anyhow::Result<(Command, SocketAddr, PathBuf)> {
    let home = place.join("squid");
    unpack(&home)?;
    let libraries = fs::read_dir(home.join("usr/lib")).context("looking for squid's libraries")?.filter_map(Result::ok);
    let libraries = libraries.map(|entry| entry.path()).find(|folder| folder.to_string_lossy().ends_with("-linux-gnu"));
    let libraries = libraries.context("squid came without its libraries")?;
    let helper = home.join("usr/lib/squid/security_file_certgen");
    let (leaves, shown, both) = (own.join("leaves"), own.join("root.pem"), own.join("root-and-key.pem"));
    to_its_end(
        Command::new(&helper)
            .arg("-c")
            .arg("-s")
            .arg(&leaves)
            .args(["-M", "16MB"])
            .env("LD_LIBRARY_PATH", &libraries)
            .stdout(Stdio::null()),
    )?;

    let root = Root::make("squid's root")?;
    let (certificate, key) = (root.certificate.pem(), root.issuer.key().serialize_pem());
    fs::write(&shown, &certificate).with_context(|| format!("writing {}", shown.display()))?;
    fs::write(&both, format!("{key}{certificate}")).with_context(|| format!("writing {}", both.display()))?;

    // It takes no port 0.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).context("finding a free port")?;
    let config = own.join("squid.conf");
    let (home, own, leaves, helper) = (path(&home)?, path(own)?, path(&leaves)?, path(&helper)?);
    let text = format!(
        "http_port {address} ssl-bump tls-cert={both} generate-host-certificates=on dynamic_cert_mem_cache_size=16MB\n\
         sslcrtd_program {helper} -s {leaves} -M 16MB\n\
         tls_outgoing_options cafile={trusted} default-ca=off\n\
         acl first at_step SslBump1\n\
         ssl_bump peek first\n\
         ssl_bump bump all\n\
         http_access allow all\n\
         cache deny all\n\
         access_log none\n\
         cache_log {own}/cache.log\n\
         coredump_dir {own}\n\
         pid_filename none\n\
         netdb_filename none\n\
         pinger_enable off\n\
         visible_hostname localhost\n\
         unlinkd_program {home}/usr/lib/squid/unlinkd\n\
         mime_table {home}/usr/share/squid/mime.conf\n\
         icon_directory {home}/usr/share/squid/icons\n\
         error_directory {home}/usr/share/squid-langpack/templates\n",
        both = path(&both)?,
        trusted = path(trusted)?,
    );
    fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;

    let squid = format!("{home}/usr/sbin/squid");
    let mut command = match getuid().is_root() {
        // It refuses, or changes to somebody who may not read its files: here it is called otherwise, and is who it was.
        true => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-user", "1000", &squid]);
            command
        }
        false => Command::new(squid),
    };
    command.args(["-N", "-f"]).arg(config).env("LD_LIBRARY_PATH", libraries);
    Ok((command, address, shown))
}

fn unpack(home: &Path) -> anyhow::Result<()> {
    if home.join("usr/sbin/squid").is_file() {
        return Ok(());
    }
    let packages = home.with_extension("packages");
    fs::create_dir_all(&packages).with_context(|| format!("making {}", packages.display()))?;
    to_its_end(Command::new("apt-get").args(["download", "-qq"]).args(PACKAGES).current_dir(&packages))?;
    for package in fs::read_dir(&packages).with_context(|| format!("reading {}", packages.display()))? {
        to_its_end(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(home))?;
    }
    Ok(())
}
