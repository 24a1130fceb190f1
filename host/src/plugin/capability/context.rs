//! `context`: the flow a hook is about.
//!
//! Place: the methods of the contract's resource `flow`, on the flow that `exchange` fills. The flow is locked for single reads and writes
//! only. Changes a call makes are undone if it fails.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use wasmtime::component::Resource;

use crate::{
    flow::{Authority, Content, Decoded, Direction, Fields, Flow, Origin, Replaced, RequestHead, ResponseHead, SharedFlow, lock},
    plugin::{
        bindings::flowgate::plugin::{
            context::{Host, HostFlow},
            log::Level,
            types,
        },
        convert,
        guest::Guest,
        held::Held,
    },
};

/// Coded content of more octets than these is decoded off the runtime.
const DECODE_HERE: usize = 64 * 1024;
/// Most names of fields that are told to have changed.
const MAX_NAMES: usize = 32;
/// Most notes on one flow.
const MAX_TAGS: usize = 64;
/// Most octets of a note, key and value together.
const MAX_TAG: usize = 1024;

/// What a guest's handle stands for: nothing by itself, its number is that of the call.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Handle {}

/// What the guest is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::plugin) enum Phase {
    /// About a request that has not been sent.
    Request { body_held: bool },
    /// About a response that has not been sent.
    Response { body_held: bool },
    /// About a WebSocket message.
    Message,
    /// About a body that passes.
    Body,
    /// About a flow that has ended.
    End,
}

/// How much of each content the plugin's rule lets it see, in octets; 0: nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::plugin) struct Shown {
    pub(in crate::plugin) request: usize,
    pub(in crate::plugin) response: usize,
}

/// One call about a flow.
pub(in crate::plugin) struct Call {
    flow: SharedFlow,
    id: u64,
    phase: Phase,
    shown: Shown,
    decoded: [Option<Decoded>; 2],
    before: Option<Before>,
    /// The content, if another took its place.
    replaced: Option<Replaced>,
    effect: Effect,
    /// Messages that passed earlier, for those who are told of them.
    held: Option<Arc<Held>>,
}

/// What a call has done that others see.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::plugin) enum Effect {
    None,
    /// Something was stored, counted or sent.
    Acted,
    /// A record was taken into the queue.
    Kept,
}

/// What a filter may change of a head, as it was.
enum Before {
    Request { head: RequestHead, redirected: Option<Origin> },
    Response { head: ResponseHead },
}

impl Call {
    pub(in crate::plugin) fn new(flow: SharedFlow, phase: Phase, shown: Shown) -> Self {
        let id = lock(&flow).id.0;
        Self { flow, id, phase, shown, decoded: [None, None], before: None, replaced: None, effect: Effect::None, held: None }
    }

    /// With messages to look back at.
    pub(in crate::plugin) fn holding(mut self, held: Option<&Arc<Held>>) -> Self {
        self.held = held.cloned();
        self
    }

    /// The flow's.
    pub(in crate::plugin) fn id(&self) -> u64 {
        self.id
    }

    /// The guest has done something that others see: the call cannot be made again without doing that twice.
    pub(in crate::plugin) fn act(&mut self, effect: Effect) {
        self.effect = self.effect.max(effect);
    }

    /// Whether it has, and what.
    pub(in crate::plugin) fn effect(&self) -> Effect {
        self.effect
    }

    /// What it changed, for people: names, never values.
    pub(in crate::plugin) fn changes(&self) -> Vec<String> {
        let Some(before) = &self.before else { return Vec::new() };
        let flow = lock(&self.flow);
        let mut changes = match before {
            Before::Request { head, redirected } => {
                let now = &flow.request;
                let mut changes = changed_fields(&head.fields, &now.fields);
                changes.extend((head.method != now.method).then(|| format!("method {}", now.method)));
                changes.extend((head.path != now.path).then(|| "path".to_owned()));
                changes.extend((*redirected != flow.redirected).then(|| "origin".to_owned()));
                changes
            }
            Before::Response { head } => {
                let Some(now) = &flow.response else { return Vec::new() };
                let mut changes = changed_fields(&head.fields, &now.fields);
                changes.extend((head.status != now.status).then(|| format!("status {}", now.status.as_u16())));
                changes
            }
        };
        changes.extend(self.replaced.is_some().then(|| "body".to_owned()));
        changes
    }

