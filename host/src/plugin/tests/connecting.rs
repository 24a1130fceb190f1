//! Tunnels: who is asked, in which order, and what a failure means.

use super::*;
use crate::{hooks::Passage, plugin::OnFailure};

impl Bench {
    /// What becomes of a CONNECT; `None`: nobody was asked.
    async fn connect(&self, host: &str) -> Option<Result<Passage, Refusal>> {
        let (scope, authority) = (flow("/").scope, Authority::new(host, 443));
        match self.platform.connect(&scope, &authority) {
            Some(asking) => Some(asking.await),
            None => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_does_not_proceed_decides() {
    let plan = Plan::new()
        .with("a", json!({ "journal": "j" }))
        .with("b", json!({ "journal": "j", "on_connect": "answer", "status": 403 }))
        .with("c", json!({ "journal": "j", "on_connect": "splice" }));
    let bench = plan.start().await;

    let passage = bench.connect("x.test").await;

    assert!(matches!(passage, Some(Ok(Passage::Reject { by, response })) if by == "b" && response.status == 403));
    let calls = ["a", "b", "c"].map(|name| bench.platform.counts(name).map(|counts| counts.calls));
    assert_eq!(calls, [Some(1), Some(1), Some(0)]);
    assert_eq!(bench.records("a").await, [("j".into(), "on-connect x.test 443 user=Some(\"ana\") call=1\n".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rules_the_hosts_alone_are_looked_at() {
    let config = json!({ "on_connect": "splice", "hosts": ["*.told.test"], "methods": ["GET"], "paths": ["/x"] });
    let bench = Plan::new().with("a", config).start().await;

    assert!(matches!(bench.connect("X.told.test").await, Some(Ok(Passage::Splice))));
    assert!(bench.connect("other.test").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_connect_filter_meets_its_policy() {
    for (behaviour, reason) in [("trap", "unreachable"), ("spin", "computed"), ("hog", "memory"), ("recurse", "deeper")] {
        for policy in [OnFailure::Pass, OnFailure::Refuse] {
            let plan = Plan::new().with("bad", json!({ "on_connect": behaviour })).with("next", json!({ "on_connect": "splice" }));
            let plan = plan.change("bad", |own| (own.on_failure, own.memory_bytes) = (policy, 8 << 20));
            let bench = plan.start().await;

            let passage = bench.connect("x.test").await.expect("it is asked");

            match (policy, passage) {
                (OnFailure::Pass, Ok(Passage::Splice)) => {}
                (OnFailure::Refuse, Err(Refusal::PluginFailed { plugin, hook, source })) => {
                    assert_eq!((plugin.as_str(), hook), ("bad", "on-connect"));
                    assert!(source.to_string().contains(reason), "{source}");
                }
                (_, other) => panic!("{behaviour}, {policy:?}: {other:?}"),
            }
            assert_eq!(bench.platform.counts("bad").map(|counts| counts.failures), Some(1), "{behaviour}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_must_not_look_like_a_tunnel() {
    let plan = Plan::new().with("bad", json!({ "on_connect": "answer", "status": 200 }));
    let bench = plan.change("bad", |own| own.on_failure = OnFailure::Refuse).start().await;

    let refused = bench.connect("x.test").await.expect("it is asked").expect_err("refused");

    assert!(matches!(refused, Refusal::PluginFailed { source, .. } if source.to_string().contains("does not reject")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_do_not_wait_for_a_spinning_plugin() {
    let plan =
        Plan::new().with("bad", json!({ "on_connect": "spin", "hosts": ["bad.test"] })).with("good", json!({ "on_connect": "splice" }));
    let bench = Arc::new(plan.change("bad", |own| own.call = Duration::from_secs(1)).start().await);
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let bench = bench.clone();
            crate::tasks::Tasks::new().spawn(async move { bench.connect("bad.test").await.is_some() })
        })
        .collect();

    for _ in 0..16 {
        assert!(matches!(bench.connect("good.test").await, Some(Ok(Passage::Splice))));
    }

    assert!(spinning.iter().all(|tunnel| !tunnel.is_finished()), "they had their turns only when others had ended");
    for spun in spinning {
        assert!(spun.await.expect("it ends"));
    }
}
