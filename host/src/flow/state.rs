//! One exchange: what is known of it so far.
//!
//! Place: filled by `exchange` while the exchange runs, changed by filters, read by observers. Shared behind a lock that is held for
//! single reads and writes only and never across an `.await`.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::StatusCode;

use super::{CaptureBudget, Charge, Content, Direction, Fields, Origin, RequestHead, ResponseHead, Scope, head::media_type};
use crate::hooks::Trace;

/// Unique within one run of the proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlowId(pub u64);

impl FlowId {
    /// The next one.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A flow between its hooks and its exchange.
pub type SharedFlow = Arc<Mutex<Flow>>;

/// The flow behind the lock. A panic elsewhere while it was held leaves plain data, which is still good to read.
pub fn lock(flow: &SharedFlow) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Names it in diagnostics.
    pub id: FlowId,
    /// On whose behalf.
    pub scope: Arc<Scope>,
    /// Where the client wanted to go. The URL is made of this, not of the Host field.
    pub origin: Origin,
    /// Where a filter sends it instead.
    pub redirected: Option<Origin>,
    /// As it stands: with the changes of the filters that ran before.
    pub request: RequestHead,
    /// The final response's head, once there is one.
    pub response: Option<ResponseHead>,
    /// What passed of the request's content.
    pub request_content: Content,
    /// What passed of the response's content.
    pub response_content: Content,
    /// Empty where there were none.
    pub request_trailers: Fields,
    /// Empty where there were none.
    pub response_trailers: Fields,
    /// When things happened.
    pub timings: Timings,
    /// How it ended.
    pub outcome: Outcome,
    /// Notes of plugins, keyed `plugin.key`.
    pub tags: Vec<(String, String)>,
    /// Who is told what its time goes into.
    pub trace: Option<Arc<dyn Trace>>,
    request_held: Held,
    response_held: Held,
    /// What its contents are counted in.
    budget: Option<CaptureBudget>,
}

/// Whether a message's content is held back, and still its own.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    now: bool,
    replaced: bool,
}

impl Flow {
    /// A flow at the moment its request head was read.
    pub fn new(scope: Arc<Scope>, origin: Origin, request: RequestHead) -> Self {
        Self {
            id: FlowId::next(),
            scope,
            origin,
            redirected: None,
            request,
            response: None,
            request_content: Content::default(),
            response_content: Content::default(),
            request_trailers: Fields::default(),
            response_trailers: Fields::default(),
            timings: Timings::begin(),
            outcome: Outcome::InProgress,
            tags: Vec::new(),
            trace: None,
            request_held: Held::default(),
            response_held: Held::default(),
            budget: None,
        }
    }

    /// The same, its contents counted in that budget.
    pub fn counted_in(mut self, budget: &CaptureBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// What else is held of it, counted in the same budget; `None`: it has none.
    pub fn charge(&self) -> Option<Arc<Charge>> {
        self.budget.clone().map(Charge::new)
    }

    /// Keeps up to `limit` octets of what passes of that message's content from here on, if its budget has them.
    pub fn capture(&mut self, of: Direction, limit: usize) {
        *self.content_mut(of) = Content::keeping_within(limit, self.budget.as_ref());
    }

    /// What can be told of it where nothing that was sent may be: neither fields nor contents.
    pub fn without_contents(&self) -> Self {
        let mut bare =
            Self::new(self.scope.clone(), self.origin.clone(), RequestHead { fields: Fields::default(), ..self.request.clone() });
        bare.id = self.id;
        bare.response = self.response.clone().map(|response| ResponseHead { fields: Fields::default(), ..response });
        bare.timings = self.timings;
        bare.outcome = self.outcome.clone();
        bare
    }

    /// Media type of one message's content, in lower case and without parameters; empty where none is said, `None` before there is a
    /// response.
    pub fn media_type(&self, of: Direction) -> Option<String> {
        self.fields(of).map(media_type)
    }

    /// Absolute URL as the client asked for it, default port left out.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin, String::from_utf8_lossy(&self.request.path))
    }

    /// The fields of one message; `None` before there is a response.
    pub fn fields(&self, of: Direction) -> Option<&Fields> {
        match of {
            Direction::Request => Some(&self.request.fields),
            Direction::Response => self.response.as_ref().map(|response| &response.fields),
        }
    }

    /// The same, to change.
    pub fn fields_mut(&mut self, of: Direction) -> Option<&mut Fields> {
        match of {
            Direction::Request => Some(&mut self.request.fields),
            Direction::Response => self.response.as_mut().map(|response| &mut response.fields),
        }
    }

    /// What passed of one message's content.
    pub fn content(&self, of: Direction) -> &Content {
        match of {
            Direction::Request => &self.request_content,
            Direction::Response => &self.response_content,
        }
    }

    /// The same, to add to.
    pub fn content_mut(&mut self, of: Direction) -> &mut Content {
        match of {
            Direction::Request => &mut self.request_content,
            Direction::Response => &mut self.response_content,
        }
    }

    /// Trailers of one message.
    pub fn trailers(&self, of: Direction) -> &Fields {
        match of {
            Direction::Request => &self.request_trailers,
            Direction::Response => &self.response_trailers,
        }
    }

