//! One recorded flow as octets: every number 8 octets, least first; every text its length and then itself.
//!
//! Place: what `file` compresses and checks. `docs/flows.md` says the same for people. Reading trusts nothing: whatever the octets are, it
//! ends with a flow or with what is wrong.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode, Version};

use super::{RecordedBody, RecordedFlow, RecordedFrame, RecordedMessage, RecordedPiece};
use crate::flow::{
    Authority, Direction, Field, Fields, MessageKind, Origin, Outcome, RequestHead, ResponseHead, Scheme, is_field_value, is_token,
};

/// What is not a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// A flow as octets.
pub(super) fn encode(flow: &RecordedFlow) -> Bytes {
    let mut out = Out(BytesMut::with_capacity(flow.occupied() + 4096));
    out.number(flow.id);
    out.number(flow.began);
    out.address(flow.client);
    out.number(flow.connection);
    out.maybe(flow.user.as_ref(), |out, user| out.octets(user.as_bytes()));
    out.number(u64::from(flow.origin.scheme == Scheme::Https));
    out.octets(flow.origin.authority.host().as_bytes());
    out.number(flow.origin.authority.port().into());
    let RequestHead { method, authority, path, version, fields, .. } = &flow.request.head;
    out.octets(method.as_str().as_bytes());
    out.octets(authority);
    out.octets(path);
    out.version(*version);
    out.fields(fields);
    out.number(flow.request.at);
    out.body(&flow.request.body);
    out.maybe(flow.response.as_ref(), |out, response| {
        out.number(response.head.status.as_u16().into());
        out.maybe(response.head.reason.as_ref(), |out, reason| out.octets(reason));
        out.version(response.head.version);
        out.fields(&response.head.fields);
        out.number(response.at);
        out.body(&response.body);
    });
    out.number(flow.frames.len() as u64);
    for frame in &flow.frames {
        out.number(u64::from(frame.sent == Direction::Response));
        out.number(match frame.kind {
            MessageKind::Text => 0,
            MessageKind::Binary => 1,
            MessageKind::Closed => 2,
        });
        out.number(frame.at);
        out.number(frame.length);
        out.octets(&frame.content);
    }
    let (outcome, said) = match &flow.outcome {
        Outcome::InProgress => (0, ""),
        Outcome::Completed => (1, ""),
        Outcome::ClientAborted => (2, ""),
        Outcome::OriginFailed(why) => (3, why.as_str()),
        Outcome::AnsweredBy(whom) => (4, whom.as_str()),
    };
    out.number(outcome);
    out.octets(said.as_bytes());
    out.0.freeze()
}

/// The flow that those octets are.
///
/// # Errors
/// They are none.
pub(super) fn decode(octets: Bytes) -> Result<RecordedFlow, Malformed> {
    let mut rest = Rest(octets);
    let (id, began, client, connection) = (rest.number()?, rest.number()?, rest.address()?, rest.number()?);
    let user = rest.maybe(Rest::text)?;
    let scheme = if rest.flag()? { Scheme::Https } else { Scheme::Http };
    let host = rest.text()?;
    let port = rest.number()?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let authority = Authority::parse(authority.as_bytes()).map_err(|_| Malformed("an origin that is none"))?;
    let method = Method::from_bytes(&rest.octets()?).map_err(|_| Malformed("a method that is none"))?;
    let (authority_sent, path, version, fields) = (rest.octets()?, rest.octets()?, rest.version()?, rest.fields()?);
    if path.iter().any(|octet| *octet <= b' ' || *octet == 0x7f) {
        return Err(Malformed("a path that is none"));
    }
    let head = RequestHead { method, scheme, authority: authority_sent, path, version, fields };
    let request = RecordedMessage { head, at: rest.number()?, body: rest.body()? };
    let response = rest.maybe(|rest| {
        let status = u16::try_from(rest.number()?).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.ok_or(Malformed("a status that is none"))?;
        let head = ResponseHead { status, reason: rest.maybe(Rest::octets)?, version: rest.version()?, fields: rest.fields()? };
        Ok(RecordedMessage { head, at: rest.number()?, body: rest.body()? })
    })?;
    let frames = rest.list(|rest| {
        let sent = if rest.flag()? { Direction::Response } else { Direction::Request };
        let kind = match rest.number()? {
            0 => MessageKind::Text,
            1 => MessageKind::Binary,
            2 => MessageKind::Closed,
            _ => return Err(Malformed("a message of no kind")),
        };
        Ok(RecordedFrame { sent, kind, at: rest.number()?, length: rest.number()?, content: rest.octets()? })
    })?;
    let outcome = rest.number()?;
    let said = rest.text()?;
    let outcome = match outcome {
        0 => Outcome::InProgress,
        1 => Outcome::Completed,
        2 => Outcome::ClientAborted,
        3 => Outcome::OriginFailed(said),
        4 => Outcome::AnsweredBy(said),
        _ => return Err(Malformed("an end of no kind")),
    };
    if !rest.0.is_empty() {
        return Err(Malformed("more than a flow"));
    }
    Ok(RecordedFlow { id, began, client, connection, user, origin: Origin { scheme, authority }, request, response, frames, outcome })
}

