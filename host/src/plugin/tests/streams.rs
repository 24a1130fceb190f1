//! Bodies that pass plugins piece by piece: in which order, what is forwarded, and what a failure means.

use super::*;
use crate::{
    flow::Direction,
    hooks::{Chunks, Next},
    plugin::OnFailure,
};

/// Who wants response bodies in chunks.
fn chunks(mut more: Value) -> Value {
    more["response_body"] = json!("chunks");
    more
}

/// A flow that has got as far as its response's head.
async fn answered(bench: &Bench, media_type: &str) -> OpenFlow {
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();
    course.request(flow, false).await.expect("passed");
    answer(flow, "");
    let head = {
        let mut flow = lock(flow);
        let head = flow.response.as_mut().expect("an answer");
        head.fields.set("content-type", media_type);
        head.clone()
    };
    course.response_needs(&head);
    open
}

async fn begin(open: &mut OpenFlow) -> Result<Option<Box<dyn Chunks>>, Refusal> {
    let (course, flow) = open.course();
    assert!(course.wants_chunks(Direction::Response));
    course.chunks(flow, Direction::Response).await
}

/// What comes of one piece; in brackets where the message ended with it.
async fn feed(stream: &mut dyn Chunks, piece: &str) -> Result<Vec<String>, Refusal> {
    stream.feed(Bytes::copy_from_slice(piece.as_bytes()));
    drain(stream).await
}

async fn drain(stream: &mut dyn Chunks) -> Result<Vec<String>, Refusal> {
    let mut out = Vec::new();
    loop {
        match stream.next().await? {
            Next::Forward(octets) => out.push(String::from_utf8_lossy(&octets).into_owned()),
            Next::Hungry => return Ok(out),
            Next::Over => {
                out.push("(over)".into());
                return Ok(out);
            }
        }
    }
}

/// All that comes of those pieces, with the end.
async fn whole(stream: &mut dyn Chunks, pieces: &[&str]) -> Result<String, Refusal> {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(feed(stream, piece).await?);
        if out.last().is_some_and(|last| last == "(over)") {
            return Ok(out.concat());
        }
    }
    stream.end();
    out.extend(drain(stream).await?);
    Ok(out.concat())
}

