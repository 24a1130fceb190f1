//! The proxy's side: its root, its folders, its disk, its plugins.
//!
//! Place: part of `mod`; for whoever runs the proxy, on the machine it runs on. Nothing is made and nothing repaired.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use http::Method;
use rustix::fs::{Access, access, statvfs};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::Finding;
use crate::{
    admin::{self, AskError, Listed},
    tls::Root,
};

/// Days before its end from which on a root is spoken of: clients must be given another one by then.
const ROOT_DAYS: i64 = 90;
/// Octets that must be free: a second of a busy proxy's records.
const LEAST_FREE: u64 = 256 << 20;
/// Octets below which a disk is soon full.
const LITTLE_FREE: u64 = 2 << 30;

/// Where the proxy's files are.
#[derive(Clone, Debug)]
pub struct Premises {
    /// Root, key, socket.
    pub state: PathBuf,
    /// Records.
    pub logs: PathBuf,
}

impl Premises {
    /// The certificate of its root, if there is one that is good.
    pub(super) fn root(&self) -> Option<CertificateDer<'static>> {
        Root::open_made(&self.state).ok()?.map(|root| root.certificate_der().clone())
    }
}

/// `served`: the roots that the running proxy hands out.
pub(super) async fn examine(premises: &Premises, served: &[CertificateDer<'static>]) -> Vec<Finding> {
    let mut findings = Vec::from_iter(root(premises, served));
    findings.extend(folder("state folder", &premises.state, 0o077));
    findings.extend(folder("records", &premises.logs, 0o007));
    let mut disks = Vec::new();
    for place in [&premises.state, &premises.logs] {
        let Ok(there) = fs::metadata(existing(place)) else { continue };
        if !disks.contains(&there.dev()) {
            disks.push(there.dev());
            findings.extend(disk(existing(place)));
        }
    }
    findings.extend(plugins(&premises.state).await);
    findings
}

fn root(premises: &Premises, served: &[CertificateDer<'static>]) -> Option<Finding> {
    const ABOUT: &str = "root";
    let root = match Root::open_made(&premises.state) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let what = format!("there is no root certificate in {}", premises.state.display());
            return Some(Finding::warning(
                ABOUT,
                what,
                "the first start makes one; is that the state folder the proxy runs with (--state)?",
            ));
        }
        Err(error) => return Some(Finding::fault(ABOUT, format!("{error:#}"), "the proxy does not start before that is mended")),
    };
    if !served.is_empty() && !served.contains(root.certificate_der()) {
        let what = format!("the proxy hands out another root than {}", root.certificate_path().display());
        return Some(Finding::fault(ABOUT, what, "restart the proxy, or name the state folder it runs with (--state)"));
    }
    let (until, left) = (root.not_after().date(), (root.not_after() - OffsetDateTime::now_utc()).whole_days());
    Some(match left {
        ..ROOT_DAYS => Finding::warning(ABOUT, format!("{} ends on {until}", root.subject()), "make the next one now: flowgate ca rotate"),
        _ => Finding::ok(ABOUT, format!("{} is valid until {until}", root.subject())),
    })
}

/// `others`: permissions that nobody else should have.
fn folder(about: &'static str, path: &Path, others: u32) -> Option<Finding> {
    let shown = path.display();
    let Ok(there) = fs::metadata(path) else {
        let above = existing(path);
        return Some(match access(above, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::ok(about, format!("{shown} is made when it is needed")),
            Err(_) => Finding::fault(
                about,
                format!("{shown} is not there, and {} does not take it", above.display()),
                "make it for the proxy's user",
            ),
        });
    };
    let (me, mode) = (rustix::process::geteuid().as_raw(), there.mode() & 0o777);
    if !there.is_dir() {
        return Some(Finding::fault(about, format!("{shown} is no folder"), "move it away"));
    }
    if me != there.uid() && me != 0 {
        let mend = "run flowgate doctor as that user to have it looked at";
        return Some(Finding::warning(about, format!("{shown} belongs to user {}, who is somebody else", there.uid()), mend));
    }
    Some(if access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        Finding::fault(
            about,
            format!("{shown} cannot be written to (mode {mode:03o})"),
            format!("chmod u+rwx {shown}, if the disk is not read-only"),
        )
    } else if mode & others != 0 {
        let mend = format!("chmod {:03o} {shown}: prompts, tokens and the root's key are nobody else's", mode & !others);
        Finding::warning(about, format!("others may look into {shown} (mode {mode:03o})"), mend)
    } else {
        Finding::ok(about, format!("{shown} is the proxy's own"))
    })
}

