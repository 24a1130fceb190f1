//! The latest flows, shown to whoever watches, as long as somebody does.
//!
//! Place: on the port `hooks`, around whatever decides about flows; `admin` shows what is in it. While nobody watches, a flow costs one look at
//! a number, and nothing is kept: what was seen goes with the last one who watched.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Serialize;
use tokio::sync::broadcast;

use super::{Keeper, RecordedFlow, watch};
use crate::{
    flow::{Authority, Outcome, Refusal, Scope},
    hooks::{BoxFuture, Course, Hooks, Passage, Probe},
};

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct GalleryLimits {
    /// Flows that have ended and can be looked at. Full: the oldest goes.
    pub flows: usize,
    /// Octets that contents and messages of all of them occupy, those in progress included. Full: what comes is not kept.
    pub bytes: usize,
    /// Octets of one content or message; the rest of it is not kept.
    pub body: usize,
    /// News that somebody who watches may be behind by. Full: the oldest are missed, which is told.
    pub news: usize,
}

/// See the module.
pub struct Gallery {
    limits: GalleryLimits,
    watchers: AtomicUsize,
    held: AtomicUsize,
    ended: Mutex<VecDeque<Arc<RecordedFlow>>>,
    news: broadcast::Sender<Arc<Glance>>,
}

/// What there is to see of a flow at a glance: no fields, no content, no query.
#[derive(Clone, Debug, Serialize)]
pub struct Glance {
    /// Names it.
    pub flow: u64,
    /// When its request's head had been read, in microseconds since the Unix epoch.
    pub began: u64,
    /// Who was admitted.
    pub user: Option<String>,
    /// The client's address.
    pub client: String,
    /// As sent.
    pub method: String,
    /// Scheme, host and port of the origin.
    pub origin: String,
    /// Without the query.
    pub path: String,
    /// Of the response; `None`: there is none (yet).
    pub status: Option<u16>,
    /// How it ended; `None`: it has not yet.
    pub outcome: Option<String>,
    /// Octets of the request's content.
    pub sent: u64,
    /// Octets of the response's content.
    pub received: u64,
    /// WebSocket messages.
    pub messages: usize,
    /// From the request's head to the last that was seen, in microseconds.
    pub micros: u64,
}

impl Glance {
    /// At a flow.
    pub fn at(flow: &RecordedFlow) -> Self {
        let response = flow.response.as_ref();
        let last = |body: &super::RecordedBody| body.ended.or(body.pieces.last().map(|piece| piece.at)).unwrap_or(0);
        let moments = [
            last(&flow.request.body),
            response.map_or(0, |response| response.at.max(last(&response.body))),
            flow.frames.last().map_or(0, |frame| frame.at),
        ];
        let path = flow.request.head.path.split(|octet| *octet == b'?').next().unwrap_or_default();
        Self {
            flow: flow.id,
            began: flow.began,
            user: flow.user.clone(),
            client: flow.client.ip().to_canonical().to_string(),
            method: flow.request.head.method.to_string(),
            origin: flow.origin.to_string(),
            path: String::from_utf8_lossy(path).into_owned(),
            status: response.map(|response| response.head.status.as_u16()),
            outcome: (flow.outcome != Outcome::InProgress).then(|| flow.outcome.to_string()),
            sent: flow.request.body.length,
            received: response.map_or(0, |response| response.body.length),
            messages: flow.frames.len(),
            micros: moments.into_iter().max().unwrap_or(0),
        }
    }
}

impl Gallery {
    /// An empty one.
    pub fn new(limits: GalleryLimits) -> Arc<Self> {
        let (news, _) = broadcast::channel(limits.news.max(1));
        Arc::new(Self { limits, watchers: AtomicUsize::new(0), held: AtomicUsize::new(0), ended: Mutex::default(), news })
    }

    /// Begins to watch; ends when what is returned is dropped.
    pub fn watch(self: &Arc<Self>) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher { news: self.news.subscribe(), gallery: self.clone() }
    }

    /// Whether anybody does.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Those that have ended, the last one first.
    pub fn latest(&self) -> Vec<Glance> {
        let flows: Vec<_> = self.guard().iter().rev().cloned().collect();
        flows.iter().map(|flow| Glance::at(flow)).collect()
    }

    /// One that has ended; `None`: it has not, or is not kept any more.
    pub fn flow(&self, id: u64) -> Option<Arc<RecordedFlow>> {
        self.guard().iter().rev().find(|flow| flow.id == id).cloned()
    }

    fn guard(&self) -> MutexGuard<'_, VecDeque<Arc<RecordedFlow>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        let all = std::mem::take(&mut *self.guard());
        self.release(all.iter().map(|flow| flow.occupied()).sum());
    }
}

impl Keeper for Gallery {
    fn body(&self) -> usize {
        self.limits.body
    }

    fn hold(&self, octets: usize) -> bool {
        let mut held = self.held.fetch_add(octets, Ordering::Relaxed) + octets;
        while held > self.limits.bytes {
            // What was seen last is worth more than what was seen first.
            let oldest = self.guard().pop_front();
            let Some(oldest) = oldest else {
                self.release(octets);
                return false;
            };
            let freed = oldest.occupied();
            held = self.held.fetch_sub(freed, Ordering::Relaxed) - freed;
        }
        true
    }

