//! Recording flows while they run.
//!
//! Place: on the port `hooks`, around whatever decides about flows; it sees what they see, before they do, and changes nothing. A flow's pieces are
//! handles to the buffers that pass; what they hold is bounded. A thread of its own writes flows that have ended: traffic never waits for it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::Context;
use bytes::Bytes;

use super::{RecordedBody, RecordedFlow, RecordedFrame, RecordedMessage, RecordedPiece, file::FlowFile};
use crate::{
    flow::{Authority, Direction, Fields, Message, MessageKind, Outcome, PassedMessage, Refusal, ResponseHead, Scope, SharedFlow, lock},
    hooks::{BoxFuture, Chunks, Course, Hooks, MessageNeeds, MessageVerdict, Messages, Needs, Passage, Probe, Tap, Verdict},
};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of content that flows hold at a time, those that wait to be written included. Full: what comes is not kept, which is counted.
    pub bytes: usize,
    /// Octets of one message's content; the rest of it is not kept.
    pub body: usize,
    /// Flows that wait to be written. Full: one that ends is lost, which is counted.
    pub queue: usize,
}

/// What became of flows that were to be recorded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// Written.
    pub written: u64,
    /// Not written: the disk did not keep up, or did not take them.
    pub lost: u64,
    /// Written without all of their content.
    pub cut: u64,
}

/// Writes flows that have ended.
pub struct Recorder {
    limits: Limits,
    queue: Mutex<Option<SyncSender<RecordedFlow>>>,
    writing: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    held: AtomicUsize,
    written: AtomicU64,
    lost: AtomicU64,
    cut: AtomicU64,
}

impl Recorder {
    /// Opens the file, which is made with mode 0600 or gone on with, and starts to write.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn start(path: &Path, limits: Limits) -> anyhow::Result<Arc<Self>> {
        let file = FlowFile::open(path)?;
        let (queue, ended) = sync_channel(limits.queue.max(1));
        let counts = Arc::<Counts>::default();
        let writer = counts.clone();
        let writing = thread::Builder::new().name("flows".into()).spawn(move || write(file, &ended, &writer));
        let writing = writing.context("starting the thread that records flows")?;
        Ok(Arc::new(Self { limits, queue: Mutex::new(Some(queue)), writing: Mutex::new(Some(writing)), counts }))
    }

    /// What became of flows so far.
    pub fn kept(&self) -> Kept {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Kept { written: read(&self.counts.written), lost: read(&self.counts.lost), cut: read(&self.counts.cut) }
    }

    /// Writes what waits and lets the file go. Blocks. Flows that end later are lost.
    pub fn close(&self) -> Kept {
        drop(guard(&self.queue).take());
        if let Some(writing) = guard(&self.writing).take() {
            // It does not panic; if it did, what it wrote is whole all the same.
            let _ = writing.join();
        }
        self.kept()
    }

    fn hold(&self, octets: usize) -> bool {
        let held = self.counts.held.fetch_add(octets, Ordering::Relaxed);
        if held + octets <= self.limits.bytes {
            return true;
        }
        self.counts.held.fetch_sub(octets, Ordering::Relaxed);
        false
    }

    fn take(&self, flow: RecordedFlow) {
        let octets = flow.octets();
        let sent = guard(&self.queue).as_ref().is_some_and(|queue| queue.try_send(flow).is_ok());
        if !sent {
            self.counts.held.fetch_sub(octets, Ordering::Relaxed);
            if self.counts.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::error!("the disk does not keep up: flows are not recorded; how many is said at the end");
            }
        }
    }
}

fn write(mut file: FlowFile, ended: &Receiver<RecordedFlow>, counts: &Counts) {
    let mut is_failing = false;
    while let Ok(mut flow) = ended.recv() {
        match file.write(&mut flow) {
            Ok(()) => {
                is_failing = false;
                counts.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                counts.lost.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(file = %file.path().display(), %error, "a flow cannot be recorded");
                }
            }
        }
        counts.held.fetch_sub(flow.octets(), Ordering::Relaxed);
    }
    if let Err(error) = file.sync() {
        tracing::error!(file = %file.path().display(), %error, "recorded flows may not have reached the disk");
    }
}

/// Whatever decides about flows, recorded.
pub struct Recorded {
    hooks: Arc<dyn Hooks>,
    recorder: Arc<Recorder>,
}

impl Recorded {
    /// Records what passes `hooks`.
    pub fn new(hooks: Arc<dyn Hooks>, recorder: Arc<Recorder>) -> Self {
        Self { hooks, recorder }
    }
}