    /// Takes back what it changed.
    pub(in crate::plugin) fn undo(self) {
        let mut flow = lock(&self.flow);
        let of = match self.before {
            None => return,
            Some(Before::Request { head, redirected }) => {
                flow.request = head;
                flow.redirected = redirected;
                Direction::Request
            }
            Some(Before::Response { head }) => {
                flow.response = Some(head);
                Direction::Response
            }
        };
        if let Some(replaced) = self.replaced {
            flow.restore_body(of, replaced);
        }
    }

    /// Applies a change, where one may be made.
    fn change(&mut self, of: Direction, apply: impl FnOnce(&mut Flow) -> Result<(), String>) -> Result<(), String> {
        match (self.phase, of) {
            (Phase::Request { .. }, Direction::Request) | (Phase::Response { .. }, Direction::Response) => {}
            (Phase::Request { .. }, Direction::Response) => return Err("there is no response yet".into()),
            (Phase::Response { .. }, Direction::Request) => return Err("the request has been sent".into()),
            (Phase::Message, _) => return Err("both heads have been sent".into()),
            (Phase::Body, _) => return Err("the body has begun".into()),
            (Phase::End, _) => return Err("the flow has ended".into()),
        }
        let mut flow = lock(&self.flow);
        if self.before.is_none() {
            self.before = Before::of(&flow, of);
        }
        apply(&mut flow)
    }

    fn set_body(&mut self, of: Direction, body: Vec<u8>) -> Result<(), String> {
        if !matches!(self.phase, Phase::Request { body_held: true } | Phase::Response { body_held: true }) {
            return Err("the body is not held".into());
        }
        let mut replaced = None;
        self.change(of, |flow| {
            replaced = Some(flow.set_body(of, Bytes::from(body)));
            Ok(())
        })?;
        self.replaced = self.replaced.take().or(replaced);
        self.decoded[index(of)] = None;
        Ok(())
    }

    fn shown(&self, of: Direction) -> usize {
        match of {
            Direction::Request => self.shown.request,
            Direction::Response => self.shown.response,
        }
    }

    /// What decoding needs, if it was not done before.
    fn to_decode(&self, of: Direction) -> Option<(Content, Fields)> {
        if self.decoded[index(of)].is_some() {
            return None;
        }
        if self.shown(of) == 0 {
            return Some((Content::default(), Fields::default()));
        }
        let flow = lock(&self.flow);
        // Of the fields, those only that decoding looks at.
        let codings = flow.fields(of).into_iter().flat_map(Fields::iter).filter(|field| field.is("content-encoding")).cloned().collect();
        Some((flow.content(of).clone(), codings))
    }
}

impl Before {
    fn of(flow: &Flow, of: Direction) -> Option<Self> {
        Some(match of {
            Direction::Request => Self::Request { head: flow.request.clone(), redirected: flow.redirected.clone() },
            Direction::Response => Self::Response { head: flow.response.clone()? },
        })
    }
}

/// Names of fields that are not what they were, the first of them. Looked for between the first and the last line that differ: each name costs
/// a look at all lines.
fn changed_fields(before: &Fields, now: &Fields) -> Vec<String> {
    let (old, new) = (before.iter().as_slice(), now.iter().as_slice());
    let first = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let mut changed: Vec<String> = Vec::new();
    for field in old[..old.len() - last].iter().chain(&new[..new.len() - last]) {
        let name = field.name_str();
        if !changed.iter().any(|known| known.eq_ignore_ascii_case(name)) && !before.get_all(name).eq(now.get_all(name)) {
            changed.push(name.to_owned());
            if changed.len() == MAX_NAMES {
                break;
            }
        }
    }
    changed
}

/// Whether the head has room for another line of so many octets, in the place of those of the name `replaced`.
///
/// # Errors
/// It would be larger than a plugin may make it.
fn check_room(flow: &Flow, of: Direction, octets: usize, replaced: Option<&str>) -> Result<(), String> {
    let Some(fields) = flow.fields(of) else { return Ok(()) };
    let path = if of == Direction::Request { flow.request.path.len() } else { 0 };
    let stay = fields.iter().filter(|field| replaced.is_none_or(|name| !field.is(name)));
    let (lines, all) = stay.fold((1, path + octets), |(lines, all), field| (lines + 1, all + field.line().len()));
    convert::check_head(lines, all)
}

