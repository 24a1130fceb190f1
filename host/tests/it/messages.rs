//! WebSocket messages: observed without a trace on the wire, and filtered.

use flowgate::config::OnFailure;
use flowgate_testkit::{
    Gate, Origin, Setup, Trouble,
    client::request,
    guests::{CHAMELEON, MEDIATOR},
    proxy::{Options, Proxy},
    websocket::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, switched},
    within,
};
use serde_json::{Value, json};

const DEFLATE: &str = "permessage-deflate";

/// A proxy with a chameleon of that configuration and nothing else.
async fn proxy(config: Value) -> Proxy {
    Proxy::start(options(config)).await
}

fn options(mut config: Value) -> Options {
    config["name"] = "watcher".into();
    Options::new().without_logger().component("watcher", CHAMELEON).plugin("watcher", config)
}

/// A proxy with a mediator of that configuration and nothing else.
async fn mediated(config: Value) -> Proxy {
    Proxy::start(mediator("mediator", config, OnFailure::Pass, Options::new().without_logger())).await
}

fn mediator(name: &str, mut config: Value, on_failure: OnFailure, options: Options) -> Options {
    config["name"] = name.into();
    options.component(name, MEDIATOR).plugin_with(name, move |plugin| {
        plugin.config = config;
        plugin.on_failure = on_failure;
        plugin.instances = 1;
        plugin.wall = std::time::Duration::from_millis(500);
    })
}

/// Answers each message with the same, and closes when told to.
async fn echoing(extensions: Option<&'static str>) -> Origin {
    Origin::speaking(Setup::http1(), move |wire| async move {
        let Ok(mut socket) = WebSocket::accept(wire, extensions).await else { return };
        if let Some(extensions) = extensions {
            socket = socket.deflating(extensions.contains("server_no"), extensions.contains("client_no"));
        }
        while let Ok(message) = socket.next().await {
            let answered = match message.opcode {
                PING => socket.send(PONG, &message.content).await,
                opcode => socket.send(opcode, &message.content).await,
            };
            if message.opcode == CLOSE || answered.is_err() {
                break;
            }
        }
        let _ = socket.wire().finish().await;
        socket.wire().rest().await;
    })
    .await
}

async fn open(proxy: &Proxy, origin: &Origin, extensions: Option<&str>) -> WebSocket {
    let socket = WebSocket::open(&proxy.client(), &origin.authority(), "/ws", extensions).await.unwrap();
    match extensions {
        Some(extensions) => socket.deflating(extensions.contains("client_no"), extensions.contains("server_no")),
        None => socket,
    }
}