impl Hooks for Recorded {
    /// Every one that may be looked into: that is what is recorded.
    fn wants_host(&self, _: &str) -> bool {
        true
    }

    fn connect<'a>(&'a self, scope: &'a Scope, authority: &'a Authority) -> Option<BoxFuture<'a, Result<Passage, Refusal>>> {
        self.hooks.connect(scope, authority)
    }

    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>> {
        Some(Box::new(Watched { inner: self.hooks.open(request), recorder: self.recorder.clone(), take: None }))
    }
}

/// One flow's way, watched.
struct Watched {
    inner: Option<Box<dyn Course>>,
    recorder: Arc<Recorder>,
    take: Option<Arc<Take>>,
}

/// What is known of one flow so far. Dropped, it goes to be written.
struct Take {
    recorder: Arc<Recorder>,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    flow: Option<RecordedFlow>,
    /// Content is missing.
    is_cut: bool,
    /// Per direction: the message in progress is passed over by filters, and noted when it has passed.
    unasked: [bool; 2],
}

impl Take {
    fn begin(recorder: &Arc<Recorder>, flow: &SharedFlow) -> Arc<Self> {
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
        let state = State { flow: Some(recorded), is_cut: false, unasked: [false; 2] };
        Arc::new(Self { recorder: recorder.clone(), began: Instant::now(), state: Mutex::new(state) })
    }

    fn answered(&self, head: &ResponseHead) {
        let at = self.at(Instant::now());
        self.change(|flow| flow.response = Some(RecordedMessage { head: head.clone(), at, body: RecordedBody::default() }));
    }

    fn frame(&self, sent: Direction, kind: MessageKind, at: Instant, length: u64, content: &Bytes) {
        let at = self.at(at);
        let kept = content.len() <= self.recorder.limits.body && self.recorder.hold(content.len());
        let content = if kept { content.clone() } else { Bytes::new() };
        let is_cut = content.len() as u64 != length;
        let mut state = guard(&self.state);
        state.is_cut |= is_cut;
        if let Some(flow) = &mut state.flow {
            flow.frames.push(RecordedFrame { sent, kind, at, length, content });
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
        let is_whole = !body.is_cut() && body.length as usize + octets.len() <= self.recorder.limits.body;
        body.length += octets.len() as u64;
        if is_whole && self.recorder.hold(octets.len()) {
            body.pieces.push(RecordedPiece { at, octets: octets.clone() });
        } else {
            state.is_cut = true;
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
        let Some(flow) = state.flow.take() else { return };
        if state.is_cut {
            self.recorder.counts.cut.fetch_add(1, Ordering::Relaxed);
        }
        self.recorder.take(flow);
    }
}

impl Course for Watched {
    fn begun(&mut self, flow: &SharedFlow) -> Option<Arc<dyn Tap>> {
        let take = Take::begin(&self.recorder, flow);
        self.take = Some(take.clone());
        Some(take)
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
        let Some(take) = self.take.clone() else { return inner };
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
        needs.observe = needs.observe.max(Some(self.take.recorder.limits.body));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{read, testing::flow};

    const LIMITS: Limits = Limits { bytes: 100, body: 90, queue: 4 };

    fn take(recorder: &Arc<Recorder>) -> Arc<Take> {
        let mut recorded = flow(1);
        recorded.request.body = RecordedBody::default();
        recorded.response = None;
        let state = State { flow: Some(recorded), is_cut: false, unasked: [false; 2] };
        Arc::new(Take { recorder: recorder.clone(), began: Instant::now(), state: Mutex::new(state) })
    }

    #[test]
    fn what_is_held_is_bounded_and_what_is_missing_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flows");
        let recorder = Recorder::start(&path, LIMITS).expect("started");
        let (piece, [one, other]) = (Bytes::from_static(&[b'x'; 40]), [take(&recorder), take(&recorder)]);

        // The first reaches the bound of one content, the second that of all together.
        for taken in [&one, &one, &one, &other, &other] {
            taken.piece(Direction::Request, &piece);
        }
        other.piece(Direction::Request, &Bytes::from_static(b"y"));
        drop((one, other));
        let kept = recorder.close();
        drop(take(&recorder));

        assert_eq!(kept, Kept { written: 2, lost: 0, cut: 2 });
        assert_eq!((recorder.kept().lost, recorder.counts.held.load(Ordering::Relaxed)), (1, 0));
        let bodies: Vec<_> =
            read(&[path]).expect("flows").into_iter().map(|flow| (flow.request.body.kept(), flow.request.body.length)).collect();
        assert_eq!(bodies, [(80, 120), (0, 81)]);
    }
}
