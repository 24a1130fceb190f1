//! Flows that have ended, on their way to an observer.
//!
//! Place: a queue per build, emptied off the path, by as many tasks as there are instances: a call that hangs until its deadline holds up no
//! other. A place in it is taken when a flow begins, so that its end (which may be a `Drop`) hands over without waiting and without loss. All
//! places taken: a new flow waits for one within a bound, then runs unobserved, and is counted.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    sync::{
        Mutex, OnceCell, Semaphore,
        mpsc::{self, OwnedPermit, Receiver, Sender},
    },
    task::yield_now,
    time::{sleep, timeout},
};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::{build::Build, capability::context::Shown, journal::Page, messages::Crowd, settings::Limits};
use crate::{
    flow::{Direction, Flow, SharedFlow, lock},
    redaction::Redaction,
    tasks::Tasks,
};

/// Contents of more octets than these are redacted off the runtime, and so are those of which a coding makes nobody knows how many.
const REDACT_HERE: usize = 64 * 1024;

/// How many are redacted there at a time: while its members are looked for, a JSON text of many small ones takes some forty times its octets.
const REDACTED_AT_ONCE: usize = 2;

/// How long flows are told of in a row until whatever else is ready has its turn. In a row is cheaper: reads and writes come in a row, too,
/// then, and the other ends are woken up once for many.
const SPELL: Duration = Duration::from_micros(250);

/// How long flows that have ended come together before they are told of, where none was waiting: as long as a client takes to ask again.
const CALM: Duration = Duration::from_millis(1);

/// A flow that has ended, for one observer.
pub(super) struct Ended {
    pub(super) shared: Arc<Shared>,
    pub(super) shown: Shown,
    pub(super) page: Arc<Page>,
}

/// A place among the observed.
pub(super) type Place = OwnedPermit<Ended>;

/// The way to one build's observer.
pub(super) struct Observers {
    build: Arc<Build>,
    queue: Sender<Ended>,
    patience: Duration,
    /// Flows that go on as WebSockets have queues of their own.
    crowd: Arc<Crowd>,
    /// All places were taken when last tried: said already.
    crowded: AtomicBool,
}

impl Observers {
    /// Starts telling `build` of flows. Ends when this and all places are gone and the queue is empty.
    pub(super) fn start(build: Arc<Build>, limits: &Limits, view: View, tasks: &Tasks) -> Self {
        let (queue, ended) = mpsc::channel(limits.places.max(1));
        let turns = Arc::new(Semaphore::new(build.pool.width()));
        let ended = Arc::new(Mutex::new(ended));
        for _ in 0..build.pool.width() {
            tasks.spawn(tell(build.clone(), turns.clone(), ended.clone(), view.clone(), tasks.clone()));
        }
        let crowd = Arc::new(Crowd::new(build.clone(), turns, limits, view, tasks));
        Self { build, queue, patience: limits.patience, crowd, crowded: AtomicBool::new(false) }
    }

    /// The way for flows that go on as WebSockets.
    pub(super) fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }

    /// A place, if one is free.
    pub(super) fn try_reserve(&self) -> Option<Place> {
        let place = self.queue.clone().try_reserve_owned().ok();
        self.catch_up();
        place
    }

    /// So many places are free that it keeps up again: said once, and when it next does not, that is said, too. One free place says nothing:
    /// while it does not keep up, they come and go.
    fn catch_up(&self) {
        if self.crowded.load(Ordering::Relaxed)
            && self.queue.capacity() * 2 >= self.queue.max_capacity()
            && self.crowded.swap(false, Ordering::Relaxed)
        {
            let unobserved = self.build.tally.unobserved.load(Ordering::Relaxed);
            tracing::info!(plugin = self.build.info.name, unobserved, "the plugin keeps up again");
        }
    }

    /// A place, waited for within the bound.
    pub(super) async fn reserve(&self) -> Option<Place> {
        if let Ok(Ok(place)) = timeout(self.patience, self.queue.clone().reserve_owned()).await {
            self.catch_up();
            return Some(place);
        }
        self.build.tally.unobserved.fetch_add(1, Ordering::Relaxed);
        if !self.crowded.swap(true, Ordering::Relaxed) {
            tracing::error!(plugin = self.build.info.name, "the plugin does not keep up: flows run unobserved");
        }
        None
    }
}

/// One flow for all its observers: what they are not to see is taken out once.
pub(super) struct Shared {
    flow: SharedFlow,
    shown: OnceCell<SharedFlow>,
    /// Notes on the flow that what is shown has.
    tags: StdMutex<Vec<(String, String)>>,
}

impl Shared {
    pub(super) fn new(flow: SharedFlow) -> Arc<Self> {
        Arc::new(Self { flow, shown: OnceCell::new(), tags: StdMutex::default() })
    }

