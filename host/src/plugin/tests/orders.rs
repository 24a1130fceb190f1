//! What operators order: look now, go back, take other settings. Each is done whole or not at all.

use super::*;
use crate::plugin::{OnFailure, PluginState, Reloaded, hash::Hash};

/// A plan whose builds are kept, so that one can go back.
fn keeping(name: &str, config: Value) -> Plan {
    let mut plan = Plan::new().with(name, config);
    plan.settings.before = Some(plan.root.path().join("before"));
    plan
}

/// The hash of the build a flow meets.
fn serving(bench: &Bench, name: &str) -> String {
    bench.hash(name).expect("in service")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_goes_back_to_the_build_before() {
    let mut bench = keeping("x", recording()).start().await;
    let first = serving(&bench, "x");
    bench.swap("x", &variant(1));
    let second = bench.live("x").await;

    let info = bench.platform.rollback("x").await.expect("there is one before");

    assert_eq!((info.hash.as_str(), serving(&bench, "x")), (first.as_str(), first.clone()));
    let status = bench.platform.status().into_iter().find(|status| status.name == "x").expect("known");
    assert_eq!((status.state, status.rolled_back_from.as_deref()), (PluginState::Serving, Some(second.as_str())));
    bench.pass("/").await.expect("passed");

    // Its file still holds what was gone back from, and looking at it again changes nothing.
    bench.platform.reload().await.expect("done");
    assert_eq!(serving(&bench, "x"), first);
    // Something else in it does.
    bench.swap("x", &variant(2));
    let third = bench.live("x").await;
    assert_eq!(serving(&bench, "x"), third);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_newer_build_is_loaded_there_is_no_going_back() {
    let mut plan = keeping("x", json!({ "on_request_if_marked": "sleep" })).change("x", |own| own.wall = Duration::from_secs(3600));
    (plan.settings.replay, plan.settings.limits.replay.time) = (1, Duration::from_secs(3600));
    let mut bench = plan.start().await;
    bench.swap("x", &variant(1));
    let second = bench.live("x").await;
    bench.pass("/").await.expect("passed");

    // It hangs in the flow that it is tried on.
    bench.swap("x", &super::replaying::marked());
    timeout(PATIENCE, async {
        while !bench.platform.status().iter().any(|status| status.name == "x" && status.loading) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is being loaded");
    let error = bench.platform.rollback("x").await.expect_err("the newer one is on its way").to_string();

    assert!(error.contains("a newer build of plugin x is being loaded"), "{error}");
    let status = bench.platform.status().into_iter().find(|status| status.name == "x").expect("known");
    assert_eq!((status.loading, status.rolled_back_from), (true, None));
    assert_eq!(serving(&bench, "x"), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_wait_for_who_goes_back() {
    let mut bench = keeping("x", recording()).start().await;
    let first = serving(&bench, "x");
    bench.swap("x", &variant(1));
    bench.live("x").await;
    let mut settings = bench.settings.clone();
    settings.plugins.get_mut("x").expect("there").on_failure = OnFailure::Refuse;

    let (back, changed) = tokio::join!(bench.platform.rollback("x"), bench.platform.reconfigure(settings));

    assert_eq!(back.expect("there is one before").hash, first);
    assert_eq!(changed.expect("good settings"), ["x"]);
    assert_eq!(serving(&bench, "x"), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_outlives_a_restart() {
    let mut bench = keeping("x", recording()).start().await;
    let first = serving(&bench, "x");
    bench.swap("x", &variant(1));
    bench.live("x").await;
    bench.platform.rollback("x").await.expect("there is one before");
    bench.platform.close(PATIENCE).await;

    let Bench { root, settings, .. } = bench;
    let bench = Plan { root, settings }.start().await;

    assert_eq!(serving(&bench, "x"), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_build_before_there_is_no_going_back() {
    let bench = keeping("x", recording()).start().await;
    let first = serving(&bench, "x");

    let missing = bench.platform.rollback("x").await.expect_err("there is none").to_string();
    let unknown = bench.platform.rollback("y").await.expect_err("there is no such plugin").to_string();

    assert!(missing.contains("nothing to go back to"), "{missing}");
    assert!(unknown.contains("plugin y is not in service"), "{unknown}");
    assert_eq!(serving(&bench, "x"), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_became_of_each() {
    let mut plan = keeping("x", recording()).with("y", recording());
    plan.set("late", recording());
    let mut bench = plan.start().await;
    let outcome =
        |outcomes: &[crate::plugin::Reloading], name: &str| outcomes.iter().find(|one| one.name == name).map(|one| one.outcome.clone());

    bench.swap("y", b"no component");
    bench.refused("y").await;
    let outcomes = bench.platform.reload().await.expect("done");

    assert_eq!(outcome(&outcomes, "x"), Some(Reloaded::Unchanged));
    assert!(matches!(outcome(&outcomes, "y"), Some(Reloaded::Refused { reason }) if reason.contains("not WebAssembly")), "{outcomes:?}");
    assert_eq!(outcome(&outcomes, "late"), None);

    fs::remove_file(bench.file("y")).expect("removed");
    bench.platform.reload().await.expect("done");
    assert_eq!(bench.hash("y"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_taken_over_all_or_none() {
    let bench = Plan::new().with("x", json!({ "on_request": "trap" })).with("y", recording()).start().await;
    bench.request("/").await.expect("passed over");

    let mut refusing = bench.settings.clone();
    refusing.plugins.get_mut("x").expect("there").on_failure = OnFailure::Refuse;
    let changed = bench.platform.reconfigure(refusing.clone()).await.expect("good settings");
    assert_eq!(changed, ["x"]);
    bench.request("/").await.expect_err("its failure refuses now");

    let mut bad = refusing;
    bad.plugins.get_mut("x").expect("there").on_failure = OnFailure::Pass;
    bad.plugins.get_mut("y").expect("there").config = json!({ "name": "y", "configure": "fail" }).to_string();
    let error = format!("{:#}", bench.platform.reconfigure(bad).await.expect_err("one of them cannot be followed"));
    assert!(error.contains("plugin y cannot take its new settings") && error.contains("told to fail"), "{error}");
    bench.request("/").await.expect_err("nothing was taken over");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_plugins_are_swapped_while_settings_are_prepared() {
    let mut plan = Plan::new().with("y", recording());
    plan.set("x", json!({ "configure": "sleep" }));
    plan.put("x", CHAMELEON);
    let mut plan = plan.change("x", |own| own.enabled = false);
    plan.settings.limits.configure_wall = Duration::from_secs(3600);
    let mut bench = plan.start().await;
    let mut on = bench.settings.clone();
    on.plugins.get_mut("x").expect("there").enabled = true;
    let (platform, tasks) = (bench.platform.clone(), crate::tasks::Tasks::new());
    let preparing = tasks.spawn(async move { platform.reconfigure(on).await });

    bench.swap("y", &variant(1));
    bench.live("y").await;

    assert!(!preparing.is_finished());
    bench.platform.close(PATIENCE).await;
    preparing.await.expect("no panic").expect_err("it was broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_capture_is_taken_over() {
    let bench = Plan::new().with("x", recording()).start().await;
    let mut settings = bench.settings.clone();
    settings.capture_bytes = 7;

    bench.platform.reconfigure(settings).await.expect("good settings");

    let mut open = bench.open("/").expect("wanted");
    assert_eq!(open.course().0.request_needs().capture, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_can_be_switched_off_and_on() {
    let bench = Plan::new().with("x", recording()).start().await;
    let on = bench.settings.clone();
    let mut off = on.clone();
    off.plugins.get_mut("x").expect("there").enabled = false;

    bench.platform.reconfigure(off).await.expect("good settings");
    assert!(bench.open("/").is_none());
    bench.platform.reconfigure(on).await.expect("good settings");
    assert!(bench.open("/").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_of_before_are_freed_when_their_last_flow_has_ended() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let draining = |bench: &Bench| bench.platform.status().into_iter().find(|status| status.name == "x").map(|status| status.draining);
    let flow = bench.open("/").expect("wanted");

    bench.swap("x", &variant(1));
    bench.live("x").await;
    assert_eq!(draining(&bench), Some(1));

    drop(flow);
    timeout(PATIENCE, async {
        while draining(&bench) != Some(0) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("freed");
}

/// As many swaps as `SWAPS` says, a few by default; every build that comes is good, broken, cut short, renamed into place, written over or a link.
#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_load_lose_no_flow() {
    const CLIENTS: usize = 4;
    let swaps: usize = std::env::var("SWAPS").ok().and_then(|number| number.parse().ok()).unwrap_or(60);
    // No cache: thousands of variants would fill it.
    let bench = Plan::new().with("x", json!({ "on_response": "set-header", "records": ["all"], "write_mode": "append" })).start().await;
    let bench = Arc::new(bench);
    let (tasks, over) = (crate::tasks::Tasks::new(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (bench, over) = (bench.clone(), over.clone());
            tasks.spawn(async move {
                let mut flows = 0_usize;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut open = bench.open("/").expect("some build is in service at any time");
                    let id = lock(open.flow()).id.0;
                    let (course, flow) = open.course();
                    if let Some(reserved) = course.reserve() {
                        reserved.await;
                    }
                    course.request(flow, false).await.expect("passed");
                    tokio::task::yield_now().await;
                    answer(flow, "an answer");
                    let head = lock(flow).response.clone().expect("an answer");
                    course.response_needs(&head);
                    course.response(flow, false).await.expect("passed");
                    open.conclude(Outcome::Completed);
                    let explained = bench.platform.explain(id).expect("it is remembered");
                    let hashes: std::collections::BTreeSet<&str> = explained.steps.iter().map(|step| step.hash.as_str()).collect();
                    assert_eq!(hashes.len(), 1, "one flow met two builds: {explained:?}");
                    assert!(explained.steps.iter().all(|step| step.said == "proceed"), "{explained:?}");
                    flows += 1;
                }
                flows
            })
        })
        .collect();

    let good: Vec<Vec<u8>> = (0..4).map(variant).collect();
    let (mut memory, file) = (Vec::new(), bench.file("x"));
    for swap in 0..swaps {
        let octets = &good[swap % good.len()];
        match swap % 6 {
            1 => fs::write(&file, &octets[..octets.len() / 2]).expect("written"),
            3 => fs::write(&file, octets).expect("written"),
            4 => {
                let (beside, link) = (bench.root.path().join(format!("beside-{}", swap % good.len())), bench.root.path().join("link"));
                fs::write(&beside, octets).expect("written");
                // Removed first, it would be out of service for anyone who looks in between.
                std::os::unix::fs::symlink(&beside, &link).expect("linked");
                fs::rename(link, &file).expect("renamed");
            }
            5 => bench.swap("x", b"no component"),
            _ => bench.swap("x", octets),
        }
        bench.platform.reload().await.expect("looked at");
        let serving = bench.hash("x").expect("something is in service");
        let is_whole = !matches!(swap % 6, 1 | 5);
        match is_whole {
            true => assert_eq!(serving, Hash::of(octets).to_string(), "swap {swap}"),
            false => {
                assert!(good.iter().any(|good| serving == Hash::of(good).to_string()), "a broken build is in service after swap {swap}")
            }
        }
        if swap + 1 == swaps / 5 || swap + 1 == swaps {
            memory.push(resident());
        }
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut flows = 0;
    for client in clients {
        flows += client.await.expect("no flow failed");
    }

    let drained = async {
        while bench.platform.status().iter().any(|status| status.draining > 0) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, drained).await.expect("builds of before are freed");
    assert!(flows > 0);
    let counts = bench.platform.counts("x").expect("in service");
    assert_eq!((counts.failures, counts.lost), (0, 0));
    eprintln!("{swaps} swaps, {flows} flows, resident {memory:?} KiB");
    // What one run of a test leaves in allocators is some MiB; what thousands of builds would leave is far more.
    assert!(memory[1] < memory[0] + 64 * 1024, "memory grew from {} to {} KiB", memory[0], memory[1]);
    drop(tasks);
    let bench = Arc::into_inner(bench).expect("the clients have ended");
    let octets: usize = bench.records("x").await.iter().map(|(_, text)| text.len()).sum();
    assert_eq!(octets, flows, "every flow left its octet in the record");
}

/// KiB of this process in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
