//! Under a service manager: sockets that were opened before the proxy began, readiness, signs of life.

use std::{net::TcpListener, os::unix::net::UnixDatagram, path::Path};

use flowgate_testkit::{
    Origin,
    program::{self, Program},
    within,
};
use tokio::net::TcpStream;

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// Where the proxy says how it does.
fn manager(folder: &Path) -> tokio::net::UnixDatagram {
    let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    tokio::net::UnixDatagram::from_std(socket).unwrap()
}

async fn told(manager: &tokio::net::UnixDatagram, expected: &str) {
    within(expected, async {
        let mut octets = [0; 1024];
        loop {
            let length = manager.recv(&mut octets).await.unwrap();
            if octets[..length].split(|octet| *octet == b'\n').any(|line| line == expected.as_bytes()) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn who_connects_before_the_start_is_served_after_it() {
    let origin = Origin::saying("ok").await;
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let early = TcpStream::connect(address).await.unwrap();

    let program = Program::start_on(socket, "clear", BINARY, &["--resolve", &resolve], &[]).await;

    assert_eq!(program.address(), address, "the socket goes before --listen");
    let mut connection = program.client().h1(&format!("{}:443", copilot::HOST)).await.unwrap();
    assert_eq!(connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap().text(), "ok");
    program.hang_up().await;
    let answer = early_answer(early).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("This is flowgate"), "{answer}");
    assert_eq!(program.terminate().await.0, Some(0));
    assert!(TcpStream::connect(address).await.is_err(), "nobody holds the socket any more");
}

async fn early_answer(mut early: TcpStream) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    early.write_all(b"GET / HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("the answer", early.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_socket_serves_what_its_name_says() {
    let (tls, admin) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (at_tls, at_admin) = (tls.local_addr().unwrap(), admin.local_addr().unwrap());

    let secured = Program::start_on(tls, "tls", BINARY, &[], &[]).await;
    let watched = Program::start_on(admin, "admin", BINARY, &[], &[]).await;

    let said = secured.terminate_and_hear().await;
    assert!(said.contains(&format!(", {at_tls}")), "{said}");
    let health = early_answer_of(at_admin, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("ok\n"), "{health}");
    assert_eq!(watched.terminate().await.0, Some(0));
}

async fn early_answer_of(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_second_socket_for_operators_is_refused_as_nobody_would_answer_on_it() {
    const TWICE: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:admin; exec "$0" "$@" 3<&0 4<&0 0</dev/null"#;
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();

    let mut command = program::command("/bin/sh", folder.path());
    command.args(["-c", TWICE, BINARY, "run", "--listen", "127.0.0.1:0"]).stdin(std::os::fd::OwnedFd::from(socket));
    let output = program::output(&mut command).await.unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("two sockets named admin") && said.contains(&address.to_string()), "{said}");
}

#[tokio::test]
async fn a_socket_for_everybody_is_refused_as_an_address_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();

    let mut command = program::passing(socket, "clear", BINARY, folder.path());
    let output = program::output(command.args(["run", "--state", "state"])).await.unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("lets anybody who reaches this machine use the proxy"), "{said}");
}

#[tokio::test]
async fn the_manager_is_told_of_readiness_life_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(folder.path());
    let path = folder.path().join("notify").to_str().unwrap().to_owned();

    let variables = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "20000")];
    let program = Program::start_with(tempfile::tempdir().unwrap(), BINARY, &[], &variables).await;

    told(&manager, "READY=1").await;
    told(&manager, "WATCHDOG=1").await;
    told(&manager, "WATCHDOG=1").await;
    let ending = flowgate::tasks::Tasks::new().spawn(program.terminate());
    told(&manager, "STOPPING=1").await;
    assert_eq!(ending.await.unwrap().0, Some(0));
}