    /// Notes that the flow got since what is shown was made of it. Those of observers are on what is shown alone, and stay.
    fn follow_tags(&self, shown: &SharedFlow, redaction: &Redaction) {
        let mut known = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let now = {
            let flow = lock(&self.flow);
            if *known == flow.tags {
                return;
            }
            flow.tags.clone()
        };
        let mut shown = lock(shown);
        for (key, value) in now.iter().filter(|tag| !known.contains(tag)) {
            let value = redaction.text(value).into_owned();
            match shown.tags.iter_mut().find(|(known, _)| known == key) {
                Some((_, old)) => *old = value,
                None => shown.tags.push((key.clone(), value)),
            }
        }
        *known = now;
    }
}

/// One WebSocket message for all its observers, likewise.
pub(super) struct Heard {
    content: Bytes,
    shown: OnceCell<Bytes>,
}

impl Heard {
    /// As much of it as any of them sees.
    pub(super) fn new(content: Bytes) -> Arc<Self> {
        Arc::new(Self { content, shown: OnceCell::new() })
    }

    /// Octets of it.
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }
}

/// What observers see of a flow.
#[derive(Clone)]
pub(super) struct View {
    pub(super) redaction: Arc<ArcSwap<Redaction>>,
    /// Most octets that come out of undoing content codings.
    pub(super) max_decoded: Arc<AtomicUsize>,
    /// Turns of those that are redacted off the runtime.
    turns: Arc<Semaphore>,
}

impl View {
    pub(super) fn new(redaction: Arc<ArcSwap<Redaction>>, max_decoded: usize) -> Self {
        Self { redaction, max_decoded: Arc::new(max_decoded.into()), turns: Arc::new(Semaphore::new(REDACTED_AT_ONCE)) }
    }

    /// The flow without what they are not to see, by the rules that held when the first of them asked.
    pub(super) async fn of(&self, shared: &Shared, tasks: &Tasks) -> SharedFlow {
        let shown = shared.shown.get_or_init(|| self.redacted(shared.flow.clone(), tasks)).await;
        if !Arc::ptr_eq(shown, &shared.flow) {
            shared.follow_tags(shown, &self.redaction.load());
        }
        shown.clone()
    }

    async fn redacted(&self, flow: SharedFlow, tasks: &Tasks) -> SharedFlow {
        let redaction = self.redaction.load_full();
        if redaction.is_empty() {
            return flow;
        }
        let is_small = !redaction.reads_content() || is_small(&lock(&flow));
        let (max, shared) = (self.max_decoded.load(Ordering::Relaxed), flow.clone());
        let redacted = move || {
            let whole = lock(&shared).clone();
            SharedFlow::new(redaction.apply(&whole, max).into())
        };
        if is_small {
            return redacted();
        }
        match tasks.block_in_turn(&self.turns, redacted).await {
            Ok(redacted) => redacted,
            // It panicked: what cannot be redacted is not shown.
            Err(_) => {
                tracing::error!(flow = lock(&flow).id.0, "redacting the flow failed: it is observed without its contents and fields");
                SharedFlow::new(lock(&flow).without_contents().into())
            }
        }
    }

    /// The same for a WebSocket message.
    pub(super) async fn of_message(&self, heard: &Heard, tasks: &Tasks) -> Bytes {
        heard.shown.get_or_init(|| self.redacted_message(heard.content.clone(), tasks)).await.clone()
    }

    async fn redacted_message(&self, content: Bytes, tasks: &Tasks) -> Bytes {
        let redaction = self.redaction.load_full();
        if redaction.is_empty() {
            return content;
        }
        if content.len() <= REDACT_HERE {
            return redaction.message(content);
        }
        let redacted = tasks.block_in_turn(&self.turns, move || redaction.message(content)).await;
        redacted.unwrap_or_else(|_| {
            tracing::error!("redacting a WebSocket message failed: it is observed without its content");
            Bytes::new()
        })
    }
}

/// So little is there to look through that it need not be done elsewhere.
fn is_small(flow: &Flow) -> bool {
    let as_they_are = [Direction::Request, Direction::Response].into_iter().all(|of| {
        let is_coded = flow.fields(of).is_some_and(|fields| fields.contains("content-encoding"));
        flow.content(of).kept() == 0 || !is_coded
    });
    as_they_are && flow.request_content.kept() + flow.response_content.kept() <= REDACT_HERE
}

/// Tells of one flow after the other, until the queue ends.
async fn tell(build: Arc<Build>, turns: Arc<Semaphore>, ended: Arc<Mutex<Receiver<Ended>>>, view: View, tasks: Tasks) {
    let mut since = Instant::now();
    loop {
        let next = match ended.try_lock().ok().and_then(|mut ended| ended.try_recv().ok()) {
            Some(next) => next,
            None => {
                let Some(next) = ended.lock().await.recv().await else { return };
                // Whoever ended it often asks for more, and is to find the processor free.
                sleep(CALM).await;
                since = Instant::now();
                next
            }
        };
        // Those who tell of messages take turns with these. Never closed.
        let turn = turns.acquire().await;
        let telling = async {
            let Ended { shared, shown, page } = next;
            let flow = view.of(&shared, &tasks).await;
            build.tell_end(&flow, shown, None, &page).await;
        };
        if caught(telling).await.is_none() {
            build.lose_flow();
        }
        drop(turn);
        if since.elapsed() >= SPELL {
            yield_now().await;
            since = Instant::now();
        }
    }
}

