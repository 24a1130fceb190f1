//! One flow, watched while it runs: what it becomes as a recorded one.
//!
//! Place: on the port `hooks`, around the flow's course; it sees what plugins see, before they do, and changes nothing. A flow's pieces are
//! handles to the buffers that pass. What is held of them is bounded by the [`Keeper`] that gets the flow at its end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;

use super::{RecordedBody, RecordedFlow, RecordedFrame, RecordedMessage, RecordedPiece};
use crate::{
    flow::{Direction, Fields, Message, MessageKind, Outcome, PassedMessage, Refusal, ResponseHead, SharedFlow, lock},
    hooks::{BoxFuture, Chunks, Course, MessageNeeds, MessageVerdict, Messages, Needs, Tap, Verdict},
};

/// Whom flows go to when they have ended. Nothing here waits or blocks.
pub trait Keeper: Send + Sync + 'static {
    /// Most octets of one content, and of one WebSocket message; where the keeper is choosy, of all messages of one flow.
    fn body(&self) -> usize;

    /// Whether a flow may occupy so many octets more ([`RecordedFlow::occupied`]).
    fn hold(&self, octets: usize) -> bool;

    /// A flow occupies so many octets less.
    fn release(&self, octets: usize);

    /// A flow has begun: its request's head is known.
    fn begun(&self, flow: &RecordedFlow) {
        let _ = flow;
    }

    /// A flow has ended. What it holds is the keeper's to release.
    fn keep(&self, flow: RecordedFlow, is_cut: bool);

    /// Only whole flows are of use, and of those only what plugins met: what is missing something is not watched further and never kept.
    fn is_choosy(&self) -> bool {
        false
    }
}

/// Watches a flow on its way through the plugins that want it; `None`: none do.
pub fn watch(course: Option<Box<dyn Course>>, keeper: Arc<dyn Keeper>) -> Box<dyn Course> {
    Box::new(Watched { inner: course, keeper, take: None })
}

/// One flow's way, watched.
struct Watched {
    inner: Option<Box<dyn Course>>,
    keeper: Arc<dyn Keeper>,
    take: Option<Arc<Take>>,
}

/// What is known of one flow so far. Dropped, it goes to its keeper.
struct Take {
    keeper: Arc<dyn Keeper>,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    flow: Option<RecordedFlow>,
    /// Content is missing.
    is_cut: bool,
    /// What messages occupy.
    spoken: usize,
    /// A message is missing: none is noted any more.
    is_full: bool,
    /// Per direction: the message in progress is passed over by filters, and noted when it has passed.
    unasked: [bool; 2],
}

impl State {
    /// Something is missing.
    fn cut(&mut self, keeper: &dyn Keeper) {
        self.is_cut = true;
        if keeper.is_choosy()
            && let Some(flow) = self.flow.take()
        {
            keeper.release(flow.occupied());
        }
    }
}

impl Take {
    fn begin(keeper: &Arc<dyn Keeper>, flow: &SharedFlow) -> Arc<Self> {
        let flow = lock(flow);
        let mut head = flow.request.clone();
        // Whose password it was is nobody's business.
        head.fields.remove("proxy-authorization");
        let recorded = RecordedFlow {
            id: flow.id.0,
            began: flow.timings.request_start_us(),
            client: flow.scope.client.0,
            connection: flow.scope.connection,
            user: flow.scope.principal.name().map(str::to_owned),
            origin: flow.origin.clone(),
            request: RecordedMessage { head, at: 0, body: RecordedBody::default() },
            response: None,
            frames: Vec::new(),
            outcome: Outcome::InProgress,
        };
        keeper.begun(&recorded);
        let state = State { flow: Some(recorded), is_cut: false, spoken: 0, is_full: false, unasked: [false; 2] };
        Arc::new(Self { keeper: keeper.clone(), began: Instant::now(), state: Mutex::new(state) })
    }

    fn answered(&self, head: &ResponseHead) {
        let at = self.at(Instant::now());
        self.change(|flow| flow.response = Some(RecordedMessage { head: head.clone(), at, body: RecordedBody::default() }));
    }

