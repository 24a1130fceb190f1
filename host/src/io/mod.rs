//! A connection, whatever it runs over.
//!
//! Place: what `net`, `tls`, `exchange` and `origin` pass to each other; TLS inside TLS inside TCP is still one of these.

mod layer;
mod tcp;

use std::{
    any::Any,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};

use crate::h1::{Reader, Writer};

pub use layer::{Layer, Layered};
pub use tcp::prepare;

/// Octets both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Any + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Any + Send + Unpin> Duplex for T {}

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
    again(read.unsplit(writer.into_inner()), first)
}

/// Ends a connection in a way that is not taken for a good one, once what was sent on it has gone, or `patience` is over. TLS has that by
/// itself: its end has to be said.
pub async fn abort(reader: HalfReader, writer: HalfWriter, patience: Duration) {
    let io = whole(reader, writer).into_inner();
    if let Some(stream) = in_clear(&io) {
        // First of all: this wait may be cut off, too.
        tcp::reset_at_end(stream);
        let _ = timeout(patience, tcp::sent(stream)).await;
    }
}

/// Both halves of a client's connection, lent to one exchange. Where that is dropped in the middle of content that ends with the connection,
/// its client can see that.
pub struct Lent(Option<(HalfReader, HalfWriter)>);

impl Lent {
    /// Lends both.
    pub fn new(reader: HalfReader, writer: HalfWriter) -> Self {
        Self(Some((reader, writer)))
    }

    /// For the exchange.
    pub fn halves(&mut self) -> (&mut HalfReader, &mut HalfWriter) {
        // They are taken by `back` and `drop` only.
        let (reader, writer) = self.0.as_mut().expect("both are lent");
        (reader, writer)
    }

    /// After it.
    pub fn back(mut self) -> (HalfReader, HalfWriter) {
        self.0.take().expect("both are lent")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some((reader, writer)) = self.0.take().filter(|(_, writer)| writer.is_open_ended()) else { return };
        if let Some(stream) = in_clear(&whole(reader, writer).into_inner()) {
            tcp::reset_at_end(stream);
        }
    }
}

/// The TCP connection, if there is nothing over it.
fn in_clear(io: &Io) -> Option<&TcpStream> {
    (&**io as &dyn Any).downcast_ref()
}

/// The same connection, with what has been read of it in front.
pub fn again<I>(io: I, first: BytesMut) -> Layered<I, Again> {
    Layered::new(io, Again(first))
}

/// A connection some of whose octets have been looked at: they are read again.
pub type Rewound = Layered<Io, Again>;

/// Octets that are to be read once more.
pub struct Again(BytesMut);

impl<I: Unpin> Layer<I> for Again {
    fn poll_read(&mut self, below: &mut I, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead,
    {
        let Self(first) = self;
        if first.is_empty() {
            return Pin::new(below).poll_read(cx, out);
        }
        let len = first.len().min(out.remaining());
        out.put_slice(&first[..len]);
        first.advance(len);
        if first.is_empty() {
            // A buffer is not kept for as long as the connection lasts.
            *first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}
