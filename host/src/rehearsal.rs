//! Recorded flows, played to whatever decides about flows: the way of a flow without sockets.
//!
//! Place: in the place of `exchange`, on the same port and in the same order of calls. Bodies come chunk by chunk as they were recorded; what an
//! origin would have answered to a changed request is not known, so it answers as it did.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{StatusCode, Version};

use crate::{
    flow::{
        ClientAddr, Content, Decoder, Direction, Fields, Flow, FlowId, LocalResponse, Message, MessageKind, OpenFlow, Outcome,
        PassedMessage, Principal, Refusal, ResponseHead, Scheme, Scope, SharedFlow, Timings, lock,
    },
    hooks::{BoxFuture, Chunks, Hooks, MessageVerdict, Next, Passage, Probe, Verdict},
    recording::{RecordedBody, RecordedFlow, RecordedFrame, RecordedPiece},
};

/// Whom the flow is played to.
pub trait Audience: Sync {
    /// What decides about it.
    fn hooks(&self) -> &dyn Hooks;

    /// It is that moment, in microseconds since the Unix epoch.
    fn now(&self, micros: u64);

    /// Resolves when those who are told of what has passed know of it all.
    fn told(&self) -> BoxFuture<'_, ()>;
}

/// What became of a flow.
#[derive(Clone, Debug, Default)]
pub struct Rehearsed {
    /// What was decided about its tunnel, if anybody was asked.
    pub tunnel: Option<Tunnel>,
    /// The flow as it stood at the end; `None`: nobody wanted it.
    pub flow: Option<Flow>,
    /// What answered in the origin's place.
    pub answer: Option<LocalResponse>,
    /// Content that went on to the origin.
    pub sent: Bytes,
    /// Content that went on to the client.
    pub got: Bytes,
    /// WebSocket messages that went on.
    pub messages: Vec<(Direction, Message)>,
    /// Why plugins or bounds ended it.
    pub refused: Option<String>,
    /// The status code with which a plugin closed the WebSocket.
    pub closed: Option<u16>,
}

/// What was decided about a tunnel.
#[derive(Clone, Debug)]
pub enum Tunnel {
    /// As configured.
    Proceed,
    /// Relayed unseen.
    Splice,
    /// Rejected with that.
    Reject(LocalResponse),
}

/// Why a flow goes no further.
enum Fault {
    Refused(Refusal),
    Answered(LocalResponse),
    Disconnected,
    Broken,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Plays one flow, to its end.
pub async fn rehearse(audience: &dyn Audience, recorded: &RecordedFlow) -> Rehearsed {
    let mut rehearsed = Rehearsed::default();
    let client = ClientAddr(recorded.client);
    let principal = recorded.user.as_deref().map_or(Principal::UNKNOWN, Principal::named);
    let scope = Arc::new(Scope { connection: recorded.connection, client, principal });
    audience.now(recorded.began);
    let hooks = audience.hooks();
    if recorded.origin.scheme == Scheme::Https
        && let Some(asking) = hooks.connect(&scope, &recorded.origin.authority)
    {
        match asking.await {
            Ok(Passage::Proceed) => rehearsed.tunnel = Some(Tunnel::Proceed),
            Ok(Passage::Splice) => rehearsed.tunnel = Some(Tunnel::Splice),
            Ok(Passage::Reject { response, .. }) => rehearsed.tunnel = Some(Tunnel::Reject(response)),
            Err(refusal) => rehearsed.refused = Some(sentence(&refusal)),
        }
        if !matches!(rehearsed.tunnel, Some(Tunnel::Proceed)) {
            return rehearsed;
        }
    }
    let head = &recorded.request.head;
    let probe = Probe { host: recorded.origin.authority.host(), method: &head.method, path: &head.path };
    let Some(mut course) = hooks.open(&probe) else { return rehearsed };
    if let Some(reserving) = course.reserve() {
        reserving.await;
    }
    let mut flow = Flow::new(scope, recorded.origin.clone(), head.clone());
    flow.id = FlowId(recorded.id);
    flow.timings = Timings::replayed(UNIX_EPOCH + Duration::from_micros(recorded.began));
    flow.request_content = Content::keeping(course.request_needs().capture);
    let open = OpenFlow::new(flow, course);
    let flow = open.flow().clone();
    let mut playing = Playing { audience, recorded, open, rehearsed };
    let played = playing.exchange().await;
    let Playing { open, mut rehearsed, .. } = playing;
    match played {
        Ok(()) => open.conclude(recorded.outcome.clone()),
        Err(Fault::Broken) => open.conclude(match &recorded.outcome {
            Outcome::InProgress | Outcome::Completed => Outcome::OriginFailed("the recorded flow breaks off".into()),
            other => other.clone(),
        }),
        Err(Fault::Answered(response)) => rehearsed.answer = Some(response),
        Err(Fault::Disconnected) => {
            rehearsed.refused = Some("a plugin disconnects the client".into());
            open.conclude(Outcome::AnsweredBy("host".into()));
        }
        Err(Fault::Refused(refusal)) => {
            rehearsed.refused = Some(sentence(&refusal));
            open.conclude(Outcome::AnsweredBy("host".into()));
        }
    }
    converse(audience, recorded, open, &mut rehearsed).await;
    audience.told().await;
    rehearsed.flow = Some(lock(&flow).clone());
    rehearsed
}

struct Playing<'a> {
    audience: &'a dyn Audience,
    recorded: &'a RecordedFlow,
    open: OpenFlow,
    rehearsed: Rehearsed,
}

