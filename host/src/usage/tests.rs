//! Records of known contents, counted.

use std::{fs, path::Path};

use serde_json::{Value, json};
use time::macros::date;

use super::*;

struct Sample {
    day: &'static str,
    user: Option<&'static str>,
    url: &'static str,
    editor: &'static str,
    request: String,
    status: Option<u16>,
    answer: &'static str,
}

const CHAT: &str = "https://api.githubcopilot.com/chat/completions";
const COMPLETION: &str = "https://copilot-proxy.githubusercontent.com/v1/engines/gpt-41/completions?x=1";

fn put(logs: &Path, category: &str, number: usize, sample: &Sample) {
    let folder = logs.join(category);
    fs::create_dir_all(&folder).unwrap();
    let record = json!({
        "proxy-authorization": sample.user,
        "timestamp": format!("{}T10:00:00.{number:06}", sample.day),
        "proxy-time-consumed": "1.0ms",
        "request": { "url": sample.url, "method": "POST", "headers": { "accept": "*/*", "Editor-Version": sample.editor }, "content": sample.request },
        "response": { "status_code": sample.status, "headers": {}, "content": sample.answer },
    });
    fs::write(folder.join(format!("{}T10-00-00.{number:06}_-_127.0.0.1_x_-.json", sample.day)), record.to_string()).unwrap();
}

fn logs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let streamed =
        "data: {\"model\":\"m\",\"choices\":[]}\n\ndata: {\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
    let messages = "event: message_start\ndata: {\"message\":{\"model\":\"claude\",\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n\
                    event: message_delta\ndata: {\"usage\":{\"output_tokens\":5}}\n\n";
    let samples = [
        Sample {
            day: "2025-01-01",
            user: Some("ana"),
            url: CHAT,
            editor: "vscode/1.95.3",
            request: json!({ "model": "gpt" }).to_string(),
            status: Some(200),
            answer: streamed,
        },
        Sample {
            day: "2025-01-01",
            user: Some("ana"),
            url: COMPLETION,
            editor: "vscode/1.96.0",
            request: json!({ "extra": { "language": "rust" } }).to_string(),
            status: Some(200),
            answer: "",
        },
        Sample {
            day: "2025-01-02",
            user: Some("bob"),
            url: COMPLETION,
            editor: "JetBrains-IC/242",
            request: json!({ "extra": { "language": "go" } }).to_string(),
            status: None,
            answer: "",
        },
        Sample {
            day: "2025-01-03",
            user: None,
            url: "https://api.githubcopilot.com/v1/messages",
            editor: "-",
            request: "no JSON".to_owned(),
            status: Some(500),
            answer: messages,
        },
        Sample {
            day: "2025-01-03",
            user: Some("ana"),
            url: "wss://api.githubcopilot.com/responses",
            editor: "vscode/1.95.3",
            request: "{\"type\":\"response.create\",\"response\":{\"model\":\"five\"}}\n{\"type\":\"x\"}".to_owned(),
            status: Some(101),
            answer: "{\"type\":\"response.created\"}\n{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":2,\"output_tokens\":9}}}",
        },
    ];
    for (number, sample) in samples.iter().enumerate() {
        put(folder.path(), if sample.url == COMPLETION { "completions" } else { "chat" }, number, sample);
    }
    put(folder.path(), "telemetry", 9, &samples[0]);
    fs::write(folder.path().join("chat/torn.json"), "{\"timestamp\": \"2025-01").unwrap();
    fs::write(folder.path().join("chat/other.json"), "{}").unwrap();
    fs::write(folder.path().join("README.md"), "no record").unwrap();
    // Of a day that is none, and one that nobody writes into.
    let first = fs::read_dir(folder.path().join("telemetry")).unwrap().next().unwrap().unwrap().path();
    let odd = fs::read_to_string(first).unwrap().replace("2025-01-01T", "../01/2025 ");
    fs::write(folder.path().join("chat/odd.json"), odd).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("chat/pipe.json"), mode).unwrap();
    folder
}

