//! One build of a plugin in service: a component that was checked, configured and is ready for calls.
//!
//! Place: made by `load`, put into a `set` by `swap`; freed when the last flow that began with it has ended.

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    answer::Answer,
    bindings::{exports::flowgate::plugin::connect_filter::ConnectAction, flowgate::plugin::types::ClientInfo},
    capability::context::{Effect, Shown},
    held::Held,
    hook::Hook,
    instance::{Failure, Instance},
    journal::{Label, Page},
    observe::Observers,
    pool::{Lease, Pool},
    rules::Rules,
    settings::OnFailure,
    tally::{LastFailure, PluginCounts, Tally, Turn},
};
use crate::{
    flow::{Authority, Direction, Refusal, SharedFlow, lock},
    meters,
};

/// What is to be told of a plugin in service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginInfo {
    /// Its own and its file's.
    pub name: String,
    /// As it says.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// SHA-256 of the component, hexadecimal.
    pub hash: String,
    /// Hooks that it exports and that are called.
    pub hooks: Vec<&'static str>,
    /// Capabilities of the contract that it imports.
    pub capabilities: Vec<String>,
    /// Where it was loaded from; `None`: it is built in.
    pub file: Option<PathBuf>,
}

/// See the module.
pub(super) struct Build {
    pub(super) info: PluginInfo,
    pub(super) label: Arc<Label>,
    pub(super) order: i32,
    pub(super) on_failure: OnFailure,
    pub(super) filters_connects: bool,
    pub(super) filters_requests: bool,
    pub(super) filters_responses: bool,
    pub(super) filters_messages: bool,
    pub(super) observes_messages: bool,
    /// It asks for messages that passed earlier.
    pub(super) keeps_messages: bool,
    pub(super) filters_streams: bool,
    pub(super) observes: bool,
    /// It is a singleton that hands its state over.
    pub(super) hands_over: bool,
    /// Octets of an event that are held until it is whole.
    pub(super) event_bytes: usize,
    /// Bodies so far.
    pub(super) bodies: AtomicU32,
    pub(super) rules: Rules,
    pub(super) pool: Pool,
    pub(super) tally: Tally,
}

/// A build and the queue of flows it observes. The queue ends when this is dropped, and the build when the queue is empty.
pub(super) struct Serving {
    pub(super) build: Arc<Build>,
    /// `None` if it does not observe.
    pub(super) observers: Option<Observers>,
}

impl Build {
    /// What happened to it so far.
    pub(super) fn counts(&self) -> PluginCounts {
        self.tally.counts(self.pool.memory())
    }

