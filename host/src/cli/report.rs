//! What a plugin made of a recorded flow, as a text that is the same every time.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    flow::{Direction, Fields, LocalResponse, MessageKind, Outcome},
    plugin::{Played, PluginInfo},
    recording::RecordedFlow,
    rehearsal::{Rehearsed, Tunnel},
};

/// Octets of content that are shown; of more, a hash is.
const SHOWN: usize = 4096;

/// What was loaded. Neither version nor hash is in it: another build that does the same passes the same test.
pub(super) fn head(info: &PluginInfo, lines: &[String]) -> String {
    let mut text = format!("plugin {}: {}\n", info.name, info.hooks.join(", "));
    let granted = if info.capabilities.is_empty() { "nothing".to_owned() } else { info.capabilities.join(", ") };
    text += &format!("granted: {granted}\n");
    lines.iter().for_each(|line| text += &format!("  {line}\n"));
    text
}

/// One flow.
pub(super) fn flow(recorded: &RecordedFlow, played: &Played) -> String {
    let mut text = format!("\nflow {}: {} {}\n", recorded.id, recorded.request.head.method, recorded.url());
    let Played { rehearsed, steps, tags, lines } = played;
    match &rehearsed.tunnel {
        Some(Tunnel::Splice) => text += "  on-connect: splice\n",
        Some(Tunnel::Reject(response)) => text += &format!("  on-connect: reject\n{}", local(response)),
        Some(Tunnel::Proceed) => text += "  on-connect: proceed\n",
        None => {}
    }
    for step in steps {
        let times = if step.calls > 1 { format!(" × {}", step.calls) } else { String::new() };
        let changes = if step.changes.is_empty() { String::new() } else { format!(" ({})", step.changes.join(", ")) };
        text += &format!("  {}: {}{times}{changes}\n", step.hook, step.said);
    }
    lines.iter().for_each(|line| text += &format!("  {line}\n"));
    tags.iter().for_each(|(key, value)| text += &format!("  tag {key}: {value}\n"));
    if let Some(why) = &rehearsed.refused {
        text += &format!("  refused: {why}\n");
    }
    if let Some(response) = &rehearsed.answer {
        text += &format!("  answered:\n{}", local(response));
    }
    let Some(flow) = &rehearsed.flow else {
        if rehearsed.tunnel.is_none() && rehearsed.refused.is_none() {
            text += "  not wanted\n";
        }
        return text;
    };
    let head = &recorded.request.head;
    if flow.request.method != head.method || flow.request.path != head.path {
        text += &format!("  request: {} {}\n", flow.request.method, String::from_utf8_lossy(&flow.request.path));
    }
    if let Some(origin) = &flow.redirected {
        text += &format!("  sent to: {origin}\n");
    }
    text += &changed("request", &head.fields, &flow.request.fields);
    if rehearsed.answer.is_none() && rehearsed.refused.is_none() && rehearsed.sent != recorded.request.body.octets() {
        text += &format!("  request content:\n{}", content(&rehearsed.sent));
    }
    if let (Some(before), Some(now)) = (&recorded.response, &flow.response) {
        if before.head.status != now.status {
            text += &format!("  response: {}\n", now.status.as_u16());
        }
        text += &changed("response", &before.head.fields, &now.fields);
        if rehearsed.answer.is_none() && rehearsed.refused.is_none() && rehearsed.got != before.body.octets() {
            text += &format!("  response content:\n{}", content(&rehearsed.got));
        }
    }
    text += &messages(recorded, rehearsed);
    if let Some(code) = rehearsed.closed {
        text += &format!("  closed with {code}\n");
    }
    if flow.outcome != Outcome::Completed {
        text += &format!("  ended: {}\n", flow.outcome);
    }
    text
}

/// All that went on, where that is not what came.
fn messages(recorded: &RecordedFlow, rehearsed: &Rehearsed) -> String {
    let came = recorded.frames.iter().filter(|frame| frame.kind != MessageKind::Closed);
    let came = came.map(|frame| (frame.sent, frame.kind == MessageKind::Text, &frame.content));
    let went = || rehearsed.messages.iter().map(|(of, message)| (*of, message.is_text, &message.content));
    if rehearsed.answer.is_some() || rehearsed.refused.is_some() || came.eq(went()) {
        return String::new();
    }
    let line = |(of, is_text, octets): (Direction, bool, &Bytes)| {
        let (arrow, kind) = (if of == Direction::Request { ">" } else { "<" }, if is_text { "text" } else { "binary" });
        format!("  message {arrow} {kind}\n{}", content(octets))
    };
    let lines: String = went().map(line).collect();
    if lines.is_empty() { "  no message went on\n".to_owned() } else { lines }
}

fn local(response: &LocalResponse) -> String {
    let mut text = format!("    {}\n", response.status.as_u16());
    response.fields.iter().for_each(|field| text += &format!("    {}\n", String::from_utf8_lossy(field.line())));
    text + &content(&response.content)
}

/// Field lines that went and came.
fn changed(which: &str, before: &Fields, now: &Fields) -> String {
    let lines = |fields: &Fields| fields.iter().map(|field| String::from_utf8_lossy(field.line()).into_owned()).collect::<Vec<_>>();
    let (before, now) = (lines(before), lines(now));
    let (known, is): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), now.iter().collect());
    let went = before.iter().filter(|line| !is.contains(line)).map(|line| format!("  {which} - {line}\n"));
    let came = now.iter().filter(|line| !known.contains(line)).map(|line| format!("  {which} + {line}\n"));
    went.chain(came).collect()
}

fn content(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) if text.len() <= SHOWN => text.lines().map(|line| format!("    | {line}\n")).collect(),
        _ => {
            use sha2::{Digest, Sha256};
            let hash: String = Sha256::digest(octets).iter().take(8).map(|octet| format!("{octet:02x}")).collect();
            format!("    | ({} octets, SHA-256 {hash}…)\n", octets.len())
        }
    }
}
