//! The root certificate: made on the first run, kept for ten years, never overwritten.
//!
//! Place: opened by `app` and `cli`; `leaf` signs with it. The key never leaves this module. A new one beside it is `rotation`'s.
//! Source: RFC 5280 §4.2.1.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SerialNumber,
};
use rustix::{fs::OFlags, process::geteuid};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{permitted::Permitted, random, rotation};
use crate::fresh;

pub(super) const KEY_FILE: &str = "flowgate-ca-key.pem";
pub(super) const CERTIFICATE_FILE: &str = "flowgate-ca.pem";
const LOCK_FILE: &str = "flowgate-ca.lock";

/// How long before now certificates are already valid: clients' clocks run behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years: longer than the machines that trust it, shorter than what Apple and Android refuse.
const LIFETIME: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// More than any certificate or key takes; guards against a device or a log file in its place.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The root certificate and the key that signs leaves.
pub struct Root {
    path: PathBuf,
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    facts: Facts,
}

impl Root {
    /// Opens the root in `state_dir`, or makes one where there is none. A lock file keeps two first runs apart. The folder is made with
    /// mode 0700, the key with mode 0600.
    ///
    /// # Errors
    /// Where folder or files cannot be read or written, only one of the two files is there, they are corrupt or do not fit together, the
    /// certificate is no root or has expired, or others may read the key. Nothing is ever repaired or overwritten.
    pub fn open_or_create(state_dir: &Path) -> anyhow::Result<Self> {
        let _lock = lock(state_dir)?;
        rotation::resume(state_dir)?;
        let (key, certificate) = (state_dir.join(KEY_FILE), state_dir.join(CERTIFICATE_FILE));
        match (present(&key)?, present(&certificate)?) {
            (false, false) => create(&key, &certificate, &Permitted::default())?,
            // A first run that was killed between its two renames.
            (true, false) if present(&unfinished(&certificate))? => rename(&unfinished(&certificate), &certificate)?,
            (true, true) => {}
            (true, false) => bail!(half_there(&certificate, &key)),
            (false, true) => bail!(half_there(&key, &certificate)),
        }
        Self::open(&key, certificate)
    }

    /// Opens the root in `state_dir` and changes nothing. `None`: there is none yet.
    ///
    /// # Errors
    /// As for [`Root::open_or_create`].
    pub fn open_made(state_dir: &Path) -> anyhow::Result<Option<Self>> {
        let (key, certificate) = (state_dir.join(KEY_FILE), state_dir.join(CERTIFICATE_FILE));
        match (present(&key)?, present(&certificate)?) {
            (false, false) => Ok(None),
            (true, true) => Self::open(&key, certificate).map(Some),
            (true, false) => bail!(half_there(&certificate, &key)),
            (false, true) => bail!(half_there(&key, &certificate)),
        }
    }

    /// Makes the root, which may sign for some names only.
    ///
    /// # Errors
    /// There is one, or part of one, already; else as for [`Root::open_or_create`].
    pub fn create(state_dir: &Path, permitted: &Permitted) -> anyhow::Result<Self> {
        let _lock = lock(state_dir)?;
        let (key, certificate) = (state_dir.join(KEY_FILE), state_dir.join(CERTIFICATE_FILE));
        ensure!(
            !present(&key)? && !present(&certificate)?,
            "there is a root certificate in {} already; `flowgate ca rotate` makes another one beside it",
            state_dir.display()
        );
        create(&key, &certificate, permitted)?;
        Self::open(&key, certificate)
    }

    /// The certificate in `state_dir` without its key, in PEM and DER: one that has expired is still shown beside the one that follows it.
    ///
    /// # Errors
    /// It is no certificate of a root. Where there is none, as [`Root::open_or_create`], which makes it.
    pub fn certificate(state_dir: &Path) -> anyhow::Result<(String, CertificateDer<'static>)> {
        let path = state_dir.join(CERTIFICATE_FILE);
        match present(&path)? {
            true => read_certificate(&path).map(|(pem, der, _)| (pem, der)),
            false => Self::open_or_create(state_dir).map(|root| (root.pem, root.der)),
        }
    }

