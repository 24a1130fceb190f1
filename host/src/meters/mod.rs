//! What passes, counted, for whoever scrapes the proxy.
//!
//! Place: the parts on the way of a flow count into it; `app` has it written down, with what other parts know of themselves. Counting takes an
//! atomic addition, or a short lock where a duration is noted; nothing waits and nothing is allocated. Knows none of the parts.

mod page;
mod process;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::metrics::histogram::Histogram;

pub use self::page::{Kind, Labels, Page, Value};
use crate::flow::{Direction, Flow};

/// Upper bounds of durations, in seconds: from answers out of a cache to models that think.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Classes of statuses; the last one: there was no response.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Errors of RFC 9209 that the proxy answers with; they are there from the first scrape on, so that a rise from nothing is seen.
const ERRORS: [&str; 13] = [
    "connection_limit_reached",
    "connection_refused",
    "connection_timeout",
    "dns_error",
    "http_protocol_error",
    "http_request_denied",
    "http_request_error",
    "http_response_incomplete",
    "http_response_timeout",
    "proxy_internal_error",
    "proxy_loop_detected",
    "tls_certificate_error",
    "tls_protocol_error",
];

/// See the module.
pub struct Meters {
    began: SystemTime,
    connections: Level,
    tunnels: [AtomicU64; Treated::ALL.len()],
    flows: Level,
    endings: [AtomicU64; Ending::ALL.len()],
    classes: [AtomicU64; CLASSES.len()],
    took: Histogram,
    answered: Histogram,
    content: [AtomicU64; 2],
    relayed: Arc<[AtomicU64; 2]>,
    cut: [AtomicU64; 2],
    handshakes: [[AtomicU64; 2]; 2],
    distrusted: AtomicU64,
    turned_away: [AtomicU64; TurnedAway::ALL.len()],
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            began: SystemTime::now(),
            connections: Level::default(),
            tunnels: Default::default(),
            flows: Level::default(),
            endings: Default::default(),
            classes: Default::default(),
            took: Histogram::new(SECONDS),
            answered: Histogram::new(SECONDS),
            content: Default::default(),
            relayed: Arc::default(),
            cut: Default::default(),
            handshakes: Default::default(),
            distrusted: AtomicU64::new(0),
            turned_away: Default::default(),
            refusals: Mutex::new(ERRORS.map(|error| (error, 0)).into()),
        }
    }
}

/// The numbers are the scraper's.
impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// How many there are, and were.
#[derive(Default)]
struct Level {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Level {
    fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    fn open(&self) -> u64 {
        // In this order: what ends in between must not make it negative.
        let ended = self.ended.load(Relaxed);
        self.begun().saturating_sub(ended)
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }
    };
}

named! {
    /// What became of a tunnel.
    Treated {
        /// Its TLS was ended here, or what was in it was HTTP in clear.
        Intercepted = "intercepted",
        /// Octets were relayed unseen.
        Spliced = "spliced",
        /// There was none.
        Refused = "refused",
    }
}

named! {
    /// How a flow ended.
    Ending {
        /// The response passed whole.
        Completed = "completed",
        /// The client went away first.
        ClientAborted = "client-aborted",
        /// The origin could not be used, or broke off.
        OriginFailed = "origin-failed",
        /// The proxy, or a plugin's failure, refused it.
        Refused = "refused",
    }
}

named! {
    /// Why a client was not admitted.
    TurnedAway {
        /// It gave no credentials.
        Missing = "missing",
        /// They do not verify.
        Wrong = "wrong",
        /// Too many others are being verified.
        Overloaded = "overloaded",
    }
}

named! {
    /// With whom TLS was agreed on.
    Side {
        /// Clients, in tunnels and with the proxy itself.
        Client = "client",
        /// Origins, and an upstream proxy.
        Origin = "origin",
    }
}

impl Meters {
    /// A client's connection; it counts as open as long as what is returned.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.begun.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }

    /// A flow begins.
    pub fn flow(self: &Arc<Self>) -> Underway {
        self.flows.begun.fetch_add(1, Relaxed);
        Underway { meters: self.clone(), began: Instant::now(), status: AtomicU16::new(0), ending: Ending::ClientAborted }
    }

    /// What is to become of a tunnel has been decided.
    pub fn tunnel(&self, treated: Treated) {
        self.tunnels[treated as usize].fetch_add(1, Relaxed);
    }

    /// Octets of content that pass in exchanges.
    pub fn content(&self, of: Direction) -> &AtomicU64 {
        &self.content[of as usize]
    }

    /// Octets that are relayed unseen, towards the origin and back.
    pub fn relayed(&self) -> Arc<[AtomicU64; 2]> {
        self.relayed.clone()
    }

    /// What was kept of a flow's contents, now that it ends.
    pub fn captured(&self, flow: &Flow) {
        for of in [Direction::Request, Direction::Response] {
            if flow.content(of).is_truncated() {
                self.cut[of as usize].fetch_add(1, Relaxed);
            }
        }
    }

    /// A TLS handshake has ended, well or not.
    pub fn handshake(&self, side: Side, completed: bool) {
        self.handshakes[side as usize][usize::from(!completed)].fetch_add(1, Relaxed);
    }

