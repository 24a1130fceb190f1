//! Content that plugins rewrite while it passes.
//!
//! Place: takes the place of `tee` for messages that some plugin wants piece by piece. Content codings are undone and the framing is changed
//! before the head goes out; each piece goes on as soon as the filters have answered. Nothing is held back but what makes a chunk whole.
//! Source: RFC 9110 §8.4, RFC 9112 §6 and §7, RFC 9530 (digests).

use std::{io, pin::pin, task::Poll};

use bytes::Bytes;
use http::{StatusCode, Version};

use super::{
    ends::{Sink, Source},
    fault::Fault,
    run::Request,
    tee::{PumpError, Tee, at_once, more},
};
use crate::{
    flow::{Decoder, Direction, Fields, OpenFlow, Refusal, ResponseHead, lock},
    h1::{Framing, FramingError, Piece},
    hooks::{Chunks, Next},
};

/// What vouches for the very octets that were sent.
const DIGESTS: [&str; 2] = ["content-digest", "content-md5"];

/// Wherever a decoder gives up, however it says so.
const NOT_CODED: FramingError = FramingError("the content is not what its Content-Encoding says");

/// See the module.
pub(super) struct Rewriting {
    decoder: Option<Decoder>,
    chunks: Box<dyn Chunks>,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// With all of its content.
    Whole,
    /// A plugin ended it; there may be more to come in.
    Early,
}

/// Asks who wants the request's content piece by piece, and prepares its head for that.
pub(super) async fn request(open: &mut OpenFlow, request: &mut Request<'_>) -> Result<Option<Rewriting>, Fault> {
    let why_not = || match request.head.version {
        // RFC 9112 §6.1: its length must be known beforehand.
        Version::HTTP_10 => Some("a request of HTTP/1.0 has a length"),
        _ => None,
    };
    let Some(rewriting) = begin(open, Direction::Request, request.framing, &request.head.fields, why_not).await? else {
        return Ok(None);
    };
    request.framing = reframe(&mut request.head.fields, Framing::Chunked, request.head.version, rewriting.decoder.is_some());
    lock(open.flow()).request.fields = request.head.fields.clone();
    Ok(Some(rewriting))
}

/// The same for a response to a client of that version.
pub(super) async fn response(
    open: &mut OpenFlow,
    head: &mut ResponseHead,
    framing: &mut Framing,
    client: Version,
) -> Result<Option<Rewriting>, Fault> {
    let why_not = || match head.status {
        StatusCode::PARTIAL_CONTENT if head.fields.contains("content-encoding") => Some("it is a part of coded content"),
        _ => None,
    };
    let Some(rewriting) = begin(open, Direction::Response, *framing, &head.fields, why_not).await? else {
        return Ok(None);
    };
    // Such an origin's response goes on in its version, which knows no chunks.
    let wanted = if head.version == Version::HTTP_10 && client != Version::HTTP_2 { Framing::UntilClose } else { *framing };
    *framing = reframe(&mut head.fields, wanted, client, rewriting.decoder.is_some());
    if let Some(response) = &mut lock(open.flow()).response {
        response.fields = head.fields.clone();
    }
    Ok(Some(rewriting))
}

async fn begin(
    open: &mut OpenFlow,
    of: Direction,
    framing: Framing,
    fields: &Fields,
    why_not: impl Fn() -> Option<&'static str>,
) -> Result<Option<Rewriting>, Fault> {
    let (course, flow) = open.course();
    if matches!(framing, Framing::Empty | Framing::Length(0)) || !course.wants_chunks(of) {
        return Ok(None);
    }
    let decoder = match why_not() {
        Some(why) => Err(why.to_owned()),
        None => Decoder::of(fields),
    };
    match decoder {
        Ok(decoder) => {
            let chunks = course.chunks(flow, of).await.map_err(Fault::Refused)?;
            Ok(chunks.map(|chunks| Rewriting { decoder, chunks }))
        }
        Err(why) => {
            course.without_chunks(flow, of, &why).map_err(Fault::Refused)?;
            Ok(None)
        }
    }
}

