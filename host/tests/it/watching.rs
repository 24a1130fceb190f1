//! The status page's own interface: flows as they happen, one in detail, and who used what.

use flowgate_testkit::{
    Authority, Client, Origin, Response, Script,
    client::{Answer, H1, request},
    guests,
    proxy::{ADMIN_TOKEN, Options, Proxy},
    within,
};
use serde_json::{Value, json};

use crate::copilot;

fn bearer() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

async fn page(proxy: &Proxy) -> H1 {
    Client::through(proxy.admin(), Authority::shared().pem()).to_proxy().await.unwrap()
}

async fn asked(proxy: &Proxy, method: &str, path: &str) -> Response {
    page(proxy).await.exchange(request(method, path, "localhost", &[("Authorization", &bearer())], b"")).await.unwrap()
}

/// What is told first.
async fn first(answer: &mut Answer<'_>) -> String {
    let octets = within("the first piece", answer.next()).await.unwrap().unwrap();
    String::from_utf8(octets.to_vec()).unwrap()
}

/// The first flow of which such a thing is told.
async fn until(answer: &mut Answer<'_>, such: impl Fn(&Value) -> bool) -> Value {
    let mut text = String::new();
    within("the flow", async {
        loop {
            text.push_str(&String::from_utf8_lossy(&answer.next().await.unwrap().unwrap()));
            while let Some((piece, rest)) = text.split_once("\n\n") {
                let told: Value = piece.strip_prefix("data: ").map(|data| serde_json::from_str(data).unwrap()).unwrap_or_default();
                text = rest.to_owned();
                if let Some(flow) = told["flows"].as_array().and_then(|flows| flows.iter().find(|flow| such(flow))) {
                    return flow.clone();
                }
            }
        }
    })
    .await
}

async fn watched(options: Options, script: impl Fn() -> Script + Send + Sync + 'static) -> (Proxy, Origin, H1) {
    let origin = Origin::start(flowgate_testkit::Setup::tls(), move |_| script()).await;
    let proxy = Proxy::start(options.admin().resolving(&format!("{}:443", copilot::HOST), &origin)).await;
    let mut viewer = page(&proxy).await;
    viewer.send(request("GET", "/v1/watch", "localhost", &[("Authorization", &bearer())], b"")).await.unwrap();
    (proxy, origin, viewer)
}

const ANSWER: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Good \"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"morning\"}}]}\n\ndata: [DONE]\n\n";

fn answer() -> Script {
    Script::ok(ANSWER).field("Content-Type", "text/event-stream")
}

