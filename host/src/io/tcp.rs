//! What every TCP connection is to be like, to clients and to origins.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How long a TCP connection is silent until the other side is asked for a sign of life, as browsers ask: routers forget silent connections
/// after minutes, and machines fall asleep. Nobody would be told, and a request on such a connection waits for a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(45);

/// Between two more questions.
const BETWEEN: Duration = Duration::from_secs(10);

/// Questions without an answer after which the connection has ended.
const QUESTIONS: u32 = 3;

/// Makes a connection so: nothing is held back (Nagle's delay: each chunked message would wait for the other side's delayed
/// acknowledgement, 40 ms), and an end that nobody tells of is noticed.
///
/// # Errors
/// What the system says.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let questions = TcpKeepalive::new().with_time(SILENCE).with_interval(BETWEEN).with_retries(QUESTIONS);
    SockRef::from(stream).set_tcp_keepalive(&questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_hold_nothing_back_and_are_asked_for_a_sign_of_life() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");

        prepare(&stream).expect("loopback can do all that");

        let socket = SockRef::from(&stream);
        let alive = (socket.keepalive(), socket.tcp_keepalive_time(), socket.tcp_keepalive_interval(), socket.tcp_keepalive_retries());
        let alive = (alive.0.ok(), alive.1.ok(), alive.2.ok(), alive.3.ok());
        assert_eq!(alive, (Some(true), Some(SILENCE), Some(BETWEEN), Some(QUESTIONS)));
        assert!(stream.nodelay().is_ok_and(|nodelay| nodelay));
    }
}
