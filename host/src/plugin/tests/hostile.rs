//! Hostile plugins: each harms its own flow, as its policy says, and nothing else.

use super::*;
use crate::{flow::Direction, plugin::OnFailure};

const BEHAVIOURS: [(&str, &str); 4] = [("spin", "computed"), ("trap", "unreachable"), ("hog", "memory"), ("recurse", "deeper")];

/// Longer than any test takes.
const PAUSE: Duration = Duration::from_secs(3600);

fn source(refusal: &Refusal) -> String {
    match refusal {
        Refusal::PluginFailed { plugin, hook, source } => format!("{plugin} {hook}: {source}"),
        other => format!("another refusal: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_filter_refuses_its_flow_if_it_shall() {
    for (behaviour, reason) in BEHAVIOURS {
        for (hook, key) in [("on-request", "on_request"), ("on-response", "on_response")] {
            let plan = Plan::new().with("bad", json!({ key: behaviour })).with("good", recording());
            // Little memory, so that it is used up sooner than the time.
            let plan = plan.change("bad", |own| (own.on_failure, own.memory_bytes) = (OnFailure::Refuse, 8 << 20));
            let bench = plan.start().await;

            let refusal = bench.pass("/").await.expect_err("refused");

            let text = source(&refusal);
            assert!(text.starts_with(&format!("bad {hook}: ")) && text.contains(reason), "{behaviour}: {text}");
            assert_eq!(bench.platform.counts("bad").map(|counts| counts.failures), Some(1), "{behaviour}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_filter_is_passed_over_if_it_shall() {
    for (behaviour, _) in BEHAVIOURS {
        let plan = Plan::new().with("bad", json!({ "on_request": behaviour, "on_response": behaviour })).with("good", recording());
        let bench = plan.start().await;

        for _ in 0..2 {
            bench.pass("/").await.expect("passed over");
        }

        assert_eq!(bench.platform.counts("bad").map(|counts| counts.failures), Some(4), "{behaviour}");
        assert_eq!(bench.records("good").await.len(), 2, "{behaviour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_observer_harms_no_flow_and_no_other_observer() {
    for (behaviour, _) in BEHAVIOURS {
        let plan = Plan::new().with("bad", json!({ "on_flow_end": behaviour })).with("good", recording());
        let mut plan = plan.change("bad", |own| own.on_failure = OnFailure::Refuse);
        plan.settings.limits.observer_call = Duration::from_millis(20);
        let bench = plan.start().await;

        for _ in 0..2 {
            bench.pass("/").await.expect("observers refuse nothing");
        }

        // First by name; the set itself would keep its queues open.
        let bad = bench.platform.set_in_service().plugins[0].build.clone();
        assert_eq!(bench.records("good").await.len(), 2, "{behaviour}");
        let counts = bad.counts();
        assert_eq!((counts.failures, counts.lost), (4, 2), "{behaviour}");
    }
}

#[tokio::test]
async fn what_a_suspended_observer_does_not_hear_of_is_counted_and_not_said_each_time() {
    let heard = Heard::new();
    let mut plan = Plan::new().with("bad", json!({ "on_flow_end": "trap" }));
    (plan.settings.limits.first_pause, plan.settings.limits.failures) = (PAUSE, 1);
    let bench = plan.start().await;
    for _ in 0..100 {
        bench.pass("/").await.expect("observers refuse nothing");
    }

    let bad = bench.platform.set_in_service().plugins[0].build.clone();
    assert!(bench.records("bad").await.is_empty());

    // Those that were being told of when it failed may have failed, too.
    assert!(bad.counts().failures <= bad.pool.width() as u64 && bad.counts().lost == 100, "{:?}", bad.counts());
    // One that it is suspended, for all of them.
    assert_eq!(heard.text().matches("the flow is not observed").count(), 0, "{}", heard.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_the_guest_last_wrote() {
    let plan = Plan::new().with("bad", json!({ "on_request": ["print", "trap"] }));
    let mut bench = plan.change("bad", |own| own.on_failure = OnFailure::Refuse).start().await;

    let text = source(&bench.request("/").await.expect_err("refused"));
    assert!(text.contains("it last wrote: printed to standard output | printed to standard error | "), "{text}");
    assert!(text.ends_with("told to trap"), "{text}");

    let mut settings = bench.settings.clone();
    settings.plugins.get_mut("bad").expect("there").config = json!({ "name": "bad", "configure": "trap" }).to_string();
    let error = format!("{:#}", bench.platform.reconfigure(settings).await.expect_err("it cannot be configured"));
    assert!(error.contains("configuring it failed: ") && error.contains("told to trap"), "{error}");
    bench.swap("bad", &variant(1));
    bench.live("bad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_always_fails_is_suspended() {
    let plan = Plan::new().with("bad", json!({ "on_request": "trap" })).with("good", recording());
    let mut plan = plan.change("bad", |own| own.on_failure = OnFailure::Refuse);
    plan.settings.limits.first_pause = PAUSE;
    let bench = plan.start().await;

    for _ in 0..5 {
        let refusal = bench.request("/").await.expect_err("it fails");
        assert!(source(&refusal).contains("unreachable"), "{}", source(&refusal));
    }
    let refusal = bench.request("/").await.expect_err("it is suspended");

    assert!(source(&refusal).starts_with("bad on-request: ") && source(&refusal).contains("suspended"), "{}", source(&refusal));
    let counts = bench.platform.counts("bad").expect("in service");
    assert_eq!((counts.failures, counts.skipped), (5, 1));
    assert!(counts.suspended.is_some_and(|left| left <= PAUSE), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_filter_is_passed_over_and_its_next_build_is_not_suspended() {
    let mut plan = Plan::new().with("bad", json!({ "on_request": "trap" }));
    plan.settings.limits.first_pause = PAUSE;
    let mut bench = plan.start().await;
    for _ in 0..7 {
        bench.request("/").await.expect("passed over");
    }
    assert_eq!(bench.platform.counts("bad").map(|counts| (counts.failures, counts.skipped)), Some((5, 2)));

    bench.swap("bad", &variant(1));
    bench.live("bad").await;

    bench.request("/").await.expect("passed over");
    assert_eq!(bench.platform.counts("bad").map(|counts| (counts.failures, counts.skipped)), Some((1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_pause_a_suspended_filter_is_tried_again() {
    let mut plan = Plan::new().with("bad", json!({ "on_request": "trap" }));
    plan.settings.limits.first_pause = Duration::ZERO;
    let bench = plan.start().await;

    for _ in 0..8 {
        bench.request("/bad").await.expect("passed over");
    }

    // Each call was a try.
    let counts = bench.platform.counts("bad").expect("in service");
    assert_eq!((counts.failures, counts.skipped, counts.suspended), (8, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_cannot_be_configured_is_refused() {
    for (behaviour, reason) in
        [("fail", "told to fail"), ("trap", "unreachable"), ("spin", "computed"), ("hog", "memory"), ("lie", "registered differently")]
    {
        let mut plan = Plan::new().with("bad", json!({ "configure": behaviour })).with("good", recording());
        plan.settings.limits.configure_call = Duration::from_millis(100);
        // Little memory, so that it is used up sooner than the time.
        plan = plan.change("bad", |own| own.memory_bytes = 8 << 20);
        let needed = Plan { root: TempDir::new().expect("a folder"), settings: plan.settings.clone() };
        let bench = plan.start().await;

        assert_eq!(bench.platform.plugins().iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["good"], "{behaviour}");
        bench.pass("/").await.expect("passed");
        let error = needed.change("bad", |own| own.required = true).try_start().await.map(drop).expect_err("needed");
        assert!(format!("{error:#}").contains(reason), "{behaviour}: {error:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_do_not_wait_for_a_spinning_plugin() {
    let plan = Plan::new().with("bad", json!({ "on_request": "spin" }));
    let bench = Arc::new(plan.change("bad", |own| own.call = Duration::from_millis(500)).start().await);
    let spinning: Vec<_> = (0..8)
        .map(|_| {
            let bench = bench.clone();
            crate::tasks::Tasks::new().spawn(async move { bench.request("/").await.is_ok() })
        })
        .collect();

    // The runtime's threads are all busy with the plugin, and still take turns with this, which waits behind it.
    let neighbour = crate::tasks::Tasks::new().spawn(async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    });
    neighbour.await.expect("no panic");

    assert!(spinning.iter().all(|flow| !flow.is_finished()), "it had its turns only when they had ended");
    for flow in spinning {
        assert!(flow.await.expect("no panic"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_ended_by_the_budget() {
    let plan = Plan::new().with("bad", json!({ "log_lines": 100_000_000 }));
    // On a quick machine their number would end it first.
    let plan = plan.change("bad", |own| (own.on_failure, own.host_calls) = (OnFailure::Refuse, u64::MAX));
    let bench = plan.start().await;

    let text = source(&bench.request("/").await.expect_err("refused"));

    assert!(text.contains("computed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_bounded_by_the_clock() {
    let plan = Plan::new().with("bad", json!({ "on_request": "sleep" }));
    let plan = plan.change("bad", |own| (own.on_failure, own.wall) = (OnFailure::Refuse, Duration::from_millis(100)));
    let bench = plan.start().await;

    let text = source(&bench.request("/").await.expect_err("refused"));

    assert!(text.contains("did not return"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_sent_is_a_failure() {
    for (status, header, reason) in [(99, "x", "not a status"), (200, "a b", "not a field name"), (204, "x", "no content")] {
        let plan = Plan::new().with("bad", json!({ "on_request": "answer", "status": status, "header": [header, "y"] }));
        let bench = plan.change("bad", |own| own.on_failure = OnFailure::Refuse).start().await;

        let text = source(&bench.request("/").await.expect_err("refused"));

        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_end_the_process() {
    let plan = Plan::new().with("bad", json!({ "on_request": "exit" }));
    let bench = plan.change("bad", |own| own.on_failure = OnFailure::Refuse).start().await;

    let text = source(&bench.request("/").await.expect_err("refused"));

    assert!(text.starts_with("bad on-request"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaking_plugin_is_renewed_before_it_fails() {
    let plan = Plan::new().with("bad", json!({ "on_request": "leak" }));
    let plan = plan.change("bad", |own| (own.on_failure, own.memory_bytes) = (OnFailure::Refuse, 16 << 20));
    let bench = plan.start().await;

    for _ in 0..100 {
        bench.request("/").await.expect("not refused");
    }

    assert_eq!(bench.platform.counts("bad").map(|counts| counts.failures), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failing_filter_changed_is_undone() {
    let bench = Plan::new().with("bad", json!({ "on_request": ["set-header", "set-path", "set-method", "send-to", "trap"] })).start().await;
    let mut open = bench.open("/path").expect("wanted");
    let (course, flow) = open.course();

    let verdict = course.request(flow, false).await.expect("passed over");

    assert!(matches!(verdict, Verdict::Proceed));
    let flow = lock(flow);
    assert_eq!((flow.request.path.as_ref(), flow.request.fields.len(), &flow.request.method), (b"/path".as_ref(), 1, &Method::POST));
    assert!(flow.redirected.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_a_failing_filter_replaced_is_put_back() {
    let bench = Plan::new().with("bad", json!({ "request_body": "whole", "on_request": ["set-body", "trap"] })).start().await;
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();
    lock(flow).hold(Direction::Request, Bytes::from_static(b"its own"), Fields::default());

    course.request(flow, true).await.expect("passed over");

    let mut flow = lock(flow);
    assert_eq!((flow.request_content.octets().as_ref(), flow.request.fields.len()), (b"its own".as_ref(), 1));
    assert_eq!(flow.release(Direction::Request), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_observer_that_kept_a_record_is_not_asked_again() {
    // The journal is written before the guest traps.
    let bench = Plan::new().with("bad", json!({ "journal": "journal", "on_flow_end": "trap" })).start().await;
    let bad = bench.platform.set_in_service().plugins[0].build.clone();

    drop(bench.open("/").expect("wanted"));

    let records = bench.records("bad").await;
    assert_eq!(records.iter().map(|(_, text)| text.lines().count()).collect::<Vec<_>>(), [1]);
    assert_eq!((bad.counts().failures, bad.counts().lost), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_observer_that_did_something_else_is_not_asked_again_and_its_flow_is_lost() {
    for errand in [json!({ "increment": ["n", 1] }), json!({ "count": ["n", {}, 1] })] {
        let bench = Plan::new().with("bad", json!({ "last_errands": [errand], "on_flow_end": "trap" })).start().await;
        let bad = bench.platform.set_in_service().plugins[0].build.clone();

        drop(bench.open("/").expect("wanted"));

        bench.platform.close(PATIENCE).await;
        assert_eq!((bad.counts().failures, bad.counts().lost), (1, 1), "{errand}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_stay_in_their_folder() {
    for path in ["../escaped", "/tmp/escaped", "a/../../escaped", "a\\b", "a\0b", ".hidden"] {
        let bench = Plan::new().with("bad", json!({ "records": [path, "allowed"] })).start().await;
        bench.pass("/").await.expect("passed");
        let root = bench.root.path().to_owned();

        assert_eq!(bench.records("bad").await, [("allowed".to_owned(), "x".to_owned())], "{path:?}");
        assert!(!root.join("logs/escaped").exists() && !root.join("escaped").exists());
    }
}
