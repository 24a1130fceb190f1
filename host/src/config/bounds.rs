//! Bounds that depend on how large an installation is, and so can be moved.
//!
//! Place: a part of [`super::Config`]; `app` hands them on in the settings of the parts that keep to them. All others are in [`super::limits`] alone.

use std::{ops::RangeInclusive, time::Duration};

use super::{limits, raw, units, within};

/// Counts that make sense.
const COUNTS: RangeInclusive<usize> = 1..=1_000_000;
/// Times that make sense: what takes longer has been forgotten.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
/// The least `keepalive`: silence, and three questions a whole second apart.
const LEAST_KEEPALIVE: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitsConfig {
    /// See [`limits::CONNECTIONS`].
    pub connections: usize,
    /// See [`limits::CLIENT_CONNECTIONS`].
    pub connections_per_client: usize,
    /// See [`limits::USER_TUNNELS`].
    pub tunnels_per_user: usize,
    /// See [`limits::HANDSHAKES`].
    pub handshakes: usize,
    /// See [`limits::CLIENT_HANDSHAKES`].
    pub handshakes_per_client: usize,
    /// See [`limits::CLIENT_LEAVES`].
    pub leaves_per_client: usize,
    /// See [`limits::STREAMS_IN_ALL`].
    pub streams: usize,
    /// See [`limits::CLIENT_STREAMS`].
    pub streams_per_client: usize,
    /// See [`limits::ORIGIN_CONNECTIONS`].
    pub origin_connections: usize,
    /// See [`limits::ORIGIN_IDLE_CONNECTIONS`].
    pub idle_origin_connections: usize,
    /// See [`limits::CAPTURED_BYTES`].
    pub captured_bytes: usize,
    /// See [`limits::KEEPALIVE`].
    pub keepalive: Duration,
    /// See [`limits::HEAD_DEADLINE`].
    pub head_deadline: Duration,
    /// See [`limits::CLIENT_IDLE`].
    pub client_idle: Duration,
    /// See [`limits::CONTENT_IDLE`].
    pub content_idle: Duration,
    /// See [`limits::RESPONSE_DEADLINE`].
    pub response_deadline: Duration,
    /// See [`limits::TLS_HANDSHAKE`].
    pub handshake_deadline: Duration,
    /// See [`limits::DIAL`].
    pub connect_deadline: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            connections_per_client: limits::CLIENT_CONNECTIONS,
            tunnels_per_user: limits::USER_TUNNELS,
            handshakes: limits::HANDSHAKES,
            handshakes_per_client: limits::CLIENT_HANDSHAKES,
            leaves_per_client: limits::CLIENT_LEAVES as usize,
            streams: limits::STREAMS_IN_ALL,
            streams_per_client: limits::CLIENT_STREAMS,
            origin_connections: limits::ORIGIN_CONNECTIONS,
            idle_origin_connections: limits::ORIGIN_IDLE_CONNECTIONS,
            captured_bytes: limits::CAPTURED_BYTES,
            keepalive: limits::KEEPALIVE,
            head_deadline: limits::HEAD_DEADLINE,
            client_idle: limits::CLIENT_IDLE,
            content_idle: limits::CONTENT_IDLE,
            response_deadline: limits::RESPONSE_DEADLINE,
            handshake_deadline: limits::TLS_HANDSHAKE,
            connect_deadline: limits::DIAL,
        }
    }
}

impl LimitsConfig {
    /// # Errors
    /// Names the key of a number that is out of its bounds.
    pub(super) fn resolve(written: &raw::Limits) -> anyhow::Result<Self> {
        let default = Self::default();
        let config = Self {
            connections: written.connections.unwrap_or(default.connections),
            connections_per_client: written.connections_per_client.unwrap_or(default.connections_per_client),
            tunnels_per_user: written.tunnels_per_user.unwrap_or(default.tunnels_per_user),
            handshakes: written.handshakes.unwrap_or(default.handshakes),
            handshakes_per_client: written.handshakes_per_client.unwrap_or(default.handshakes_per_client),
            leaves_per_client: written.leaves_per_client.unwrap_or(default.leaves_per_client),
            streams: written.streams.unwrap_or(default.streams),
            streams_per_client: written.streams_per_client.unwrap_or(default.streams_per_client),
            origin_connections: written.origin_connections.unwrap_or(default.origin_connections),
            idle_origin_connections: written.idle_origin_connections.unwrap_or(default.idle_origin_connections),
            captured_bytes: written.captured.unwrap_or(default.captured_bytes),
            keepalive: written.keepalive.unwrap_or(default.keepalive),
            head_deadline: written.head_deadline.unwrap_or(default.head_deadline),
            client_idle: written.client_idle.unwrap_or(default.client_idle),
            content_idle: written.content_idle.unwrap_or(default.content_idle),
            response_deadline: written.response_deadline.unwrap_or(default.response_deadline),
            handshake_deadline: written.handshake_deadline.unwrap_or(default.handshake_deadline),
            connect_deadline: written.connect_deadline.unwrap_or(default.connect_deadline),
        };
        for (key, count) in config.counts() {
            within(&format!("limits.{key}"), count, &COUNTS, |count| count.to_string())?;
        }
        for (key, time) in config.times() {
            let least = if key == "keepalive" { LEAST_KEEPALIVE } else { *TIMES.start() };
            within(&format!("limits.{key}"), time, &(least..=*TIMES.end()), units::show_duration)?;
        }
        within("limits.captured", config.captured_bytes, &limits::CAPTURED_RANGE, units::show_size)?;
        Ok(config)
    }

    /// All that are times, by key.
    pub(super) fn times(&self) -> [(&'static str, Duration); 7] {
        [
            ("keepalive", self.keepalive),
            ("head-deadline", self.head_deadline),
            ("client-idle", self.client_idle),
            ("content-idle", self.content_idle),
            ("response-deadline", self.response_deadline),
            ("handshake-deadline", self.handshake_deadline),
            ("connect-deadline", self.connect_deadline),
        ]
    }

    /// All that are plain numbers, by key.
    pub(super) fn counts(&self) -> [(&'static str, usize); 10] {
        [
            ("connections", self.connections),
            ("connections-per-client", self.connections_per_client),
            ("tunnels-per-user", self.tunnels_per_user),
            ("handshakes", self.handshakes),
            ("handshakes-per-client", self.handshakes_per_client),
            ("leaves-per-client", self.leaves_per_client),
            ("streams", self.streams),
            ("streams-per-client", self.streams_per_client),
            ("origin-connections", self.origin_connections),
            ("idle-origin-connections", self.idle_origin_connections),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let written = raw::Limits { handshakes: Some(0), ..raw::Limits::default() };

        let error = LimitsConfig::resolve(&written).unwrap_err().to_string();

        assert_eq!(error, "limits.handshakes is 0, but must be between 1 and 1000000");
        let silence = |seconds| raw::Limits { keepalive: Some(Duration::from_secs(seconds)), ..raw::Limits::default() };
        assert_eq!(LimitsConfig::resolve(&silence(3)).unwrap_err().to_string(), "limits.keepalive is 3s, but must be between 4s and 24h");
        assert_eq!(LimitsConfig::resolve(&silence(4)).unwrap().keepalive, Duration::from_secs(4));
        assert_eq!(LimitsConfig::resolve(&raw::Limits::default()).unwrap(), LimitsConfig::default());
    }
}
