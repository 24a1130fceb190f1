//! What observers do not get to see, and everybody else does.

use flowgate::{
    config::{Config, Flags},
    flow::{Field, Fields},
    redaction::Redaction,
};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    proxy::{Options, Proxy},
};

use crate::copilot;

/// Obviously nobody's.
const KEY: &str = "sk-fake-0000000000";

/// A proxy that blanks authorization-like fields, members called `token`, and keys wherever they are.
async fn redacting(origin: &Origin, target: &str) -> Proxy {
    Proxy::start(Options::new().resolving(target, origin).change(|config| {
        config.redaction.fields = vec!["authorization".into(), "x-*-key".into()];
        config.redaction.json = vec!["$..token".into()];
        config.redaction.patterns = vec!["sk-[a-z0-9-]+".into()];
    }))
    .await
}

#[tokio::test]
async fn a_record_holds_no_secret_and_the_origin_gets_all() {
    let origin = Origin::start(Setup::http1(), |_| {
        Script::ok(format!("{{\"token\": \"{KEY}\", \"text\": \"say {KEY} to nobody\"}}"))
            .field("x-api-key", KEY)
            .field("content-type", "application/json")
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = redacting(&origin, &target).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    let prompt = format!("{{\"prompt\":\"my key is {KEY}\",\"auth\":{{\"token\":\"hidden-0000\"}}}}");

    let answer = connection.exchange(copilot::completion(copilot::HOST, "1", prompt.as_bytes())).await.unwrap();

    let seen = origin.after(1).await;
    assert!(answer.text().contains(KEY) && answer.head.get("x-api-key") == Some(KEY), "{answer:?}");
    assert!(String::from_utf8_lossy(&seen[0].content).contains("hidden-0000"));
    let record = proxy.records().only().await;
    let text = &record.text;
    for secret in [KEY, "hidden-0000", "tid=0000"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    assert_eq!(record.request_field("authorization"), Some("[redacted]"));
    assert!(text.contains("my key is [redacted]"), "{text}");
}

#[tokio::test]
async fn a_secret_in_two_chunks_is_found() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |_| Script::events(["data: say sk-fake-".to_owned(), "0000 now\n\n".to_owned()], &gate)
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = redacting(&origin, &target).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    gate.open_for(2);

    let answer = connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

    assert_eq!(answer.text(), "data: say sk-fake-0000 now\n\n");
    let text = proxy.records().only().await.text;
    assert!(text.contains("say [redacted] now") && !text.contains("sk-fake"), "{text}");
}

#[tokio::test]
async fn the_rules_of_the_example_can_be_followed() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flowgate.toml");
    let flags = Flags { config: Some(example), state: Some("state".into()), ..Flags::default() };

    let rules = Config::load(flags).unwrap().redaction;

    let redaction = Redaction::new(&rules.fields, &rules.json, &rules.patterns).unwrap();
    let credentials =
        ["Authorization", "Cookie", "Set-Cookie", "api-key", "X-Api-Key", "x-goog-api-key", "Ocp-Apim-Subscription-Key", "X-A-Token"];
    let mut fields: Fields = credentials.iter().chain(&["accept"]).map(|name| Field::new(name.as_bytes(), KEY.as_bytes())).collect();
    redaction.blank_fields(&mut fields);
    let left: Vec<_> = fields.iter().filter(|field| field.value() == KEY.as_bytes()).map(Field::name_str).collect();
    assert_eq!(left, ["accept"]);
}
