//! Configurations that are read again while something else happens.

use std::{
    fs,
    sync::{Mutex, mpsc},
};

use flowgate::config::Config;
use flowgate_testkit::{
    Origin,
    proxy::{Options, Proxy},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::Notify,
};

const HOST: &str = "models.example.test";

fn opening_everything(origin: &Origin) -> Options {
    let options = Options::new().without_logger().resolving(&format!("{HOST}:443"), origin);
    options.change(|config| config.intercept.push("*".to_owned()))
}

fn left_alone(config: &Config) -> Config {
    Config { tunnel: vec![HOST.to_owned()], ..config.clone() }
}

/// Waits until the proxy leaves the origin's TLS alone, whose certificates the client does not trust.
async fn until_left_alone(proxy: &Proxy) {
    within("the change of configuration", async { while proxy.client().h1(&format!("{HOST}:443")).await.is_ok() {} }).await;
}

/// Without waiting for the answer.
pub(crate) async fn ask_for_reload(proxy: &Proxy) -> UnixStream {
    let mut socket = UnixStream::connect(proxy.config().state_dir.join("admin.sock")).await.unwrap();
    socket.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: flowgate\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
    socket
}

#[tokio::test]
async fn it_is_taken_over_as_a_whole_though_who_asked_is_gone() {
    let origin = Origin::saying("ok").await;
    let (reading, (go, gone)) = (std::sync::Arc::new(Notify::new()), mpsc::sync_channel::<()>(1));
    let (begun, gone) = (reading.clone(), Mutex::new(gone));
    let proxy = Proxy::rereading(opening_everything(&origin), move |config| {
        begun.notify_one();
        gone.lock().unwrap().recv()?;
        Ok(left_alone(config))
    })
    .await;
    assert!(proxy.client().h1(&format!("{HOST}:443")).await.is_ok());

    let mut socket = ask_for_reload(&proxy).await;
    within("the reading", reading.notified()).await;
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within("the end of the connection", socket.read_to_end(&mut answer)).await.unwrap();
    go.send(()).unwrap();

    assert!(answer.is_empty(), "whoever asked did not wait for the answer");
    until_left_alone(&proxy).await;
}

#[tokio::test]
async fn what_is_written_while_it_is_read_is_read_once_more() {
    let origin = Origin::saying("ok").await;
    let options = opening_everything(&origin).change_in(|config, folder| {
        config.sought = Some(folder.join("choices"));
        fs::write(folder.join("choices"), "").unwrap();
    });
    let proxy = Proxy::rereading(options, |config| {
        let file = config.sought.as_ref().unwrap();
        let text = fs::read_to_string(file)?;
        if text == "first" {
            fs::write(file, "the second")?;
        }
        Ok(if text == "the second" { left_alone(config) } else { config.clone() })
    })
    .await;

    fs::write(proxy.config().sought.as_ref().unwrap(), "first").unwrap();
    let mut answer = String::new();
    within("the answer", ask_for_reload(&proxy).await.read_to_string(&mut answer)).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_left_alone(&proxy).await;
}
