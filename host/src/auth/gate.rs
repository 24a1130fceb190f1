//! The gate: who is admitted, under which name.
//!
//! Place: asked once per tunnel and once per absolute-form request, before anything is dialled. A login costs one hash, however many tunnels
//! it opens, and the hash is computed off the runtime. Wrong ones are answered ever more slowly, by name and by the client's address.
//! Source: RFC 9110 §11.7, RFC 7617.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use argon2::password_hash::rand_core::{OsRng, RngCore};
use moka::{policy::EvictionPolicy, sync::Cache};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Credentials, Mode, Users, users::Snapshot};
use crate::{
    flow::{Challenge, ClientAddr, Principal, Refusal},
    pace::{Pace, Rate},
    tasks::Tasks,
};

const CHALLENGE: Challenge = Challenge { realm: "flowgate" };

/// What is remembered of logins, and how those are slowed down that guess.
#[derive(Clone, Copy, Debug)]
pub struct LoginLimits {
    /// Good ones that are remembered, 32 octets each.
    pub remembered: u64,
    /// Names, and addresses of clients, for which wrong ones are counted.
    pub counted: u64,
    /// How long a wrong one counts.
    pub counted_for: Duration,
    /// Longest wait for a turn at hashing.
    pub patience: Duration,
    /// When a wrong one is answered, counted from when it came. Doubles with each further one for that name. It is longer than a hash takes, so that
    /// nothing can be learned from the time.
    pub pause: Duration,
    /// How often it doubles at most.
    pub doublings: u32,
    /// Wrong ones that may come from one address while they count.
    pub free: u32,
    /// Those after these that are looked at; those that were good before do not count.
    pub rate: Rate,
}

/// Decides who is admitted. Clones know of the same logins.
#[derive(Clone, Debug)]
pub struct Gate {
    mode: Mode,
    verifier: Option<Arc<Verifier>>,
}

impl Gate {
    /// `users` are those of [`Mode::Require`]; without them it admits nobody. Other modes look at nobody.
    pub fn new(mode: Mode, users: Option<Users>, limits: LoginLimits, tasks: &Tasks) -> Self {
        Self { mode, verifier: users.map(|users| Arc::new(Verifier::new(users, limits, tasks.clone()))) }
    }

    /// The same once more, with its users read again, if they are those of that file; `None`: they are not. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or is malformed: then the users before it remain.
    pub fn going_on(&self, users: &Path) -> Option<anyhow::Result<Self>> {
        let verifier = self.verifier.as_ref().filter(|verifier| verifier.users.path() == users)?;
        Some(verifier.users.reread().map(|()| self.clone()))
    }

    /// Whether both know of the same logins.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.verifier.as_ref().zip(other.verifier.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// What `Proxy-Authorization` (its value, where there is one) makes of a client.
    ///
    /// Cancelling is safe: a hash that has begun is finished and remembered by nobody.
    ///
    /// # Errors
    /// [`Refusal::AuthenticationRequired`] where credentials are wanted and missing or wrong, the latter not before a pause;
    /// [`Refusal::Overloaded`] where too many others are being verified, or too many wrong ones came from that client.
    pub async fn admit(&self, authorization: Option<&[u8]>, client: ClientAddr) -> Result<Principal, Refusal> {
        match (self.mode, authorization) {
            (Mode::Off, _) => Ok(Principal::UNKNOWN),
            (Mode::Identify, value) => Ok(believed(value)),
            (Mode::Ask, Some(value)) => Ok(believed(Some(value))),
            (Mode::Ask, None) => Err(Refusal::AuthenticationRequired(CHALLENGE)),
            (Mode::Require, value) => {
                let credentials = value.and_then(Credentials::parse).zip(self.verifier.as_ref());
                let (credentials, verifier) = credentials.ok_or(Refusal::AuthenticationRequired(CHALLENGE))?;
                verifier.admit(credentials, client.network()).await
            }
        }
    }
}

/// The password is forgotten here and now.
fn believed(value: Option<&[u8]>) -> Principal {
    value.and_then(Credentials::parse).map_or(Principal::UNKNOWN, |credentials| Principal::named(&credentials.name))
}

/// Stands for a name and a password, and tells neither.
type Fingerprint = [u8; 32];

