//! What one client may take up, and that others are served beside it.

use flowgate::{config::LimitsConfig, tasks::Tasks};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::{Client, request},
    program::Program,
    proxy::{Options, Proxy},
    within,
};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

fn limited(change: impl FnOnce(&mut LimitsConfig) + Send + 'static) -> Options {
    Options::new().change(move |config| change(&mut config.limits))
}

/// Waits until the proxy has noticed that a connection is gone.
async fn until_served(client: &Client, url: &str) {
    within("a place", async {
        while !client.get(url).await.is_ok_and(|response| response.status() == 200) {
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_client_with_too_many_connections_is_told_and_others_wait_for_nothing() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("ok")).await;
    let proxy = Proxy::without_plugins(limited(|limits| limits.connections_per_client = 2)).await;
    let held = [proxy.client().to_proxy().await.unwrap(), proxy.client().to_proxy().await.unwrap()];

    let refused = proxy.client().to_proxy().await.unwrap().begin("GET").await.unwrap().finish().await;

    assert_eq!((refused.status(), refused.head.get("proxy-status")), (503, Some("flowgate; error=connection_limit_reached")));
    assert!(refused.text().starts_with("flowgate: this client has as many connections"), "{}", refused.text());
    drop(held);
    until_served(&proxy.client(), &origin.root()).await;
}

#[tokio::test]
async fn connections_beyond_all_wait_and_are_served_then() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("ok")).await;
    let proxy = Proxy::without_plugins(limited(|limits| limits.connections = 1)).await;
    let mut first = proxy.client().to_proxy().await.unwrap();
    let get = request("GET", "/flowgate-ca.pem", "x", &[], b"");
    let mut held = proxy.client().to_proxy().await.unwrap();
    held.send(request("GET", "/", "x", &[], b"")).await.unwrap();

    let answered = first.exchange(get).await.unwrap();
    drop(first);

    assert_eq!(answered.status(), 200);
    assert_eq!(held.response("GET").await.unwrap().status(), 200, "it waited in the queue");
    drop(held);
    until_served(&proxy.client(), &origin.root()).await;
}

#[tokio::test]
async fn a_listener_that_nobody_comes_to_takes_no_place() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("ok")).await;
    let options = limited(|limits| limits.connections = 1).change(|config| config.listen = vec![([127, 0, 0, 1], 0).into(); 3]);
    let proxy = Proxy::without_plugins(options).await;

    for address in proxy.addresses() {
        until_served(&Client::through(*address, proxy.root_pem()), &origin.root()).await;
    }
}

#[tokio::test]
async fn a_user_with_too_many_tunnels_is_refused_and_others_are_not() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(limited(|limits| limits.tunnels_per_user = 2)).await;
    let (ana, bo) = (proxy.client_as("ana", ""), proxy.client_as("bo", ""));
    let held = [ana.h1(&origin.authority()).await.unwrap(), ana.h1(&origin.authority()).await.unwrap()];

    let refused = ana.tunnel(&origin.authority()).await.unwrap_err();

    assert_eq!(refused.refused_with(), Some(503));
    for other in [&bo, &proxy.client(), &proxy.client(), &proxy.client()] {
        assert_eq!(other.get(&origin.root()).await.unwrap().text(), "in");
    }
    drop(held);
    until_served(&ana, &origin.root()).await;
}

#[tokio::test]
async fn handshakes_beyond_their_number_wait_for_each_other() {
    let gate = Gate::new();
    let slow = Origin::speaking(Setup::clear(), {
        let gate = gate.clone();
        move |wire| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                drop(wire);
            }
        }
    })
    .await;
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(limited(|limits| limits.handshakes_per_client = 1)).await;
    // Its origin is asked what it speaks, and says nothing yet.
    let (client, authority) = (proxy.client(), slow.authority());
    let hanging = async { client.secure(&authority, &["h2", "http/1.1"]).await };

    let second = async {
        connected(&slow, 1).await;
        let (client, url) = (proxy.client(), origin.root());
        let mut waiting = std::pin::pin!(client.get(&url));
        // It has its tunnel, and no TLS before the other has it.
        let early = tokio::select! {
            biased;
            done = &mut waiting => Some(format!("{done:?}")),
            () = connected(&origin, 1) => Some("its origin was asked".to_owned()),
            () = proxied(&proxy) => None,
        };
        assert_eq!(early, None);
        gate.open();
        waiting.await.unwrap().text()
    };
    let (_, text) = tokio::join!(hanging, second);

    assert_eq!(text, "in");
}

