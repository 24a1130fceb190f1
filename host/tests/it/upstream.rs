//! Origins behind another proxy.

use std::net::{Ipv6Addr, SocketAddr};

use flowgate_testkit::{
    Origin, Script, Setup,
    proxy::{Options, Proxy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
};

/// A name that only the upstream proxy can look up.
const HOST: &str = "inner.example.test";

fn behind(url: String) -> Options {
    Options::new().change(|config| {
        config.upstream_proxy = Some(url);
        config.no_proxy = vec!["direct.example.test".into()];
    })
}

#[tokio::test]
async fn everything_goes_through_the_upstream_proxy() {
    let (origin, clear) = (Origin::saying("sealed").await, Origin::start(Setup::clear(), |_| Script::ok("clear")).await);
    let upstream = Options::users([("gate", "s3cret: @")])
        .resolving(&format!("{HOST}:443"), &origin)
        .resolving(&format!("{HOST}:80"), &clear)
        .change(|config| config.tunnel.push("*".into()));
    let upstream = Proxy::start(upstream).await;
    let proxy = Proxy::start(behind(format!("http://gate:s3cret%3A%20%40@{}", upstream.address()))).await;

    let intercepted = proxy.client().get(&format!("https://{HOST}/")).await.unwrap();
    let in_clear = proxy.client().get(&format!("http://{HOST}/")).await.unwrap();

    assert_eq!((intercepted.text(), in_clear.text()), ("sealed".into(), "clear".into()));
    let seen = [origin.after(1).await, clear.after(1).await].concat();
    assert!(seen.iter().all(|seen| seen.get("host") == Some(HOST) && !seen.has("proxy-authorization")), "{seen:?}");
}

#[tokio::test]
async fn spliced_tunnels_go_through_it_too() {
    let origin = Origin::saying("sealed").await;
    let upstream = Options::new().resolving(&format!("{HOST}:443"), &origin).change(|config| config.tunnel.push("*".into()));
    let upstream = Proxy::start(upstream).await;
    let proxy = Proxy::start(behind(format!("http://{}", upstream.address())).change(|config| config.tunnel.push("*".into()))).await;

    let answer = proxy.client().trusting_origins().get(&format!("https://{HOST}/")).await.unwrap();

    assert_eq!(answer.text(), "sealed");
}

#[tokio::test]
async fn exceptions_are_reached_directly() {
    let origin = Origin::saying("direct").await;
    // Nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = behind(format!("http://{nobody}")).resolving("fixed.example.test:443", &origin);
    let proxy = Proxy::start(options.change(|config| config.no_proxy.push("127.0.0.0/8".into()))).await;

    let answer = proxy.client().get(&format!("https://{}/", origin.address())).await.unwrap();
    let fixed = proxy.client().get("https://fixed.example.test/").await.unwrap();
    let other = proxy.client().get(&format!("https://{HOST}/")).await.unwrap();

    assert_eq!((answer.text(), fixed.text(), other.head.status()), ("direct".into(), "direct".into(), 502));
}

#[tokio::test]
async fn what_the_upstream_proxy_refuses_is_said() {
    let upstream = Options::users([("gate", "s3cret")]).change(|config| config.tunnel.push("*".into()));
    let upstream = Proxy::start(upstream).await;
    let table = [
        (format!("http://{}", upstream.address()), "asks for credentials (407)"),
        (format!("http://gate:other@{}", upstream.address()), "does not accept the credentials"),
        (format!("http://gate:s3cret@{}", upstream.address()), "refused to connect: 502"),
        ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1 cannot be used: connecting to 127.0.0.1:1 failed: "),
    ];
    for (url, expected) in table {
        let proxy = Proxy::start(behind(url)).await;

        let answer = proxy.client().get("http://nowhere.example.test/").await.unwrap();

        let text = answer.text();
        assert_eq!(answer.head.status(), 502);
        assert!(text.contains(expected) && text.contains("the upstream proxy 127.0.0.1") && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_socks_proxy_is_spoken_to_by_name() {
    let origin = Origin::saying("sealed").await;
    for (userinfo, credentials) in [("", None), ("ana:s3cret@", Some(("ana", "s3cret")))] {
        let (address, mut asked) = socks(origin.address(), credentials).await;
        let proxy = Proxy::start(behind(format!("socks5://{userinfo}{address}"))).await;

        let answer = proxy.client().get(&format!("https://{HOST}/")).await.unwrap();

        assert_eq!(answer.text(), "sealed");
        let named = [&[3, HOST.len() as u8], HOST.as_bytes(), &443_u16.to_be_bytes()].concat();
        assert_eq!(asked.recv().await, Some(named));
    }
}

#[tokio::test]
async fn a_socks_proxy_gets_addresses_as_addresses() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("clear")).await;
    let (address, mut asked) = socks(origin.address(), None).await;
    let proxy = Proxy::start(behind(format!("socks5://{address}"))).await;
    let v4 = [1, 127, 0, 0, 7, 0, 80].to_vec();
    let v6 = [[4].as_slice(), &Ipv6Addr::LOCALHOST.octets(), &8443_u16.to_be_bytes()].concat();
    for (authority, expected) in [("127.0.0.7", v4), ("[::1]:8443", v6)] {
        let answer = proxy.client().get(&format!("http://{authority}/")).await.unwrap();

        assert_eq!(answer.text(), "clear", "{authority}");
        assert_eq!(asked.recv().await, Some(expected), "{authority}");
    }
}

#[tokio::test]
async fn what_follows_a_socks_reply_at_once_is_heard() {
    let origin = Origin::speaking_first().await;
    let (address, _asked) = socks(origin.address(), None).await;
    let proxy = Proxy::start(behind(format!("socks5://{address}"))).await;
    let mut wire = proxy.client().tunnel(&format!("{HOST}:25")).await.unwrap();

    assert_eq!(&wire.until(b"\n").await.unwrap()[..], b"220 ready\r\n");
}

/// A SOCKS5 proxy (RFC 1928, RFC 1929) that takes everybody to `origin`, and tells where they asked to go: from ATYP to the port, in octets.
async fn socks(origin: SocketAddr, credentials: Option<(&'static str, &'static str)>) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = channel(8);
    let tasks = flowgate::tasks::Tasks::new();
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            connections.spawn(async move {
                greet(&mut client, credentials).await;
                let destination = destination(&mut client).await;
                let speaks_first = destination.ends_with(&25_u16.to_be_bytes());
                asked.send(destination).await.unwrap();
                let mut connection = TcpStream::connect(origin).await.unwrap();
                let mut reply = vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
                // What a mail server says first goes out with the reply.
                if speaks_first {
                    connection.read_buf(&mut reply).await.unwrap();
                }
                client.write_all(&reply).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut connection).await;
            });
        }
    });
    (address, asks)
}

