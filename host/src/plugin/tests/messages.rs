//! WebSocket messages: what an observer that does not keep up costs.

use std::time::Instant;

use super::{super::held::Told, *};
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

#[tokio::test(flavor = "multi_thread")]
async fn messages_count_with_what_is_held_of_them_for_whoever_sees_more() {
    let config = |limit: usize| json!({ "messages": "messages", "limit": limit });
    let slow = json!({ "messages": "messages", "limit": 4, "on_message_passed": "sleep", "passed_at": 0 });
    let mut plan = Plan::new().with("slow", slow).with("other", config(1000)).change("slow", |plugin| plugin.wall = Duration::from_secs(2));
    (plan.settings.limits.message_bytes, plan.settings.limits.patience) = (3000, Duration::from_millis(1));
    let bench = plan.start().await;
    let conversation = switched(&bench).expect("observed");

    for _ in 0..10 {
        conversation.passed(message(&"m".repeat(1000))).await;
    }

    let missed = bench.platform.counts("slow").map(|counts| counts.missed).expect("in service");
    assert!((6..=7).contains(&missed), "{missed}");
    drop(conversation);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_messages_pass_unobserved_is_said_once_while_others_find_places() {
    // Places are asked for on this thread.
    let heard = Heard::new();
    let config = json!({ "messages": "messages", "on_message_passed": "sleep", "passed_at": 0 });
    let mut plan = Plan::new().with("watcher", config).change("watcher", |plugin| plugin.wall = Duration::from_secs(2));
    (plan.settings.limits.messages, plan.settings.limits.patience) = (8, Duration::from_millis(1));
    let bench = plan.start().await;
    let (busy, other) = (switched(&bench).expect("observed"), switched(&bench).expect("observed"));
    for _ in 0..20 {
        busy.passed(message("four")).await;
    }

    for _ in 0..4 {
        other.passed(message("four")).await;
        busy.passed(message("four")).await;
    }

    assert_eq!(heard.text().matches("does not keep up").count(), 1, "{}", heard.text());
    drop((busy, other));
}

#[test]
fn what_is_blanked_misses_nothing_and_what_is_cut_does() {
    // Shown in place of so many octets that were read, of so many that there were, and how many the plugin sees: length, and what is there.
    let table = [
        ("[redacted]", 20, 20, 100, (10, 10)),
        ("[redacted]", 1, 1, 100, (10, 10)),
        ("[redacted]", 20, 25, 100, (15, 10)),
        ("[redacted]", 1, 2, 100, (11, 10)),
        ("[redacted]", 20, 20, 4, (10, 4)),
        // It could not be redacted.
        ("", 20, 20, 100, (20, 0)),
        ("", 0, 0, 100, (0, 0)),
    ];
    for (shown, read, length, limit, expected) in table {
        let mut told = Told { sent: Direction::Request, kind: MessageKind::Text, at: 0, sequence: 0, length, content: Bytes::new() };

        told.show(Bytes::from_static(shown.as_bytes()), read, limit);

        assert_eq!((told.length, told.content.len()), expected, "{shown} {read} {length} {limit}");
    }
}