async fn connected(origin: &Origin, connections: usize) {
    origin.journal().wait("a connection to the origin", |_, peers| (peers.len() >= connections).then_some(())).await
}

/// A few exchanges that need no handshake: whatever could have gone on meanwhile has.
async fn proxied(proxy: &Proxy) {
    for _ in 0..20 {
        let mut connection = proxy.client().to_proxy().await.unwrap();
        connection.exchange(request("GET", "/", "x", &[], b"")).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_makes_up_names_gets_certificates_at_a_bounded_rate() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("in")).await;
    // Twenty at once, and one more each second, for which nobody waits longer than two.
    let proxy = Proxy::without_plugins(limited(|limits| limits.leaves_per_client = 1)).await;
    proxy.client().get(&origin.root()).await.unwrap();
    let authority = origin.authority();
    let handshake = |name: String| {
        let (client, authority) = (proxy.client().with_server_name(&name), authority.clone());
        async move { client.secure(&authority, &["http/1.1"]).await.is_ok() }
    };

    let all: Vec<_> = (0..100).map(|number| Tasks::new().spawn(handshake(format!("made-up-{number}.test")))).collect();
    let mut served = 0;
    for handshake in all {
        served += usize::from(handshake.await.unwrap());
    }

    assert!((19..60).contains(&served), "{served} of 100 were served");
    assert_eq!(proxy.client().get(&origin.root()).await.unwrap().text(), "in", "what is known is not made anew");
}

#[tokio::test]
async fn connections_to_origins_are_bounded_in_all() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::clear(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/held" => Script::new(200).hold(&gate).data("late"),
            _ => Script::ok("ok").close(),
        }
    })
    .await;
    let proxy = Proxy::without_plugins(limited(|limits| limits.origin_connections = 1)).await;
    let (client, held_url) = (proxy.client(), origin.url("/held"));
    let held = async { client.get(&held_url).await.unwrap().text() };

    let next = async {
        connected(&origin, 1).await;
        let (other, url) = (proxy.client(), origin.url("/"));
        let mut waiting = std::pin::pin!(other.get(&url));
        let early = tokio::select! {
            biased;
            done = &mut waiting => Some(format!("{done:?}")),
            () = connected(&origin, 2) => Some("its origin was asked".to_owned()),
            () = proxied(&proxy) => None,
        };
        assert_eq!(early, None);
        gate.open();
        waiting.await.unwrap().text()
    };

    // The first is kept for the next request to that origin, so nothing is dialled for the second.
    assert_eq!(tokio::join!(held, next), ("late".to_owned(), "ok".to_owned()));
}

#[tokio::test]
async fn connections_that_are_kept_are_bounded_and_the_oldest_goes() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("ok")).await;
    let port = origin.address().port();
    let names: Vec<String> = (0..4).map(|number| format!("n{number}.test:{port}")).collect();
    let options = names.iter().fold(limited(|limits| limits.idle_origin_connections = 3), |options, name| options.resolving(name, &origin));
    let proxy = Proxy::without_plugins(options).await;
    let once = async |authority: &str| {
        let mut connection = proxy.client().h1(authority).await.unwrap();
        assert_eq!(connection.exchange(request("GET", "/", authority, &[], b"")).await.unwrap().status(), 200);
        origin.journal().peers().len()
    };

    let mut peers = Vec::new();
    for name in names.iter().chain([&names[3], &names[0]]) {
        peers.push(once(name).await);
    }

    assert_eq!(peers, [1, 2, 3, 4, 4, 5], "the last one was kept, the first one was not");
}

/// Lines are bounded by client, so each must say whose it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_request_over_http2_names_its_client() {
    let origin = Origin::start(Setup::tls(), |_| Script::new(200)).await;
    let program = Program::start(BINARY, &[]).await;
    let mut connection = program.client().h2(&origin.authority()).await.unwrap();
    let contradictory = http::Request::get(origin.url("/")).header("host", "other.test").body(bytes::Bytes::new()).unwrap();

    let response = connection.exchange(contradictory).await.unwrap();

    assert_eq!(response.status, 400);
    drop(connection);
    let said = program.terminate_and_hear().await;
    let line = said.lines().find(|line| line.contains("Host and :authority")).expect("it is said");
    assert!(line.contains("client=127.0.0.1:"), "{line}");
}
