//! Several addresses of one origin: which of them is connected to.
//!
//! Place: used by `dial` when a name has been looked up. An address that nothing comes back from must not keep those behind it from their
//! turn: whoever goes there without a proxy does not wait for it either.
//! Source: RFC 8305 §4, §5.

use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, task::Poll, time::Duration};

use tokio::time::sleep;

/// How long an attempt has before the next one begins beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The first connection that comes up; the others are given up. If none does, what the last one said.
pub(super) async fn first<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = alternating(addresses).into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match waiting.next() {
            Some(address) => running.push(Box::pin(connect(address))),
            None if running.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            biased;
            ended = one_of(&mut running) => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error,
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// Whatever ends first, which is taken out.
async fn one_of<T, F: Future<Output = io::Result<T>>>(running: &mut Vec<Pin<Box<F>>>) -> io::Result<T> {
    poll_fn(|cx| {
        for at in 0..running.len() {
            if let Poll::Ready(ended) = running[at].as_mut().poll(cx) {
                drop(running.swap_remove(at));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

/// Addresses of the first one's family and of the other in turn, each in its order.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let len = addresses.len();
    let starts_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (same, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == starts_with_v6);
    let (mut same, mut other, mut all) = (same.into_iter(), other.into_iter(), Vec::with_capacity(len));
    while all.len() < len {
        all.extend(same.next());
        all.extend(other.next());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// Ports: 1 never answers, 2 refuses, others connect. What came of it, and the ports that were tried.
    async fn tried(addresses: &[&str]) -> (Result<u16, io::ErrorKind>, Vec<u16>) {
        let ports = RefCell::new(Vec::new());
        let connected = first(addresses.iter().map(|text| address(text)).collect(), |address| {
            ports.borrow_mut().push(address.port());
            async move {
                match address.port() {
                    1 => pending().await,
                    2 => Err(io::ErrorKind::ConnectionRefused.into()),
                    port => Ok(port),
                }
            }
        })
        .await;
        (connected.map_err(|error| error.kind()), ports.into_inner())
    }

    #[tokio::test]
    async fn an_address_that_never_answers_keeps_no_other_from_its_turn() {
        assert_eq!(tried(&["[::1]:1", "127.0.0.1:80"]).await, (Ok(80), vec![1, 80]));
        assert_eq!(tried(&["[::1]:1", "[::1]:81", "127.0.0.1:80"]).await, (Ok(80), vec![1, 80]));
        assert_eq!(tried(&["[::1]:1", "127.0.0.1:2", "[::1]:80"]).await, (Ok(80), vec![1, 2, 80]));
    }

    #[tokio::test]
    async fn the_first_that_connects_is_the_last_that_is_tried() {
        assert_eq!(tried(&["[::1]:80", "127.0.0.1:81"]).await, (Ok(80), vec![80]));
        assert_eq!(tried(&["[::1]:2", "127.0.0.1:80", "127.0.0.1:81"]).await, (Ok(80), vec![2, 80]));
        assert_eq!(tried(&["[::1]:2", "127.0.0.1:2"]).await, (Err(io::ErrorKind::ConnectionRefused), vec![2, 2]));
        assert_eq!(tried(&[]).await, (Err(io::ErrorKind::AddrNotAvailable), vec![]));
    }

    #[test]
    fn families_take_turns() {
        let all = alternating(["[::1]:1", "[::1]:2", "[::1]:3", "127.0.0.1:4"].map(address).into());

        assert_eq!(all.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 4, 2, 3]);
    }
}