impl Playing<'_> {
    async fn exchange(&mut self) -> Result<(), Fault> {
        self.request().await?;
        let Some(response) = &self.recorded.response else { return Ok(()) };
        let (at, head) = (response.at, response.head.clone());
        self.now(at);
        let (course, flow) = self.open.course();
        let needs = course.response_needs(&head);
        let moment = lock(flow).timings.after(Duration::from_micros(at));
        let is_switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        {
            let mut flow = lock(flow);
            flow.timings.response_start = Some(moment);
            flow.response_content = Content::keeping(needs.capture);
            flow.response = Some(head);
            if is_switched {
                flow.timings.response_end = Some(moment);
            }
        }
        if is_switched {
            self.open.conclude(Outcome::Completed);
            return Ok(());
        }
        let recorded = &response.body;
        let onward = match needs.filter {
            true => self.filter(Direction::Response, recorded, needs.whole).await?,
            false => Onward::of(recorded),
        };
        self.pass(Direction::Response, onward, recorded).await?;
        let ended = recorded.ended.ok_or(Fault::Broken)?;
        self.now(ended);
        let mut flow = lock(self.open.flow());
        flow.timings.response_end = Some(flow.timings.after(Duration::from_micros(ended)));
        Ok(())
    }

    async fn request(&mut self) -> Result<(), Fault> {
        let recorded = &self.recorded.request.body;
        let needs = self.open.course().0.request_needs();
        let onward = match needs.filter {
            true => self.filter(Direction::Request, recorded, needs.whole).await?,
            false => Onward::of(recorded),
        };
        self.pass(Direction::Request, onward, recorded).await?;
        let ended = recorded.ended.ok_or(Fault::Broken)?;
        self.now(ended);
        let mut flow = lock(self.open.flow());
        flow.timings.request_end = Some(flow.timings.after(Duration::from_micros(ended)));
        Ok(())
    }

    /// Asks the filters of one message; what is left of its content to pass on.
    async fn filter(&mut self, of: Direction, body: &RecordedBody, whole: Option<usize>) -> Result<Onward, Fault> {
        let mut is_held = false;
        if let Some(limit) = whole {
            is_held = self.hold(of, body, limit)?;
        }
        loop {
            let (course, flow) = self.open.course();
            let verdict = match of {
                Direction::Request => course.request(flow, is_held).await?,
                Direction::Response => course.response(flow, is_held).await?,
            };
            match verdict {
                Verdict::Answer { by, response } => {
                    self.open.conclude(Outcome::AnsweredBy(by));
                    return Err(Fault::Answered(response));
                }
                Verdict::Disconnect => return Err(Fault::Disconnected),
                Verdict::NeedBody { limit } if !is_held => is_held = self.hold(of, body, limit)?,
                Verdict::Proceed | Verdict::NeedBody { .. } => return Ok(self.release(of, is_held, body)),
            }
        }
    }

    /// Holds the whole content, if it is no more than that. What was not recorded whole is too large as well: nobody would be given a part for it.
    fn hold(&mut self, of: Direction, body: &RecordedBody, limit: usize) -> Result<bool, Fault> {
        if body.length > limit as u64 || body.is_cut() {
            self.open.course().0.overflow(of)?;
            return Ok(false);
        }
        let ended = body.ended.ok_or(Fault::Broken)?;
        self.now(ended);
        lock(self.open.flow()).hold(of, body.octets(), body.trailers.clone());
        Ok(true)
    }

    fn release(&self, of: Direction, is_held: bool, body: &RecordedBody) -> Onward {
        if !is_held {
            return Onward::of(body);
        }
        let mut flow = lock(self.open.flow());
        let replaced = flow.release(of);
        let limit = flow.content(of).kept();
        *flow.content_mut(of) = Content::keeping(limit);
        let Some(octets) = replaced else { return Onward::of(body) };
        let piece = (!octets.is_empty()).then(|| RecordedPiece { at: body.ended.unwrap_or_default(), octets });
        Onward { pieces: piece.into_iter().collect(), trailers: Fields::default() }
    }

    /// Moves content on, through those who want it piece by piece.
    async fn pass(&mut self, of: Direction, onward: Onward, body: &RecordedBody) -> Result<(), Fault> {
        let Onward { pieces, trailers } = onward;
        let mut passed = Passed { flow: self.open.flow().clone(), of, octets: Vec::new() };
        let outcome = self.pump(pieces, body, &mut passed).await;
        match of {
            Direction::Request => self.rehearsed.sent = passed.octets.into(),
            Direction::Response => self.rehearsed.got = passed.octets.into(),
        }
        if outcome? == Ended::Whole {
            lock(self.open.flow()).set_trailers(of, trailers);
        }
        Ok(())
    }

    async fn pump(&mut self, pieces: Vec<RecordedPiece>, body: &RecordedBody, passed: &mut Passed) -> Result<Ended, Fault> {
        let of = passed.of;
        let is_empty = pieces.is_empty() && !body.is_cut();
        let Some((mut decoder, mut chunks)) = self.chunks(of, is_empty).await? else {
            for piece in pieces {
                self.now(piece.at);
                passed.note(&piece.octets);
            }
            if body.is_cut() {
                lock(&passed.flow).content_mut(of).miss(body.length - body.kept() as u64);
            }
            return Ok(if body.ended.is_some() { Ended::Whole } else { Ended::Early });
        };
        for piece in pieces {
            self.now(piece.at);
            let Some(decoder) = &mut decoder else {
                chunks.feed(piece.octets);
                if drain(&mut *chunks, passed).await? {
                    return Ok(Ended::Early);
                }
                continue;
            };
            decoder.feed(piece.octets);
            while let Some(octets) = decoder.piece().map_err(|_| Fault::Broken)? {
                chunks.feed(octets);
                if drain(&mut *chunks, passed).await? {
                    return Ok(Ended::Early);
                }
            }
        }
        // Dropped, the plugins are told that it broke off: so does what was not recorded whole.
        let ended = body.ended.filter(|_| !body.is_cut()).ok_or(Fault::Broken)?;
        self.now(ended);
        if let Some(decoder) = &mut decoder {
            decoder.finish().map_err(|_| Fault::Broken)?;
        }
        chunks.end();
        drain(&mut *chunks, passed).await?;
        Ok(Ended::Whole)
    }

    /// Those who want the content piece by piece, with its head made to fit.
    async fn chunks(&mut self, of: Direction, is_empty: bool) -> Result<Option<(Option<Decoder>, Box<dyn Chunks>)>, Fault> {
        let (course, flow) = self.open.course();
        if is_empty || !course.wants_chunks(of) {
            return Ok(None);
        }
        let decoder = {
            let flow = lock(flow);
            let is_part = flow.response.as_ref().is_some_and(|response| response.status == StatusCode::PARTIAL_CONTENT);
            match flow.fields(of) {
                // As on the wire: see `exchange::stream`.
                _ if of == Direction::Request && flow.request.version == Version::HTTP_10 => {
                    Err("a request of HTTP/1.0 has a length".to_owned())
                }
                Some(fields) if of == Direction::Response && is_part && fields.contains("content-encoding") => {
                    Err("it is a part of coded content".to_owned())
                }
                Some(fields) => Decoder::of(fields),
                None => Ok(None),
            }
        };
        let decoder = match decoder {
            Ok(decoder) => decoder,
            Err(why) => {
                course.without_chunks(flow, of, &why)?;
                return Ok(None);
            }
        };
        let Some(chunks) = course.chunks(flow, of).await? else { return Ok(None) };
        reframe(&mut lock(flow), of, decoder.is_some());
        Ok(Some((decoder, chunks)))
    }

    fn now(&self, micros: u64) {
        self.audience.now(self.recorded.began.saturating_add(micros));
    }
}

