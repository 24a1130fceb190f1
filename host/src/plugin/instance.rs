//! One instance of a component, and the calls into it.
//!
//! Place: made by `pool`, used by `course` and `observe`. Every call is bounded in computing time, in time by the clock and in memory; after
//! one that failed the instance is dead and must not be used again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::timeout;
use wasmtime::{
    Store, WasmBacktrace,
    component::{Instance as Linked, InstancePre},
};
use wasmtime_wasi::I32Exit;

use super::{
    answer::Answer,
    bindings::{
        exports::flowgate::plugin::{
            connect_filter::{self, ConnectAction},
            lifecycle::{self, Registration},
            message_filter::{self, Message, MessageAction},
            message_observer, observer, request_filter, response_filter, state_handoff,
            stream_filter::{self, ChunkAction},
        },
        flowgate::plugin::types::ClientInfo,
    },
    budget::{OverBudget, TooManyCalls, TooMuchOutput},
    capability::{
        context::{Call, Effect, Phase, Shown},
        log::sanitised,
    },
    convert,
    cost::{Answered, Cost},
    engine::Engine,
    frames::frames,
    guest::{About, Guest},
    held::{Held, Told},
    hook::Hook,
    settings::Instructions,
};
use crate::flow::{Direction, SharedFlow};

/// Calls after which an instance makes room for a fresh one: handles it has not given back pile up, and some toolchains leak.
const MAX_CALLS: u32 = 100_000;

/// What all instances of one build are made of.
pub(super) struct Kit {
    pub(super) engine: Arc<Engine>,
    pub(super) component: InstancePre<Guest>,
    pub(super) exports: Exports,
    pub(super) about: Arc<About>,
    pub(super) config: String,
    pub(super) budgets: Budgets,
}

/// Where in the component the interfaces are that it exports and this build calls.
pub(super) struct Exports {
    pub(super) lifecycle: lifecycle::GuestIndices,
    pub(super) connect: Option<connect_filter::GuestIndices>,
    pub(super) request: Option<request_filter::GuestIndices>,
    pub(super) response: Option<response_filter::GuestIndices>,
    pub(super) message: Option<message_filter::GuestIndices>,
    pub(super) stream: Option<stream_filter::GuestIndices>,
    pub(super) observer: Option<observer::GuestIndices>,
    pub(super) message_observer: Option<message_observer::GuestIndices>,
    pub(super) handoff: Option<state_handoff::GuestIndices>,
}

/// Bounds of one build's calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    /// Octets per instance.
    pub(super) memory: usize,
    /// Calls into the host per call.
    pub(super) host_calls: u64,
    /// Octets that a call may hand over, and that it may answer.
    pub(super) output: usize,
    pub(super) filter: Span,
    pub(super) observer: Span,
    pub(super) configure: Span,
    /// Saving a state, and restoring it.
    pub(super) handoff: Span,
    /// Octets of a state.
    pub(super) state: usize,
}

impl Budgets {
    fn span(&self, hook: Hook) -> Span {
        match hook {
            Hook::Configure => self.configure,
            Hook::Save | Hook::Restore => self.handoff,
            Hook::FlowEnd | Hook::MessagePassed => self.observer,
            Hook::Connect | Hook::Request | Hook::Response | Hook::BodyStart | Hook::Chunk | Hook::BodyEnd | Hook::Message => self.filter,
        }
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) computing: Duration,
    pub(super) wall: Duration,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Trap(String),
    #[error("it computed for more than {0:?}: `call` in flowgate.toml gives it more")]
    Computing(Duration),
    #[error("it did not return within {0:?}: `wall` in flowgate.toml gives it more")]
    Wall(Duration),
    #[error("it needs more than {0} octets of memory: `memory` in flowgate.toml gives it more")]
    Memory(usize),
    #[error("it called the host more than {0} times: `host-calls` in flowgate.toml gives it more")]
    HostCalls(u64),
    #[error("it handed over more than {0} octets: `output` in flowgate.toml gives it more")]
    Output(usize),
    #[error("it refuses its configuration: {0}")]
    Refused(String),
    #[error("its state has more than {0} octets")]
    State(usize),
    #[error("it did not take the state: {0}")]
    NotRestored(String),
    #[error("what it answered cannot be used: {0}")]
    Answer(String),
    #[error("all its instances were busy for {0:?}")]
    Busy(Duration),
    #[error("it filters {0} bodies already: `streams` in flowgate.toml allows more")]
    Streams(usize),
    #[error("the instance that knew the body is gone")]
    Lost,
    #[error("the content cannot be filtered: {0}")]
    Unfit(String),
    #[error("it has failed again and again and is suspended for another {0:?}")]
    Suspended(Duration),
}

