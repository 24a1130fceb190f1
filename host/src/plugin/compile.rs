//! Machine code of components: from the cache, or from a compiler beside the proxy.
//!
//! Place: asked by `load`. Compiling takes seconds of all processors and hundreds of megabytes that a process does not give back, so it is
//! done by a child: niced while there is traffic, bounded in memory and time, and gone when the proxy is gone. A few at a time, and no component twice; dropping the
//! future that waits for one ends it. What the child makes reaches this process through the cache alone, which verifies it.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};
use wasmtime::component::Component;

use super::{
    cache::{Cache, CacheFolder},
    capability::log::sanitised,
    engine,
    hash::Hash,
    settings::{Compiler, Instructions, Settings},
};
use crate::tasks::Tasks;

/// Most octets read of what the compiler complains about.
const COMPLAINT: u64 = 4096;
/// How far the compiler stands back while there is traffic: it gets a tenth of a processor that others want. At the lowest priority a busy
/// machine would never let it finish.
const NICENESS: i32 = 10;

/// See the module.
pub(super) struct Compiling {
    engine: wasmtime::Engine,
    cache: Cache,
    compiler: Compiler,
    instructions: Instructions,
    deadline: Duration,
    memory: u64,
    /// There is traffic that is not to feel it.
    stands_back: AtomicBool,
    turns: Semaphore,
    /// Held by whoever compiles that component.
    under_way: Mutex<HashMap<Hash, Weak<tokio::sync::Mutex<()>>>>,
    tasks: Tasks,
}

impl Compiling {
    pub(super) fn new(engine: wasmtime::Engine, settings: &Settings, tasks: Tasks) -> Self {
        Self {
            engine,
            cache: Cache::new(settings.cache.clone(), settings.limits.cache_bytes),
            compiler: settings.compiler.clone(),
            instructions: settings.instructions,
            deadline: settings.limits.compile,
            memory: settings.limits.compile_memory,
            stands_back: AtomicBool::new(false),
            turns: Semaphore::new(settings.limits.compilers.max(1)),
            under_way: Mutex::default(),
            tasks,
        }
    }

    /// There is traffic from here on.
    pub(super) fn stand_back(&self) {
        self.stands_back.store(true, Ordering::Relaxed);
    }

    /// The machine code of the component of plugin `name`, compiled if it is not in the cache.
    ///
    /// # Errors
    /// It cannot be compiled; says why.
    pub(super) async fn component(&self, name: &str, octets: Bytes, hash: Hash) -> anyhow::Result<Component> {
        if let Some(component) = self.find(hash).await? {
            return Ok(component);
        }
        let same = self.under_way(hash);
        let _same = same.lock().await;
        // Whoever had that before has compiled it.
        if let Some(component) = self.find(hash).await? {
            return Ok(component);
        }
        // Never closed.
        let _turn = self.turns.acquire().await?;
        if self.stands_back.load(Ordering::Relaxed) {
            tracing::info!(plugin = name, octets = octets.len(), "the plugin is compiled, at low priority, before it can be live");
        }
        match &self.compiler {
            Compiler::InProcess => self.compile_here(octets, hash).await,
            Compiler::Program(program) => {
                self.compile_beside(program, &octets).await?;
                let (engine, cache) = (self.engine.clone(), self.cache.clone());
                let taken = self.tasks.block(move || cache.take(&engine, &hash)).await.context("compiling")?;
                taken.map_err(|error| anyhow!("it was compiled, and what came of it cannot be used: {error:#}"))
            }
        }
    }

    fn under_way(&self, hash: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, same| same.strong_count() > 0);
        if let Some(same) = under_way.get(&hash).and_then(Weak::upgrade) {
            return same;
        }
        let same = Arc::default();
        under_way.insert(hash, Arc::downgrade(&same));
        same
    }

    async fn find(&self, hash: Hash) -> anyhow::Result<Option<Component>> {
        let (engine, cache) = (self.engine.clone(), self.cache.clone());
        self.tasks.block(move || cache.find(&engine, &hash)).await.context("reading compiled components")
    }

    async fn compile_here(&self, octets: Bytes, hash: Hash) -> anyhow::Result<Component> {
        let (engine, cache) = (self.engine.clone(), self.cache.clone());
        let compiled = self.tasks.block(move || {
            let component = Component::new(&engine, &octets)?;
            cache.keep(&engine, &hash, &component);
            Ok::<_, wasmtime::Error>(component)
        });
        let component = compiled.await.context("compiling")?;
        component.map_err(|error| anyhow!("it cannot be compiled: {}", hinted(&sanitised(&format!("{error:#}")))))
    }

    async fn compile_beside(&self, program: &Path, octets: &Bytes) -> anyhow::Result<()> {
        let (folder, most) = self.cache.place();
        let mut command = Command::new(program);
        let niceness = if self.stands_back.load(Ordering::Relaxed) { NICENESS } else { 0 };
        command.arg("__compile").arg("--cache").arg(folder).args([
            "--niceness",
            &niceness.to_string(),
            "--cache-bytes",
            &most.to_string(),
            "--memory",
            &self.memory.to_string(),
        ]);
        if self.instructions == Instructions::Counted {
            command.arg("--counting");
        }
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting the compiler {}", program.display()))?;
        let ran = timeout(self.deadline, run(child, octets)).await;
        let (status, complaint) =
            ran.map_err(|_elapsed| anyhow!("compiling it took longer than {:?}, and was broken off", self.deadline))??;
        ensure!(status.success(), "{}", self.why(status, &complaint));
        Ok(())
    }

    fn why(&self, status: ExitStatus, complaint: &str) -> String {
        let last = sanitised(complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default());
        match status.signal() {
            Some(signal) => format!(
                "compiling it was ended by signal {signal}: the machine had no memory left for it, or it takes more than the {} MiB it may use: {last}",
                self.memory >> 20
            ),
            None => format!("it cannot be compiled: {}", hinted(last.strip_prefix("flowgate: ").unwrap_or(&last))),
        }
    }
}

