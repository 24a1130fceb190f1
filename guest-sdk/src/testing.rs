//! Stands in for the host, so that plugins are tested natively as plain Rust.
//!
//! A [`Sample`] is a flow made of plain data; it becomes the [`Flow`] that hooks take. Log lines and records
//! go to this thread's lists, from where a test takes them; what is stored stays in this thread. The host's own checks (which fields are its own, which paths
//! it takes) are not repeated here.
//!
//! ```
//! use flowgate_guest::{Direction, Flow, testing::Sample};
//!
//! let flow: Flow = Sample::new("POST", "https://a.test/x").request_header("A", "1").response(200).response_body("hello").into();
//! assert_eq!(flow.header(Direction::Request, "a"), Some(b"1".to_vec()));
//! ```

use std::cell::{Cell, RefCell};

/// The plugin that a configuration text makes, as the host has it made.
pub use crate::export::configure;

use crate::{
    BodyInfo, ChunkAction, ClientInfo, Direction, Flow, Header, HttpVersion, MessageObserver, MessageRecord, Origin, Outcome, RequestHead,
    ResponseHead, StreamFilter, Timings,
    log::Level,
    records::{KeepError, WriteMode},
    text,
};

pub(crate) mod metrics;
pub(crate) mod outbound;
pub(crate) mod store;

pub use metrics::take_metrics;
pub use outbound::answer_fetches;
pub use store::set_quota;

/// A record that was kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// As handed over.
    pub path: String,
    /// As handed over.
    pub data: Vec<u8>,
    /// As handed over.
    pub mode: WriteMode,
}

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    static REFUSALS: RefCell<Vec<KeepError>> = const { RefCell::new(Vec::new()) };
    static LEVEL: Cell<Level> = const { Cell::new(Level::Trace) };
}

/// The log lines since this was last asked.
pub fn take_lines() -> Vec<(Level, String)> {
    LINES.take()
}

/// The records since this was last asked.
pub fn take_records() -> Vec<Kept> {
    KEPT.take()
}

/// Makes the next calls of [`records::keep`](crate::records::keep) fail, one for each.
pub fn refuse_records(with: impl IntoIterator<Item = KeepError>) {
    REFUSALS.with_borrow_mut(|refusals| refusals.extend(with));
}

/// What a stream filter makes of a body that comes in those chunks, as the host asks it.
pub fn stream<P: StreamFilter>(plugin: &mut P, flow: &Flow, of: Direction, chunks: &[&[u8]]) -> Vec<u8> {
    const BODY: u32 = 1;
    if !plugin.on_body_start(BODY, flow, of) {
        return chunks.concat();
    }
    let mut out = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        match plugin.on_chunk(BODY, chunk.to_vec()) {
            ChunkAction::Pass => out.extend_from_slice(chunk),
            ChunkAction::Replace(octets) => out.extend(octets),
            ChunkAction::Finish(octets) => {
                out.extend(octets);
                break;
            }
        }
    }
    out.extend(plugin.on_body_end(BODY, false));
    out
}

/// Where [`Flow::send_to`] sent it.
pub fn sent_to(flow: &Flow) -> Option<Origin> {
    flow.source().0.borrow().sent_to.clone()
}

/// Tells `plugin` of a message as the host does: it is held first.
pub fn pass_message<P: MessageObserver>(plugin: &mut P, flow: &Flow, message: MessageRecord) {
    flow.source().0.borrow_mut().messages.push(message.clone());
    plugin.on_message_passed(flow, message);
}

/// Lines below that level are not wanted.
pub fn set_level(level: Level) {
    LEVEL.set(level);
}

pub(crate) fn log_enabled(level: Level) -> bool {
    level as u8 >= LEVEL.get() as u8
}

pub(crate) fn log_line(level: Level, message: &str) {
    LINES.with_borrow_mut(|lines| lines.push((level, message.to_owned())));
}

pub(crate) fn keep(path: &str, data: &[u8], mode: WriteMode) -> Result<(), KeepError> {
    let refusal = REFUSALS.with_borrow_mut(|refusals| (!refusals.is_empty()).then(|| refusals.remove(0)));
    match refusal {
        Some(error) => Err(error),
        None => {
            KEPT.with_borrow_mut(|kept| kept.push(Kept { path: path.to_owned(), data: data.to_vec(), mode }));
            Ok(())
        }
    }
}

/// A flow as plain data. Made complete with an empty request over HTTP/1.1 from 127.0.0.1 and no response.
#[derive(Clone, Debug)]
pub struct Sample {
    id: u64,
    client: ClientInfo,
    url: String,
    request: RequestHead,
    response: Option<ResponseHead>,
    bodies: [(Vec<u8>, BodyInfo); 2],
    trailers: [Vec<Header>; 2],
    timings: Timings,
    outcome: Outcome,
    sent_to: Option<Origin>,
    tags: Vec<(String, String)>,
    messages: Vec<MessageRecord>,
}

