//! What is counted of one user's day.

use std::collections::BTreeMap;

use flowgate_guest::{
    chat::{Api, Exchange},
    key_value::StoreError,
};
use serde::{Deserialize, Serialize};

/// Different editors, languages, models and actions of one user and day. Clients choose these words, and must not fill the store with them.
const MOST_NAMES: usize = 50;
/// Characters of one such word.
const LONGEST_NAME: usize = 60;
/// Where those are counted that are beyond the above.
const OTHER: &str = "other";

/// Counters of one user and day.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Tally {
    /// Everything that was asked of a model.
    requests: u64,
    /// Of these, those that got no answer: the origin said so, or could not be reached, or a plugin refused.
    failed: u64,
    /// Chat messages of a person. What a client goes on with by itself after a tool has run belongs to the turn before.
    turns: u64,
    /// Inline completions that came whole and were not empty.
    completions: u64,
    /// Tokens of prompts, as far as answers carry them; those from caches included.
    input_tokens: u64,
    /// Of these, those from caches.
    cached_tokens: u64,
    /// Tokens of answers, likewise.
    output_tokens: u64,
    editors: BTreeMap<String, Editor>,
    /// Completions by the language of their file.
    languages: BTreeMap<String, u64>,
    models: BTreeMap<String, Model>,
    /// Requests by what the client says they are for.
    actions: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct Editor {
    turns: u64,
    completions: u64,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct Model {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
}

impl Tally {
    /// As it was stored.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(stored).map_err(|error| StoreError::Other(format!("reading the counters: {error}")))
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::Other(format!("writing the counters: {error}")))
    }

    /// One exchange more. `status`: of the response, 0 if there was none.
    pub(crate) fn add(&mut self, exchange: &Exchange, status: u16, is_turn: bool, action: Option<&str>) {
        let answer = &exchange.answer;
        let said_nothing = answer.text.is_empty() && answer.tool_calls.is_empty();
        let has_failed = !matches!(status, 101 | 200..=299) || (answer.error.is_some() && said_nothing);
        let is_completion = exchange.api == Api::Completions;
        let (turns, completions) = match has_failed {
            true => (0, 0),
            false if is_completion => (0, u64::from(answer.is_complete && !said_nothing)),
            false => (u64::from(is_turn), 0),
        };
        self.requests += 1;
        self.failed += u64::from(has_failed);
        self.turns += turns;
        self.completions += completions;
        if turns + completions > 0 {
            let editor = entry(&mut self.editors, exchange.editor.as_deref().map_or("unknown", name_of));
            editor.turns += turns;
            editor.completions += completions;
        }
        if completions > 0 {
            *entry(&mut self.languages, exchange.prompt.language.as_deref().unwrap_or("unknown")) += 1;
        }
        if let Some(action) = action {
            *entry(&mut self.actions, action) += 1;
        }
        let model = entry(&mut self.models, exchange.model().unwrap_or("unknown"));
        model.requests += 1;
        if let Some(usage) = answer.usage {
            self.input_tokens = self.input_tokens.saturating_add(usage.input_tokens);
            self.cached_tokens = self.cached_tokens.saturating_add(usage.cached_tokens);
            self.output_tokens = self.output_tokens.saturating_add(usage.output_tokens);
            model.input_tokens = model.input_tokens.saturating_add(usage.input_tokens);
            model.output_tokens = model.output_tokens.saturating_add(usage.output_tokens);
        }
    }
}

/// Without its version: `vscode` of `vscode/1.95.3`.
fn name_of(editor: &str) -> &str {
    editor.split('/').next().unwrap_or(editor)
}

fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, name: &str) -> &'a mut V {
    let name: String = name.chars().take(LONGEST_NAME).collect();
    let has_room = map.len() < MOST_NAMES || map.contains_key(&name);
    map.entry(if has_room { name } else { OTHER.to_owned() }).or_default()
}