async fn journal(bench: Bench, plugin: &str) -> String {
    let records = bench.records(plugin).await;
    records.into_iter().find(|(name, _)| name == "journal").map(|(_, text)| text).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_pass_plugins_in_descending_order_and_requests_in_ascending() {
    let a = json!({ "word": ["x", "a"], "request_body": "chunks", "response_body": "chunks" });
    let b = json!({ "word": ["a", "b"], "request_body": "chunks", "response_body": "chunks" });
    let bench = Plan::new().with("a", a).with("b", b).start().await;
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();

    let mut up = course.chunks(flow, Direction::Request).await.expect("passed").expect("wanted");
    assert_eq!(whole(&mut *up, &["x", "a"]).await.expect("passed"), "bb(over)");

    let mut open = answered(&bench, "text/plain").await;
    let mut down = begin(&mut open).await.expect("passed").expect("wanted");
    assert_eq!(whole(&mut *down, &["x", "a"]).await.expect("passed"), "ab(over)");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_filtered_whole_and_each_at_once() {
    let by_events = chunks(json!({ "framing": "sse-events", "word": ["colour", "color"] }));
    let as_received = chunks(json!({ "word": ["color", "hue"] }));
    let bench = Plan::new().with("a", as_received).with("b", by_events).start().await;
    let mut open = answered(&bench, "text/event-stream; charset=utf-8").await;
    let mut stream = begin(&mut open).await.expect("passed").expect("wanted");

    assert_eq!(feed(&mut *stream, "data: co").await.expect("passed"), Vec::<String>::new());
    assert_eq!(feed(&mut *stream, "lour\n\ndata: a colour\n\ndata").await.expect("passed"), ["data: hue\n\n", "data: a hue\n\n"]);
    stream.end();
    assert_eq!(drain(&mut *stream).await.expect("passed"), ["data", "(over)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_beyond_the_bound_is_filtered_in_parts() {
    let bench = Plan::new().with("a", chunks(json!({ "framing": "sse-events", "limit": 20, "journal": "journal" }))).start().await;
    let mut open = answered(&bench, "text/event-stream").await;
    let mut stream = begin(&mut open).await.expect("passed").expect("wanted");

    assert_eq!(feed(&mut *stream, "data: less than 20").await.expect("passed"), Vec::<String>::new());
    assert_eq!(feed(&mut *stream, " and more").await.expect("passed"), ["data: less than 20 and more"]);
    assert_eq!(feed(&mut *stream, " of it\n\ndata: 2").await.expect("passed"), [" of it\n\n"]);
    assert_eq!(feed(&mut *stream, "\n\n").await.expect("passed"), ["data: 2\n\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_filters_answer_is_what_passes() {
    let table = [
        (json!({ "on_chunk": "drop", "at_chunk": 1 }), "one three(over)"),
        (json!({ "word": ["two", "2"], "on_body_end": "append", "tail": "!" }), "one 2 three!(over)"),
        (json!({ "on_chunk": "finish", "at_chunk": 1, "tail": "." }), "one .(over)"),
        (json!({ "on_chunk": "finish", "at_chunk": 0 }), "(over)"),
    ];
    for (config, expected) in table {
        let bench = Plan::new().with("a", chunks(config.clone())).start().await;
        let mut open = answered(&bench, "text/plain").await;
        let mut stream = begin(&mut open).await.expect("passed").expect("wanted");

        assert_eq!(whole(&mut *stream, &["one ", "two ", "three"]).await.expect("passed"), expected, "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_is_left_alone() {
    let bench = Plan::new().with("a", chunks(json!({ "on_body_start": "decline" }))).start().await;
    let mut open = answered(&bench, "text/plain").await;

    assert!(begin(&mut open).await.expect("passed").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_finishes_ends_the_message_for_all() {
    let plan = Plan::new()
        .with("a", chunks(json!({ "journal": "journal", "on_body_end": "append", "tail": "(a)" })))
        .with("b", chunks(json!({ "journal": "journal", "on_chunk": "finish", "at_chunk": 1, "on_body_end": "append", "tail": "(b)" })))
        .with("c", chunks(json!({ "journal": "journal" })));
    let bench = plan.start().await;
    let root = bench.settings.logs.clone();
    let mut open = answered(&bench, "text/plain").await;
    let mut stream = begin(&mut open).await.expect("passed").expect("wanted");

    let passed = whole(&mut *stream, &["1", "2", "3"]).await.expect("passed");

    // From c to a: what b says last goes through a.
    assert_eq!(passed, "1(b)(b)(a)(over)");
    drop(stream);
    drop(open);
    bench.platform.close(PATIENCE).await;
    bench.writer.close().await;
    let last = |name: &str| fs::read_to_string(root.join(name).join("journal")).expect("text").lines().nth_back(1).map(str::to_owned);
    let [a, b, c] = ["a", "b", "c"].map(|name| last(name).expect("a line"));
    assert!(a.starts_with("on-body-end chunks=3 broken=false"), "{a}");
    assert!(b.starts_with("on-body-end chunks=2 broken=false"), "{b}");
    assert!(c.starts_with("on-body-end chunks=2 broken=true"), "{c}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_told_before_the_flow_has_ended() {
    let bench = Plan::new().with("a", chunks(json!({ "journal": "journal" }))).start().await;
    let mut open = answered(&bench, "text/plain").await;
    let mut stream = begin(&mut open).await.expect("passed").expect("wanted");
    feed(&mut *stream, "some").await.expect("passed");

    drop(stream);
    drop(open);

    let journal = journal(bench, "a").await;
    let hooks: Vec<&str> = journal.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(hooks, ["on-request", "on-body-start", "on-chunk", "on-body-end", "on-flow-end"], "{journal}");
    assert!(journal.contains("on-body-end chunks=1 broken=true others=0"), "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_chunk_passes_as_it_came_with_all_that_follows() {
    for behaviour in ["trap", "spin", "hog", "recurse", "exit"] {
        let config = chunks(json!({ "on_chunk": behaviour, "at_chunk": 1, "word": ["o", "0"] }));
        let plan = Plan::new().with("bad", config).with("good", chunks(json!({ "word": ["t", "T"] })));
        let bench = plan.change("bad", |own| own.memory_bytes = 8 << 20).start().await;
        let mut open = answered(&bench, "text/plain").await;
        let mut stream = begin(&mut open).await.expect("passed").expect("wanted");

        let passed = whole(&mut *stream, &["one ", "two ", "too"]).await.expect("passed");

        assert_eq!(passed, "0ne Two Too(over)", "{behaviour}");
        assert_eq!(bench.platform.counts("bad").map(|counts| counts.failures), Some(1), "{behaviour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_call_refuses_if_it_shall() {
    let table = [
        (json!({ "on_body_start": "trap" }), "on-body-start", "unreachable"),
        (json!({ "on_body_start": "spin" }), "on-body-start", "computed"),
        (json!({ "on_chunk": "trap", "at_chunk": 1 }), "on-chunk", "unreachable"),
        (json!({ "on_chunk": "spin", "at_chunk": 1 }), "on-chunk", "computed"),
        (json!({ "on_chunk": "flood", "leak_bytes": 30_000 }), "on-chunk", "20000 octets"),
        (json!({ "on_body_end": "flood", "leak_bytes": 30_000 }), "on-body-end", "20000 octets"),
        (json!({ "on_body_end": "trap" }), "on-body-end", "unreachable"),
        (json!({ "on_body_end": "spin" }), "on-body-end", "computed"),
    ];
    for (config, failing, reason) in table {
        let plan = Plan::new().with("bad", chunks(config.clone())).with("good", chunks(json!({})));
        let plan = plan.change("bad", |own| (own.on_failure, own.output_bytes) = (OnFailure::Refuse, 20_000));
        let bench = plan.start().await;
        let mut open = answered(&bench, "text/plain").await;

        let refused = match begin(&mut open).await {
            Ok(stream) => whole(&mut *stream.expect("wanted"), &["one", "two"]).await.map(drop),
            Err(refusal) => Err(refusal),
        };

        match refused.expect_err("refused") {
            Refusal::PluginFailed { plugin, hook, source } => {
                assert_eq!((plugin.as_str(), hook), ("bad", failing), "{config}");
                assert!(source.to_string().contains(reason), "{config}: {source}");
            }
            other => panic!("{config}: {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_cannot_be_filtered_is_refused_if_it_shall_be() {
    for (policy, refuses) in [(OnFailure::Pass, false), (OnFailure::Refuse, true)] {
        let bench = Plan::new().with("a", chunks(json!({}))).change("a", |own| own.on_failure = policy).start().await;
        let mut open = answered(&bench, "text/plain").await;
        let (course, flow) = open.course();

        let passed = course.without_chunks(flow, Direction::Response, "the content coding \"x\" is unknown");

        assert_eq!(passed.is_err(), refuses, "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bodies_than_there_may_be_meet_the_policy() {
    for (policy, refuses) in [(OnFailure::Pass, false), (OnFailure::Refuse, true)] {
        let mut plan = Plan::new().with("a", chunks(json!({}))).change("a", |own| (own.on_failure, own.streams) = (policy, 2));
        plan.settings.limits.stream_patience = Duration::from_millis(1);
        let bench = plan.start().await;
        let mut first = Vec::new();
        for _ in 0..2 {
            let mut open = answered(&bench, "text/plain").await;
            first.push((begin(&mut open).await.expect("passed").expect("wanted"), open));
        }

        let mut third = answered(&bench, "text/plain").await;
        let begun = begin(&mut third).await;

        assert_eq!(begun.is_err(), refuses, "{policy:?}");
        assert!(begun.is_err() || begun.is_ok_and(|stream| stream.is_none()), "{policy:?}");
        let (mut stream, _open) = first.remove(0);
        assert_eq!(whole(&mut *stream, &["x"]).await.expect("passed"), "x(over)");
        assert!(begin(&mut third).await.expect("there is a place again").is_some(), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_a_singleton_share_its_instance() {
    let bench = Plan::new().with("a", chunks(json!({ "singleton": true, "journal": "journal" }))).start().await;
    let (mut one, mut two) = (answered(&bench, "text/plain").await, answered(&bench, "text/plain").await);
    let mut first = begin(&mut one).await.expect("passed").expect("wanted");
    let mut second = begin(&mut two).await.expect("passed").expect("wanted");

    feed(&mut *first, "1").await.expect("passed");
    assert_eq!(whole(&mut *second, &["2", "3"]).await.expect("passed"), "23(over)");
    drop(first);

    drop((second, one, two));
    let journal = journal(bench, "a").await;
    assert!(journal.contains("on-body-end chunks=2 broken=false others=1"), "{journal}");
    assert!(journal.contains("on-body-end chunks=1 broken=true others=0"), "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_singleton_traps_its_other_bodies_go_on_as_they_may() {
    for (policy, refuses) in [(OnFailure::Pass, false), (OnFailure::Refuse, true)] {
        let config = chunks(json!({ "singleton": true, "on_chunk": "trap", "at_chunk": 1, "word": ["x", "y"] }));
        let bench = Plan::new().with("a", config).change("a", |own| own.on_failure = policy).start().await;
        let (mut one, mut two) = (answered(&bench, "text/plain").await, answered(&bench, "text/plain").await);
        let mut first = begin(&mut one).await.expect("passed").expect("wanted");
        let mut second = begin(&mut two).await.expect("passed").expect("wanted");
        feed(&mut *first, "x").await.expect("passed");
        assert_eq!(feed(&mut *first, "x").await.is_err(), refuses);

        // The instance that knew the second is gone, and a fresh one never heard of it.
        let passed = whole(&mut *second, &["x"]).await;

        assert_eq!(passed.ok(), (!refuses).then(|| "x(over)".to_owned()), "{policy:?}");
        let mut third = answered(&bench, "text/plain").await;
        let mut third = begin(&mut third).await.expect("passed").expect("wanted");
        assert_eq!(feed(&mut *third, "x").await.expect("passed"), ["y"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_filtered_well_do_not_wait_for_one_that_spins() {
    let spinning = chunks(json!({ "on_chunk": "spin", "paths": ["/bad"] }));
    let plan = Plan::new().with("bad", spinning).with("good", chunks(json!({ "word": ["x", "y"], "paths": ["/"] })));
    let bench = Arc::new(plan.change("bad", |own| own.call = Duration::from_secs(1)).start().await);
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let bench = bench.clone();
            crate::tasks::Tasks::new().spawn(async move {
                let mut open = bench.open("/bad").expect("wanted");
                let (course, flow) = open.course();
                answer(flow, "");
                let head = lock(flow).response.clone().expect("an answer");
                course.response_needs(&head);
                let mut stream = course.chunks(flow, Direction::Response).await.expect("passed").expect("wanted");
                whole(&mut *stream, &["z"]).await.expect("passed over")
            })
        })
        .collect();

    for _ in 0..16 {
        let mut open = answered(&bench, "text/plain").await;
        let mut stream = begin(&mut open).await.expect("passed").expect("wanted");
        assert_eq!(whole(&mut *stream, &["x"]).await.expect("passed"), "y(over)");
    }

    assert!(spinning.iter().all(|body| !body.is_finished()), "they had their turns only when others had ended");
    for spun in spinning {
        assert_eq!(spun.await.expect("it ends"), "z(over)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_begun_is_past_being_changed_by_its_head() {
    let config = chunks(json!({ "on_body_start": ["set-header", "set-status", "tag"], "status": 404 }));
    let bench = Plan::new().with("a", config).start().await;
    let mut open = answered(&bench, "text/plain").await;

    begin(&mut open).await.expect("passed").expect("wanted");

    let flow = lock(open.flow());
    let head = flow.response.as_ref().expect("an answer");
    assert_eq!((head.status, head.fields.contains("x-chameleon")), (StatusCode::OK, false));
    assert_eq!(flow.tags, [("a.note".to_owned(), "1".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_about_chunks_are_one_step_of_the_explanation() {
    let bench = Plan::new().with("a", chunks(json!({ "word": ["x", "y"] }))).start().await;
    let mut open = answered(&bench, "text/plain").await;
    let id = lock(open.flow()).id.0;
    let mut stream = begin(&mut open).await.expect("passed").expect("wanted");

    whole(&mut *stream, &["x", "1", "x", "x"]).await.expect("passed");

    let steps = bench.platform.explain(id).expect("known").steps;
    let told: Vec<_> = steps.iter().map(|step| (step.hook.as_str(), step.said.as_str(), step.calls)).collect();
    let expected = [
        ("on-request", "proceed", 1),
        ("on-body-start", "filter it", 1),
        ("on-chunk", "replace", 3),
        ("on-chunk", "pass", 1),
        ("on-body-end", "end", 1),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_spins_over_a_broken_body_ends_and_observers_still_hear_of_the_flow() {
    for behaviour in ["spin", "trap"] {
        let bad = chunks(json!({ "on_body_end": behaviour }));
        let bench = Plan::new().with("bad", bad).with("good", recording()).start().await;
        let mut open = answered(&bench, "text/plain").await;
        if let Some(reserved) = open.course().0.reserve() {
            reserved.await;
        }
        let mut stream = begin(&mut open).await.expect("passed").expect("wanted");
        feed(&mut *stream, "one").await.expect("passed");

        // The client has gone.
        drop(stream);
        drop(open);

        let bad = bench.platform.set_in_service().plugins[0].build.clone();
        assert_eq!(bench.records("good").await.len(), 1, "{behaviour}");
        assert_eq!(bad.counts().failures, 1, "{behaviour}");
    }
}