impl Failure {
    /// The same of an instance that did not start.
    pub(super) fn starting(self) -> anyhow::Error {
        match self {
            // Says enough.
            Self::Refused(_) => self.into(),
            _ => anyhow::anyhow!("configuring it failed: {self}"),
        }
    }
}

/// A live one.
pub(super) struct Instance {
    kit: Arc<Kit>,
    store: Store<Guest>,
    hooks: Hooks,
    serial: u64,
    /// Bodies that it knows.
    pub(super) bodies: usize,
    /// What the last call changed.
    changes: Vec<String>,
}

struct Hooks {
    connect: Option<connect_filter::Guest>,
    request: Option<request_filter::Guest>,
    response: Option<response_filter::Guest>,
    message: Option<message_filter::Guest>,
    stream: Option<stream_filter::Guest>,
    observer: Option<observer::Guest>,
    message_observer: Option<message_observer::Guest>,
    handoff: Option<state_handoff::Guest>,
}

impl Instance {
    /// A fresh one, configured.
    pub(super) async fn start(kit: &Arc<Kit>) -> Result<(Self, Registration), Failure> {
        let mut store = Store::new(kit.engine.wasm(), Guest::new(kit.about.clone(), &kit.budgets));
        // What is copied out of the guest at a time: a list may name the same octets again and again.
        store.set_hostcall_fuel(kit.budgets.output);
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(|store| store.data().meter.tick());
        let started = kit.bounded(Hook::Configure, &mut store, async |store| {
            let linked = kit.component.instantiate_async(&mut *store).await?;
            let lifecycle = kit.exports.lifecycle.load(&mut *store, &linked)?;
            let registration = lifecycle.call_configure(&mut *store, &kit.config).await?;
            Ok((kit.exports.load(store, &linked)?, registration))
        });
        let outcome = started.await;
        store.data_mut().end();
        let (hooks, registration) = outcome?;
        let registration = registration.map_err(|text| Failure::Refused(sanitised(&text)))?;
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Ok((Self { kit: kit.clone(), store, hooks, serial, bodies: 0, changes: Vec::new() }, registration))
    }

    /// Asks about a tunnel; proceeds if the component has no such hook.
    pub(super) async fn on_connect(&mut self, client: &ClientInfo, host: &str, port: u16) -> Result<ConnectAction, Failure> {
        let Some(hook) = &self.hooks.connect else { return Ok(ConnectAction::Proceed) };
        self.store.data_mut().begin_without_flow();
        let outcome =
            self.kit.bounded(Hook::Connect, &mut self.store, async |store| hook.call_on_connect(store, client, host, port).await).await;
        self.store.data_mut().end();
        outcome
    }

    /// Asks about a request; proceeds if the component has no such hook.
    pub(super) async fn on_request(&mut self, flow: &SharedFlow, body_held: bool, shown: Shown) -> Result<Answer, Failure> {
        let Some(hook) = &self.hooks.request else { return Ok(Answer::Proceed) };
        let handle = self.store.data_mut().begin(Call::new(flow.clone(), Phase::Request { body_held }, shown));
        let outcome =
            self.kit.bounded(Hook::Request, &mut self.store, async |store| hook.call_on_request(store, handle, body_held).await).await;
        self.finish(outcome.and_then(|action| Answer::of_request(action, body_held)))
    }

    /// Asks about a response; proceeds if the component has no such hook.
    pub(super) async fn on_response(&mut self, flow: &SharedFlow, body_held: bool, shown: Shown) -> Result<Answer, Failure> {
        let Some(hook) = &self.hooks.response else { return Ok(Answer::Proceed) };
        let handle = self.store.data_mut().begin(Call::new(flow.clone(), Phase::Response { body_held }, shown));
        let outcome =
            self.kit.bounded(Hook::Response, &mut self.store, async |store| hook.call_on_response(store, handle, body_held).await).await;
        self.finish(outcome.and_then(|action| Answer::of_response(action, body_held)))
    }

    /// Asks about a WebSocket message; `None` if the component has no such hook.
    pub(super) async fn on_message(
        &mut self,
        flow: &SharedFlow,
        of: Direction,
        message: Message,
    ) -> Result<Option<MessageAction>, Failure> {
        let Some(hook) = &self.hooks.message else { return Ok(None) };
        let handle = self.store.data_mut().begin(Call::new(flow.clone(), Phase::Message, Shown::default()));
        let call = async |store: &mut Store<Guest>| hook.call_on_message(store, handle, convert::guest_direction(of), &message).await;
        let outcome = self.kit.bounded(Hook::Message, &mut self.store, call).await;
        self.finish(outcome.map(Some))
    }

