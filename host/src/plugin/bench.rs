//! What a plugin costs: recorded flows played to it on two stages, one that counts what it executes and one that measures time.
//!
//! Place: behind `flowgate plugin bench`. Counting makes code slower, so nothing is timed where it is counted. What is counted is the same
//! every time; what is timed is not.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    build::PluginInfo,
    settings::{Instructions, Settings},
    stage::{self, Stage},
};
use crate::{outbound::Outbound, recording::RecordedFlow};

/// Calls of each hook that are timed: a hundredth of them is more than a few.
const CALLS: u64 = 1000;
/// Flows are not played again after so long, however few calls that were.
const LONGEST: Duration = Duration::from_secs(5);
/// Instances that are started to time that.
const STARTS: usize = 20;
/// How much longer a call may compute where it is counted.
const SLOWER: u32 = 10;

/// What a plugin costs.
#[derive(Clone, Debug)]
pub struct CostCard {
    /// What was loaded.
    pub info: PluginInfo,
    /// Flows that were played.
    pub flows: usize,
    /// What was called, in the order of the contract; `configure` first.
    pub hooks: Vec<HookCost>,
}

/// What calls of one hook cost.
#[derive(Clone, Debug)]
pub struct HookCost {
    /// As the contract spells it.
    pub hook: &'static str,
    /// No flow waits for it: it is called once per instance.
    pub is_start: bool,
    /// Calls that playing all flows once takes.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Calls that were timed.
    pub timed: u64,
    /// Half of those took no longer, by the clock and host functions included.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// WebAssembly instructions of an average call, rounded up (what wasmtime calls fuel).
    pub mean_instructions: u64,
    /// Of the call that executed most.
    pub most_instructions: u64,
    /// Octets of linear memory that an instance had after a call, at most.
    pub memory_bytes: usize,
    /// Octets that an average call handed over to be kept or sent and answered, rounded up.
    pub mean_output_bytes: u64,
    /// Of the call that handed over most.
    pub most_output_bytes: u64,
}

/// Plays `flows` to the component in `file`, with the settings there are for it and every capability granted. `outbound` answers what it
/// fetches.
///
/// # Errors
/// As for [`Stage::open`].
pub async fn bench(file: &Path, settings: Settings, outbound: Arc<dyn Outbound>, flows: &[RecordedFlow]) -> anyhow::Result<CostCard> {
    let began = flows.first().map_or(0, |flow| flow.began);
    let counting = Stage::open(file, counting(stage::name(file)?, settings.clone()), outbound.clone(), began).await?;
    play(&counting, flows).await;
    let counted = counting.costs().take();
    let timing = Stage::open(file, settings, outbound, began).await?;
    // The first round warms up.
    play(&timing, flows).await;
    timing.costs().take();
    timing.start_more(STARTS).await?;
    let start = Instant::now();
    loop {
        play(&timing, flows).await;
        let enough = timing.costs().fewest().is_none_or(|calls| calls >= CALLS);
        if enough || start.elapsed() > LONGEST {
            break;
        }
    }
    let timed = timing.costs().take();
    let hooks = counted.into_iter().map(|(hook, sum)| {
        let timed = timed.get(&hook);
        let quantile = |quantile| timed.map_or(Duration::ZERO, |sum| sum.quantile(quantile));
        HookCost {
            hook: hook.name(),
            is_start: !hook.is_about_flows(),
            calls: sum.calls,
            failed: sum.failed,
            timed: timed.map_or(0, |sum| sum.calls),
            p50: quantile(0.5),
            p99: quantile(0.99),
            mean_instructions: sum.instructions.total.div_ceil(sum.calls),
            most_instructions: sum.instructions.most,
            memory_bytes: sum.memory,
            mean_output_bytes: sum.output.total.div_ceil(sum.calls),
            most_output_bytes: sum.output.most,
        }
    });
    Ok(CostCard { info: timing.info().clone(), flows: flows.len(), hooks: hooks.collect() })
}

async fn play(stage: &Stage, flows: &[RecordedFlow]) {
    for flow in flows {
        stage.play(flow).await;
    }
    // Records of the round before would make this one's take numbers.
    stage.forget();
}

/// Bounds are those of a proxy; that counting takes longer is not the plugin's fault.
fn counting(name: String, mut settings: Settings) -> Settings {
    settings.instructions = Instructions::Counted;
    let limits = &mut settings.limits;
    for bound in [&mut limits.observer_call, &mut limits.observer_wall, &mut limits.configure_call, &mut limits.configure_wall] {
        *bound *= SLOWER;
    }
    let own = settings.plugins.entry(name).or_default();
    own.call *= SLOWER;
    own.wall *= SLOWER;
    settings
}
