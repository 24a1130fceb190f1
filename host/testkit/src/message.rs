//! HTTP/1.1 messages as they stand on the wire.
//!
//! Place: read by origins and clients alike. Nothing is normalised: heads keep their very octets, and a message that breaks the rules is
//! reported, not repaired.
//! Source: RFC 9112.

use std::{io, time::Instant};

use bytes::Bytes;

use crate::wire::Wire;

/// How a connection or a message ended other than well.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// In good order: FIN, and `close_notify` before it under TLS.
    #[error("the peer closed the connection")]
    Closed,
    /// FIN without `close_notify`: what came may be truncated.
    #[error("the peer cut the TLS connection short")]
    Cut,
    /// RST.
    #[error("the peer reset the connection")]
    Reset,
    /// Nothing came, or nothing was taken, for [`PATIENCE`](crate::PATIENCE).
    #[error("the peer was silent for too long")]
    Silent,
    /// The octets are no message.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Anything else that the system says.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// The head of a message: its octets up to and with the empty line.
#[derive(Clone, Eq, PartialEq)]
pub struct Head(Bytes);

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Head {
    /// From octets that end with an empty line.
    pub fn new(octets: impl Into<Bytes>) -> Self {
        Self(octets.into())
    }

    /// Reads one.
    ///
    /// # Errors
    /// How the connection ended before the head was complete.
    pub async fn read(wire: &mut Wire) -> Result<Self, Trouble> {
        Ok(Self(wire.until(b"\r\n\r\n").await?))
    }

    /// As on the wire.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The first line, without its end.
    pub fn start_line(&self) -> &[u8] {
        split_lines(&self.0).next().unwrap_or_default()
    }

    /// The field lines, without their ends, as on the wire.
    pub fn lines(&self) -> Vec<&[u8]> {
        split_lines(&self.0).skip(1).filter(|line| !line.is_empty()).collect()
    }

    /// Names as spelled, values without surrounding white space, in order.
    pub fn fields(&self) -> Vec<(&[u8], &[u8])> {
        self.lines().into_iter().map(split_field).collect()
    }

    /// Every value of that name, in any case of letters.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields().into_iter().filter(|(is, _)| is.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value).collect()
    }

    /// The first value of that name as text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether there is a field of that name.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Of a response: the status; 0 where there is none.
    pub fn status(&self) -> u16 {
        let line = self.start_line();
        line.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }

    /// Of a response: the reason phrase, which may be empty.
    pub fn reason(&self) -> &[u8] {
        self.start_line().get(13..).unwrap_or_default()
    }

    /// Of a request: the method.
    pub fn method(&self) -> &[u8] {
        self.word(0)
    }

    /// Of a request: the request-target.
    pub fn target(&self) -> &[u8] {
        self.word(1)
    }

    fn word(&self, at: usize) -> &[u8] {
        self.start_line().split(|octet| *octet == b' ').nth(at).unwrap_or_default()
    }

    fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(|o| *o == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
    }

    /// Whether the connection ends with this message, as far as the head says.
    pub fn closes(&self) -> bool {
        self.lists("connection", "close")
    }
}

fn split_lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    octets.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|octet| *octet == b':') {
        Some(colon) => (&line[..colon], line[colon + 1..].trim_ascii()),
        None => (line, b""),
    }
}

/// How the end of a message's content is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many octets.
    Length(usize),
    /// After the last chunk and the trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// Of a request.
    pub fn of_request(head: &Head) -> Self {
        Self::declared(head).unwrap_or(Self::None)
    }

    /// Of a response to a request of that method.
    pub fn of_response(head: &Head, method: &[u8]) -> Self {
        let status = head.status();
        if method == b"HEAD" || status / 100 == 1 || status == 204 || status == 304 || (method == b"CONNECT" && status / 100 == 2) {
            return Self::None;
        }
        Self::declared(head).unwrap_or(Self::UntilClose)
    }

    fn declared(head: &Head) -> Option<Self> {
        if head.lists("transfer-encoding", "chunked") {
            return Some(Self::Chunked);
        }
        head.get("content-length").and_then(|digits| digits.parse().ok()).map(Self::Length)
    }
}

/// Octets of content and when they were read.
#[derive(Clone, Debug)]
pub struct Piece {
    /// When.
    pub at: Instant,
    /// What, without chunk framing.
    pub octets: Bytes,
}

