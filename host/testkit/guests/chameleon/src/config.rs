//! The switches.

use flowgate_guest::{BodyMode, Framing};
use serde::Deserialize;

use crate::errands::Errand;

/// Every switch of the guest; each may be left out, and then nothing is done. `{}` subscribes to every flow, skips
/// bodies and lets everything proceed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the registration; must equal the stem of the file. Default `chameleon`.
    pub(crate) name: String,
    /// Version in the registration, in the journal and in tags. Default `1`.
    pub(crate) version: String,
    /// What `configure` does.
    pub(crate) configure: Start,

    /// Only these hosts (globs).
    pub(crate) hosts: Vec<String>,
    /// Only these paths (globs).
    pub(crate) paths: Vec<String>,
    /// Only these methods.
    pub(crate) methods: Vec<String>,
    /// Only responses of these media types.
    pub(crate) content_types: Vec<String>,
    /// `skip` (default), `capture`, `chunks` or `whole`.
    pub(crate) request_body: Body,
    /// The same for the response.
    pub(crate) response_body: Body,
    /// How `chunks` are cut: `as-received` (default) or `sse-events`.
    pub(crate) framing: Cut,
    /// Most octets per body; 0 (default) is the host's own.
    pub(crate) limit: u32,
    /// One instance only.
    pub(crate) singleton: bool,

    /// What `on-connect` does: `splice`, `answer` (rejects the tunnel with that) or any misdeed.
    pub(crate) on_connect: Acts,
    /// What `on-request` does: one act or a list, in order. Of `answer`, `disconnect` and `need-body` the last one is returned.
    pub(crate) on_request: Acts,
    /// The same in a component with `MARKED` written in the place of [`MARK`](crate::MARK), which does this instead: a build that behaves otherwise.
    pub(crate) on_request_if_marked: Acts,
    /// Calls of capabilities in `on-request`, before it acts.
    pub(crate) errands: Vec<Errand>,
    /// The same in `configure`.
    pub(crate) first_errands: Vec<Errand>,
    /// The same in `on-flow-end`, except that nobody is told what came of them.
    pub(crate) last_errands: Vec<Errand>,
    /// What `on-response` does.
    pub(crate) on_response: Acts,
    /// What `on-message-passed` does, from the message of that sequence on: `proceed` (default) or any misdeed.
    pub(crate) on_message_passed: Misdeed,
    /// See [`Config::on_message_passed`].
    pub(crate) passed_at: u64,
    /// A record that `on-message-passed` appends a line to: `<sequence> <sender> <kind> <length> <content>`, and `on-flow-end` the line `end`,
    /// with the messages still held behind it.
    pub(crate) messages: Option<String>,
    /// What `on-body-start` does: `decline` (leaves the body alone) or any misdeed.
    pub(crate) on_body_start: Acts,
    /// What `on-chunk` does: `drop`, `finish` (with `tail`), `flood` or any misdeed; else `word` is replaced.
    pub(crate) on_chunk: Acts,
    /// Only to the chunk of that number of each body, counted from 0.
    pub(crate) at_chunk: Option<u64>,
    /// A word in chunks, and what is put in its place.
    pub(crate) word: Option<(String, String)>,
    /// What `on-body-end` does: `append` (`tail`), `flood` or any misdeed.
    pub(crate) on_body_end: Acts,
    /// For `append` and `finish`. Default empty.
    pub(crate) tail: String,
    /// What `on-flow-end` does; changes are for the host to refuse.
    pub(crate) on_flow_end: Acts,
    /// What `save` does: `flood` (hands over `leak_bytes` octets) or any misdeed; else it hands over how many calls it has seen.
    pub(crate) on_save: Acts,
    /// What `restore` does, when it has taken the number: `decline` (returns an error) or any misdeed.
    pub(crate) on_restore: Acts,

    /// Name and value for `set-header`, `add-header`, `remove-header`, and in answers. Default `x-chameleon: 1`.
    pub(crate) header: (String, String),
    /// For `set-status` and `answer`. Default 200.
    pub(crate) status: u16,
    /// For `set-body` and `answer`. Default `told to answer`.
    pub(crate) body: String,
    /// So many octets more in each body that is set or answered. Default 0.
    pub(crate) swollen: usize,
    /// For `set-method`. Default `PUT`.
    pub(crate) method: String,
    /// For `set-path`. Default `/told`.
    pub(crate) path: String,
    /// For `send-to`: scheme, host, port.
    pub(crate) send_to: (String, String, u16),
    /// For `leak` and `flood`, per act. Default 1 MiB.
    pub(crate) leak_bytes: usize,

    /// Paths to keep a record at in `on-flow-end`; what comes of each is a log line `record "<path>": kept` or with the error.
    pub(crate) records: Vec<String>,
    /// Size of each of these. Default 1.
    pub(crate) record_bytes: usize,
    /// `create-new` (default), `replace` or `append`.
    pub(crate) write_mode: Mode,
    /// A record that each hook appends a line to, before it acts:
    /// `<hook> <url> version=<version> call=<n in this instance> held=<bool> request=<octets held> response=<octets held> <outcome>`.
    pub(crate) journal: Option<String>,
    /// So many log lines in each hook, before it acts.
    pub(crate) log_lines: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "chameleon".to_owned(),
            version: "1".to_owned(),
            configure: Start::default(),
            hosts: Vec::new(),
            paths: Vec::new(),
            methods: Vec::new(),
            content_types: Vec::new(),
            request_body: Body::default(),
            response_body: Body::default(),
            framing: Cut::default(),
            limit: 0,
            singleton: false,
            on_connect: Acts::default(),
            on_request: Acts::default(),
            on_request_if_marked: Acts::default(),
            errands: Vec::new(),
            first_errands: Vec::new(),
            last_errands: Vec::new(),
            on_response: Acts::default(),
            on_message_passed: Misdeed::default(),
            passed_at: 0,
            messages: None,
            on_body_start: Acts::default(),
            on_chunk: Acts::default(),
            at_chunk: None,
            word: None,
            on_body_end: Acts::default(),
            tail: String::new(),
            on_flow_end: Acts::default(),
            on_save: Acts::default(),
            on_restore: Acts::default(),
            header: ("x-chameleon".to_owned(), "1".to_owned()),
            status: 200,
            body: "told to answer".to_owned(),
            swollen: 0,
            method: "PUT".to_owned(),
            path: "/told".to_owned(),
            send_to: ("https".to_owned(), "localhost".to_owned(), 443),
            leak_bytes: 1 << 20,
            records: Vec::new(),
            record_bytes: 1,
            write_mode: Mode::default(),
            journal: None,
            log_lines: 0,
        }
    }
}

