//! Whole connections, heads and chunks under random edits: the same however they are cut, and the same again when they are written anew.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncRead, ReadBuf};

use super::*;
use crate::{
    flow::{Fields, is_field_value, is_token},
    fuzzing::fuzz,
};

const LIMITS: HeadLimits = HeadLimits { octets: 2048, fields: 24 };

/// How inputs are cut.
const STEPS: [usize; 4] = [1, 2, 7, 64];

/// A source that has so many octets at a time.
struct Chopped<'a>(&'a [u8], usize);

impl AsyncRead for Chopped<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, rest) = self.0.split_at(self.1.min(self.0.len()).min(buffer.remaining()));
        buffer.put_slice(now);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

/// What never has to wait is done at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something that has come"),
    }
}

/// One message: its head written anew, its framing, its content, its trailers.
#[derive(Debug, PartialEq)]
struct Message {
    head: Bytes,
    framing: Framing,
    content: Vec<u8>,
    trailers: Fields,
}

/// The messages on a connection, and whether it ends well.
type Read = (Vec<Message>, bool);

fn content(reader: &mut Reader<Chopped<'_>>, framing: Framing) -> Option<(Vec<u8>, Fields)> {
    let (mut incoming, mut content) = (Incoming::new(framing), Vec::new());
    loop {
        let at_end = reader.at_end();
        match incoming.take(reader.buffer(), at_end).ok()? {
            Some(Piece::Data(data)) => {
                assert!(!data.is_empty(), "an empty piece");
                content.extend_from_slice(&data);
            }
            Some(Piece::End(trailers)) => return Some((content, trailers)),
            None => {
                assert!(!at_end, "neither an end nor an error");
                now(reader.fill()).expect("the source never fails");
            }
        }
    }
}

fn requests(octets: &[u8], step: usize) -> Read {
    let (mut reader, mut messages) = (Reader::new(Chopped(octets, step), BytesMut::new()), Vec::new());
    loop {
        let line = match now(reader.request(LIMITS)) {
            Ok(Some(line)) => line,
            Ok(None) => return (messages, true),
            Err(_) => return (messages, false),
        };
        let Ok(framing) = request_framing(line.version, &line.fields) else { return (messages, false) };
        let mut head = BytesMut::new();
        encode_request(&mut head, &line.method, &line.target, line.version, &line.fields);
        let Some((content, trailers)) = content(&mut reader, framing) else { return (messages, false) };
        messages.push(Message { head: head.freeze(), framing, content, trailers });
    }
}

fn responses(octets: &[u8], step: usize) -> Read {
    let (mut reader, mut messages) = (Reader::new(Chopped(octets, step), BytesMut::new()), Vec::new());
    loop {
        let head = match now(reader.response(LIMITS)) {
            Ok(Some(head)) => head,
            Ok(None) => return (messages, true),
            Err(_) => return (messages, false),
        };
        let Ok(framing) = response_framing(&Method::GET, &head) else { return (messages, false) };
        let mut encoded = BytesMut::new();
        encode_response(&mut encoded, &head);
        let Some((content, trailers)) = content(&mut reader, framing) else { return (messages, false) };
        messages.push(Message { head: encoded.freeze(), framing, content, trailers });
    }
}

/// The messages as this proxy sends them on.
fn written(messages: &[Message]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for Message { head, framing, content, trailers } in messages {
        writer.buffer().extend_from_slice(head);
        let mut outgoing = (*framing).into();
        if !content.is_empty() {
            now(writer.put(&mut outgoing, &Bytes::copy_from_slice(content))).expect("as much as was announced");
        }
        writer.finish(&mut outgoing, trailers).expect("as much as was announced");
    }
    now(writer.flush()).expect("a sink that takes all");
    writer.into_inner()
}

/// No reader finds anything else in it (RFC 9112 §2.2, §5.1, §6.3).
fn is_plain(head: &[u8]) {
    let text = head.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
    let (mut lengths, mut codings) = (0, 0);
    let mut rest = text;
    let mut lines = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    for line in &lines {
        assert!(!line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)), "an octet that ends lines or strings");
    }
    for line in &lines[1..] {
        let colon = line.iter().position(|octet| *octet == b':').expect("a colon");
        assert!(is_token(&line[..colon]) && is_field_value(&line[colon + 1..]), "{}", line.escape_ascii());
        lengths += usize::from(line[..colon].eq_ignore_ascii_case(b"content-length"));
        codings += usize::from(line[..colon].eq_ignore_ascii_case(b"transfer-encoding"));
    }
    assert!(lengths + codings <= 1, "framed twice");
}

fn judge(input: &[u8], read: impl Fn(&[u8], usize) -> Read) -> String {
    let whole = read(input, usize::MAX);
    for step in STEPS {
        assert_eq!(read(input, step), whole, "cut by {step}");
    }
    let (messages, ends_well) = whole;
    messages.iter().for_each(|message| is_plain(&message.head));
    let (again, well) = read(&written(&messages), 3);
    assert!(well, "what is sent on is well-formed");
    assert_eq!(again, messages, "what is sent on says the same");
    let shape = |message: &Message| {
        format!("{:?}{}{}", std::mem::discriminant(&message.framing), message.content.len().min(3), message.trailers.len())
    };
    format!("{} {ends_well} {}", messages.len(), messages.iter().map(shape).collect::<String>())
}

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b": ",
    b",",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"0",
    b"1",
    b"a",
    b"0\r\n\r\n",
    b"Content-Length",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"identity",
    b"Host: a\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\n",
    b"POST",
    b"HTTP/1.1 200 OK\r\n",
    b"204",
    b"304",
    b"100",
    b";ext=\"x\"",
    b"ffffffffffffffff",
    b"0x",
    b"+",
    b"-",
    b" \r\n",
    b"X-Trailer: 1\r\n",
];

const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.0\r\n\r\n",
    b"\r\nPUT * HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\nX-A: \xe9\t\r\n\r\n3;x=\"y\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
];

#[test]
fn request_heads() {
    fuzz("request_heads", REQUESTS, WORDS, |input| judge(input, requests));
}

#[test]
fn response_heads() {
    let seeds: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 \xe9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 404 \r\nA: b\r\n\r\nuntil the end",
    ];
    fuzz("response_heads", seeds, WORDS, |input| judge(input, responses));
}

#[test]
fn chunked_bodies() {
    let seeds: &[&[u8]] = &[b"0\r\n\r\n", b"4\r\nWiki\r\n5;x=\"y\"\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nX-T: 1\r\n\r\nnext"];
    fuzz("chunked_bodies", seeds, WORDS, |input| {
        let read = |octets: &[u8], step| {
            let mut reader = Reader::new(Chopped(octets, step), BytesMut::new());
            let (data, trailers) = content(&mut reader, Framing::Chunked)?;
            Some((data, trailers, reader.buffer().len() + reader.io_mut().0.len()))
        };
        let whole = read(input, usize::MAX);
        for step in STEPS {
            assert_eq!(read(input, step), whole, "cut by {step}");
        }
        let Some((content, trailers, _)) = whole else { return "none".to_owned() };
        let outcome = format!("{} {}", content.len().min(20), trailers.len());
        let message = Message { head: Bytes::new(), framing: Framing::Chunked, content, trailers };
        let again = read(&written(std::slice::from_ref(&message)), 5).expect("what is sent on is well-formed");
        assert_eq!(again, (message.content, message.trailers, 0));
        outcome
    });
}
