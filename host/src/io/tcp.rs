//! What every TCP connection is to be like, to clients and to origins.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Questions without an answer after which a connection has ended.
const QUESTIONS: u32 = 3;

/// What every TCP connection is to be like: nothing is held back (Nagle's delay: each chunked message would wait for the other side's delayed
/// acknowledgement, 40 ms), and an end that nobody tells of is noticed: after three fifths of `keepalive` in silence the other side is asked
/// for a sign of life, and at the end of it has been asked three times. The system counts in whole seconds, and takes four at least.
///
/// # Errors
/// What the system says.
pub fn prepare(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let whole = |time: Duration| Duration::from_secs(time.as_secs().max(1));
    let (silence, again) = (whole(keepalive * 3 / 5), whole(keepalive * 2 / 15));
    let questions = TcpKeepalive::new().with_time(silence).with_interval(again).with_retries(QUESTIONS);
    SockRef::from(stream).set_tcp_keepalive(&questions)
}

/// Has a connection reset when it is dropped. What waits to be sent is lost then.
pub(super) fn reset_at_end(stream: &TcpStream) {
    // Fails on one that has ended already, which is as good.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Resolves when nothing waits to be sent any more, and nearly all has arrived. Nothing can be sent after that as well as before.
///
/// # Errors
/// What the system says.
pub(super) async fn sent(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // Whether it can be written to says then whether anything waits: the least buffer there is takes nothing more before it is as good as empty.
    socket.set_tcp_notsent_lowat(1)?;
    socket.set_send_buffer_size(0)?;
    // What was found out about writing to it before is not true any more; a handle of its own is asked anew.
    TcpStream::from_std(socket.try_clone()?.into())?.writable().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_hold_nothing_back_and_are_asked_for_a_sign_of_life() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");

        for (keepalive, silence, again) in [(75, 45, 10), (4, 2, 1), (0, 1, 1)] {
            prepare(&stream, Duration::from_secs(keepalive)).expect("loopback can do all that");

            let socket = SockRef::from(&stream);
            let alive = (socket.keepalive(), socket.tcp_keepalive_time(), socket.tcp_keepalive_interval(), socket.tcp_keepalive_retries());
            let alive = (alive.0.ok(), alive.1.ok(), alive.2.ok(), alive.3.ok());
            let [silence, again] = [silence, again].map(|seconds| Some(Duration::from_secs(seconds)));
            assert_eq!(alive, (Some(true), silence, again, Some(3)));
            assert!(stream.nodelay().is_ok_and(|nodelay| nodelay));
        }
    }
}