struct Out(BytesMut);

impl Out {
    fn number(&mut self, number: u64) {
        self.0.put_u64_le(number);
    }

    fn octets(&mut self, octets: &[u8]) {
        self.number(octets.len() as u64);
        self.0.put_slice(octets);
    }

    fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    /// Always as IPv6, as RFC 4291 §2.5.5.2 maps the others.
    fn address(&mut self, address: SocketAddr) {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.octets(&ip.octets());
        self.number(address.port().into());
    }

    fn version(&mut self, version: Version) {
        self.number(match version {
            Version::HTTP_10 => 10,
            Version::HTTP_2 => 20,
            Version::HTTP_3 => 30,
            _ => 11,
        });
    }

    fn fields(&mut self, fields: &Fields) {
        self.number(fields.len() as u64);
        for field in fields {
            // The line itself, so that white space around the value stays.
            self.octets(field.name());
            self.octets(field.line());
        }
    }

    fn body(&mut self, body: &RecordedBody) {
        self.number(body.length);
        self.maybe(body.ended, Self::number);
        self.fields(&body.trailers);
        self.number(body.pieces.len() as u64);
        for piece in &body.pieces {
            self.number(piece.at);
            self.octets(&piece.octets);
        }
    }
}

struct Rest(Bytes);

impl Rest {
    fn number(&mut self) -> Result<u64, Malformed> {
        let (number, _) = self.0.split_first_chunk::<8>().ok_or(Malformed("it ends early"))?;
        let number = u64::from_le_bytes(*number);
        let _ = self.0.split_to(8);
        Ok(number)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither yes nor no")),
        }
    }

    fn octets(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if length > self.0.len() {
            return Err(Malformed("it ends early"));
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.octets()?.into()).map_err(|_| Malformed("a text that is none"))
    }

    fn maybe<T>(&mut self, take: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.flag()? { take(self).map(Some) } else { Ok(None) }
    }

    /// Grows with what is there, not with what is said to come.
    fn list<T>(&mut self, take: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.number()?;
        (0..count).map(|_| take(self)).collect::<Result<Vec<T>, Malformed>>()
    }

    fn address(&mut self) -> Result<SocketAddr, Malformed> {
        let octets = <[u8; 16]>::try_from(self.octets()?.as_ref()).map_err(|_| Malformed("an address that is none"))?;
        let port = u16::try_from(self.number()?).map_err(|_| Malformed("a port that is none"))?;
        Ok((Ipv6Addr::from(octets).to_canonical(), port).into())
    }

    fn version(&mut self) -> Result<Version, Malformed> {
        match self.number()? {
            10 => Ok(Version::HTTP_10),
            11 => Ok(Version::HTTP_11),
            20 => Ok(Version::HTTP_2),
            30 => Ok(Version::HTTP_3),
            _ => Err(Malformed("a version that is none")),
        }
    }

    fn fields(&mut self) -> Result<Fields, Malformed> {
        Ok(self.list(Self::field)?.into_iter().collect())
    }

    /// Only what a field may hold: what is played again is trusted to have been read off the wire.
    fn field(&mut self) -> Result<Field, Malformed> {
        let (name, line) = (self.octets()?, self.octets()?);
        let value = line.strip_prefix(name.as_ref()).and_then(|rest| rest.strip_prefix(b":"));
        let value = value.ok_or(Malformed("a field line without its name"))?;
        if !is_token(&name) || !is_field_value(value) {
            return Err(Malformed("a field that is none"));
        }
        let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
        let lead = value.iter().take_while(|octet| blank(octet)).count();
        let trail = value[lead..].iter().rev().take_while(|octet| blank(octet)).count();
        let (at, length) = (name.len() + 1 + lead, value.len() - lead - trail);
        Ok(Field::parsed(line, name.len(), at, length))
    }

    fn body(&mut self) -> Result<RecordedBody, Malformed> {
        let (length, ended, trailers) = (self.number()?, self.maybe(Self::number)?, self.fields()?);
        let pieces = self.list(|rest| Ok(RecordedPiece { at: rest.number()?, octets: rest.octets()? }))?;
        Ok(RecordedBody { pieces, length, ended, trailers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::testing::{conversation, flow};

    #[test]
    fn what_was_written_is_read() {
        for recorded in [flow(7), conversation(8)] {
            assert_eq!(decode(encode(&recorded)), Ok(recorded));
        }
    }

    #[test]
    fn white_space_of_a_line_stays() {
        let mut recorded = flow(1);
        recorded.request.head.fields.append(Field::parsed(Bytes::from_static(b"X-Odd:  \tv "), 5, 9, 1));

        let read = decode(encode(&recorded)).expect("a flow");

        let line = read.request.head.fields.iter().last().expect("a field");
        assert_eq!((line.line(), line.value()), (b"X-Odd:  \tv ".as_ref(), b"v".as_ref()));
    }

    #[test]
    fn what_ends_early_is_no_flow() {
        let whole = encode(&conversation(1));
        for length in 0..whole.len() {
            assert!(decode(whole.slice(..length)).is_err(), "{length}");
        }
    }
}
