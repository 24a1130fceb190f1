//! A connection, whatever it runs over.
//!
//! Place: what `net`, `tls`, `exchange` and `origin` pass to each other; TLS inside TLS inside TCP is still one of these.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};

use crate::h1::{Reader, Writer};

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
