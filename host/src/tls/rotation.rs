//! A new root beside the one in use, so that clients can trust both before the proxy changes over.
//!
//! Place: `cli` begins and finishes it; the proxy shows both certificates meanwhile, and signs with the old one until it is started anew after
//! the end. Each step is a rename, and one that was broken off is finished at the next start.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{
    Root,
    permitted::Permitted,
    root::{CERTIFICATE_FILE, KEY_FILE, create, lock, permitted_by, present, rename, sync},
};

const NEXT_KEY_FILE: &str = "flowgate-ca-next-key.pem";
const NEXT_CERTIFICATE_FILE: &str = "flowgate-ca-next.pem";
/// The certificate that was in use before, without its key: for taking it out of stores of trust.
const PREVIOUS_FILE: &str = "flowgate-ca-previous.pem";

/// Makes the next root. `None`: it may sign for what the one in use may.
///
/// # Errors
/// There is one, or none in use yet.
pub fn begin(state_dir: &Path, permitted: Option<&Permitted>) -> anyhow::Result<Root> {
    let _lock = lock(state_dir)?;
    let (key, certificate) = next_files(state_dir);
    ensure!(
        present(&state_dir.join(CERTIFICATE_FILE))?,
        "there is no root certificate in {} yet: `flowgate ca create` or the first start makes it",
        state_dir.display()
    );
    ensure!(
        // A key alone is what was left when making them was broken off: nobody trusts it.
        !present(&certificate)?,
        "the next root certificate is there already ({}): let clients trust it, then `flowgate ca rotate --finish`",
        certificate.display()
    );
    let permitted = match permitted {
        Some(permitted) => permitted.clone(),
        None => permitted_by(&state_dir.join(CERTIFICATE_FILE))?,
    };
    create(&key, &certificate, &permitted)?;
    Root::open(&key, certificate)
}

/// The next root, if one was made.
///
/// # Errors
/// It is broken.
pub fn next(state_dir: &Path) -> anyhow::Result<Option<Root>> {
    let (key, certificate) = next_files(state_dir);
    if !present(&certificate)? {
        return Ok(None);
    }
    Root::open(&key, certificate).map(Some)
}

/// Puts the next root in the place of the one in use, whose key is gone then and whose certificate is kept aside.
///
/// # Errors
/// There is no next one, or it is broken: then nothing has changed.
pub fn finish(state_dir: &Path) -> anyhow::Result<Root> {
    let _lock = lock(state_dir)?;
    next(state_dir)?.context("there is no next root certificate: `flowgate ca rotate` makes it")?;
    let certificate = state_dir.join(CERTIFICATE_FILE);
    rename(&certificate, &state_dir.join(PREVIOUS_FILE))?;
    resume(state_dir)?;
    Root::open(&state_dir.join(KEY_FILE), certificate)
}

/// Finishes what was broken off after the old certificate had been put aside. The caller holds the lock.
pub(super) fn resume(state_dir: &Path) -> anyhow::Result<()> {
    let (next_key, next_certificate) = next_files(state_dir);
    let certificate = state_dir.join(CERTIFICATE_FILE);
    if present(&certificate)? || !present(&next_certificate)? {
        return Ok(());
    }
    if present(&next_key)? {
        // The old key is gone with this: nobody is to sign with it any more.
        rename(&next_key, &state_dir.join(KEY_FILE))?;
    }
    rename(&next_certificate, &certificate)?;
    sync(state_dir)
}

