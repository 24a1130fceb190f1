//! Whether the root is trusted: by the system, and by what brings its own list (Node, Python, git, curl, Java).
//!
//! Place: part of `mod`; stores of NSS are in `nss`. A file holds a root if its certificate is in it, as PEM, or octet for octet as in a key
//! store of Java.

use std::{
    fs,
    path::{Path, PathBuf},
};

use memchr::memmem;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{Finding, Surroundings};

/// What the system trusts: Debian and Arch, Fedora and RHEL (two places), openSUSE, Alpine and macOS.
pub(super) const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The same as a folder with a file for each.
const FOLDER: &str = "/etc/ssl/certs";

/// Whether that file has one of the roots.
///
/// # Errors
/// It cannot be read.
pub(super) fn holds(file: &Path, roots: &[CertificateDer<'static>]) -> std::io::Result<bool> {
    let octets = fs::read(file)?;
    if roots.iter().any(|root| memmem::find(&octets, root).is_some()) {
        return Ok(true);
    }
    let is_root = |found: CertificateDer<'_>| roots.iter().any(|root| **root == *found);
    Ok(CertificateDer::pem_slice_iter(&octets).filter_map(Result::ok).any(is_root))
}

/// Files in that folder that have one of the roots.
fn holding(folder: &Path, roots: &[CertificateDer<'static>]) -> std::io::Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    Ok(files.filter(|file| file.is_file() && holds(file, roots).unwrap_or(false)).collect())
}

/// Whether OpenSSL would open it: it knows files in a folder by a hash of the subject and a number only (X509_LOOKUP_hash_dir(3)).
fn is_looked_up(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
    name.is_some_and(|(hash, number)| {
        let is_hash = hash.len() == 8 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_hash && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Whether the system trusts one of the roots; `None`: it does not say what it trusts.
pub(super) fn is_of_system(surroundings: &Surroundings, roots: &[CertificateDer<'static>]) -> Option<bool> {
    if cfg!(target_os = "macos") {
        let found = rustls_native_certs::load_native_certs().certs;
        return Some(found.iter().any(|one| roots.iter().any(|root| **root == **one)));
    }
    surroundings.bundles.iter().find_map(|bundle| holds(bundle, roots).ok())
}

pub(super) fn examine(surroundings: &Surroundings, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    const SYSTEM: &str = "system store";
    let system = is_of_system(surroundings, roots);
    let mut findings = vec![match system {
        Some(true) => Finding::ok(SYSTEM, "the root is in it"),
        Some(false) => Finding::warning(
            SYSTEM,
            "the root is not in it: browsers, git, curl and editors turn the proxy's certificates down unless they have it from elsewhere",
            "install the root as the page at the proxy's own address says",
        ),
        None => Finding::warning(SYSTEM, "this system's list of roots was not found", "see its own documentation for how to add a root"),
    }];
    findings.push(node(surroundings, roots, system == Some(true)));
    for (about, names) in REPLACING {
        let set = names.iter().filter_map(|name| surroundings.variable(name).map(|value| (*name, value)));
        findings.extend(set.map(|(name, file)| replaced(about, name, Path::new(file), roots)));
    }
    findings.extend(java(surroundings, roots));
    for (name, value, about) in BLIND {
        if surroundings.variable(name) == Some(value) {
            let mend = "unset it, and let the program trust the root instead";
            findings.push(Finding::warning(about, format!("{name}={value}: nothing that origins or proxies show is verified"), mend));
        }
    }
    findings
}

/// Variables that name the whole list of what is trusted, in place of any other.
const REPLACING: [(&str, &[&str]); 3] =
    [("python", &["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]), ("curl", &["CURL_CA_BUNDLE"]), ("git", &["GIT_SSL_CAINFO"])];
/// Of these, the one that may be a folder of certificates, too.
const MAYBE_FOLDER: &str = "REQUESTS_CA_BUNDLE";
/// Variables that switch verification off.
const BLIND: [(&str, &str, &str); 3] =
    [("NODE_TLS_REJECT_UNAUTHORIZED", "0", "node"), ("GIT_SSL_NO_VERIFY", "1", "git"), ("GIT_SSL_NO_VERIFY", "true", "git")];

fn node(surroundings: &Surroundings, roots: &[CertificateDer<'static>], is_of_system: bool) -> Finding {
    const ABOUT: &str = "node";
    const MEND: &str = "export NODE_EXTRA_CA_CERTS=/path/to/flowgate-ca.pem";
    let asks_system = surroundings.variable("NODE_USE_SYSTEM_CA") == Some("1")
        || surroundings
            .variable("NODE_OPTIONS")
            .is_some_and(|options| options.split_whitespace().any(|option| option == "--use-system-ca"));
    match surroundings.variable("NODE_EXTRA_CA_CERTS") {
        Some(file) => match holds(Path::new(file), roots) {
            Ok(true) => Finding::ok(ABOUT, "NODE_EXTRA_CA_CERTS has the root"),
            Ok(false) => Finding::fault(ABOUT, format!("NODE_EXTRA_CA_CERTS is {file}, where this proxy's root is not"), MEND),
            Err(error) => Finding::fault(ABOUT, format!("NODE_EXTRA_CA_CERTS is {file}, which cannot be read: {error}"), MEND),
        },
        None if asks_system && is_of_system => Finding::ok(ABOUT, "it trusts what the system trusts"),
        None if asks_system => Finding::fault(ABOUT, "it trusts what the system trusts, where the root is not", MEND),
        None => Finding::warning(ABOUT, "NODE_EXTRA_CA_CERTS is not set: programs on Node do not trust the root", MEND),
    }
}

/// A list that stands in place of any other.
pub(super) fn replaced(about: &'static str, place: &str, file: &Path, roots: &[CertificateDer<'static>]) -> Finding {
    if place == MAYBE_FOLDER && file.is_dir() {
        return replaced_by_folder(about, place, file, roots);
    }
    match holds(file, roots) {
        Ok(true) => Finding::ok(about, format!("{place} has the root")),
        Ok(false) => missing(about, place, file, &format!("add the root to it: cat flowgate-ca.pem >> {}", file.display())),
        Err(error) => unreadable(about, place, file, &error),
    }
}

fn replaced_by_folder(about: &'static str, place: &str, folder: &Path, roots: &[CertificateDer<'static>]) -> Finding {
    let shown = folder.display();
    match holding(folder, roots) {
        Ok(files) if files.is_empty() => {
            missing(about, place, folder, &format!("copy flowgate-ca.pem into it, then run: openssl rehash {shown}"))
        }
        Ok(files) if files.iter().any(|file| is_looked_up(file)) => Finding::ok(about, format!("{place} has the root")),
        Ok(_) => Finding::fault(
            about,
            format!("{place} is {shown}, where the root lies under a name that nobody looks up"),
            format!("run: openssl rehash {shown}"),
        ),
        Err(error) => unreadable(about, place, folder, &error),
    }
}

fn unreadable(about: &'static str, place: &str, file: &Path, error: &std::io::Error) -> Finding {
    let what = format!("{place} is {}, which cannot be read: {error}", file.display());
    Finding::fault(about, what, "name a file with all roots, or unset it")
}

fn missing(about: &'static str, place: &str, list: &Path, mend: &str) -> Finding {
    let shown = list.display();
    // What is written into the system's own list by hand is gone when that is made anew.
    match list == Path::new(FOLDER) || BUNDLES.iter().any(|bundle| list == Path::new(bundle)) {
        true => Finding::fault(
            about,
            format!("{place} is {shown}, which is what the system trusts and does not have the root"),
            "install the root in the system, as the page at the proxy's own address says",
        ),
        false => Finding::fault(
            about,
            format!("{place} is {shown}, which stands in place of the system's list and does not have the root"),
            mend,
        ),
    }
}

fn java(surroundings: &Surroundings, roots: &[CertificateDer<'static>]) -> Option<Finding> {
    const ABOUT: &str = "java";
    const OPTION: &str = "-Djavax.net.ssl.trustStore=";
    let options = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"].into_iter().filter_map(|name| surroundings.variable(name));
    let chosen =
        options.flat_map(str::split_whitespace).find_map(|option| option.strip_prefix(OPTION)).map(|file| Path::new(file).to_owned());
    let store = chosen.or_else(|| {
        let home = Path::new(surroundings.variable("JAVA_HOME")?);
        // A development kit of Java 8 has it in the runtime inside.
        let [own, inner] = ["lib/security/cacerts", "jre/lib/security/cacerts"].map(|store| home.join(store));
        Some(if !own.exists() && inner.exists() { inner } else { own })
    })?;
    let shown = store.display();
    let mend = format!("keytool -importcert -noprompt -alias flowgate -file flowgate-ca.pem -storepass changeit -keystore {shown}");
    Some(match holds(&store, roots) {
        Ok(true) => Finding::ok(ABOUT, format!("{shown} has the root")),
        Ok(false) => Finding::warning(ABOUT, format!("the root is not to be seen in {shown} (some key stores are encrypted)"), mend),
        Err(error) => Finding::fault(ABOUT, format!("{shown} cannot be read: {error}"), "name a key store that is there"),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::symlink};

    use super::{super::Verdict, *};
    use crate::tls::Root;

    fn surroundings(bundle: PathBuf, variables: &[(&str, &str)]) -> Surroundings {
        let variables: BTreeMap<_, _> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Surroundings { variables, bundles: vec!["/nowhere/at/all".into(), bundle], ..Surroundings::default() }
    }

    fn verdict(findings: &[Finding], about: &str) -> Verdict {
        findings.iter().find(|finding| finding.about == about).unwrap_or_else(|| panic!("nothing about {about}: {findings:?}")).verdict
    }

    #[test]
    fn the_systems_list_is_read_and_node_may_go_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let (root, other) =
            (Root::open_or_create(&folder.path().join("a")).unwrap(), Root::open_or_create(&folder.path().join("b")).unwrap());
        let roots = [root.certificate_der().clone()];
        let (with, without) = (folder.path().join("with.pem"), folder.path().join("without.pem"));
        fs::write(&with, format!("# a comment\n{}{}", other.certificate_pem(), root.certificate_pem())).unwrap();
        fs::write(&without, other.certificate_pem()).unwrap();

        let table = [
            (&with, &[][..], Verdict::Ok, Verdict::Warning),
            (&without, &[], Verdict::Warning, Verdict::Warning),
            (&with, &[("NODE_USE_SYSTEM_CA", "1")], Verdict::Ok, Verdict::Ok),
            (&with, &[("NODE_OPTIONS", "--x --use-system-ca")], Verdict::Ok, Verdict::Ok),
            (&without, &[("NODE_USE_SYSTEM_CA", "1")], Verdict::Warning, Verdict::Fault),
        ];
        for (bundle, variables, system, node) in table {
            let findings = examine(&surroundings(bundle.clone(), variables), &roots);
            assert_eq!((verdict(&findings, "system store"), verdict(&findings, "node")), (system, node), "{variables:?}");
        }
        let nothing = examine(&surroundings(folder.path().join("none"), &[]), &roots);
        assert_eq!(verdict(&nothing, "system store"), Verdict::Warning);
    }

    #[test]
    fn a_folder_of_certificates_and_an_old_javas_store_are_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open_or_create(&folder.path().join("a")).unwrap();
        let roots = [root.certificate_der().clone()];
        let (certificates, store) = (folder.path().join("certificates"), folder.path().join("java/jre/lib/security"));
        for folder in [&certificates, &store] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(store.join("cacerts"), &*roots[0]).unwrap();
        let java = folder.path().join("java");
        let variables = [("REQUESTS_CA_BUNDLE", certificates.to_str().unwrap()), ("JAVA_HOME", java.to_str().unwrap())];
        let found = || examine(&surroundings(folder.path().join("none"), &variables), &roots);

        assert_eq!((verdict(&found(), "python"), verdict(&found(), "java")), (Verdict::Fault, Verdict::Ok));
        let mend = || found().into_iter().find(|finding| finding.about == "python").and_then(|finding| finding.mend);
        assert!(mend().is_some_and(|mend| mend.starts_with("copy flowgate-ca.pem into it")), "{:?}", mend());
        fs::write(certificates.join("flowgate.pem"), root.certificate_pem()).unwrap();
        assert_eq!(verdict(&found(), "python"), Verdict::Fault, "OpenSSL does not look there");
        assert!(mend().is_some_and(|mend| mend.starts_with("run: openssl rehash")), "{:?}", mend());
        symlink("flowgate.pem", certificates.join("0a1b2c3d.0")).unwrap();
        assert_eq!(verdict(&found(), "python"), Verdict::Ok);
    }

    #[test]
    fn the_systems_own_list_is_not_to_be_written_into() {
        let mend = |file: &str| missing("curl", "CURL_CA_BUNDLE", Path::new(file), "add the root to it").mend.unwrap();

        assert_eq!(mend("/home/ana/roots.pem"), "add the root to it");
        for bundle in BUNDLES.into_iter().chain([FOLDER]) {
            assert!(mend(bundle).starts_with("install the root in the system"), "{bundle}");
        }
    }
}
