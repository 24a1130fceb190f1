//! What is promised of records beyond their form: none is lost, none lands where it should not, none says more than it may.

use std::time::{SystemTime, UNIX_EPOCH};

use flowgate_guest::{
    Direction, Flow, MessageKind, MessageRecord, Observer, Outcome,
    log::Level,
    records::KeepError,
    testing::{Sample, configure, pass_message, refuse_records, take_lines, take_records},
};
use flowgate_logger::Logger;
use serde_json::{Value, json};

const URL: &str = "https://proxy.enterprise.githubcopilot.com/v1/engines/copilot-codex/completions";

fn post() -> Sample {
    Sample::new("POST", URL).response(200).times(0, Some(1_733_663_903_331_449))
}

/// Paths and records of that flow.
fn records(flow: Sample) -> Vec<(String, Value)> {
    let (mut logger, _) = configure::<Logger>("{}").expect("the default is good");
    logger.on_flow_end(&Flow::from(flow));
    let parse = |data: Vec<u8>| serde_json::from_slice(&data).expect("records are JSON");
    take_records().into_iter().map(|kept| (kept.path, parse(kept.data))).collect()
}

fn one_record(flow: Sample) -> (String, Value) {
    let mut records = records(flow);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[test]
fn nobody_is_null_in_the_field_and_a_dash_in_the_name() {
    let (path, record) = one_record(post());

    assert_eq!(record["proxy-authorization"], Value::Null);
    assert_eq!(path, "completions/2024-12-08T13-18-23.331449_-_127.0.0.1_-_-.json");
}

#[test]
fn someone_called_none_is_not_nobody() {
    let (path, record) = one_record(post().user("None"));

    assert_eq!((record["proxy-authorization"].as_str(), path.contains("_None_")), (Some("None"), true));
}

#[test]
fn machine_and_editor_are_found_in_any_case_of_letters() {
    let (path, record) =
        one_record(post().request_header("Editor-Version", "vscode/1.95.3").request_header("VScode-MachineId", "0123456789ab"));

    assert!(path.ends_with("_0123456789_127.0.0.1_-_vscode-1.95.3.json"), "{path}");
    assert_eq!(record["request"]["headers"], json!({"Editor-Version": "vscode/1.95.3", "VScode-MachineId": "0123456789ab"}));
}

#[test]
fn repeated_fields_are_joined_where_the_first_stands() {
    let flow = post().response_header("Set-Cookie", "a=1").response_header("x", "y").response_header("set-cookie", "b=2");

    let (_, record) = one_record(flow);

    let headers = record["response"]["headers"].as_object().expect("an object");
    assert_eq!(
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
        [("Set-Cookie", Some("a=1, b=2")), ("x", Some("y"))]
    );
}

#[test]
fn content_and_fields_that_are_not_utf8_lose_no_record() {
    let flow = post().request_header("x-name", b"J\xfcrgen").request_body(b"\x89PNG\r\n\x1a\n\0").response_body("ünï");

    let (_, record) = one_record(flow);

    assert_eq!(record["request"]["headers"]["x-name"], "Jürgen");
    assert_eq!(record["request"]["content"], "\u{fffd}PNG\r\n\u{1a}\n\0");
    assert_eq!(record["flowgate"], json!({"request": {"octets_base64": "iVBORw0KGgoA"}}));
}

#[test]
fn hostile_names_stay_in_their_folder() {
    for text in ["../../../tmp/x", "..", "a/b\\c", "nul\0", "new\nline", &"long".repeat(100)] {
        let flow = post().user(text).request_header("editor-version", text).request_header("vscode-machineid", text);

        let (path, record) = one_record(flow);

        let name = path.strip_prefix("completions/").expect("the folder is the category");
        assert!(!name.contains(['/', '\\', '\0', '\n']) && !name.contains("..") && name.len() <= 200, "{name:?}");
        assert_eq!(record["proxy-authorization"], text, "the record keeps what the name cannot");
    }
}

#[test]
fn a_flow_that_broke_off_is_recorded_with_what_had_passed() {
    let flow = Sample::new("POST", URL).request_body("a prompt").times(1_000_000, None).outcome(Outcome::ClientAborted);

    let (_, record) = one_record(flow);

    assert_eq!(record["request"]["content"], "a prompt");
    assert_eq!(record["response"], json!({"status_code": null, "headers": {}, "content": ""}));
    assert_eq!(record["flowgate"], json!({"outcome": "client-aborted"}));
    // No response ended, so the moment of saving takes that place.
    let year = record["timestamp"].as_str().and_then(|text| text[..4].parse::<u64>().ok()).expect("a year");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs();
    assert!(year >= 1970 + since / 31_622_400 && year <= 1971 + since / 31_536_000, "{year}");
}

#[test]
fn what_a_plugin_answered_is_recorded_and_what_the_host_refused_is_not() {
    let answered = |by: &str| post().outcome(Outcome::AnsweredBy(by.to_owned()));

    let (_, record) = one_record(answered("redact"));
    assert_eq!(record["flowgate"], json!({"outcome": "answered-by", "cause": "redact"}));
    assert!(records(answered("host")).is_empty());
}

#[test]
fn flows_that_no_rule_names_leave_nothing() {
    for (method, url) in [("GET", "https://api.githubcopilot.com/models"), ("GET", "https://api.enterprise.githubcopilot.com/v1/messages")]
    {
        assert!(records(Sample::new(method, url).response(200)).is_empty(), "{method} {url}");
    }
}

#[test]
fn newer_endpoints_have_folders_of_their_own() {
    for (path, folder) in [("/responses", "responses/"), ("/v1/messages", "messages/")] {
        let (at, _) = one_record(Sample::new("POST", &format!("https://api.githubcopilot.com{path}")).response(200).times(0, Some(1)));
        assert!(at.starts_with(folder), "{at}");
    }
}

#[test]
fn a_websocket_handshake_is_recorded_like_any_flow() {
    let (_, record) = one_record(Sample::new("GET", "https://api.githubcopilot.com/completions").response(101).times(0, Some(1)));

    assert_eq!((&record["response"]["status_code"], &record["response"]["content"]), (&json!(101), &json!("")));
}

#[test]
fn a_full_queue_is_asked_again() {
    refuse_records([KeepError::Overloaded, KeepError::Overloaded]);

    assert_eq!(records(post()).len(), 1);
    assert!(take_lines().is_empty());
}

#[test]
fn a_lost_record_is_an_error_line_without_content() {
    for refusals in [vec![KeepError::Overloaded; 5], vec![KeepError::Denied("no folder".to_owned())]] {
        refuse_records(refusals);

        assert!(records(post().request_body("a secret prompt")).is_empty());

        let lines = take_lines();
        assert!(matches!(lines.as_slice(), [(Level::Error, line)] if line.contains("is lost") && !line.contains("secret")), "{lines:?}");
    }
}

#[test]
fn what_is_cut_short_or_still_coded_says_so() {
    let flow = post().request_body("cut").truncated(Direction::Request, 10).response_body("odd").still_coded(Direction::Response);

    let (_, record) = one_record(flow);

    assert_eq!(record["flowgate"], json!({"request": {"truncated": true, "wire_length": 10}, "response": {"still_coded": true}}));
}

#[test]
fn bodies_are_text_to_the_logger_and_nothing_else() {
    let body = "__import__('os').system('true') \\u4f60 {\"a\": true}";

    let (_, record) = one_record(post().request_body(body));

    assert_eq!(record["request"]["content"], body);
}

fn message(sent: Direction, kind: MessageKind, sequence: u64, content: &str) -> MessageRecord {
    let length = content.len() as u32;
    MessageRecord { sent, kind, at: 1_733_663_903_000_000 + sequence * 1000, sequence, length, content: content.as_bytes().to_vec() }
}

/// Records of a WebSocket on which that was said: `>` by the client, `<` by the server.
fn said(lines: &[&str]) -> Vec<(String, Value)> {
    let flow = Sample::new("GET", "https://api.githubcopilot.com/responses")
        .request_header("editor-version", "vscode/1.95.3")
        .response(101)
        .times(1_733_663_902_000_000, Some(1_733_663_902_500_000));
    let flow = Flow::from(flow);
    for (sequence, line) in lines.iter().enumerate() {
        let (sent, content) = match line.split_at(1) {
            (">", content) => (Direction::Request, content),
            (_, content) => (Direction::Response, content),
        };
        let kind = if content == "bye" { MessageKind::Closed } else { MessageKind::Text };
        // Any instance will do.
        let (mut logger, _) = configure::<Logger>("{}").expect("the default is good");
        pass_message(&mut logger, &flow, message(sent, kind, sequence as u64, content));
    }
    let (mut logger, _) = configure::<Logger>("{}").expect("the default is good");
    logger.on_flow_end(&flow);
    let parse = |data: Vec<u8>| serde_json::from_slice(&data).expect("records are JSON");
    take_records().into_iter().map(|kept| (kept.path, parse(kept.data))).collect()
}

fn contents(records: &[(String, Value)]) -> Vec<(&str, &str)> {
    records
        .iter()
        .map(|(_, record)| {
            (record["request"]["content"].as_str().unwrap_or_default(), record["response"]["content"].as_str().unwrap_or_default())
        })
        .collect()
}

#[test]
fn each_exchange_of_messages_is_a_record_and_so_is_the_handshake() {
    let records = said(&[">a", ">b", "<1", "<2", ">c", "<3", ">bye", "<bye"]);

    assert_eq!(contents(&records), [("a\nb", "1\n2"), ("c", "3"), ("", "")]);
    let (path, first) = &records[0];
    assert_eq!(path, "responses/2024-12-08T13-18-23.003000_-_127.0.0.1_-_vscode-1.95.3.json");
    assert_eq!(
        first,
        &json!({
            "proxy-authorization": null,
            "timestamp": "2024-12-08T13:18:23.003000",
            "proxy-time-consumed": "3.0ms",
            "request": {
                "url": "https://api.githubcopilot.com/responses",
                "method": "GET",
                "headers": {"editor-version": "vscode/1.95.3"},
                "content": "a\nb"
            },
            "response": {"status_code": 101, "headers": {}, "content": "1\n2"}
        })
    );
    assert_eq!(records[2].1["timestamp"], "2024-12-08T13:18:22.500000");
}

#[test]
fn what_stands_alone_is_recorded_too() {
    assert_eq!(contents(&said(&["<hello", ">a"])), [("", "hello"), ("a", ""), ("", "")]);
    assert_eq!(contents(&said(&[])), [("", "")]);
    assert_eq!(contents(&said(&[">bye"])), [("", "")]);
}

#[test]
fn messages_that_were_cut_or_missed_are_noted() {
    let flow = Flow::from(Sample::new("GET", "https://api.githubcopilot.com/responses").response(101));
    let (mut logger, _) = configure::<Logger>("{}").expect("the default is good");
    let mut long = message(Direction::Request, MessageKind::Text, 0, "long");
    long.length = 1000;
    for message in [
        long,
        message(Direction::Response, MessageKind::Text, 1, "one"),
        message(Direction::Response, MessageKind::Text, 5, "two"),
        message(Direction::Request, MessageKind::Text, 6, "next"),
    ] {
        pass_message(&mut logger, &flow, message);
    }

    let records = take_records();
    let record: Value = serde_json::from_slice(&records[0].data).expect("records are JSON");
    assert_eq!(
        record["flowgate"],
        json!({"request": {"truncated": true, "wire_length": 1000}, "response": {"truncated": true, "wire_length": 6}})
    );
}