    fn frame(&self, sent: Direction, kind: MessageKind, at: Instant, length: u64, content: &Bytes) {
        let at = self.at(at);
        let mut state = guard(&self.state);
        let state = &mut *state;
        if state.is_full {
            return;
        }
        let mut frame = RecordedFrame { sent, kind, at, length, content: content.clone() };
        state.spoken += frame.occupied();
        let is_much = self.keeper.is_choosy() && state.spoken > self.keeper.body();
        let Some(flow) = &mut state.flow else { return };
        if content.len() > self.keeper.body() || !self.keeper.hold(frame.occupied()) {
            frame.content = Bytes::new();
            // Once a message is missing, what comes after it would stand in its place.
            state.is_full = !self.keeper.hold(frame.occupied());
        }
        let is_cut = frame.content.len() as u64 != length || state.is_full;
        if !state.is_full {
            flow.frames.push(frame);
        }
        if is_cut || is_much {
            state.cut(&*self.keeper);
        }
    }

    fn at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn change(&self, change: impl FnOnce(&mut RecordedFlow)) {
        if let Some(flow) = &mut guard(&self.state).flow {
            change(flow);
        }
    }
}

fn body(flow: &mut RecordedFlow, of: Direction) -> Option<&mut RecordedBody> {
    match of {
        Direction::Request => Some(&mut flow.request.body),
        Direction::Response => flow.response.as_mut().map(|response| &mut response.body),
    }
}

impl Tap for Take {
    fn piece(&self, of: Direction, octets: &Bytes) {
        let at = self.at(Instant::now());
        let mut state = guard(&self.state);
        let Some(body) = state.flow.as_mut().and_then(|flow| body(flow, of)) else { return };
        // Once something is missing, what comes after it would stand in its place.
        let is_whole = !body.is_cut() && body.length as usize + octets.len() <= self.keeper.body();
        body.length += octets.len() as u64;
        let mut piece = RecordedPiece { at, octets: octets.clone() };
        if is_whole && self.keeper.hold(piece.occupied()) {
            // Its own copy: else it would hold on to the whole buffer that it was read into, which nobody counts.
            piece.octets = Bytes::copy_from_slice(octets);
            body.pieces.push(piece);
        } else {
            state.cut(&*self.keeper);
        }
    }

    fn end(&self, of: Direction, trailers: &Fields) {
        let at = self.at(Instant::now());
        self.change(|flow| {
            if let Some(body) = body(flow, of) {
                body.ended = Some(at);
                body.trailers = trailers.clone();
            }
        });
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(flow) = state.flow.take() {
            self.keeper.keep(flow, state.is_cut);
        }
    }
}

/// One flow that is watched twice.
struct Both(Arc<dyn Tap>, Arc<dyn Tap>);

impl Tap for Both {
    fn piece(&self, of: Direction, octets: &Bytes) {
        self.0.piece(of, octets);
        self.1.piece(of, octets);
    }

    fn end(&self, of: Direction, trailers: &Fields) {
        self.0.end(of, trailers);
        self.1.end(of, trailers);
    }
}

impl Course for Watched {
    fn begun(&mut self, flow: &SharedFlow) -> Option<Arc<dyn Tap>> {
        let take = Take::begin(&self.keeper, flow);
        self.take = Some(take.clone());
        Some(match self.inner.as_mut().and_then(|inner| inner.begun(flow)) {
            Some(other) => Arc::new(Both(take, other)),
            None => take,
        })
    }

