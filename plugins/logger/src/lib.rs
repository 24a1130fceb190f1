//! Keeps a record of every flow that one of its rules names: rule → record → name → keep.
//!
//! Place: the observer that is built into the host, and as replaceable as any plugin. Format, names and configuration are described in
//! `docs/records.md`.

mod content;
mod exchange;
mod json;
mod name;
mod record;
mod rules;
mod stamp;

use std::time::{SystemTime, UNIX_EPOCH};

use flowgate_guest::{
    Direction, Flow, Head, MessageObserver, MessageRecord, Observer, Outcome, Plugin, Registration, WriteMode, log,
    records::{self, KeepError},
};
use record::Record;
pub use rules::Config;
use rules::Table;

/// How often a record is offered to a full queue. The host makes each offer wait, so a flow that is given up has been held for a while.
const OFFERS: usize = 5;

/// The observer.
#[derive(Debug)]
pub struct Logger {
    table: Table,
}

impl Plugin for Logger {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let table = Table::new(config)?;
        let registration = table.subscribe(
            Registration::new("logger", env!("CARGO_PKG_VERSION")).description("Keeps a JSON record of every prompt and its answer."),
        );
        Ok((Self { table }, registration))
    }
}

/// What a WebSocket begins with.
const SWITCHED: u16 = 101;

impl MessageObserver for Logger {
    fn on_message_passed(&mut self, flow: &Flow, message: MessageRecord) {
        if exchange::begins(flow, &message) {
            self.keep_exchange(flow, message.sequence);
        }
    }
}

impl Observer for Logger {
    fn on_flow_end(&mut self, flow: &Flow) {
        let response = flow.head(Direction::Response);
        let is_websocket = response.as_ref().and_then(Head::status) == Some(SWITCHED);
        if is_websocket {
            self.keep_exchange(flow, u64::MAX);
        }
        let url = flow.url();
        let Some(request) = flow.head(Direction::Request) else { return };
        let Some(category) = self.table.category(&url, &request.method(), is_websocket) else {
            return;
        };
        let outcome = flow.outcome();
        // No origin saw it: there is no exchange to speak of.
        if matches!(&outcome, Outcome::AnsweredBy(by) if by == "host") {
            return;
        }
        let record = Record::of(flow, &url, (&request, response.as_ref()), &outcome, now);
        keep(&format!("{category}/{}", record.name), &record.json);
    }
}

impl Logger {
    /// A record of the messages before that sequence.
    fn keep_exchange(&self, flow: &Flow, before: u64) {
        let Some(exchange) = exchange::take(flow, before) else { return };
        let url = flow.url();
        let Some(request) = flow.head(Direction::Request) else { return };
        if let Some(category) = self.table.category(&url, &request.method(), true) {
            let response = flow.head(Direction::Response);
            let record = Record::of_messages(flow, &url, (&request, response.as_ref()), exchange);
            keep(&format!("{category}/{}", record.name), &record.json);
        }
    }
}

fn keep(path: &str, json: &[u8]) {
    let mut offers = 1;
    loop {
        match records::keep(path, json, WriteMode::CreateNew) {
            Ok(()) => return,
            Err(KeepError::Overloaded) if offers < OFFERS => offers += 1,
            Err(error) => {
                log::error(format_args!("record {path} of {} octets is lost: {error}", json.len()));
                return;
            }
        }
    }
}

/// Microseconds since the Unix epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

flowgate_guest::export!(Logger: observer, message_observer);
