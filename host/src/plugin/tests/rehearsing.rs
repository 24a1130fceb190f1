//! Recorded flows, played to those who filter and observe their contents and messages.

use flowgate_testkit::guests::MEDIATOR;

use super::*;
use crate::{
    flow::{Direction, Message},
    plugin::{OnFailure, Stage},
    recording::{
        RecordedFlow,
        testing::{conversation, flow},
    },
    rehearsal::Rehearsed,
};

/// The component on a stage of its own, under the name it registers by itself.
async fn staged(name: &str, component: &[u8], config: Value, on_failure: OnFailure) -> Stage {
    let mut plan = Plan::new();
    plan.put(name, component);
    let own = plan.settings.plugins.entry(name.into()).or_default();
    (own.config, own.on_failure) = (config.to_string(), on_failure);
    let file = plan.settings.folder.join(format!("{name}.wasm"));
    Stage::open(&file, plan.settings.clone(), Arc::new(()), 0).await.expect("loaded")
}

/// What goes on of a text from the client and two octets from the origin, and what is said about that.
async fn filtered(config: Value, on_failure: OnFailure) -> (Rehearsed, Vec<(String, u32)>) {
    let stage = staged("mediator", MEDIATOR, config, on_failure).await;
    let played = stage.play(&conversation(1)).await;
    (played.rehearsed, played.steps.into_iter().map(|step| (step.said, step.calls)).collect())
}

fn texts(messages: &[(Direction, Message)]) -> Vec<(Direction, bool, String)> {
    messages.iter().map(|(of, message)| (*of, message.is_text, message.content.escape_ascii().to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_messages_are_filtered_as_live_ones_are() {
    use Direction::{Request, Response};
    let (hello, octets) = ((Request, true, "hello".to_owned()), (Response, false, "\\x00\\xff".to_owned()));
    let table = [
        (json!({}), OnFailure::Pass, vec![hello.clone(), octets.clone()], None, vec![("pass", 2)]),
        (
            json!({ "act": "replace", "word": "hello", "by": "servus" }),
            OnFailure::Pass,
            vec![(Request, true, "servus".into()), octets.clone()],
            None,
            vec![("replace", 1), ("pass", 1)],
        ),
        (json!({ "act": "discard-word", "word": "hell" }), OnFailure::Pass, vec![octets.clone()], None, vec![("discard", 1), ("pass", 1)]),
        (
            json!({ "act": "other-kind", "of": "client" }),
            OnFailure::Pass,
            vec![(Request, false, "hello".into()), octets.clone()],
            None,
            vec![("replace", 1), ("pass", 1)],
        ),
        (
            json!({ "act": "close", "code": 4000, "of": "origin" }),
            OnFailure::Pass,
            vec![hello.clone()],
            Some(4000),
            vec![("pass", 1), ("close 4000", 1)],
        ),
        (json!({ "limit": 4 }), OnFailure::Pass, vec![hello.clone(), octets.clone()], None, vec![("pass", 1)]),
        (json!({ "limit": 4 }), OnFailure::Refuse, vec![], Some(1009), vec![]),
    ];
    for (config, on_failure, expected, closed, said) in table {
        let (rehearsed, steps) = filtered(config.clone(), on_failure).await;

        assert_eq!((texts(&rehearsed.messages), rehearsed.closed), (expected, closed), "{config}");
        assert_eq!(steps, said.into_iter().map(|(said, calls)| (said.to_owned(), calls)).collect::<Vec<_>>(), "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_fails_about_a_recorded_message_meets_its_policy() {
    for (on_failure, passed, closed) in [(OnFailure::Pass, 2, None), (OnFailure::Refuse, 0, Some(1011))] {
        let (rehearsed, steps) = filtered(json!({ "act": "trap" }), on_failure).await;

        assert_eq!((rehearsed.messages.len(), rehearsed.closed), (passed, closed));
        assert!(steps[0].0.starts_with("failed: ") && steps[0].0.contains("told to trap"), "{steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn observers_are_told_of_recorded_messages_and_then_of_the_end() {
    let stage = staged("chameleon", CHAMELEON, json!({ "messages": "messages", "journal": "journal" }), OnFailure::Pass).await;

    let played = stage.play(&conversation(1)).await;

    let records = stage.records();
    let text = |name: &str| String::from_utf8_lossy(&records[name]).into_owned();
    let told = "0 client text 5 hello\n1 origin binary 2 \\x00\\xff\n2 origin closed 2 \\x03\\xe8\nend 0 1 2\n";
    assert_eq!(text("messages"), told);
    assert!(text("journal").lines().last().is_some_and(|line| line.starts_with("on-flow-end ")), "{}", text("journal"));
    let steps: Vec<_> = played.steps.iter().map(|step| (step.hook.as_str(), step.calls)).collect();
    assert_eq!(steps, [("on-request", 1), ("on-message-passed", 3), ("on-flow-end", 1)]);
    assert_eq!(played.rehearsed.messages.len(), 2);
}

/// An answer of 22 octets with a trailer and a length, as that plugin lets it go on.
async fn answered(config: &Value) -> crate::flow::Flow {
    let mut recorded = flow(1);
    let response = recorded.response.as_mut().expect("one");
    response.head.fields.remove("transfer-encoding");
    response.head.fields.push("Content-Length", "22");
    response.body.trailers.push("X-Sum", "1");
    let stage = staged("chameleon", CHAMELEON, config.clone(), OnFailure::Pass).await;
    stage.play(&recorded).await.rehearsed.flow.expect("it was wanted")
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_come_behind_the_content_that_they_belong_to_alone() {
    let table = [
        (json!({}), true),
        (json!({ "response_body": "whole" }), true),
        (json!({ "response_body": "chunks", "word": ["one", "two"] }), true),
        (json!({ "response_body": "whole", "on_response": "set-body", "body": "other" }), false),
        (json!({ "response_body": "chunks", "on_chunk": "finish" }), false),
    ];
    for (config, expected) in table {
        assert_eq!(answered(&config).await.response_trailers.contains("x-sum"), expected, "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_filtered_piece_by_piece_is_framed_as_by_a_proxy() {
    for (config, length, coding) in [
        (json!({}), Some("22"), None),
        (json!({ "response_body": "chunks" }), None, Some("chunked")),
        (json!({ "response_body": "whole", "on_response": "set-body", "body": "other" }), Some("5"), None),
    ] {
        let fields = answered(&config).await.response.expect("one").fields;

        assert_eq!(fields.get("content-length"), length.map(str::as_bytes), "{config}");
        assert_eq!(fields.get("transfer-encoding"), coding.map(str::as_bytes), "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_was_not_recorded_whole_breaks_off_piece_by_piece() {
    for kept in [1, 0] {
        let cut = |mut recorded: RecordedFlow| {
            recorded.response.as_mut().expect("one").body.pieces.truncate(kept);
            recorded
        };
        let config = json!({ "response_body": "chunks", "journal": "journal" });
        let stage = staged("chameleon", CHAMELEON, config, OnFailure::Pass).await;

        stage.play(&cut(flow(1))).await;

        let journal = String::from_utf8_lossy(&stage.records()["journal"]).into_owned();
        assert!(journal.contains("on-body-start ") && journal.contains("broken=true"), "{kept}: {journal}");
    }
}