/// Content as it comes in.
#[derive(Debug)]
pub struct Incoming {
    framing: Framing,
    in_chunk: usize,
    done: bool,
    /// Content so far, without chunk framing.
    pub content: Vec<u8>,
    /// The same as on the wire, chunk framing and trailers included.
    pub wire: Vec<u8>,
    /// The trailer section's lines as on the wire, each with its end; empty where there were none.
    pub trailers: Vec<u8>,
    /// When what came.
    pub pieces: Vec<Piece>,
}

impl Incoming {
    /// Nothing read yet.
    pub fn new(framing: Framing) -> Self {
        let done = matches!(framing, Framing::None | Framing::Length(0));
        Self { framing, in_chunk: 0, done, content: Vec::new(), wire: Vec::new(), trailers: Vec::new(), pieces: Vec::new() }
    }

    /// All of it was read.
    pub fn is_complete(&self) -> bool {
        self.done
    }

    /// The next octets, as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// How it was cut short. What had come is kept.
    pub async fn next(&mut self, wire: &mut Wire) -> Result<Option<Bytes>, Trouble> {
        if self.done {
            return Ok(None);
        }
        let octets = match self.framing {
            Framing::None => return Ok(None),
            Framing::Length(length) => wire.some(length - self.content.len()).await?,
            Framing::UntilClose => match wire.some(usize::MAX).await {
                Ok(octets) => octets,
                Err(Trouble::Closed) => {
                    self.done = true;
                    return Ok(None);
                }
                Err(trouble) => return Err(trouble),
            },
            Framing::Chunked => match self.in_chunk(wire).await? {
                Some(octets) => octets,
                None => return Ok(None),
            },
        };
        if self.framing != Framing::Chunked {
            self.wire.extend_from_slice(&octets);
        }
        self.content.extend_from_slice(&octets);
        self.pieces.push(Piece { at: Instant::now(), octets: octets.clone() });
        self.done |= self.framing == Framing::Length(self.content.len());
        Ok(Some(octets))
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// How it was cut short.
    pub async fn finish(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        while self.next(wire).await?.is_some() {}
        Ok(())
    }

    async fn in_chunk(&mut self, wire: &mut Wire) -> Result<Option<Bytes>, Trouble> {
        if self.in_chunk == 0 {
            let line = self.line(wire).await?;
            let digits = line.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
            self.in_chunk = size.ok_or_else(|| Trouble::Malformed(format!("chunk size {:?}", String::from_utf8_lossy(&line))))?;
            if self.in_chunk == 0 {
                return self.trailer_section(wire).await;
            }
        }
        let octets = wire.some(self.in_chunk).await?;
        self.wire.extend_from_slice(&octets);
        self.in_chunk -= octets.len();
        if self.in_chunk == 0 {
            let end = wire.exactly(2).await?;
            self.wire.extend_from_slice(&end);
            if &*end != b"\r\n" {
                return Err(Trouble::Malformed("a chunk does not end with CRLF".into()));
            }
        }
        Ok(Some(octets))
    }

    async fn trailer_section(&mut self, wire: &mut Wire) -> Result<Option<Bytes>, Trouble> {
        loop {
            let line = self.line(wire).await?;
            if &*line == b"\r\n" {
                self.done = true;
                return Ok(None);
            }
            self.trailers.extend_from_slice(&line);
        }
    }

    async fn line(&mut self, wire: &mut Wire) -> Result<Bytes, Trouble> {
        let line = wire.until(b"\r\n").await?;
        self.wire.extend_from_slice(&line);
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_its_octets() {
        let head = Head::new(&b"HTTP/1.1 200 Fine indeed\r\nX-A: 1\r\nx-b:  \xe9 \r\nX-A: 2\r\n\r\n"[..]);

        assert_eq!((head.status(), head.reason()), (200, &b"Fine indeed"[..]));
        assert_eq!(head.fields(), [(&b"X-A"[..], &b"1"[..]), (b"x-b", b"\xe9"), (b"X-A", b"2")]);
        assert_eq!(head.all("x-a"), [b"1", b"2"]);
    }

    #[test]
    fn framing_follows_the_method_and_the_status() {
        let cases: [(&str, &[u8], Framing); 6] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", Framing::Length(5)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", Framing::None),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET", Framing::None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n", b"GET", Framing::Chunked),
            ("HTTP/1.1 200 OK\r\n\r\n", b"GET", Framing::UntilClose),
            ("HTTP/1.1 200 OK\r\n\r\n", b"CONNECT", Framing::None),
        ];

        for (head, method, framing) in cases {
            assert_eq!(Framing::of_response(&Head::new(head), method), framing, "{head:?}");
        }
    }
}
