//! Diagnostics at their most talkative, of a proxy through which secrets pass in every way: none is in them.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flowgate_testkit::{Origin, Script, Setup, client::Client, program::Program};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// Everything but what compilers tell of their work.
const ALL: &str = "trace,wasmtime=warn,cranelift=warn,cranelift_codegen=warn,wasmtime_cranelift=warn,regalloc2=warn";

/// A word that is found wherever it appears.
fn secret(of: &str) -> String {
    format!("s3cr3t-{of}-Xy7")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diagnostics_hold_no_secret_at_any_level() {
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash(secret("password"), 4).unwrap();
    std::fs::write(folder.path().join("users"), format!("ana:{hash}\n")).unwrap();
    let answer = |seen: &flowgate_testkit::Seen| {
        let answer = Script::new(if seen.target.contains("odd") { 500 } else { 200 });
        answer.field("set-cookie", secret("set-cookie")).field("x-answer", secret("answer-field")).data(secret("answer"))
    };
    let (both, clear) = (Origin::start(Setup::tls(), answer).await, Origin::start(Setup::clear(), answer).await);
    let program = Program::start_with(folder, BINARY, &["--users", "users"], &[("RUST_LOG", ALL)]).await;
    let ana = program.client().with_user("ana", &secret("password"));

    let (authorization, cookie, key, content) = (secret("bearer"), secret("cookie"), secret("key"), secret("content"));
    let fields =
        [("Authorization", authorization.as_str()), ("Cookie", &cookie), ("X-Api-Key", &key), ("Content-Type", "application/json")];
    for path in ["/v1/completions", "/odd", "/chat/completions"] {
        let path = format!("{path}?key={}", secret("query"));
        for origin in [&both, &clear] {
            let response = ana.post(&origin.url(&path), &fields, content.as_bytes()).await.unwrap();
            assert!(response.text().contains(&secret("answer")), "{}", response.status());
        }
        let head = fields.iter().fold(http::Request::post(both.url(&path)), |head, (name, value)| head.header(*name, *value));
        let mut connection = ana.h2(&both.authority()).await.unwrap();
        let response = connection.exchange(head.body(Bytes::from(content.clone())).unwrap()).await.unwrap();
        assert_eq!(response.content, secret("answer").as_bytes());
    }
    refused(&program.client(), &ana, &both).await;

    let said = program.terminate_and_hear().await;
    assert!(said.contains("TRACE") && said.contains("INFO"), "it says all");
    let mut leaked = Vec::new();
    let words = [
        "password",
        "wrong",
        "bearer",
        "cookie",
        "key",
        "content",
        "query",
        "set-cookie",
        "answer-field",
        "answer",
        "userinfo",
        "malformed",
    ];
    for word in words.map(secret) {
        let coded = BASE64_STANDARD.encode(format!("ana:{word}"));
        leaked.extend(said.lines().filter(|line| line.contains(&word) || line.contains(&coded)).take(2).map(str::to_owned));
    }
    assert!(leaked.is_empty(), "{}", leaked.join("\n"));
}

/// What is answered by the proxy itself, mostly because something is wrong with it.
async fn refused(stranger: &Client, ana: &Client, origin: &Origin) {
    let wrong = stranger.clone().with_user("ana", &secret("wrong"));
    assert_eq!(wrong.tunnel(&origin.authority()).await.unwrap_err().refused_with(), Some(407));
    let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("ana:{}", secret("password"))));
    let malformed = secret("malformed");
    for octets in [
        format!("GET http://u:{}@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", secret("userinfo")),
        format!("CONNECT u:{}@a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", secret("userinfo")),
        format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nAuthorization : {malformed}\r\n\r\n"),
        format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nCookie: {malformed}\0\r\n\r\n"),
        format!("GET /{malformed} HTTP/9.9\r\n\r\n"),
        format!(
            "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: {credentials}\r\nTransfer-Encoding: {malformed}\r\n\r\n"
        ),
    ] {
        let response = ana.to_proxy().await.unwrap().exchange(octets).await.unwrap();
        assert!(response.status() / 100 == 4, "{}", response.status());
    }
    let mut inside = ana.h1(&origin.authority()).await.unwrap();
    inside
        .send(format!("POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n{malformed}\r\n", origin.authority()))
        .await
        .unwrap();
    let _ = inside.response("POST").await;
    let unreachable =
        ana.send("http://nowhere.invalid/", "POST", &[("Authorization", &secret("bearer"))], secret("content").as_bytes()).await;
    assert_eq!(unreachable.unwrap().status(), 502);
}