impl Sample {
    /// `url` is absolute. The request has no fields, not even Host.
    pub fn new(method: &str, url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let empty = || (Vec::new(), BodyInfo { length: 0, wire_length: 0, truncated: false, decoded: true });
        Self {
            id: 1,
            client: ClientInfo { address: "127.0.0.1".to_owned(), port: 50_000, user: None },
            url: url.to_owned(),
            request: RequestHead {
                method: method.to_owned(),
                scheme: scheme.to_owned(),
                authority: authority.to_owned(),
                path: text::path_of(url).to_owned(),
                version: HttpVersion::Http11,
                headers: Vec::new(),
            },
            response: None,
            bodies: [empty(), empty()],
            trailers: [Vec::new(), Vec::new()],
            timings: Timings { request_start: 0, request_end: Some(0), response_start: None, response_end: None },
            outcome: Outcome::Completed,
            sent_to: None,
            tags: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// From that address.
    #[must_use]
    pub fn client(mut self, address: &str) -> Self {
        address.clone_into(&mut self.client.address);
        self
    }

    /// On behalf of that user.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.client.user = Some(name.to_owned());
        self
    }

    /// One more field of the request.
    #[must_use]
    pub fn request_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request.headers.push(Header::new(name, value));
        self
    }

    /// The request's body.
    #[must_use]
    pub fn request_body(self, body: impl AsRef<[u8]>) -> Self {
        self.body(Direction::Request, body.as_ref())
    }

    /// A response without fields and body.
    #[must_use]
    pub fn response(mut self, status: u16) -> Self {
        self.response = Some(ResponseHead { status, version: HttpVersion::Http11, headers: Vec::new() });
        self
    }

    /// One more field of the response; status 200 if none was given.
    #[must_use]
    pub fn response_header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut this = if self.response.is_some() { self } else { self.response(200) };
        if let Some(response) = &mut this.response {
            response.headers.push(Header::new(name, value));
        }
        this
    }

    /// The response's body.
    #[must_use]
    pub fn response_body(self, body: impl AsRef<[u8]>) -> Self {
        self.body(Direction::Response, body.as_ref())
    }

    fn body(mut self, of: Direction, body: &[u8]) -> Self {
        let length = body.len() as u64;
        self.bodies[of as usize] = (body.to_vec(), BodyInfo { length, wire_length: length, truncated: false, decoded: true });
        self
    }

    /// Says of a body that octets are missing, and how many passed on the wire.
    #[must_use]
    pub fn truncated(mut self, of: Direction, wire_length: u64) -> Self {
        let info = &mut self.bodies[of as usize].1;
        (info.truncated, info.wire_length) = (true, wire_length);
        self
    }

    /// Says of a body that its content coding could not be undone.
    #[must_use]
    pub fn still_coded(mut self, of: Direction) -> Self {
        self.bodies[of as usize].1.decoded = false;
        self
    }

    /// Fields after the content.
    #[must_use]
    pub fn trailer(mut self, of: Direction, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers[of as usize].push(Header::new(name, value));
        self
    }

    /// Microseconds since the Unix epoch: request head read, last octet of the response read.
    #[must_use]
    pub fn times(mut self, request_start: u64, response_end: Option<u64>) -> Self {
        self.timings = Timings { request_start, request_end: Some(request_start), response_start: response_end, response_end };
        self
    }

    /// How it ended, if not well.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }
}

impl From<Sample> for Flow {
    fn from(sample: Sample) -> Self {
        Source(RefCell::new(sample)).into()
    }
}

/// What stands where the host's resource is on WebAssembly; the methods are that one's. Changes are carried out.
#[derive(Debug)]
#[doc(hidden)]
pub struct Source(RefCell<Sample>);

impl Source {
    pub(crate) fn id(&self) -> u64 {
        self.0.borrow().id
    }

    pub(crate) fn client(&self) -> ClientInfo {
        self.0.borrow().client.clone()
    }

    pub(crate) fn url(&self) -> String {
        self.0.borrow().url.clone()
    }

    pub(crate) fn request(&self) -> RequestHead {
        self.0.borrow().request.clone()
    }

    pub(crate) fn response(&self) -> Option<ResponseHead> {
        self.0.borrow().response.clone()
    }

    pub(crate) fn head(&self, of: Direction) -> Vec<u8> {
        let sample = self.0.borrow();
        let version = |version| match version {
            HttpVersion::Http10 => "HTTP/1.0",
            HttpVersion::Http11 => "HTTP/1.1",
            HttpVersion::H2 => "HTTP/2",
            HttpVersion::H3 => "HTTP/3",
        };
        let (start_line, headers) = match (of, &sample.response) {
            (Direction::Request, _) => {
                let RequestHead { method, path, headers, .. } = &sample.request;
                (format!("{method} {path} {}\r\n", version(sample.request.version)), headers)
            }
            (Direction::Response, Some(response)) => (format!("{} {} \r\n", version(response.version), response.status), &response.headers),
            (Direction::Response, None) => return Vec::new(),
        };
        let lines = headers.iter().flat_map(|header| [header.name.as_bytes(), b": ", &header.value, b"\r\n"]);
        [start_line.as_bytes()].into_iter().chain(lines).flatten().copied().collect()
    }

