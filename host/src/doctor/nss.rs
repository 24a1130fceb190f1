//! Stores of NSS: Firefox's profiles, and the one of Chromium on Linux.
//!
//! Place: part of `mod`. A store is an SQLite file that holds certificates octet for octet, so whether the root is in one is seen without any
//! tool; whether it is trusted there says `certutil`, where that is installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustls_pki_types::CertificateDer;

use super::{Finding, Surroundings, trust::holds};

/// Folders below home that hold profiles of Firefox: as a package, as a snap, as a flatpak, on macOS.
const FIREFOX: [&str; 4] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];
/// Folders below home that are stores themselves.
const CHROMIUM: [&str; 2] = [".pki/nssdb", "snap/chromium/current/.pki/nssdb"];

pub(super) fn examine(surroundings: &Surroundings, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    let profiles = FIREFOX.iter().flat_map(|folder| fs::read_dir(surroundings.home.join(folder)).into_iter().flatten().flatten());
    let firefox = profiles.map(|entry| ("firefox", entry.path()));
    let chromium = CHROMIUM.iter().map(|folder| ("chromium", surroundings.home.join(folder)));
    let mut stores: Vec<(&'static str, PathBuf)> = firefox.chain(chromium).filter(|(_, store)| store.join("cert9.db").is_file()).collect();
    stores.sort();
    stores.into_iter().map(|(about, store)| one(surroundings, about, &store, roots)).collect()
}

fn one(surroundings: &Surroundings, about: &'static str, store: &Path, roots: &[CertificateDer<'static>]) -> Finding {
    let shown = store.display();
    let mend = format!("certutil -d \"sql:{shown}\" -A -t C,, -n flowgate -i flowgate-ca.pem");
    match holds(&store.join("cert9.db"), roots) {
        Ok(true) => match is_trusted(surroundings, store, roots) {
            Some(true) => Finding::ok(about, format!("{shown} trusts the root")),
            Some(false) => Finding::fault(about, format!("{shown} knows the root and does not trust it for web sites"), mend),
            None => Finding::ok(
                about,
                format!(
                    "{shown} has the root (whether it is trusted for web sites was not seen: there is no certutil, or it cannot read it)"
                ),
            ),
        },
        Ok(false) => Finding::warning(about, format!("{shown} does not have the root"), mend),
        Err(error) => Finding::warning(about, format!("{shown} cannot be read: {error}"), "look into it as the user whose it is"),
    }
}

/// `None`: there is no `certutil`, or it cannot read the store.
fn is_trusted(surroundings: &Surroundings, store: &Path, roots: &[CertificateDer<'static>]) -> Option<bool> {
    let folder = format!("sql:{}", store.display());
    let list = String::from_utf8(surroundings.asked("certutil", &["-L", "-d", &folder])?).ok()?;
    let trusted = list.lines().filter_map(nickname);
    let is_root = |name: &str| {
        let der = surroundings.asked("certutil", &["-L", "-d", &folder, "-n", name, "-r"]);
        der.is_some_and(|der| roots.iter().any(|root| **root == *der))
    };
    Some(trusted.into_iter().any(is_root))
}

/// The name in a line of `certutil -L`, if what it names is trusted to sign for web sites: `flowgate    C,,`.
fn nickname(line: &str) -> Option<&str> {
    let (name, flags) = line.trim_end().rsplit_once(' ')?;
    let for_sites = flags.split(',').next()?;
    (flags.matches(',').count() == 2 && for_sites.contains('C')).then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_trusted_roots_are_read_from_certutils_list() {
        let list = "\nCertificate Nickname                                         Trust Attributes\n\
                                                                     SSL,S/MIME,JAR/XPI\n\n\
                    flowgate                                                     C,,  \n\
                    My company's root                                            CT,C,\n\
                    an intermediate                                              ,,   \n\
                    a peer                                                       P,,  \n";

        let names: Vec<&str> = list.lines().filter_map(nickname).collect();

        assert_eq!(names, ["flowgate", "My company's root"]);
    }
}