#[derive(Debug)]
struct Verifier {
    users: Arc<Users>,
    tasks: Tasks,
    /// Of this process alone: what is kept cannot be guessed at from outside.
    secret: [u8; 32],
    /// Good logins, of this and of former versions of the file (which nothing asks for any more).
    verified: Cache<Fingerprint, ()>,
    /// Failures by name.
    failures: Cache<Fingerprint, u32>,
    /// The same by the client's network.
    guessing: Cache<IpAddr, Arc<Guessing>>,
    limits: LoginLimits,
    /// Logins being verified right now; who comes with the same waits for the same hash.
    pending: Mutex<HashMap<Fingerprint, Arc<OnceCell<bool>>>>,
    /// Hashing takes a core and up to 256 MiB each.
    turns: Arc<Semaphore>,
}

/// Where wrong logins came from.
#[derive(Debug)]
struct Guessing {
    failures: AtomicU32,
    pace: Pace,
}

impl Verifier {
    fn new(users: Users, limits: LoginLimits, tasks: Tasks) -> Self {
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        // Half of the cores: hashing must not starve traffic.
        let turns = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        Self {
            users: Arc::new(users),
            tasks,
            secret,
            // Least recently used: a flood of guesses never gets in, and so cannot push anybody out.
            verified: Cache::builder().max_capacity(limits.remembered).eviction_policy(EvictionPolicy::lru()).build(),
            failures: Cache::builder().max_capacity(limits.counted).time_to_live(limits.counted_for).build(),
            guessing: Cache::builder().max_capacity(limits.counted).time_to_live(limits.counted_for).build(),
            limits,
            pending: Mutex::default(),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    async fn admit(&self, credentials: Credentials, network: IpAddr) -> Result<Principal, Refusal> {
        let came = Instant::now();
        let users = self.users().await;
        let login = self.fingerprint(&[&users.generation.to_be_bytes(), credentials.name.as_bytes(), credentials.password.octets()]);
        let principal = Principal::named(&credentials.name);
        if self.verified.get(&login).is_some() {
            return Ok(principal);
        }
        self.slow_down(network).await?;
        let name = self.fingerprint(&[credentials.name.as_bytes()]);
        let turn = Turn::take(&self.pending, login);
        if *turn.cell.get_or_try_init(|| self.verify(users, credentials, login, name, network)).await? {
            return Ok(principal);
        }
        sleep_until(came + self.pause(&name)).await;
        Err(Refusal::AuthenticationRequired(CHALLENGE))
    }

    /// Lets a login from where many wrong ones came wait for its turn.
    async fn slow_down(&self, network: IpAddr) -> Result<(), Refusal> {
        let Some(guessing) = self.guessing.get(&network) else { return Ok(()) };
        if guessing.failures.load(Ordering::Relaxed) < self.limits.free {
            return Ok(());
        }
        let Some(wait) = guessing.pace.turn(Instant::now().into_std(), self.limits.patience) else {
            return Err(Refusal::Overloaded("too many wrong logins came from this address: try again in some minutes"));
        };
        sleep(wait).await;
        Ok(())
    }

    /// One hash, and what is remembered of it.
    async fn verify(
        &self,
        users: Arc<Snapshot>,
        credentials: Credentials,
        login: Fingerprint,
        name: Fingerprint,
        network: IpAddr,
    ) -> Result<bool, Refusal> {
        if self.verified.get(&login).is_some() {
            // Verified between the look before and this turn.
            return Ok(true);
        }
        let turn = timeout(self.limits.patience, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::Overloaded("too many logins are being verified")) };
        let hashing = self.tasks.block(move || {
            // Kept in here: a caller who gives up does not make the core free.
            let _turn = turn;
            users.table.verify(&credentials)
        });
        let good = hashing.await.map_err(|_| Refusal::Internal("verifying a login failed"))?;
        match good {
            true => {
                self.verified.insert(login, ());
                self.failures.invalidate(&name);
            }
            false => {
                self.failures
                    .entry(name)
                    .and_upsert_with(|failures| failures.map_or(1, |failures| failures.into_value().saturating_add(1)));
                let fresh = || Arc::new(Guessing { failures: AtomicU32::new(0), pace: Pace::new(self.limits.rate) });
                let before = self.guessing.get_with(network, fresh).failures.fetch_add(1, Ordering::Relaxed);
                if before + 1 == self.limits.free {
                    tracing::warn!(client = %network, "many wrong logins: those that follow from there are slowed down for a quarter of an hour");
                }
            }
        }
        Ok(good)
    }

    /// After the failures so far.
    fn pause(&self, name: &Fingerprint) -> Duration {
        let doublings = self.failures.get(name).unwrap_or(0).saturating_sub(1).min(self.limits.doublings);
        self.limits.pause * 2_u32.pow(doublings)
    }

    async fn users(&self) -> Arc<Snapshot> {
        if self.users.look_is_due() {
            let users = self.users.clone();
            // A look that fails has said so itself.
            let _ = self.tasks.block(move || users.refresh()).await;
        }
        self.users.current()
    }

    fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut hash = Sha256::new_with_prefix(self.secret);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// A share in a login being verified; the last one to go clears it away, cancelled or not.
struct Turn<'a> {
    pending: &'a Mutex<HashMap<Fingerprint, Arc<OnceCell<bool>>>>,
    login: Fingerprint,
    cell: Arc<OnceCell<bool>>,
}

impl<'a> Turn<'a> {
    fn take(pending: &'a Mutex<HashMap<Fingerprint, Arc<OnceCell<bool>>>>, login: Fingerprint) -> Self {
        let cell = pending.lock().unwrap_or_else(PoisonError::into_inner).entry(login).or_default().clone();
        Self { pending, login, cell }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own and this one; shares are only made under the lock.
        if Arc::strong_count(&self.cell) <= 2 {
            pending.remove(&self.login);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    /// Of `U*U`.
    const HASH: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    /// In place of the real ones, so that the tests need not wait.
    const BRISK: Duration = Duration::from_millis(5);

    const LIMITS: LoginLimits = LoginLimits {
        remembered: 100,
        counted: 100,
        counted_for: Duration::from_secs(900),
        patience: Duration::from_millis(300),
        pause: BRISK,
        doublings: 4,
        free: 50,
        rate: Rate { per_second: 1, at_once: 1 },
    };

    struct Fixture {
        _folder: tempfile::TempDir,
        path: PathBuf,
        gate: Gate,
    }

    impl Fixture {
        fn new(mode: Mode) -> Self {
            Self::with(mode, LIMITS)
        }

        fn with(mode: Mode, limits: LoginLimits) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("users");
            fs::write(&path, format!("ana:{HASH}\ncy:{HASH}\ndan:{HASH}\n")).unwrap();
            let gate = Gate::new(mode, Some(Users::open(&path).unwrap()), limits, &Tasks::new());
            Self { _folder: folder, path, gate }
        }

        async fn admit(&self, credentials: &str) -> Result<Option<String>, String> {
            self.admit_from([192, 0, 2, 1], credentials).await
        }

        async fn admit_from(&self, client: [u8; 4], credentials: &str) -> Result<Option<String>, String> {
            let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
            outcome(self.gate.admit(Some(value.as_bytes()), at(client)).await)
        }

        fn verifier(&self) -> &Verifier {
            self.gate.verifier.as_ref().unwrap()
        }
    }

    fn at(client: [u8; 4]) -> ClientAddr {
        ClientAddr((client, 1).into())
    }

    fn outcome(result: Result<Principal, Refusal>) -> Result<Option<String>, String> {
        result.map(|principal| principal.name().map(str::to_owned)).map_err(|refusal| refusal.to_string())
    }

    fn named(name: &str) -> Result<Option<String>, String> {
        Ok(Some(name.to_owned()))
    }

    fn asked() -> Result<Option<String>, String> {
        Err("proxy authentication is required".to_owned())
    }

    #[tokio::test]
    async fn modes_differ_in_what_they_ask() {
        let none: Option<&[u8]> = None;
        let odd: Option<&[u8]> = Some(b"Bearer abc");
        let some: Option<&[u8]> = Some(b"Basic Ym86eA=="); // bo:x
        let cases = [
            (Mode::Off, none, Ok(None)),
            (Mode::Off, some, Ok(None)),
            (Mode::Identify, none, Ok(None)),
            (Mode::Identify, odd, Ok(None)),
            (Mode::Identify, some, named("bo")),
            (Mode::Ask, none, asked()),
            (Mode::Ask, odd, Ok(None)),
            (Mode::Ask, some, named("bo")),
            (Mode::Require, none, asked()),
            (Mode::Require, odd, asked()),
        ];
        for (mode, value, expected) in cases {
            assert_eq!(outcome(Fixture::new(mode).gate.admit(value, at([192, 0, 2, 1])).await), expected, "{mode} {value:?}");
        }
    }

    #[tokio::test]
    async fn users_enter_with_their_password_only() {
        let fixture = Fixture::new(Mode::Require);

        assert_eq!(fixture.admit("ana:U*U").await, named("ana"));
        for wrong in ["ana:u*u", "ana:", "ana", "bo:U*U"] {
            assert_eq!(fixture.admit(wrong).await, asked(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_enters_where_there_are_no_users() {
        let gate = Gate::new(Mode::Require, None, LIMITS, &Tasks::new());

        assert_eq!(outcome(gate.admit(Some(b"Basic YW5hOng="), at([192, 0, 2, 1])).await), asked());
    }

    #[tokio::test]
    async fn a_login_costs_one_hash_however_many_come_with_it() {
        let fixture = Fixture::new(Mode::Require);
        let turns = fixture.verifier().turns.clone();
        let only = turns.clone().acquire_many_owned(turns.available_permits() as u32).await.unwrap();

        // All of them wait for one turn, which is one hash.
        let many = async { tokio::join!(fixture.admit("ana:U*U"), fixture.admit("ana:U*U"), fixture.admit("ana:U*U")) };
        let release = async {
            tokio::task::yield_now().await;
            assert_eq!(fixture.verifier().pending.lock().unwrap().len(), 1);
            drop(only);
        };
        let (all, ()) = tokio::join!(many, release);

        assert_eq!(all, (named("ana"), named("ana"), named("ana")));
        assert!(fixture.verifier().pending.lock().unwrap().is_empty());
        // Even with no turn to be had it is known from now on.
        let _none = turns.clone().acquire_many_owned(turns.available_permits() as u32).await.unwrap();
        assert_eq!(fixture.admit("ana:U*U").await, named("ana"));
    }

    #[tokio::test]
    async fn wrong_passwords_are_answered_ever_more_slowly_and_unknown_names_alike() {
        let fixture = Fixture::new(Mode::Require);
        let pause = |name: &str| fixture.verifier().pause(&fixture.verifier().fingerprint(&[name.as_bytes()]));
        for name in ["ana", "nobody"] {
            for factor in [1, 2, 4, 8, 16, 16] {
                let came = Instant::now();
                assert_eq!(fixture.admit(&format!("{name}:wrong")).await, asked());
                assert_eq!(pause(name), BRISK * factor);
                assert!(came.elapsed() >= BRISK * factor);
            }
        }

        assert_eq!(fixture.admit("ana:U*U").await, named("ana"), "guesses lock nobody out");

        assert_eq!(pause("ana"), BRISK, "a good login forgets the bad ones");
        assert_eq!(pause("nobody"), BRISK * 16);
    }

    #[tokio::test]
    async fn who_guesses_under_many_names_is_slowed_down_and_others_are_not() {
        // A second between two is longer than a login is let wait here.
        let fixture = Fixture::with(Mode::Require, LoginLimits { free: 3, ..LIMITS });
        let (guesser, other) = ([192, 0, 2, 9], [192, 0, 2, 10]);
        for name in ["a", "b", "c", "d"] {
            assert_eq!(fixture.admit_from(guesser, &format!("{name}:x")).await, asked(), "{name}");
        }

        let at_once = tokio::join!(
            fixture.admit_from(guesser, "e:x"),
            fixture.admit_from(guesser, "f:x"),
            fixture.admit_from(guesser, "g:x"),
            fixture.admit_from(guesser, "h:x"),
        );

        let said = format!("{at_once:?}");
        assert!(said.contains("too many wrong logins"), "{said}");
        assert_eq!(fixture.admit_from(other, "ana:U*U").await, named("ana"));
        assert_eq!(fixture.admit_from(guesser, "ana:U*U").await, named("ana"), "what is known to be good is not held up");
    }

    #[tokio::test]
    async fn so_many_good_logins_are_remembered() {
        let fixture = Fixture::with(Mode::Require, LoginLimits { remembered: 2, ..LIMITS });
        for name in ["ana", "cy", "dan"] {
            assert_eq!(fixture.admit(&format!("{name}:U*U")).await, named(name));
            fixture.verifier().verified.run_pending_tasks();
        }
        let turns = fixture.verifier().turns.clone();
        let _all = turns.clone().acquire_many_owned(turns.available_permits() as u32).await.unwrap();

        let without_a_hash = [fixture.admit("ana:U*U").await, fixture.admit("cy:U*U").await, fixture.admit("dan:U*U").await];

        assert_eq!(without_a_hash, [Err("too many logins are being verified".to_owned()), named("cy"), named("dan")]);
    }

    #[tokio::test]
    async fn wrong_logins_are_counted_for_so_many_names_and_so_long() {
        let few = Fixture::with(Mode::Require, LoginLimits { counted: 2, ..LIMITS });
        let short = Fixture::with(Mode::Require, LoginLimits { counted_for: Duration::from_nanos(1), ..LIMITS });
        for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let client = [192, 0, 2, number as u8];
            assert_eq!(few.admit_from(client, &format!("{name}:x")).await, asked());
            assert_eq!(short.admit_from(client, "a:x").await, asked());
        }
        let (few, short) = (few.verifier(), short.verifier());
        few.failures.run_pending_tasks();
        few.guessing.run_pending_tasks();

        assert_eq!((few.failures.entry_count(), few.guessing.entry_count()), (2, 2));
        assert_eq!(short.pause(&short.fingerprint(&[b"a"])), BRISK, "each was the first again");
    }

    #[tokio::test]
    async fn too_many_logins_at_once_are_turned_away() {
        let fixture = Fixture::new(Mode::Require);
        let turns = fixture.verifier().turns.clone();
        let _all = turns.clone().acquire_many_owned(turns.available_permits() as u32).await.unwrap();

        let refusal = fixture.gate.admit(Some(b"Basic YW5hOlUqVQ=="), at([192, 0, 2, 1])).await;

        assert!(matches!(refusal, Err(Refusal::Overloaded(_))), "{refusal:?}");
        assert!(fixture.verifier().pending.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_gate_that_goes_on_knows_good_and_wrong_logins() {
        let fixture = Fixture::new(Mode::Require);
        assert_eq!(fixture.admit("ana:U*U").await, named("ana"));
        for _ in 0..2 {
            assert_eq!(fixture.admit("cy:wrong").await, asked());
        }

        assert!(fixture.gate.going_on(Path::new("elsewhere")).is_none());
        let next = Fixture { gate: fixture.gate.going_on(&fixture.path).unwrap().unwrap(), ..fixture };

        let verifier = next.verifier();
        assert_eq!(verifier.pause(&verifier.fingerprint(&[b"cy"])), BRISK * 2);
        let turns = verifier.turns.clone();
        let _all = turns.clone().acquire_many_owned(turns.available_permits() as u32).await.unwrap();
        assert_eq!(next.admit("ana:U*U").await, named("ana"), "without a hash");
    }

    #[tokio::test]
    async fn a_gate_goes_on_with_the_users_that_there_are_now() {
        let fixture = Fixture::new(Mode::Require);
        assert_eq!(fixture.admit("ana:U*U").await, named("ana"));

        // In place and at this very moment: whoever asks for it says that it is whole.
        fs::write(&fixture.path, format!("cy:{HASH}\n")).unwrap();
        let next = Fixture { gate: fixture.gate.going_on(&fixture.path).unwrap().unwrap(), ..fixture };
        assert_eq!((next.admit("ana:U*U").await, next.admit("cy:U*U").await), (asked(), named("cy")));

        fs::write(&next.path, "no colon\n").unwrap();
        assert!(format!("{:#}", next.gate.going_on(&next.path).unwrap().unwrap_err()).contains("line 1"));
        assert_eq!(next.admit("cy:U*U").await, named("cy"));
    }

    #[tokio::test]
    async fn who_is_taken_out_is_out() {
        let fixture = Fixture::new(Mode::Require);
        assert_eq!(fixture.admit("ana:U*U").await, named("ana"));

        super::super::remove(&fixture.path, "ana").unwrap();
        fixture.verifier().users.refresh();

        assert_eq!(fixture.admit("ana:U*U").await, asked());
    }
}
