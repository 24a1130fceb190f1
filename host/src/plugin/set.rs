//! The plugins in service at one moment, in their order; never changed, only replaced.
//!
//! Place: behind one pointer in `platform`. A flow takes the set once and keeps it to its end, so two builds of a plugin never serve one
//! flow.

use std::sync::Arc;

use super::{
    build::{Build, Serving},
    course::{Wanted, Way},
    journal::Journal,
    matcher::Matcher,
    rules::Rules,
};
use crate::{
    hooks::{Course, Probe},
    tasks::Tasks,
};

/// See the module.
#[derive(Default)]
pub(super) struct Set {
    pub(super) plugins: Vec<Arc<Serving>>,
    /// Who is called about flows.
    flows: Matcher,
    /// Who is called about tunnels.
    tunnels: Matcher,
}

impl Set {
    /// Sorted: lowest order first, names within one order.
    pub(super) fn new(mut plugins: Vec<Arc<Serving>>) -> Self {
        plugins.sort_by(|one, other| {
            let key = |serving: &Serving| (serving.build.order, serving.build.info.name.clone());
            key(one).cmp(&key(other))
        });
        let of = |is_one: fn(&Build) -> bool| {
            let ones = plugins.iter().enumerate().filter(|(_, serving)| is_one(&serving.build));
            Matcher::new(ones.map(|(at, serving)| (at, &serving.build.rules)))
        };
        let (flows, tunnels) = (of(Build::is_called), of(|build| build.filters_connects));
        Self { plugins, flows, tunnels }
    }

    fn rules(&self, at: usize) -> &Rules {
        &self.plugins[at].build.rules
    }

    /// Whether any rule may match flows to that host.
    pub(super) fn wants_host(&self, host: &str) -> bool {
        self.flows.want_host(host, |at| self.rules(at))
    }

    /// Whether anybody has a say about tunnels to that host. Allocates nothing.
    pub(super) fn wants_tunnel(&self, host: &str) -> bool {
        self.tunnels.want_host(host, |at| self.rules(at))
    }

    /// Those who have, in order.
    pub(super) fn connecting(&self, host: &str) -> impl Iterator<Item = &Build> {
        let builds = self.plugins.iter().map(|serving| &*serving.build);
        builds.filter(move |build| build.filters_connects && build.rules.want_host(host))
    }

    /// Those who want the flow; allocates only if there are any.
    pub(super) fn wanting(&self, request: &Probe<'_>) -> Vec<Wanted> {
        let matching = self.flows.matching(request, |at| self.rules(at)).into_iter();
        let wanting = matching.map(|(at, matched)| {
            let serving = &self.plugins[at];
            let observers = serving.observers.as_ref().filter(|_| serving.build.observes);
            Wanted::new(at, matched, observers)
        });
        wanting.collect()
    }

    /// Pins this set for one flow.
    pub(super) fn open(self: Arc<Self>, journal: Arc<Journal>, wanting: Vec<Wanted>, tasks: Tasks) -> Box<dyn Course> {
        Box::new(Way::new(self, journal, wanting, tasks))
    }
}
