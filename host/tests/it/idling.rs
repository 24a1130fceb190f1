//! Thousands of connections on which nothing happens, and hundreds that drip: what they cost, and that newcomers do not feel them.
//!
//! Takes more descriptors than a test usually has: `ulimit -n 65536; cargo test --workspace --test it -- --ignored idling --nocapture`.

use std::time::{Duration, Instant};

use flowgate_testkit::{
    Origin, Script, Setup,
    client::{Client, H1, request},
    program::Program,
};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");
const TUNNELS: usize = 5000;
const DRIPPING: usize = 500;
/// Clients that come while all of them are there.
const NEWCOMERS: usize = 50;
/// In which 95 of 100 of these are served, from the first packet to the last octet of the answer.
const SERVED: Duration = Duration::from_millis(100);
/// Descriptors that this process takes.
const DESCRIPTORS: usize = TUNNELS + DRIPPING + 1000;

/// In octets.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// How many descriptors this process, and what it starts, may have.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

async fn served(client: &Client, url: &str) -> Duration {
    let begun = Instant::now();
    assert_eq!(client.get(url).await.unwrap().status(), 200);
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes thousands of descriptors, and measures"]
async fn newcomers_are_served_beside_five_thousand_idle_tunnels_and_five_hundred_that_drip() {
    assert!(descriptors() >= 2 * DESCRIPTORS, "this takes {} descriptors: run `ulimit -n 65536` before", 2 * DESCRIPTORS);
    let origin = Origin::start(Setup::http1(), |_| Script::ok("ok").close()).await;
    let program = Program::start(BINARY, &["--intercept", "*"]).await;
    let (client, url) = (program.client(), origin.root());
    for _ in 0..NEWCOMERS {
        served(&client, &url).await;
    }
    let before = resident(program.id());

    let mut idle = Vec::with_capacity(TUNNELS);
    for at in 0..TUNNELS {
        // As an editor leaves them: some have carried a request, all have their TLS.
        let mut tunnel = client.h1(&origin.authority()).await.unwrap();
        if at % 10 == 0 {
            tunnel.exchange(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();
        }
        idle.push(tunnel);
    }
    let after = resident(program.id());
    let mut dripping: Vec<H1> = Vec::with_capacity(DRIPPING);
    for _ in 0..DRIPPING {
        let mut connection = client.to_proxy().await.unwrap();
        connection.send("GET http://a.test/ HTTP/1.1\r\nX-Slow: ").await.unwrap();
        dripping.push(connection);
    }

    let mut times = Vec::with_capacity(NEWCOMERS);
    for _ in 0..NEWCOMERS {
        for connection in &mut dripping {
            // Those that took too long have been closed.
            let _ = connection.send("x").await;
        }
        times.push(served(&client, &url).await);
    }

    times.sort();
    let (middle, most) = (times[NEWCOMERS / 2], times[NEWCOMERS * 95 / 100]);
    println!("beside {TUNNELS} idle tunnels and {DRIPPING} that drip: a newcomer is served in {middle:?}, 95 of 100 in {most:?}");
    println!("an idle intercepted connection takes {} octets", after.saturating_sub(before) / TUNNELS);
    assert!(most < SERVED, "{most:?}");
    drop((idle, dripping));
    let (code, _) = program.terminate().await;
    assert_eq!(code, Some(0));
}
