//! Flows as data, and the records they make, byte for byte.
//!
//! `completions` and `telemetry` are records that the tool this one takes the place of left behind; they never change. `oddities` is
//! what this logger adds where something went wrong: `UPDATE_GOLDEN=1` rewrites it; read the difference.

use std::{env, fs, path::PathBuf};

use flowgate_guest::{
    Direction, Flow, Observer, Outcome, WriteMode,
    testing::{Sample, configure, take_records},
};
use flowgate_logger::Logger;
use serde::Deserialize;

#[derive(Deserialize)]
struct Data {
    client: Client,
    url: String,
    method: String,
    request: Message,
    status: u16,
    response: Message,
    request_start: u64,
    response_end: u64,
}

#[derive(Deserialize)]
struct Client {
    address: String,
    user: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    headers: Vec<(String, String)>,
    body: String,
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn sample(name: &str) -> Sample {
    let text = fs::read_to_string(golden(&format!("{name}.flow.json"))).expect("the fixture is there");
    let data: Data = serde_json::from_str(&text).expect("the fixture is JSON");
    let mut sample = Sample::new(&data.method, &data.url)
        .client(&data.client.address)
        .request_body(data.request.body)
        .response(data.status)
        .response_body(data.response.body)
        .times(data.request_start, Some(data.response_end));
    for (name, value) in data.request.headers {
        sample = sample.request_header(&name, value);
    }
    for (name, value) in data.response.headers {
        sample = sample.response_header(&name, value);
    }
    match data.client.user {
        Some(user) => sample.user(&user),
        None => sample,
    }
}

/// Path and text of the one record that flow makes.
fn record(flow: Sample) -> (String, String) {
    let (mut logger, _) = configure::<Logger>("{}").expect("the default is good");
    logger.on_flow_end(&Flow::from(flow));
    let kept = take_records();
    let [record] = kept.as_slice() else { panic!("{} records", kept.len()) };
    assert_eq!(record.mode, WriteMode::CreateNew);
    (record.path.clone(), String::from_utf8(record.data.clone()).expect("records are UTF-8"))
}

#[test]
fn a_completion_is_recorded_as_it_always_was() {
    let (path, text) = record(sample("completions"));

    assert_eq!(path, "completions/2024-12-08T13-18-23.331449_4ce93ec3b2_127.0.0.1_satomic_vscode-1.95.3.json");
    assert_eq!(text, fs::read_to_string(golden("completions.record.json")).expect("the fixture is there"));
}

#[test]
fn telemetry_is_recorded_as_it_always_was() {
    let (path, text) = record(sample("telemetry"));

    assert_eq!(path, "telemetry/2024-12-08T13-28-23.121297_-_127.0.0.1_satomic_-.json");
    assert_eq!(text, fs::read_to_string(golden("telemetry.record.json")).expect("the fixture is there"));
}

#[test]
fn what_went_wrong_is_said_after_the_rest() {
    let (_, text) = record(
        sample("completions")
            .outcome(Outcome::OriginFailed("the connection was reset".to_owned()))
            .request_body(b"caf\xe9")
            .response_body("data: {\"a\"")
            .truncated(Direction::Response, 70_000)
            .still_coded(Direction::Response),
    );

    let file = golden("oddities.record.json");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &text).expect("the fixture can be written");
    }
    assert_eq!(text, fs::read_to_string(file).expect("the fixture is there"));
}
