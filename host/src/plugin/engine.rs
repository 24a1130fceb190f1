//! The WebAssembly engine: one per platform, with everything that can be made once.
//!
//! Place: made when the platform starts; `load` compiles with it, `instance` makes instances of what it links. All of WASI 0.2 is linked,
//! because toolchains import it needlessly, and nothing of it is granted: no folders, no environment, no sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use anyhow::Context;
use wasmtime::{Config, OptLevel, component::Linker};

use super::{capability, guest::Guest, settings::Instructions};

/// How often a running call is looked at. Shorter costs wake-ups, longer lets a runaway block its thread for that long.
const TICK: Duration = Duration::from_millis(2);
/// How many ticks without any call it takes until the ticker sleeps. Waking it costs a system call, which a busy proxy should not pay per
/// call.
const IDLE_TICKS: u32 = 50;

/// Engine, linker and clock of all components.
pub(super) struct Engine {
    wasm: wasmtime::Engine,
    linker: Linker<Guest>,
    ticker: Ticker,
    instructions: Instructions,
}

impl Engine {
    /// Makes it, with its ticker thread.
    pub(super) fn start(instructions: Instructions) -> anyhow::Result<Self> {
        let (wasm, linker) = set_up(instructions).map_err(anyhow::Error::from).context("setting up the WebAssembly engine")?;
        let ticker = Ticker::start(wasm.clone())?;
        Ok(Self { wasm, linker, ticker, instructions })
    }

    /// What compiles.
    pub(super) fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// What components are linked with.
    pub(super) fn linker(&self) -> &Linker<Guest> {
        &self.linker
    }

    /// Whether it counts what guests execute.
    pub(super) fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Deadlines are looked at for as long as this lives.
    pub(super) fn watch_clock(&self) -> Ticking<'_> {
        self.ticker.watch()
    }
}

/// One that only compiles: its code fits every engine of this program that counts alike.
pub(super) fn compiling(instructions: Instructions) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(instructions))
}

fn set_up(instructions: Instructions) -> wasmtime::Result<(wasmtime::Engine, Linker<Guest>)> {
    let engine = wasmtime::Engine::new(&config(instructions))?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    capability::link(&mut linker)?;
    Ok((engine, linker))
}

fn config(instructions: Instructions) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(instructions == Instructions::Counted)
        // Calls cost a third without it; guests that need it (asynchronous ones) would get an engine of their own.
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true);
    config
}

/// Moves the epoch on while calls are in progress.
struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    over: AtomicBool,
}

/// A call is in progress.
pub(super) struct Ticking<'a>(&'a Ticker);

impl Ticker {
    fn start(engine: wasmtime::Engine) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        let handle = thread::Builder::new()
            .name("wasm-epoch".into())
            .spawn(move || inner.tick(&engine))
            .context("starting the thread that times plugins")?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    fn watch(&self) -> Ticking<'_> {
        // Sequentially consistent, as are the ticker's: either it sees this call before it sleeps, or this call sees it asleep.
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn tick(&self, engine: &wasmtime::Engine) {
        let mut idle = 0;
        while !self.over.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            engine.increment_epoch();
            idle = if self.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle > IDLE_TICKS {
                self.sleep();
                idle = 0;
            }
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.calls.load(Ordering::SeqCst) == 0 && !self.over.load(Ordering::SeqCst) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
