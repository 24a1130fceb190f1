//! Counts who used which models how much: per user and day turns, completions and tokens, by editor, language and model.
//!
//! Place: an observer of flows and WebSocket messages; reading them is `flowgate_guest::chat`'s. What is counted, and where it is kept, is in
//! this folder's README.

mod tally;

use flowgate_guest::{
    Direction, Flow, MessageObserver, MessageRecord, Observer, Plugin, Registration, Rule, WriteMode,
    chat::{self, Exchange},
    key_value::{self, StoreError},
    log,
    records::{self, KeepError},
    text,
};
use serde::{Deserialize, Serialize};
pub use tally::Tally;
use time::{Date, OffsetDateTime};

/// Days whose counters are kept. The records stay: counters are there to go on with, and no flow lasts for days.
const KEEP_DAYS: u16 = 7;
/// What began before midnight ends after it.
const LEAST_DAYS: u16 = 2;
/// Entries that are looked at at a time for being old when a day has begun for a user.
const LOOK_AT: u32 = 1000;
/// Seconds for which is known that a day's counters are gone: clocks are not set wrong by more than that often.
const GONE_FOR: u32 = 60 * 24 * 60 * 60;
/// Before the days that have counters, in the store. Counters are below their day itself.
const DAYS: &str = "days/";
/// Before the days that had some.
const GONE: &str = "gone/";
/// How often a change is tried beside other instances. One of them wins each time, and there are few.
const TRIES: usize = 100;

/// What may be configured.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whose models are counted; globs. Default: the hosts that are known to answer prompts.
    hosts: Vec<String>,
    /// How many of the latest days that had requests keep their counters.
    keep_days: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self { hosts: chat::HOSTS.iter().map(|host| (*host).to_owned()).collect(), keep_days: KEEP_DAYS }
    }
}

/// The observer.
#[derive(Debug)]
pub struct Usage(Config);

impl Plugin for Usage {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let rule = chat::rule(Rule::any().capture(), &config.hosts, chat::PATHS)?;
        if config.keep_days < LEAST_DAYS {
            return Err(format!(
                "keep_days is {}: what began before midnight ends after it, so that is {LEAST_DAYS} at least",
                config.keep_days
            ));
        }
        let registration = Registration::new("usage", env!("CARGO_PKG_VERSION"))
            .description("Counts turns, completions and tokens per user and day.")
            .rule(rule);
        Ok((Self(config), registration))
    }
}

impl Observer for Usage {
    fn on_flow_end(&mut self, flow: &Flow) {
        let status = flow.response().map_or(0, |response| response.status);
        for exchange in chat::ended(flow) {
            self.count(flow, &exchange, status);
        }
    }
}

impl MessageObserver for Usage {
    fn on_message_passed(&mut self, flow: &Flow, message: MessageRecord) {
        for exchange in chat::passed(flow, &message) {
            self.count(flow, &exchange, 101);
        }
    }
}

impl Usage {
    fn count(&self, flow: &Flow, exchange: &Exchange, status: u16) {
        let (day, principal) = (day_of(exchange.began), flow.principal());
        let user = text::file_name(principal.as_deref().unwrap_or_default());
        let action = ["x-interaction-type", "openai-intent"].iter().find_map(|name| flow.header_text(Direction::Request, name));
        let is_turn = exchange.is_turn(flow);
        let counted = self.change(day, &user, |tally| tally.add(exchange, status, is_turn, action.as_deref()));
        if let Err(error) = counted {
            log::error(format_args!("an exchange of {user} is not counted: {error}"));
            return;
        }
        if let Err(error) = keep(day, &user, principal.as_deref()) {
            log::error(format_args!("the record of {user} is behind: {error}"));
        }
    }

