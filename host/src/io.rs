//! A connection, whatever it runs over.
//!
//! Place: what `net`, `tls`, `exchange` and `origin` pass to each other; TLS inside TLS inside TCP is still one of these.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::TcpStream,
};

use crate::h1::{Reader, Writer};

/// How long a TCP connection is silent until the other side is asked for a sign of life, as browsers ask: routers forget silent connections
/// after minutes, and machines fall asleep. Nobody would be told, and a request on such a connection waits for a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(45);

/// Between two more questions.
const AGAIN: Duration = Duration::from_secs(10);

/// Questions without an answer after which the connection has ended.
const QUESTIONS: u32 = 3;

/// What every TCP connection is to be like: nothing is held back (Nagle's delay: each chunked message would wait for the other side's delayed
/// acknowledgement, 40 ms), and an end that nobody tells of is noticed.
///
/// # Errors
/// What the system says.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let questions = TcpKeepalive::new().with_time(SILENCE).with_interval(AGAIN).with_retries(QUESTIONS);
    SockRef::from(stream).set_tcp_keepalive(&questions)
}

/// Octets both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// Any connection.
pub type Io = Box<dyn Duplex>;

/// The reading half of a connection.
pub type HalfReader = Reader<ReadHalf<Io>>;

/// The writing half of a connection.
pub type HalfWriter = Writer<WriteHalf<Io>>;

/// Both halves; `first` has been read from `io` already.
pub fn halves(io: Io, first: BytesMut) -> (HalfReader, HalfWriter) {
    let (read, write) = tokio::io::split(io);
    (Reader::new(read, first), Writer::new(write))
}

/// The connection again, with what had been read and not taken in front.
pub fn whole(reader: HalfReader, writer: HalfWriter) -> Rewound {
    let (read, first) = reader.into_parts();
    Rewound { first, io: read.unsplit(writer.into_inner()) }
}

/// A connection some of whose octets have been looked at: they are read again.
pub struct Rewound {
    first: BytesMut,
    io: Io,
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, out);
        }
        let len = self.first.len().min(out.remaining());
        out.put_slice(&self.first[..len]);
        self.first.advance(len);
        if self.first.is_empty() {
            self.first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
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
        assert_eq!(alive, (Some(true), Some(SILENCE), Some(AGAIN), Some(QUESTIONS)));
        assert!(stream.nodelay().is_ok_and(|nodelay| nodelay));
    }
}