async fn complete(proxy: &Proxy) {
    let mut connection = proxy.client_as("ana", "").h1(&format!("{}:443", copilot::HOST)).await.unwrap();
    let response = connection.exchange(copilot::completion(copilot::HOST, "1", b"{\"prompt\":\"greet\"}")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_seen_when_it_happens_and_can_be_looked_into() {
    let (proxy, _origin, mut viewer) = watched(Options::new(), answer).await;
    let mut live = viewer.begin("GET").await.unwrap();
    // Watching has begun once the first piece is there.
    assert!(first(&mut live).await.contains("\"content\":true"));
    complete(&proxy).await;

    let flow = until(&mut live, |flow| flow["outcome"] == "completed").await;
    let detail: Value = serde_json::from_str(&asked(&proxy, "GET", &format!("/v1/watch/{}", flow["flow"])).await.text()).unwrap();

    assert_eq!((&flow["user"], &flow["status"], &flow["path"]), (&"ana".into(), &200.into(), &copilot::COMPLETIONS.into()));
    assert_eq!((&flow["sent"], &flow["received"]), (&18.into(), &ANSWER.len().into()));
    let contents = &detail["contents"];
    assert_eq!((&contents["said"], &contents["events"][2]["data"]), (&"Good morning".into(), &"[DONE]".into()));
    assert_eq!(contents["request"]["text"], "{\"prompt\":\"greet\"}");
    let fields = contents["request"]["fields"].to_string();
    assert!(fields.contains("[\"authorization\",\"[not shown]\"]") && !fields.contains("tid="), "{fields}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_are_not_shown_where_they_are_not_to_be() {
    let options = Options::new().change(|config| config.admin.content = false);
    let (proxy, _origin, mut viewer) = watched(options, answer).await;
    let mut live = viewer.begin("GET").await.unwrap();
    assert!(first(&mut live).await.contains("\"content\":false"));
    complete(&proxy).await;

    let flow = until(&mut live, |flow| flow["outcome"] == "completed").await;
    let detail = asked(&proxy, "GET", &format!("/v1/watch/{}", flow["flow"])).await.text();

    assert!(detail.contains("\"contents\":null") && !detail.contains("greet") && !detail.contains("morning"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plugins_did_is_told_and_what_observers_must_not_see_is_not() {
    let options = Options::new()
        .component("redact", guests::REDACT)
        .plugin("redact", json!({ "remove": ["x-request-id"] }))
        .component("chameleon", guests::CHAMELEON)
        .plugin("chameleon", json!({ "on_request": "trap" }))
        .change(|config| config.redaction.patterns = vec!["copilot-[a-z]+/|greet".to_owned()]);
    let (proxy, _origin, mut viewer) = watched(options, answer).await;
    let mut live = viewer.begin("GET").await.unwrap();
    first(&mut live).await;
    complete(&proxy).await;

    let flow = until(&mut live, |flow| flow["outcome"] == "completed").await;
    let detail = asked(&proxy, "GET", &format!("/v1/watch/{}", flow["flow"])).await.text();
    let plugins: Value = serde_json::from_str(&asked(&proxy, "GET", "/v1/plugins").await.text()).unwrap();

    assert_eq!(
        (&flow["verdicts"], &flow["path"]),
        (&json!(["chameleon: failed", "redact: changed x-request-id"]), &"/v1/engines/[redacted]completions".into())
    );
    assert!(detail.contains("[redacted]") && !detail.contains("greet") && !detail.contains("copilot-codex"), "{detail}");
    let failed = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "chameleon").unwrap();
    assert_eq!((&failed["last_failure"]["hook"], &failed["last_failure"]["flow"]), (&"on-request".into(), &flow["flow"]));
    assert!(failed["last_failure"]["error"].as_str().unwrap().contains("unreachable"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_while_nobody_watches() {
    let origin = Origin::saying("ok").await;
    let proxy = Proxy::start(Options::new().admin().resolving(&format!("{}:443", copilot::HOST), &origin)).await;
    complete(&proxy).await;
    proxy.records().after(1).await;

    let mut viewer = page(&proxy).await;
    viewer.send(request("GET", "/v1/watch", "localhost", &[("Authorization", &bearer())], b"")).await.unwrap();
    let first = first(&mut viewer.begin("GET").await.unwrap()).await;

    assert!(first.contains("\"flows\":[]"), "{first}");
    assert_eq!(asked(&proxy, "GET", "/v1/watch/1").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_counted_for_the_page() {
    let origin = Origin::saying("{}").await;
    let proxy = Proxy::start(Options::new().admin().resolving(&format!("{}:443", copilot::HOST), &origin)).await;
    complete(&proxy).await;
    proxy.records().after(1).await;

    let used: Value = serde_json::from_str(&asked(&proxy, "GET", "/v1/usage?by=user,model").await.text()).unwrap();
    let all: Value = serde_json::from_str(&asked(&proxy, "GET", "/v1/usage").await.text()).unwrap();
    let wrong = asked(&proxy, "GET", "/v1/usage?by=nobody").await;

    let table = |at: usize| (&used["tables"][at]["by"], &used["tables"][at]["rows"][0]["key"]);
    assert_eq!([table(0), table(1)], [(&"user".into(), &"ana".into()), (&"model".into(), &"copilot-codex".into())]);
    assert_eq!(used["tables"][1]["rows"][0]["counts"]["completions"], 1);
    assert_eq!((all["tables"].as_array().unwrap().len(), &all["counted"]), (5, &1.into()));
    assert_eq!(wrong.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_only_what_lies_beside_it() {
    let proxy = Proxy::start(Options::new().without_logger().admin()).await;

    for (path, media_type) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/favicon.svg", "image/svg+xml")]
    {
        let response = page(&proxy).await.exchange(request("GET", path, "localhost", &[], b"")).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.head.get("content-type").unwrap().starts_with(media_type), "{path}");
        let policy = response.head.get("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(
            !response.text().contains("innerHTML") && !response.text().contains(" style=") && !response.text().contains("https://"),
            "{path}"
        );
    }
}
