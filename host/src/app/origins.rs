//! Connections to origins: one pool for clients' requests and for plugins'.
//!
//! Place: made before the plugins, which may fetch something while they are configured, and stopped after them.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;

use super::exchange;
use crate::{
    config::{self, Config, limits},
    exchange::{Fetcher, Limits},
    meters::Meters,
    origin::{DialLimits, Dialler, Pool, PoolLimits, Reach, Upstream},
    outbound::Outbound,
    tasks::Tasks,
    tls::{HostTls, Trust},
};

/// See the module.
pub(super) struct Origins {
    pub(super) pool: Arc<Pool>,
    limits: Limits,
}

impl Origins {
    /// `own`: where this proxy listens, which nobody is let dial through it.
    pub(super) fn new(config: &Config, own: Vec<SocketAddr>, meters: Arc<Meters>) -> anyhow::Result<Self> {
        Self::reaching(reach(config), config, own, meters)
    }

    /// For what the proxy sends by itself, to where its configuration says: not counted, and not held to where clients may be taken to.
    pub(super) fn for_itself(config: &Config, own: Vec<SocketAddr>) -> anyhow::Result<Self> {
        Self::reaching(Reach { local_clients: true, ..Reach::default() }, config, own, Arc::default())
    }

    fn reaching(reach: Reach, config: &Config, own: Vec<SocketAddr>, meters: Arc<Meters>) -> anyhow::Result<Self> {
        let fixed = config.resolve.iter().map(|(host, address)| (host.clone(), *address)).collect();
        let dial = DialLimits {
            resolve: limits::DNS,
            connect: config.limits.connect_deadline,
            handshake: config.limits.handshake_deadline,
            upstream: limits::UPSTREAM_CONNECT,
            keepalive: config.limits.keepalive,
            at_once: config.limits.origin_connections,
        };
        let pool = PoolLimits {
            per_origin: limits::ORIGIN_IDLE_CONNECTIONS_EACH,
            in_all: config.limits.idle_origin_connections,
            stream_buffer: limits::STREAM_BUFFER,
            http2_per_origin: limits::ORIGIN_HTTP2_CONNECTIONS_EACH,
            idle: limits::ORIGIN_IDLE,
        };
        let dialler = Dialler::new(trust(config)?, dial, fixed, upstream(config)?, reach, meters);
        dialler.set_own(own);
        Ok(Self { pool: Arc::new(Pool::new(Arc::new(dialler), pool, Tasks::new())), limits: exchange(config) })
    }

    /// What fetches over them.
    pub(super) fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::new(Fetcher::new(self.pool.clone(), self.limits))
    }

    /// Lets connections go.
    pub(super) async fn stop(&self) {
        self.pool.close(limits::SEVER).await;
    }
}

/// Whom to trust, with a warning for each host that is trusted for other reasons than the rest.
pub(super) fn trust(config: &Config) -> anyhow::Result<Trust> {
    let hosts = config.origins.iter().map(|(hosts, origin)| HostTls {
        hosts: hosts.clone(),
        ca: origin.ca.clone(),
        accept_any: origin.accept_any_certificate,
        identity: origin.client.clone(),
    });
    let hosts: Vec<HostTls> = hosts.collect();
    let trust = Trust::load(&config.upstream_ca, &hosts)?;
    hosts.iter().filter_map(HostTls::warning).for_each(|warning| tracing::warn!("{warning}"));
    Ok(trust)
}

/// Where clients may be taken to: who is not on this machine is not taken to what only this machine reaches, nor to any port.
pub(super) fn reach(config: &Config) -> Reach {
    let local_clients = config.serves_this_machine_only();
    let written = config.destinations.connect_ports.as_ref();
    Reach {
        local_clients,
        allowed: config.destinations.allow.clone(),
        denied: config.destinations.deny.clone(),
        connect_ports: match written {
            Some(ports) => (!ports.is_empty()).then(|| ports.clone()),
            None => (!local_clients).then(|| config::CONNECT_PORTS.to_vec()),
        },
    }
}

fn upstream(config: &Config) -> anyhow::Result<Option<Upstream>> {
    let url = config.upstream_proxy.as_deref();
    url.map(|url| Upstream::parse(url, &config.no_proxy)).transpose().context("in upstream-proxy")
}