    /// The certificate, for clients to install.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The same in DER, as Windows and Android like it.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Where the certificate is.
    pub fn certificate_path(&self) -> &Path {
        &self.path
    }

    /// Common name of the subject, or the whole subject where it has none.
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// SHA-256 of the certificate in upper-case hex pairs with colons, as browsers and `openssl` print it.
    pub fn fingerprint(&self) -> String {
        let pairs: Vec<_> = Sha256::digest(&self.der).iter().map(|octet| format!("{octet:02X}")).collect();
        pairs.join(":")
    }

    /// From when it is valid.
    pub fn not_before(&self) -> OffsetDateTime {
        self.facts.not_before
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> OffsetDateTime {
        self.facts.not_after
    }

    /// What it may sign for.
    pub fn permitted(&self) -> &Permitted {
        &self.facts.permitted
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(super) fn open(key_path: &Path, path: PathBuf) -> anyhow::Result<Self> {
        ensure_private(key_path)?;
        let key_pem = read(key_path).with_context(|| format!("reading root key {}", key_path.display()))?;
        let key = KeyPair::from_pem(&key_pem)
            .with_context(|| format!("reading root key {}: this is no private key in PEM; {MEND}", key_path.display()))?;
        let (pem, der, facts) = read_certificate(&path)?;
        ensure!(
            facts.public_key == key.subject_public_key_info(),
            "root key {} does not belong to root certificate {}; {MEND}",
            key_path.display(),
            path.display()
        );
        ensure!(
            OffsetDateTime::now_utc() < facts.not_after,
            "root certificate {} has expired on {}; move both files away to have a new root made, and let the clients trust it",
            path.display(),
            facts.not_after.date()
        );
        let issuer = Issuer::from_ca_cert_der(&der, key).with_context(|| format!("reading root certificate {}", path.display()))?;
        Ok(Self { path, pem, der, issuer, facts })
    }
}

/// The key is not shown.
impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").field("path", &self.path).field("subject", &self.facts.subject).finish_non_exhaustive()
    }
}

const MEND: &str = "put the right file back, or move both files of the root away to have a new one made";

/// What is read out of the certificate once.
struct Facts {
    subject: String,
    public_key: Vec<u8>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    permitted: Permitted,
}

impl Facts {
    fn of(der: &[u8]) -> anyhow::Result<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).with_context(|| format!("this is no certificate; {MEND}"))?;
        ensure!(rest.is_empty(), "there is more than a certificate in it; {MEND}");
        let may_sign = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        ensure!(certificate.is_ca() && may_sign, "this certificate may not sign others; {MEND}");
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            subject: name.map_or_else(|| certificate.subject().to_string(), str::to_owned),
            public_key: certificate.public_key().raw.to_vec(),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            permitted: Permitted::of(&certificate)?,
        })
    }
}

/// What a root may sign for, by its certificate alone: one that has expired is still to be followed by another.
pub(super) fn permitted_by(path: &Path) -> anyhow::Result<Permitted> {
    read_certificate(path).map(|(_, _, facts)| facts.permitted)
}

fn read_certificate(path: &Path) -> anyhow::Result<(String, CertificateDer<'static>, Facts)> {
    let certificate = || {
        let pem = read(path)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).with_context(|| format!("this is no certificate in PEM; {MEND}"))?;
        let facts = Facts::of(&der)?;
        anyhow::Ok((pem, der, facts))
    };
    certificate().with_context(|| format!("reading root certificate {}", path.display()))
}

