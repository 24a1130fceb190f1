//! Several proxies behind a balancer, with one root.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use flowgate::tasks::Tasks;
use flowgate_testkit::{
    Client, Origin,
    program::{self, Program},
    within,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// Passes TCP through, to one after the other.
async fn balancer(proxies: Vec<SocketAddr>, tasks: &Tasks) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, next, connections) = (socket.local_addr().unwrap(), AtomicUsize::new(0), tasks.clone());
    tasks.spawn(async move {
        while let Ok((mut client, _)) = socket.accept().await {
            let proxy = proxies[next.fetch_add(1, Ordering::Relaxed) % proxies.len()];
            connections.spawn(async move {
                let mut proxy = TcpStream::connect(proxy).await.unwrap();
                copy_bidirectional(&mut client, &mut proxy).await.ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn clients_trust_each_proxy_that_has_the_same_root() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let resolve = format!("{target}={}", origin.address());
    let first = Program::start(BINARY, &["--resolve", &resolve]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    for file in ["flowgate-ca.pem", "flowgate-ca-key.pem"] {
        // With its mode.
        fs::copy(first.folder().join("state").join(file), folder.path().join("state").join(file)).unwrap();
    }
    let second = Program::start_in(folder, BINARY, &["--resolve", &resolve]).await;
    let tasks = Tasks::new();
    let balancer = balancer(vec![first.address(), second.address()], &tasks).await;

    for number in 0..4 {
        let mut connection = Client::through(balancer, first.root_pem()).with_user("ana", "x").h1(&target).await.unwrap();
        let answer = connection.exchange(copilot::completion(copilot::HOST, &number.to_string(), b"{}")).await.unwrap();
        assert_eq!(answer.text(), "ok");
    }

    // Each of them has its half, and they count as one.
    let halves = [first.records().after(2).await.len(), second.records().after(2).await.len()];
    assert_eq!(halves, [2, 2]);
    for record in second.records().all() {
        fs::copy(&record.path, first.folder().join("logs").join(&record.category).join(format!("second-{}", record.name))).unwrap();
    }
    // Which somebody is writing: it says nothing about a folder that is named.
    fs::write(first.folder().join("flowgate.toml"), "listen = ").unwrap();
    let mut counting = program::command(BINARY, first.folder());
    let counted = program::output(counting.args(["usage", "--logs", "logs", "--format", "csv"])).await.unwrap();
    let counted = String::from_utf8(counted.stdout).unwrap();
    assert!(counted.contains("\nana,4,"), "{counted}");
    fs::remove_file(first.folder().join("flowgate.toml")).unwrap();
    // The doctor goes through one proxy after the other, and finds one root.
    let mut doctor = program::command(BINARY, first.folder());
    let found = program::output(doctor.args(["doctor", "--through", &balancer.to_string(), "--user", "ana"])).await.unwrap();
    let said = String::from_utf8_lossy(&found.stdout);
    assert!(found.status.code() == Some(0) && said.contains("ok       interception"), "{said}");
    // One that is gone takes nobody with it.
    let (code, _) = first.terminate().await;
    assert_eq!(code, Some(0));
    let mut connection = Client::through(second.address(), second.root_pem()).h1(&target).await.unwrap();
    within("the answer", connection.exchange(copilot::completion(copilot::HOST, "5", b"{}"))).await.unwrap();
}