/// What is not true any more of content whose length nobody knows beforehand, and what a proxy says instead: see `exchange::stream`.
fn reframe(flow: &mut Flow, of: Direction, is_decoded: bool) {
    let is_framed = flow.request.version >= Version::HTTP_2;
    let ends_with_connection = of == Direction::Response
        && flow.response.as_ref().is_some_and(|ResponseHead { version, fields, .. }| match *version {
            Version::HTTP_11 => !fields.contains("content-length") && !fields.contains("transfer-encoding"),
            version => version < Version::HTTP_11,
        });
    let Some(fields) = flow.fields_mut(of) else { return };
    for name in ["content-length", "content-digest", "content-md5"] {
        fields.remove(name);
    }
    if is_decoded {
        fields.remove("content-encoding");
    }
    if is_framed {
        return;
    }
    if ends_with_connection {
        fields.remove("transfer-encoding");
    } else if !fields.contains("transfer-encoding") {
        fields.push("Transfer-Encoding", "chunked");
    }
}

/// What goes on of a message's content.
struct Onward {
    pieces: Vec<RecordedPiece>,
    /// None behind content that a filter made.
    trailers: Fields,
}

impl Onward {
    /// All that was recorded.
    fn of(body: &RecordedBody) -> Self {
        Self { pieces: body.pieces.clone(), trailers: body.trailers.clone() }
    }
}