    fn release(&self, octets: usize) {
        self.held.fetch_sub(octets, Ordering::Relaxed);
    }

    fn begun(&self, flow: &RecordedFlow) {
        // Nobody hears it who is not there.
        let _ = self.news.send(Arc::new(Glance::at(flow)));
    }

    fn keep(&self, flow: RecordedFlow, _: bool) {
        let flow = Arc::new(flow);
        let oldest = {
            let mut ended = self.guard();
            ended.push_back(flow.clone());
            if ended.len() > self.limits.flows { ended.pop_front() } else { None }
        };
        if let Some(oldest) = oldest {
            self.release(oldest.occupied());
        }
        let _ = self.news.send(Arc::new(Glance::at(&flow)));
        if !self.is_watched() {
            self.forget();
        }
    }
}

/// Somebody who watches.
pub struct Watcher {
    news: broadcast::Receiver<Arc<Glance>>,
    gallery: Arc<Gallery>,
}

/// What has happened since the last time.
#[derive(Debug, Default)]
pub struct News {
    /// Flows that have begun or ended, in that order; one that has done both is there once.
    pub flows: Vec<Arc<Glance>>,
    /// News that were missed.
    pub missed: u64,
}

impl Watcher {
    /// Waits for something to happen, and takes what has happened by then.
    pub async fn wait(&mut self, news: &mut News) {
        match self.news.recv().await {
            Ok(glance) => news.flows.push(glance),
            Err(broadcast::error::RecvError::Lagged(missed)) => news.missed += missed,
            // The gallery is held by this one, so there is always a sender.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// What has happened meanwhile; of each flow the latest, and of all the last `most`.
    pub fn take(&mut self, news: &mut News, most: usize) {
        loop {
            match self.news.try_recv() {
                Ok(glance) => {
                    if let Some(before) = news.flows.iter().rposition(|before| before.flow == glance.flow) {
                        news.flows.remove(before);
                    }
                    news.flows.push(glance);
                }
                Err(broadcast::error::TryRecvError::Lagged(missed)) => news.missed += missed,
                Err(_) => break,
            }
        }
        let much = news.flows.len().saturating_sub(most);
        news.missed += much as u64;
        news.flows.drain(..much);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.gallery.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.gallery.forget();
        }
    }
}

/// Whatever decides about flows, watched by whoever wants to.
pub struct Shown {
    hooks: Arc<dyn Hooks>,
    gallery: Arc<Gallery>,
}

impl Shown {
    /// Shows what passes `hooks`.
    pub fn new(hooks: Arc<dyn Hooks>, gallery: Arc<Gallery>) -> Self {
        Self { hooks, gallery }
    }
}

impl Hooks for Shown {
    /// Watching changes nothing about what is looked into.
    fn wants_host(&self, host: &str) -> bool {
        self.hooks.wants_host(host)
    }

    fn connect<'a>(&'a self, scope: &'a Scope, authority: &'a Authority) -> Option<BoxFuture<'a, Result<Passage, Refusal>>> {
        self.hooks.connect(scope, authority)
    }

    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>> {
        let course = self.hooks.open(request);
        if self.gallery.is_watched() { Some(watch(course, self.gallery.clone())) } else { course }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::testing::flow;

    const LIMITS: GalleryLimits = GalleryLimits { flows: 2, bytes: 1000, body: 100, news: 4 };

    #[test]
    fn the_oldest_goes_and_all_goes_with_the_last_one_who_watches() {
        let gallery = Gallery::new(LIMITS);
        let (one, other) = (gallery.watch(), gallery.watch());
        for id in 1..=3 {
            let flow = flow(id);
            assert!(gallery.hold(flow.occupied()));
            gallery.keep(flow, false);
        }

        let kept: Vec<u64> = gallery.latest().iter().map(|glance| glance.flow).collect();
        assert_eq!((kept, gallery.flow(1).is_none(), gallery.flow(3).is_some()), (vec![3, 2], true, true));
        drop(one);
        assert_eq!(gallery.latest().len(), 2);
        drop(other);
        assert_eq!((gallery.latest().len(), gallery.held.load(Ordering::Relaxed), gallery.is_watched()), (0, 0, false));
        // What was still on its way.
        let late = flow(4);
        assert!(gallery.hold(late.occupied()));
        gallery.keep(late, false);
        assert!(gallery.latest().is_empty());
    }

    #[tokio::test]
    async fn who_is_slow_misses_news_and_is_told_how_many() {
        let gallery = Gallery::new(LIMITS);
        let mut watcher = gallery.watch();
        for id in 1..=10 {
            gallery.begun(&flow(id));
        }

        let mut news = News::default();
        watcher.wait(&mut news).await;
        watcher.take(&mut news, 3);

        let flows: Vec<u64> = news.flows.iter().map(|glance| glance.flow).collect();
        assert_eq!((flows, news.missed), (vec![8, 9, 10], 7));
    }

    #[test]
    fn more_than_may_be_held_is_not() {
        let gallery = Gallery::new(LIMITS);

        assert!(gallery.hold(900) && !gallery.hold(101) && gallery.hold(100));
    }
}
