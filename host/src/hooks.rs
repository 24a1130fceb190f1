//! The port between the way of a flow and whatever decides about it.
//!
//! Place: `net` and `exchange` ask, `plugin` answers; a test may answer natively. Neither side knows the other.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;

use crate::flow::{Authority, Direction, Fields, LocalResponse, Message, PassedMessage, Refusal, ResponseHead, Scope, SharedFlow};

/// A boxed future: allocated only for flows that some plugin wants.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What decides about flows.
pub trait Hooks: Send + Sync + 'static {
    /// Whether any plugin may want flows to that host. If none does, its tunnels are spliced. `host` is a name or an IP literal without
    /// brackets, in any case of letters.
    fn wants_host(&self, host: &str) -> bool;

    /// What becomes of an admitted CONNECT, before the client hears of it; `None` (without having allocated) where nobody has a say.
    ///
    /// # Errors
    /// [`Refusal::PluginFailed`] where a filter failed whose failure refuses the tunnel.
    fn connect<'a>(&'a self, scope: &'a Scope, authority: &'a Authority) -> Option<BoxFuture<'a, Result<Passage, Refusal>>> {
        let _ = (scope, authority);
        None
    }

    /// The plugins that want this flow, pinned until it ends; `None` (without having allocated) where there are none.
    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>>;
}

/// No plugins at all.
impl Hooks for () {
    fn wants_host(&self, _: &str) -> bool {
        false
    }

    fn open(&self, _: &Probe<'_>) -> Option<Box<dyn Course>> {
        None
    }
}

impl<H: Hooks + ?Sized> Hooks for Arc<H> {
    fn wants_host(&self, host: &str) -> bool {
        (**self).wants_host(host)
    }

    fn connect<'a>(&'a self, scope: &'a Scope, authority: &'a Authority) -> Option<BoxFuture<'a, Result<Passage, Refusal>>> {
        (**self).connect(scope, authority)
    }

    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>> {
        (**self).open(request)
    }
}

/// What was decided about a tunnel.
#[derive(Debug)]
pub enum Passage {
    /// As configured.
    Proceed,
    /// Octets are relayed unseen; nothing inside is asked about.
    Splice,
    /// The client gets this in place of a tunnel.
    Reject {
        /// The plugin's name.
        by: String,
        /// What to send; never of a status that would mean a tunnel.
        response: LocalResponse,
    },
}

/// What rules are matched against before anything is built.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Host of the origin, without port and brackets.
    pub host: &'a str,
    /// As sent.
    pub method: &'a Method,
    /// Path with query, as sent.
    pub path: &'a [u8],
}

/// One flow's way through the plugins that want it. Methods are called in the order they stand here.
pub trait Course: Send {
    /// Places in the observers' queues, if they could not be had at once. Waits within a bound of its own and then goes without.
    fn reserve(&mut self) -> Option<BoxFuture<'_, ()>>;

    /// How the request's content is wanted.
    fn request_needs(&self) -> Needs;

    /// The flow has begun, and stands as the client sent it: whoever is to hear of its contents as they come off the wire.
    fn begun(&mut self, flow: &SharedFlow) -> Option<Arc<dyn Tap>> {
        let _ = flow;
        None
    }

    /// Request filters, in order, from where the last call stopped. `body_held`: the whole content is in the flow.
    ///
    /// # Errors
    /// [`Refusal::PluginFailed`] where a filter failed whose failure refuses the flow.
    fn request<'a>(&'a mut self, flow: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>>;

    /// The request's content is larger than [`Needs::whole`] or [`Verdict::NeedBody`] allowed; it passes unfiltered unless a plugin that
    /// refuses on failure had asked for it.
    ///
    /// # Errors
    /// [`Refusal::ContentTooLarge`] for a request, [`Refusal::PluginFailed`] for a response.
    fn overflow(&mut self, of: Direction) -> Result<(), Refusal> {
        let _ = of;
        Ok(())
    }

    /// How the response's content is wanted, now that its head is known. Called once.
    fn response_needs(&mut self, response: &ResponseHead) -> Needs;

    /// Response filters, in reverse order, from where the last call stopped.
    ///
    /// # Errors
    /// As for [`Course::request`].
    fn response<'a>(&'a mut self, flow: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>>;

    /// The response has switched to WebSocket (RFC 6455): the plugins that want its messages; `None`: nobody does, and the flow ends here.
    /// Called once, after [`Course::response_needs`].
    fn messages(&mut self, flow: &SharedFlow) -> Option<Arc<dyn Messages>> {
        let _ = flow;
        None
    }

    /// Whether plugins want that message's content piece by piece. Called after its filters; allocates nothing.
    fn wants_chunks(&self, of: Direction) -> bool {
        let _ = of;
        false
    }

