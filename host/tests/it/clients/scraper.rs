//! What scrapers get, judged by Prometheus' own tool.

use std::process::Stdio;

use flowgate_testkit::{
    Authority, Client, Origin,
    client::request,
    guests,
    proxy::{Options, Proxy},
    within,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use super::installed;
use crate::copilot;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs what host/tests/clients/install brings"]
async fn promtool_has_nothing_to_say_about_a_scrape() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let options = Options::new()
        .admin()
        .resolving(&target, &origin)
        .component("chameleon", guests::CHAMELEON)
        .plugin("chameleon", json!({ "errands": [{ "count": ["one_seen", {}, 1] }] }));
    let proxy = Proxy::start(options).await;
    let mut connection = proxy.client_as("ana", "").h1(&target).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    proxy.records().after(1).await;
    let mut scraper = Client::through(proxy.admin(), Authority::shared().pem()).to_proxy().await.unwrap();
    let scrape = scraper.exchange(request("GET", "/metrics", "localhost", &[], b"")).await.unwrap().text();

    let [good, bad] = [scrape.clone(), scrape.replace("_total", "")].map(|text| async move {
        let mut command = Command::new(installed().join("promtool"));
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut promtool = command.spawn().expect("promtool is installed");
        let mut input = promtool.stdin.take().expect("it is piped");
        input.write_all(text.as_bytes()).await.unwrap();
        drop(input);
        let output = within("promtool", promtool.wait_with_output()).await.unwrap();
        (output.status.success(), [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat())
    });

    assert_eq!(good.await, (true, String::new()), "{scrape}");
    let (passed, said) = bad.await;
    assert!(!passed && said.contains("_total"), "{said}");
    assert!(scrape.contains("one_seen_total{plugin=\"chameleon\"} 1"), "{scrape}");
}