/// What the compiler says, and what helps.
fn hinted(said: &str) -> String {
    let hint = match said {
        _ if said.contains("component model async") => {
            " (it is built for asynchronous functions, and the contract's are synchronous: build it with `componentize-qjs --sync`, or what your tool calls that)"
        }
        _ if said.contains("section range") || said.contains("unexpected end") => {
            return "the file ends early: copy it whole (if it is still being copied, it is looked at again when it changes)".to_owned();
        }
        _ => "",
    };
    format!("{said}{hint}")
}

/// Gives the child its component and waits for its end. Its input stays open until then: its end tells it that we are gone.
async fn run(mut child: Child, octets: &Bytes) -> anyhow::Result<(ExitStatus, String)> {
    let (mut input, complaints) = (child.stdin.take(), child.stderr.take());
    if let Some(input) = &mut input {
        let length = (octets.len() as u64).to_le_bytes();
        // One that ended without reading says why.
        let _ = input.write_all(&length).await;
        let _ = input.write_all(octets).await;
        let _ = input.flush().await;
    }
    let mut complaint = Vec::new();
    if let Some(complaints) = complaints {
        complaints.take(COMPLAINT).read_to_end(&mut complaint).await?;
    }
    let status = child.wait().await.context("waiting for the compiler")?;
    drop(input);
    Ok((status, String::from_utf8_lossy(&complaint).into_owned()))
}

/// What the child does: reads a component (its length in 8 octets, least first, and then itself) and puts its machine code into the cache.
/// Ends the process when the input ends before that.
///
/// # Errors
/// The component cannot be compiled, or the cache cannot be written to.
pub fn compile(
    mut input: impl Read + Send + 'static,
    cache: PathBuf,
    cache_bytes: u64,
    memory: u64,
    niceness: i32,
    instructions: Instructions,
) -> anyhow::Result<()> {
    rustix::process::nice(niceness).context("lowering the priority")?;
    bound(Resource::Core, 0)?;
    #[cfg(target_os = "linux")]
    bound(Resource::As, memory)?;
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
    let mut length = [0; 8];
    input.read_exact(&mut length).context("reading the component")?;
    let length = u64::from_le_bytes(length);
    let mut octets = Vec::new();
    input.by_ref().take(length).read_to_end(&mut octets).context("reading the component")?;
    ensure!(octets.len() as u64 == length, "the component ends early");
    thread::spawn(move || {
        // Whoever asked is gone when this returns.
        let _ = std::io::copy(&mut input, &mut std::io::sink());
        let _ = std::io::stderr().write_all(b"nobody waits for it any more\n");
        std::process::exit(1);
    });
    let engine = engine::compiling(instructions).map_err(anyhow::Error::from).context("setting up the WebAssembly engine")?;
    let component = Component::new(&engine, &octets)?;
    let cache = Cache::new(CacheFolder::Kept(cache), cache_bytes);
    cache.store(&engine, &Hash::of(&octets), &component).with_context(|| format!("writing to {}", cache.place().0.display()))
}

fn bound(what: Resource, most: u64) -> anyhow::Result<()> {
    setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) }).context("bounding what the compiler may use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_is_said() {
        let said = hinted("failed to parse: 'task.cancel' requires the component model async feature (at offset 0x1)");

        assert!(said.contains("componentize-qjs --sync"), "{said}");
        assert!(hinted("invalid code section: section range 4209..360006 is out of bounds").starts_with("the file ends early"));
        assert_eq!(hinted("type mismatch"), "type mismatch");
    }
}