    /// A client does not trust the root.
    pub fn distrusted(&self) {
        self.distrusted.fetch_add(1, Relaxed);
    }

    /// A client was not admitted.
    pub fn turned_away(&self, why: TurnedAway) {
        self.turned_away[why as usize].fetch_add(1, Relaxed);
    }

    /// The proxy answered itself, with that error of RFC 9209.
    pub fn refused(&self, error: &'static str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(error).or_default() += 1;
    }

    /// Writes everything down.
    pub fn write(&self, page: &mut Page) {
        let load = |count: &AtomicU64| count.load(Relaxed);
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        page.gauge("flowgate_build_info", "This build", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        page.gauge("flowgate_start_time_seconds", "When the proxy started, since the Unix epoch", &[], began);
        page.count("flowgate_client_connections", "Connections of clients", &[], self.connections.begun());
        page.gauge("flowgate_client_connections_open", "Connections of clients that are open", &[], self.connections.open() as f64);
        for treated in Treated::ALL {
            let labels = [("treatment", treated.name())];
            page.count("flowgate_tunnels", "Tunnels that clients asked for", &labels, load(&self.tunnels[*treated as usize]));
        }
        page.gauge("flowgate_flows_open", "Flows in progress", &[], self.flows.open() as f64);
        for ending in Ending::ALL {
            let labels = [("outcome", ending.name())];
            page.count("flowgate_flows", "Flows that have ended", &labels, load(&self.endings[*ending as usize]));
        }
        for (class, count) in CLASSES.iter().zip(&self.classes) {
            page.count("flowgate_responses", "Responses to clients by class of their status", &[("class", class)], load(count));
        }
        page.histogram("flowgate_flow_seconds", "From a request's head to the end of the response", &[], &self.took);
        page.histogram("flowgate_response_start_seconds", "From a request's head to the response's", &[], &self.answered);
        for (of, name) in [(Direction::Request, "request"), (Direction::Response, "response")] {
            let (labels, at) = ([("direction", name)], of as usize);
            page.count("flowgate_content_bytes", "Octets of content of flows", &labels, load(&self.content[at]));
            page.count("flowgate_relayed_bytes", "Octets that were relayed unseen", &labels, load(&self.relayed[at]));
            page.count("flowgate_capture_truncated", "Contents that were captured in part only", &labels, load(&self.cut[at]));
        }
        for side in Side::ALL {
            for (outcome, count) in ["completed", "failed"].iter().zip(&self.handshakes[*side as usize]) {
                let labels = [("side", side.name()), ("outcome", *outcome)];
                page.count("flowgate_tls_handshakes", "TLS handshakes with clients and with origins", &labels, load(count));
            }
        }
        page.count("flowgate_tls_distrusted", "Certificates that clients turned down", &[], load(&self.distrusted));
        for why in TurnedAway::ALL {
            let labels = [("reason", why.name())];
            page.count("flowgate_auth_refusals", "Clients that were not admitted", &labels, load(&self.turned_away[*why as usize]));
        }
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (error, count) in refusals {
            page.count("flowgate_refusals", "Responses of the proxy itself, by error (RFC 9209)", &[("error", error)], count);
        }
        process::write(page);
    }
}

/// A connection that is open.
pub struct OpenConnection(Arc<Meters>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.ended.fetch_add(1, Relaxed);
    }
}

/// A flow in progress. Dropped before anybody says how it ended, its client is gone.
pub struct Underway {
    meters: Arc<Meters>,
    began: Instant,
    status: AtomicU16,
    ending: Ending,
}

impl Underway {
    /// Where it is counted.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The head of the response is known; once more if the client gets another than the origin's.
    pub fn answered(&self, status: u16) {
        if self.status.swap(status, Relaxed) == 0 {
            self.meters.answered.observe(self.began.elapsed().as_secs_f64());
        }
    }

    /// It has ended.
    pub fn ended(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let meters = &self.meters;
        let class = usize::from(self.status.load(Relaxed) / 100).checked_sub(1).filter(|class| *class < CLASSES.len() - 1);
        meters.classes[class.unwrap_or(CLASSES.len() - 1)].fetch_add(1, Relaxed);
        meters.endings[self.ending as usize].fetch_add(1, Relaxed);
        meters.took.observe(self.began.elapsed().as_secs_f64());
        meters.flows.ended.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_by_how_they_end() {
        let meters = Arc::<Meters>::default();
        let flow = meters.flow();
        flow.answered(502);
        flow.answered(204);
        flow.ended(Ending::Completed);
        drop(meters.flow());
        let open = meters.flow();

        let mut page = Page::default();
        meters.write(&mut page);
        let text = page.to_string();

        drop(open);
        for line in [
            "flowgate_flows_open 1.0",
            "flowgate_flows_total{outcome=\"completed\"} 1",
            "flowgate_flows_total{outcome=\"client-aborted\"} 1",
            "flowgate_responses_total{class=\"2xx\"} 1",
            "flowgate_responses_total{class=\"none\"} 1",
            "flowgate_flow_seconds_count 2",
            "flowgate_response_start_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