    /// They cannot have it, and `why`; it passes unseen by them unless one of them refuses on failure.
    ///
    /// # Errors
    /// [`Refusal::PluginFailed`].
    fn without_chunks(&mut self, flow: &SharedFlow, of: Direction, why: &str) -> Result<(), Refusal> {
        let _ = (flow, of, why);
        Ok(())
    }

    /// The content begins, its head not yet sent; `None`: nobody wants it after all.
    ///
    /// # Errors
    /// As for [`Course::request`].
    fn chunks<'a>(&'a mut self, flow: &'a SharedFlow, of: Direction) -> BoxFuture<'a, Result<Option<Box<dyn Chunks>>, Refusal>> {
        let _ = (flow, of);
        Box::pin(async { Ok(None) })
    }

    /// The flow has ended; observers get it. Neither waits nor blocks.
    fn end(self: Box<Self>, flow: SharedFlow);
}

/// The WebSocket messages of one flow on their way through the plugins that want them. Both directions share it; it keeps their order itself.
/// When it is dropped, the connection has ended.
pub trait Messages: Send + Sync + 'static {
    /// How messages are wanted.
    fn needs(&self) -> MessageNeeds;

    /// Filters, in order for what a client sent and in reverse for what an origin did.
    fn filter(&self, of: Direction, message: Message) -> BoxFuture<'_, MessageVerdict>;

    /// A message is longer than [`MessageNeeds::filter`].
    fn overflow(&self, of: Direction) -> MessageVerdict;

    /// What passes cannot be read as messages, so that no filter can be asked about it.
    fn unreadable(&self) -> MessageVerdict;

    /// A message was sent on. Waits within a bound for a place among the observed, and then goes without.
    fn passed(&self, message: PassedMessage) -> BoxFuture<'_, ()>;
}

/// How the plugins of one flow want its WebSocket messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageNeeds {
    /// Some filter is to be asked about messages of up to so many octets.
    pub filter: Option<usize>,
    /// Somebody wants to be told of messages, and of so many octets of each.
    pub observe: Option<usize>,
}

/// What filters decided about a WebSocket message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MessageVerdict {
    /// Send it on as it came.
    Pass,
    /// Send this in its place.
    Replace(Message),
    /// Send nothing.
    Discard,
    /// Close the connection both ways, with that status code (RFC 6455 §7.4).
    Close(u16),
}

/// The trace of a flow, told of what happens to it. Neither waits nor blocks.
pub trait Trace: fmt::Debug + Send + Sync + 'static {
    /// A call of that hook of a plugin came back, now.
    fn hook(&self, plugin: &str, hook: &'static str, took: Duration, failed: bool);
}

/// Hears of contents as they come off the wire, before any plugin does. Neither waits nor blocks.
pub trait Tap: Send + Sync + 'static {
    /// A piece of that message's content has arrived.
    fn piece(&self, of: Direction, octets: &Bytes);

    /// All of it has.
    fn end(&self, of: Direction, trailers: &Fields);
}

/// The content of one message on its way through the plugins that want it piece by piece. Dropped before it is [`Next::Over`], the plugins
/// are told that it broke off.
pub trait Chunks: Send {
    /// Takes in what has arrived, content codings undone. Whatever was there before has been asked for with [`Chunks::next`].
    fn feed(&mut self, piece: Bytes);

    /// No more arrives.
    fn end(&mut self);

    /// What comes of it.
    ///
    /// # Errors
    /// [`Refusal::PluginFailed`] where a filter failed whose failure refuses the flow: the message must not seem to have ended well.
    fn next(&mut self) -> BoxFuture<'_, Result<Next, Refusal>>;
}

/// What comes of content.
#[derive(Debug, Eq, PartialEq)]
pub enum Next {
    /// Octets to forward, never none.
    Forward(Bytes),
    /// Nothing more until more arrives.
    Hungry,
    /// The message ends here, well, whatever else may arrive.
    Over,
}

/// How the plugins of one flow want to meet one message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Some filter wants to be asked about this message.
    pub filter: bool,
    /// Octets of content to keep for observers; 0: none.
    pub capture: usize,
    /// Hold the message back until its content is complete, up to so many octets.
    pub whole: Option<usize>,
}

/// What filters decided about a message.
#[derive(Debug)]
pub enum Verdict {
    /// Send it on as it now stands.
    Proceed,
    /// Answer the client with this instead.
    Answer {
        /// The plugin's name.
        by: String,
        /// What to send.
        response: LocalResponse,
    },
    /// Hold the content, at most so many octets, and ask again.
    NeedBody {
        /// Most octets to hold.
        limit: usize,
    },
    /// Close the client's stream without an answer.
    Disconnect,
}
