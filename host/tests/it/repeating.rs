//! The same flows give the same octets: again, in another time zone, and on a machine with another date.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::trying::{Desk, text};

const FLOWS: usize = 1000;

/// A second apart from each other; every tenth becomes a WebSocket.
fn flows() -> String {
    let entries: Vec<Value> = (0..FLOWS).map(entry).collect();
    json!({ "log": { "entries": entries } }).to_string()
}

fn entry(number: usize) -> Value {
    let mut entry = json!({
        "startedDateTime": format!("2024-12-08T13:{:02}:{:02}.{number:03}Z", number / 60, number % 60),
        "time": 40 + number % 7,
        "request": {
            "method": "POST", "url": format!("https://a.test/chat/{number}"), "httpVersion": "HTTP/1.1",
            "headers": [{ "name": "Host", "value": "a.test" }],
            "postData": { "mimeType": "text/plain", "text": format!("what is proxy {number}") },
        },
        "response": {
            "status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1",
            "headers": [{ "name": "Content-Type", "value": "text/event-stream" }],
            "content": { "text": format!("data: a proxy\n\ndata: number {number}\n\n") },
        },
        "timings": { "send": 1, "wait": 9, "receive": 30 },
    });
    if number.is_multiple_of(10) {
        entry["request"]["method"] = "GET".into();
        entry["request"].as_object_mut().unwrap().remove("postData");
        entry["response"] = json!({ "status": 101, "headers": [] });
        entry["_webSocketMessages"] = json!([
            { "type": "send", "opcode": 1, "data": format!("question {number}") },
            { "type": "receive", "opcode": 1, "data": "answer" },
        ]);
    }
    entry
}

/// A library that sets the wall clock of whoever loads it six years ahead. Whatever links Rust programs makes it.
fn other_date(desk: &Desk) -> PathBuf {
    const AHEAD: &str = "\
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <time.h>
        int clock_gettime(clockid_t which, struct timespec *now) {
            int (*machine)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, \"clock_gettime\");
            int outcome = machine(which, now);
            if (which == CLOCK_REALTIME) now->tv_sec += 6 * 31557600;
            return outcome;
        }
    ";
    desk.put("ahead.c", AHEAD);
    let library = desk.path("ahead.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(desk.path("ahead.c")).arg("-ldl").status();
    assert!(made.expect("there is cc, which links this test").success());
    library
}

#[tokio::test]
async fn a_thousand_flows_give_the_same_octets_wherever_and_whenever() {
    let desk = Desk::new();
    desk.put("flows.har", &flows());
    let config = json!({
        "response_body": "chunks", "framing": "sse-events", "word": ["proxy", "gate"],
        "on_request": ["set-header", "tag", "print"], "journal": "journal", "messages": "messages",
        "first_errands": [{ "set": ["mark", "1", 500] }],
        "errands": ["now", "chance", { "get": "mark" }, { "increment": ["n", 1] }, { "count": ["seen", {}, 1] }],
    });
    let arguments = ["plugin", "test", "chameleon.wasm", "flows.har", "--config", &config.to_string()];
    let ahead = other_date(&desk);
    let elsewhen = [("TZ", "America/St_Johns"), ("LD_PRELOAD", ahead.to_str().unwrap())];

    let here = text(&desk.run(&arguments).await);
    let again = text(&desk.run_with(&[("TZ", "Pacific/Kiritimati")], &arguments).await);
    let later = text(&desk.run_with(&elsewhen, &arguments).await);

    assert!(here == again && here == later, "they differ");
    assert_eq!(here.lines().filter(|line| line.starts_with("flow ")).count(), FLOWS);
    // An entry that lasts 500 seconds is gone for the flow of then, and the guest's clock stands where its flow stands.
    let errands = here.split("==> records/errands\n").nth(1).unwrap().split("\n==> ").next().unwrap();
    let told = |line: &str| errands.lines().filter(|told| *told == line).count();
    assert_eq!((told("Ok(Some(\"1\"))"), told("Ok(None)"), told("Ok(1000)")), (500, 500, 1));
    let first = errands.lines().find(|line| line.starts_with("17336628")).unwrap();
    assert_eq!(first, "1733662800000000");

    // That program does see another date.
    let year = async |environment: &[(&str, &str)], state: &str| {
        let shown = text(&desk.run_with(environment, &["ca", "show", "--state", state]).await);
        shown
            .split(|sign: char| !sign.is_ascii_digit())
            .find_map(|word| word.parse().ok().filter(|year| (2020..2200).contains(year)))
            .unwrap()
    };
    let (now, then): (u32, u32) = (year(&[], "now").await, year(&elsewhen, "then").await);
    assert!((5..=7).contains(&(then - now)), "{now} {then}");
}
