//! From a flow to a record: what is in it, and in which order.
//!
//! Place: asks the host for each thing once; `json` knows how it is printed, `docs/records.md` says what it means.

use std::borrow::Cow;

use flowgate_guest::{BodyInfo, Direction, Fields, Flow, Head, Outcome};

use crate::{
    content::{Content, Notes},
    exchange::Exchange as Messages,
    json::{Buffer, Count, Object, Sink},
    name::{self, Parts},
    stamp,
};

/// What was asked, and what was answered if anything was.
pub(crate) type Heads<'a> = (&'a Head, Option<&'a Head>);

/// A record and the name of its file.
#[derive(Debug)]
pub(crate) struct Record {
    /// One path part.
    pub name: String,
    /// JSON, without a line break at the end.
    pub json: Vec<u8>,
}

impl Record {
    /// `heads` were asked of `flow` already. `now` is asked where no response ended, in microseconds since the Unix epoch.
    pub(crate) fn of(flow: &Flow, url: &str, heads: Heads<'_>, outcome: &Outcome, now: impl FnOnce() -> u64) -> Self {
        let timings = flow.timings();
        let ended = timings.response_end.unwrap_or_else(now);
        let bodies = [Direction::Request, Direction::Response].map(|of| (flow.body(of), flow.body_info(of)));
        Self::made(flow, url, heads, outcome, (timings.request_start, ended), &bodies)
    }

    /// Of WebSocket messages in the places of the contents.
    pub(crate) fn of_messages(flow: &Flow, url: &str, heads: Heads<'_>, mut exchange: Messages) -> Self {
        let times = (exchange.began, exchange.ended);
        let bodies = [Direction::Request, Direction::Response].map(|of| exchange.take_content(of));
        Self::made(flow, url, heads, &Outcome::Completed, times, &bodies)
    }

    fn made(
        flow: &Flow,
        url: &str,
        (request, response): Heads<'_>,
        outcome: &Outcome,
        (began, ended): (u64, u64),
        bodies: &[(Vec<u8>, BodyInfo); 2],
    ) -> Self {
        let client = flow.client();
        let [request_content, response_content] = bodies.each_ref().map(|(octets, info)| Content::new(octets, info));

        let exchange = Exchange {
            user: client.user.as_deref(),
            timestamp: &stamp::timestamp(ended),
            consumed: &stamp::consumed(ended.saturating_sub(began)),
            url,
            method: &request.method(),
            request: Message { headers: fold(request.fields()), content: request_content },
            status: response.and_then(Head::status),
            response: Message { headers: response.map(|response| fold(response.fields())).unwrap_or_default(), content: response_content },
            outcome,
        };
        Self { name: exchange.name(&client.address), json: exchange.json() }
    }
}

/// What a record holds.
struct Exchange<'a> {
    user: Option<&'a str>,
    timestamp: &'a str,
    consumed: &'a str,
    url: &'a str,
    method: &'a str,
    request: Message<'a>,
    status: Option<u16>,
    response: Message<'a>,
    outcome: &'a Outcome,
}

struct Message<'a> {
    headers: Vec<(&'a str, Cow<'a, str>)>,
    content: Content<'a>,
}

impl Exchange<'_> {
    fn name(&self, address: &str) -> String {
        let request = |name| find(&self.request.headers, name).map(|at| self.request.headers[at].1.as_ref());
        name::file_name(Parts {
            timestamp: self.timestamp,
            machine: request("vscode-machineid"),
            address,
            user: self.user,
            editor: request("editor-version"),
        })
    }

    /// Of much content it is written twice: to be measured, and into a buffer of about that size. Growing a large one would copy more, and take
    /// twice the memory. What is short goes into more room than it is likely to take.
    fn json(&self) -> Vec<u8> {
        let content = self.request.content.text.len() + self.response.content.text.len();
        let room = if content <= SHORT { HEADS + 2 * content } else { self.measured() };
        let mut json = Buffer::with_room(room);
        self.write(&mut json);
        let json = json.into_octets();
        debug_assert!(content <= SHORT || json.len() == room);
        json
    }

    /// Octets it takes when written.
    fn measured(&self) -> usize {
        let mut count = Count::default();
        self.write(&mut count);
        count.0
    }

    fn write(&self, sink: &mut impl Sink) {
        Object::write(sink, |record| {
            record.string_or_null("proxy-authorization", self.user);
            record.string("timestamp", self.timestamp);
            record.string("proxy-time-consumed", self.consumed);
            record.object("request", |request| {
                request.string("url", self.url);
                request.string("method", self.method);
                self.request.write(request);
            });
            record.object("response", |response| {
                response.literal("status_code", &self.status.map_or("null".to_owned(), |status| status.to_string()));
                self.response.write(response);
            });
            self.write_notes(record);
        });
    }

    /// Only where there is something to say.
    fn write_notes(&self, record: &mut Object<'_, impl Sink>) {
        let (outcome, cause) = match self.outcome {
            Outcome::Completed | Outcome::InProgress => (None, None),
            Outcome::ClientAborted => (Some("client-aborted"), None),
            Outcome::OriginFailed(why) => (Some("origin-failed"), Some(why)),
            Outcome::AnsweredBy(plugin) => (Some("answered-by"), Some(plugin)),
        };
        let messages = [("request", &self.request.content.notes), ("response", &self.response.content.notes)];
        if outcome.is_none() && messages.iter().all(|(_, notes)| **notes == Notes::default()) {
            return;
        }
        record.object("flowgate", |extra| {
            if let Some(outcome) = outcome {
                extra.string("outcome", outcome);
            }
            if let Some(cause) = cause {
                extra.string("cause", cause);
            }
            for (name, notes) in messages {
                if *notes != Notes::default() {
                    extra.object(name, |message| notes.write(message));
                }
            }
        });
    }
}

impl Message<'_> {
    fn write(&self, message: &mut Object<'_, impl Sink>) {
        message.object("headers", |headers| {
            for (name, value) in &self.headers {
                headers.string(name, value);
            }
        });
        message.string("content", &self.content.text);
    }
}

impl Notes {
    fn write(&self, message: &mut Object<'_, impl Sink>) {
        if let Some(wire_length) = self.truncated {
            message.literal("truncated", "true");
            message.literal("wire_length", &wire_length.to_string());
        }
        if self.still_coded {
            message.literal("still_coded", "true");
        }
        if let Some(octets) = &self.octets {
            message.string("octets_base64", octets);
        }
        if self.octets_truncated {
            message.literal("octets_truncated", "true");
        }
    }
}

/// Octets of content that are written without being measured before.
const SHORT: usize = 32 * 1024;

/// Octets that all but the content takes in most records.
const HEADS: usize = 4 * 1024;

/// Room for as many as most heads have.
const FIELDS: usize = 24;

/// Field lines as members of an object: where and as the name was first seen, values of further lines joined by `, `.
fn fold(fields: &Fields) -> Vec<(&str, Cow<'_, str>)> {
    let mut folded: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(FIELDS);
    for field in fields.iter() {
        let value = field.text();
        match find(&folded, field.name) {
            Some(at) => {
                let all = folded[at].1.to_mut();
                all.push_str(", ");
                all.push_str(&value);
            }
            None => folded.push((field.name, value)),
        }
    }
    folded
}

fn find(folded: &[(&str, Cow<'_, str>)], name: &str) -> Option<usize> {
    folded.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
}
