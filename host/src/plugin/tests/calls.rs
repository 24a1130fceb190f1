//! Plugins that behave: what they see, what they may change, in which order they are asked.

use super::*;
use crate::{flow::Direction, hooks::Needs, plugin::OnFailure};

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_is_told_once_of_every_flow() {
    let bench = Plan::new().with("watcher", recording()).start().await;

    for _ in 0..20 {
        bench.pass("/").await.expect("passed");
    }

    assert_eq!(bench.records("watcher").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hook_sees_the_flow_as_it_then_is() {
    let config = json!({ "journal": "journal", "response_body": "capture", "singleton": true });
    let bench = Plan::new().with("watcher", config).start().await;

    bench.pass("/path?query").await.expect("passed");

    let expected = "\
        on-request https://a.test/path?query version=1 call=1 held=false request=0 response=0 Outcome::InProgress\n\
        on-response https://a.test/path?query version=1 call=2 held=false request=0 response=9 Outcome::InProgress\n\
        on-flow-end https://a.test/path?query version=1 call=3 held=true request=0 response=9 Outcome::Completed\n";
    assert_eq!(bench.records("watcher").await, [("journal".to_owned(), expected.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_rule_skips_is_not_shown() {
    let config = json!({ "journal": "journal", "request_body": "capture" });
    let bench = Plan::new().with("one", config).with("two", recording()).start().await;

    bench.pass("/").await.expect("passed");

    let records = bench.records("one").await;
    assert!(records[0].1.ends_with("held=true request=0 response=0 Outcome::Completed\n"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_flows_are_observed_too() {
    let bench = Plan::new().with("watcher", json!({ "journal": "journal" })).start().await;

    drop(bench.open("/").expect("wanted"));

    let records = bench.records("watcher").await;
    assert!(records[0].1.ends_with("Outcome::ClientAborted\n"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_no_rule_matches_meets_no_plugin() {
    let bench = Plan::new().with("choosy", json!({ "hosts": ["*.other.test"] })).start().await;

    assert!(bench.open("/").is_none());
    assert!(bench.platform.wants_host("X.other.test") && !bench.platform.wants_host("a.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types_decide_about_observers() {
    let mut config = recording();
    config["content_types"] = json!(["image/*"]);
    let bench = Plan::new().with("choosy", config.clone()).start().await;
    bench.pass("/").await.expect("passed");
    assert!(bench.records("choosy").await.is_empty());

    config["content_types"] = json!(["TEXT/*"]);
    let bench = Plan::new().with("choosy", config).start().await;
    bench.pass("/").await.expect("passed");
    assert_eq!(bench.records("choosy").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_changes_what_it_may() {
    let config = json!({ "on_request": ["set-header", "add-header", "set-method", "set-path", "send-to"], "send_to": ["http", "::1", 81] });
    let bench = Plan::new().with("changer", config).start().await;
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();

    course.request(flow, false).await.expect("passed");

    let flow = lock(flow);
    assert_eq!(flow.request.fields.get_all("X-Chameleon").collect::<Vec<_>>(), [b"1", b"1"]);
    assert_eq!((&flow.request.method, flow.request.path.as_ref()), (&Method::PUT, b"/told".as_ref()));
    assert_eq!(flow.redirected.as_ref().map(ToString::to_string), Some("http://[::1]:81".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_changes_nothing_that_is_the_hosts() {
    let table = [
        json!({ "header": ["Content-Length", "1"] }),
        json!({ "header": ["transfer-encoding", "chunked"] }),
        json!({ "header": ["connection", "close"] }),
        json!({ "header": ["x", "a\r\nb: c"] }),
        json!({ "header": ["x", "a\u{0}b"] }),
        json!({ "header": ["x y", "a"] }),
        json!({ "on_request": ["set-method"], "method": "CONNECT" }),
        json!({ "on_request": ["set-method"], "method": "A B" }),
        json!({ "on_request": ["set-path"], "path": "/a b" }),
        json!({ "on_request": ["set-path"], "path": "http://b.test/" }),
        json!({ "on_request": ["send-to"], "send_to": ["ftp", "b.test", 21] }),
        json!({ "on_request": ["set-status", "set-body"] }),
    ];
    for mut config in table {
        if config.get("on_request").is_none() {
            config["on_request"] = json!(["set-header", "add-header"]);
        }
        let bench = Plan::new().with("changer", config.clone()).start().await;
        let mut open = bench.open("/").expect("wanted");
        let (course, shared) = open.course();

        course.request(shared, false).await.expect("passed");

        let (now, before) = (lock(shared), flow("/"));
        assert_eq!(now.request.fields, before.request.fields, "{config}");
        assert_eq!((&now.request.method, &now.request.path), (&before.request.method, &before.request.path), "{config}");
        assert!(now.redirected.is_none() && now.request_content.seen() == 0, "{config}");
        assert_eq!(bench.platform.counts("changer").map(|counts| counts.failures), Some(0), "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_changes_nothing() {
    let acts = json!(["set-header", "add-header", "remove-header", "set-body", "set-method", "set-path", "set-status", "send-to"]);
    let bench = Plan::new().with("changer", json!({ "on_flow_end": acts, "records": ["done"] })).start().await;
    let open = bench.open("/").expect("wanted");
    let shared = open.flow().clone();
    answer(&shared, "an answer");

    drop(open);

    assert_eq!(bench.records("changer").await.len(), 1);
    let (now, before) = (lock(&shared), flow("/"));
    assert_eq!(now.request.fields, before.request.fields);
    assert_eq!((&now.request.method, &now.request.path, now.redirected.is_none()), (&before.request.method, &before.request.path, true));
    assert_eq!(now.response.as_ref().map(|head| (head.status, head.fields.len())), Some((StatusCode::OK, 1)));
    assert_eq!(now.response_content.octets(), "an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_can_answer_and_those_behind_it_are_not_asked() {
    let plan = Plan::new().with("first", json!({ "on_request": "answer", "status": 403 })).with("second", json!({ "on_request": "trap" }));
    let plan = plan.change("first", |own| own.order = -1).change("second", |own| own.on_failure = OnFailure::Refuse);
    let bench = plan.start().await;

    let verdict = bench.request("/").await.expect("not refused");

    let Verdict::Answer { by, response } = verdict else { panic!("{verdict:?}") };
    assert_eq!((by.as_str(), response.status, response.content.as_ref()), ("first", StatusCode::FORBIDDEN, b"told to answer".as_ref()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_gets_the_body_it_asks_for() {
    let bench = Plan::new().with("reader", json!({ "on_request": ["need-body", "set-body"], "limit": 100, "body": "LOUD" })).start().await;
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();

    let verdict = course.request(flow, false).await.expect("passed");
    assert!(matches!(verdict, Verdict::NeedBody { limit: 100 }), "{verdict:?}");
    lock(flow).hold(Direction::Request, Bytes::from_static(b"quiet"), Fields::default());
    lock(flow).request.fields.push("Content-Length", "5");
    let verdict = course.request(flow, true).await.expect("passed");

    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    let flow = lock(flow);
    assert_eq!(
        (flow.request_content.octets().as_ref(), flow.request.fields.get("content-length")),
        (b"LOUD".as_ref(), Some(b"4".as_ref()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_bound_follows_the_policy() {
    for config in [json!({ "request_body": "whole", "on_request": "trap", "limit": 10 }), json!({ "on_request": "need-body", "limit": 10 })]
    {
        for policy in [OnFailure::Pass, OnFailure::Refuse] {
            let plan = Plan::new().with("reader", config.clone()).change("reader", |own| own.on_failure = policy);
            let bench = plan.start().await;
            let mut open = bench.open("/").expect("wanted");
            let (course, flow) = open.course();
            if course.request_needs().whole.is_none() {
                course.request(flow, false).await.expect("it asks for the body");
            }

            match (course.overflow(Direction::Request), policy) {
                (Ok(()), OnFailure::Pass) => {
                    assert!(matches!(course.request(flow, false).await, Ok(Verdict::Proceed)));
                }
                (Err(Refusal::ContentTooLarge { limit: 10, .. }), OnFailure::Refuse) => {}
                (other, _) => panic!("{other:?} under {policy:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_are_those_of_all_plugins() {
    let plan = Plan::new()
        .with("one", json!({ "request_body": "capture", "limit": 10, "response_body": "capture" }))
        .with("two", json!({ "request_body": "whole", "limit": 500, "content_types": ["text/plain"], "response_body": "whole" }));
    let bench = plan.start().await;
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();

    assert_eq!(course.request_needs(), Needs { filter: true, capture: 500, whole: Some(500) });
    answer(flow, "");
    let head = lock(flow).response.clone().expect("an answer");
    assert_eq!(course.response_needs(&head), Needs { filter: true, capture: 500, whole: Some(500) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_serves_one_call_at_a_time() {
    let mut config = recording();
    config["singleton"] = true.into();
    let bench = Arc::new(Plan::new().with("single", config).start().await);
    let tasks = crate::tasks::Tasks::new();

    let flows: Vec<_> = (0..50)
        .map(|_| {
            let bench = bench.clone();
            tasks.spawn(async move { bench.pass("/").await.is_ok() })
        })
        .collect();
    for flow in flows {
        assert!(flow.await.expect("no panic"));
    }

    let bench = Arc::into_inner(bench).expect("the last one");
    assert_eq!(bench.records("single").await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_beyond_all_places_run_unobserved_and_are_counted() {
    let mut plan = Plan::new().with("watcher", recording());
    plan.settings.limits.places = 2;
    plan.settings.limits.patience = Duration::from_millis(5);
    let bench = plan.start().await;

    let mut open: Vec<OpenFlow> = (0..3).map(|_| bench.open("/").expect("wanted")).collect();
    let mut waited = 0;
    for flow in &mut open {
        if let Some(reserved) = flow.course().0.reserve() {
            reserved.await;
            waited += 1;
        }
    }

    assert_eq!((waited, bench.platform.counts("watcher").map(|counts| counts.unobserved)), (1, Some(1)));
    drop(open);
    assert_eq!(bench.records("watcher").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_plugin_does_not_keep_up_is_said_each_time_it_begins() {
    // Places are asked for on this thread.
    let heard = Heard::new();
    let said = |what: &str| heard.text().matches(what).count();
    let mut plan = Plan::new().with("watcher", recording());
    plan.settings.limits.places = 2;
    plan.settings.limits.patience = Duration::from_millis(5);
    let bench = plan.start().await;
    let begun = async || {
        let mut open = bench.open("/").expect("wanted");
        if let Some(reserved) = open.course().0.reserve() {
            reserved.await;
        }
        open
    };

    for times in 1..=2 {
        let open = [begun().await, begun().await, begun().await];
        assert_eq!((said("does not keep up"), said("keeps up again")), (times, times - 1));
        drop(open);
        timeout(PATIENCE, async {
            while said("keeps up again") < times {
                begun().await;
            }
        })
        .await
        .expect("all have been told of");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_can_be_explained() {
    let config = json!({ "on_request": "set-header", "on_response": ["set-status"], "status": 418, "header": ["x-secret", "value"] });
    let bench = Plan::new().with("painter", config).start().await;
    let mut open = bench.open("/path?token=secret").expect("wanted");
    let id = lock(open.flow()).id.0;

    let (course, flow) = open.course();
    course.request(flow, false).await.expect("proceeds");
    answer(flow, "an answer");
    let head = lock(flow).response.clone().expect("an answer");
    course.response_needs(&head);
    course.response(flow, false).await.expect("proceeds");
    let during = bench.platform.explain(id).expect("it is remembered while it runs");
    open.conclude(Outcome::Completed);
    drop(open);
    let after = bench.platform.explain(id).expect("it is remembered");

    assert_eq!((during.outcome.as_str(), after.outcome.as_str()), ("in progress", "completed"));
    assert_eq!((after.method.as_str(), after.url.as_str(), after.status), ("POST", "https://a.test/path", Some(418)));
    assert_eq!(after.user.as_deref(), Some("ana"));
    let steps: Vec<_> = after.steps.iter().map(|step| (step.hook.as_str(), step.said.as_str(), step.changes.join(", "))).collect();
    assert_eq!(steps[..2], [("on-request", "proceed", "x-secret".to_owned()), ("on-response", "proceed", "status 418".to_owned())]);
    assert!(
        after.steps.iter().all(|step| step.plugin == "painter" && bench.hash("painter").is_some_and(|hash| hash.starts_with(&step.hash)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_that_nobody_wanted_are_not_explained() {
    let bench = Plan::new().with("choosy", json!({ "hosts": ["*.other.test"] })).start().await;

    assert!(bench.platform.explain(u64::MAX).is_none());
}
