//! Start, stop and sudden death.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use flowgate::tasks::Tasks;
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::request,
    program::Program,
    proxy::{Options, Proxy},
    records::Records,
    within,
};

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

#[tokio::test]
async fn a_stop_loses_no_record() {
    const FLOWS: usize = 40;
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    for at in 0..FLOWS {
        connection.exchange(copilot::completion(copilot::HOST, &at.to_string(), b"{}")).await.unwrap();
    }

    let folder = proxy.stop().await;

    assert_eq!(Records::in_folder(folder.path().join("logs")).all().len(), FLOWS);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |_| Script::events(copilot::events(3), &gate)
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let (client, address) = (proxy.client(), proxy.address());
    let mut connection = client.h1(&target).await.unwrap();
    connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    let mut answer = connection.begin("POST").await.unwrap();
    gate.open();
    answer.next().await.unwrap();

    let stopping = Tasks::new().spawn(proxy.stop());
    within("the end of accepting", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open_for(2);
    let response = answer.finish().await;

    assert_eq!((response.text(), response.trouble), (copilot::events(3).concat(), None));
    let folder = within("the stop", stopping).await.unwrap();
    assert_eq!(Records::in_folder(folder.path().join("logs")).all().len(), 1);
}

#[tokio::test]
async fn a_stop_cuts_off_what_takes_longer_than_the_grace() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |_| Script::events(copilot::events(3), &gate)
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let grace = std::time::Duration::from_secs(1);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin).change(move |config| config.grace = grace)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    let mut answer = connection.begin("POST").await.unwrap();
    gate.open();
    answer.next().await.unwrap();

    let folder = proxy.stop().await;

    assert!(!answer.finish().await.is_complete());
    let records = Records::in_folder(folder.path().join("logs")).all();
    assert_eq!(records.len(), 1, "what had passed is recorded");
    assert_eq!(records[0].text_at("/response/content"), Some(&*copilot::events(3)[0]));
    assert_eq!(records[0].text_at("/flowgate/outcome"), Some("origin-failed"));
    assert_eq!(records[0].text_at("/flowgate/cause"), Some("the proxy was stopped before the response had passed"));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), move |_| Script::events(copilot::events(3), &gate)).await;
    let program = Program::start(BINARY, &["--intercept", "*", "--grace", "1h"]).await;
    let mut connection = program.client().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();
    assert_eq!(connection.head().await.unwrap().status(), 200);

    program.ask_to_end().await;
    within("the end of accepting", async {
        while tokio::net::TcpStream::connect(program.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (code, _) = program.terminate().await;

    assert_eq!(code, Some(1), "it waited for nothing more");
}

#[tokio::test]
async fn traffic_goes_on_where_nobody_hears_what_is_said() {
    let origin = Origin::saying("ok").await;
    let ways = [
        ("closed", r#"exec "$0" "$@" 2>&-"#),
        ("full", r#"exec "$0" "$@" 2>/dev/full"#),
        ("a pipe that nobody empties", r#"mkfifo pipe && exec 3<>pipe && exec "$0" "$@" 2>pipe"#),
    ];
    for (what, script) in ways {
        let script = format!("export RUST_LOG=flowgate=trace,h2=trace,rustls=trace; {script}");
        let program = Program::start_under(&["sh", "-c", &script], BINARY, &["--intercept", "*"]).await;

        for round in 0..20 {
            let response = program.client().get(&origin.root()).await.unwrap();
            assert_eq!(response.text(), "ok", "{what}");
            if round == 10 {
                // What a terminal sends that goes away.
                program.hang_up().await;
            }
        }

        assert_eq!(program.terminate().await.0, Some(0), "{what}");
    }
}

#[tokio::test]
async fn the_binary_runs_records_and_ends_when_told() {
    let origin = Origin::saying("ok").await;
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let program = Program::start(BINARY, &["--resolve", &resolve]).await;
    let mut connection = program.client().with_user("ana", "").h1(&format!("{}:443", copilot::HOST)).await.unwrap();
    let response = connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

    let (code, folder) = program.terminate().await;

    assert_eq!((response.text(), code), ("ok".to_owned(), Some(0)));
    assert_eq!(Records::in_folder(folder.path().join("logs")).all().len(), 1);
}

#[tokio::test]
async fn a_second_start_uses_the_same_root() {
    let first = Program::start(BINARY, &[]).await;
    let root = first.root_pem().to_owned();
    let (_, folder) = first.terminate().await;

    let second = Program::start_in(folder, BINARY, &[]).await;

    assert_eq!(second.root_pem(), root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sudden_death_leaves_only_whole_records() {
    const BEFORE: usize = 200;
    let origin = Origin::start(Setup::http1(), |_| Script::ok("data: x\n\n".repeat(2000))).await;
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let program = Program::start(BINARY, &["--resolve", &resolve]).await;
    let (tasks, done) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..16 {
        let (client, done) = (program.client(), done.clone());
        tasks.spawn(async move {
            let Ok(mut connection) = client.h1(&format!("{}:443", copilot::HOST)).await else { return };
            // Until the proxy dies under it.
            while connection.exchange(copilot::completion(copilot::HOST, "1", &[b'x'; 10_000])).await.is_ok() {
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    program.records().after(BEFORE).await;

    let folder = program.kill().await;
    within("the end of the load", tasks.ended(flowgate_testkit::PATIENCE)).await;

    let records = Records::in_folder(folder.path().join("logs"));
    // Reading them panics where one is not whole.
    assert!(records.all().len() >= BEFORE, "{} answered, {} recorded", done.load(Ordering::Relaxed), records.all().len());
    let next = Program::start_in(folder, BINARY, &[]).await;
    let odd: Vec<_> = next.records().paths().into_iter().filter(|path| path.extension().is_none_or(|end| end != "json")).collect();
    assert!(odd.is_empty(), "the next start leaves {odd:?}");
}

#[tokio::test]
async fn a_key_is_never_left_where_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_, folder) = Program::start(BINARY, &[]).await.terminate().await;
    let state = folder.path().join("state");

    let keys: Vec<_> = Records::in_folder(&state)
        .paths()
        .into_iter()
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY")))
        .collect();

    assert_eq!(keys.len(), 1, "{keys:?}");
    for (path, mode) in [(keys[0].as_path(), 0o600), (state.as_path(), 0o700)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}

#[tokio::test]
async fn flows_under_way_do_not_hold_up_new_ones() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/quick" => Script::ok("quick"),
            _ => Script::new(200).hold(&gate).data("late"),
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
        connection.send(request("GET", "/held", "x", &[], b"")).await.unwrap();
        held.push(connection);
    }

    assert_eq!(proxy.client().get(&origin.url("/quick")).await.unwrap().text(), "quick");

    gate.open_for(held.len());
    for mut connection in held {
        assert_eq!(connection.response("GET").await.unwrap().text(), "late");
    }
}