    /// Changes the counters of that day, whoever else does so meanwhile.
    fn change(&self, day: Date, user: &str, change: impl Fn(&mut Tally)) -> Result<(), StoreError> {
        let key = key(day, user);
        let mut is_full = false;
        for _ in 0..TRIES {
            let before = key_value::get(&key)?;
            if before.is_none() && key_value::get(&format!("{GONE}{day}"))?.is_some() {
                // A record that starts again from nothing would take the place of the one that is there.
                return Err(StoreError::Other(format!("the counters of {day} are gone")));
            }
            let mut tally = before.as_deref().map_or_else(|| Ok(Tally::default()), Tally::read)?;
            change(&mut tally);
            match store(day, &key, before.as_deref(), &tally.to_bytes()?) {
                Ok(true) => {
                    if before.is_none() {
                        forget(day, self.0.keep_days, is_full);
                    }
                    return Ok(());
                }
                Ok(false) => {}
                Err(StoreError::Quota) if !is_full => {
                    is_full = true;
                    forget(day, self.0.keep_days, is_full);
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Other(format!("{key} changed {TRIES} times meanwhile")))
    }
}

/// Stores counters in the place of `before`. A day is marked before it has any, so that none are left for good.
fn store(day: Date, key: &str, before: Option<&[u8]>, now: &[u8]) -> Result<bool, StoreError> {
    if before.is_none() {
        key_value::set(&format!("{DAYS}{day}"), b"", None)?;
    }
    key_value::compare_and_set(key, before, now)
}

/// Lets go of counters that nothing will be added to. Days are counted and not reckoned: those that a clock was ahead for once cost as many
/// of the oldest, and not all that lie in between. Where the store is full, all before yesterday go: those after them may not have found room.
fn forget(today: Date, keep_days: u16, is_full: bool) {
    let yesterday = today.previous_day().filter(|_| is_full).map(|day| format!("{DAYS}{day}")).unwrap_or_default();
    let today = format!("{DAYS}{today}");
    let forgotten = key_value::keys(DAYS, LOOK_AT).and_then(|mut days| {
        days.retain(|day| *day < today);
        let beyond = (days.len() + 1).saturating_sub(keep_days.into());
        days.truncate(beyond.max(days.partition_point(|day| *day < yesterday)));
        // One that stays does not keep the others.
        days.iter().map(|marked| forget_day(marked)).fold(Ok(()), Result::and)
    });
    if let Err(error) = forgotten {
        log::error(format_args!("old counters stay: {error}"));
    }
}

/// That they are gone is known before they are, so that no record begins again meanwhile.
fn forget_day(marked: &str) -> Result<(), StoreError> {
    let day = marked.trim_start_matches(DAYS);
    let of_day = || key_value::keys(&format!("{day}/"), LOOK_AT);
    let tell = || key_value::set(&format!("{GONE}{day}"), b"", Some(GONE_FOR));
    let told = tell().or_else(|_| {
        // The store is full. Empty ones are nothing to go on with, either, and make room.
        of_day()?.iter().try_for_each(|key| key_value::set(key, b"", None))?;
        tell()
    });
    let keys = of_day()?;
    keys.iter().try_for_each(|key| key_value::remove(key))?;
    told?;
    if keys.len() < LOOK_AT as usize {
        key_value::remove(marked)?;
    }
    Ok(())
}

/// A user's day, as it is kept.
#[derive(Serialize)]
struct Record<'a> {
    day: String,
    user: Option<&'a str>,
    #[serde(flatten)]
    tally: &'a Tally,
}

/// Writes the record of that day. Of two instances that do so at once, the one that is last has seen what the other has.
fn keep(day: Date, user: &str, principal: Option<&str>) -> Result<(), KeepError> {
    let stored = || key_value::get(&key(day, user)).map_err(|error| KeepError::Other(error.to_string()));
    let mut kept = None;
    for _ in 0..TRIES {
        let Some(present) = stored()?.filter(|present| kept.as_ref() != Some(present)) else { break };
        let tally = Tally::read(&present).map_err(|error| KeepError::Other(error.to_string()))?;
        let record = Record { day: day.to_string(), user: principal, tally: &tally };
        records::keep_json(&format!("{day}/{user}.json"), &record, WriteMode::Replace)?;
        kept = Some(present);
    }
    Ok(())
}

fn key(day: Date, user: &str) -> String {
    format!("{day}/{user}")
}

/// In UTC.
fn day_of(micros: u64) -> Date {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
}

flowgate_guest::export!(Usage: observer, message_observer);

#[cfg(test)]
mod tests;
