//! How long refusals take: nobody may learn from it which names are users'.
//!
//! Measures; the whole refusal by the clock, which wants a machine at rest: `cargo test --workspace --lib -- --ignored timing --nocapture`.

use std::{
    fs,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::time::{ClockId, clock_gettime};

use super::{Credentials, Gate, LoginLimits, Mode, Password, Scheme, Users, hash_password, htpasswd::Table};
use crate::{flow::ClientAddr, pace::Rate, tasks::Tasks};

/// Refusals of each kind.
const TIMES: usize = 41;
/// Of the time that hashing takes, medians may differ by one part in so many: as far apart are those of one and the same login.
const ALIKE: u32 = 20;

/// Of this thread: whatever else the machine does.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Their median and their difference from the first one's, in microseconds.
fn tell(what: &str, kinds: [(&str, Vec<Duration>); 3]) -> [Duration; 3] {
    let medians = kinds.map(|(kind, mut times)| {
        times.sort();
        println!("{what}, {kind}: {} µs in the median of {}", times[times.len() / 2].as_micros(), times.len());
        times[times.len() / 2]
    });
    println!("{what}: differences {:?}, {:?}", medians[0].abs_diff(medians[1]), medians[0].abs_diff(medians[2]));
    medians
}

fn hash(scheme: Scheme, password: &str) -> String {
    hash_password(&Password::new(password.to_owned()), scheme).unwrap()
}

#[test]
#[ignore = "measures"]
fn hashing_takes_as_long_for_names_that_are_nobodys() {
    for scheme in [Scheme::Argon2, Scheme::Bcrypt] {
        let entries: Vec<String> = ["ana", "bo", "cy"].map(|name| format!("{name}:{}\n", hash(scheme, "right"))).into();
        let table = Table::parse(&entries.concat()).unwrap();
        let took = |name: String, password: &str| {
            let credentials = Credentials { name, password: Password::new(password.to_owned()) };
            let begun = processor_time();
            let good = table.verify(&credentials);
            (processor_time() - begun, good)
        };
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for at in 0..TIMES {
            let logins = [("ana".to_owned(), "wrong"), (format!("nobody-{at}"), "wrong"), ("bo".to_owned(), "")];
            // In turns, and each of them first at times: what else the machine does falls on all.
            for kind in (0..logins.len()).map(|turn| (at + turn) % logins.len()) {
                let (name, password) = &logins[kind];
                let (time, good) = took(name.clone(), password);
                assert!(!good);
                times[kind].push(time);
            }
        }
        let [known, unknown, empty] = times;

        let [known, unknown, empty] =
            tell(&format!("{scheme:?}"), [("a user", known), ("nobody", unknown), ("a user without a password", empty)]);

        assert!(known.abs_diff(unknown) * ALIKE < known && known.abs_diff(empty) * ALIKE < known);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn refusals_take_as_long_for_names_that_are_nobodys() {
    const ROUNDS: usize = 15;
    for scheme in [Scheme::Argon2, Scheme::Bcrypt] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let hash = hash(scheme, "right");
        // One for each refusal: the second under one name takes longer.
        let entries: Vec<String> = (0..2 * ROUNDS).map(|at| format!("user-{at}:{hash}\n")).collect();
        fs::write(&path, entries.concat()).unwrap();
        let limits = LoginLimits {
            remembered: 100,
            counted: 1000,
            counted_for: Duration::from_secs(900),
            patience: Duration::from_secs(10),
            pause: Duration::from_millis(500),
            doublings: 4,
            free: 1000,
            rate: Rate { per_second: 1, at_once: 1 },
        };
        let gate = Gate::new(Mode::Require, Some(Users::open(&path).unwrap()), limits, &Tasks::new());
        let took = async |login: String| {
            let value = format!("Basic {}", BASE64_STANDARD.encode(login));
            let begun = Instant::now();
            assert!(gate.admit(Some(value.as_bytes()), ClientAddr(([192, 0, 2, 1], 1).into())).await.is_err());
            begun.elapsed()
        };
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for at in 0..ROUNDS {
            let logins = [format!("user-{at}:wrong"), format!("nobody-{at}:wrong"), format!("user-{}:", ROUNDS + at)];
            // In turns: timers end with a millisecond, so one that follows upon another waits longer or shorter than that by its place alone.
            for kind in (0..logins.len()).map(|turn| (at + turn) % logins.len()) {
                times[kind].push(took(logins[kind].clone()).await);
            }
        }
        let [known, unknown, empty] = times;

        tell(&format!("{scheme:?}, whole"), [("a user", known), ("nobody", unknown), ("a user without a password", empty)]);
    }
}