    /// Tells of a WebSocket message that has passed.
    pub(super) async fn on_message_passed(
        &mut self,
        flow: &SharedFlow,
        told: Told,
        shown: Shown,
        held: Option<&Arc<Held>>,
    ) -> Result<(), Failure> {
        let Some(hook) = &self.hooks.message_observer else { return Ok(()) };
        let message = convert::message(told);
        let handle = self.store.data_mut().begin(Call::new(flow.clone(), Phase::Message, shown).holding(held));
        let call = async |store: &mut Store<Guest>| hook.call_on_message_passed(store, handle, &message).await;
        let outcome = self.kit.bounded(Hook::MessagePassed, &mut self.store, call).await;
        self.finish(outcome)
    }

    /// Tells of a flow that has ended. Where that fails, also says what the guest had done.
    pub(super) async fn on_flow_end(&mut self, flow: &SharedFlow, shown: Shown, held: Option<&Arc<Held>>) -> Result<(), (Failure, Effect)> {
        let Some(hook) = &self.hooks.observer else { return Ok(()) };
        let handle = self.store.data_mut().begin(Call::new(flow.clone(), Phase::End, shown).holding(held));
        let outcome = self.kit.bounded(Hook::FlowEnd, &mut self.store, async |store| hook.call_on_flow_end(store, handle).await).await;
        let effect = self.store.data_mut().end().map_or(Effect::None, |call| call.effect());
        outcome.map_err(|failure| (failure, effect))
    }

    /// Tells that a body begins, and asks whether it is wanted.
    pub(super) async fn on_body_start(&mut self, id: u32, flow: &SharedFlow, of: Direction, shown: Shown) -> Result<bool, Failure> {
        let Some(hook) = &self.hooks.stream else { return Ok(false) };
        let handle = self.store.data_mut().begin(Call::new(flow.clone(), Phase::Body, shown));
        let outcome = self
            .kit
            .bounded(Hook::BodyStart, &mut self.store, async |store| {
                hook.call_on_body_start(store, id, handle, convert::guest_direction(of)).await
            })
            .await;
        self.finish(outcome)
    }

    /// Asks what becomes of a chunk.
    pub(super) async fn on_chunk(&mut self, id: u32, chunk: &[u8], flow: &SharedFlow, shown: Shown) -> Result<ChunkAction, Failure> {
        let Some(hook) = &self.hooks.stream else { return Ok(ChunkAction::Pass) };
        // The guest gets no handle of it, but what it says is about this flow.
        self.store.data_mut().begin(Call::new(flow.clone(), Phase::Body, shown));
        let outcome = self.kit.bounded(Hook::Chunk, &mut self.store, async |store| hook.call_on_chunk(store, id, chunk).await).await;
        self.finish(outcome)
    }

    /// Tells that a body has ended, or has `broken` off; what is returned is to be appended.
    pub(super) async fn on_body_end(&mut self, id: u32, broken: bool, flow: &SharedFlow, shown: Shown) -> Result<Vec<u8>, Failure> {
        let Some(hook) = &self.hooks.stream else { return Ok(Vec::new()) };
        self.store.data_mut().begin(Call::new(flow.clone(), Phase::Body, shown));
        let outcome = self.kit.bounded(Hook::BodyEnd, &mut self.store, async |store| hook.call_on_body_end(store, id, broken).await).await;
        self.finish(outcome)
    }

    /// Its state, for the instance that follows it; `None` if the component has no such hook.
    pub(super) async fn save(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(hook) = &self.hooks.handoff else { return Ok(None) };
        self.store.data_mut().begin_without_flow();
        let outcome = self.kit.bounded(Hook::Save, &mut self.store, async |store| hook.call_save(store).await).await;
        self.store.data_mut().end();
        let state = outcome?;
        if state.len() > self.kit.budgets.state {
            return Err(Failure::State(self.kit.budgets.state));
        }
        Ok(Some(state))
    }

    /// Gives it the state of the instance before it.
    pub(super) async fn restore(&mut self, from_version: &str, state: &[u8]) -> Result<(), Failure> {
        let Some(hook) = &self.hooks.handoff else { return Ok(()) };
        self.store.data_mut().begin_without_flow();
        let call = async |store: &mut Store<Guest>| hook.call_restore(store, from_version, state).await;
        let outcome = self.kit.bounded(Hook::Restore, &mut self.store, call).await;
        self.store.data_mut().end();
        outcome?.map_err(|text| Failure::NotRestored(sanitised(&text)))
    }

