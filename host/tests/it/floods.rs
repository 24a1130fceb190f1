//! HTTP/2 clients that send what costs them nothing: they are closed, good ones lose nothing, and memory stays where it was.

use std::path::Path;

use bytes::Bytes;
use flowgate::tasks::Tasks;
use flowgate_testkit::{
    Origin, Script, Setup,
    client::{Client, H2},
    program::Program,
    proxy::{Options, Proxy},
    within,
};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Octets that RSS may grow by while four clients flood.
const GROWTH: u64 = 30 << 20;
/// As many frames as a flood is made of: far more than any limit.
const FRAMES: usize = 100_000;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /` or `POST /`, by the static table of HPACK (RFC 7541, appendix A).
fn fields(method: u8, authority: &str) -> Vec<u8> {
    [&[method, 0x84, 0x87, 0x41, u8::try_from(authority.len()).unwrap()], authority.as_bytes()].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// What follows preface and settings: some frames, then one row of them over and over.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    then: Box<dyn Fn(usize) -> Vec<u8> + Send + Sync>,
}

fn floods(authority: &str) -> Vec<Flood> {
    let flood = |name, first: Vec<u8>, then: Box<dyn Fn(usize) -> Vec<u8> + Send + Sync>| Flood { name, first, then };
    let (get, open) = (fields(GET, authority), frame(HEADERS, END_HEADERS, 1, &fields(POST, authority)));
    // 4,000 octets into the dynamic table once, and then by their index: a field list of any size.
    let bomb = [fields(GET, authority), vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e], vec![b'a'; 4000]].concat();
    vec![
        flood(
            "rapid reset",
            Vec::new(),
            Box::new(move |at| {
                let stream = 2 * u32::try_from(at).unwrap() + 1;
                let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                [frame(HEADERS, END_HEADERS | END_STREAM, stream, &get), reset].concat()
            }),
        ),
        flood("CONTINUATION", frame(HEADERS, 0, 1, &fields(GET, authority)), Box::new(|_| frame(CONTINUATION, 0, 1, &[]))),
        flood("HPACK", frame(HEADERS, 0, 1, &bomb), Box::new(|_| frame(CONTINUATION, 0, 1, &[0xbe; 8000]))),
        flood("PING", Vec::new(), Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        flood("SETTINGS", Vec::new(), Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        flood("PRIORITY", Vec::new(), Box::new(|_| frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 7]))),
        flood("empty DATA", open.clone(), Box::new(|_| frame(DATA, 0, 1, &[]))),
        flood("tiny windows", open, Box::new(|_| frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()))),
    ]
}

/// Sends it until the proxy closes the connection.
async fn abuse(client: &Client, authority: &str, flood: &Flood) {
    let wire = client.secure(authority, &["h2"]).await.unwrap();
    let (mut read, mut write) = tokio::io::split(wire.into_stream());
    let sending = async {
        let first = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[]), &flood.first].concat();
        if write.write_all(&first).await.is_err() {
            return;
        }
        for from in (0..FRAMES).step_by(100) {
            let octets: Vec<u8> = (from..from + 100).flat_map(|at| (flood.then)(at)).collect();
            if write.write_all(&octets).await.is_err() {
                return;
            }
        }
        // It is to be closed all the same.
        std::future::pending().await
    };
    let mut seen = vec![0; 64 << 10];
    let closed = async { while read.read(&mut seen).await.is_ok_and(|octets| octets > 0) {} };
    within(&format!("the end of a connection that floods with {}", flood.name), async {
        tokio::select! {
            () = sending => {}
            () = closed => {}
        }
    })
    .await;
}

async fn exchange(connection: &mut H2, url: &str) {
    let request = Request::post(url).body(Bytes::from_static(b"hello")).unwrap();
    let response = connection.exchange(request).await.unwrap();
    assert_eq!((response.status, &response.content[..], response.trouble), (200, &b"hello"[..], None));
}

/// In octets.
fn resident(process: u32) -> u64 {
    status(process, "VmRSS:")
}

/// The most that were resident so far, in octets.
fn peak(process: u32) -> u64 {
    status(process, "VmHWM:")
}

fn status(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_from_four_connections_are_closed_and_cost_sixteen_good_clients_nothing() {
    const GOOD: usize = 16;
    const BAD: usize = 4;
    let origin = Origin::start(Setup::http2(), |_| Script::after_reading(|seen| Script::ok(seen.content.clone()))).await;
    let program = Program::start(BINARY, &["--intercept", "*"]).await;
    let (url, authority) = (origin.url("/good"), origin.authority());
    let mut good = Vec::new();
    for _ in 0..GOOD {
        let mut connection = program.client().h2(&authority).await.unwrap();
        exchange(&mut connection, &url).await;
        good.push(connection);
    }
    let before = resident(program.id());

    for flood in floods(&authority) {
        let (done, tasks, flood) = (tokio::sync::watch::Sender::new(false), Tasks::new(), std::sync::Arc::new(flood));
        let good_ones = good.iter_mut().map(|connection| {
            let (url, mut done) = (url.clone(), done.subscribe());
            async move {
                exchange(connection, &url).await;
                while !*done.borrow_and_update() {
                    exchange(connection, &url).await;
                }
            }
        });
        let bad_ones: Vec<_> = (0..BAD)
            .map(|_| {
                let (client, authority, flood) = (program.client(), authority.clone(), flood.clone());
                tasks.spawn(async move { abuse(&client, &authority, &flood).await })
            })
            .collect();
        let ended = async {
            for abuse in bad_ones {
                abuse.await.unwrap();
            }
            done.send_replace(true);
        };
        tokio::join!(ended, all(good_ones));
    }

    let grown = resident(program.id()).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} octets more are resident");
    let (code, _) = program.terminate().await;
    assert_eq!(code, Some(0));
}

/// All at once, in one task.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut left: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        left.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if left.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await
}

#[tokio::test]
async fn a_head_over_http2_has_as_many_fields_as_one_over_http1() {
    let origin = Origin::start(Setup::http2(), |_| Script::ok("ok")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let with = |fields: usize| {
        let builder = (0..fields).fold(Request::get(origin.root()), |builder, at| builder.header(format!("x-{at}"), "1"));
        builder.body(Bytes::new()).unwrap()
    };

    let statuses = [connection.exchange(with(250)).await.unwrap().status, connection.exchange(with(300)).await.unwrap().status];

    assert_eq!(statuses, [200, 431]);
    assert_eq!(connection.exchange(with(1)).await.unwrap().status, 200, "the connection goes on");
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn streams_beyond_their_number_are_refused_and_the_others_go_on() {
    let gate = flowgate_testkit::Gate::new();
    let origin = Origin::start(Setup::http2(), {
        let gate = gate.clone();
        move |_| Script::new(200).hold(&gate).data("late")
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let wire = proxy.client().secure(&origin.authority(), &["h2"]).await.unwrap();
    let (mut read, mut write) = tokio::io::split(wire.into_stream());
    let get = fields(GET, &origin.authority());

    let mut octets = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat();
    for at in 0..flowgate::config::limits::STREAMS + 1 {
        octets.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &get));
    }
    write.write_all(&octets).await.unwrap();

    let refused = within("the refusal of a stream", async {
        let mut head = [0; 9];
        loop {
            read.read_exact(&mut head).await.unwrap();
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; len];
            read.read_exact(&mut payload).await.unwrap();
            if head[3] == RST_STREAM {
                return (u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload);
            }
        }
    })
    .await;
    // REFUSED_STREAM (RFC 9113 §8.7): safe to try again.
    assert_eq!(refused, (2 * flowgate::config::limits::STREAMS + 1, 7_u32.to_be_bytes().to_vec()));
    gate.open_for(200);
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

/// 16 MiB of gzip that inflate to as many GiB, which is itself sent as some ten KiB of gzip.
fn bomb() -> Vec<u8> {
    // Members in a row are one content (RFC 1952 §2.2).
    let member = gzip(&vec![0; 1 << 20]);
    gzip(&member.repeat((16 << 20) / member.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_inflates_without_end_passes_untouched_and_costs_no_memory() {
    const GROWTH: u64 = 64 << 20;
    const BOMBS: usize = 4;
    /// What comes out of a bomb before it is cut.
    const CUT: usize = 8 << 20;
    let bomb = Bytes::from(bomb());
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let sent = bomb.clone();
    let origin = Origin::start(Setup::http1(), move |seen| match seen.target.as_str() {
        "/v1/bombs/completions" => {
            Script::ok(sent.clone()).field("content-type", "application/json").field("content-encoding", "gzip, gzip")
        }
        _ => Script::ok(vec![0; CUT]),
    })
    .await;
    let program = Program::start(BINARY, &[]).await;
    let ask = async |path: &str| program.client().post(&origin.url(path), &[], b"{}").await.unwrap().content;
    // As large as a record gets: what that takes is there then. One after the other, here and below, so that as much is there at a time.
    for done in 1..=BOMBS {
        assert_eq!(ask("/v1/large/completions").await.len(), CUT);
        program.records().after(done).await;
    }
    let before = resident(program.id());

    for done in 1..=BOMBS {
        assert_eq!(ask("/v1/bombs/completions").await, bomb);
        program.records().after(BOMBS + done).await;
    }

    let records = program.records().after(2 * BOMBS).await;
    let bombs = records.iter().filter(|record| record.text_at("/request/url").is_some_and(|url| url.contains("bombs")));
    let cut = bombs.filter(|record| record.json.pointer("/flowgate/response/truncated") == Some(&true.into())).count();
    assert_eq!(cut, BOMBS);
    let grown = resident(program.id()).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} octets more are resident");
}

#[tokio::test]
async fn what_inflates_beyond_capture_is_cut_there() {
    const CAPTURE: usize = 1 << 20;
    let sent = gzip(&vec![b'a'; 2 * CAPTURE]);
    let origin = Origin::start(Setup::tls(), move |_| Script::ok(sent.clone()).field("content-encoding", "gzip")).await;
    let proxy = Proxy::start(Options::new().change(|config| config.capture_bytes = CAPTURE)).await;

    proxy.client().post(&origin.url("/v1/completions"), &[], b"{}").await.unwrap();

    let record = proxy.records().only().await;
    assert_eq!(record.text_at("/response/content").unwrap().len(), CAPTURE);
    assert_eq!(record.json.pointer("/flowgate/response/truncated"), Some(&true.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_without_number_that_lie_deep_are_blanked_and_cost_little_memory() {
    const GROWTH: u64 = 256 << 20;
    const DEPTH: usize = 120;
    let members = vec![r#"{"password":1}"#; 100_000].join(",");
    let content = ["[".repeat(DEPTH), members, "]".repeat(DEPTH)].concat();
    let coded = gzip(content.as_bytes());
    assert!(coded.len() < 64 << 10, "{}", coded.len());
    let origin = Origin::start(Setup::http1(), |_| Script::ok("{}")).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flowgate.toml"), "[redaction]\njson = ['$..password']\n").unwrap();
    let program = Program::start_in(folder, BINARY, &["--config", "flowgate.toml"]).await;
    let url = origin.url("/v1/completions");
    program.client().post(&url, &[], b"{}").await.unwrap();
    program.records().only().await;
    let before = peak(program.id());

    program.client().post(&url, &[("content-encoding", "gzip")], &coded).await.unwrap();

    let records = program.records().after(2).await;
    let (shown, text) = (r#"{"password":"[redacted]"}"#, |record: &flowgate_testkit::records::Record| {
        record.json.pointer("/request/content").unwrap().to_string()
    });
    let blanked = records.iter().map(|record| text(record).replace('\\', "").matches(shown).count()).max();
    assert_eq!(blanked, Some(100_000));
    let grown = peak(program.id()).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} octets more were resident");
}

#[tokio::test]
async fn what_is_kept_of_all_flows_is_bounded_and_records_say_so() {
    let large = vec![b'a'; 1 << 20];
    let answer = large.clone();
    let origin = Origin::start(Setup::tls(), move |seen| match seen.target.as_str() {
        "/v1/large/completions" => Script::ok(answer.clone()),
        _ => Script::ok("small"),
    })
    .await;
    let proxy = Proxy::start(Options::new().change(|config| config.limits.captured_bytes = 64 << 10)).await;
    let ask = async |path: &str| proxy.client().post(&origin.url(path), &[], b"{}").await.unwrap();

    assert_eq!(ask("/v1/large/completions").await.content, large);

    let record = proxy.records().only().await;
    let kept = record.text_at("/response/content").unwrap().len();
    assert!((1..64 << 10).contains(&kept), "{kept}");
    assert_eq!(record.json.pointer("/flowgate/response/truncated"), Some(&true.into()));
    assert_eq!(record.json.pointer("/flowgate/response/wire_length"), Some(&(1 << 20).into()));
    // What was kept has been seen, and makes room for others.
    ask("/v1/small/completions").await;
    let records = proxy.records().after(2).await;
    assert!(records.iter().any(|record| record.text_at("/response/content") == Some("small")), "{records:?}");
}
