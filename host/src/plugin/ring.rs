//! Flows that have ended, kept for each plugin that met them: what its next build is tried on.
//!
//! Place: `platform` has flows watched that some plugin wants, as long as any are to be kept; `replay` plays them. Bounded in flows per plugin and
//! in octets altogether; the oldest go first. A flow that is larger than one may be, or that nothing was left for, is not kept.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{journal::Label, settings::ReplayLimits};
use crate::{
    hooks::Course,
    recording::{self, Keeper, RecordedFlow, Room},
};

/// What a flow occupies besides its octets, about.
const FLOW: usize = 1024;

/// See the module.
pub(super) struct Ring {
    /// Flows per plugin; 0: none are watched.
    most: AtomicUsize,
    limits: ReplayLimits,
    /// Octets of flows that have not ended.
    under_way: Room,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The oldest first.
    flows: VecDeque<Entry>,
    octets: usize,
    /// By plugin.
    counts: HashMap<String, usize>,
}

struct Entry {
    flow: Arc<RecordedFlow>,
    octets: usize,
    /// Who met it.
    of: Vec<Arc<Label>>,
}

/// One flow on its way into the ring.
struct Coming {
    ring: Arc<Ring>,
    of: Vec<Arc<Label>>,
}

impl Ring {
    /// So many flows per plugin.
    pub(super) fn new(most: usize, limits: ReplayLimits) -> Self {
        Self { most: AtomicUsize::new(most), limits, under_way: Room::new(limits.bytes), kept: Mutex::default() }
    }

    /// Whether any are kept.
    pub(super) fn is_on(&self) -> bool {
        self.most.load(Ordering::Relaxed) > 0
    }

    /// So many from now on.
    pub(super) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
        let mut kept = self.kept();
        let names: Vec<String> = kept.counts.keys().cloned().collect();
        let gone: Vec<Entry> = names.iter().flat_map(|name| kept.bound(name, most)).collect();
        drop(kept);
        drop(gone);
    }

    /// Keeps the flow when it has ended.
    pub(super) fn watch(self: &Arc<Self>, course: Box<dyn Course>, of: Vec<Arc<Label>>) -> Box<dyn Course> {
        recording::watch(Some(course), Arc::new(Coming { ring: self.clone(), of }))
    }

    /// What is kept for that plugin, the oldest first.
    pub(super) fn of(&self, plugin: &str) -> Vec<Arc<RecordedFlow>> {
        self.kept().flows.iter().filter(|entry| entry.is_of(plugin)).map(|entry| entry.flow.clone()).collect()
    }

    /// Lets go of what is kept for that plugin.
    pub(super) fn forget(&self, plugin: &str) {
        let gone = self.kept().bound(plugin, 0);
        drop(gone);
    }

    fn add(&self, flow: RecordedFlow, of: Vec<Arc<Label>>) {
        let flow = flow.detached();
        let entry = Entry { octets: flow.occupied() + head(&flow) + FLOW, flow: Arc::new(flow), of };
        let most = self.most.load(Ordering::Relaxed);
        let mut kept = self.kept();
        let names: Vec<Arc<Label>> = entry.of.clone();
        kept.push(entry);
        let mut gone: Vec<Entry> = names.iter().flat_map(|label| kept.bound(&label.plugin, most)).collect();
        while kept.octets > self.limits.bytes {
            gone.extend(kept.pop());
        }
        // What they occupy is given back by nobody who holds the lock.
        drop(kept);
        drop(gone);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, entry: Entry) {
        for label in &entry.of {
            *self.counts.entry(label.plugin.clone()).or_default() += 1;
        }
        self.octets += entry.octets;
        self.flows.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.flows.pop_front()?;
        self.octets -= entry.octets;
        for label in &entry.of {
            self.uncount(&label.plugin);
        }
        Some(entry)
    }

    /// Lets that plugin's oldest go until there are no more than so many, and returns those that were kept for nobody else.
    fn bound(&mut self, plugin: &str, most: usize) -> Vec<Entry> {
        let mut gone = Vec::new();
        while self.counts.get(plugin).is_some_and(|count| *count > most) {
            let Some(at) = self.flows.iter().position(|entry| entry.is_of(plugin)) else { break };
            self.uncount(plugin);
            self.flows[at].of.retain(|label| label.plugin != plugin);
            if self.flows[at].of.is_empty()
                && let Some(entry) = self.flows.remove(at)
            {
                self.octets -= entry.octets;
                gone.push(entry);
            }
        }
        gone
    }

    fn uncount(&mut self, plugin: &str) {
        if let Some(count) = self.counts.get_mut(plugin) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(plugin);
            }
        }
    }
}

impl Entry {
    fn is_of(&self, plugin: &str) -> bool {
        self.of.iter().any(|label| label.plugin == plugin)
    }
}