    fn reserve(&mut self) -> Option<BoxFuture<'_, ()>> {
        self.inner.as_mut()?.reserve()
    }

    fn request_needs(&self) -> Needs {
        self.inner.as_ref().map(|inner| inner.request_needs()).unwrap_or_default()
    }

    fn request<'a>(&'a mut self, flow: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        match &mut self.inner {
            Some(inner) => inner.request(flow, body_held),
            None => Box::pin(async { Ok(Verdict::Proceed) }),
        }
    }

    fn overflow(&mut self, of: Direction) -> Result<(), Refusal> {
        self.inner.as_mut().map_or(Ok(()), |inner| inner.overflow(of))
    }

    fn response_needs(&mut self, response: &ResponseHead) -> Needs {
        if let Some(take) = &self.take {
            take.answered(response);
        }
        self.inner.as_mut().map(|inner| inner.response_needs(response)).unwrap_or_default()
    }

    fn response<'a>(&'a mut self, flow: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        match &mut self.inner {
            Some(inner) => inner.response(flow, body_held),
            None => Box::pin(async { Ok(Verdict::Proceed) }),
        }
    }

    fn messages(&mut self, flow: &SharedFlow) -> Option<Arc<dyn Messages>> {
        let inner = self.inner.as_mut().and_then(|inner| inner.messages(flow));
        let is_wanted = inner.is_some() || !self.keeper.is_choosy();
        let Some(take) = self.take.clone().filter(|_| is_wanted) else { return inner };
        Some(Arc::new(Overheard { inner, take }))
    }

    fn wants_chunks(&self, of: Direction) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.wants_chunks(of))
    }

    fn without_chunks(&mut self, flow: &SharedFlow, of: Direction, why: &str) -> Result<(), Refusal> {
        self.inner.as_mut().map_or(Ok(()), |inner| inner.without_chunks(flow, of, why))
    }

    fn chunks<'a>(&'a mut self, flow: &'a SharedFlow, of: Direction) -> BoxFuture<'a, Result<Option<Box<dyn Chunks>>, Refusal>> {
        match &mut self.inner {
            Some(inner) => inner.chunks(flow, of),
            None => Box::pin(async { Ok(None) }),
        }
    }

    fn end(self: Box<Self>, flow: SharedFlow) {
        if let Some(take) = &self.take {
            let outcome = lock(&flow).outcome.clone();
            take.change(|flow| {
                // What has no content ends with its head.
                let at = flow.response.as_ref().map_or(flow.request.at, |response| response.at);
                let is_empty = |body: &RecordedBody| body.length == 0;
                if is_empty(&flow.request.body) {
                    flow.request.body.ended = flow.request.body.ended.or(Some(0));
                }
                if let Some(response) = flow.response.as_mut().filter(|response| is_empty(&response.body) && outcome == Outcome::Completed)
                {
                    response.body.ended = response.body.ended.or(Some(at));
                }
                flow.outcome = outcome;
            });
        }
        if let Some(inner) = self.inner {
            inner.end(flow);
        }
    }
}

/// The messages of a flow that has switched, noted as they came where filters may change them, and as they passed otherwise.
struct Overheard {
    inner: Option<Arc<dyn Messages>>,
    take: Arc<Take>,
}

impl Overheard {
    fn filters(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs().filter.is_some())
    }
}

impl Messages for Overheard {
    fn needs(&self) -> MessageNeeds {
        let mut needs = self.inner.as_ref().map(|inner| inner.needs()).unwrap_or_default();
        needs.observe = needs.observe.max(Some(self.take.keeper.body()));
        needs
    }

    fn filter(&self, of: Direction, message: Message) -> BoxFuture<'_, MessageVerdict> {
        let kind = if message.is_text { MessageKind::Text } else { MessageKind::Binary };
        self.take.frame(of, kind, Instant::now(), message.content.len() as u64, &message.content);
        match &self.inner {
            Some(inner) => inner.filter(of, message),
            None => Box::pin(async { MessageVerdict::Pass }),
        }
    }

    fn overflow(&self, of: Direction) -> MessageVerdict {
        guard(&self.take.state).unasked[of as usize] = true;
        self.inner.as_ref().map_or(MessageVerdict::Pass, |inner| inner.overflow(of))
    }

    fn unreadable(&self) -> MessageVerdict {
        self.inner.as_ref().map_or(MessageVerdict::Pass, |inner| inner.unreadable())
    }

    fn passed(&self, message: PassedMessage) -> BoxFuture<'_, ()> {
        let was_unasked = std::mem::take(&mut guard(&self.take.state).unasked[message.sent as usize]);
        if !self.filters() || was_unasked || message.kind == MessageKind::Closed {
            self.take.frame(message.sent, message.kind, message.at, message.length, &message.content);
        }
        match self.inner.as_ref().filter(|inner| inner.needs().observe.is_some()) {
            Some(inner) => inner.passed(message),
            None => Box::pin(async {}),
        }
    }
}

fn guard<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
