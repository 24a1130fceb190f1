//! What a plugin costs: counted alike every time, per hook, and what comes of failures.

use super::*;
use crate::{
    plugin::{CostCard, HookCost, bench},
    recording::{RecordedFlow, testing::flow as recorded},
};

/// The costs of a chameleon so configured.
async fn cost(config: Value, flows: &[RecordedFlow]) -> CostCard {
    let plan = Plan::new().with("x", config);
    bench(&plan.settings.folder.join("x.wasm"), plan.settings.clone(), Arc::new(()), flows).await.expect("measured")
}

/// What does not depend on how quick the machine is.
fn counted(card: &CostCard) -> Vec<(&'static str, u64, u64, u64, usize, u64)> {
    let counted = |hook: &HookCost| {
        (hook.hook, hook.calls, hook.mean_instructions, hook.most_instructions, hook.memory_bytes, hook.most_output_bytes)
    };
    card.hooks.iter().map(counted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_the_same_every_time() {
    let config = json!({
        "response_body": "chunks", "framing": "sse-events", "word": ["one", "three"], "on_request": ["set-header", "tag"],
        "records": ["record"], "record_bytes": 1000,
    });
    let flows = [recorded(1), recorded(2)];

    let (first, second) = (cost(config.clone(), &flows).await, cost(config, &flows).await);

    assert_eq!(counted(&first), counted(&second));
    let calls: Vec<_> = first.hooks.iter().map(|hook| (hook.hook, hook.calls)).collect();
    let expected = [
        ("configure", 2),
        ("on-connect", 2),
        ("on-request", 2),
        ("on-response", 2),
        ("on-body-start", 2),
        ("on-chunk", 4),
        ("on-body-end", 2),
        ("on-flow-end", 2),
    ];
    assert_eq!(calls, expected);
    for hook in &first.hooks {
        assert!(hook.most_instructions >= hook.mean_instructions && hook.mean_instructions > 0, "{hook:?}");
        assert!(hook.memory_bytes > 0 && hook.p99 >= hook.p50 && hook.p50 > Duration::ZERO && hook.failed == 0, "{hook:?}");
    }
    let output =
        |name: &str| first.hooks.iter().find(|hook| hook.hook == name).map(|hook| (hook.mean_output_bytes, hook.most_output_bytes));
    // `data: three\n\n` in the place of one of the two, and a record.
    assert_eq!((output("on-chunk"), output("on-flow-end")), (Some((7, 13)), Some((1000, 1000))));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_to_do_costs_more() {
    let flows = [recorded(1)];
    let request = async |config: Value| {
        let card = cost(config, &flows).await;
        card.hooks.into_iter().find(|hook| hook.hook == "on-request").expect("called")
    };

    let (idle, busy) = (request(json!({})).await, request(json!({ "on_request": "leak", "log_lines": 100 })).await);

    assert!(busy.mean_instructions > 2 * idle.mean_instructions, "{busy:?} {idle:?}");
    assert!(busy.memory_bytes > idle.memory_bytes + 1_000_000, "{busy:?} {idle:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_are_told_and_flows_that_nobody_wants_call_nothing() {
    let failing = cost(json!({ "on_request": "trap" }), &[recorded(1)]).await;
    let unwanted = cost(json!({ "hosts": ["other.test"] }), &[recorded(1)]).await;

    let failed: u64 = failing.hooks.iter().map(|hook| hook.failed).sum();
    assert_eq!(failed, 1);
    assert_eq!(unwanted.hooks.iter().map(|hook| hook.hook).collect::<Vec<_>>(), ["configure"]);
}