/// What `on-message-passed` does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Misdeed {
    /// Nothing.
    #[default]
    Proceed,
    /// Panics.
    Trap,
    /// Computes for ever.
    Spin,
    /// Takes memory until there is none.
    Hog,
    /// Waits for ever without computing.
    Sleep,
}

/// How `configure` goes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// As it should.
    #[default]
    Well,
    /// Returns an error.
    Fail,
    /// Panics.
    Trap,
    /// Computes for ever.
    Spin,
    /// Takes memory until there is none.
    Hog,
    /// Waits for ever without computing.
    Sleep,
    /// Registers differently each time.
    Lie,
}

/// What a hook does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Nothing.
    Proceed,
    /// Answers in the origin's place.
    Answer,
    /// Closes the client's stream.
    Disconnect,
    /// Has the tunnel relayed unseen.
    Splice,
    /// Wants nothing of the body.
    Decline,
    /// Takes the chunk out.
    Drop,
    /// Ends the message with `tail`.
    Finish,
    /// Appends `tail`.
    Append,
    /// Answers with `leak_bytes` octets.
    Flood,
    /// Asks for the body, until it is there.
    NeedBody,
    /// Panics.
    Trap,
    /// Computes for ever.
    Spin,
    /// Takes memory until there is none.
    Hog,
    /// Uses up the stack.
    Recurse,
    /// Waits for ever without computing.
    Sleep,
    /// Ends the process, as WASI lets a command do.
    Exit,
    /// Holds on to `leak_bytes` more in each call.
    Leak,
    /// Writes to standard output and error.
    Print,
    /// Changes of the flow; what the host says to each is a log line `<Act>: Ok(())` or `<Act>: Err("…")`.
    SetHeader,
    /// See [`Act::SetHeader`].
    AddHeader,
    /// See [`Act::SetHeader`].
    RemoveHeader,
    /// See [`Act::SetHeader`].
    SetBody,
    /// See [`Act::SetHeader`].
    SetMethod,
    /// See [`Act::SetHeader`].
    SetPath,
    /// See [`Act::SetHeader`].
    SetStatus,
    /// See [`Act::SetHeader`].
    SendTo,
    /// Attaches the tag `<name>.note` with the version as its value.
    Tag,
    /// Writes a log line `tag: Some("…")` with that tag.
    TellTag,
}

impl Act {
    /// It is an answer.
    fn decides(self) -> bool {
        use Act::{Answer, Append, Decline, Disconnect, Drop, Finish, Flood, NeedBody, Splice};
        matches!(self, Answer | Append | Decline | Disconnect | Drop | Finish | Flood | NeedBody | Splice)
    }
}

/// One act or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Acts {
    One(Act),
    Several(Vec<Act>),
}

impl Default for Acts {
    fn default() -> Self {
        Self::One(Act::Proceed)
    }
}

impl Acts {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Act> {
        match self {
            Self::One(act) => std::slice::from_ref(act),
            Self::Several(acts) => acts.as_slice(),
        }
        .iter()
        .copied()
    }

    /// What the hook returns.
    pub(crate) fn decision(&self) -> Act {
        self.iter().filter(|act| act.decides()).last().unwrap_or(Act::Proceed)
    }
}

/// How a body is met.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Body {
    #[default]
    Skip,
    Capture,
    Chunks,
    Whole,
}

impl From<Body> for BodyMode {
    fn from(body: Body) -> Self {
        match body {
            Body::Skip => Self::Skip,
            Body::Capture => Self::Capture,
            Body::Chunks => Self::Chunks,
            Body::Whole => Self::Whole,
        }
    }
}

/// How `chunks` are cut.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cut {
    #[default]
    AsReceived,
    SseEvents,
}

impl From<Cut> for Framing {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::AsReceived => Self::AsReceived,
            Cut::SseEvents => Self::SseEvents,
        }
    }
}

/// How records are written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    #[default]
    CreateNew,
    Replace,
    Append,
}
