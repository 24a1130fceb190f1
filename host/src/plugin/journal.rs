//! Which plugin did what to which flow: the latest flows, for whoever asks why.
//!
//! Place: `course` opens a page per flow, the calls about the flow are noted on it, and the journal keeps the pages of the latest flows. Holds
//! no content, no field values and no query.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::hook::Hook;
use crate::{
    flow::{Flow, FlowId, SharedFlow, lock},
    hooks::Trace,
};

/// Flows remembered, at about half a KiB each, and never more than twice [`PAGE`] and what is cut to [`LINE`] and [`TEXT`].
const PAGES: usize = 4096;
/// Most different steps of one flow: a plugin that answers differently every time is not followed further.
const STEPS: usize = 256;
/// Most octets of all steps of one flow, and of all tags: what comes after them is left out.
const PAGE: usize = 8 * 1024;
/// Most octets of an address, and of what a call said: a failure says where. The rest is cut off.
const LINE: usize = 1024;
/// Most octets of any other text.
const TEXT: usize = 256;

/// A build, as it is named in explanations and diagnostics.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) plugin: String,
    pub(super) version: String,
    /// First digits of the component's hash.
    pub(super) hash: String,
}

/// What happened to one flow, in order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Explanation {
    /// The flow's.
    pub flow: u64,
    /// When its request head had been read, in microseconds since the Unix epoch.
    pub began: u64,
    /// Who was admitted; `None`: nobody said.
    pub user: Option<String>,
    /// Of the request as it was sent on.
    pub method: String,
    /// As the client asked for it, without the query.
    pub url: String,
    /// Of the response; `None`: there is none (yet).
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: String,
    /// Calls of plugins.
    pub steps: Vec<Step>,
    /// Notes of plugins.
    pub tags: Vec<(String, String)>,
}

/// Calls of one hook with one outcome.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Step {
    /// The plugin's name.
    pub plugin: String,
    /// As it says.
    pub version: String,
    /// First digits of the component's hash.
    pub hash: String,
    /// As the contract spells it.
    pub hook: String,
    /// Its verdict, or why there is none.
    pub said: String,
    /// How often that was said.
    pub calls: u32,
    /// All of these calls together, in microseconds by the clock.
    pub micros: u64,
    /// What it changed.
    pub changes: Vec<String>,
}

impl Step {
    /// The plugin did something about the flow, or failed to: it did not only look at it and let it pass.
    pub fn is_deed(&self) -> bool {
        let only_looked = ["proceed", "need-body", "observed", "filter it", "leave it alone", "pass", "end", "broken"];
        !self.changes.is_empty() || !only_looked.contains(&self.said.as_str())
    }
}

/// The latest flows.
#[derive(Default)]
pub(super) struct Journal(Mutex<VecDeque<Arc<Page>>>);

