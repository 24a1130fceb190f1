//! Single origins that are spoken to otherwise than the rest: client certificates, and trust that holds for them only.

use std::fs;

use flowgate::config::OriginConfig;
use flowgate_testkit::{
    Authority, Fault, Origin, Script, Setup,
    program::{self, Program},
    proxy::{Options, Proxy},
};
use http::Request;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");
const HOST: &str = "own.example.test";

/// A proxy that finds `origin` under [`HOST`] and under `other.example.test`, with those settings for the first.
async fn proxy(origin: &Origin, settings: impl FnOnce(&std::path::Path) -> OriginConfig + Send + 'static) -> Proxy {
    let options = Options::new().resolving(&format!("{HOST}:443"), origin).resolving("other.example.test:443", origin);
    let options = options.change_in(move |config, folder| {
        config.origins.insert("own.*.test".to_owned(), settings(folder));
    });
    Proxy::without_plugins(options).await
}

fn written(folder: &std::path::Path, name: &str, content: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn an_origin_that_asks_for_a_certificate_gets_the_one_for_it() {
    for setup in [Setup::http1(), Setup::tls()] {
        let origin = Origin::start(setup.clone().asking_for_client(), |_| Script::ok("known")).await;
        let proxy = proxy(&origin, |folder| {
            let file = written(folder, "me.pem", &Authority::shared().client_pem("me"));
            OriginConfig { client: Some((file.clone(), file)), ..OriginConfig::default() }
        })
        .await;

        let mut connection = proxy.client().h2(&format!("{HOST}:443")).await.unwrap();
        let known = connection.exchange(Request::get(format!("https://{HOST}/")).body(bytes::Bytes::new()).unwrap()).await.unwrap();
        let stranger = proxy.client().get("https://other.example.test/").await.unwrap();

        assert_eq!((known.status, &known.content[..], stranger.status()), (200, &b"known"[..], 502), "{setup:?}");
        assert!(stranger.text().contains("CertificateRequired"), "{}", stranger.text());
    }
}

#[tokio::test]
async fn an_authority_for_one_host_is_one_for_no_other() {
    let origin = Origin::start(Setup::tls().fault(Fault::UnknownIssuer), |_| Script::ok("trusted")).await;
    let proxy = proxy(&origin, |folder| {
        let file = written(folder, "stranger.pem", Authority::stranger_pem());
        OriginConfig { ca: vec![file], ..OriginConfig::default() }
    })
    .await;

    let own = proxy.client().get(&format!("https://{HOST}/")).await.unwrap();
    let other = proxy.client().get("https://other.example.test/").await.unwrap();

    assert_eq!((own.text(), other.status()), ("trusted".to_owned(), 502));
}

#[tokio::test]
async fn a_host_that_may_show_anything_is_the_only_one() {
    for fault in Fault::ALL {
        let origin = Origin::start(Setup::tls().fault(fault), |_| Script::ok("accepted")).await;
        let proxy = proxy(&origin, |_| OriginConfig { accept_any_certificate: true, ..OriginConfig::default() }).await;

        let own = proxy.client().get(&format!("https://{HOST}/")).await.unwrap();
        let other = proxy.client().get("https://other.example.test/").await.unwrap();
        // The host that is connected to counts, not the name that is asked for.
        let named = proxy.client().with_server_name(HOST).h1("other.example.test:443").await.unwrap();
        let disguised = { named }.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();

        assert_eq!((own.text(), other.status(), disguised.status()), ("accepted".to_owned(), 502, 502), "{fault:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_taken_over_while_the_proxy_runs() {
    let origin = Origin::start(Setup::tls().asking_for_client(), |_| Script::ok("known")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("flowgate.toml"), "intercept = '*'\n").unwrap();
    let program = Program::start_in(folder, BINARY, &["--resolve", &format!("{HOST}:443={}", origin.address())]).await;
    let url = format!("https://{HOST}/");
    let before = program.client().get(&url).await.unwrap();
    written(program.folder(), "me.pem", &Authority::shared().client_pem("me"));
    let table = format!("intercept = '*'\n[origins.'{HOST}']\nclient-certificate = 'me.pem'\naccept-any-certificate = true\n");
    written(program.folder(), "flowgate.toml", &table);

    let reload = program.command(BINARY, &["reload"]).await;
    let after = program.client().get(&url).await.unwrap();
    let mut checking = program::command(BINARY, program.folder());
    let checked = program::output(checking.args(["check", "--upstream-ca", "origins.pem", "--state", "other"])).await.unwrap();

    assert!(reload.status.success(), "{reload:?}");
    assert_eq!((before.status(), after.text()), (502, "known".to_owned()));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && said.contains(&format!("any certificate is accepted from {HOST}")), "{checked:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let cases = [("nothing.pem", ""), ("half.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")];
    for (name, content) in cases {
        let options = Options::new().change_in(move |config, folder| {
            let file = written(folder, name, content);
            let settings = OriginConfig { client: Some((file.clone(), file)), ..OriginConfig::default() };
            config.origins.insert(HOST.to_owned(), settings);
        });

        let error = format!("{:#}", Proxy::try_start(options).await.err().unwrap());

        assert!(error.contains(name) && error.contains(HOST), "{error}");
    }
}
