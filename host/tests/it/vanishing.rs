//! Peers that vanish: nobody says that a connection has ended, what is sent to it goes nowhere, and nothing comes back.
//!
//! Opt-in, for it takes a network of its own, which `unshare` (util-linux) makes and `ip` (iproute2) takes apart:
//! `cargo test --workspace --test it -- --ignored vanishing`. Some machines and containers forbid user namespaces, and with them that; then it
//! fails and says so.

use std::{
    fs,
    net::Ipv4Addr,
    process::{Command, Output},
    time::Duration,
};

use flowgate_testkit::{
    Client, Failure, Gate, Origin, Script, Setup,
    client::{H1, request},
    origin::Act,
    proxy::{Options, Proxy},
    wire::Wire,
    within,
};
use tokio::time::interval;

/// Set in the network of its own.
const INSIDE: &str = "FLOWGATE_TEST_NETWORK";
const NAME: &str = "vanishing::peers_that_vanish_are_let_go";

/// What the proxy has for clients that vanish, beside loopback.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Where origins are.
const ORIGINS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Least time in which the system notices.
const SOON: Duration = Duration::from_secs(4);
/// Of connections and tunnels; as many are taken up by those who vanish.
const PLACES: usize = 4;
/// More than all buffers between two ends hold.
const HUGE: usize = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own"]
async fn peers_that_vanish_are_let_go() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    let mut again = Command::new("unshare");
    again.args(["--map-root-user", "--net", "--"]).arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", NAME]);
    let output = again.env(INSIDE, "own").output().unwrap_or_else(|error| panic!("running `unshare`, which is in util-linux: {error}"));
    let (said, failed) = texts(&output);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in a network of its own (if that is forbidden: `sysctl user.max_user_namespaces kernel.apparmor_restrict_unprivileged_userns` \
         say why, and a container may need --security-opt seccomp=unconfined):\n{said}{failed}"
    );
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("running `ip`, which is in iproute2: {error}"));
    assert!(output.status.success(), "ip {arguments}: {}", texts(&output).1);
}

/// From here on packets to it go nowhere.
fn cut(address: Ipv4Addr) {
    ip(&format!("address delete {address}/32 dev lo"));
}

fn mend(address: Ipv4Addr) {
    ip(&format!("address add {address}/32 dev lo"));
}

async fn inside() {
    ip("link set lo up");
    mend(CLIENTS);
    mend(ORIGINS);
    let origin = Origin::start(Setup::http1().at(ORIGINS), |seen| match seen.target.as_str() {
        "/held" => Script::ok("late").before(Act::Hold(Gate::new())),
        "/half" => Script::new(200).field("Content-Length", "10").data("half").hold(&Gate::new()),
        "/huge" => Script::ok(vec![b'x'; HUGE]),
        _ => Script::ok("whole"),
    })
    .await;
    let opaque = Origin::speaking(Setup::clear().at(ORIGINS), |mut wire| async move {
        while let Ok(octets) = wire.some(usize::MAX).await
            && wire.send(octets).await.is_ok()
        {}
    })
    .await;
    let options = Options::new().resolving("seen.test:443", &origin).resolving("spliced.test:443", &opaque).change(|config| {
        config.listen = vec![(Ipv4Addr::LOCALHOST, 0).into(), (CLIENTS, 0).into()];
        config.tunnel.push("spliced.test".to_owned());
        let limits = &mut config.limits;
        // One more for a connection that waits for its next request.
        (limits.connections, limits.tunnels_per_user, limits.origin_connections) = (PLACES, PLACES, PLACES + 1);
        (limits.keepalive, limits.content_idle) = (SOON, SOON);
    });
    let proxy = Proxy::without_plugins(options).await;
    let near = proxy.client_as("ana", "");
    let far = Client::through(proxy.addresses()[1], proxy.root_pem()).with_user("ana", "");

    let gone = Stages::reached(&far, &origin, "/huge").await;
    // That one is on its way at both ends.
    at_rest(2).await;
    cut(CLIENTS);
    served(&near).await;
    origin.journal().wait("the end of what nobody waits for", |requests, _| Some(()).filter(|()| gone_from(requests, "/held"))).await;
    origin.journal().wait("the end of what nobody takes", |requests, _| Some(()).filter(|()| gone_from(requests, "/huge"))).await;
    mend(CLIENTS);
    drop(gone);
    served(&far).await;

    let mut left = Stages::reached(&near, &origin, "/half").await;
    at_rest(0).await;
    cut(ORIGINS);
    // It may have tried once more, and then there was nobody to connect to.
    assert_eq!(left.held.response("GET").await.unwrap().status(), 502);
    assert!(left.answered.wire().more().await.is_err(), "it is broken off");
    assert!(left.spliced.more().await.is_err(), "it has ended");
    mend(ORIGINS);
    drop(left);
    served(&near).await;
    served(&far).await;
}

