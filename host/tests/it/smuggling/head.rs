//! Answers of the proxy's own to HEAD: they have no content, which the client would take for the next response.

use flowgate_testkit::{
    client::request,
    origin::Vacant,
    proxy::{Options, Proxy},
};

#[tokio::test]
async fn a_refused_head_has_no_content() {
    let vacant = Vacant::new().unwrap();
    let authority = vacant.address().to_string();
    let proxy = Proxy::without_plugins(Options::new()).await;

    for (method, has_content) in [("HEAD", false), ("GET", true)] {
        let mut client = proxy.client().h1(&authority).await.unwrap();
        // So that all that comes is known: nothing follows it.
        client.send(request(method, "/", &authority, &[("Connection", "close")], b"")).await.unwrap();
        let head = client.head().await.unwrap();
        let (content, _) = client.wire().rest().await;
        assert_eq!((head.status(), !content.is_empty()), (502, has_content), "{method}: {head:?}");
    }
}

#[tokio::test]
async fn a_challenged_head_has_no_content() {
    let proxy = Proxy::start(Options::users([("ana", "s3cret")]).without_logger()).await;
    let mut client = proxy.client().to_proxy().await.unwrap();

    for method in ["HEAD", "GET", "HEAD"] {
        let asked = format!("{method} http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.exchange(asked).await.unwrap();
        assert_eq!((response.status(), response.content.is_empty()), (407, method == "HEAD"), "{method}: {response:?}");
    }
}