/// RFC 1928 §3: the one method that fits is offered; RFC 1929 §2: and its credentials are right.
async fn greet(client: &mut TcpStream, credentials: Option<(&str, &str)>) {
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).await.unwrap();
    let Some((user, password)) = credentials else {
        assert_eq!(greeting, [5, 1, 0]);
        return client.write_all(&[5, 0]).await.unwrap();
    };
    assert_eq!(greeting, [5, 1, 2]);
    client.write_all(&[5, 2]).await.unwrap();
    let mut login = vec![0; 3 + user.len() + password.len()];
    client.read_exact(&mut login).await.unwrap();
    let expected = [&[1, user.len() as u8], user.as_bytes(), &[password.len() as u8], password.as_bytes()].concat();
    assert_eq!(login, expected);
    client.write_all(&[1, 0]).await.unwrap();
}

/// RFC 1928 §4 and §5: what is to be connected to, from ATYP to the port.
async fn destination(client: &mut TcpStream) -> Vec<u8> {
    let mut start = [0; 5];
    client.read_exact(&mut start).await.unwrap();
    assert_eq!(start[..3], [5, 1, 0]);
    // What follows the first octet of the address, its port with it.
    let rest = match start[3] {
        1 => 3 + 2,
        3 => usize::from(start[4]) + 2,
        4 => 15 + 2,
        other => panic!("there is no address of type {other}"),
    };
    let mut asked = start[3..].to_vec();
    asked.resize(2 + rest, 0);
    client.read_exact(&mut asked[2..]).await.unwrap();
    asked
}