/// How far content went.
#[derive(PartialEq)]
enum Ended {
    Whole,
    /// A plugin ended it, or it broke off.
    Early,
}

struct Passed {
    flow: SharedFlow,
    of: Direction,
    octets: Vec<u8>,
}

impl Passed {
    fn note(&mut self, octets: &Bytes) {
        lock(&self.flow).content_mut(self.of).pass(octets);
        self.octets.extend_from_slice(octets);
    }
}

/// Whether the message is over.
async fn drain(chunks: &mut dyn Chunks, passed: &mut Passed) -> Result<bool, Fault> {
    loop {
        match chunks.next().await? {
            Next::Forward(octets) => passed.note(&octets),
            Next::Hungry => return Ok(false),
            Next::Over => return Ok(true),
        }
    }
}

/// The messages of a flow that has switched; its end is told first, as on the wire.
async fn converse(audience: &dyn Audience, recorded: &RecordedFlow, mut open: OpenFlow, rehearsed: &mut Rehearsed) {
    let flow = open.flow().clone();
    let is_switched = lock(&flow).response.as_ref().is_some_and(|response| response.status == StatusCode::SWITCHING_PROTOCOLS);
    let messages = match is_switched {
        true => {
            let (course, flow) = open.course();
            course.messages(flow)
        }
        false => None,
    };
    drop(open);
    let passed = |frame: &RecordedFrame| (frame.kind != MessageKind::Closed).then(|| (frame.sent, message(frame)));
    let Some(messages) = messages else {
        if is_switched {
            rehearsed.messages = recorded.frames.iter().filter_map(passed).collect();
        }
        return;
    };
    let needs = messages.needs();
    for frame in &recorded.frames {
        audience.now(recorded.began.saturating_add(frame.at));
        let mut passing = frame.clone();
        if let Some(limit) = needs.filter.filter(|_| frame.kind != MessageKind::Closed) {
            let verdict = match frame.length > limit as u64 || frame.is_cut() {
                true => messages.overflow(frame.sent),
                false => messages.filter(frame.sent, message(frame)).await,
            };
            match verdict {
                MessageVerdict::Pass => {}
                MessageVerdict::Replace(other) => passing = replaced(frame, other),
                MessageVerdict::Discard => continue,
                MessageVerdict::Close(code) => {
                    rehearsed.closed = Some(code);
                    return;
                }
            }
        }
        rehearsed.messages.extend(passed(&passing));
        if let Some(most) = needs.observe {
            let at = lock(&flow).timings.after(Duration::from_micros(frame.at));
            let content = passing.content.slice(..passing.content.len().min(most));
            messages.passed(PassedMessage { sent: passing.sent, kind: passing.kind, at, length: passing.length, content }).await;
            audience.told().await;
        }
    }
}