impl Keeper for Coming {
    fn body(&self) -> usize {
        self.ring.limits.content_bytes
    }

    fn hold(&self, octets: usize) -> bool {
        self.ring.under_way.hold(octets)
    }

    fn release(&self, octets: usize) {
        self.ring.under_way.release(octets);
    }

    fn keep(&self, flow: RecordedFlow, is_cut: bool) {
        self.release(flow.occupied());
        if !is_cut {
            self.ring.add(flow, self.of.clone());
        }
    }

    /// A plugin may fail of half a content that it would never have met.
    fn is_choosy(&self) -> bool {
        true
    }
}

/// Octets of its heads.
fn head(flow: &RecordedFlow) -> usize {
    let response = flow.response.as_ref().map(|response| &response.head.fields);
    let fields = flow.request.head.fields.iter().chain(response.into_iter().flatten());
    flow.request.head.path.len() + fields.map(|field| field.line().len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{flow::Direction, flow::SharedFlow, hooks::Hooks, recording::testing};

    const LIMITS: ReplayLimits = ReplayLimits { bytes: 10_000, content_bytes: 1000, time: std::time::Duration::MAX };

    fn label(plugin: &str) -> Arc<Label> {
        Arc::new(Label { plugin: plugin.into(), version: "1".into(), hash: String::new() })
    }

    fn ids(ring: &Ring, plugin: &str) -> Vec<u64> {
        ring.of(plugin).iter().map(|flow| flow.id).collect()
    }

    /// A course that does nothing.
    struct Idle;

    impl Course for Idle {
        fn request_needs(&self) -> crate::hooks::Needs {
            crate::hooks::Needs::default()
        }

        fn request<'a>(
            &'a mut self,
            _: &'a SharedFlow,
            _: bool,
        ) -> crate::hooks::BoxFuture<'a, Result<crate::hooks::Verdict, crate::flow::Refusal>> {
            Box::pin(async { Ok(crate::hooks::Verdict::Proceed) })
        }

        fn response_needs(&mut self, _: &crate::flow::ResponseHead) -> crate::hooks::Needs {
            crate::hooks::Needs::default()
        }

        fn response<'a>(
            &'a mut self,
            _: &'a SharedFlow,
            _: bool,
        ) -> crate::hooks::BoxFuture<'a, Result<crate::hooks::Verdict, crate::flow::Refusal>> {
            Box::pin(async { Ok(crate::hooks::Verdict::Proceed) })
        }

        fn reserve(&mut self) -> Option<crate::hooks::BoxFuture<'_, ()>> {
            None
        }

        fn end(self: Box<Self>, _: SharedFlow) {}
    }

    #[test]
    fn each_plugin_has_its_latest() {
        let ring = Ring::new(2, LIMITS);
        for (id, of) in [(1, vec!["a", "b"]), (2, vec!["a"]), (3, vec!["a"]), (4, vec!["b"])] {
            ring.add(testing::flow(id), of.into_iter().map(label).collect());
        }
        assert_eq!((ids(&ring, "a"), ids(&ring, "b")), (vec![2, 3], vec![1, 4]));

        ring.forget("b");
        ring.resize(1);

        assert_eq!((ids(&ring, "a"), ids(&ring, "b")), (vec![3], vec![]));
        assert_eq!(ring.kept().flows.len(), 1);
        ring.resize(0);
        let kept = ring.kept();
        assert_eq!((kept.octets, kept.counts.len()), (0, 0));
    }

    #[test]
    fn octets_bound_it_whatever_the_number() {
        let ring = Ring::new(1000, LIMITS);

        (0..100).for_each(|id| ring.add(testing::flow(id), vec![label("a")]));

        let kept = ring.kept();
        assert!(kept.octets <= LIMITS.bytes && kept.octets + kept.flows[0].octets > LIMITS.bytes);
        assert_eq!(kept.flows.back().map(|entry| entry.flow.id), Some(99));
    }

    #[test]
    fn a_flow_that_is_too_large_is_given_up() {
        let ring = Arc::new(Ring::new(10, LIMITS));
        let flow = SharedFlow::new(testing::running().into());
        let pass = |octets: &[usize]| {
            let mut course = ring.watch(Box::new(Idle), vec![label("a")]);
            let tap = course.begun(&flow).expect("it is watched");
            for octets in octets {
                tap.piece(Direction::Request, &Bytes::from(vec![0; *octets]));
            }
            let held = ring.under_way.held();
            course.end(flow.clone());
            held
        };

        assert_eq!((pass(&[600, 400]), ring.of("a").len()), (1000 + 2 * size_of::<recording::RecordedPiece>(), 1));
        assert_eq!((pass(&[600, 401]), ring.of("a").len()), (0, 1));
        assert_eq!(ring.under_way.held(), 0);
        assert!(().open(&crate::hooks::Probe { host: "", method: &http::Method::GET, path: b"" }).is_none());
    }
}
