//! WebSocket messages: what an observer that does not keep up costs.

use std::time::Instant;

use super::*;
use crate::{
    flow::{Direction, MessageKind, PassedMessage},
    hooks::{MessageVerdict, Messages},
};

fn message(content: &str) -> PassedMessage {
    let content = Bytes::copy_from_slice(content.as_bytes());
    let length = content.len() as u64;
    PassedMessage { sent: Direction::Request, kind: MessageKind::Text, at: Instant::now(), length, content }
}

/// The messages of a flow that has switched.
fn switched(bench: &Bench) -> Option<Arc<dyn Messages>> {
    let mut open = bench.open("/").expect("wanted");
    let (course, flow) = open.course();
    answer(flow, "");
    let head = lock(flow).response.clone().expect("an answer");
    course.response_needs(&head);
    course.messages(flow)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_beyond_the_queue_pass_unobserved_and_are_counted() {
    let mut plan = Plan::new().with("watcher", json!({ "messages": "messages", "on_message_passed": "sleep", "passed_at": 0 }));
    plan.settings.limits.observer_wall = Duration::from_millis(1);
    plan = plan.change("watcher", |plugin| plugin.wall = Duration::from_secs(2));
    for (messages, message_bytes) in [(2, 1000), (1000, 8)] {
        (plan.settings.limits.messages, plan.settings.limits.message_bytes) = (messages, message_bytes);
        plan.settings.limits.patience = Duration::from_millis(1);
        let settings = plan.settings.clone();
        let bench = Plan { root: TempDir::new().expect("a folder"), settings }.start().await;
        let conversation = switched(&bench).expect("observed");

        for _ in 0..20 {
            conversation.passed(message("four")).await;
        }

        // One is being told of, two more wait.
        let missed = bench.platform.counts("watcher").map(|counts| counts.missed).expect("in service");
        assert!((17..=19).contains(&missed), "{missed}");
        drop(conversation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_hears_of_the_end_when_the_connection_has_gone() {
    let bench = Plan::new().with("quiet", json!({ "journal": "journal" })).start().await;

    let conversation = switched(&bench).expect("observed");
    assert_eq!(conversation.needs().filter, None);
    assert_eq!(conversation.overflow(Direction::Request), MessageVerdict::Pass);
    drop(conversation);

    assert_eq!(bench.records("quiet").await.len(), 1);
}
