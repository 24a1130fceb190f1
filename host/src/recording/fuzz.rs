//! Files of recorded flows, HAR files and records, under random edits: an error or flows, and the same flows when written anew.

use bytes::Bytes;
use serde_json::Value;

use super::{RecordedBody, RecordedFlow, export_har, file, layout, read, testing};
use crate::fuzzing::fuzz;

fn judge(input: &[u8]) -> String {
    let (source, flows) = match read::parse(Bytes::copy_from_slice(input), |_| {}) {
        Ok(read) => read,
        Err(error) => return error.root_cause().to_string().chars().filter(|sign| !sign.is_ascii_digit()).take(40).collect(),
    };
    let written = file::to_octets(&flows).expect("they came out of a file");
    let (_, again) = read::parse(written.into(), |_| {}).unwrap_or_else(|error| panic!("what was written cannot be read: {error:#}"));
    assert_eq!(again, flows);
    // What a HAR file cannot say is an error of its own; what it can say can be read, and says the same when it is exported once more.
    let exported = |flows: &[RecordedFlow]| {
        let har = export_har(flows).ok()?;
        let read = read::parse(har.to_string().into(), |_| {});
        Some(read.unwrap_or_else(|error| panic!("what was exported cannot be read: {error:#}")).1)
    };
    if let Some(once) = exported(&flows) {
        assert_eq!(once.len(), flows.len());
        assert_eq!(exported(&once).as_ref(), Some(&once));
    }
    format!("{source:?} {}", flows.len())
}

/// The same for a flow behind a head that is in order.
fn judge_flow(input: &[u8]) -> String {
    let entry = file::entry(input).expect("it is small");
    let shape = layout::decode(Bytes::copy_from_slice(input)).map(|flow| {
        let (sent, got) = (&flow.request.body, flow.response.as_ref().map(|response| &response.body));
        format!(" {} {:?} {}", sent.is_cut(), got.map(RecordedBody::is_cut), flow.frames.len())
    });
    judge(&[file::MAGIC, &entry].concat()) + &shape.unwrap_or_default()
}

#[test]
fn recorded_flows() {
    let mut asterisk = testing::flow(3);
    asterisk.request.head.path = Bytes::from_static(b"*");
    let seeds = [testing::flow(1), testing::conversation(2), asterisk].map(|flow| layout::encode(&flow));
    let words: &[&[u8]] = &[
        &[0; 8],
        &[0xff; 8],
        &1_u64.to_le_bytes(),
        &20_u64.to_le_bytes(),
        b"\0",
        b"\xff",
        b" ",
        b"%",
        b"?",
        b"#",
        b"gzip",
        b"Content-Encoding:",
    ];
    fuzz("recorded_flows", &[&seeds[0], &seeds[1], &seeds[2]], words, judge_flow);
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