    /// Tells it from every other one.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Better replaced than used again.
    pub(super) fn is_worn(&self) -> bool {
        let guest = self.store.data();
        guest.memory.is_nearly_full() || (guest.calls() >= MAX_CALLS && self.bodies == 0)
    }

    /// What the last call changed of its flow, for people.
    pub(super) fn take_changes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changes)
    }

    /// Octets of linear memory it has now.
    pub(super) fn memory(&self) -> usize {
        self.store.data().memory.used()
    }

    /// The end of a filter's call: one that failed has changed nothing.
    fn finish<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Some(call) = self.store.data_mut().end() {
            match &outcome {
                Ok(_) => self.changes = call.changes(),
                Err(_) => call.undo(),
            }
        }
        outcome
    }
}

impl Kit {
    /// A call within its bounds. Dropping the future ends the call; the instance is dead then.
    async fn bounded<T: Answered>(
        &self,
        hook: Hook,
        store: &mut Store<Guest>,
        call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let span = self.budgets.span(hook);
        self.fuel(store)?;
        store.set_epoch_deadline(1);
        store.data_mut().dealings.begin();
        let meter = store.data().meter.clone();
        let _ticking = self.engine.watch_clock();
        let began = self.about.scene.as_ref().map(|_| Instant::now());
        let outcome = match timeout(span.wall, meter.run(span.computing, call(store))).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failure(&error, span, store.data())),
            Err(_elapsed) => Err(Failure::Wall(span.wall)),
        };
        if let (Some(scene), Some(began)) = (&self.about.scene, began) {
            scene.costs.note(hook, self.cost(began.elapsed(), store, &outcome));
        }
        outcome
    }

    /// As much as there is: it is counted, not bounded.
    fn fuel(&self, store: &mut Store<Guest>) -> Result<(), Failure> {
        match self.engine.instructions() {
            Instructions::Uncounted => Ok(()),
            Instructions::Counted => store.set_fuel(u64::MAX).map_err(|error| Failure::Trap(sanitised(&error.to_string()))),
        }
    }

    fn cost<T: Answered>(&self, took: Duration, store: &Store<Guest>, outcome: &Result<T, Failure>) -> Cost {
        let instructions = match self.engine.instructions() {
            Instructions::Uncounted => 0,
            Instructions::Counted => u64::MAX - store.get_fuel().unwrap_or(u64::MAX),
        };
        let guest = store.data();
        let output = guest.dealings.handed_over() + outcome.as_ref().map_or(0, Answered::octets);
        Cost { took, instructions, memory: guest.memory.used(), output, failed: outcome.is_err() }
    }

    /// What ended a call, as its cause.
    fn failure(&self, error: &wasmtime::Error, span: Span, guest: &Guest) -> Failure {
        if error.is::<OverBudget>() {
            return Failure::Computing(span.computing);
        }
        if error.is::<TooManyCalls>() {
            return Failure::HostCalls(self.budgets.host_calls);
        }
        if error.is::<TooMuchOutput>() || is_out_of_fuel(error) {
            return Failure::Output(self.budgets.output);
        }
        // What a guest does when it gets no memory is its own business; that it got none is the cause.
        if guest.memory.was_refused() {
            return Failure::Memory(guest.memory.limit());
        }
        let cause = error.root_cause().to_string();
        let cause = match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => format!("a hook has to return, and it exited with status {status}"),
            None => cause.strip_prefix("wasm trap: ").unwrap_or(&cause).to_owned(),
        };
        let mut text = match error.downcast_ref::<WasmBacktrace>().map(|trace| frames(&trace.to_string())) {
            Some(frames) if !frames.is_empty() => format!("{cause} in {}", frames.join(" < ")),
            _ => cause,
        };
        // A panic's message, a traceback: in most languages the reason comes out there and nowhere else.
        if let Some(words) = guest.last_words() {
            text = format!("{text}; it last wrote: {words}");
        }
        Failure::Trap(sanitised(&text))
    }
}

impl Exports {
    fn load(&self, store: &mut Store<Guest>, linked: &Linked) -> wasmtime::Result<Hooks> {
        Ok(Hooks {
            connect: self.connect.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            request: self.request.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            response: self.response.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            message: self.message.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            message_observer: self.message_observer.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            stream: self.stream.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            observer: self.observer.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
            handoff: self.handoff.as_ref().map(|hook| hook.load(&mut *store, linked)).transpose()?,
        })
    }
}

/// More was to be copied out of the guest than may be at a time. The error's type is wasmtime's own, so its text has to do; a test holds it.
fn is_out_of_fuel(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted")
}
