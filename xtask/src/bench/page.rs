//! `page`: what the status page costs the proxy while it is open, and while it is not.
//!
//! So many completions a second come in on connections kept alive, recorded by the logger. One proxy has no admin listener; the other has one,
//! where in every other turn somebody watches all of it, as the page does.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    thread::{self, JoinHandle},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    OTHER_CPU, Options, clock, in_turns, load,
    process::Helper,
    programs::Programs,
    requests::{self, Place},
    stats::{column, median, with_spread},
};

/// Completions a second, if the proxy keeps up with them.
const PACE: f64 = 2000.0;
/// Connections they come on.
const CLIENTS: usize = 16;
/// Opens the admin listener of the measured.
const TOKEN: &str = "a-token-of-the-benchmark";

const NAMES: [&str; 3] = ["no admin listener", "nobody watches", "somebody watches"];

/// One turn.
struct Sample {
    /// CPU time per request, in µs.
    cpu_us: f64,
    /// Of one processor.
    share: f64,
    per_second: f64,
    p99_us: f64,
    seen: Seen,
}

/// What somebody got to see of it.
#[derive(Clone, Copy, Default)]
struct Seen {
    octets: usize,
    rows: usize,
    missed: u64,
}

struct Table([Vec<Sample>; 3]);

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    clock::stay_on(OTHER_CPU)?;
    let place = Place::open(programs, folder)?;
    let watched = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken-file = {:?}\n", token(folder)?);
    let mut proxies = Vec::new();
    for (name, settings) in [("without", ""), ("with", &watched)] {
        let (mut proxy, address, root) = programs.flowgate(settings, &folder.join(name), &place.certificates)?;
        let admin = if settings.is_empty() { None } else { Some(proxy.address_behind("for operators: http://")?) };
        let load = programs.load(&load::Options {
            pace: Some(PACE),
            ..load::Options::completions(&place.origin, address, &root, options.clients.unwrap_or(CLIENTS))
        })?;
        proxies.push((proxy, admin, load));
    }
    let mut table = Table(Default::default());
    in_turns(options.rounds, NAMES.len(), |contender| {
        let (proxy, admin, load) = &mut proxies[contender.min(1)];
        let viewer = match (contender, *admin) {
            (2, Some(admin)) => Some(Viewer::open(admin)?),
            _ => None,
        };
        let mut sample = turn(proxy.id(), load, options.seconds)?;
        if let Some(viewer) = viewer {
            sample.seen = viewer.close()?;
            ensure!(sample.seen.rows > 0, "somebody watched and saw nothing");
        }
        table.0[contender].push(sample);
        Ok(())
    })?;
    println!("{table}");
    Ok(table.json())
}

/// The file with the token, which nobody else may read.
fn token(folder: &Path) -> anyhow::Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join("token");
    std::fs::write(&file, TOKEN).context("writing the token")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).context("writing the token")?;
    Ok(super::programs::path(&file)?.to_owned())
}

fn turn(process: u32, load: &mut Helper, seconds: f64) -> anyhow::Result<Sample> {
    let (done, cpu) = requests::turn(process, load, seconds)?;
    let (cpu, requests) = (cpu.as_secs_f64(), done.requests as f64);
    let (cpu_us, share) = (cpu * 1e6 / requests, cpu / done.seconds);
    Ok(Sample { cpu_us, share, per_second: requests / done.seconds, p99_us: done.p99_us, seen: Seen::default() })
}

/// Somebody who has the page open.
struct Viewer {
    stream: TcpStream,
    reading: JoinHandle<Seen>,
}

/// What the page is told at once.
#[derive(Deserialize)]
struct Piece {
    flows: Vec<serde::de::IgnoredAny>,
    missed: u64,
}

impl Viewer {
    fn open(admin: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(admin).context("connecting to the admin listener")?;
        write!(stream, "GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")?;
        let mut input = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        input.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200"), "the admin listener says {line}");
        while !line.starts_with("data: ") {
            line.clear();
            ensure!(input.read_line(&mut line)? > 0, "the admin listener closed");
        }
        let reading = thread::spawn(move || {
            let mut seen = Seen::default();
            for line in input.lines().map_while(Result::ok) {
                seen.octets += line.len();
                // What else there is: sizes of chunks, and nothing.
                let Some(piece) = line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Piece>(data).ok()) else { continue };
                seen.rows += piece.flows.len();
                seen.missed += piece.missed;
            }
            seen
        });
        Ok(Self { stream, reading })
    }

    fn close(self) -> anyhow::Result<Seen> {
        self.stream.shutdown(Shutdown::Both)?;
        self.reading.join().map_err(|_| anyhow::anyhow!("reading what is watched failed"))
    }
}

impl Table {
    /// What a turn has over one without admin listener in the same round.
    fn over(&self, contender: usize) -> Vec<f64> {
        self.0[contender].iter().zip(&self.0[0]).map(|(sample, base)| sample.cpu_us / base.cpu_us).collect()
    }

    /// The share of a processor that a turn takes beyond one without admin listener in the same round, at the same pace.
    fn more(&self, contender: usize) -> Vec<f64> {
        let more = |(sample, base): (&Sample, &Sample)| (sample.cpu_us - base.cpu_us) * PACE / 1e6;
        self.0[contender].iter().zip(&self.0[0]).map(more).collect()
    }

    fn all(&self, contender: usize, value: fn(&Sample) -> f64) -> Vec<f64> {
        self.0[contender].iter().map(value).collect()
    }

    fn json(&self) -> Value {
        let rows = NAMES.iter().enumerate().map(|(at, name)| {
            let all = |value: fn(&Sample) -> f64| column(self.all(at, value));
            json!({
                "name": name,
                "cpu_us": all(|sample| sample.cpu_us),
                "cpu_share": all(|sample| sample.share),
                "ratio": column(self.over(at)),
                "more_of_a_processor": column(self.more(at)),
                "requests_per_second": all(|sample| sample.per_second),
                "p99_us": all(|sample| sample.p99_us),
                "rows_per_turn": all(|sample| sample.seen.rows as f64),
                "not_shown_per_turn": all(|sample| sample.seen.missed as f64),
                "octets_per_turn": all(|sample| sample.seen.octets as f64),
            })
        });
        json!({ "pace": PACE, "rows": rows.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "status page at {PACE} completions a second, medians of {} rounds, against no admin listener [least–most]",
            self.0[0].len()
        )?;
        writeln!(
            f,
            "{:<20}{:>8}{:>9}{:>21}{:>27}{:>9}{:>9}{:>11}{:>9}",
            "", "req/s", "CPU µs", "÷", "more of a processor, %", "p99 µs", "rows", "not shown", "kB"
        )?;
        for (at, name) in NAMES.iter().enumerate() {
            let of = |value: fn(&Sample) -> f64| median(&self.all(at, value));
            let (over, more) = (with_spread(&self.over(at), 3), self.more(at));
            let more = with_spread(&more.iter().map(|more| 100.0 * more).collect::<Vec<_>>(), 1);
            let (rate, cpu, p99) = (of(|sample| sample.per_second), of(|sample| sample.cpu_us), of(|sample| sample.p99_us));
            let (rows, missed) = (of(|sample| sample.seen.rows as f64), of(|sample| sample.seen.missed as f64));
            let octets = of(|sample| sample.seen.octets as f64 / 1000.0);
            writeln!(f, "{name:<20}{rate:>8.0}{cpu:>9.1}{over:>21}{more:>27}{p99:>9.0}{rows:>9.0}{missed:>11.0}{octets:>9.0}")?;
        }
        Ok(())
    }
}
