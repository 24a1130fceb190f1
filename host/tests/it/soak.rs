//! Mixed traffic through the real binary for minutes, plugins being swapped meanwhile: nothing fails, and nothing grows.
//!
//! Opt-in: `cargo xtask soak --minutes N`. What plugins in other languages hold, `cargo xtask languages` looks at.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use flowgate::tasks::Tasks;
use flowgate_testkit::{
    Client, Head, Origin, Setup,
    client::{H1, request},
    component,
    message::{Framing, Incoming},
    program::Program,
    websocket::WebSocket,
    wire::Wire,
    within,
};
use http::{Request, Response};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");
const LOGGER: &[u8] = flowgate::plugin::LOGGER_WASM;

/// How often each kind of traffic goes round: enough to come by everything a thousand times, little enough for a debug build.
const PACE: Duration = Duration::from_millis(150);
/// How often the logger is replaced.
const SWAP: Duration = Duration::from_secs(15);
/// How much more may be held in the end than when everything is warm.
const GROWTH: f64 = 1.05;
/// Sooner, everything is still growing: what is held is told and not judged.
const JUDGED: Duration = Duration::from_secs(60);
/// Octets of an upload.
const UPLOAD: usize = 256 * 1024;
/// Messages of one WebSocket.
const MESSAGES: usize = 10;

#[derive(Default)]
struct Score {
    rounds: u64,
    failures: Vec<String>,
}