/// Waits until so many connections have their buffers full, and all others nothing on its way that is not acknowledged: for that, the system
/// waits far longer.
async fn at_rest(full: usize) {
    let mut looking = interval(Duration::from_millis(10));
    within("acknowledgements", async {
        loop {
            // The fifth column has what is not acknowledged, before a colon (proc(5)).
            let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
            let queues = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4)?.split(':').next());
            let under_way: Vec<_> = queues.map(|octets| usize::from_str_radix(octets, 16).unwrap()).filter(|octets| *octets > 0).collect();
            if under_way.len() == full && under_way.iter().all(|octets| *octets > 1 << 16) {
                return;
            }
            looking.tick().await;
        }
    })
    .await;
}

fn gone_from(requests: &[flowgate_testkit::Seen], target: &str) -> bool {
    requests.iter().all(|seen| seen.target != target || seen.gone.is_some())
}

/// Connections of one client, each with a tunnel, as far as they come.
struct Stages {
    _idle: H1,
    held: H1,
    /// As far as the head.
    answered: H1,
    spliced: Wire,
}

impl Stages {
    async fn reached(client: &Client, origin: &Origin, answer: &str) -> Self {
        let get = |path: &str| request("GET", path, "seen.test", &[], b"");
        let mut idle = with_room(|| client.h1("seen.test:443")).await;
        assert_eq!(idle.exchange(get("/")).await.unwrap().text(), "whole");
        let mut held = with_room(|| client.h1("seen.test:443")).await;
        held.send(get("/held")).await.unwrap();
        let mut answered = with_room(|| client.h1("seen.test:443")).await;
        answered.send(get(answer)).await.unwrap();
        assert_eq!(answered.head().await.unwrap().status(), 200);
        let spliced = echoing(client).await;
        let waits = |seen: &flowgate_testkit::Seen| seen.target == "/held" && seen.gone.is_none();
        origin.journal().wait("the request that is held", |requests, _| requests.iter().any(waits).then_some(())).await;
        Self { _idle: idle, held, answered, spliced }
    }
}

/// Tries again while there is no room for another tunnel: the proxy may not have noticed yet that others are gone.
async fn with_room<T>(attempt: impl AsyncFn() -> Result<T, Failure>) -> T {
    within("a place for a tunnel", async {
        loop {
            match attempt().await {
                Err(failure) if failure.refused_with() == Some(503) => tokio::task::yield_now().await,
                done => return done.unwrap(),
            }
        }
    })
    .await
}

async fn echoing(client: &Client) -> Wire {
    let mut wire = with_room(|| client.tunnel("spliced.test:443")).await;
    wire.send("hello").await.unwrap();
    assert_eq!(wire.exactly(5).await.unwrap(), "hello");
    wire
}

/// There is a place for as many as there may be, all at once.
async fn served(client: &Client) {
    let mut all = Vec::new();
    for _ in 0..PLACES {
        all.push(echoing(client).await);
    }
}