    /// Puts other content in place of what is held, and makes the fields that describe it agree (RFC 9110 §8.4, §8.6). Only while the
    /// content is held: [`Flow::is_held`]. Returns what [`Flow::restore_body`] takes to undo it.
    pub fn set_body(&mut self, of: Direction, octets: Bytes) -> Replaced {
        let len = octets.len().to_string();
        if let Some(fields) = self.fields_mut(of) {
            fields.remove("content-encoding");
            fields.remove("transfer-encoding");
            fields.set("content-length", len);
        }
        let whole = Content::whole_within(octets, self.budget.as_ref());
        let content = std::mem::replace(self.content_mut(of), whole);
        Replaced { content, earlier: std::mem::replace(&mut self.held_mut(of).replaced, true) }
    }

    /// Takes a [`Flow::set_body`] back, but for the fields.
    pub fn restore_body(&mut self, of: Direction, replaced: Replaced) {
        *self.content_mut(of) = replaced.content;
        self.held_mut(of).replaced = replaced.earlier;
    }

    /// Whether the whole content of that message is held back now.
    pub fn is_held(&self, of: Direction) -> bool {
        match of {
            Direction::Request => self.request_held.now,
            Direction::Response => self.response_held.now,
        }
    }

    /// Holds the whole content of that message.
    pub fn hold(&mut self, of: Direction, octets: Bytes, trailers: Fields) {
        *self.content_mut(of) = Content::whole_within(octets, self.budget.as_ref());
        self.set_trailers(of, trailers);
        self.held_mut(of).now = true;
    }

    /// Lets the content go on; the other content, if a filter has put some in its place. Trailers are kept again when they pass: none do behind
    /// other content.
    pub fn release(&mut self, of: Direction) -> Option<Bytes> {
        let held = std::mem::take(self.held_mut(of));
        self.set_trailers(of, Fields::default());
        held.replaced.then(|| self.content(of).octets())
    }

    fn held_mut(&mut self, of: Direction) -> &mut Held {
        match of {
            Direction::Request => &mut self.request_held,
            Direction::Response => &mut self.response_held,
        }
    }

    /// Keeps the trailers of one message.
    pub fn set_trailers(&mut self, of: Direction, trailers: Fields) {
        match of {
            Direction::Request => self.request_trailers = trailers,
            Direction::Response => self.response_trailers = trailers,
        }
    }
}

/// Content that another took the place of.
#[derive(Debug)]
pub struct Replaced {
    content: Content,
    /// It was not what had come, either.
    earlier: bool,
}

/// A complete response made by a plugin or by the proxy itself.
#[derive(Clone, Debug)]
pub struct LocalResponse {
    /// 200 to 599.
    pub status: StatusCode,
    /// Framing is the host's: `content-length` and hop-by-hop fields are not among them.
    pub fields: Fields,
    /// The whole content.
    pub content: Bytes,
}

/// How a flow ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Not yet.
    InProgress,
    /// The response passed whole.
    Completed,
    /// The client went away first; the contents hold what had passed.
    ClientAborted,
    /// The origin broke off, or could not be used after the request had gone out; says why.
    OriginFailed(String),
    /// Answered by the named plugin, or by the proxy itself (`host`) before an origin saw the request.
    AnsweredBy(String),
}

/// For people.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProgress => f.write_str("in progress"),
            Self::Completed => f.write_str("completed"),
            Self::ClientAborted => f.write_str("the client went away"),
            Self::OriginFailed(why) => write!(f, "the origin failed: {why}"),
            Self::AnsweredBy(whom) => write!(f, "answered by {whom}"),
        }
    }
}

/// When things happened, anchored once to the wall clock: a clock that jumps bends no duration.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    began: SystemTime,
    anchor: Instant,
    /// Last octet of the request read.
    pub request_end: Option<Instant>,
    /// Head of the final response read.
    pub response_start: Option<Instant>,
    /// Last octet of the response read.
    pub response_end: Option<Instant>,
}

impl Timings {
    /// Now: the request head has been read.
    pub fn begin() -> Self {
        Self { began: SystemTime::now(), anchor: Instant::now(), request_end: None, response_start: None, response_end: None }
    }

    /// That moment, which is taken to be now: for flows that are played again.
    pub fn replayed(began: SystemTime) -> Self {
        Self { began, ..Self::begin() }
    }

    /// The moment so long after the first.
    pub fn after(&self, since: Duration) -> Instant {
        // What is told of a moment out of all bounds does not matter, but it must be one.
        self.anchor.checked_add(since).unwrap_or(self.anchor)
    }

    /// A moment of the past that was so long after another: for flows that are made up of what was recorded of them.
    pub fn recorded(request_start: SystemTime, response_end: Duration) -> Self {
        let anchor = Instant::now();
        let end = Some(anchor + response_end);
        Self { began: request_start, anchor, request_end: None, response_start: end, response_end: end }
    }

    /// When the request head had been read, in microseconds since the Unix epoch.
    pub fn request_start_us(&self) -> u64 {
        self.micros(self.anchor)
    }

    /// Any later moment on the same scale.
    pub fn micros(&self, at: Instant) -> u64 {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let whole = began + at.saturating_duration_since(self.anchor);
        u64::try_from(whole.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_bends_no_duration() {
        // The end of a flow is so long after its beginning, whatever the clock says by then; some clocks are before the epoch.
        for began in [SystemTime::now(), UNIX_EPOCH + Duration::from_secs(1), UNIX_EPOCH - Duration::from_secs(3600)] {
            let timings = Timings::replayed(began);

            let end = timings.micros(timings.after(Duration::from_millis(1500)));

            assert_eq!(end - timings.request_start_us(), 1_500_000, "{began:?}");
        }
    }
}
