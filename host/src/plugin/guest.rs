//! What the host knows of one instance: the data of its store.
//!
//! Place: made by `instance`; the capabilities are methods of it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::{
    bindings::flowgate::plugin::log::Level,
    budget::{Dealings, Memory, Meter},
    capability::{
        context::{Call, Effect, Handle},
        outbound::WayOut,
        output::{LastWords, Output},
    },
    instance::Budgets,
    metrics::Meters,
    scene::Scene,
};
use crate::{pace::Lines, record::Folder, store::Namespace, tasks::Tasks};

/// Most host resources (pollables, streams) of one instance: far more than any needs.
const MAX_RESOURCES: usize = 10_000;

/// One build of a plugin, as its instances know it.
pub(super) struct About {
    /// The plugin's.
    pub(super) name: String,
    /// Known once it has been configured.
    pub(super) version: OnceLock<String>,
    /// First digits of the component's hash.
    pub(super) hash: String,
    /// Diagnostics of all instances together.
    pub(super) lines: Lines,
    /// Where its records go; `None` if it does not import `records`.
    pub(super) records: Option<Folder>,
    /// What it has stored; `None` if it does not import `key-value`.
    pub(super) key_value: Option<Namespace>,
    /// Where it reports to; `None` if it does not import `metrics`.
    pub(super) meters: Option<Arc<Meters>>,
    /// Where its own requests go; `None` if it does not import `outbound`.
    pub(super) way_out: Option<WayOut>,
    /// Runs what blocks.
    pub(super) tasks: Tasks,
    /// Most octets that come out of undoing content codings.
    pub(super) max_decoded: usize,
    /// `None`: it serves.
    pub(super) scene: Option<Arc<Scene>>,
}

/// Data of one instance's store.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) memory: Memory,
    pub(super) meter: Arc<Meter>,
    pub(super) dealings: Dealings,
    pub(super) about: Arc<About>,
    call: Option<Call>,
    calls: u32,
    /// The flow the call is about, for lines it writes.
    flow: Arc<AtomicU64>,
    outputs: [Output; 2],
    last: Arc<LastWords>,
}

/// The guest used the handle of a flow whose hook has returned.
#[derive(Debug, thiserror::Error)]
#[error("the handle of a flow is good until the hook returns, and this one's has")]
struct StaleHandle;

