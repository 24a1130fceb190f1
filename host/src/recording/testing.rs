//! Recorded flows for tests.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::{RecordedBody, RecordedFlow, RecordedFrame, RecordedMessage, RecordedPiece};
use crate::flow::{
    Authority, ClientAddr, Direction, Fields, Flow, MessageKind, Origin, Outcome, Principal, RequestHead, ResponseHead, Scheme, Scope,
};

/// An answer that came in two pieces.
pub(crate) fn flow(id: u64) -> RecordedFlow {
    let mut fields = Fields::default();
    fields.push("Host", "a.test");
    fields.push("X-Twice", "1");
    fields.push("x-twice", "2");
    fields.push("Transfer-Encoding", "chunked");
    let head = RequestHead {
        method: Method::POST,
        scheme: Scheme::Https,
        authority: Bytes::from_static(b"a.test"),
        path: Bytes::from_static(b"/chat?q=1"),
        version: Version::HTTP_11,
        fields,
    };
    let request = RecordedMessage { head, at: 0, body: RecordedBody::whole(Bytes::from_static(b"a question"), 5) };
    let mut fields = Fields::default();
    fields.push("Content-Type", "text/event-stream");
    fields.push("Transfer-Encoding", "chunked");
    let head = ResponseHead { status: StatusCode::OK, reason: Some(Bytes::from_static(b"OK")), version: Version::HTTP_11, fields };
    let pieces = ["data: one\n\n", "data: two\n\n"].into_iter().zip([200, 300]);
    let pieces: Vec<_> = pieces.map(|(text, at)| RecordedPiece { at, octets: Bytes::from_static(text.as_bytes()) }).collect();
    let body = RecordedBody { length: 22, ended: Some(310), trailers: Fields::default(), pieces };
    RecordedFlow {
        id,
        began: 1_733_664_203_331_449,
        client: ([10, 0, 0, 7], 4711).into(),
        connection: 3,
        user: Some("ana".into()),
        origin: Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) },
        request,
        response: Some(RecordedMessage { head, at: 150, body }),
        frames: Vec::new(),
        outcome: Outcome::Completed,
    }
}

/// A WebSocket with a message each way and an end.
pub(crate) fn conversation(id: u64) -> RecordedFlow {
    let mut recorded = flow(id);
    recorded.request.head.method = Method::GET;
    recorded.request.head.fields.remove("transfer-encoding");
    recorded.request.body = RecordedBody::whole(Bytes::new(), 0);
    if let Some(response) = &mut recorded.response {
        response.head.status = StatusCode::SWITCHING_PROTOCOLS;
        response.head.fields = Fields::default();
        response.body = RecordedBody::whole(Bytes::new(), 150);
    }
    let frame = |sent, kind, at, content: &'static [u8]| RecordedFrame {
        sent,
        kind,
        at,
        length: content.len() as u64,
        content: Bytes::from_static(content),
    };
    recorded.frames = vec![
        frame(Direction::Request, MessageKind::Text, 400, b"hello"),
        frame(Direction::Response, MessageKind::Binary, 500, b"\0\xff"),
        frame(Direction::Response, MessageKind::Closed, 600, b"\x03\xe8"),
    ];
    recorded
}

/// The same while it runs: its request's head has been read.
pub(crate) fn running() -> Flow {
    let recorded = flow(1);
    let scope = Scope { connection: recorded.connection, client: ClientAddr(recorded.client), principal: Principal::named("ana") };
    Flow::new(Arc::new(scope), recorded.origin, recorded.request.head)
}
