//! So many lines about one client: it must not be able to fill a disk by failing, nor to bury what else is said.
//!
//! Place: a layer of `trace`, before lines are written. A client is who the span `connection` names. Only what clients cause themselves is
//! counted, at the levels that are shown by default; plugins' lines have a bound of their own.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use moka::sync::Cache;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use crate::{
    flow::ClientAddr,
    pace::{Lines, Rate},
};

/// Lines about one client: enough to see what is wrong with it, 2 KiB a second at most.
const LINES: Rate = Rate { per_second: 20, at_once: 200 };
/// Clients whose lines are counted, some 200 octets each; those not seen for longest go.
const CLIENTS: u64 = 10_000;
/// Where what clients cause is said.
const CAUSED: [&str; 4] = ["flowgate::net", "flowgate::exchange", "flowgate::auth", "flowgate::origin"];

/// See the module.
pub(super) struct Restraint<W> {
    out: Mutex<W>,
    known: Cache<IpAddr, Arc<Known>>,
}

/// What may still be said about one client.
struct Known {
    client: IpAddr,
    lines: Lines,
}

impl Known {
    fn new(client: IpAddr) -> Self {
        Self { client, lines: Lines::new(LINES) }
    }
}

impl<W: Write + 'static> Restraint<W> {
    /// How many were left out is said on `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out: Mutex::new(out), known: Cache::new(CLIENTS) }
    }

    fn admits(&self, about: &Known, now: Instant) -> bool {
        let Some(left_out) = about.lines.admit(now) else { return false };
        if left_out > 0 {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            let line = format!(
                "{left_out} lines about client {} were left out: at most {} a second are written\n",
                about.client, LINES.per_second
            );
            // Nobody reads: there is no one to tell either.
            let _ = out.write_all(line.as_bytes());
        }
        true
    }
}

impl<S, W> Layer<S> for Restraint<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + Send + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "connection" {
            return;
        }
        let mut seen = Seen(None);
        attributes.record(&mut seen);
        let (Some(client), Some(span)) = (seen.0, context.span(id)) else { return };
        span.extensions_mut().insert(self.known.get_with(client, || Arc::new(Known::new(client))));
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let about = event.metadata();
        if !matches!(*about.level(), Level::INFO | Level::WARN) || !CAUSED.iter().any(|place| about.target().starts_with(place)) {
            return true;
        }
        let known = context.event_scope(event).into_iter().flatten().find_map(|span: SpanRef<'_, S>| span.extensions().get().cloned());
        known.is_none_or(|known: Arc<Known>| self.admits(&known, Instant::now()))
    }
}

/// The client of a connection's span.
struct Seen(Option<IpAddr>);

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "client"
            && let Ok(address) = format!("{value:?}").parse::<SocketAddr>()
        {
            self.0 = Some(ClientAddr(address).network());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn count(&self, text: &str) -> usize {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(text).count()
        }
    }

    impl Write for Written {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn client(address: &str) -> tracing::Span {
        let address: SocketAddr = address.parse().unwrap();
        tracing::info_span!("connection", id = 1, client = %address)
    }

    #[test]
    fn lines_about_one_client_are_bounded_and_others_are_heard() {
        let written = Written::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(written.clone());
        let subscriber = tracing_subscriber::registry().with(Restraint::new(written.clone())).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..5000 {
                // A connection each, of one address.
                let span = client(&format!("192.0.2.1:{}", 1024 + number));
                span.in_scope(|| {
                    tracing::info!(target: "flowgate::net::tunnel", "abuse");
                    tracing::info!(target: "flowgate::plugin::capability::log", "a plugin's");
                    tracing::error!(target: "flowgate::net::tunnel", "grave");
                });
            }
            client("192.0.2.2:1").in_scope(|| tracing::warn!(target: "flowgate::net::tunnel", "neighbour"));
            tracing::info!(target: "flowgate::net::listener", "of nobody");
        });

        let abuse = written.count("abuse");
        // Those of the seconds that this took come on top.
        assert!((200..2500).contains(&abuse), "{abuse}");
        assert_eq!((written.count("a plugin's"), written.count("grave")), (5000, 5000));
        assert_eq!((written.count("neighbour"), written.count("of nobody")), (1, 1));
    }

    #[test]
    fn how_many_were_left_out_is_said_with_the_next() {
        let written = Written::default();
        let restraint = Restraint::new(written.clone());
        let (client, now) = (Known::new(IpAddr::from([192, 0, 2, 1])), Instant::now());

        let admitted = (0..300).filter(|_| restraint.admits(&client, now)).count();
        restraint.admits(&client, now + Duration::from_secs(1));

        assert_eq!(admitted, 200);
        assert_eq!(written.count("100 lines about client 192.0.2.1 were left out"), 1);
    }
}
