//! Files of recorded flows, HAR files and records, under random edits: an error or flows, and the same flows when written anew.

use bytes::Bytes;
use serde_json::Value;

use super::{export_har, file, read, testing};
use crate::fuzzing::fuzz;

fn judge(input: &[u8]) -> String {
    let (source, flows) = match read::parse(Bytes::copy_from_slice(input), |_| {}) {
        Ok(read) => read,
        Err(error) => return error.root_cause().to_string().chars().filter(|sign| !sign.is_ascii_digit()).take(40).collect(),
    };
    let written = file::to_octets(&flows).expect("they came out of a file");
    let (_, again) = read::parse(written.into(), |_| {}).unwrap_or_else(|error| panic!("what was written cannot be read: {error:#}"));
    assert_eq!(again, flows);
    // What a HAR file cannot say is an error of its own; what it can say can be read.
    if let Ok(har) = export_har(&flows) {
        let text = har.to_string();
        let (_, again) = read::parse(text.into(), |_| {}).unwrap_or_else(|error| panic!("what was exported cannot be read: {error:#}"));
        assert_eq!(again.len(), flows.len());
    }
    format!("{source:?} {}", flows.len())
}

#[test]
fn recording_files() {
    let flows = [testing::flow(1), testing::conversation(2)];
    let written = file::to_octets(&flows).expect("small");
    let one = file::to_octets(&flows[..1]).expect("small");
    let words: &[&[u8]] = &[b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01", b"\x7f", b"a.test", b"HTTP"];
    fuzz("recording_files", &[&written, &one], words, judge);
}

#[test]
fn har_files() {
    let flows = [testing::flow(1), testing::conversation(2)];
    let har = export_har(&flows).expect("small").to_string();
    let record = serde_json::json!({
        "proxy-authorization": "ana", "timestamp": "2024-12-08T16:36:43.331449", "proxy-time-consumed": "12.5ms",
        "request": { "url": "https://a.test/x", "method": "POST", "headers": { "Host": "a.test" }, "content": "{}" },
        "response": { "status_code": 200, "headers": {}, "content": "ok" },
    });
    let record: String = Value::to_string(&record);
    let words: &[&[u8]] = &[
        b"null",
        b"-1",
        b"1e99",
        b"\"\"",
        b"{}",
        b"[]",
        b"\"base64\"",
        b"true",
        b"\\u0000",
        b"0",
        b",",
        b"\"encoding\":",
        b"\"text\":",
        b"999999999999999999",
        b"\"https://\"",
        b"http://",
        b"2024-12-08T16:36:43.331Z",
        b"\"log\":",
    ];
    fuzz("har_files", &[har.as_bytes(), record.as_bytes()], words, judge);
}
