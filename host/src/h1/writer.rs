//! Buffered writing of one side of a connection, and framing content on the way out.
//!
//! Place: the counterpart of [`super::Reader`]. What belongs together (a head and what is there of its content) leaves in one write; nothing
//! stays behind after [`Writer::flush`].
//! Source: RFC 9112 §2.1, §7.1.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Version};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::Framing;
use crate::flow::{Fields, ResponseHead};

/// Pieces up to this size are copied behind what waits already; larger ones go out from where they are.
const COPY_MAX: usize = 4 * 1024;

/// Waiting octets that are written without waiting for a flush.
const WRITE_AT: usize = 64 * 1024;

/// A sink of octets and what waits to be written to it.
#[derive(Debug)]
pub struct Writer<W> {
    io: W,
    buffer: BytesMut,
    patience: Option<Duration>,
    open_ended: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes to `io`.
    pub fn new(io: W) -> Self {
        Self { io, buffer: BytesMut::new(), patience: None, open_ended: false }
    }

    /// From now on a sink that takes nothing for so long is an error, [`io::ErrorKind::TimedOut`].
    pub fn be_patient(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Content begins that ends with the connection.
    pub fn leave_open(&mut self) {
        self.open_ended = true;
    }

    /// An end of the connection is taken for the end of its last content.
    pub fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    /// Where heads are encoded into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Writes everything that waits, down to the socket.
    ///
    /// # Errors
    /// What the sink says. What had waited is lost then, as is the connection.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.drain().await?;
            within(self.patience, self.io.flush()).await?;
            // Nothing is held while nothing is said.
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    async fn drain(&mut self) -> io::Result<()> {
        while self.buffer.has_remaining() {
            if within(self.patience, self.io.write_buf(&mut self.buffer)).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Octets of content as `outgoing` frames them. They may wait for [`Writer::flush`].
    ///
    /// # Errors
    /// What the sink says, and if there are more octets than were announced.
    pub async fn put(&mut self, outgoing: &mut Outgoing, piece: &Bytes) -> io::Result<()> {
        outgoing.count(piece.len())?;
        let chunked = matches!(outgoing, Outgoing::Chunked);
        if chunked {
            put_chunk_size(&mut self.buffer, piece.len());
        }
        if piece.len() <= COPY_MAX {
            self.buffer.put_slice(piece);
        } else {
            self.write_behind(piece).await?;
        }
        if chunked {
            self.buffer.put_slice(b"\r\n");
        }
        if self.buffer.len() >= WRITE_AT { self.drain().await } else { Ok(()) }
    }

    /// What waits and then `piece`, in as few writes as the sink takes.
    async fn write_behind(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < piece.len() {
            let rest = &piece[written..];
            let slices = [IoSlice::new(&self.buffer), IoSlice::new(rest)];
            let sent = within(self.patience, self.io.write_vectored(&slices)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let waiting = sent.min(self.buffer.len());
            self.buffer.advance(waiting);
            written += sent - waiting;
        }
        // The size line is gone, the buffer empty; a flush must still reach the socket.
        within(self.patience, self.io.flush()).await
    }

    /// The end of the content, with trailers where the framing has a place for them.
    ///
    /// # Errors
    /// If fewer octets came than were announced: the receiver must see that something is missing.
    pub fn finish(&mut self, outgoing: &mut Outgoing, trailers: &Fields) -> io::Result<()> {
        match outgoing {
            Outgoing::Length(0) | Outgoing::UntilClose => Ok(()),
            Outgoing::Length(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Outgoing::Chunked => {
                self.buffer.put_slice(b"0\r\n");
                put_fields(&mut self.buffer, trailers);
                Ok(())
            }
        }
    }

    /// Tells the other side that nothing more comes.
    ///
    /// # Errors
    /// What the sink says.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// The sink; nothing may be waiting.
    pub fn into_inner(self) -> W {
        self.io
    }

    /// The sink, for those who write themselves; nothing may be waiting.
    pub fn io_mut(&mut self) -> &mut W {
        &mut self.io
    }
}

async fn within<T>(patience: Option<Duration>, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match patience {
        Some(patience) => timeout(patience, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        None => step.await,
    }
}

/// How content is framed on its way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outgoing {
    /// So many octets are still to come.
    Length(u64),
    /// In chunks.
    Chunked,
    /// The connection ends with it.
    UntilClose,
}

impl Outgoing {
    fn count(&mut self, octets: usize) -> io::Result<()> {
        if let Self::Length(left) = self {
            *left =
                left.checked_sub(octets as u64).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "more content than announced"))?;
        }
        Ok(())
    }
}

impl From<Framing> for Outgoing {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Length(0),
            Framing::Length(octets) => Self::Length(octets),
            Framing::Chunked => Self::Chunked,
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

/// Appends a request head; the target is written octet for octet.
pub fn encode_request(buffer: &mut BytesMut, method: &Method, target: &[u8], version: Version, fields: &Fields) {
    buffer.reserve(method.as_str().len() + target.len() + 16 + encoded_len(fields));
    buffer.put_slice(method.as_str().as_bytes());
    buffer.put_u8(b' ');
    buffer.put_slice(target);
    buffer.put_slice(if version == Version::HTTP_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    put_fields(buffer, fields);
}

/// Appends a response head in the version it has (anything above 1.0 is written as 1.1).
pub fn encode_response(buffer: &mut BytesMut, head: &ResponseHead) {
    buffer.reserve(head.reason.as_ref().map_or(0, Bytes::len) + 16 + encoded_len(&head.fields));
    buffer.put_slice(if head.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    buffer.put_slice(head.status.as_str().as_bytes());
    if let Some(reason) = &head.reason {
        buffer.put_u8(b' ');
        buffer.put_slice(reason);
    }
    buffer.put_slice(b"\r\n");
    put_fields(buffer, &head.fields);
}

fn encoded_len(fields: &Fields) -> usize {
    fields.iter().map(|field| field.line().len() + 2).sum::<usize>() + 2
}

fn put_fields(buffer: &mut BytesMut, fields: &Fields) {
    for field in fields {
        buffer.put_slice(field.line());
        buffer.put_slice(b"\r\n");
    }
    buffer.put_slice(b"\r\n");
}

fn put_chunk_size(buffer: &mut BytesMut, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        buffer.put_u8(b"0123456789abcdef"[(size >> (at * 4)) & 0xf]);
    }
    buffer.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for size in [0, 1, 15, 16, 255, 256, 367, 65_536] {
            let mut buffer = BytesMut::new();
            put_chunk_size(&mut buffer, size);
            assert_eq!(buffer, format!("{size:x}\r\n"));
        }
    }

    #[tokio::test]
    async fn small_pieces_leave_in_one_write_and_large_ones_uncopied() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut writer = Writer::new(near);
        let large = Bytes::from(vec![b'x'; COPY_MAX + 1]);
        let mut outgoing = Outgoing::Chunked;

        writer.put(&mut outgoing, &Bytes::from_static(b"abc")).await.expect("a sink");
        writer.put(&mut outgoing, &large).await.expect("a sink");
        writer.finish(&mut outgoing, &Fields::default()).expect("chunked");
        writer.flush().await.expect("a sink");
        drop(writer);

        let mut seen = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut far, &mut seen).await.expect("a source");
        let expected = [b"3\r\nabc\r\n1001\r\n".as_ref(), &large, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn what_was_announced_is_what_goes_out() {
        let mut writer = Writer::new(tokio::io::sink());
        let piece = Bytes::from_static(b"abc");

        let mut outgoing = Outgoing::Length(2);
        assert!(writer.put(&mut outgoing, &piece).await.is_err());
        let mut outgoing = Outgoing::Length(4);
        writer.put(&mut outgoing, &piece).await.expect("a sink");
        assert!(writer.finish(&mut outgoing, &Fields::default()).is_err());
    }
}
