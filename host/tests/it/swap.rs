//! Hot swap: a build takes up service whole or not at all, and no flow notices.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use flowgate::{plugin::LOGGER_WASM, tasks::Tasks};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::request,
    component, guests,
    proxy::{Options, Proxy},
    within,
};
use serde_json::json;

use crate::copilot;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_flows_during_fifty_swaps_lose_nothing() {
    const CLIENTS: usize = 16;
    const FLOWS: usize = 1000;
    const SWAPS: usize = 50;
    let origin = Origin::start(Setup::http1(), |_| Script::new(200).chunked().data("data: x\n\n").data("data: [DONE]\n\n")).await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let (load, turn) = (Tasks::new(), Gate::new());
    let (next, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..CLIENTS {
        let (client, target, turn, next, failed) = (proxy.client_as("ana", ""), target.clone(), turn.clone(), next.clone(), failed.clone());
        load.spawn(async move {
            let mut connection = client.h1(&target).await.expect("a tunnel");
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id >= FLOWS {
                    return;
                }
                turn.passed().await;
                let response = connection.exchange(copilot::completion(copilot::HOST, &id.to_string(), b"{}")).await;
                if !response.is_ok_and(|response| response.status() == 200 && response.text() == "data: x\n\ndata: [DONE]\n\n") {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    // Flows keep running: as many are let through for each swap as it takes to spread them over all swaps.
    let broken = broken_builds();
    for swap in 0..SWAPS {
        turn.open_for(FLOWS / SWAPS);
        match swap % 2 {
            0 => {
                let build = component::variant(LOGGER_WASM, swap as u32);
                proxy.put_plugin("logger", &build);
                let hash = component::hash(&build);
                proxy.until_plugins("the new logger", |plugins| plugins.iter().any(|plugin| plugin.hash == hash)).await;
            }
            _ => {
                let refused = proxy.refusal_of("logger");
                proxy.put_plugin("logger", &broken[swap / 2 % broken.len()]);
                refused.await;
            }
        }
    }
    assert!(within("the end of the load", load.ended(flowgate_testkit::PATIENCE)).await);

    assert_eq!(failed.load(Ordering::Relaxed), 0, "flows failed");
    let records = proxy.records().after(FLOWS).await;
    let ids: BTreeSet<&str> = records.iter().filter_map(|record| record.request_field("x-request-id")).collect();
    assert_eq!((records.len(), ids.len()), (FLOWS, FLOWS), "none missing, none twice");
}

#[tokio::test]
async fn a_flow_ends_on_the_build_it_began_with() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::tls(), {
        let gate = gate.clone();
        move |_| Script::new(200).field("x-told", "0").hold(&gate).data("late")
    })
    .await;
    let settings = |version: &str| json!({ "version": version, "journal": "journal" });
    let options = Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings("1"));
    let proxy = Proxy::start(options).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/", "x", &[], b"")).await.unwrap();
    let answer = connection.begin("GET").await.unwrap();
    let first = proxy.plugins();

    let second = component::variant(guests::CHAMELEON, 1);
    proxy.put_plugin("chameleon", &second);
    let now = proxy.until_plugins("the new build", |plugins| plugins.iter().any(|plugin| plugin.hash == component::hash(&second))).await;
    gate.open();
    let response = answer.finish().await;

    assert_ne!(first, now);
    assert_eq!((response.text(), response.trouble), ("late".to_owned(), None));
    let folder = proxy.stop().await;
    let journal = std::fs::read_to_string(folder.path().join("logs/chameleon/journal")).unwrap();
    assert_eq!(journal.lines().filter(|line| line.starts_with("on-flow-end")).count(), 1, "{journal}");
}

#[tokio::test]
async fn a_broken_build_never_replaces_a_good_one() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let before: Vec<String> = proxy.plugins().into_iter().map(|plugin| plugin.hash).collect();
    let mut connection = proxy.client().h1(&target).await.unwrap();
    let builds = broken_builds();

    for (at, build) in builds.iter().enumerate() {
        let refused = proxy.refusal_of("logger");
        proxy.put_plugin("logger", build);
        let reason = refused.await;
        assert!(!reason.is_empty());
        assert_eq!(proxy.plugins().into_iter().map(|plugin| plugin.hash).collect::<Vec<_>>(), before, "{reason}");
        connection.exchange(copilot::completion(copilot::HOST, &at.to_string(), b"{}")).await.unwrap();
    }

    assert_eq!(proxy.records().after(builds.len()).await.len(), builds.len());
}

#[tokio::test]
async fn a_misnamed_component_is_told_its_name() {
    let proxy = Proxy::start(Options::new().granting("other")).await;
    let refused = proxy.refusal_of("other");

    proxy.put_plugin("other", guests::CHAMELEON);

    let reason = refused.await;
    assert!(reason.contains("rename the file to chameleon.wasm"), "{reason}");
}

#[tokio::test]
async fn the_built_in_logger_comes_back_when_its_replacement_goes() {
    let proxy = Proxy::start(Options::new()).await;
    let built_in = proxy.plugins();

    let build = component::variant(LOGGER_WASM, 1);
    proxy.put_plugin("logger", &build);
    proxy.until_plugins("the replacement", |plugins| plugins.iter().any(|plugin| plugin.hash == component::hash(&build))).await;
    proxy.take_plugin("logger");

    proxy.until_plugins("the built-in logger", |plugins| plugins == built_in).await;
}

#[tokio::test]
async fn a_file_that_is_written_slowly_is_taken_when_it_is_whole() {
    let origin = Origin::saying("origin").await;
    let settings = json!({ "on_request": "answer", "body": "guest" });
    let proxy = Proxy::start(Options::new().granting("chameleon").plugin("chameleon", settings)).await;
    std::fs::create_dir_all(proxy.plugins_dir()).unwrap();
    let component = guests::CHAMELEON.to_vec();

    // As `cp` writes: in place, piece by piece.
    let mut file = std::fs::File::create(proxy.plugins_dir().join("chameleon.wasm")).unwrap();
    for piece in component.chunks(component.len() / 7 + 1) {
        std::io::Write::write_all(&mut file, piece).unwrap();
        assert_eq!(proxy.client().get(&origin.root()).await.unwrap().text(), "origin");
    }
    drop(file);
    proxy.until_plugins("chameleon", |plugins| plugins.iter().any(|plugin| plugin.name == "chameleon")).await;

    assert_eq!(proxy.client().get(&origin.root()).await.unwrap().text(), "guest");
}

/// What is no logger: cut off, noise, nothing, a core module, an empty component, another plugin.
fn broken_builds() -> Vec<Vec<u8>> {
    let logger = LOGGER_WASM;
    vec![
        logger[..logger.len() / 2].to_vec(),
        (0..10_000_u32).map(|at| ((at * 7919) >> 3) as u8).collect(),
        Vec::new(),
        b"\0asm\x01\0\0\0".to_vec(),
        b"\0asm\x0d\0\x01\0".to_vec(),
        guests::CHAMELEON.to_vec(),
    ]
}
