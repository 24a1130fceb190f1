//! The admin listener: who may ask, and what a scraper gets.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use flowgate_testkit::{
    Authority, Client, Origin, Response,
    client::request,
    guests, program, prometheus,
    proxy::{ADMIN_TOKEN, Options, Proxy},
};
use serde_json::json;

use crate::copilot;

/// Asks with these fields and no others, whatever Host they name.
async fn ask(address: SocketAddr, method: &str, path: &str, host: &str, fields: &[(&str, &str)]) -> Response {
    let mut connection = Client::through(address, Authority::shared().pem()).to_proxy().await.unwrap();
    let response = connection.exchange(request(method, path, host, fields, b"")).await;
    response.unwrap_or_else(|failure| panic!("{method} {path}: {failure}"))
}

fn bearer() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_made_token() {
    // No file may grow, which is what a full disk comes to.
    const FULL: &str = r#"trap '' XFSZ; ulimit -f 0; exec "$0" "$@""#;
    let folder = tempfile::tempdir().unwrap();
    let mut command = program::command("/bin/sh", folder.path());
    let run = ["run", "--listen", "127.0.0.1:0", "--state", "state", "--admin", "127.0.0.1:0"];
    let output = program::output(command.args(["-c", FULL, env!("CARGO_BIN_EXE_flowgate")]).args(run)).await.unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("making the admin token"), "{said}");
    let left: Vec<_> = std::fs::read_dir(folder.path().join("state")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("admin-token")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_has_every_metric_that_is_documented_and_no_other() {
    let origin = Origin::saying("ok").await;
    let options = Options::new()
        .admin()
        .granting("logger")
        .component("chameleon", guests::CHAMELEON)
        .plugin("chameleon", json!({ "errands": [{ "count": ["one_seen", {}, 1] }, { "count": ["not a name", {}, 1] }] }));
    let proxy = Proxy::start(options.resolving(&format!("{}:443", copilot::HOST), &origin)).await;
    let mut connection = proxy.client().h1(&format!("{}:443", copilot::HOST)).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    proxy.records().after(1).await;

    let scrape = ask(proxy.admin(), "GET", "/metrics", "localhost", &[]).await.text();

    assert_eq!(prometheus::faults(&scrape), Vec::<String>::new(), "{scrape}");
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operation.md")).unwrap();
    let name = |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name.to_owned());
    let is_own = |name: &String| name.starts_with("flowgate_") || name.starts_with("process_");
    let documented: BTreeSet<String> = docs.lines().filter_map(name).filter(is_own).collect();
    let scraped: BTreeSet<String> = prometheus::families(&scrape).into_keys().filter(is_own).collect();
    assert_eq!(scraped, documented);
    for line in [
        "flowgate_flows_total{outcome=\"completed\"} 1",
        "flowgate_responses_total{class=\"2xx\"} 1",
        "flowgate_tunnels_total{treatment=\"intercepted\"} 1",
        "flowgate_tls_handshakes_total{side=\"client\",outcome=\"completed\"} 1",
        "flowgate_content_bytes_total{direction=\"response\"} 2",
        "flowgate_client_connections_open 1.0",
        "one_seen_total{plugin=\"chameleon\"} 1",
    ] {
        assert!(scrape.lines().any(|found| found == line), "{line} is not in\n{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_counted() {
    let options = Options::users([("ana", "secret")]).without_logger().admin();
    let proxy = Proxy::start(options).await;
    proxy.client().h1("nowhere.invalid:443").await.unwrap_err();
    proxy.client_as("ana", "wrong").h1("nowhere.invalid:443").await.unwrap_err();
    proxy.client_as("ana", "secret").h1("127.0.0.1:1").await.unwrap_err();
    let answer = proxy.client_as("ana", "secret").get("http://127.0.0.1:1/").await.unwrap();
    assert_eq!(answer.head.status(), 502);

    let scrape = ask(proxy.admin(), "GET", "/metrics", "localhost", &[]).await.text();

    for line in [
        "flowgate_auth_refusals_total{reason=\"missing\"} 1",
        "flowgate_auth_refusals_total{reason=\"wrong\"} 1",
        "flowgate_refusals_total{error=\"http_request_denied\"} 2",
        "flowgate_refusals_total{error=\"connection_refused\"} 2",
        "flowgate_responses_total{class=\"5xx\"} 1",
        "flowgate_response_start_seconds_count 1",
        "flowgate_tunnels_total{treatment=\"spliced\"} 1",
    ] {
        assert!(scrape.lines().any(|found| found == line), "{line} is not in\n{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_opens_what_is_more_than_numbers() {
    let proxy = Proxy::start(Options::new().without_logger().admin()).await;
    let address = proxy.admin();
    let host = address.to_string();

    let open = [("/healthz", "ok\n"), ("/readyz", "ready\n")];
    for (path, expected) in open {
        let response = ask(address, "GET", path, "whatever.test", &[]).await;
        assert_eq!((response.status(), response.text().as_str()), (200, expected));
    }
    for (method, path) in [("GET", "/v1/plugins"), ("GET", "/v1/flows"), ("POST", "/v1/plugins/reload"), ("POST", "/v1/plugins/x/rollback")]
    {
        for wrong in [vec![], vec![("Authorization", "Bearer a-token-of-the-ki")], vec![("Authorization", "Basic a-token-of-the-kit")]] {
            let refused = ask(address, method, path, &host, &wrong).await;
            assert_eq!(
                (refused.status(), refused.head.get("www-authenticate")),
                (401, Some("Bearer realm=\"flowgate\"")),
                "{method} {path}"
            );
        }
    }
    let admitted = ask(address, "GET", "/v1/plugins", &host, &[("Authorization", &bearer())]).await;
    assert_eq!((admitted.status(), admitted.text().as_str()), (200, "[]"));
    assert_eq!(admitted.head.get("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_get_nothing_even_with_the_token() {
    let options = Options::new().without_logger().admin().change(|config| config.admin.names = vec!["proxy.corp.test".to_owned()]);
    let proxy = Proxy::start(options).await;
    let (address, token) = (proxy.admin(), bearer());
    let port = address.port();
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);
    let table: [Case<'_>; 11] = [
        ("localhost", &[], 200),
        ("127.0.0.1", &[], 200),
        ("[::1]:80", &[], 200),
        ("Proxy.corp.test:1", &[], 200),
        ("evil.test", &[], 421),
        ("192.0.2.1", &[], 421),
        ("localhost.evil.test", &[], 421),
        ("localhost", &[("Origin", "http://evil.test")], 403),
        ("localhost", &[("Origin", "null")], 403),
        ("localhost", &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")], 403),
        ("localhost", &[("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")], 200),
    ];
    for (host, fields, expected) in table {
        for path in ["/v1/plugins", "/metrics"] {
            let fields: Vec<_> = fields.iter().copied().chain([("Authorization", token.as_str())]).collect();
            assert_eq!(ask(address, "GET", path, host, &fields).await.status(), expected, "{host} {fields:?} {path} {port}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_numbers_need_the_token_too() {
    let options = Options::new().without_logger().admin().change(|config| config.admin.listen = Some(([0, 0, 0, 0], 0).into()));
    let proxy = Proxy::start(options).await;
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.admin().port()));

    let [without, with] = [vec![], vec![("Authorization", bearer())]].map(|fields| async move {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value): &(&str, String)| (*name, value.as_str())).collect();
        ask(address, "GET", "/metrics", "192.0.2.1", &fields).await.status()
    });

    assert_eq!((without.await, with.await), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_where_there_is_none() {
    let options = Options::new().without_logger().admin().change(|config| config.admin.token = None);
    let proxy = Proxy::start(options).await;
    let made = fs::read_to_string(proxy.config().state_dir.join("admin-token")).unwrap();

    let fields = [("Authorization", format!("Bearer {}", made.trim()))];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));

    assert_eq!(ask(proxy.admin(), "GET", "/v1/plugins", "localhost", &fields).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_ask_the_admin_port_at_once_and_others_wait() {
    let proxy = Proxy::start(Options::new().without_logger().admin()).await;
    let client = Client::through(proxy.admin(), Authority::shared().pem());
    let health = || request("GET", "/healthz", "localhost", &[], b"");
    let mut places = Vec::new();
    for _ in 0..flowgate::config::limits::ADMIN_PORT_CONNECTIONS {
        let mut place = client.to_proxy().await.unwrap();
        assert_eq!(place.exchange(health()).await.unwrap().status(), 200);
        places.push(place);
    }

    let mut beyond = client.to_proxy().await.unwrap();
    beyond.send(health()).await.unwrap();

    // Whoever is served would have been by now.
    for place in &mut places {
        assert_eq!(place.exchange(health()).await.unwrap().status(), 200);
    }
    let waits = tokio::select! { biased; _ = beyond.wire().more() => false, () = std::future::ready(()) => true };
    assert!(waits);
    places.pop();
    assert_eq!(beyond.response("GET").await.unwrap().status(), 200);
}