/// Takes out what is not true any more of content whose length nobody knows beforehand.
fn reframe(fields: &mut Fields, wanted: Framing, recipient: Version, decoded: bool) -> Framing {
    fields.remove("content-length");
    fields.retain(|field| !DIGESTS.iter().any(|name| field.is(name)));
    if decoded {
        fields.remove("content-encoding");
    }
    if wanted == Framing::UntilClose && recipient != Version::HTTP_2 {
        fields.remove("transfer-encoding");
        return Framing::UntilClose;
    }
    if recipient != Version::HTTP_2 && !fields.contains("transfer-encoding") {
        fields.push("Transfer-Encoding", "chunked");
    }
    Framing::Chunked
}

impl Rewriting {
    /// Moves everything from `source` through the plugins to `sink`, each piece when they have answered.
    ///
    /// # Errors
    /// Says which side broke, or which plugin. Dropping this tells the plugins.
    pub(super) async fn pump(mut self, tee: &Tee<'_>, source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<Ended, PumpError> {
        loop {
            match source.ready().map_err(PumpError::Source)? {
                Some(Piece::Data(data)) => {
                    if self.pass(data, tee, sink).await? {
                        return end(sink, &Fields::default(), tee).await.map(|()| Ended::Early);
                    }
                }
                Some(Piece::End(trailers)) => {
                    if let Some(decoder) = &mut self.decoder {
                        decoder.finish().map_err(not_decoded)?;
                    }
                    self.chunks.end();
                    self.drain(tee, sink).await?;
                    return end(sink, &trailers, tee).await.map(|()| Ended::Whole);
                }
                None => more(source, sink).await?,
            }
        }
    }

    /// One piece as it came; whether a plugin ended the message with it.
    async fn pass(&mut self, data: Bytes, tee: &Tee<'_>, sink: &mut Sink<'_>) -> Result<bool, PumpError> {
        let Some(decoder) = &mut self.decoder else {
            self.chunks.feed(data);
            return self.drain(tee, sink).await;
        };
        decoder.feed(data);
        while let Some(decoder) = &mut self.decoder
            && let Some(piece) = decoder.piece().map_err(not_decoded)?
        {
            self.chunks.feed(piece);
            if self.drain(tee, sink).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends on what has come through; whether the message is over.
    async fn drain(&mut self, tee: &Tee<'_>, sink: &mut Sink<'_>) -> Result<bool, PumpError> {
        loop {
            match next(&mut *self.chunks, sink).await? {
                Next::Forward(octets) => {
                    tee.note(&octets);
                    sink.put(octets).await.map_err(PumpError::Sink)?;
                }
                Next::Hungry => return Ok(false),
                Next::Over => return Ok(true),
            }
        }
    }
}

/// What comes next. A filter that does not answer at once holds up nothing that has been answered.
async fn next(chunks: &mut dyn Chunks, sink: &mut Sink<'_>) -> Result<Next, PumpError> {
    let mut asking = pin!(chunks.next());
    let next = match at_once(asking.as_mut()).await {
        Poll::Ready(next) => next,
        Poll::Pending => {
            let (flushed, next) = tokio::join!(sink.flush(), asking);
            flushed.map_err(PumpError::Sink)?;
            next
        }
    };
    next.map_err(|refusal: Refusal| PumpError::Filter(Box::new(refusal)))
}

async fn end(sink: &mut Sink<'_>, trailers: &Fields, tee: &Tee<'_>) -> Result<(), PumpError> {
    sink.finish(trailers).map_err(PumpError::Sink)?;
    tee.note_trailers(trailers);
    sink.flush().await.map_err(PumpError::Sink)
}

/// Content that came and is not what its coding says, which its sender can be told.
fn not_decoded(_: io::Error) -> PumpError {
    PumpError::Source(io::Error::new(io::ErrorKind::InvalidData, NOT_CODED))
}

/// Takes the rest of content that nobody wants any more.
///
/// # Errors
/// As for [`Source::wait`].
pub(super) async fn swallow(source: &mut Source<'_>) -> io::Result<()> {
    while !source.is_done() {
        match source.ready()? {
            Some(_) => {}
            None => source.wait().await?,
        }
    }
    Ok(())
}
