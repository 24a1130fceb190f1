//! How one plugin runs.
//!
//! Place: one table of the file each; `app` hands it to the plugin host in that one's own settings.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, bail, ensure};

use super::{
    limits,
    raw::{Plugin, nearest},
    units, within,
};
use crate::flow::Origin;

/// How one plugin runs.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    /// Whether it is loaded at all.
    pub enabled: bool,
    /// Requests pass plugins from the lowest to the highest; responses the other way.
    pub order: i32,
    /// What becomes of a flow whose filter fails.
    pub on_failure: OnFailure,
    /// Without it the proxy does not start.
    pub required: bool,
    /// What it is configured with: a JSON object.
    pub config: serde_json::Value,
    /// Of one instance.
    pub memory_bytes: usize,
    /// Computing time of one call of a filter.
    pub call: Duration,
    /// Time by the clock of one call of a filter; not less than `call`.
    pub wall: Duration,
    /// Instances that answer filters' calls at a time.
    pub instances: usize,
    /// Capabilities it may import besides those that every plugin has.
    pub grants: BTreeSet<Grant>,
    /// Where its own requests may go; `grants` has [`Grant::Outbound`] where there is any.
    pub outbound: Vec<Origin>,
    /// Octets it may hold in the key-value store.
    pub key_value_bytes: usize,
    /// Calls into the host per call of a hook.
    pub host_calls: u64,
    /// Octets that one call may hand over, and that it may answer.
    pub output_bytes: usize,
    /// Lines it may write a second.
    pub log_lines: u32,
    /// Bodies that its stream filter may be at at a time.
    pub streams: usize,
}

/// What becomes of a flow whose filter fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It goes on as if the plugin were not there.
    #[default]
    Pass,
    /// It is refused.
    Refuse,
}

/// A capability that a plugin has only if it is granted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Grant {
    /// Entries that survive swaps and restarts.
    KeyValue,
    /// Numbers that the proxy publishes.
    Metrics,
    /// Requests of its own, to origins that are named.
    Outbound,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KeyValue, Self::Metrics, Self::Outbound];

    /// As the contract spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyValue => "key-value",
            Self::Metrics => "metrics",
            Self::Outbound => "outbound",
        }
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(grant) = Self::ALL.into_iter().find(|grant| grant.as_str() == text) {
            return Ok(grant);
        }
        ensure!(!FREE.contains(&text), "grants: every plugin has {text}: take it out");
        let known = Self::ALL.map(Self::as_str);
        match nearest(text, &known) {
            Some(near) => bail!("grants: there is no capability {text}; did you mean {near}?"),
            None => bail!("grants: there is no capability {text}; there are {}", known.join(", ")),
        }
    }
}

/// What every plugin has.
const FREE: [&str; 5] = ["clock", "log", "random", "records", "text"];

/// The plugin that is built in.
pub(super) const LOGGER: &str = "logger";

impl PluginConfig {
    /// The defaults of the plugin of that name.
    pub fn of(name: &str) -> Self {
        Self {
            enabled: true,
            order: 0,
            on_failure: OnFailure::Pass,
            // Who runs a recording proxy wants to hear that nothing is recorded before the first flow has gone by.
            required: name == LOGGER,
            config: serde_json::Value::Object(serde_json::Map::new()),
            memory_bytes: if name == LOGGER { limits::LOGGER_MEMORY_BYTES } else { limits::PLUGIN_MEMORY_BYTES },
            call: limits::PLUGIN_CALL,
            wall: limits::PLUGIN_WALL,
            instances: limits::PLUGIN_INSTANCES,
            grants: BTreeSet::new(),
            outbound: Vec::new(),
            key_value_bytes: limits::KEY_VALUE_BYTES,
            host_calls: limits::PLUGIN_HOST_CALLS,
            output_bytes: limits::PLUGIN_OUTPUT_BYTES,
            log_lines: limits::PLUGIN_LOG_LINES,
            streams: limits::PLUGIN_STREAMS,
        }
    }

    pub(super) fn resolve(name: &str, written: Plugin) -> anyhow::Result<Self> {
        let default = Self::of(name);
        let enabled = written.enabled.unwrap_or(default.enabled);
        let call = written.call.unwrap_or(default.call);
        let mut grants = written.grants.iter().map(|grant| Grant::parse(grant)).collect::<anyhow::Result<BTreeSet<_>>>()?;
        let outbound = written.outbound.iter().map(|origin| {
            Origin::parse(origin).with_context(|| format!("outbound: {origin:?} is no origin, as in https://api.example.com"))
        });
        let outbound = outbound.collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(
            !grants.contains(&Grant::Outbound) || !outbound.is_empty(),
            "outbound is granted without an origin: name those it may go to, as in outbound = [\"https://api.example.com\"]"
        );
        grants.extend((!outbound.is_empty()).then_some(Grant::Outbound));
        let plugin = Self {
            enabled,
            order: written.order.unwrap_or(default.order),
            on_failure: written.on_failure.unwrap_or(default.on_failure),
            required: written.required.unwrap_or(default.required && enabled),
            config: written.config.map_or(default.config, |table| plain(table.into())),
            memory_bytes: written.memory.unwrap_or(default.memory_bytes),
            call,
            wall: written.wall.unwrap_or(default.wall.max(call)),
            instances: written.instances.unwrap_or(default.instances),
            grants,
            outbound,
            key_value_bytes: written.key_value.unwrap_or(default.key_value_bytes),
            host_calls: written.host_calls.unwrap_or(default.host_calls),
            output_bytes: written.output.unwrap_or(default.output_bytes),
            log_lines: written.log_lines.unwrap_or(default.log_lines),
            streams: written.streams.unwrap_or(default.streams),
        };
        within("memory", plugin.memory_bytes, &limits::PLUGIN_MEMORY_RANGE, units::show_size)?;
        let times = Duration::from_millis(1)..=limits::MAX_PLUGIN_TIME;
        within("call", plugin.call, &times, units::show_duration)?;
        within("wall", plugin.wall, &(plugin.call..=limits::MAX_PLUGIN_TIME), units::show_duration)?;
        within("instances", plugin.instances, &(1..=limits::MAX_PLUGIN_INSTANCES), |count| count.to_string())?;
        within("host-calls", plugin.host_calls, &(1..=limits::MAX_PLUGIN_HOST_CALLS), |count| count.to_string())?;
        within("output", plugin.output_bytes, &limits::PLUGIN_OUTPUT_RANGE, units::show_size)?;
        within("log-lines", plugin.log_lines, &(1..=limits::MAX_PLUGIN_LOG_LINES), |count| count.to_string())?;
        within("key-value", plugin.key_value_bytes, &limits::KEY_VALUE_RANGE, units::show_size)?;
        within("streams", plugin.streams, &(1..=limits::MAX_PLUGIN_STREAMS), |count| count.to_string())?;
        ensure!(plugin.enabled || !plugin.required, "required without being enabled can never be met: take one of the two away");
        Ok(plugin)
    }
}

/// TOML's dates come out of serde as a table of their own; JSON has texts.
fn plain(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(mut table) if table.len() == 1 => match table.remove("$__toml_private_datetime") {
            Some(date) => date,
            None => table.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        },
        Value::Object(table) => table.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        Value::Array(list) => list.into_iter().map(plain).collect(),
        other => other,
    }
}
