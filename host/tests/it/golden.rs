//! The records that are the product, out of the component that is shipped: the same fixtures as the logger's own tests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use flowgate::{
    flow::{
        Authority, ClientAddr, Content, Fields, Flow, Origin, Outcome, Principal, RequestHead, ResponseHead, Scheme, Scope, SharedFlow,
        Timings,
    },
    hooks::{Hooks, Probe},
    plugin::{Platform, Settings},
    record,
};
use http::{Method, StatusCode, Version};
use serde_json::Value;

#[tokio::test]
async fn both_golden_records_come_out_of_the_component() {
    for (name, file) in [
        ("completions", "completions/2024-12-08T13-18-23.331449_4ce93ec3b2_127.0.0.1_satomic_vscode-1.95.3.json"),
        ("telemetry", "telemetry/2024-12-08T13-28-23.121297_-_127.0.0.1_satomic_-.json"),
    ] {
        let folder = tempfile::tempdir().unwrap();

        observe(folder.path(), flow(name)).await;

        let record = fs::read_to_string(folder.path().join("logs").join(file)).unwrap();
        assert_eq!(record, fs::read_to_string(golden(&format!("{name}.record.json"))).unwrap());
    }
}

/// Shows a flow that has ended to the built-in logger, and waits for its record.
async fn observe(folder: &Path, flow: Flow) {
    let writer = record::Writer::start(record::Limits::default()).unwrap();
    let settings = Settings::new(folder.join("plugins"), folder.join("cache"), folder.join("logs"));
    let platform = Platform::start(settings, writer.clone(), Arc::new(())).await.unwrap();
    let probe = Probe { host: flow.origin.authority.host(), method: &flow.request.method, path: &flow.request.path };
    let course = platform.open(&probe).unwrap();
    course.end(SharedFlow::new(flow.into()));
    platform.close(Duration::from_secs(30)).await;
    assert!(writer.close().await.is_none());
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/logger/tests/golden").join(name)
}

fn flow(name: &str) -> Flow {
    let data: Value = serde_json::from_str(&fs::read_to_string(golden(&format!("{name}.flow.json"))).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let url = text(&data["url"]);
    let (host, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let client = ClientAddr((text(&data["client"]["address"]).parse::<std::net::IpAddr>().unwrap(), 1).into());
    let scope = Scope { connection: 1, client, principal: Principal::named(&text(&data["client"]["user"])) };
    let request = RequestHead {
        method: Method::from_bytes(text(&data["method"]).as_bytes()).unwrap(),
        scheme: Scheme::Https,
        authority: Bytes::copy_from_slice(host.as_bytes()),
        path: format!("/{path}").into(),
        version: Version::HTTP_2,
        fields: fields(&data["request"]["headers"]),
    };
    let origin = Origin { scheme: Scheme::Https, authority: Authority::new(host, 443) };
    let (start, end) = (data["request_start"].as_u64().unwrap(), data["response_end"].as_u64().unwrap());

    let mut flow = Flow::new(Arc::new(scope), origin, request);
    flow.request_content = Content::whole(text(&data["request"]["body"]).into());
    flow.response_content = Content::whole(text(&data["response"]["body"]).into());
    flow.response = Some(ResponseHead {
        status: StatusCode::from_u16(data["status"].as_u64().unwrap() as u16).unwrap(),
        reason: None,
        version: Version::HTTP_2,
        fields: fields(&data["response"]["headers"]),
    });
    flow.timings = Timings::recorded(UNIX_EPOCH + Duration::from_micros(start), Duration::from_micros(end - start));
    flow.outcome = Outcome::Completed;
    flow
}

fn fields(lines: &Value) -> Fields {
    let mut fields = Fields::default();
    for line in lines.as_array().unwrap() {
        fields.push(line[0].as_str().unwrap(), line[1].as_str().unwrap());
    }
    fields
}
