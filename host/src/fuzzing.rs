//! Fuzzing on the stable toolchain: inputs that grow out of a corpus by random edits, judged by properties.
//!
//! Place: for tests only; the targets stand beside what they try, in modules called `fuzz`. As a test, a target runs its corpus and a fixed
//! number of inputs, the same ones every time. `cargo xtask fuzz` sets [`SECONDS`]: then it runs for so long with other inputs each time,
//! and what it finds, made as small as it goes, is kept in the corpus.
//!
//! There is no coverage to be led by; instead a property says in a few words what became of its input, and inputs that something new became
//! of are edited on.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant, UNIX_EPOCH},
};

use proptest::{
    collection::vec,
    prelude::any,
    sample::Index,
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use sha2::{Digest, Sha256};

/// For how long each target runs; unset: [`INPUTS`].
const SECONDS: &str = "FLOWGATE_FUZZ_SECONDS";

/// Inputs of each target in a test: a second or two of a busy machine.
const INPUTS: u32 = 1_000;

/// Inputs between two looks at the clock and the pool.
const BATCH: u32 = 500;

/// Longest input: longer ones find nothing new in these formats.
const LONGEST: usize = 8 * 1024;

/// Most inputs that are edited on.
const POOL: usize = 2_000;

/// Runs a target. `seeds`: valid inputs, beside those in the corpus; `words`: what its format is made of; `property`: panics where it does
/// not hold, else says what became of the input.
pub(crate) fn fuzz(target: &str, seeds: &[&[u8]], words: &[&[u8]], property: impl Fn(&[u8]) -> String) {
    let mut pool: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    for (path, octets) in corpus(target) {
        eprintln!("{target}: {}", path.display());
        property(&octets);
        pool.push(octets);
    }
    assert!(!pool.is_empty(), "{target} has nothing to begin with");
    let known = RefCell::new(pool.iter().map(|seed| property(seed)).collect::<HashSet<_>>());
    let seconds: Option<u64> = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let config = Config { cases: BATCH, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    // The same inputs in every test, others every time somebody looks for longer.
    let first = seconds.map_or(0, |_| UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros()));
    let (began, mut inputs) = (Instant::now(), 0);
    while seconds.map_or(inputs < INPUTS, |seconds| began.elapsed() < Duration::from_secs(seconds)) {
        let fresh = RefCell::new(Vec::new());
        // One runner does one batch: it counts on.
        let seed = (first + u128::from(inputs)).to_le_bytes().repeat(2);
        let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        let run = runner.run(&recipe(), |recipe| {
            let input = recipe.follow(&pool, words);
            let outcome = property(&input);
            if known.borrow_mut().insert(outcome) {
                fresh.borrow_mut().push(input);
            }
            Ok::<(), TestCaseError>(())
        });
        if let Err(TestError::Fail(reason, recipe)) = run {
            let input = recipe.follow(&pool, words);
            let kept = seconds.map(|_| keep(target, &input));
            panic!("{target}: {reason}\n input: {}\n kept: {kept:?}", input.escape_ascii());
        }
        inputs += BATCH;
        pool.extend(fresh.into_inner());
        pool.truncate(POOL);
    }
    eprintln!("{target}: {inputs} inputs, {} outcomes", known.borrow().len());
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Every input that was kept, in the order of names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder(target)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))).collect()
}

fn keep(target: &str, input: &[u8]) -> PathBuf {
    let name: String = Sha256::digest(input)[..6].iter().map(|octet| format!("{octet:02x}")).collect();
    let path = folder(target).join(format!("found-{name}"));
    fs::create_dir_all(folder(target)).and_then(|()| fs::write(&path, input)).expect("the corpus can be written to");
    path
}

/// How an input is made: shrinking it drops edits.
#[derive(Clone, Debug)]
struct Recipe {
    seed: Index,
    edits: Vec<Edit>,
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Put(Index, u8),
    Insert(Index, u8),
    Word(Index, Index),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Splice(Index, Index, Index),
    Cut(Index),
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let place = any::<Index>;
    let edit = proptest::prop_oneof![
        2 => (place(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        2 => (place(), any::<u8>()).prop_map(|(at, octet)| Edit::Put(at, octet)),
        2 => (place(), any::<u8>()).prop_map(|(at, octet)| Edit::Insert(at, octet)),
        6 => (place(), place()).prop_map(|(at, word)| Edit::Word(at, word)),
        3 => (place(), 1..24_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        2 => (place(), 1..64_usize, 1..6_usize).prop_map(|(at, len, times)| Edit::Repeat(at, len, times)),
        2 => (place(), place(), place()).prop_map(|(at, other, from)| Edit::Splice(at, other, from)),
        1 => place().prop_map(Edit::Cut),
    ];
    (place(), vec(edit, 0..10)).prop_map(|(seed, edits)| Recipe { seed, edits })
}

impl Recipe {
    fn follow(&self, pool: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let mut input = self.seed.get(pool).clone();
        for edit in &self.edits {
            edit.apply(&mut input, pool, words);
            input.truncate(LONGEST);
        }
        input
    }
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&[u8]]) {
        let gap = |at: &Index, input: &Vec<u8>| at.index(input.len() + 1);
        match self {
            Self::Flip(at, bit) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] ^= 1 << bit;
            }
            Self::Put(at, octet) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *octet;
            }
            Self::Insert(at, octet) => input.insert(gap(at, input), *octet),
            Self::Word(at, word) if !words.is_empty() => {
                let at = gap(at, input);
                input.splice(at..at, word.get(words).iter().copied());
            }
            Self::Remove(at, len) => {
                let at = gap(at, input);
                input.drain(at..input.len().min(at + len));
            }
            Self::Repeat(at, len, times) => {
                let at = gap(at, input);
                let piece = input[at..input.len().min(at + len)].repeat(*times);
                input.splice(at..at, piece);
            }
            Self::Splice(at, other, from) => {
                let (at, other) = (gap(at, input), other.get(pool));
                input.truncate(at);
                input.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
            Self::Cut(at) => input.truncate(gap(at, input)),
            Self::Flip(..) | Self::Put(..) | Self::Word(..) => {}
        }
    }
}

#[test]
fn all_inputs_are_made() {
    let made = RefCell::new(HashSet::new());
    fuzz("none", &[b"some octets"], &[b"word"], |input| {
        made.borrow_mut().insert(input.to_vec());
        String::new()
    });

    // Some edits change nothing, and few make the same.
    assert!(made.borrow().len() > INPUTS as usize / 2, "{}", made.borrow().len());
}

#[test]
fn a_property_that_does_not_hold_is_found_and_made_small() {
    let found = std::panic::catch_unwind(|| {
        fuzz("none", &[b"all is well"], &[b"bad"], |input| {
            assert!(!input.windows(3).any(|window| window == b"bad"), "there it is");
            String::new()
        });
    });

    let message = *found.expect_err("it is found").downcast::<String>().expect("a text");
    assert!(message.contains("there it is") && message.contains("bad"), "{message}");
}