impl Guest {
    /// A fresh one, within those bounds.
    pub(super) fn new(about: Arc<About>, budgets: &Budgets) -> Self {
        let flow = Arc::<AtomicU64>::default();
        let last = Arc::<LastWords>::default();
        let outputs = [Level::Info, Level::Warn].map(|level| Output::new(about.clone(), level, flow.clone(), last.clone()));
        let [stdout, stderr] = outputs.clone();
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stdout).stderr(stderr);
        if let Some(scene) = &about.scene {
            scene.furnish(&mut wasi);
        }
        let wasi = wasi.build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let (memory, dealings) = (Memory::new(budgets.memory), Dealings::new(budgets.host_calls, budgets.output));
        Self { wasi, table, memory, meter: Arc::default(), dealings, about, call: None, calls: 0, flow, outputs, last }
    }

    /// Every function of the contract that a guest calls goes through here first.
    pub(super) fn counted(&mut self) -> &mut Self {
        self.dealings.count();
        self
    }

    /// What every such function asks before it does anything.
    ///
    /// # Errors
    /// The call in progress has called the host too often: the guest traps.
    pub(super) fn admitted(&self) -> wasmtime::Result<()> {
        Ok(self.dealings.check()?)
    }

    /// The guest hands over so many octets to be kept or sent.
    ///
    /// # Errors
    /// The call in progress has handed over too much: the guest traps.
    pub(super) fn hand_over(&mut self, octets: usize) -> wasmtime::Result<()> {
        Ok(self.dealings.hand_over(octets)?)
    }

    /// A call about a flow begins; the handle is for the guest.
    pub(super) fn begin(&mut self, call: Call) -> Resource<Handle> {
        // Numbers are never used twice in one instance (which is retired long before they run out), so a handle kept from an earlier
        // call names no later flow.
        self.calls += 1;
        self.flow.store(call.id(), Ordering::Relaxed);
        self.call = Some(call);
        Resource::new_own(self.calls)
    }

    /// A call about no flow begins.
    pub(super) fn begin_without_flow(&mut self) {
        self.calls += 1;
    }

    /// What the guest wrote last to standard output and error in the call that has just ended.
    pub(super) fn last_words(&self) -> Option<String> {
        self.outputs.iter().for_each(Output::end_line);
        self.last.take()
    }

    /// The call is over.
    pub(super) fn end(&mut self) -> Option<Call> {
        // What a guest wrote without ending the line is not for the next call.
        self.outputs.iter().for_each(Output::end_line);
        self.last.forget();
        self.flow.store(0, Ordering::Relaxed);
        self.about.settle_lines();
        self.call.take()
    }

    /// What the call in progress is about.
    ///
    /// # Errors
    /// The handle is another call's: the guest traps.
    pub(super) fn call(&mut self, handle: &Resource<Handle>) -> wasmtime::Result<&mut Call> {
        self.admitted()?;
        if handle.rep() != self.calls {
            return Err(StaleHandle.into());
        }
        self.call.as_mut().ok_or_else(|| StaleHandle.into())
    }

    /// The call in progress, if it is about a flow, has done something that others see.
    pub(super) fn act(&mut self, effect: Effect) {
        if let Some(call) = &mut self.call {
            call.act(effect);
        }
    }

    /// For diagnostics: 0 while no flow is concerned.
    pub(super) fn flow_id(&self) -> u64 {
        self.flow.load(Ordering::Relaxed)
    }

    /// How many calls about flows there were.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Mutex, time::Duration};

    use bytes::Bytes;
    use http::{Method, Version};

    use super::*;
    use crate::{
        flow::{Authority, ClientAddr, Fields, Flow, Origin, Principal, RequestHead, Scheme, Scope, SharedFlow},
        plugin::{
            capability::{
                context::{Phase, Shown},
                log::lines,
            },
            instance::Span,
        },
    };

    fn guest() -> Guest {
        let about = About {
            name: "x".into(),
            version: OnceLock::new(),
            hash: String::new(),
            lines: lines(1),
            records: None,
            key_value: None,
            meters: None,
            way_out: None,
            tasks: Tasks::new(),
            max_decoded: 0,
            scene: None,
        };
        let none = Span { computing: Duration::ZERO, wall: Duration::ZERO };
        let budgets =
            Budgets { memory: 0, host_calls: 1000, output: 0, filter: none, observer: none, configure: none, handoff: none, state: 0 };
        Guest::new(Arc::new(about), &budgets)
    }

    fn call() -> Call {
        let scope = Scope { connection: 1, client: ClientAddr((Ipv4Addr::LOCALHOST, 1).into()), principal: Principal::UNKNOWN };
        let origin = Origin { scheme: Scheme::Http, authority: Authority::new("a.test", 80) };
        let request = RequestHead {
            method: Method::GET,
            scheme: Scheme::Http,
            authority: Bytes::new(),
            path: Bytes::from_static(b"/"),
            version: Version::HTTP_11,
            fields: Fields::default(),
        };
        let flow: SharedFlow = Arc::new(Mutex::new(Flow::new(Arc::new(scope), origin, request)));
        Call::new(flow, Phase::End, Shown::default())
    }

    #[test]
    fn lines_name_the_flow_only_where_there_is_one() {
        use crate::plugin::{bindings::flowgate::plugin::log::Host, tests::Heard};
        let heard = Heard::new();
        let (mut outside, mut inside) = (guest(), guest());

        outside.write(Level::Info, "outside".into()).expect("written");
        inside.begin(call());
        inside.write(Level::Info, "inside".into()).expect("written");

        let text = heard.text();
        let flow = |line: &str| text.lines().find(|all| all.contains(line)).expect("a line").contains(" flow=");
        assert_eq!([flow("outside"), flow("inside")], [false, true], "{text}");
    }

    #[test]
    fn lines_nobody_sees_take_no_turn_and_those_left_out_are_counted_at_last() {
        use crate::plugin::{bindings::flowgate::plugin::log::Host, tests::Heard};
        let heard = Heard::new();
        let mut guest = guest();
        for _ in 0..100 {
            guest.write(Level::Trace, "unseen".into()).expect("written");
        }
        guest.write(Level::Warn, "seen".into()).expect("written");
        for _ in 0..100 {
            guest.write(Level::Info, "again".into()).expect("written");
        }

        drop(guest);
        let text = heard.text();
        assert!(text.contains("seen") && !text.contains("unseen"), "{text}");
        let counts = text.split("suppressed=").skip(1).filter_map(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
        assert_eq!(text.matches(": again").count() + counts.sum::<usize>(), 100, "{text}");
    }

    #[test]
    fn a_handle_is_good_for_one_call_only() {
        let mut guest = guest();

        let first = guest.begin(call());
        assert!(guest.call(&first).is_ok());
        guest.end();
        assert!(guest.call(&first).is_err());

        let second = guest.begin(call());
        assert!(guest.call(&first).is_err() && guest.call(&second).is_ok());
    }
}
