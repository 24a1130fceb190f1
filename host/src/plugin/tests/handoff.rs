//! A singleton's state over a swap: handed over whole, or done without and said so.

use tracing::instrument::WithSubscriber;

use super::*;
use crate::plugin::{PluginState, handoff::hand_over};

/// A singleton that writes down what it is called for.
fn singleton(mut more: Value) -> Value {
    more["singleton"] = json!(true);
    more["journal"] = json!("journal");
    more
}

/// What a plugin wrote down, without what flows are like.
async fn journal(bench: Bench) -> Vec<String> {
    let records = bench.records("x").await;
    let journal = records.into_iter().find(|(name, _)| name == "journal").map(|(_, text)| text).unwrap_or_default();
    let call = |line: &str| match line.split_once(" call=") {
        Some((_, rest)) => rest.split(' ').next().unwrap_or_default().to_owned(),
        None => line.to_owned(),
    };
    journal.lines().filter(|line| !line.starts_with("on-flow-end")).map(call).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singletons_state_outlives_a_swap() {
    let mut bench = Plan::new().with("x", singleton(json!({}))).start().await;
    for _ in 0..2 {
        bench.request("/").await.expect("passed");
    }

    bench.swap("x", &variant(1));
    bench.live("x").await;
    bench.request("/").await.expect("passed");

    let info = bench.platform.plugins().remove(0);
    assert!(info.hooks.contains(&"state-handoff"));
    // The observer's calls are counted as well, and may come before or after.
    let lines = journal(bench).await;
    let restored = lines.iter().position(|line| line.starts_with("restore from=1 calls=")).expect("restored");
    let calls: u64 = lines[restored].rsplit('=').next().and_then(|calls| calls.parse().ok()).expect("a number");
    assert!((2..=4).contains(&calls), "{lines:?}");
    assert_eq!(lines[restored + 1..], [(calls + 1).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_take_the_state_over_too() {
    let bench = Plan::new().with("x", singleton(json!({ "version": "7" }))).start().await;
    bench.request("/").await.expect("passed");

    let mut settings = bench.settings.clone();
    let mut config = singleton(json!({ "version": "8" }));
    config["name"] = "x".into();
    settings.plugins.get_mut("x").expect("there").config = config.to_string();
    bench.platform.reconfigure(settings).await.expect("good settings");

    assert!(journal(bench).await.iter().any(|line| line.starts_with("restore from=7 ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_costs_the_state_and_not_the_swap() {
    let table = [
        json!({ "on_save": "trap" }),
        json!({ "on_save": "spin" }),
        json!({ "on_save": "sleep" }),
        json!({ "on_save": "flood", "leak_bytes": 1001 }),
        json!({ "on_restore": "decline" }),
        json!({ "on_restore": "trap" }),
        json!({ "on_restore": "spin" }),
        json!({ "on_restore": "sleep" }),
    ];
    for config in table {
        let mut plan = Plan::new().with("x", singleton(config.clone()));
        (plan.settings.limits.handoff, plan.settings.limits.state_bytes) = (Duration::from_millis(50), 1000);
        let mut bench = plan.start().await;
        bench.request("/").await.expect("passed");

        bench.swap("x", &variant(1));
        bench.live("x").await;
        bench.request("/").await.expect("passed");

        assert_eq!(bench.platform.status()[0].state, PluginState::Serving);
        let lines = journal(bench).await;
        // Whatever it had taken before it failed, it is not the instance that serves.
        assert_eq!(lines.last().map(String::as_str), Some("1"), "{config}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_state_is_lost_is_said_once_with_the_reason() {
    let table = [
        (json!({ "on_save": "trap" }), "saving it failed: "),
        (json!({ "on_save": "flood", "leak_bytes": 1001 }), "saving it failed: its state has more than 1000 octets"),
        (json!({ "on_restore": "decline" }), "restoring it failed: it did not take the state: told to decline"),
    ];
    for (config, why) in table {
        let start = async || {
            let mut plan = Plan::new().with("x", singleton(config.clone()));
            plan.settings.limits.state_bytes = 1000;
            plan.start().await
        };
        let (old, new) = (start().await, start().await);
        let build = |bench: &Bench| bench.platform.set_in_service().plugins[0].build.clone();

        let text = said(hand_over(&build(&old), &build(&new))).await;

        let warning =
            "WARN flowgate::plugin::handoff: the plugin's state was not handed over: the new build begins without it plugin=\"x\"";
        let warnings: Vec<&str> = text.lines().filter(|line| line.contains("handoff")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(warning) && warnings[0].contains(why), "{text}");
    }
}

/// What is said in the diagnostics meanwhile.
async fn said<T>(what: impl Future<Output = T>) -> String {
    let written = tempfile::NamedTempFile::new().expect("a file");
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(written.reopen().expect("open"))).finish();
    what.with_subscriber(subscriber).await;
    fs::read_to_string(written.path()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_just_the_size_is_handed_over() {
    let mut plan = Plan::new().with("x", singleton(json!({ "on_save": "flood", "leak_bytes": 1000 })));
    plan.settings.limits.state_bytes = 1000;
    let bench = plan.start().await;
    let build = bench.platform.set_in_service().plugins[0].build.clone();

    let state = build.pool.resting().expect("one").save().await;

    assert_eq!(state.expect("within the bound").map(|state| state.len()), Some(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_waits_for_the_call_in_progress_and_calls_for_the_state() {
    let mut bench = Plan::new().with("x", singleton(json!({}))).start().await;
    let old = bench.platform.set_in_service().plugins[0].build.clone();
    let call = old.pool.pause().await.expect("nothing is in progress");
    let before = bench.hash("x");

    bench.swap("x", &variant(1));
    let loading = async {
        while !bench.platform.status()[0].loading {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, loading).await.expect("it is being loaded");
    assert_eq!(bench.hash("x"), before);

    drop(call);
    bench.live("x").await;
    assert!(old.pool.pause().await.is_some(), "the old build's calls go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_instances_are_not_asked() {
    let config = json!({ "journal": "journal", "on_save": "trap" });
    let mut bench = Plan::new().with("x", config).start().await;
    bench.request("/").await.expect("passed");

    bench.swap("x", &variant(1));
    bench.live("x").await;

    assert!(!bench.platform.plugins()[0].hooks.contains(&"state-handoff"));
    assert_eq!(bench.platform.counts("x").map(|counts| counts.failures), Some(0));
    assert!(!journal(bench).await.iter().any(|line| line.starts_with("restore")));
}