/// The folder itself, or the nearest one above it that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."))
}

fn disk(path: &Path) -> Option<Finding> {
    let found = statvfs(path).ok()?;
    let inodes = (found.f_files > 0).then_some((found.f_favail, found.f_files));
    Some(room(path, found.f_bavail.saturating_mul(found.f_frsize), inodes))
}

/// `inodes`: free ones and all, where the file system counts them.
fn room(path: &Path, free: u64, inodes: Option<(u64, u64)>) -> Finding {
    const ABOUT: &str = "disk";
    const MEND: &str = "let records go that are old enough, or move the folder to a larger disk";
    let (shown, mebibytes) = (path.display(), free >> 20);
    match (free, inodes) {
        (..LEAST_FREE, _) => Finding::fault(ABOUT, format!("{mebibytes} MiB are left for {shown}: records are lost when it is full"), MEND),
        (_, Some((free, all))) if free < all / 100 => {
            Finding::warning(ABOUT, format!("{free} of {all} files are left for {shown}: each record is one"), MEND)
        }
        (..LITTLE_FREE, _) => Finding::warning(ABOUT, format!("{mebibytes} MiB are left for {shown}"), MEND),
        _ => Finding::ok(ABOUT, format!("{} GiB are left for {shown}", free >> 30)),
    }
}

/// As the running proxy says.
async fn plugins(state: &Path) -> Vec<Finding> {
    const ABOUT: &str = "plugins";
    let list: Vec<Listed> = match admin::ask(&admin::path(state), Method::GET, "/v1/plugins").await {
        Ok(list) => list,
        Err(error @ AskError::Absent { .. }) => {
            return vec![Finding::warning(ABOUT, error.to_string(), "start it, or name that folder")];
        }
        Err(error) => return vec![Finding::fault(ABOUT, error.to_string(), "restart the proxy")],
    };
    if list.is_empty() {
        return vec![Finding::warning(
            ABOUT,
            "there are no plugins: nothing is looked into or recorded",
            "take enabled = false away from the logger",
        )];
    }
    list.iter().map(|plugin| one_plugin(ABOUT, plugin)).collect()
}

fn one_plugin(about: &'static str, plugin: &Listed) -> Finding {
    let name = &plugin.name;
    if let Some(reason) = &plugin.refused {
        let mend = "mend it, and run flowgate plugin reload";
        let what = format!("{name}: what its file holds is refused: {reason}");
        return if plugin.hash.is_some() { Finding::warning(about, what, mend) } else { Finding::fault(about, what, mend) };
    }
    if plugin.state != "serving" {
        return Finding::fault(
            about,
            format!("{name} is {}", plugin.state),
            "its last failures are in the diagnostics, and in flowgate why",
        );
    }
    if plugin.lost + plugin.unobserved > 0 {
        let what = format!("{name} has missed {} flows", plugin.lost + plugin.unobserved);
        return Finding::warning(about, what, "why is in the diagnostics: the plugin failed, or did not keep up");
    }
    Finding::ok(about, format!("{name} is in service"))
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn disks_that_are_nearly_full_are_told() {
        let table = [
            (100 << 30, Some((1000, 1000)), Verdict::Ok),
            (100 << 30, None, Verdict::Ok),
            (LITTLE_FREE - 1, None, Verdict::Warning),
            (100 << 30, Some((9, 1000)), Verdict::Warning),
            (LEAST_FREE - 1, Some((1000, 1000)), Verdict::Fault),
        ];
        for (free, inodes, expected) in table {
            assert_eq!(room(Path::new("/"), free, inodes).verdict, expected, "{free} {inodes:?}");
        }
        assert!(disk(Path::new("/")).is_some());
    }
}
