//! The plugins in service at one moment, in their order; never changed, only replaced.
//!
//! Place: behind one pointer in `platform`. A flow takes the set once and keeps it to its end, so two builds of a plugin never serve one
//! flow.

use std::sync::Arc;

use super::{
    build::{Build, Serving},
    course::{Wanted, Way},
    journal::Journal,
};
use crate::{
    hooks::{Course, Probe},
    tasks::Tasks,
};

/// See the module.
#[derive(Default)]
pub(super) struct Set {
    pub(super) plugins: Vec<Arc<Serving>>,
}

impl Set {
    /// Sorted: lowest order first, names within one order.
    pub(super) fn new(mut plugins: Vec<Arc<Serving>>) -> Self {
        plugins.sort_by(|one, other| {
            let key = |serving: &Serving| (serving.build.order, serving.build.info.name.clone());
            key(one).cmp(&key(other))
        });
        Self { plugins }
    }

    /// Whether any rule may match flows to that host.
    pub(super) fn wants_host(&self, host: &str) -> bool {
        self.plugins.iter().any(|serving| serving.build.is_called() && serving.build.rules.want_host(host))
    }

    /// Those who have a say about tunnels to that host, in order. Allocates nothing.
    pub(super) fn connecting(&self, host: &str) -> impl Iterator<Item = &Build> {
        let builds = self.plugins.iter().map(|serving| &*serving.build);
        builds.filter(move |build| build.filters_connects && build.rules.want_host(host))
    }

    /// Those who want the flow; allocates only if there are any.
    pub(super) fn wanting(&self, request: &Probe<'_>) -> Vec<Wanted> {
        let mut wanting = Vec::new();
        for (at, serving) in self.plugins.iter().enumerate() {
            let matched = serving.build.rules.matching(request);
            if serving.build.is_called() && !matched.is_none() {
                let observers = serving.observers.as_ref().filter(|_| serving.build.observes);
                wanting.push(Wanted::new(at, matched, observers));
            }
        }
        wanting
    }

    /// Pins this set for one flow.
    pub(super) fn open(self: Arc<Self>, journal: Arc<Journal>, wanting: Vec<Wanted>, tasks: Tasks) -> Box<dyn Course> {
        Box::new(Way::new(self, journal, wanting, tasks))
    }
}
