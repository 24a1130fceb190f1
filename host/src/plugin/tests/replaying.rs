//! New builds, tried on flows of before: one that fails there never serves, and nothing it does there counts.

use super::{swapping::renamed, *};
use crate::flow::Direction;

/// The same component, which does what it is told to if it is marked.
pub(super) fn marked() -> Vec<u8> {
    renamed("the chameleon's own mark", "not chameleon's own mark")
}

impl Plan {
    /// The next build is tried on so many flows.
    fn replaying(mut self, flows: usize) -> Self {
        self.settings.replay = flows;
        self
    }
}

impl Bench {
    /// A whole flow with contents, as they come off the wire.
    async fn converse(&self, path: &str) {
        let mut open = self.open(path).expect("wanted");
        let tap = open.tap();
        let heard = |of, text: &'static str| {
            if let Some(tap) = &tap {
                tap.piece(of, &Bytes::from_static(text.as_bytes()));
                tap.end(of, &Fields::default());
            }
        };
        let (course, flow) = open.course();
        if let Some(reserved) = course.reserve() {
            reserved.await;
        }
        heard(Direction::Request, "a question");
        course.request(flow, false).await.expect("passed");
        answer(flow, "an answer");
        let head = lock(flow).response.clone().expect("an answer");
        course.response_needs(&head);
        heard(Direction::Response, "an answer");
        course.response(flow, false).await.expect("passed");
        open.conclude(Outcome::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_in_flows_of_before_never_serves() {
    let plan = Plan::new().with("x", json!({ "on_request_if_marked": "trap", "paths": ["/chat*"] })).replaying(4);
    let mut bench = plan.start().await;
    bench.converse("/chat?secret").await;
    let (good, ids) = (bench.hash("x"), bench.platform.kept_for("x"));

    bench.swap("x", &marked());
    let said = bench.refused("x").await;

    let flow = format!("it fails in flow {} (POST https://a.test/chat) that has passed before: on-request: ", ids[0]);
    assert!(said.starts_with(&flow) && said.contains("told to trap"), "{said}");
    assert_eq!((bench.hash("x"), bench.platform.counts("x").map(|counts| counts.failures)), (good, Some(0)));
    bench.converse("/chat").await;

    bench.swap("x", &variant(1));
    bench.live("x").await;
    bench.converse("/chat").await;
    assert_eq!(bench.platform.kept_for("x").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_and_observers_are_tried_too() {
    let table = [
        (json!({ "on_request": "spin" }), "on-request: it computed for more than 50ms"),
        (json!({ "on_flow_end": "trap" }), "on-flow-end: "),
    ];
    for (config, expected) in table {
        let bench = Plan::new().with("x", json!({})).replaying(4).start().await;
        bench.converse("/").await;

        let mut plan = Plan { root: TempDir::new().expect("a folder"), settings: bench.settings.clone() };
        plan.set("x", config);
        let error = bench.platform.reconfigure(plan.settings).await.expect_err("it fails");

        assert!(format!("{error:#}").contains(expected), "{error:#}");
        bench.converse("/").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_tried_counts() {
    let config = json!({
        "errands": [{ "increment": ["n", 1] }, { "count": ["n", {}, 1] }, { "fetch": ["GET", "https://a.test/", 0, 0] }],
        "journal": "journal",
        "records": ["record"],
        "on_request_if_marked": "answer",
        "status": 403,
    });
    let mut bench = Plan::new().with("x", config).replaying(8).start().await;
    for _ in 0..2 {
        bench.converse("/").await;
    }

    // It decides otherwise, and that is no reason.
    bench.swap("x", &marked());
    bench.live("x").await;

    let metrics = bench.platform.metrics();
    assert!(metrics.contains("x_n_total{plugin=\"x\"} 2") || metrics.contains("n_total{plugin=\"x\"} 2"), "{metrics}");
    assert_eq!(bench.platform.counts("x").map(|counts| counts.calls), Some(0));
    let verdict = bench.request("/").await.expect("passed");
    assert!(matches!(verdict, Verdict::Answer { .. }), "{verdict:?}");
    let records = bench.records("x").await;
    let counted: Vec<&str> = records.iter().filter(|(name, _)| name == "errands").flat_map(|(_, text)| text.lines()).collect();
    assert_eq!([counted[0], counted[3], counted[6]], ["Ok(1)", "Ok(2)", "Ok(3)"], "{counted:?}");
    assert_eq!((counted.len(), records.iter().filter(|(name, _)| name.starts_with("record")).count()), (9, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_service_as_well_keeps_no_build_out() {
    let mut bench = Plan::new().with("x", json!({ "on_request": "trap", "on_request_if_marked": "trap" })).replaying(4).start().await;
    bench.converse("/").await;

    bench.swap("x", &marked());

    bench.live("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_left_out() {
    let mut plan = Plan::new().with("x", json!({ "on_request_if_marked": "trap" })).replaying(4);
    plan.settings.limits.replay.time = Duration::ZERO;
    let mut bench = plan.start().await;
    bench.converse("/").await;

    bench.swap("x", &marked());

    bench.live("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_kept_as_the_settings_say() {
    let bench = Plan::new().with("x", recording()).replaying(2).start().await;
    for _ in 0..3 {
        bench.converse("/").await;
    }
    let kept = bench.platform.kept_for("x");
    assert!(kept.len() == 2 && kept[0] < kept[1], "{kept:?}");

    let none = Settings { replay: 0, ..bench.settings.clone() };
    assert!(bench.platform.reconfigure(none).await.expect("good settings").is_empty());
    bench.converse("/").await;

    assert!(bench.platform.kept_for("x").is_empty() && bench.open("/").expect("wanted").tap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tried_leaves_nothing_behind() {
    let config = json!({ "first_errands": [{ "set": ["a", "1", null] }], "on_request_if_marked": "trap" });
    let mut bench = Plan::new().with("x", config).replaying(1).start().await;
    bench.converse("/").await;
    bench.swap("x", &marked());
    bench.refused("x").await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();

    for _ in 0..4 {
        let reloaded = bench.platform.reload().await.expect("looked at");
        assert!(reloaded[0].to_string().contains("that has passed before"), "{}", reloaded[0]);
    }

    // A task for each build that was tried would stay otherwise.
    let gone = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("they end");
}