fn by(dimensions: &[Dimension]) -> Query {
    Query { by: dimensions.to_vec(), ..Query::default() }
}

fn rows(query: &Query) -> (Vec<(String, [u64; 6])>, u64, u64) {
    let logs = logs();
    let usage = count(logs.path(), query, &Progress::default()).unwrap();
    let numbers =
        |counts: Counts| [counts.requests, counts.chat, counts.completions, counts.failed, counts.input_tokens, counts.output_tokens];
    (usage.rows.into_iter().map(|(key, counts)| (key.join(" "), numbers(counts))).collect(), usage.counted, usage.skipped)
}

#[test]
fn use_is_told_apart_by_each_dimension() {
    type Row<'a> = (&'a str, [u64; 6]);
    let table: [(Dimension, &[Row<'_>]); 5] = [
        (Dimension::User, &[("-", [1, 1, 0, 1, 7, 5]), ("ana", [3, 2, 1, 0, 12, 12]), ("bob", [1, 0, 1, 1, 0, 0])]),
        (Dimension::Day, &[("2025-01-01", [2, 1, 1, 0, 10, 3]), ("2025-01-02", [1, 0, 1, 1, 0, 0]), ("2025-01-03", [2, 2, 0, 1, 9, 14])]),
        (
            Dimension::Model,
            &[("claude", [1, 1, 0, 1, 7, 5]), ("five", [1, 1, 0, 0, 2, 9]), ("gpt", [1, 1, 0, 0, 10, 3]), ("gpt-41", [2, 0, 2, 1, 0, 0])],
        ),
        (Dimension::Editor, &[("-", [1, 1, 0, 1, 7, 5]), ("JetBrains-IC", [1, 0, 1, 1, 0, 0]), ("vscode", [3, 2, 1, 0, 12, 12])]),
        (Dimension::Language, &[("-", [3, 3, 0, 1, 19, 17]), ("go", [1, 0, 1, 1, 0, 0]), ("rust", [1, 0, 1, 0, 0, 0])]),
    ];
    for (dimension, expected) in table {
        let (rows, counted, skipped) = rows(&by(&[dimension]));
        let expected: Vec<(String, [u64; 6])> = expected.iter().map(|(key, counts)| ((*key).to_owned(), *counts)).collect();
        assert_eq!((rows, counted, skipped), (expected, 5, 4), "{dimension}");
    }
}

#[test]
fn days_are_bounds_on_both_sides_and_rows_may_have_several_keys() {
    let query = Query { since: Some(date!(2025 - 01 - 01)), until: Some(date!(2025 - 01 - 02)), by: vec![Dimension::Day, Dimension::User] };

    let (rows, counted, _) = rows(&query);

    let keys: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!((keys, counted), (vec!["2025-01-01 ana", "2025-01-02 bob"], 3));
}

#[test]
fn days_are_exported_by_user_editor_and_language() {
    let logs = logs();

    let (days, skipped) = daily(logs.path(), &Query::default(), &Progress::default()).unwrap();

    assert_eq!(skipped, 4);
    let names: Vec<&str> = days.keys().map(String::as_str).collect();
    assert_eq!(names, ["copilot-usage_2025-01-01.json", "copilot-usage_2025-01-02.json", "copilot-usage_2025-01-03.json"]);
    let expected: Value = json!({
        "day": "2025-01-01",
        "total_chat_turns": 1,
        "total_completions_count": 1,
        "usage": { "ana": { "chat_turns": 1, "completions_count": 1, "chat": { "vscode/1.95.3": 1 }, "completions": { "vscode/1.96.0": { "rust": 1 } } } },
    });
    assert_eq!(days[names[0]], expected);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = count(Path::new("/nowhere/logs"), &Query::default(), &Progress::default()).unwrap_err();

    assert!(format!("{error:#}").contains("/nowhere/logs"), "{error:#}");
}