/// What the chameleon noted, when everything is told and written.
async fn noted(proxy: Proxy) -> Vec<String> {
    let path = proxy.config().logs_dir.join("watcher/messages");
    let _folder = proxy.stop().await;
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn close(mut socket: WebSocket) {
    socket.send(CLOSE, &1000_u16.to_be_bytes()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().opcode, CLOSE);
    assert_eq!(socket.wire().rest().await.1, Trouble::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn observers_hear_everything_in_order_and_its_end_last() {
    let origin = echoing(None).await;
    let proxy = proxy(json!({ "messages": "messages" })).await;
    let mut socket = open(&proxy, &origin, None).await;

    for (opcode, content) in [(TEXT, "one"), (BINARY, "two")] {
        socket.send(opcode, content.as_bytes()).await.unwrap();
        assert_eq!(socket.hear().await.unwrap(), content);
    }
    close(socket).await;

    let expected = [
        "0 client text 3 one",
        "1 origin text 3 one",
        "2 client binary 3 two",
        "3 origin binary 3 two",
        "4 client closed 2 \\x03\\xe8",
        "5 origin closed 2 \\x03\\xe8",
        "end 0 1 2 3 4 5",
    ];
    assert_eq!(noted(proxy).await, expected);
}

/// What a client and an origin of no discipline say to each other, and what of it are messages.
fn conversation(socket: &mut WebSocket, tag: &str) -> (Vec<u8>, usize) {
    let one = socket.compress(format!("compressed by {tag}, compressed by {tag}").as_bytes());
    let two = socket.compress(format!("again compressed by {tag}").as_bytes());
    let octets = [
        socket.frame(false, false, TEXT, b"in "),
        socket.frame(true, false, PING, b"between"),
        socket.frame(false, false, CONTINUATION, b""),
        socket.frame(true, false, CONTINUATION, tag.as_bytes()),
        socket.frame(false, true, TEXT, &one[..7]),
        socket.frame(true, false, CONTINUATION, &one[7..]),
        socket.frame(true, false, BINARY, &[7; 70_000]),
        socket.frame(true, true, TEXT, &two),
        socket.frame(true, false, TEXT, b""),
        socket.frame(true, false, CLOSE, b"\x03\xe8bye"),
    ];
    (octets.concat(), 6)
}

#[tokio::test(flavor = "multi_thread")]
async fn not_an_octet_changes_under_observation() {
    let (gate, ended, seen) = (Gate::new(), Gate::new(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let (open_gate, heard, done, ended) = (gate.clone(), seen.clone(), ended.clone(), ended);
    let origin = Origin::speaking(Setup::http1(), move |mut wire| {
        let (gate, seen, done) = (gate.clone(), heard.clone(), done.clone());
        async move {
            let head = wire.until(b"\r\n\r\n").await.unwrap();
            let mut unused = WebSocket::server(wire).deflating(false, false);
            let (said, _) = conversation(&mut unused, "origin");
            // The first frames right behind the head.
            unused.wire().send([&switched(Some(DEFLATE))[..], &said[..40]].concat()).await.unwrap();
            gate.passed().await;
            unused.wire().send(&said[40..]).await.unwrap();
            unused.wire().finish().await.unwrap();
            let (octets, _) = unused.wire().rest().await;
            *seen.lock().unwrap() = vec![head.to_vec(), octets.to_vec(), said];
            done.open();
        }
    })
    .await;
    let proxy = proxy(json!({ "messages": "messages" })).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Protocol", "chat, superchat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ];
    let asked = request("GET", "/ws", "x", &fields, b"");
    connection.send(&asked).await.unwrap();
    let head = connection.head().await.unwrap();
    let mut socket = WebSocket::client(connection.into_wire()).deflating(false, false);
    let (said, count) = conversation(&mut socket, "client");

    assert_eq!(head.octets(), switched(Some(DEFLATE)));
    // What the origin has said so far is here before it says more.
    let begin = socket.wire().exactly(40).await.unwrap();
    for piece in said.chunks(33) {
        socket.wire().send(piece).await.unwrap();
    }
    open_gate.open();
    let (rest, end) = socket.wire().rest().await;
    assert_eq!(end, Trouble::Closed);
    socket.wire().finish().await.unwrap();
    within("the origin's end", ended.passed()).await;

    drop(socket);
    let lines = noted(proxy).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!((seen[0] == asked, seen[1] == said), (true, true), "{:?}", String::from_utf8_lossy(&seen[0]));
    assert!(seen[2] == [&begin[..], &rest[..]].concat());
    assert_eq!(lines.len(), 2 * count + 1, "{lines:#?}");
    for who in ["client", "origin"] {
        let told: Vec<String> =
            lines.iter().filter_map(|line| line.split_once(&format!(" {who} ")).map(|(_, rest)| rest.to_owned())).collect();
        let expected = [
            format!("text 9 in {who}"),
            format!("text 42 compressed by {who}, compressed by {who}"),
            format!("binary 70000 {}", "\\x07".repeat(60)),
            format!("text 26 again compressed by {who}"),
            "text 0 ".to_owned(),
            "closed 5 \\x03\\xe8bye".to_owned(),
        ];
        assert_eq!(told, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_messages_are_all_heard_in_order() {
    const COUNT: usize = 10_000;
    let origin = echoing(None).await;
    let proxy = proxy(json!({ "messages": "messages" })).await;
    let mut socket = open(&proxy, &origin, None).await;

    let mut octets = Vec::new();
    for at in 0..COUNT {
        octets.extend(socket.message(TEXT, at.to_string().as_bytes()));
    }
    // Written while the answers are read: neither side waits for the other.
    socket.wire().send(octets).await.unwrap();
    for at in 0..COUNT {
        assert_eq!(socket.hear().await.unwrap(), at.to_string());
    }
    close(socket).await;

    let lines = noted(proxy).await;
    assert_eq!(lines.len(), 2 * COUNT + 3);
    for (sequence, line) in lines.iter().take(2 * COUNT).enumerate() {
        assert!(line.starts_with(&format!("{sequence} ")), "{line} in the place of {sequence}");
    }
    for who in ["client", "origin"] {
        let told = lines.iter().filter(|line| line.contains(&format!("{who} text"))).map(|line| line.rsplit(' ').next().unwrap());
        assert!(told.eq((0..COUNT).map(|at| at.to_string())), "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_are_told_of_as_far_as_the_rule_says() {
    let origin = echoing(None).await;
    let proxy = proxy(json!({ "messages": "messages", "limit": 5 })).await;
    let mut socket = open(&proxy, &origin, None).await;

    socket.say("0123456789").await.unwrap();
    assert_eq!(socket.hear().await.unwrap(), "0123456789");
    close(socket).await;

    assert_eq!(noted(proxy).await[..2], ["0 client text 10 01234", "1 origin text 10 01234"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_passes_and_is_told_of_no_further() {
    let bomb = WebSocket::client(wire().await).deflating(false, false).compress(&vec![0; 65 << 20]);
    let mut table = Vec::new();
    let mut client = WebSocket::client(wire().await);
    table.push(client.frame(true, false, 3, b"reserved"));
    table.push(client.frame(true, false, CONTINUATION, b"of nothing"));
    table.push(client.frame(true, true, TEXT, &[0xff; 30]));
    table.push(client.frame(true, true, BINARY, &bomb));
    for bad in table {
        // Sends back octets, whatever they are.
        let origin = Origin::speaking(Setup::http1(), |mut wire| async move {
            wire.until(b"\r\n\r\n").await.unwrap();
            wire.send(switched(Some(DEFLATE))).await.unwrap();
            while let Ok(octets) = wire.some(usize::MAX).await {
                wire.send(octets).await.unwrap();
            }
        })
        .await;
        let proxy = proxy(json!({ "messages": "messages" })).await;
        let mut socket = open(&proxy, &origin, Some(DEFLATE)).await;
        let good = socket.message(TEXT, b"good");
        let octets = [&good[..], &bad, &good].concat();

        socket.wire().send(&octets).await.unwrap();
        let echoed = socket.wire().exactly(octets.len()).await.unwrap();

        assert!(echoed == octets);
        drop(socket);
        let lines = noted(proxy).await;
        assert_eq!(lines.iter().filter(|line| line.ends_with(" client text 4 good")).count(), 1, "{lines:?}");
        assert_eq!(lines.len(), 3, "{lines:?}");
    }
}

/// Some connection: what is encoded for it is sent elsewhere.
async fn wire() -> flowgate_testkit::wire::Wire {
    let origin = Origin::silent().await;
    flowgate_testkit::Client::direct().tunnel(&origin.authority()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_that_fails_costs_what_it_was_told_and_nothing_else() {
    for misdeed in ["trap", "spin", "hog"] {
        let origin = echoing(None).await;
        let config = json!({ "messages": "messages", "on_message_passed": misdeed, "passed_at": 2 });
        let proxy = proxy(config).await;
        let mut socket = open(&proxy, &origin, None).await;
        let mut neighbour = open(&proxy, &origin, None).await;

        for (at, socket) in [(0, &mut socket), (1, &mut neighbour)] {
            for message in ["one", "two"] {
                socket.say(message).await.unwrap();
                assert_eq!(socket.hear().await.unwrap(), message, "{misdeed} {at}");
            }
        }
        close(socket).await;
        drop(neighbour);

        let lines = noted(proxy).await;
        // Two messages of each are heard before it fails; the ends are, unless it is suspended by then.
        assert_eq!(lines.iter().filter(|line| line.ends_with(" text 3 one")).count(), 4, "{misdeed}: {lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("end") || line.ends_with("one")), "{misdeed}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_replaces_words_and_both_ends_still_inflate() {
    let agreements = [
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=15; client_max_window_bits=9",
    ];
    for agreed in agreements {
        let origin = echoing(Some(agreed)).await;
        let proxy = mediated(json!({ "act": "replace", "by": "lie" })).await;
        let mut socket = open(&proxy, &origin, Some(agreed)).await;

        // Each refers to those before it, if it may.
        for at in 0..30 {
            let secret = if at % 3 == 0 { "secret " } else { "" };
            let said = format!("a {secret}sentence that is said again and again, for the {at}. time. {}", "x".repeat(at * at));
            socket.say(&said).await.unwrap();
            assert_eq!(socket.hear().await.unwrap(), said.replace("secret", "lie"), "{agreed}");
        }
        let noise: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for _ in 0..3 {
            socket.send(BINARY, &noise).await.unwrap();
            assert!(socket.next().await.unwrap().content == noise);
        }
        close(socket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_may_drop_a_message_and_change_its_kind() {
    let origin = echoing(Some(DEFLATE)).await;
    let dropping = mediated(json!({ "act": "discard-word" })).await;
    let mut socket = open(&dropping, &origin, Some(DEFLATE)).await;
    for message in ["one one one", "one secret one", "one one one"] {
        socket.say(message).await.unwrap();
    }
    assert_eq!((socket.hear().await.unwrap(), socket.hear().await.unwrap()), ("one one one".into(), "one one one".into()));
    close(socket).await;

    let turning = mediated(json!({ "act": "other-kind", "of": "client" })).await;
    let mut socket = open(&turning, &origin, Some(DEFLATE)).await;
    socket.say("text").await.unwrap();
    let message = socket.next().await.unwrap();
    assert_eq!((message.opcode, message.as_text()), (BINARY, "text".to_owned()));
    close(socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_frames_pass_in_the_middle_of_a_message_that_is_held() {
    let origin = echoing(None).await;
    let proxy = mediated(json!({ "act": "replace" })).await;
    let mut socket = open(&proxy, &origin, None).await;

    let octets = [socket.frame(false, false, TEXT, b"sec"), socket.frame(true, false, PING, b"ping")].concat();
    socket.wire().send(octets).await.unwrap();
    let pong = socket.next().await.unwrap();
    let octets = [socket.frame(false, false, CONTINUATION, b""), socket.frame(true, false, CONTINUATION, b"ret")].concat();
    socket.wire().send(octets).await.unwrap();
    let whole = socket.next_frame().await.unwrap();

    assert_eq!((pong.opcode, pong.as_text()), (PONG, "ping".to_owned()));
    assert_eq!((whole.is_last, &whole.content[..]), (true, &b"******"[..]));
    close(socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_closes_both_ways_and_the_message_is_not_sent() {
    let (heard, ended) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::new())), Gate::new());
    let (hearing, ending) = (heard.clone(), ended.clone());
    let origin = Origin::speaking(Setup::http1(), move |wire| {
        let (heard, ended) = (hearing.clone(), ending.clone());
        async move {
            let mut socket = WebSocket::accept(wire, None).await.unwrap();
            while let Ok(message) = socket.next().await {
                heard.lock().unwrap().push(message);
            }
            ended.open();
        }
    })
    .await;
    let proxy = mediated(json!({ "act": "close", "code": 4001, "at": 1 })).await;
    let mut socket = open(&proxy, &origin, None).await;

    socket.say("one").await.unwrap();
    socket.say("two").await.unwrap();
    let told = socket.next().await.unwrap();
    let end = socket.wire().rest().await;
    within("the origin's end", ended.passed()).await;

    assert_eq!((told.opcode, &told.content[..], end.1), (CLOSE, &4001_u16.to_be_bytes()[..], Trouble::Closed));
    let heard: Vec<(u8, Vec<u8>)> = heard.lock().unwrap().iter().map(|message| (message.opcode, message.content.clone())).collect();
    assert_eq!(heard, [(TEXT, b"one".to_vec()), (CLOSE, 4001_u16.to_be_bytes().to_vec())]);
}

/// What a client is told with the close frame that ends its connection.
async fn closed(socket: &mut WebSocket) -> u16 {
    let told = socket.next().await.unwrap();
    assert_eq!(told.opcode, CLOSE);
    let code = u16::from_be_bytes(told.content[..2].try_into().unwrap());
    assert_eq!(socket.wire().rest().await.1, Trouble::Closed);
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_fails_follows_its_policy() {
    let origin = echoing(None).await;
    for misdeed in ["trap", "spin", "hog", "sleep"] {
        let proxy = mediated(json!({ "act": misdeed, "of": "client", "at": 1 })).await;
        let mut socket = open(&proxy, &origin, None).await;
        for message in ["one", "two", "three"] {
            socket.say(message).await.unwrap();
            assert_eq!(socket.hear().await.unwrap(), message, "{misdeed}");
        }
        close(socket).await;
    }
    let options =
        mediator("mediator", json!({ "act": "trap", "of": "client", "at": 1 }), OnFailure::Refuse, Options::new().without_logger());
    let proxy = Proxy::start(options).await;
    let mut socket = open(&proxy, &origin, None).await;
    let mut neighbour = open(&proxy, &origin, None).await;
    socket.say("one").await.unwrap();
    assert_eq!(socket.hear().await.unwrap(), "one");
    socket.say("two").await.unwrap();
    assert_eq!(closed(&mut socket).await, 1011);
    neighbour.say("one").await.unwrap();
    assert_eq!(neighbour.hear().await.unwrap(), "one");
    close(neighbour).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_served_while_a_filter_loops() {
    let origin = echoing(None).await;
    let options = mediator("mediator", json!({ "act": "spin" }), OnFailure::Pass, Options::new().without_logger());
    let proxy = Proxy::start(options.plugin_with("mediator", |plugin| plugin.instances = 4)).await;
    let mut looping = open(&proxy, &origin, None).await;
    looping.say("one").await.unwrap();

    let served = (0..16).map(|_| async {
        let mut socket = open(&proxy, &origin, None).await;
        socket.say("hi").await.unwrap();
        assert_eq!(socket.hear().await.unwrap(), "hi");
    });
    for served in served {
        served.await;
    }

    assert_eq!(looping.hear().await.unwrap(), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_too_long_to_hold_pass_in_pieces_or_close() {
    let long = "secret ".repeat(30_000);
    for extensions in [None, Some(DEFLATE)] {
        let origin = echoing(extensions).await;
        let proxy = mediated(json!({ "act": "replace", "limit": 1000 })).await;
        let mut socket = open(&proxy, &origin, extensions).await;
        for (said, heard) in [("a secret", "a ******"), (&long, &long), ("a secret", "a ******")] {
            socket.say(said).await.unwrap();
            assert!(socket.hear().await.unwrap() == heard);
        }
        close(socket).await;

        let refusing = mediator("mediator", json!({ "limit": 1000 }), OnFailure::Refuse, Options::new().without_logger());
        let proxy = Proxy::start(refusing).await;
        let mut socket = open(&proxy, &origin, extensions).await;
        socket.say(&long).await.unwrap();
        assert_eq!(closed(&mut socket).await, 1009);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_let_past_a_filter() {
    let origin = echoing(None).await;
    let proxy = mediated(json!({})).await;
    let mut socket = open(&proxy, &origin, None).await;
    let bad = socket.frame(true, false, 3, b"reserved");
    socket.wire().send(bad).await.unwrap();
    assert_eq!(closed(&mut socket).await, 1002);

    let origin = echoing(Some("x-unknown")).await;
    let plain = |proxy: &Proxy| {
        let (client, authority) = (proxy.client(), origin.authority());
        async move { WebSocket::open(&client, &authority, "/ws", Some("x-unknown")).await.unwrap() }
    };
    let refusing = mediator("mediator", json!({}), OnFailure::Refuse, Options::new().without_logger());
    let refusing = Proxy::start(refusing).await;
    assert_eq!(closed(&mut plain(&refusing).await).await, 1011);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_asked_in_order_and_back_and_observers_hear_what_was_sent() {
    let origin = echoing(None).await;
    let swap = |word: &str, by: &str, of: &str| json!({ "act": "replace", "word": word, "by": by, "of": of });
    let options = options(json!({ "messages": "messages" }));
    let options = mediator("a", swap("1", "2", "client"), OnFailure::Pass, options);
    let options = mediator("b", swap("2", "3", "client"), OnFailure::Pass, options);
    let options = mediator("c", swap("4", "5", "origin"), OnFailure::Pass, options);
    let options = mediator("d", swap("3", "4", "origin"), OnFailure::Pass, options);
    let proxy = Proxy::start(options).await;
    let mut socket = open(&proxy, &origin, None).await;

    socket.say("1").await.unwrap();
    assert_eq!(socket.hear().await.unwrap(), "5");
    close(socket).await;

    assert_eq!(noted(proxy).await[..2], ["0 client text 1 3", "1 origin text 1 5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_heard_in_clear_too_in_absolute_form_and_in_a_tunnel() {
    let origin = Origin::speaking(Setup::clear(), |wire| async move {
        let mut socket = WebSocket::accept(wire, None).await.unwrap();
        while let Ok(message) = socket.next().await {
            socket.send(message.opcode, &message.content).await.unwrap();
        }
    })
    .await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let proxy = proxy(json!({ "messages": "messages" })).await;
    let mut absolute = proxy.client().to_proxy().await.unwrap();
    absolute.send(request("GET", &origin.url("/ws"), &origin.authority(), &fields, b"")).await.unwrap();
    let mut tunnel = proxy.client().clear(&origin.authority()).await.unwrap();
    tunnel.send(request("GET", "/ws", &origin.authority(), &fields, b"")).await.unwrap();

    for mut connection in [absolute, tunnel] {
        assert_eq!(connection.head().await.unwrap().status(), 101);
        let mut socket = WebSocket::client(connection.into_wire());
        socket.say("hi").await.unwrap();
        assert_eq!(socket.hear().await.unwrap(), "hi");
        // Half-closed, the other half still speaks.
        socket.wire().finish().await.unwrap();
        assert_eq!(socket.wire().rest().await.1, Trouble::Closed);
    }

    let lines = noted(proxy).await;
    assert_eq!(lines.iter().filter(|line| line.ends_with("text 2 hi")).count(), 4, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| *line == "end 0 1").count(), 2, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_missed_by_the_origin_at_once() {
    for filtered in [false, true] {
        let ended = Gate::new();
        let ending = ended.clone();
        let origin = Origin::speaking(Setup::http1(), move |wire| {
            let ended = ending.clone();
            async move {
                let mut socket = WebSocket::accept(wire, None).await.unwrap();
                socket.wire().rest().await;
                ended.open();
            }
        })
        .await;
        let proxy = if filtered { mediated(json!({})).await } else { proxy(json!({})).await };
        let socket = open(&proxy, &origin, None).await;

        drop(socket);

        within("the client's leaving", ended.passed()).await;
    }
}
