//! CPU time of the proxy per operation: a request on a connection kept alive, or one on a connection made for it.
//!
//! Requests are those of Copilot. Origin and load are processes of their own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    Mode, OTHER_CPU, Options, clock, in_turns,
    load::{self, Way, nth},
    process::{Helper, Proxy},
    programs::{PLAIN, Programs, own, path},
    report::{Report, Sample},
    shape::{Certificates, Exchange},
};

/// Hosts whose names lead to the origin: more than are visited in a run of minutes.
const HOSTS: usize = 60_000;
/// A field out of each completion.
const FILTER: &str = "[plugins.redact.config]\nremove = [\"vscode-machineid\"]\n";

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let (what, clients, way, exchange) = match options.mode {
        Mode::Telemetry => ("telemetry", 16, Way::Kept, Exchange::Telemetry),
        Mode::New => ("new connection", 4, Way::New, Exchange::Completion),
        Mode::Resumed => ("new connection, TLS resumed", 4, Way::Resumed, Exchange::Completion),
        Mode::FirstVisit => ("first visit of a host", 4, Way::FirstVisit, Exchange::Completion),
        Mode::Latency => ("keep-alive", 1, Way::Kept, Exchange::Completion),
        _ => ("keep-alive", 16, Way::Kept, Exchange::Completion),
    };
    let clients = options.clients.unwrap_or(clients);
    let place = Place::open(programs, folder)?;
    let load = |name: &str, (proxy, address, root): &(Proxy, SocketAddr, PathBuf)| -> anyhow::Result<Contender> {
        let load = load::Options { way, exchange, ..load::Options::completions(&place.origin, *address, root, clients) };
        Contender::start(name, proxy, programs, &load).with_context(|| name.to_owned())
    };

    let (tunnel, address) = programs.tunnel(None)?;
    let mut proxies = vec![("tunnel", (tunnel, address, place.certificates.root.clone()))];
    let names = if way == Way::FirstVisit { place.names(HOSTS) } else { String::new() };
    for (name, settings, filter) in
        [("flowgate, no plugin", PLAIN, false), ("flowgate, logger", "", false), ("flowgate, filter", &[PLAIN, FILTER].concat(), true)]
    {
        let own = own(folder, name);
        if filter {
            programs.put_plugin(&own, "redact", ["redact".to_owned()].into_iter())?;
        }
        proxies.push((name, programs.flowgate(&[&names, settings].concat(), &own, &place.certificates)?));
    }
    for peer in &options.peers {
        proxies.push((peer.name(), peer.start(&own(folder, peer.name()), &place.certificates.root).with_context(|| peer.name())?));
    }
    let contenders = proxies.iter().map(|(name, proxy)| load(name, proxy)).collect::<anyhow::Result<Vec<_>>>()?;
    compare(options, format!("{what}, {clients} at a time"), contenders)
}

/// Lets all have their turns; the first is what the others are compared with.
pub(crate) fn compare(options: &Options, title: String, mut contenders: Vec<Contender>) -> anyhow::Result<Value> {
    let mut report = Report::new(title, contenders.iter().map(|contender| contender.name.clone()));
    in_turns(options.rounds, contenders.len(), |contender| {
        report.add(contender, contenders[contender].turn(options.seconds)?);
        Ok(())
    })?;
    println!("{report}");
    Ok(report.json())
}

/// The origin.
pub(crate) struct Place {
    pub(crate) certificates: Certificates,
    /// `localhost:PORT`
    pub(crate) origin: String,
    _serving: Helper,
}

impl Place {
    pub(crate) fn open(programs: &Programs, folder: &Path) -> anyhow::Result<Self> {
        let certificates = Certificates::make(folder)?;
        let serving = programs.helper("bench-origin", &[path(&certificates.chain)?, path(&certificates.key)?], OTHER_CPU)?;
        let address: SocketAddr = serving.line()?.parse().context("reading the origin's address")?;
        Ok(Self { certificates, origin: format!("localhost:{}", address.port()), _serving: serving })
    }

    /// Settings by which so many names lead to the origin, as they do in the tunnel, and all may be asked for in no time.
    pub(crate) fn names(&self, hosts: usize) -> String {
        let port = self.origin.trim_start_matches("localhost:");
        let names: Vec<String> = (0..hosts).map(|host| format!("\"{}:{port}=127.0.0.1:{port}\"", nth(host))).collect();
        format!("resolve = [{}]\n[limits]\nleaves-per-client = 1000000\n", names.join(",\n"))
    }
}

/// A load, and the process that it is for.
pub(crate) struct Contender {
    name: String,
    process: u32,
    load: Helper,
}

impl Contender {
    pub(crate) fn start(name: &str, proxy: &Proxy, programs: &Programs, load: &load::Options) -> anyhow::Result<Self> {
        Ok(Self { name: name.to_owned(), process: proxy.id(), load: programs.load(load)? })
    }

    fn turn(&mut self, seconds: f64) -> anyhow::Result<Sample> {
        let (done, cpu) = turn(self.process, &mut self.load, seconds).with_context(|| self.name.clone())?;
        Ok(Sample::new(cpu.as_secs_f64() * 1e6 / done.requests as f64, &done))
    }
}

/// Load for so many seconds, and the CPU time of the proxy until it rests again, what it does after the answers included.
pub(crate) fn turn(process: u32, load: &mut Helper, seconds: f64) -> anyhow::Result<(load::Done, Duration)> {
    let before = clock::at_rest(process)?;
    load.say(&format!("{seconds}"))?;
    let done: load::Done = serde_json::from_str(&load.line()?).context("reading what the load did")?;
    ensure!(done.requests > 0, "not one request was answered");
    Ok((done, clock::at_rest(process)? - before))
}