fn message(frame: &RecordedFrame) -> Message {
    Message { is_text: frame.kind == MessageKind::Text, content: frame.content.clone() }
}

fn replaced(frame: &RecordedFrame, message: Message) -> RecordedFrame {
    let kind = if message.is_text { MessageKind::Text } else { MessageKind::Binary };
    RecordedFrame { sent: frame.sent, kind, at: frame.at, length: message.content.len() as u64, content: message.content }
}

fn sentence(refusal: &Refusal) -> String {
    let mut text = refusal.to_string();
    let mut source = std::error::Error::source(refusal);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::{
        hooks::{Course, Needs},
        recording::testing::flow,
    };

    /// What is wanted of contents, and what came of it.
    #[derive(Default)]
    struct Listener {
        whole: Option<usize>,
        told: Arc<Mutex<Vec<(Direction, &'static str)>>>,
    }

    impl Listener {
        fn needs(&self) -> Needs {
            Needs { filter: self.whole.is_some(), capture: 1000, whole: self.whole }
        }

        fn tell(&self, of: Direction, what: &'static str) {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push((of, what));
        }
    }

    impl Audience for Listener {
        fn hooks(&self) -> &dyn Hooks {
            self
        }

        fn now(&self, _: u64) {}

        fn told(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }
    }

    impl Hooks for Listener {
        fn wants_host(&self, _: &str) -> bool {
            true
        }

        fn open(&self, _: &Probe<'_>) -> Option<Box<dyn Course>> {
            Some(Box::new(Self { whole: self.whole, told: self.told.clone() }))
        }
    }

    impl Course for Listener {
        fn reserve(&mut self) -> Option<BoxFuture<'_, ()>> {
            None
        }

        fn request_needs(&self) -> Needs {
            self.needs()
        }

        fn request<'a>(&'a mut self, _: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>> {
            self.tell(Direction::Request, if body_held { "whole" } else { "not" });
            Box::pin(async { Ok(Verdict::Proceed) })
        }

        fn overflow(&mut self, of: Direction) -> Result<(), Refusal> {
            self.tell(of, "overflow");
            Ok(())
        }

        fn response_needs(&mut self, _: &ResponseHead) -> Needs {
            self.needs()
        }

        fn response<'a>(&'a mut self, _: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>> {
            self.tell(Direction::Response, if body_held { "whole" } else { "not" });
            Box::pin(async { Ok(Verdict::Proceed) })
        }

        fn end(self: Box<Self>, _: SharedFlow) {}
    }

    /// Of the response's content only the first piece was recorded.
    fn cut() -> RecordedFlow {
        let mut recorded = flow(1);
        if let Some(response) = &mut recorded.response {
            response.body.pieces.truncate(1);
        }
        recorded
    }

    #[tokio::test]
    async fn what_was_not_recorded_whole_is_captured_as_a_part() {
        let rehearsed = rehearse(&Listener::default(), &cut()).await;

        let played = rehearsed.flow.expect("it was wanted");
        let content = &played.response_content;
        assert_eq!((content.kept(), content.seen(), content.is_truncated()), (11, 22, true));
        assert!(!played.request_content.is_cut());
    }

    #[tokio::test]
    async fn what_was_not_recorded_whole_is_not_held_as_whole() {
        for limit in [15, 100] {
            let listener = Listener { whole: Some(limit), ..Listener::default() };

            rehearse(&listener, &cut()).await;

            let told = std::mem::take(&mut *listener.told.lock().unwrap_or_else(PoisonError::into_inner));
            let (sent, got) = (Direction::Request, Direction::Response);
            assert_eq!(told, [(sent, "whole"), (got, "overflow"), (got, "not")], "{limit}");
        }
    }
}
