//! `flowgate run`: start, say so, wait for a signal, stop.

use std::{
    convert::Infallible,
    io::{self, Write},
    pin::pin,
    process::exit,
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, configured, describe, runtime, service};
use crate::{
    app::{self, App, Sockets},
    config::{Config, Flags},
};

/// How long threads that still compute (a component being compiled, a hash) may hold up the end.
const THREADS: Duration = Duration::from_millis(500);

pub(super) fn run(mut flags: Flags) -> Result<(), Failure> {
    raise_descriptors();
    let sockets = service::sockets(&mut flags)?;
    let config = configured(flags.clone())?;
    let runtime = runtime()?;
    let result = runtime.block_on(serve(config, flags, sockets));
    runtime.shutdown_timeout(THREADS);
    Ok(result?)
}

/// Systems start programs with 1024 descriptors at most, for the sake of some that cannot count further, and let those that can have more.
fn raise_descriptors() {
    let now = getrlimit(Resource::Nofile);
    // Where it cannot be had, what there is has to do: connections beyond it wait.
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }) {
        tracing::debug!("the limit on descriptors stays {:?}: {error}", now.current);
    }
}

async fn serve(config: Config, flags: Flags, sockets: Sockets) -> anyhow::Result<()> {
    // Before anything else: a signal that comes while plugins are being compiled is meant as well.
    let mut signals = Signals::listen()?;
    // Also sent when the terminal has gone, which does no harm.
    let mut hangup = signal(SignalKind::hangup()).context("listening for signals")?;
    let app = tokio::select! {
        app = app::start_rereading(config, sockets, Box::new(move || Config::load(flags.clone()))) => app?,
        name = signals.next() => {
            tracing::info!("{name}: stopped before it had started");
            return Ok(());
        }
    };
    announce(&app);
    service::ready();
    let mut watchdog = pin!(service::watchdog());
    let name = tokio::select! {
        name = signals.next() => name,
        never = reload_on(&mut hangup, &app) => match never {},
        never = &mut watchdog => match never {},
    };
    service::stopping();
    tracing::info!("{name}: stopping; what is in flight may finish, a second signal ends it now");
    tokio::select! {
        () = app.stop() => {
            tracing::info!("stopped");
            Ok(())
        }
        never = &mut watchdog => match never {},
        name = signals.next() => {
            tracing::warn!("{name} again: ended at once; flows in flight and records in memory are lost");
            // Returning would wait for tasks. One tick for the line above to be written.
            std::thread::sleep(Duration::from_millis(20));
            exit(1)
        }
    }
}

/// The four lines: where it listens, what clients must trust, which plugins run, where records go. A fifth one says where operators look.
fn announce(app: &App) {
    let addresses: Vec<_> = app.addresses().iter().map(ToString::to_string).collect();
    let plugins: Vec<_> = app.plugins().iter().map(describe).collect();
    let admin = app.admin().map_or_else(String::new, |address| format!("for operators: http://{address}/\n"));
    let text = format!(
        "flowgate {} listens on {}\nroot certificate: {} (how to install it: http://{}/)\nplugins: {}\nrecords: {}\n{admin}",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", "),
        app.root_path().display(),
        addresses.first().map_or("", String::as_str),
        if plugins.is_empty() { "none".to_owned() } else { plugins.join(", ") },
        app.logs().display(),
    );
    // On a thread of its own: standard output may be a pipe that nobody empties, and signals must still be heard.
    std::thread::spawn(move || {
        let mut out = io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
}

/// For as long as the proxy runs.
async fn reload_on(hangup: &mut Signal, app: &App) -> Infallible {
    loop {
        hangup.recv().await;
        let Some(reload) = app.reload() else { continue };
        // What was taken over is said where it is done.
        if let Err(error) = reload.run().await {
            tracing::error!("SIGHUP: the configuration cannot be taken over; the one in force stays: {error:#}");
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
