use flowgate_guest::{
    MessageKind, Outcome,
    testing::{self, Kept, Sample, configure, take_lines, take_records},
};
use serde_json::{Value, json};

use super::*;

const DAY: u64 = 24 * 60 * 60 * 1_000_000;
/// Noon of 2025-11-25.
const NOON: u64 = 1_764_072_000_000_000;

fn usage() -> Usage {
    configure::<Usage>("{}").expect("the configuration is good").0
}

fn chat(user: &str, body: Value, answer: &str) -> Sample {
    Sample::new("POST", "https://api.githubcopilot.com/chat/completions")
        .user(user)
        .request_header("editor-version", "vscode/1.95.3")
        .request_header("openai-intent", "conversation-panel")
        .request_body(body.to_string())
        .times(NOON, Some(NOON + 1_000_000))
        .response(200)
        .response_body(answer)
}

fn question() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]})
}

const ANSWER: &str = r#"{"model":"gpt-4o","choices":[{"message":{"content":"ho"},"finish_reason":"stop"}],
    "usage":{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3}}}"#;

fn completion(language: &str, text: &str) -> Sample {
    let answer = format!("data: {{\"choices\":[{{\"text\":\"{text}\",\"index\":0,\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n");
    Sample::new("POST", "https://copilot-proxy.githubusercontent.com/v1/engines/gpt-4o-copilot/completions")
        .user("ana")
        .request_header("editor-version", "JetBrains-IU/242.1")
        .request_body(json!({"prompt": "fn main", "extra": {"language": language}}).to_string())
        .times(NOON, Some(NOON))
        .response(200)
        .response_body(answer)
}

fn last_record(path: &str) -> Value {
    let last = |kept: Vec<Kept>| kept.into_iter().rfind(|kept| kept.path == path && kept.mode == WriteMode::Replace);
    serde_json::from_slice(&last(take_records()).unwrap_or_else(|| panic!("there is no {path}")).data).expect("it is JSON")
}

#[test]
fn a_day_of_a_user_is_counted() {
    let mut plugin = usage();
    let tool = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}, {"role": "tool", "content": "done"}]});
    let flows = [
        chat("ana", question(), ANSWER),
        chat("ana", tool, ANSWER),
        chat("ana", question(), r#"{"error":{"message":"no"}}"#).response(429),
        completion("rust", "() {}"),
        completion("rust", "() {}").outcome(Outcome::ClientAborted).response_body("data: {\"choices\":[{\"text\":\"(\",\"index\":0}]}\n\n"),
        completion("go", ""),
    ];

    flows.into_iter().for_each(|sample| plugin.on_flow_end(&sample.into()));

    let expected = json!({
        "day": "2025-11-25", "user": "ana", "requests": 6, "failed": 1, "turns": 1, "completions": 1,
        "input_tokens": 20, "cached_tokens": 6, "output_tokens": 8,
        "editors": {"JetBrains-IU": {"turns": 0, "completions": 1}, "vscode": {"turns": 1, "completions": 0}},
        "languages": {"rust": 1},
        "models": {
            "gpt-4o": {"requests": 3, "input_tokens": 20, "output_tokens": 8},
            "unknown": {"requests": 3, "input_tokens": 0, "output_tokens": 0},
        },
        "actions": {"conversation-panel": 3},
    });
    assert_eq!(last_record("2025-11-25/ana.json"), expected);
}

#[test]
fn users_and_days_are_apart_and_another_instance_goes_on() {
    usage().on_flow_end(&chat("ana", question(), ANSWER).into());
    usage().on_flow_end(&chat("../bob", question(), ANSWER).into());
    usage().on_flow_end(&chat("ana", question(), ANSWER).times(NOON + DAY, None).into());
    usage().on_flow_end(&chat("ana", question(), ANSWER).into());
    let nobody = Sample::new("POST", "https://api.openai.com/v1/responses").times(NOON, None).response(200);
    usage().on_flow_end(&nobody.into());

    let turns: Vec<_> = take_records()
        .into_iter()
        .map(|kept| {
            let record: Value = serde_json::from_slice(&kept.data).unwrap();
            (kept.path, record["user"].clone(), record["turns"].as_u64().unwrap())
        })
        .collect();
    let of = |path: &str, user: Value, turns| (path.to_owned(), user, turns);
    let expected = [
        of("2025-11-25/ana.json", json!("ana"), 1),
        of("2025-11-25/%2E.%2Fbob.json", json!("../bob"), 1),
        of("2025-11-26/ana.json", json!("ana"), 1),
        of("2025-11-25/ana.json", json!("ana"), 2),
        of("2025-11-25/-.json", Value::Null, 0),
    ];
    assert_eq!(turns, expected);
}

fn counted(plugin: &mut Usage, user: &str, day: u64) {
    plugin.on_flow_end(&chat(user, question(), ANSWER).times(NOON + day * DAY, None).into());
}

fn counters() -> Vec<String> {
    key_value::keys("2", 100).unwrap()
}