/// Both files of a root, where there are none.
pub(super) fn create(key_path: &Path, path: &Path, permitted: &Permitted) -> anyhow::Result<()> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making the root key")?;
    let mut params = CertificateParams::default();
    // Tells several roots in one store of trust apart.
    let short: String = params.key_identifier(&key).iter().take(4).map(|octet| format!("{octet:02x}")).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("flowgate root {short}"));
    params.distinguished_name = name;
    // It signs leaves and nothing between.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = permitted.constraints();
    params.serial_number = Some(serial()?);
    params.not_before = OffsetDateTime::now_utc() - BACKDATE;
    params.not_after = OffsetDateTime::now_utc() + LIFETIME;
    let certificate = params.self_signed(&key).context("signing the root certificate")?;

    write_new(&unfinished(key_path), key.serialize_pem().as_bytes(), 0o600)?;
    write_new(&unfinished(path), certificate.pem().as_bytes(), 0o644)?;
    rename(&unfinished(key_path), key_path)?;
    rename(&unfinished(path), path)?;
    // Both names last only once the folder does.
    sync(path.parent().unwrap_or(Path::new(".")))
}

/// Makes names in that folder last.
pub(super) fn sync(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("writing {}", folder.display()))
}

/// Keeps others from changing the roots in that folder, which is made if it is not there. Released when the file is closed.
pub(super) fn lock(state_dir: &Path) -> anyhow::Result<File> {
    make_private(state_dir)?;
    let path = state_dir.join(LOCK_FILE);
    let lock = lock_file(&path).with_context(|| format!("opening {}", path.display()))?;
    lock.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(lock)
}

/// Whoever may write in the folder may have put a link in its place: none is followed, and only what was made here is given away.
fn lock_file(path: &Path) -> std::io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(made) => as_its_folder(&made, path).map(|()| made),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path)
        }
        Err(error) => Err(error),
    }
}

/// Positive, 16 octets, the first of them never zero (RFC 5280 §4.1.2.2 allows 20).
pub(super) fn serial() -> anyhow::Result<SerialNumber> {
    let mut octets = random::<16>()?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

fn make_private(folder: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("making state folder {}", folder.display()))?;
    let mode = fs::metadata(folder).with_context(|| format!("reading state folder {}", folder.display()))?.permissions().mode();
    ensure!(
        mode & 0o002 == 0,
        "everyone may write into state folder {0} and so replace the root key; run: chmod 700 {0}",
        folder.display()
    );
    Ok(())
}

fn ensure_private(key: &Path) -> anyhow::Result<()> {
    let mode = fs::metadata(key).with_context(|| format!("reading root key {}", key.display()))?.permissions().mode() & 0o777;
    ensure!(mode & 0o077 == 0, "others may read root key {0} (mode {mode:03o}); run: chmod 600 {0}", key.display());
    Ok(())
}

