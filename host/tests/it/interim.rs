//! Responses before the response: 100, 103, and answers that come while the request is still being sent.

use flowgate_testkit::{
    Origin, Script, Setup,
    client::request,
    origin::Act,
    proxy::{Options, Proxy},
};

#[tokio::test]
async fn continue_comes_from_the_origin() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("done").continuing()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await.unwrap();

    let interim = connection.head().await.unwrap();
    let sent_before = origin.seen()[0].content.clone();
    connection.send("abc").await.unwrap();

    assert_eq!((interim.status(), sent_before), (100, Vec::new()));
    assert_eq!(connection.response("POST").await.unwrap().text(), "done");
    assert_eq!(origin.after(1).await[0].get("expect"), Some("100-continue"));
}

#[tokio::test]
async fn an_expectation_may_be_refused() {
    let origin = Origin::start(Setup::http1(), |_| Script::new(417).early().data("no").close()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    connection.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await.unwrap();
    let response = connection.response("POST").await.unwrap();

    assert_eq!((response.status(), response.text(), response.interim.len()), (417, "no".to_owned(), 0));
}

#[tokio::test]
async fn early_hints_pass_before_the_response() {
    let origin = Origin::start(Setup::http1(), |_| {
        Script::raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nLink: </b.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let response = proxy.client().get(&origin.root()).await.unwrap();

    let hints: Vec<&[u8]> = response.interim.iter().map(flowgate_testkit::Head::octets).collect();
    assert_eq!(hints, [b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nLink: </b.css>\r\n\r\n"]);
    assert_eq!(response.text(), "hi");
}

#[tokio::test]
async fn an_answer_may_come_while_the_request_is_sent() {
    let origin = Origin::start(Setup::http1(), |_| Script::new(413).early().data("too large").then(Act::Read)).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal").await.unwrap();

    let response = connection.response("POST").await.unwrap();

    assert_eq!((response.status(), response.text(), response.trouble), (413, "too large".to_owned(), None));
}

#[tokio::test]
async fn an_answer_reaches_a_client_that_writes_more_than_anybody_reads() {
    let origin = Origin::start(Setup::http1(), |_| Script::new(413).early().field("connection", "close").data("too large").close()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let content = vec![b'x'; 8 << 20];

    let response = proxy.client().post(&origin.root(), &[], &content).await.unwrap();

    assert_eq!((response.status(), response.text()), (413, "too large".to_owned()));
}

#[tokio::test]
async fn requests_follow_on_the_connection_after_interim_responses() {
    let origin = Origin::start(Setup::http1(), |seen| Script::ok(seen.target.clone()).interim(102, &[]).interim(100, &[])).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    for path in ["/1", "/2"] {
        let response = connection.exchange(request("GET", path, "x", &[], b"")).await.unwrap();
        assert_eq!(
            (response.text(), response.interim.iter().map(flowgate_testkit::Head::status).collect()),
            (path.to_owned(), vec![100, 102])
        );
    }
}