#[derive(Clone, Default)]
struct Scores(Arc<Mutex<BTreeMap<&'static str, Score>>>);

impl Scores {
    fn note(&self, kind: &'static str, outcome: Result<(), String>) {
        let mut all = self.0.lock().unwrap();
        let score = all.entry(kind).or_default();
        score.rounds += 1;
        score.failures.extend(outcome.err());
    }
}

/// What is held, how to read it, and how much it may swing beside growing.
type Kind = (&'static str, fn(&Held) -> u64, f64);

/// What the process holds: octets in memory, descriptors, threads.
#[derive(Clone, Copy)]
struct Held {
    at: Duration,
    memory: u64,
    descriptors: u64,
    threads: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo xtask soak"]
async fn nothing_fails_and_nothing_grows() {
    let minutes: f64 = std::env::var("FLOWGATE_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let binary = std::env::var("FLOWGATE_SOAK_BINARY").unwrap_or_else(|_| BINARY.to_owned());
    let (plain, modern) = (http1_origin().await, http2_origin().await);
    let host = format!("{}:443", copilot::HOST);
    let resolve = format!("{host}={}", plain.address());
    let program = Program::start(&binary, &["--resolve", &resolve, "--intercept", "*"]).await;
    let (scores, over, tasks) = (Scores::default(), Arc::new(AtomicBool::new(false)), Tasks::new());
    for at in 0..2 {
        let load = Load { client: program.client().with_user(&format!("user{at}"), ""), host: host.clone(), modern: modern.authority() };
        load.spawn(&tasks, &scores, &over);
    }

    let (began, length) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let (mut samples, mut swaps) = (Vec::new(), 0_u32);
    let mut every = interval(Duration::from_secs(1));
    while began.elapsed() < length {
        every.tick().await;
        samples.push(held(program.id(), began.elapsed()));
        if began.elapsed() > SWAP * (swaps + 1) {
            swaps += 1;
            // Two builds that take turns, so that each is compiled once.
            swap(&program.folder().join("plugins"), &component::variant(LOGGER, swaps % 2));
        }
    }
    over.store(true, Ordering::Relaxed);
    within("the end of the load", tasks.ended(flowgate_testkit::PATIENCE)).await;

    report(&scores, &samples, length, swaps);
    let (code, _folder) = program.terminate().await;
    assert_eq!(code, Some(0));
}

/// Prints what happened, writes it to `target/soak.json`, and judges it.
fn report(scores: &Scores, samples: &[Held], length: Duration, swaps: u32) {
    let warm = Duration::from_secs(180).min(length / 3);
    let window = (length / 10).min(Duration::from_secs(60));
    let mean = |from: Duration, of: fn(&Held) -> u64| {
        let some: Vec<f64> = samples.iter().filter(|held| held.at >= from && held.at < from + window).map(|held| of(held) as f64).collect();
        some.iter().sum::<f64>() / some.len().max(1) as f64
    };
    let kinds: [Kind; 3] =
        [("memory", |held| held.memory, 0.0), ("descriptors", |held| held.descriptors, 3.0), ("threads", |held| held.threads, 3.0)];
    let held: Vec<(&str, f64, f64, bool)> = kinds
        .into_iter()
        .map(|(name, of, slack)| {
            let (first, last) = (mean(warm, of), mean(length.saturating_sub(window), of));
            (name, first, last, last <= first * GROWTH + slack)
        })
        .collect();
    let all = scores.0.lock().unwrap();
    println!("{:<14}{:>10}{:>10}", "traffic", "rounds", "failed");
    for (kind, score) in all.iter() {
        println!("{kind:<14}{:>10}{:>10}", score.rounds, score.failures.len());
    }
    println!(
        "{:<14}{:>14}{:>14}   ({swaps} swaps)",
        "held",
        format!("after {} s", warm.as_secs()),
        format!("after {} s", length.as_secs())
    );
    for (name, first, last, _) in &held {
        println!("{name:<14}{first:>14.0}{last:>14.0}   {:+.1} %", (last / first - 1.0) * 100.0);
    }
    let json = json!({
        "seconds": length.as_secs(),
        "swaps": swaps,
        "traffic": all.iter().map(|(kind, score)| (*kind, json!({ "rounds": score.rounds, "failed": score.failures.len() }))).collect::<BTreeMap<_, _>>(),
        "held": held.iter().map(|(name, first, last, _)| (*name, json!({ "warm": first, "end": last }))).collect::<BTreeMap<_, _>>(),
        "memory_by_minute": samples.iter().step_by(60).map(|held| held.memory).collect::<Vec<_>>(),
    });
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/soak.json");
    fs::write(&place, format!("{json:#}\n")).unwrap();
    for (kind, score) in all.iter() {
        assert!(score.rounds > 0 && score.failures.is_empty(), "{kind}: {} rounds, failed: {:?}", score.rounds, score.failures);
    }
    assert!(length < JUDGED || held.iter().all(|(.., is_flat)| *is_flat), "something grows: {held:?}");
}

fn held(process: u32, at: Duration) -> Held {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
    Held { at, memory: number("VmRSS:") * 1024, descriptors, threads: number("Threads:") }
}

fn swap(plugins: &Path, component: &[u8]) {
    fs::create_dir_all(plugins).unwrap();
    fs::write(plugins.join(".next"), component).unwrap();
    fs::rename(plugins.join(".next"), plugins.join("logger.wasm")).unwrap();
}

/// One client's traffic of every kind.
struct Load {
    client: Client,
    /// Speaks HTTP/1.
    host: String,
    /// Speaks HTTP/2.
    modern: String,
}

impl Load {
    fn spawn(self, tasks: &Tasks, scores: &Scores, over: &Arc<AtomicBool>) {
        let load = Arc::new(self);
        macro_rules! rounds {
            ($($kind:literal => $round:ident),*) => { $({
                let (load, scores, over) = (load.clone(), scores.clone(), over.clone());
                tasks.spawn(async move {
                    let mut pace = interval(PACE);
                    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    while !over.load(Ordering::Relaxed) {
                        pace.tick().await;
                        scores.note($kind, load.$round().await);
                    }
                });
            })* };
        }
        rounds!("fresh" => fresh, "kept" => kept, "events" => events, "upload" => upload, "abort" => abort, "socket" => socket, "h2" => http2);
    }

    async fn connection(&self) -> Result<H1, String> {
        self.client.h1(&self.host).await.map_err(|error| error.to_string())
    }

    async fn ask(&self, connection: &mut H1, target: &str, content: &[u8], expected: &[u8]) -> Result<(), String> {
        let asked = match target {
            copilot::COMPLETIONS => copilot::completion(copilot::HOST, "soak", content),
            _ => request("POST", target, copilot::HOST, &[], content),
        };
        let response = connection.exchange(asked).await.map_err(|error| error.to_string())?;
        let is_right = response.status() == 200 && response.content == expected && response.is_complete();
        is_right.then_some(()).ok_or_else(|| format!("{target}: {} {:?}", response.status(), response.trouble))
    }

    /// A connection of its own.
    async fn fresh(&self) -> Result<(), String> {
        self.ask(&mut self.connection().await?, copilot::COMPLETIONS, b"{}", EVENTS.concat().as_bytes()).await
    }

    /// Many requests on one.
    async fn kept(&self) -> Result<(), String> {
        let mut connection = self.connection().await?;
        for _ in 0..20 {
            self.ask(&mut connection, copilot::COMPLETIONS, b"{\"stream\":true}", EVENTS.concat().as_bytes()).await?;
        }
        Ok(())
    }

    /// Events, read one by one.
    async fn events(&self) -> Result<(), String> {
        let mut connection = self.connection().await?;
        connection.send(copilot::completion(copilot::HOST, "events", b"{}")).await.map_err(|error| error.to_string())?;
        let answer = connection.begin("POST").await.map_err(|error| error.to_string())?.finish().await;
        (answer.text() == EVENTS.concat() && answer.is_complete()).then_some(()).ok_or_else(|| "events are missing".to_owned())
    }

    async fn upload(&self) -> Result<(), String> {
        let content = vec![b'u'; UPLOAD];
        self.ask(&mut self.connection().await?, "/upload", &content, UPLOAD.to_string().as_bytes()).await
    }

    /// Leaves in the middle of an answer, or of its own request.
    async fn abort(&self) -> Result<(), String> {
        let mut reading = self.connection().await?;
        reading.send(request("GET", "/endless", copilot::HOST, &[], b"")).await.map_err(|error| error.to_string())?;
        reading.begin("GET").await.map_err(|error| error.to_string())?.next().await.map_err(|error| error.to_string())?;
        let mut writing = self.connection().await?;
        writing.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").await.map_err(|error| error.to_string())?;
        writing.into_wire().reset();
        Ok(())
    }

    async fn socket(&self) -> Result<(), String> {
        let mut socket = WebSocket::open(&self.client, &self.host, "/socket", None).await.map_err(|error| error.to_string())?;
        for at in 0..MESSAGES {
            let said = format!("message {at}");
            socket.say(&said).await.map_err(|error| error.to_string())?;
            let heard = socket.next().await.map_err(|error| error.to_string())?;
            if heard.as_text() != said {
                return Err(format!("{heard:?} in place of {said:?}"));
            }
        }
        Ok(())
    }

    /// Several streams on one connection.
    async fn http2(&self) -> Result<(), String> {
        let mut connection = self.client.h2(&self.modern).await.map_err(|error| error.to_string())?;
        for at in 0..8 {
            let asked = Request::post(format!("https://{}/{at}", self.modern)).body(Bytes::from(vec![b'h'; 10_000 * at])).unwrap();
            let response = connection.exchange(asked).await.map_err(|error| error.to_string())?;
            if (response.status, &response.content[..]) != (200, (10_000 * at).to_string().as_bytes()) || response.trouble.is_some() {
                return Err(format!("h2: {response:?}"));
            }
        }
        Ok(())
    }
}

const EVENTS: [&str; 3] = ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"];

/// Keeps nothing of what it sees, unlike the kit's: it sees much.
async fn http1_origin() -> Origin {
    Origin::speaking(Setup::http1(), |mut wire| async move { while serve(&mut wire).await.is_some() {} }).await
}

/// One request; `None`: the connection is over.
async fn serve(wire: &mut Wire) -> Option<()> {
    while wire.held().is_empty() {
        wire.more().await.ok()?;
    }
    let head = Head::read(wire).await.ok()?;
    let mut content = Incoming::new(Framing::of_request(&head));
    while content.next(wire).await.ok()?.is_some() {}
    match head.target() {
        b"/socket" => {
            wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.ok()?;
            echo(wire).await
        }
        b"/endless" => {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n").await.ok()?;
            // Until the client has left.
            while wire.more().await.is_ok() {}
            None
        }
        b"/upload" => {
            let length = content.content.len().to_string();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}", length.len())).await.ok()
        }
        _ => {
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
            for event in EVENTS {
                wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await.ok()?;
            }
            wire.send("0\r\n\r\n").await.ok()
        }
    }
}

/// Says every message again.
async fn echo(wire: &mut Wire) -> Option<()> {
    loop {
        // A client's frame of less than 126 octets: two octets of head, four of mask.
        let head = wire.exactly(2).await.ok()?;
        let len = usize::from(head[1] & 0x7f);
        let masked = wire.exactly(4 + len).await.ok()?;
        let content: Vec<u8> = masked[4..].iter().enumerate().map(|(at, octet)| octet ^ masked[at % 4]).collect();
        wire.send([&[head[0], len as u8][..], &content].concat()).await.ok()?;
    }
}

/// Answers each request with how much content it had.
async fn http2_origin() -> Origin {
    Origin::speaking(Setup::http2(), |wire| async move {
        let Ok(mut accepting) = h2::server::handshake(wire.into_stream()).await else { return };
        let tasks = Tasks::new();
        while let Some(Ok((request, mut respond))) = accepting.accept().await {
            tasks.spawn(async move {
                let (mut content, mut length) = (request.into_body(), 0);
                while let Some(Ok(data)) = content.data().await {
                    length += data.len();
                    let _ = content.flow_control().release_capacity(data.len());
                }
                if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
                    let _ = stream.send_data(Bytes::from(length.to_string()), true);
                }
            });
        }
    })
    .await
}