fn index(of: Direction) -> usize {
    match of {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}

impl Guest {
    /// Reads something of the flow.
    fn read<T>(&mut self, handle: &Resource<Handle>, look: impl FnOnce(&Flow) -> T) -> wasmtime::Result<T> {
        let call = self.call(handle)?;
        Ok(look(&lock(&call.flow)))
    }

    /// The content with its codings undone, once per call.
    async fn decoded(&mut self, handle: &Resource<Handle>, of: Direction) -> wasmtime::Result<&Decoded> {
        let most = self.about.max_decoded;
        let call = self.call(handle)?;
        if let Some((content, codings)) = call.to_decode(of) {
            let max = call.shown(of).min(most);
            let is_long = !codings.is_empty() && content.kept() > DECODE_HERE;
            let decode = move || content.decoded(&codings, max);
            let decoded = if is_long { self.about.tasks.block(decode).await.map_err(wasmtime::Error::new)? } else { decode() };
            self.call(handle)?.decoded[index(of)] = Some(decoded);
        }
        // Filled above or before.
        self.call(handle)?.decoded[index(of)].as_ref().ok_or_else(|| wasmtime::Error::msg("nothing was decoded"))
    }

    fn change(
        &mut self,
        handle: &Resource<Handle>,
        of: Direction,
        apply: impl FnOnce(&mut Flow) -> Result<(), String>,
    ) -> wasmtime::Result<Result<(), String>> {
        Ok(self.call(handle)?.change(of, apply))
    }

    /// The `Host` field goes with the authority that is asked for, which HTTP/2 says without a field.
    fn set_host(&mut self, handle: &Resource<Handle>, of: Direction, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.change(handle, of, |flow| {
            Authority::parse_or(&value, Some(flow.origin.scheme.default_port())).map_err(|error| error.to_string())?;
            check_room(flow, of, value.len(), Some("host"))?;
            if flow.request.fields.contains("host") {
                flow.request.fields.set("host", &value);
            }
            flow.request.authority = value.into();
            Ok(())
        })
    }
}

impl types::Host for Guest {}

impl Host for Guest {}

impl HostFlow for Guest {
    fn id(&mut self, flow: Resource<Handle>) -> wasmtime::Result<u64> {
        self.call(&flow).map(|call| call.id)
    }

    fn client(&mut self, flow: Resource<Handle>) -> wasmtime::Result<types::ClientInfo> {
        self.read(&flow, |flow| convert::client(&flow.scope))
    }

    fn url(&mut self, flow: Resource<Handle>) -> wasmtime::Result<String> {
        self.read(&flow, Flow::url)
    }

    fn request(&mut self, flow: Resource<Handle>) -> wasmtime::Result<types::RequestHead> {
        self.read(&flow, convert::request_head)
    }

    fn response(&mut self, flow: Resource<Handle>) -> wasmtime::Result<Option<types::ResponseHead>> {
        self.read(&flow, convert::response_head)
    }

    fn head(&mut self, flow: Resource<Handle>, of: types::Direction) -> wasmtime::Result<Vec<u8>> {
        self.read(&flow, |flow| convert::head(flow, convert::direction(of)))
    }

    fn header(&mut self, flow: Resource<Handle>, of: types::Direction, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.read(&flow, |flow| flow.fields(convert::direction(of))?.get(&name).map(<[u8]>::to_vec))
    }

    fn header_text(&mut self, flow: Resource<Handle>, of: types::Direction, name: String) -> wasmtime::Result<Option<String>> {
        self.read(&flow, |flow| flow.fields(convert::direction(of))?.get(&name).map(convert::text))
    }

    fn trailers(&mut self, flow: Resource<Handle>, of: types::Direction) -> wasmtime::Result<types::Headers> {
        self.read(&flow, |flow| convert::headers(flow.trailers(convert::direction(of))))
    }

    async fn body_info(&mut self, flow: Resource<Handle>, of: types::Direction) -> wasmtime::Result<types::BodyInfo> {
        let of = convert::direction(of);
        let decoded = self.decoded(&flow, of).await?;
        let (length, truncated, is_decoded) = (decoded.octets.len() as u64, decoded.truncated, decoded.trouble.is_none());
        let call = self.call(&flow)?;
        let wire_length = if call.shown(of) == 0 { 0 } else { lock(&call.flow).content(of).seen() };
        Ok(types::BodyInfo { length, wire_length, truncated, decoded: is_decoded })
    }

    async fn body(&mut self, flow: Resource<Handle>, of: types::Direction) -> wasmtime::Result<Vec<u8>> {
        Ok(self.decoded(&flow, convert::direction(of)).await?.octets.to_vec())
    }

    async fn body_text(&mut self, flow: Resource<Handle>, of: types::Direction) -> wasmtime::Result<String> {
        Ok(String::from_utf8_lossy(&self.decoded(&flow, convert::direction(of)).await?.octets).into_owned())
    }

    async fn read_body(&mut self, flow: Resource<Handle>, of: types::Direction, offset: u32, max: u32) -> wasmtime::Result<Vec<u8>> {
        let octets = &self.decoded(&flow, convert::direction(of)).await?.octets;
        let start = octets.len().min(offset as usize);
        let end = octets.len().min(start.saturating_add(max as usize));
        Ok(octets[start..end].to_vec())
    }

    fn timings(&mut self, flow: Resource<Handle>) -> wasmtime::Result<types::Timings> {
        self.read(&flow, convert::timings)
    }

    fn outcome(&mut self, flow: Resource<Handle>) -> wasmtime::Result<types::Outcome> {
        self.read(&flow, convert::outcome)
    }

    fn set_header(
        &mut self,
        flow: Resource<Handle>,
        of: types::Direction,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), String>> {
        self.hand_over(name.len() + value.len())?;
        let of = convert::direction(of);
        if of == Direction::Request && name.eq_ignore_ascii_case("host") {
            return self.set_host(&flow, of, value);
        }
        self.change(&flow, of, |flow| {
            convert::check_field(&name, &value)?;
            check_room(flow, of, name.len() + value.len(), Some(&name))?;
            if let Some(fields) = flow.fields_mut(of) {
                fields.set(&name, &value);
            }
            Ok(())
        })
    }

    fn add_header(
        &mut self,
        flow: Resource<Handle>,
        of: types::Direction,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), String>> {
        self.hand_over(name.len() + value.len())?;
        let of = convert::direction(of);
        self.change(&flow, of, |flow| {
            convert::check_field(&name, &value)?;
            if of == Direction::Request && name.eq_ignore_ascii_case("host") {
                return Err("a request has one host: it can be set, not added".into());
            }
            check_room(flow, of, name.len() + value.len(), None)?;
            if let Some(fields) = flow.fields_mut(of) {
                fields.push(&name, &value);
            }
            Ok(())
        })
    }

    fn remove_header(&mut self, flow: Resource<Handle>, of: types::Direction, name: String) -> wasmtime::Result<Result<(), String>> {
        let of = convert::direction(of);
        self.change(&flow, of, |flow| {
            convert::check_name(&name)?;
            if of == Direction::Request && name.eq_ignore_ascii_case("host") {
                return Err("a request has one host: it can be set, not removed".into());
            }
            if let Some(fields) = flow.fields_mut(of) {
                fields.remove(&name);
            }
            Ok(())
        })
    }

    fn set_method(&mut self, flow: Resource<Handle>, method: String) -> wasmtime::Result<Result<(), String>> {
        self.change(&flow, Direction::Request, |flow| {
            let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is not a method"))?;
            if method == Method::CONNECT {
                return Err("a request cannot be made a tunnel".into());
            }
            // The client knows by its own method whether content follows (RFC 9112 §6.3).
            if (method == Method::HEAD) != (flow.request.method == Method::HEAD) {
                return Err("a request cannot be made a HEAD, nor a HEAD another: its answer ends elsewhere".into());
            }
            flow.request.method = method;
            Ok(())
        })
    }

    fn set_path(&mut self, flow: Resource<Handle>, path: String) -> wasmtime::Result<Result<(), String>> {
        self.hand_over(path.len())?;
        self.change(&flow, Direction::Request, |flow| {
            if !convert::is_path(&path) {
                return Err(format!("{path:?} is not a path with query"));
            }
            let lines: usize = flow.request.fields.iter().map(|field| field.line().len()).sum();
            convert::check_head(0, lines + path.len())?;
            flow.request.path = path.into();
            Ok(())
        })
    }

    fn set_status(&mut self, flow: Resource<Handle>, status: u16) -> wasmtime::Result<Result<(), String>> {
        self.change(&flow, Direction::Response, |flow| {
            let status = convert::final_status(status)?;
            if let Some(response) = &mut flow.response {
                // Where the message ends would be another place (RFC 9112 §6.3).
                if convert::has_no_content(status) != convert::has_no_content(response.status) {
                    return Err(format!("a {} cannot be made a {status}: only one of them has content", response.status));
                }
                response.status = status;
                // It was the phrase of another status.
                response.reason = Some(Bytes::new());
            }
            Ok(())
        })
    }

    fn send_to(&mut self, flow: Resource<Handle>, origin: types::Origin) -> wasmtime::Result<Result<(), String>> {
        self.change(&flow, Direction::Request, |flow| {
            flow.redirected = Some(convert::origin(&origin)?);
            Ok(())
        })
    }

    fn set_body(&mut self, flow: Resource<Handle>, of: types::Direction, body: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.hand_over(body.len())?;
        Ok(self.call(&flow)?.set_body(convert::direction(of), body))
    }

    fn tag(&mut self, flow: Resource<Handle>, key: String) -> wasmtime::Result<Option<String>> {
        self.read(&flow, |flow| flow.tags.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone()))
    }

    fn set_tag(&mut self, flow: Resource<Handle>, key: String, value: String) -> wasmtime::Result<()> {
        self.hand_over(key.len() + value.len())?;
        let own = key.strip_prefix(self.about.name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if !own || key.len() + value.len() > MAX_TAG {
            // There is nobody to tell but the plugin's author.
            let (about, id) = (self.about.clone(), self.flow_id());
            about.say(
                Level::Debug,
                id,
                &format!("tag {key:?} is not kept: keys begin with `{}.`, and a tag has at most {MAX_TAG} octets", about.name),
            );
            return Ok(());
        }
        let call = self.call(&flow)?;
        let tags = &mut lock(&call.flow).tags;
        if let Some((_, old)) = tags.iter_mut().find(|(known, _)| *known == key) {
            *old = value;
        } else if tags.len() < MAX_TAGS {
            tags.push((key, value));
        }
        Ok(())
    }

    fn held_messages(&mut self, flow: Resource<Handle>, first: u32, max: u32) -> wasmtime::Result<Vec<types::MessageRecord>> {
        let held = self.call(&flow)?.held.as_ref().map(|held| held.read(first.into(), max as usize));
        Ok(held.unwrap_or_default().into_iter().map(convert::message).collect())
    }

    fn release_messages(&mut self, flow: Resource<Handle>, before: u32) -> wasmtime::Result<()> {
        if let Some(held) = &self.call(&flow)?.held {
            held.release(before.into());
        }
        Ok(())
    }

    fn drop(&mut self, _: Resource<Handle>) -> wasmtime::Result<()> {
        // The handle is a number; what it stood for goes when the call ends.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and values.
    type Lines = &'static [(&'static str, &'static str)];

    fn fields(lines: Lines) -> Fields {
        lines.iter().map(|(name, value)| crate::flow::Field::new(name.as_bytes(), value.as_bytes())).collect()
    }

    #[test]
    fn fields_that_changed_are_named_once() {
        let before = fields(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        let table: [(Lines, &[&str]); 7] = [
            (&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")], &[]),
            (&[("A", "1"), ("B", "9"), ("a", "3"), ("C", "4")], &["B"]),
            (&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4"), ("D", "5")], &["D"]),
            (&[("B", "2"), ("C", "4")], &["A"]),
            (&[("A", "1"), ("a", "3"), ("B", "2"), ("C", "4")], &[]),
            (&[("A", "1"), ("B", "2"), ("C", "4")], &["a"]),
            (&[], &["A", "B", "C"]),
        ];
        for (now, names) in table {
            assert_eq!(changed_fields(&before, &fields(now)), names, "{now:?}");
        }
    }

    #[test]
    fn so_many_fields_that_changed_are_named() {
        let now: Fields = (0..MAX_NAMES + 10).map(|number| crate::flow::Field::new(format!("x-{number}").as_bytes(), b"")).collect();

        assert_eq!(changed_fields(&Fields::default(), &now).len(), MAX_NAMES);
    }
}
