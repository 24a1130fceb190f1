//! What surrounds a plugin that is rehearsed: a clock that stands where the recorded flow stands, randomness that is the same every time, and
//! capabilities whose effects are noted and reach nobody.
//!
//! Place: in `About` of builds on a `stage`, and of those that are tried (`replay`); asked by the capabilities. Nothing in here reads a clock of the machine.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use super::{cost::Costs, hook::Hook};
use crate::{record::WriteMode, store};

/// Most lines that are noted: a plugin that writes more is not read further by anyone.
const MAX_LINES: usize = 100_000;
/// Most octets of records that are kept.
const MAX_OCTETS: usize = 1 << 30;

/// See the module.
pub(super) struct Scene {
    /// Microseconds since the Unix epoch.
    now: AtomicU64,
    /// How often the monotonic clock was looked at.
    looks: AtomicU64,
    instances: AtomicU64,
    /// `None`: nothing is noted.
    noted: Option<Mutex<Noted>>,
    mishap: Mutex<Option<Mishap>>,
    pub(super) costs: Costs,
}

/// The first call that failed.
#[derive(Clone, Debug)]
pub(super) struct Mishap {
    pub(super) hook: Hook,
    pub(super) cause: String,
}

/// What plugins did.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Since they were last taken.
    lines: Vec<String>,
    records: BTreeMap<String, Vec<u8>>,
    octets: usize,
}

impl Scene {
    /// Effects are noted.
    pub(super) fn noting() -> Arc<Self> {
        Self::start(Some(Mutex::default()))
    }

    /// Effects come to nothing, and failures are nobody's business but those who ask for them.
    pub(super) fn quiet() -> Arc<Self> {
        Self::start(None)
    }

    fn start(noted: Option<Mutex<Noted>>) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self { now: zero(), looks: zero(), instances: zero(), noted, mishap: Mutex::default(), costs: Costs::default() })
    }

    /// It is that moment from here on.
    pub(super) fn set(&self, micros: u64) {
        self.now.store(micros, Ordering::Relaxed);
    }

    /// The same for what is stored, in milliseconds.
    pub(super) fn clock(self: &Arc<Self>) -> store::Clock {
        let scene = self.clone();
        Arc::new(move || scene.now.load(Ordering::Relaxed) / 1000)
    }

    /// Clocks and randomness of one more instance.
    pub(super) fn furnish(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) {
        let instance = self.instances.fetch_add(1, Ordering::Relaxed);
        wasi.wall_clock(Wall(self.clone())).monotonic_clock(Monotonic(self.clone()));
        wasi.secure_random(ChaCha12Rng::seed_from_u64(instance)).insecure_random(ChaCha12Rng::seed_from_u64(!instance));
        wasi.insecure_random_seed(instance.into());
    }

    /// A line of the plugin.
    pub(super) fn line(&self, line: String) {
        let Some(mut noted) = self.noted() else { return };
        if noted.lines.len() < MAX_LINES {
            noted.lines.push(line);
        }
    }

    /// A record, as the writer would keep it.
    pub(super) fn keep(&self, path: &str, data: Vec<u8>, mode: WriteMode) {
        let Some(mut noted) = self.noted() else { return };
        noted.octets += data.len();
        if noted.octets > MAX_OCTETS {
            return;
        }
        let verb = match mode {
            WriteMode::CreateNew => "new",
            WriteMode::Replace => "replace",
            WriteMode::Append => "append",
        };
        let path = match mode {
            WriteMode::CreateNew => free(&noted.records, path),
            WriteMode::Replace | WriteMode::Append => path.to_owned(),
        };
        noted.lines.push(format!("record {path}: {verb}, {} octets", data.len()));
        let record = noted.records.entry(path).or_default();
        if mode == WriteMode::Replace {
            record.clear();
        }
        record.extend(data);
    }

    /// What was noted since this was last asked.
    pub(super) fn take_lines(&self) -> Vec<String> {
        self.noted().map(|mut noted| std::mem::take(&mut noted.lines)).unwrap_or_default()
    }

    /// Lines and records are as if there had been none.
    pub(super) fn forget(&self) {
        if let Some(mut noted) = self.noted() {
            *noted = Noted::default();
        }
    }

    /// All records, as they are now.
    pub(super) fn records(&self) -> BTreeMap<String, Vec<u8>> {
        self.noted().map(|noted| noted.records.clone()).unwrap_or_default()
    }

    /// A call failed; whether that is to be said nowhere else.
    pub(super) fn fails(&self, hook: Hook, cause: &str) -> bool {
        self.mishap().get_or_insert_with(|| Mishap { hook, cause: cause.to_owned() });
        self.noted.is_none()
    }

    /// The first failure since this was last asked.
    pub(super) fn take_mishap(&self) -> Option<Mishap> {
        self.mishap().take()
    }

    fn noted(&self) -> Option<MutexGuard<'_, Noted>> {
        self.noted.as_ref().map(|noted| noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn mishap(&self) -> MutexGuard<'_, Option<Mishap>> {
        self.mishap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path, or the first of its numbered ones that is free.
fn free(taken: &BTreeMap<String, Vec<u8>>, path: &str) -> String {
    let folder = path.rfind('/').map_or(0, |slash| slash + 1);
    let (stem, extension) = match path[folder..].rfind('.').filter(|dot| *dot > 0) {
        Some(dot) => path.split_at(folder + dot),
        None => (path, ""),
    };
    let numbered = (0..).map(|count| if count == 0 { path.to_owned() } else { format!("{stem}-{count}{extension}") });
    let mut free = numbered.filter(|path| !taken.contains_key(path));
    // There is always a higher number.
    free.next().unwrap_or_default()
}

struct Wall(Arc<Scene>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.0.now.load(Ordering::Relaxed))
    }
}

/// Each look takes a microsecond: who waits for a moment to come would wait for ever otherwise.
struct Monotonic(Arc<Scene>);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        self.0.looks.fetch_add(1, Ordering::Relaxed) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_as_the_writer_keeps_them() {
        let scene = Scene::noting();
        for (path, data, mode) in [
            ("a/b.json", "1", WriteMode::CreateNew),
            ("a/b.json", "2", WriteMode::CreateNew),
            ("log", "3", WriteMode::Append),
            ("log", "4", WriteMode::Append),
            ("state", "5", WriteMode::Replace),
            ("state", "6", WriteMode::Replace),
        ] {
            scene.keep(path, data.into(), mode);
        }

        let records: Vec<_> = scene.records().into_iter().map(|(path, data)| (path, String::from_utf8(data).expect("text"))).collect();

        let expected = [("a/b-1.json", "2"), ("a/b.json", "1"), ("log", "34"), ("state", "6")];
        assert_eq!(records, expected.map(|(path, data)| (path.to_owned(), data.to_owned())));
        assert_eq!(scene.take_lines()[1], "record a/b-1.json: new, 1 octets");
    }
}