pub(super) fn present(path: &Path) -> anyhow::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn half_there(missing: &Path, there: &Path) -> String {
    format!("{} is missing beside {}; {MEND}", missing.display(), there.display())
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("pem.new")
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What root makes in a folder of somebody else's is theirs: an administrator rotates, and the proxy's own user has to read it.
fn as_its_folder(file: &File, path: &Path) -> std::io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (folder, own) = (fs::metadata(path.parent().unwrap_or(Path::new(".")))?, file.metadata()?);
    if folder.uid() == own.uid() { Ok(()) } else { fchown(file, Some(folder.uid()), Some(folder.gid())) }
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file = fresh::create(path, mode)?;
        as_its_folder(&file, path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

pub(super) fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::rename(from, to).with_context(|| format!("renaming {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    fn reason(folder: &Path) -> String {
        format!("{:#}", Root::open_or_create(folder).expect_err("it should have been refused"))
    }

    #[test]
    fn a_root_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");

        let first = Root::open_or_create(&state).unwrap();
        let second = Root::open_or_create(&state).unwrap();

        assert_eq!(first.certificate_pem(), second.certificate_pem());
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state.join(KEY_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.subject().starts_with("flowgate root "));
    }

    #[test]
    fn first_runs_at_the_same_time_agree() {
        let folder = tempfile::tempdir().unwrap();

        let roots: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Root::open_or_create(folder.path()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        assert!(roots.iter().all(|root| root.certificate_pem() == roots[0].certificate_pem()));
    }

    #[test]
    fn a_root_says_what_it_may_do() {
        let (folder, root) = testing::root();

        let text = testing::openssl(folder.path(), &["x509", "-in", CERTIFICATE_FILE, "-noout", "-text", "-fingerprint", "-sha256"]);

        for expected in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject Key Identifier", "prime256v1", &root.fingerprint()] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        assert_eq!(text.matches("critical").count(), 2, "{text}");
    }

    #[test]
    fn a_first_run_killed_between_its_renames_is_finished() {
        let (folder, root) = testing::root();
        let path = folder.path().join(CERTIFICATE_FILE);
        fs::rename(&path, unfinished(&path)).unwrap();

        assert_eq!(Root::open_or_create(folder.path()).unwrap().certificate_pem(), root.certificate_pem());
    }

    #[test]
    fn what_is_not_a_root_is_refused_and_left_alone() {
        type Damage = fn(&Path);
        let foreign = |folder: &Path, file: &str| {
            let (other, _root) = testing::root();
            fs::copy(other.path().join(file), folder.join(file)).unwrap();
        };
        let cases: [(Damage, &str); 9] = [
            (|folder| fs::remove_file(folder.join(KEY_FILE)).unwrap(), "flowgate-ca-key.pem is missing beside"),
            (|folder| fs::remove_file(folder.join(CERTIFICATE_FILE)).unwrap(), "flowgate-ca.pem is missing beside"),
            (|folder| fs::write(folder.join(KEY_FILE), "").unwrap(), "no private key in PEM"),
            (|folder| fs::write(folder.join(KEY_FILE), [0xff; 9]).unwrap(), "reading root key"),
            (|folder| fs::write(folder.join(CERTIFICATE_FILE), "hello").unwrap(), "no certificate in PEM"),
            (
                |folder| {
                    fs::write(folder.join(CERTIFICATE_FILE), "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap()
                },
                "this is no certificate",
            ),
            (|folder| fs::set_permissions(folder.join(KEY_FILE), fs::Permissions::from_mode(0o644)).unwrap(), "run: chmod 600"),
            (|folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap(), "run: chmod 700"),
            (
                |folder| {
                    fs::remove_file(folder.join(KEY_FILE)).unwrap();
                    fs::create_dir(folder.join(KEY_FILE)).unwrap();
                    fs::set_permissions(folder.join(KEY_FILE), fs::Permissions::from_mode(0o700)).unwrap();
                },
                "reading root key",
            ),
        ];
        for (damage, expected) in cases {
            let (folder, _root) = testing::root();
            damage(folder.path());
            let reason = reason(folder.path());
            assert!(reason.contains(expected), "{expected} is not in {reason}");
            assert!(reason.contains(folder.path().to_str().unwrap()), "{reason} names no file");
        }
        for file in [KEY_FILE, CERTIFICATE_FILE] {
            let (folder, _root) = testing::root();
            foreign(folder.path(), file);
            assert!(reason(folder.path()).contains("does not belong to"));
        }
    }

    #[test]
    fn a_certificate_that_may_not_sign_is_no_root() {
        let (folder, _root) = testing::root();
        let key = KeyPair::from_pem(&fs::read_to_string(folder.path().join(KEY_FILE)).unwrap()).unwrap();
        let plain = CertificateParams::new(["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(folder.path().join(CERTIFICATE_FILE), plain.pem()).unwrap();

        assert!(reason(folder.path()).contains("may not sign others"));
    }

    #[test]
    fn an_expired_root_is_refused() {
        let (folder, _root) = testing::root();
        let key = KeyPair::from_pem(&fs::read_to_string(folder.path().join(KEY_FILE)).unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_after = OffsetDateTime::now_utc() - Duration::from_secs(60);
        let expired = params.self_signed(&key).unwrap();
        fs::write(folder.path().join(CERTIFICATE_FILE), expired.pem()).unwrap();

        assert!(reason(folder.path()).contains("has expired on"));
        rotation::begin(folder.path(), None).unwrap();
        assert_eq!(Root::certificate(folder.path()).unwrap(), (expired.pem(), expired.der().clone()), "both are handed out");
    }
}