    pub(crate) fn header(&self, of: Direction, name: &str) -> Option<Vec<u8>> {
        self.with_headers(of, |headers| text::first(headers, name).map(<[u8]>::to_vec)).ok().flatten()
    }

    pub(crate) fn header_text(&self, of: Direction, name: &str) -> Option<String> {
        self.header(of, name).map(|value| text::utf8_or_latin1(&value).into_owned())
    }

    pub(crate) fn trailers(&self, of: Direction) -> Vec<Header> {
        self.0.borrow().trailers[of as usize].clone()
    }

    pub(crate) fn body_info(&self, of: Direction) -> BodyInfo {
        self.0.borrow().bodies[of as usize].1
    }

    pub(crate) fn body(&self, of: Direction) -> Vec<u8> {
        self.0.borrow().bodies[of as usize].0.clone()
    }

    pub(crate) fn body_text(&self, of: Direction) -> String {
        String::from_utf8_lossy(&self.body(of)).into_owned()
    }

    pub(crate) fn read_body(&self, of: Direction, offset: u32, max: u32) -> Vec<u8> {
        self.body(of).into_iter().skip(offset as usize).take(max as usize).collect()
    }

    pub(crate) fn held_messages(&self, first: u32, max: u32) -> Vec<MessageRecord> {
        let (mut octets, mut held) = (0, Vec::new());
        for message in self.0.borrow().messages.iter().filter(|message| message.sequence >= u64::from(first)) {
            octets += message.content.len();
            if octets > max as usize && !held.is_empty() {
                break;
            }
            held.push(message.clone());
        }
        held
    }

    pub(crate) fn release_messages(&self, before: u32) {
        self.0.borrow_mut().messages.retain(|message| message.sequence >= u64::from(before));
    }

    pub(crate) fn timings(&self) -> Timings {
        self.0.borrow().timings
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.0.borrow().outcome.clone()
    }

    pub(crate) fn set_header(&self, of: Direction, name: &str, value: &[u8]) -> Result<(), String> {
        self.with_headers(of, |headers| {
            let place = headers.iter().position(|header| header.name.eq_ignore_ascii_case(name)).unwrap_or(headers.len());
            headers.retain(|header| !header.name.eq_ignore_ascii_case(name));
            headers.insert(place.min(headers.len()), Header::new(name, value));
        })
    }

    pub(crate) fn add_header(&self, of: Direction, name: &str, value: &[u8]) -> Result<(), String> {
        self.with_headers(of, |headers| headers.push(Header::new(name, value)))
    }

    pub(crate) fn remove_header(&self, of: Direction, name: &str) -> Result<(), String> {
        self.with_headers(of, |headers| headers.retain(|header| !header.name.eq_ignore_ascii_case(name)))
    }

    pub(crate) fn set_method(&self, method: &str) -> Result<(), String> {
        method.clone_into(&mut self.0.borrow_mut().request.method);
        Ok(())
    }

    pub(crate) fn set_path(&self, path: &str) -> Result<(), String> {
        path.clone_into(&mut self.0.borrow_mut().request.path);
        Ok(())
    }

    pub(crate) fn set_status(&self, status: u16) -> Result<(), String> {
        match &mut self.0.borrow_mut().response {
            Some(response) => response.status = status,
            None => return Err(NO_RESPONSE.to_owned()),
        }
        Ok(())
    }

    pub(crate) fn send_to(&self, origin: &Origin) -> Result<(), String> {
        self.0.borrow_mut().sent_to = Some(origin.clone());
        Ok(())
    }

    pub(crate) fn set_body(&self, of: Direction, body: &[u8]) -> Result<(), String> {
        let length = body.len() as u64;
        self.0.borrow_mut().bodies[of as usize] =
            (body.to_vec(), BodyInfo { length, wire_length: length, truncated: false, decoded: true });
        Ok(())
    }

    pub(crate) fn tag(&self, key: &str) -> Option<String> {
        self.0.borrow().tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    pub(crate) fn set_tag(&self, key: &str, value: &str) {
        let tags = &mut self.0.borrow_mut().tags;
        tags.retain(|(name, _)| name != key);
        tags.push((key.to_owned(), value.to_owned()));
    }

    fn with_headers<R>(&self, of: Direction, act: impl FnOnce(&mut Vec<Header>) -> R) -> Result<R, String> {
        let mut sample = self.0.borrow_mut();
        match of {
            Direction::Request => Ok(act(&mut sample.request.headers)),
            Direction::Response => match &mut sample.response {
                Some(response) => Ok(act(&mut response.headers)),
                None => Err(NO_RESPONSE.to_owned()),
            },
        }
    }
}

const NO_RESPONSE: &str = "there is no response yet";
