//! Streams that stand still: how many there may be over all connections, and what they hold.
//!
//! What they hold is measured by `cargo test --workspace --test it -- --ignored stalling --nocapture`.

use std::time::Duration;

use bytes::Bytes;
use flowgate::config::LimitsConfig;
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::{H2, H2Answer, send_h2},
    program::Program,
    proxy::{Options, Proxy},
    within,
};
use http::Request;
use tokio::time::interval;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

fn get(origin: &Origin) -> Request<()> {
    Request::get(origin.root()).body(()).unwrap()
}

async fn held(connection: &mut H2, origin: &Origin) -> H2Answer {
    H2Answer::of(connection.begin(get(origin), true).await.unwrap().0).await.unwrap()
}

#[tokio::test]
async fn streams_of_all_connections_are_bounded_and_refused_beyond() {
    let bounds: [fn(&mut LimitsConfig); 2] = [|limits| limits.streams = 3, |limits| limits.streams_per_client = 3];
    for bound in bounds {
        let gate = Gate::new();
        let origin = Origin::start(Setup::http2(), {
            let gate = gate.clone();
            move |_| Script::new(200).data("some ").hold(&gate).data("of it")
        })
        .await;
        let proxy = Proxy::without_plugins(Options::new().change(move |config| bound(&mut config.limits))).await;
        let (mut one, mut other) =
            (proxy.client().h2(&origin.authority()).await.unwrap(), proxy.client().h2(&origin.authority()).await.unwrap());
        let streams = [held(&mut one, &origin).await, held(&mut one, &origin).await, held(&mut other, &origin).await];

        let (beyond, _) = other.begin(get(&origin), true).await.unwrap();
        let refused = H2Answer::of(beyond).await.err().unwrap().to_string();

        assert!(refused.contains("refused stream"), "{refused}");
        gate.open_for(streams.len() + 1);
        for stream in streams {
            assert_eq!(stream.finish().await.content, b"some of it");
        }
        // Those who waited have their turn, once the ends of the others have been seen.
        let next = within("a place for another stream", async {
            loop {
                if let Ok(answer) = H2Answer::of(other.begin(get(&origin), true).await.unwrap().0).await {
                    return answer.finish().await;
                }
            }
        });
        assert_eq!(next.await.content, b"some of it");
    }
}

/// In octets.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// The same, when it has not changed for a second.
async fn at_rest(process: u32) -> usize {
    let (mut looking, mut before, mut same) = (interval(Duration::from_millis(100)), 0, 0);
    while same < 10 {
        looking.tick().await;
        let now = resident(process);
        same = if now.abs_diff(before) < 1 << 20 { same + 1 } else { 0 };
        before = now;
    }
    before
}

/// Empty SETTINGS and their acknowledgement (RFC 9113 §6.5): streams may send 64 KiB, and no more if the window is never opened.
const SETTINGS: [u8; 18] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
const CONNECTIONS: usize = 8;
const STREAMS: usize = flowgate::config::limits::STREAMS as usize;
/// A stream and its head, as `docs/security.md` says.
const AT_MOST: usize = (640 + 128) << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes memory, and measures"]
async fn requests_to_an_origin_that_takes_nothing_hold_no_more_than_is_said() {
    let narrow = Origin::speaking(Setup::http2(), |mut wire| async move {
        wire.send(SETTINGS).await.unwrap();
        while wire.more().await.is_ok() {
            wire.discard(wire.held().len());
        }
    })
    .await;
    let program = Program::start(BINARY, &["--intercept", "*"]).await;
    let before = at_rest(program.id()).await;
    let content = Bytes::from(vec![b'x'; 256 << 10]);

    let (mut kept, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let mut connection = program.client().h2(&narrow.authority()).await.unwrap();
        for _ in 0..STREAMS {
            let fields = (0..60).fold(Request::post(narrow.root()), |head, at| head.header(format!("x-{at}"), "v".repeat(980)));
            let (answer, mut stream) = connection.begin(fields.body(()).unwrap(), false).await.unwrap();
            send_h2(&mut stream, content.clone(), false).await.unwrap();
            kept.push((answer, stream));
        }
        connections.push(connection);
        let each = at_rest(program.id()).await.saturating_sub(before) / kept.len();
        println!("{} requests whose origin takes nothing: {} KiB each", kept.len(), each >> 10);
        assert!(each < AT_MOST, "{each}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes memory, and measures"]
async fn answers_that_their_client_does_not_take_hold_no_more_than_is_said() {
    let origin = Origin::start(Setup::http2(), |_| Script::ok(vec![b'x'; 4 << 20])).await;
    let program = Program::start(BINARY, &["--intercept", "*"]).await;
    let before = at_rest(program.id()).await;

    let (mut kept, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let mut connection = program.client().h2(&origin.authority()).await.unwrap();
        for _ in 0..STREAMS {
            kept.push(connection.begin(get(&origin), true).await.unwrap());
        }
        connections.push(connection);
        let each = at_rest(program.id()).await.saturating_sub(before) / kept.len();
        println!("{} answers that nobody takes: {} KiB each", kept.len(), each >> 10);
        assert!(each < AT_MOST, "{each}");
    }
}