#[test]
fn old_counters_go_and_records_stay() {
    let (mut plugin, _) = configure::<Usage>(r#"{"keep_days": 2}"#).unwrap();
    for (user, day) in [("ana", 0), ("bob", 0), ("ana", 1), ("ana", 2), ("ana", 20)] {
        counted(&mut plugin, user, day);
    }

    assert_eq!(counters(), ["2025-11-27/ana", "2025-12-15/ana"]);
    assert_eq!(key_value::keys(DAYS, 100).unwrap(), ["days/2025-11-27", "days/2025-12-15"]);
    assert_eq!(take_records().len(), 5);
    assert!(take_lines().is_empty());
}

#[test]
fn a_store_that_is_full_makes_room_of_what_is_old() {
    testing::set_quota(4096);
    let mut plugin = usage();
    let said = |plugin: &mut Usage, user: &str, day: u64| {
        counted(plugin, user, day);
        take_lines().into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    let full = (0..100).find_map(|at| said(&mut plugin, &format!("u{at}"), 0).pop()).expect("so many do not fit");
    assert!(full.contains("not counted") && full.contains("quota"), "{full}");
    take_records();

    assert_eq!(said(&mut plugin, "ana", 1).len(), 1, "nothing is old yet");
    for day in [2, 2, 3, 4, 30] {
        assert!(said(&mut plugin, "ana", day).is_empty(), "{day}");
    }
    assert_eq!(take_records().len(), 5);
    assert!(said(&mut plugin, "u0", 0).concat().contains("the counters of 2025-11-25 are gone"));
}

#[test]
fn an_exchange_that_ends_after_midnight_is_added_to_its_day() {
    let (mut plugin, _) = configure::<Usage>(r#"{"keep_days": 2}"#).unwrap();
    [0, 0, 0, 1, 0].into_iter().for_each(|day| counted(&mut plugin, "ana", day));

    assert_eq!(last_record("2025-11-25/ana.json")["requests"], 4);
}

#[test]
fn a_clock_that_was_wrong_once_costs_no_counters() {
    let mut plugin = usage();
    [5, 5, 400, 5, 6, 6].into_iter().for_each(|day| counted(&mut plugin, "ana", day));
    assert_eq!(last_record("2025-11-30/ana.json")["requests"], 3);
    counted(&mut plugin, "ana", 0);
    counted(&mut plugin, "ana", 6);

    assert_eq!(counters(), ["2025-11-25/ana", "2025-11-30/ana", "2025-12-01/ana", "2026-12-30/ana"]);
    assert_eq!(last_record("2025-12-01/ana.json")["requests"], 3);
}

#[test]
fn no_record_makes_way_for_one_that_begins_again() {
    let (mut plugin, _) = configure::<Usage>(r#"{"keep_days": 2}"#).unwrap();
    [0, 0, 1, 2].into_iter().for_each(|day| counted(&mut plugin, "ana", day));
    take_records();

    counted(&mut plugin, "ana", 0);

    let [(log::Level::Error, line)] = &take_lines()[..] else { panic!("there is one line") };
    assert!(line.contains("not counted") && line.contains("the counters of 2025-11-25 are gone"), "{line}");
    assert!(take_records().is_empty());
}

#[test]
fn a_client_says_itself_whether_it_goes_on() {
    for (initiator, turns) in [("user", 1), ("agent", 0)] {
        let user = format!("{initiator}-user");
        usage().on_flow_end(&chat(&user, question(), ANSWER).request_header("X-Initiator", initiator).into());

        assert_eq!(last_record(&format!("2025-11-25/{user}.json"))["turns"], turns, "{initiator}");
    }
}

#[test]
fn clients_cannot_fill_the_store_with_words() {
    let mut plugin = usage();
    for at in 0..200 {
        plugin.on_flow_end(&chat("eve", json!({"model": format!("{at}{}", "x".repeat(10_000))}), "").into());
    }

    let record = last_record("2025-11-25/eve.json");
    assert_eq!((record["requests"].as_u64(), record["models"]["other"]["requests"].as_u64()), (Some(200), Some(150)));
    assert!(record.to_string().len() < 10_000);
}

#[test]
fn messages_are_counted_when_their_answer_is_over() {
    let mut plugin = usage();
    let flow: Flow = Sample::new("GET", "https://api.githubcopilot.com/responses").user("ana").response(101).into();
    let said = [
        (Direction::Request, json!({"type": "response.create", "model": "gpt-5", "input": [{"role": "user", "content": "hi"}]})),
        (
            Direction::Response,
            json!({"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 7, "output_tokens": 2}}}),
        ),
    ];
    for (sequence, (sent, json)) in said.into_iter().enumerate() {
        let content = json.to_string().into_bytes();
        let message =
            MessageRecord { sent, kind: MessageKind::Text, at: NOON, sequence: sequence as u64, length: content.len() as u32, content };
        flowgate_guest::testing::pass_message(&mut plugin, &flow, message);
    }

    let record = last_record("2025-11-25/ana.json");
    assert_eq!((&record["turns"], &record["input_tokens"], &record["models"]["gpt-5"]["requests"]), (&json!(1), &json!(7), &json!(1)));
    plugin.on_flow_end(&flow);
    assert!(take_records().is_empty(), "nothing is counted twice");
}

#[test]
fn what_cannot_be_counted_is_said() {
    key_value::set("2025-11-25/ana", b"nonsense", None).unwrap();

    usage().on_flow_end(&chat("ana", question(), ANSWER).into());

    let [(log::Level::Error, line)] = &take_lines()[..] else { panic!("there is one line") };
    assert!(line.contains("not counted") && line.contains("reading the counters"), "{line}");
    assert!(take_records().is_empty());
}

#[test]
fn bad_configuration_names_what_is_wrong() {
    for (config, names) in
        [(r#"{"host": []}"#, "`host`"), (r#"{"hosts": []}"#, "hosts is empty"), (r#"{"keep_days": 1}"#, "keep_days is 1")]
    {
        let error = configure::<Usage>(config).expect_err("the configuration is bad");
        assert!(error.contains(names), "{error}");
    }
}