fn next_files(state_dir: &Path) -> (PathBuf, PathBuf) {
    (state_dir.join(NEXT_KEY_FILE), state_dir.join(NEXT_CERTIFICATE_FILE))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::tls::testing;

    #[test]
    fn what_an_administrator_makes_is_the_folders_owners() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        // Nobody else may give files away.
        let service = if rustix::process::geteuid().is_root() { 65_534 } else { rustix::process::geteuid().as_raw() };
        std::os::unix::fs::chown(folder.path(), Some(service), None).unwrap();

        Root::open_or_create(folder.path()).unwrap();
        begin(folder.path(), None).unwrap();

        let owners: Vec<u32> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().uid()).collect();
        assert!(owners.len() > 4 && owners.iter().all(|owner| *owner == service), "{owners:?}");
    }

    #[test]
    fn a_lock_that_leads_elsewhere_is_refused_and_gives_nothing_away() {
        use std::os::unix::fs::{MetadataExt, chown, symlink};

        let (folder, _root) = testing::root();
        let elsewhere = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(65_534), None).unwrap();
        }
        let (kept, missing) = (elsewhere.path().join("kept"), elsewhere.path().join("missing"));
        fs::write(&kept, "another's").unwrap();
        let owner = fs::metadata(&kept).unwrap().uid();
        let lock = folder.path().join("flowgate-ca.lock");

        for target in [&kept, &missing] {
            fs::remove_file(&lock).unwrap();
            symlink(target, &lock).unwrap();
            let reason = format!("{:#}", begin(folder.path(), None).unwrap_err());
            assert!(reason.contains("opening") && reason.contains("flowgate-ca.lock"), "{reason}");
        }

        assert_eq!((fs::metadata(&kept).unwrap().uid(), fs::read_to_string(&kept).unwrap()), (owner, "another's".to_owned()));
        assert!(!missing.exists());
    }

    #[test]
    fn both_roots_are_there_until_the_new_one_takes_over() {
        let (folder, old) = testing::root();
        let state = folder.path();
        assert!(next(state).unwrap().is_none() && finish(state).is_err());

        let new = begin(state, None).unwrap();

        assert_ne!(new.fingerprint(), old.fingerprint());
        assert_ne!(new.subject(), old.subject(), "stores of trust can tell them apart");
        assert_eq!(fs::metadata(state.join(NEXT_KEY_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Root::open_or_create(state).unwrap().fingerprint(), old.fingerprint(), "the old one signs");
        assert_eq!(next(state).unwrap().unwrap().fingerprint(), new.fingerprint());
        assert!(begin(state, None).is_err(), "one at a time");

        let old_key = fs::read(state.join(KEY_FILE)).unwrap();
        let finished = finish(state).unwrap();

        assert_eq!([finished.fingerprint(), Root::open_or_create(state).unwrap().fingerprint()], [new.fingerprint(), new.fingerprint()]);
        assert_eq!(fs::read_to_string(state.join(PREVIOUS_FILE)).unwrap(), old.certificate_pem());
        let keys = fs::read_dir(state).unwrap().filter_map(|entry| fs::read(entry.unwrap().path()).ok()).filter(|text| *text == old_key);
        assert_eq!(keys.count(), 0, "the old key is gone");
        assert!(next(state).unwrap().is_none());
    }

    #[test]
    fn a_limit_stays_unless_another_one_or_none_is_asked_for() {
        let some = |name: &str| Permitted::parse(&[name.to_owned()]).unwrap();
        let table = [(None, some("a.test")), (Some(some("b.test")), some("b.test")), (Some(Permitted::default()), Permitted::default())];
        for (asked, expected) in table {
            let folder = tempfile::tempdir().unwrap();
            Root::create(folder.path(), &some("a.test")).unwrap();

            assert_eq!(begin(folder.path(), asked.as_ref()).unwrap().permitted(), &expected, "{asked:?}");
        }
    }

    #[test]
    fn a_change_that_was_broken_off_is_finished_at_the_next_start() {
        for steps in 0..3 {
            let (folder, _old) = testing::root();
            let state = folder.path();
            let new = begin(state, None).unwrap();
            rename(&state.join(CERTIFICATE_FILE), &state.join(PREVIOUS_FILE)).unwrap();
            if steps > 0 {
                rename(&state.join(NEXT_KEY_FILE), &state.join(KEY_FILE)).unwrap();
            }
            if steps > 1 {
                rename(&state.join(NEXT_CERTIFICATE_FILE), &state.join(CERTIFICATE_FILE)).unwrap();
            }

            assert_eq!(Root::open_or_create(state).unwrap().fingerprint(), new.fingerprint(), "{steps} steps");
        }
    }

    #[test]
    fn there_is_no_next_root_before_there_is_one() {
        let folder = tempfile::tempdir().unwrap();

        assert!(begin(folder.path(), None).unwrap_err().to_string().contains("flowgate ca create"));
    }
}