    /// The latest of its calls that failed.
    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.tally.last_failure()
    }

    /// The same as metrics.
    pub(super) fn write(&self, page: &mut meters::Page) {
        let PluginInfo { name, version, hash, .. } = &self.info;
        let labels = [("plugin", name.as_str()), ("version", version), ("hash", short(hash))];
        page.gauge("flowgate_plugin_info", "Builds in service", &labels, 1.0);
        self.counts().write(name, page);
        let help = "How long calls of hooks take";
        page.histogram("flowgate_plugin_call_seconds", help, &[("plugin", name)], self.tally.seconds());
    }

    /// Whether any of its hooks is ever called about flows. One about tunnels is none: it does not want to see what is inside.
    pub(super) fn is_called(&self) -> bool {
        let filters = self.filters_requests || self.filters_responses || self.filters_streams || self.filters_messages;
        filters || self.observes || self.observes_messages
    }

    /// What the next body is called in its instance.
    pub(super) fn next_body(&self) -> u32 {
        self.bodies.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks about a tunnel, and what that means; proceeds where the component has no such hook.
    pub(super) async fn ask_connect<T>(
        &self,
        client: &ClientInfo,
        authority: &Authority,
        meant: impl FnOnce(ConnectAction) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let call = self.in_instance(async |instance| meant(instance.on_connect(client, authority.host(), authority.port()).await?));
        self.timed(Hook::Connect, call).await.0.map(|(action, _)| action)
    }

    /// Asks the filter of that message; proceeds where the component has none.
    pub(super) async fn ask(
        &self,
        of: Direction,
        flow: &SharedFlow,
        body_held: bool,
        shown: Shown,
        page: &Page,
    ) -> Result<Answer, Failure> {
        let call = self.in_instance(async |instance| match of {
            Direction::Request => instance.on_request(flow, body_held, shown).await,
            Direction::Response => instance.on_response(flow, body_held, shown).await,
        });
        self.asked(Hook::about(of), page, call, Answer::said).await
    }

    /// Tells the observer; once more in a fresh instance if that fails before it has done anything.
    pub(super) async fn tell_end(&self, flow: &SharedFlow, shown: Shown, held: Option<&Arc<Held>>, page: &Page) {
        for fresh in [false, true] {
            let mut done = Effect::None;
            let call = async {
                let leased = if fresh { self.pool.fresh_for_observer().await } else { self.pool.for_observer().await };
                let mut instance = leased?;
                let told = instance.on_flow_end(flow, shown, held).await;
                told.map_err(|(failure, effect)| {
                    done = effect;
                    failure
                })?;
                instance.give_back();
                Ok(((), Vec::new()))
            };
            let Err(failure) = self.asked(Hook::FlowEnd, page, call, |()| "observed".into()).await else { return };
            self.report(Hook::FlowEnd, flow, &failure);
            match done {
                Effect::Kept => return,
                Effect::None if matches!(failure, Failure::Suspended(_)) => {
                    // That was said once, when it began.
                    self.tally.lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Effect::None => {}
                Effect::Acted => break,
            }
        }
        self.tally.lost.fetch_add(1, Ordering::Relaxed);
        let Some(suppressed) = self.tally.reports.admit(Instant::now()) else { return };
        tracing::error!(plugin = self.info.name, flow = lock(flow).id.0, suppressed, "the flow is not observed: the plugin failed");
    }

    /// Telling it of a flow broke off where no failure of its own does.
    pub(super) fn lose_flow(&self) {
        self.tally.lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(plugin = self.info.name, "a flow is not observed: the proxy failed in telling of it");
    }

    /// One call of a hook: counted, timed and noted on the flow's page; not made while the plugin is suspended. Dropping it ends the call.
    pub(super) async fn asked<T>(
        &self,
        hook: Hook,
        page: &Page,
        call: impl Future<Output = Result<(T, Vec<String>), Failure>>,
        said: impl FnOnce(&T) -> Cow<'static, str>,
    ) -> Result<T, Failure> {
        let (outcome, took) = self.timed(hook, call).await;
        page.trace(&self.label, hook, took, outcome.is_err());
        match outcome {
            Ok((answer, changes)) => {
                page.note(&self.label, hook, &said(&answer), took, changes);
                Ok(answer)
            }
            Err(failure) => {
                page.note(&self.label, hook, &format!("failed: {failure}"), took, Vec::new());
                Err(failure)
            }
        }
    }

    /// The same where there is no page; also says how long it took.
    async fn timed<T>(&self, hook: Hook, call: impl Future<Output = Result<T, Failure>>) -> (Result<T, Failure>, Duration) {
        let began = Instant::now();
        let outcome = match self.tally.admit(hook, began) {
            Ok(()) => {
                let outcome = call.await;
                self.turn(self.tally.done(hook, began, outcome.is_err()));
                outcome
            }
            Err(suspended) => Err(suspended),
        };
        (outcome, began.elapsed())
    }

    /// A call in an instance that is given back if it goes well.
    pub(super) async fn in_instance<T>(
        &self,
        call: impl AsyncFnOnce(&mut Instance) -> Result<T, Failure>,
    ) -> Result<(T, Vec<String>), Failure> {
        let mut instance: Lease<'_> = self.pool.for_filter().await?;
        let answer = call(&mut instance).await?;
        let changes = instance.take_changes();
        instance.give_back();
        Ok((answer, changes))
    }

    fn turn(&self, turn: Option<Turn>) {
        let (plugin, hash) = (&self.info.name, &self.label.hash);
        match turn {
            Some(Turn::Suspended(pause)) => {
                tracing::error!(plugin, hash, ?pause, "the plugin fails again and again: it is suspended, then tried again");
            }
            Some(Turn::Recovered) => tracing::info!(plugin, hash, "the plugin works again"),
            None => {}
        }
    }

    /// Says that a call failed, within bounds.
    pub(super) fn report(&self, hook: Hook, flow: &SharedFlow, failure: &Failure) {
        self.report_for(hook, lock(flow).id.0, failure);
    }

    /// `flow` 0: there is none (yet).
    fn report_for(&self, hook: Hook, flow: u64, failure: &Failure) {
        if matches!(failure, Failure::Suspended(_)) {
            // That was said once, when it began.
            return;
        }
        let flow = (flow != 0).then_some(flow);
        self.tally.failed(hook, flow, failure);
        if let Some(scene) = self.pool.scene() {
            // There is no page for them.
            if hook == Hook::Connect || matches!(failure, Failure::Unfit(_)) {
                scene.line(format!("{} failed: {failure}", hook.name()));
            }
            if scene.fails(hook, &failure.to_string()) {
                return;
            }
        }
        let Some(suppressed) = self.tally.reports.admit(Instant::now()) else { return };
        let Label { plugin, version, hash } = &*self.label;
        tracing::warn!(plugin, version, hash, hook = hook.name(), flow, error = %failure, suppressed, "plugin failed");
    }

    /// What its failure means for the flow.
    ///
    /// # Errors
    /// The flow is refused.
    pub(super) fn failed(&self, hook: Hook, flow: &SharedFlow, failure: Failure) -> Result<(), Refusal> {
        self.failed_for(hook, lock(flow).id.0, failure)
    }

    /// The same for a flow of that id.
    ///
    /// # Errors
    /// The flow is refused.
    pub(super) fn failed_for(&self, hook: Hook, flow: u64, failure: Failure) -> Result<(), Refusal> {
        self.report_for(hook, flow, &failure);
        match self.on_failure {
            OnFailure::Pass => Ok(()),
            OnFailure::Refuse => Err(Refusal::PluginFailed { plugin: self.info.name.clone(), hook: hook.name(), source: failure.into() }),
        }
    }
}

/// Enough of a hash to tell builds apart.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
