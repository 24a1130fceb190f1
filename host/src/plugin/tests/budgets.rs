//! Budgets of single calls: each is crossed, and only the flow concerned notices.

use super::*;
use crate::plugin::{OnFailure, instance::Failure};

/// More than a busy machine needs for a million of anything.
const LONG: Duration = Duration::from_secs(50);
const MILLION: u32 = 1_000_000;

/// A plugin that refuses on failure and has time.
fn strict(name: &str, config: Value) -> Plan {
    Plan::new().with(name, config).change(name, |own| (own.on_failure, own.call, own.wall) = (OnFailure::Refuse, LONG, LONG))
}

fn cause(refusal: &Refusal) -> String {
    match refusal {
        Refusal::PluginFailed { source, .. } => source.to_string(),
        other => format!("another refusal: {other}"),
    }
}

/// The flow concerned, and those of 16 neighbours meanwhile.
async fn among_neighbours(plan: Plan) -> (Result<(), String>, Arc<Bench>) {
    let bench = Arc::new(plan.with("good", recording()).start().await);
    let tasks = crate::tasks::Tasks::new();
    let concerned = tasks.spawn({
        let bench = bench.clone();
        async move { bench.request("/bad").await.map(drop).map_err(|refusal| cause(&refusal)) }
    });
    for _ in 0..16 {
        timeout(PATIENCE, bench.pass("/good")).await.expect("in time").expect("passed");
    }
    (timeout(PATIENCE, concerned).await.expect("in time").expect("no panic"), bench)
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_calls_have_instances_and_the_next_waits_for_one_that_comes_back() {
    const INSTANCES: usize = 2;
    let plan = Plan::new().with("x", recording());
    let bench = plan.change("x", |own| (own.instances, own.wall) = (INSTANCES, Duration::from_millis(200))).start().await;
    let set = bench.platform.set();
    let pool = &set.plugins[0].build.pool;
    let mut busy = Vec::new();
    // Four more are made for each that is kept.
    for _ in 0..INSTANCES + 4 * INSTANCES {
        busy.push(pool.for_filter().await.expect("an instance"));
    }

    let beyond = pool.for_filter().await.err().expect("there is none left");
    let (next, ()) = tokio::join!(pool.for_filter(), async { busy.remove(0).give_back() });

    assert!(matches!(beyond, Failure::Busy(_)), "{beyond}");
    assert!(next.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_calls_into_the_host_end_the_call() {
    for errand in [json!({ "ask": MILLION }), json!({ "write": MILLION })] {
        let plan = strict("bad", json!({ "paths": ["/bad"], "errands": [errand] }));

        let (ended, _) = among_neighbours(plan).await;

        assert_eq!(ended, Err("it called the host more than 100000 times: `host-calls` in flowgate.toml gives it more".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_calls_as_are_allowed_are_made() {
    // One more is the record of the errand itself.
    let errand = json!([{ "ask": 10 }]);
    for (most, passes) in [(11, true), (10, false)] {
        let plan = strict("x", errands_only(&errand)).change("x", |own| own.host_calls = most);
        let bench = plan.start().await;

        assert_eq!(bench.request("/").await.is_ok(), passes, "{most}");
        assert_eq!(bench.request("/").await.is_ok(), passes, "each call begins anew");
    }
}

fn errands_only(errands: &Value) -> Value {
    json!({ "errands": errands })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_are_left_out_and_harm_nobody() {
    let plan = strict("bad", json!({ "paths": ["/bad"], "errands": [{ "write": MILLION }] }));

    let (ended, bench) = among_neighbours(plan.change("bad", |own| own.host_calls = 2 * u64::from(MILLION))).await;

    assert_eq!(ended, Ok(()));
    assert_eq!(bench.platform.counts("bad").map(|counts| counts.failures), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_hands_over_is_bounded() {
    let cases = [
        ("an answer", json!({ "on_request": "answer", "swollen": 70_000 })),
        ("a record", json!({ "errands": [{ "fill": ["a", 70_000] }] })),
        ("two values", json!({ "errands": [{ "fill": ["a", 40_000] }, { "fill": ["b", 40_000] }] })),
        ("a field", json!({ "on_request": ["set-header", "add-header"], "header": ["x", "y".repeat(40_000)] })),
    ];
    for (what, config) in cases {
        for (most, passes) in [(64 << 10, false), (1 << 20, true)] {
            let bench = strict("x", config.clone()).change("x", |own| own.output_bytes = most).start().await;

            let ended = bench.request("/").await.map(drop).map_err(|refusal| cause(&refusal));

            let expected =
                if passes { Ok(()) } else { Err("it handed over more than 65536 octets: `output` in flowgate.toml gives it more".into()) };
            assert_eq!(ended, expected, "{what} of at most {most}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_made_no_larger_than_it_may_be() {
    let lines = vec!["add-header"; 600];
    let value = "y".repeat(50_000);
    // The flow has a line of its own: `Host: a.test`.
    let cases = [
        (json!({ "on_request": lines, "header": ["x", "y"] }), 512, "y", "/"),
        (json!({ "on_request": ["add-header", "add-header", "add-header"], "header": ["x", value] }), 3, value.as_str(), "/"),
        (json!({ "on_request": ["add-header", "set-header", "set-header"], "header": ["x", value] }), 2, value.as_str(), "/"),
        (json!({ "on_request": "set-path", "path": format!("/{}", "p".repeat(200_000)) }), 1, "a.test", "/asked"),
    ];
    for (config, lines, last, path) in cases {
        let bench = strict("x", config).start().await;
        let mut open = bench.open(path).expect("wanted");
        let (course, flow) = open.course();

        course.request(flow, false).await.expect("a head that cannot grow is no failure");

        let flow = lock(flow);
        let fields = &flow.request.fields;
        assert_eq!(fields.len(), lines);
        assert_eq!(fields.iter().last().map(|field| field.value()), Some(last.as_bytes()));
        assert_eq!(flow.request.path, path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_gigabyte_ends_within_the_memory_of_the_instance() {
    let plan = strict("bad", json!({ "paths": ["/bad"], "on_request": "answer", "swollen": 1 << 30 }));

    let (ended, _) = among_neighbours(plan).await;

    let why = ended.expect_err("refused");
    assert!(why.contains("octets of memory"), "{why}");
}
