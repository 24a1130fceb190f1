//! Recording flows in a file while they run.
//!
//! Place: on the port `hooks`, around whatever decides about flows. What flows hold is bounded. A thread of its own writes those that have ended:
//! traffic never waits for it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context;

use super::{
    RecordedFlow,
    file::FlowFile,
    room::Room,
    watch::{Keeper, watch},
};
use crate::{
    flow::{Authority, Refusal, Scope},
    hooks::{BoxFuture, Course, Hooks, Passage, Probe},
};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets that contents and messages of flows occupy at a time, those that wait to be written included. Full: what comes is not kept, which is counted.
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

struct Counts {
    room: Room,
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
        let counts =
            Arc::new(Counts { room: Room::new(limits.bytes), written: AtomicU64::new(0), lost: AtomicU64::new(0), cut: AtomicU64::new(0) });
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
}

impl Keeper for Recorder {
    fn body(&self) -> usize {
        self.limits.body
    }

    fn hold(&self, octets: usize) -> bool {
        self.counts.room.hold(octets)
    }

    fn release(&self, octets: usize) {
        self.counts.room.release(octets);
    }

    fn keep(&self, flow: RecordedFlow, is_cut: bool) {
        if is_cut {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
        }
        let octets = flow.occupied();
        let sent = guard(&self.queue).as_ref().is_some_and(|queue| queue.try_send(flow).is_ok());
        if !sent {
            self.release(octets);
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
        counts.room.release(flow.occupied());
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
        Some(watch(self.hooks.open(request), self.recorder.clone()))
    }
}

fn guard<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        flow::{Direction, MessageKind, PassedMessage, SharedFlow},
        hooks::Tap,
        recording::{RecordedFrame, RecordedPiece, read, testing::running},
    };

    /// Two pieces of 40 octets, and nearly a third.
    const LIMITS: Limits = Limits { bytes: 100 + 2 * size_of::<RecordedPiece>(), body: 90, queue: 4 };

    /// A flow that runs.
    fn take(recorder: &Arc<Recorder>) -> (Box<dyn Course>, Arc<dyn Tap>) {
        let mut course = watch(None, recorder.clone());
        let tap = course.begun(&SharedFlow::new(running().into())).expect("it is watched");
        (course, tap)
    }

    #[test]
    fn what_is_held_is_bounded_and_what_is_missing_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flows");
        let recorder = Recorder::start(&path, LIMITS).expect("started");
        let (piece, [one, other]) = (Bytes::from_static(&[b'x'; 40]), [take(&recorder), take(&recorder)]);

        // The first reaches the bound of one content, the second that of all together.
        for taken in [&one, &one, &one, &other, &other] {
            taken.1.piece(Direction::Request, &piece);
        }
        other.1.piece(Direction::Request, &Bytes::from_static(b"y"));
        drop((one, other));
        let kept = recorder.close();
        drop(take(&recorder));

        assert_eq!(kept, Kept { written: 2, lost: 0, cut: 2 });
        assert_eq!((recorder.kept().lost, recorder.counts.room.held()), (1, 0));
        let bodies: Vec<_> =
            read(&[path], |_| {}).expect("flows").into_iter().map(|flow| (flow.request.body.kept(), flow.request.body.length)).collect();
        assert_eq!(bodies, [(80, 120), (0, 81)]);
    }

    #[tokio::test]
    async fn messages_take_room_were_they_empty_and_none_comes_after_one_that_had_none() {
        const MESSAGE: usize = size_of::<RecordedFrame>();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flows");
        let recorder = Recorder::start(&path, Limits { bytes: 3 * MESSAGE + 9, body: 8, queue: 4 }).expect("started");
        let flow = SharedFlow::new(running().into());
        let mut course = watch(None, recorder.clone());
        let tap = course.begun(&flow).expect("it is watched");
        let messages = course.messages(&flow).expect("they are watched");

        // The second is too long, the fourth finds no room, and nor does what comes after it.
        for content in ["", "123456789", "12345678", "12", ""] {
            let (content, at) = (Bytes::from_static(content.as_bytes()), std::time::Instant::now());
            messages
                .passed(PassedMessage { sent: Direction::Request, kind: MessageKind::Text, at, length: content.len() as u64, content })
                .await;
            assert!(recorder.counts.room.held() <= recorder.limits.bytes);
        }
        drop((course, tap, messages));
        let kept = recorder.close();

        assert_eq!((kept, recorder.counts.room.held()), (Kept { written: 1, lost: 0, cut: 1 }, 0));
        let flows = read(&[path], |_| {}).expect("flows");
        let frames: Vec<_> = flows[0].frames.iter().map(|frame| (frame.length, frame.content.len())).collect();
        assert_eq!(frames, [(0, 0), (9, 0), (8, 8)]);
    }
}