/// Runs that to its end; `None`: it panicked, which is nobody's end but its own.
pub(super) async fn caught<T>(telling: impl Future<Output = T>) -> Option<T> {
    let mut telling = pin!(telling);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| telling.as_mut().poll(context))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::{flow::Content, plugin::tests::flow};

    fn view(fields: &[String]) -> View {
        let redaction = Redaction::new(fields, &[], &[]).expect("good rules");
        View::new(Arc::new(ArcSwap::from_pointee(redaction)), 1000)
    }

    #[tokio::test]
    async fn a_flow_is_redacted_once_for_all_its_observers() {
        let (view, tasks) = (view(&["host".to_owned()]), Tasks::new());
        let shared = Shared::new(Arc::new(flow("/").into()));

        let (first, second) = (view.of(&shared, &tasks).await, view.of(&shared, &tasks).await);

        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &shared.flow));
        let value = |flow: &SharedFlow| lock(flow).request.fields.iter().next().map(|field| field.value().to_vec());
        assert_eq!((value(&first), value(&shared.flow)), (Some(b"[redacted]".to_vec()), Some(b"a.test".to_vec())));
    }

    #[tokio::test]
    async fn notes_that_come_later_are_shown_too_and_those_of_observers_stay() {
        let redaction = Redaction::new(&[], &[], &["s3cret".to_owned()]).expect("good rules");
        let view = View { redaction: Arc::new(ArcSwap::from_pointee(redaction)), ..view(&[]) };
        let (shared, tasks) = (Shared::new(Arc::new(flow("/").into())), Tasks::new());
        let tag = |flow: &SharedFlow, key: &str, value: &str| {
            let tags = &mut lock(flow).tags;
            tags.retain(|(known, _)| known != key);
            tags.push((key.to_owned(), value.to_owned()));
        };
        tag(&shared.flow, "a.early", "1");
        tag(&view.of(&shared, &tasks).await, "a.early", "of an observer");

        tag(&shared.flow, "a.late", "it is s3cret");
        let shown = view.of(&shared, &tasks).await;
        let late = lock(&shown).tags.clone();
        tag(&shared.flow, "a.late", "other");
        view.of(&shared, &tasks).await;

        let told = |pairs: [(&str, &str); 2]| pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(late, told([("a.early", "of an observer"), ("a.late", "it is [redacted]")]));
        assert_eq!(lock(&shown).tags, told([("a.early", "of an observer"), ("a.late", "other")]));
    }

    #[tokio::test]
    async fn what_may_inflate_is_redacted_off_the_runtime_so_many_at_a_time() {
        let redaction = Redaction::new(&[], &[], &["s3cret".to_owned()]).expect("good rules");
        let (view, tasks) = (View { redaction: Arc::new(ArcSwap::from_pointee(redaction)), ..view(&[]) }, Tasks::new());
        let shared = |coding: Option<&str>, content: &'static [u8]| {
            let mut flow = flow("/");
            coding.into_iter().for_each(|coding| flow.request.fields.push("content-encoding", coding));
            flow.request_content = Content::whole(Bytes::from_static(content));
            Shared::new(Arc::new(flow.into()))
        };
        let is_ready = |shared: &Shared| pin!(view.of(shared, &tasks)).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let others = view.turns.clone().acquire_many_owned(REDACTED_AT_ONCE as u32).await.expect("it is never closed");

        let ready = [
            is_ready(&shared(None, b"s3cret")),
            is_ready(&shared(Some("identity"), b"")),
            is_ready(&shared(Some("gzip"), b"few octets")),
            is_ready(&shared(None, &[b'a'; REDACT_HERE + 1])),
        ];
        drop(others);
        let shown = view.of(&shared(Some("identity"), b"it is s3cret"), &tasks).await;

        assert_eq!(ready, [true, true, false, false]);
        assert_eq!(lock(&shown).request_content.octets(), "it is [redacted]");
    }

    #[tokio::test]
    async fn a_panic_ends_what_panics_and_nothing_else() {
        let outcomes =
            [caught(async { 1 }).await, caught(async { if true { panic!("told to") } else { 2 } }).await, caught(async { 3 }).await];

        assert_eq!(outcomes, [Some(1), None, Some(3)]);
    }

    #[tokio::test]
    async fn a_message_is_redacted_once_for_all_its_observers() {
        let redaction = Redaction::new(&[], &[], &["s3cret".to_owned()]).expect("good rules");
        let view = View { redaction: Arc::new(ArcSwap::from_pointee(redaction)), ..view(&[]) };
        let heard = Heard::new(Bytes::from_static(b"it is s3cret"));

        let (first, second) = (view.of_message(&heard, &Tasks::new()).await, view.of_message(&heard, &Tasks::new()).await);

        assert_eq!(first, "it is [redacted]");
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[tokio::test]
    async fn where_nothing_is_redacted_nothing_is_copied() {
        let shared = Shared::new(Arc::new(flow("/").into()));

        assert!(Arc::ptr_eq(&view(&[]).of(&shared, &Tasks::new()).await, &shared.flow));
    }
}
