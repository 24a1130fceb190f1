//! Compiled components, shared by all tests: compiling the logger once takes longer than most tests.
//!
//! Place: around the start of a proxy. Only what is there right after a start is shared, so that a test of hot swap compiles what it swaps.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Where the proxy keeps them, in its state folder.
const CACHE: &str = "plugin-cache";
/// How they are called.
const ENDING: &str = "cwasm";

/// Beside the other products of this package's build; goes when those go.
fn shared() -> PathBuf {
    Path::new(env!("OUT_DIR")).join("compiled")
}

/// Puts what is there into the state folder of a proxy that is about to start.
pub(crate) fn lend(state: &Path) {
    // Without it the test only takes longer.
    let _ = copy(&shared(), &state.join(CACHE));
}

/// Takes what that proxy has compiled.
pub(crate) fn keep(state: &Path) {
    let _ = copy(&state.join(CACHE), &shared());
}

/// Copies what is missing; each file appears whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    static COPIES: AtomicUsize = AtomicUsize::new(0);
    let files = fs::read_dir(from)?;
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for file in files {
        let path = file?.path();
        let place = to.join(path.file_name().unwrap_or_default());
        if path.extension().is_none_or(|ending| ending != ENDING) || place.exists() {
            continue;
        }
        let unfinished = to.join(format!("{}-{}.tmp", std::process::id(), COPIES.fetch_add(1, Ordering::Relaxed)));
        fs::copy(&path, &unfinished)?;
        fs::rename(&unfinished, &place)?;
    }
    Ok(())
}
