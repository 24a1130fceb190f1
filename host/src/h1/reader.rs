//! Buffered reading of one side of a connection.
//!
//! Place: owned by whoever serves a client connection or holds an origin connection. Reading may be cancelled at any `.await`: octets are
//! either still in the socket or in the buffer.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::head::{HeadError, HeadLimits, RequestLine, Scan, parse_request, parse_response};
use crate::flow::ResponseHead;

/// Least size of a buffer: most heads, and events, fit. A head that is still needed holds on to the buffer it was read into.
const SMALL: usize = 2 * 1024;

/// Largest size of a buffer, for a connection that brings much at a time.
const LARGE: usize = 64 * 1024;

/// Octets at the front of a buffer that are left out.
///
/// What is read goes on as a TLS record: it is copied behind a header of 5 octets. Buffers of that size begin with a page, both of them. Where a
/// copy's target lies 1 to 15 octets behind its source, counted from where their pages begin, `rep movsb`, which glibc before 2.40 copies with,
/// takes 16 times as long on AMD's Zen 4 (<https://sourceware.org/bugzilla/show_bug.cgi?id=30994>): a third of what much content cost.
const ASIDE: usize = 64;

/// A source of octets and what has been read from it but not taken yet.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
    /// Of the next buffer: what came in one go fits, and takes more than half of it.
    size: usize,
    /// Octets that came since there was last nothing to read.
    came: usize,
    at_end: bool,
    goes_on: bool,
    scan: Scan,
}

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke, or ended in the middle.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was read is no head.
    #[error(transparent)]
    Head(#[from] HeadError),
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads `io` after `first`, which has been read already.
    pub fn new(io: R, first: BytesMut) -> Self {
        Self { io, buffer: first, size: SMALL, came: 0, at_end: false, goes_on: false, scan: Scan::default() }
    }

    /// What has been read and not taken.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether the source has ended; the buffer may still hold octets.
    pub fn at_end(&self) -> bool {
        self.at_end
    }

    /// Whether more is likely to be there at once: the last read took all the room there was.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The source, and what has been read from it and not taken.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buffer)
    }

    /// The source, for those who read it themselves.
    pub fn io_mut(&mut self) -> &mut R {
        &mut self.io
    }

    /// Reads more into the buffer; 0 at the end. An idle connection holds no buffer: it is let go while there is nothing to read.
    ///
    /// # Errors
    /// What the source says.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// [`Reader::fill`] as a poll.
    pub fn poll_fill(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < self.size / 4 {
            self.buffer.reserve(self.size);
            if self.buffer.is_empty() {
                self.buffer.put_bytes(0, ASIDE);
                self.buffer.advance(ASIDE);
            }
        }
        let read = match poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buffer) {
            Poll::Pending if self.buffer.is_empty() => {
                self.buffer = BytesMut::new();
                if self.came > 0 && self.came < self.size / 2 {
                    self.size = SMALL.max(self.size / 2);
                }
                self.came = 0;
                return Poll::Pending;
            }
            poll => ready!(poll)?,
        };
        self.at_end = read == 0;
        self.came += read;
        self.goes_on = self.buffer.len() == self.buffer.capacity();
        if self.goes_on {
            self.size = LARGE.min(self.size * 4);
        }
        Poll::Ready(Ok(read))
    }

    /// The head at the front of the stream as octets; `None` if the stream ends before it begins.
    async fn head(&mut self, limits: HeadLimits) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(len) = self.scan.head_len(&mut self.buffer, limits)? {
                self.scan = Scan::default();
                return Ok(Some(self.buffer.split_to(len).freeze()));
            }
            if self.at_end || self.fill().await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                };
            }
        }
    }

    /// The next request; `None` if the stream ends before it begins.
    ///
    /// # Errors
    /// If the connection breaks or what comes is no request head within `limits`.
    pub async fn request(&mut self, limits: HeadLimits) -> Result<Option<RequestLine>, ReadError> {
        match self.head(limits).await? {
            Some(head) => Ok(Some(parse_request(head, limits)?)),
            None => Ok(None),
        }
    }

    /// The next response head, interim ones included; `None` if the stream ends before it begins.
    ///
    /// # Errors
    /// If the connection breaks or what comes is no response head within `limits`.
    pub async fn response(&mut self, limits: HeadLimits) -> Result<Option<ResponseHead>, ReadError> {
        match self.head(limits).await? {
            Some(head) => Ok(Some(parse_response(head, limits)?)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Reads and takes all that is there, as far as there being nothing; in how many reads.
    fn take_all(reader: &mut Reader<impl AsyncRead + Unpin>) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let mut reads = 0;
        while let Poll::Ready(read) = reader.poll_fill(&mut context) {
            read.expect("the other end stands");
            reads += 1;
            let _ = reader.buffer().split();
        }
        reads
    }

    #[tokio::test]
    async fn what_is_read_begins_aside_of_where_its_buffer_does() {
        let mut reader = Reader::new(&[b'x'; 3][..], BytesMut::new());

        reader.fill().await.expect("a slice can be read");

        assert_eq!(reader.buffer().capacity(), SMALL - ASIDE);
    }

    #[tokio::test]
    async fn buffers_grow_to_what_comes_in_one_go_and_shrink_again() {
        let (mut other, io) = tokio::io::duplex(1 << 20);
        let mut reader = Reader::new(io, BytesMut::new());
        let table = [(10_000, 12_000), (500, 800), (300_000, 400_000)];

        for (len, most) in table {
            let mut reads = 0;
            for _ in 0..10 {
                other.write_all(&vec![b'x'; len]).await.expect("there is room");
                reads = take_all(&mut reader);
            }
            assert_eq!(reads, len.div_ceil(LARGE - ASIDE), "{len}");
            assert!(reader.size < 2 * most || reader.size <= SMALL, "{} for {len}", reader.size);
            assert!(reader.size <= LARGE && reader.buffer().capacity() == 0);
        }
    }
}