/// One flow's.
pub(super) struct Page {
    id: FlowId,
    trace: Option<Arc<dyn Trace>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` while the flow is in progress.
    ended: Option<Explanation>,
    flow: Weak<Mutex<Flow>>,
    steps: Vec<Note>,
    /// Of the steps.
    octets: usize,
}

struct Note {
    label: Arc<Label>,
    hook: Hook,
    said: String,
    calls: u32,
    took: Duration,
    changes: Vec<String>,
}

impl Journal {
    /// Begins the page of a flow; the oldest makes room.
    pub(super) fn open(&self, flow: &SharedFlow) -> Arc<Page> {
        let state = State { flow: Arc::downgrade(flow), ..State::default() };
        let (id, trace) = {
            let flow = lock(flow);
            (flow.id, flow.trace.clone())
        };
        let page = Arc::new(Page { id, trace, state: Mutex::new(state) });
        let mut pages = self.pages();
        let oldest = if pages.len() >= PAGES { pages.pop_front() } else { None };
        pages.push_back(page.clone());
        drop(pages);
        drop(oldest);
        page
    }

    /// What happened to the flow of that id; `None`: no plugin wanted it, or it was too long ago.
    pub(super) fn explain(&self, id: u64) -> Option<Explanation> {
        let page = self.pages().iter().rev().find(|page| page.id.0 == id).cloned()?;
        page.explain()
    }

    /// The latest flows, the last one first, at most so many.
    pub(super) fn latest(&self, most: usize) -> Vec<Explanation> {
        let pages: Vec<Arc<Page>> = self.pages().iter().rev().take(most).cloned().collect();
        pages.iter().filter_map(|page| page.explain()).collect()
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<Arc<Page>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    /// A call came back. Calls that repeat one another become one step.
    pub(super) fn note(&self, label: &Arc<Label>, hook: Hook, said: &str, took: Duration, changes: Vec<String>) {
        let said = cut(said, LINE);
        let mut state = self.state();
        let repeated = state
            .steps
            .iter_mut()
            .rev()
            .find(|note| hook.repeats() && note.hook == hook && Arc::ptr_eq(&note.label, label) && note.said == said);
        if let Some(note) = repeated {
            note.calls += 1;
            note.took += took;
            return;
        }
        let changes: Vec<String> = changes.iter().map(|change| cut(change, TEXT).into_owned()).collect();
        let octets = size_of::<Note>() + said.len() + changes.iter().map(|change| size_of::<String>() + change.len()).sum::<usize>();
        if state.steps.len() < STEPS && state.octets + octets <= PAGE {
            state.octets += octets;
            state.steps.push(Note { label: label.clone(), hook, said: said.into_owned(), calls: 1, took, changes });
        }
    }

    /// The same for the flow's trace, but for calls that come with each piece or message.
    pub(super) fn trace(&self, label: &Label, hook: Hook, took: Duration, failed: bool) {
        if let Some(trace) = self.trace.as_ref().filter(|_| !hook.repeats()) {
            trace.hook(&label.plugin, hook.name(), took, failed);
        }
    }

    /// The flow has ended: what is to be told of it is written down, so that the flow itself can go.
    pub(super) fn close(&self, flow: &SharedFlow) {
        let ended = told(flow);
        let mut state = self.state();
        state.ended = Some(ended);
        state.flow = Weak::new();
    }

    fn explain(&self) -> Option<Explanation> {
        let flow = self.state().flow.upgrade();
        let running = flow.as_ref().map(told);
        let state = self.state();
        let mut explanation = state.ended.clone().or(running)?;
        explanation.steps = state.steps.iter().map(Note::step).collect();
        Some(explanation)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(flow: &SharedFlow) -> Explanation {
    let flow = lock(flow);
    let mut left = PAGE;
    let mut take = |octets: usize| {
        left = left.saturating_sub(size_of::<(String, String)>() + octets);
        left > 0
    };
    let path = flow.request.path.split(|octet| *octet == b'?').next().unwrap_or_default();
    Explanation {
        flow: flow.id.0,
        began: flow.timings.request_start_us(),
        user: flow.scope.principal.name().map(|name| cut(name, TEXT).into_owned()),
        method: cut(flow.request.method.as_str(), TEXT).into_owned(),
        url: cut(&format!("{}{}", flow.origin, String::from_utf8_lossy(&path[..path.len().min(LINE)])), LINE).into_owned(),
        status: flow.response.as_ref().map(|response| response.status.as_u16()),
        outcome: cut(&flow.outcome.to_string(), TEXT).into_owned(),
        steps: Vec::new(),
        tags: flow.tags.iter().filter(|(key, value)| take(key.len() + value.len())).cloned().collect(),
    }
}

/// The beginning of a text that is too long, which is shown.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.len() > most {
        true => format!("{}…", &text[..text.floor_char_boundary(most)]).into(),
        false => text.into(),
    }
}

impl Note {
    fn step(&self) -> Step {
        Step {
            plugin: self.label.plugin.clone(),
            version: self.label.version.clone(),
            hash: self.label.hash.clone(),
            hook: self.hook.name().to_owned(),
            said: self.said.clone(),
            calls: self.calls,
            micros: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            changes: self.changes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::tests::flow;

    #[test]
    fn a_page_has_so_many_octets_whatever_is_noted_on_it() {
        let mut long = flow(&format!("/{}", "ü".repeat(30_000)));
        long.tags = (0..64).map(|number| (format!("x.{number}"), "t".repeat(1000))).collect();
        let (journal, shared, label) = (
            Journal::default(),
            SharedFlow::new(long.into()),
            Arc::new(Label { plugin: "x".into(), version: "1".into(), hash: String::new() }),
        );
        let page = journal.open(&shared);
        for number in 0..1000 {
            let said = format!("{number} {}", "ü".repeat(4096));
            page.note(&label, Hook::Request, &said, Duration::ZERO, vec!["y".repeat(60_000)]);
        }
        let shortly = page.explain().expect("it is in progress");
        page.close(&shared);

        let Explanation { url, steps, tags, .. } = page.explain().expect("it has ended");

        assert_eq!((&url, steps.len(), &tags), (&shortly.url, shortly.steps.len(), &shortly.tags));
        assert!(url.len() <= LINE + '…'.len_utf8() && url.starts_with("https://a.test/üü") && url.ends_with('…'), "{url}");
        let octets: usize = steps.iter().map(|step| step.said.len() + step.changes.iter().map(String::len).sum::<usize>()).sum();
        assert!((PAGE / 2..=PAGE).contains(&octets) && steps[0].said.starts_with("0 ü") && steps[0].said.ends_with('…'), "{octets}");
        let octets: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!((PAGE / 2..=PAGE).contains(&octets) && tags[0].0 == "x.0", "{octets}");
    }
}
