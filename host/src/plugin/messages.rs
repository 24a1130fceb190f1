//! The WebSocket messages of one flow on their way through its plugins.
//!
//! Place: what `course` answers when a flow has switched; asked and told by `exchange::websocket`. Filters are asked on the path, one call at
//! a time about one flow. Observers are told off the path, each through a queue of the flow's own, so that one flow's messages keep their
//! order and its end comes last, in whichever instances; what the flow occupies in it is bounded per plugin.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{
        Mutex, OwnedSemaphorePermit, Semaphore,
        mpsc::{self, Receiver, Sender},
    },
    time::timeout,
};

use super::{
    bindings::exports::flowgate::plugin::message_filter::{Message as GuestMessage, MessageAction},
    build::Build,
    capability::context::Shown,
    course::Wanted,
    held::{Held, Told},
    hook::Hook,
    instance::Failure,
    journal::Page,
    observe::{Heard, Shared, View, caught},
    set::Set,
    settings::{Limits, OnFailure},
};
use crate::{
    flow::{Direction, Message, PassedMessage, SharedFlow, lock},
    hooks::{BoxFuture, MessageNeeds, MessageVerdict, Messages},
    tasks::Tasks,
};

/// RFC 6455 §7.4.1: the message is too big to process.
const TOO_BIG: u16 = 1009;
/// RFC 6455 §7.4.1: the server met something unexpected.
const FAILED: u16 = 1011;

/// See the module.
pub(super) struct Conversation {
    set: Arc<Set>,
    flow: SharedFlow,
    page: Arc<Page>,
    needs: MessageNeeds,
    /// In order.
    filters: Vec<Filter>,
    listeners: Vec<Listener>,
    asking: Mutex<()>,
    /// The sequence of the next message.
    next: Mutex<u64>,
}

struct Filter {
    /// Its place in the set.
    at: usize,
    /// Most octets of a message it may hold.
    limit: usize,
}

/// What all flows of one build share on their way to its observer.
pub(super) struct Crowd {
    build: Arc<Build>,
    view: View,
    tasks: Tasks,
    /// Calls at a time.
    turns: Arc<Semaphore>,
    octets: Arc<Semaphore>,
    most_octets: u32,
    /// Messages per flow.
    places: usize,
    patience: Duration,
    /// It does not keep up: said already.
    is_crowded: AtomicBool,
    /// Flows it does not keep up with.
    behind: AtomicUsize,
}

/// The way to one observer.
struct Listener {
    crowd: Arc<Crowd>,
    limit: usize,
    queue: Sender<Queued>,
    /// It does not keep up with this flow: no message waits for a place until one is free at once.
    is_behind: AtomicBool,
}

struct Queued {
    told: Told,
    heard: Arc<Heard>,
    _octets: OwnedSemaphorePermit,
}

/// What is needed to tell an observer of one flow.
struct Telling {
    shared: Arc<Shared>,
    shown: Shown,
    /// Octets of a message that it sees.
    limit: usize,
    page: Arc<Page>,
    /// `None`: it never asks for them.
    held: Option<Arc<Held>>,
    /// It is told of the flow's end.
    ends: bool,
}

impl Conversation {
    /// Of those who want the flow, with the rules that count for its response, those who want its messages. They hear of its end when the
    /// messages have.
    pub(super) fn open(
        set: &Arc<Set>,
        flow: &SharedFlow,
        page: &Arc<Page>,
        wanted: &mut [Wanted],
        media_type: Option<&str>,
    ) -> Option<Self> {
        let (mut filters, mut listeners, mut needs) = (Vec::new(), Vec::new(), MessageNeeds::default());
        let shared = Shared::new(flow.clone());
        for wanted in wanted {
            let serving = &set.plugins[wanted.at];
            let build = &serving.build;
            if !build.filters_messages && !build.observes_messages {
                continue;
            }
            let Some(rule) = build.rules.deciding(wanted.matched, media_type) else { continue };
            if build.filters_messages {
                needs.filter = needs.filter.max(Some(rule.limit));
                filters.push(Filter { at: wanted.at, limit: rule.limit });
            }
            // A flow that found no place among the observed is not observed here either.
            let ends = wanted.place.take().is_some();
            if let Some(observers) = &serving.observers
                && (ends || !build.observes)
            {
                let held = build.keeps_messages.then(|| Arc::new(Held::new(rule.limit, lock(flow).charge())));
                let shown = super::course::shown(rule);
                let telling = Telling { shared: shared.clone(), shown, limit: rule.limit, page: page.clone(), held, ends };
                listeners.push(observers.crowd().listen(rule.limit, telling));
                if build.observes_messages {
                    needs.observe = needs.observe.max(Some(rule.limit));
                }
            }
        }
        if filters.is_empty() && listeners.is_empty() {
            return None;
        }
        let (set, flow, page) = (set.clone(), flow.clone(), page.clone());
        Some(Self { set, flow, page, needs, filters, listeners, asking: Mutex::default(), next: Mutex::default() })
    }

    async fn ask(&self, of: Direction, message: Message) -> MessageVerdict {
        // One call at a time about one flow, in both directions together.
        let _asking = self.asking.lock().await;
        let (mut now, mut is_changed) = (message, false);
        for at in 0..self.filters.len() {
            let filter = match of {
                Direction::Request => &self.filters[at],
                Direction::Response => &self.filters[self.filters.len() - 1 - at],
            };
            let build = &*self.set.plugins[filter.at].build;
            if now.content.len() > filter.limit {
                match build.on_failure {
                    OnFailure::Pass => continue,
                    OnFailure::Refuse => return MessageVerdict::Close(TOO_BIG),
                }
            }
            match build.ask_message(&self.flow, of, &now, &self.page).await {
                Ok(MessageVerdict::Pass) => {}
                Ok(MessageVerdict::Replace(other)) => (now, is_changed) = (other, true),
                Ok(verdict) => return verdict,
                Err(failure) => {
                    if build.failed(Hook::Message, &self.flow, failure).is_err() {
                        return MessageVerdict::Close(FAILED);
                    }
                }
            }
        }
        if is_changed { MessageVerdict::Replace(now) } else { MessageVerdict::Pass }
    }

    /// What becomes of a message that filters are not asked about.
    fn unasked(&self, code: u16) -> MessageVerdict {
        let refuses = |filter: &Filter| self.set.plugins[filter.at].build.on_failure == OnFailure::Refuse;
        if self.filters.iter().any(refuses) { MessageVerdict::Close(code) } else { MessageVerdict::Pass }
    }

    async fn tell(&self, message: PassedMessage) {
        let at = lock(&self.flow).timings.micros(message.at);
        // Held until every queue has it: both directions count together.
        let mut next = self.next.lock().await;
        let sequence = *next;
        *next += 1;
        let heard = Heard::new(message.content.clone());
        for listener in self.listeners.iter().filter(|listener| listener.crowd.build.observes_messages) {
            let content = message.content.slice(..message.content.len().min(listener.limit));
            let PassedMessage { sent, kind, length, .. } = message;
            listener.send(Told { sent, kind, at, sequence, length, content }, heard.clone()).await;
        }
    }
}

impl Messages for Conversation {
    fn needs(&self) -> MessageNeeds {
        self.needs
    }

    fn filter(&self, of: Direction, message: Message) -> BoxFuture<'_, MessageVerdict> {
        Box::pin(self.ask(of, message))
    }

    fn overflow(&self, _: Direction) -> MessageVerdict {
        self.unasked(TOO_BIG)
    }

    fn unreadable(&self) -> MessageVerdict {
        self.unasked(FAILED)
    }

    fn passed(&self, message: PassedMessage) -> BoxFuture<'_, ()> {
        Box::pin(self.tell(message))
    }
}

impl Crowd {
    /// `turns`: calls of the build's observer at a time, those about ended flows among them.
    pub(super) fn new(build: Arc<Build>, turns: Arc<Semaphore>, limits: &Limits, view: View, tasks: &Tasks) -> Self {
        let most_octets = u32::try_from(limits.message_bytes).unwrap_or(u32::MAX).max(1);
        Self {
            build,
            view,
            tasks: tasks.clone(),
            turns,
            octets: Arc::new(Semaphore::new(most_octets as usize)),
            most_octets,
            places: limits.messages.max(1),
            patience: limits.patience,
            is_crowded: AtomicBool::new(false),
            behind: AtomicUsize::new(0),
        }
    }

    /// Resolves when all messages have been told of that were sent on until now.
    pub(super) async fn idle(&self) {
        // Never closed. Each message holds its octets until it has been told of.
        let _all = self.octets.acquire_many(self.most_octets).await;
    }

    /// So few messages wait, of all flows, that it keeps up again: said once. One free place says nothing: while it does not keep up, they come
    /// and go.
    fn catch_up(&self) {
        if self.is_crowded.load(Ordering::Relaxed)
            && self.behind.load(Ordering::Relaxed) == 0
            && self.octets.available_permits() * 2 >= self.most_octets as usize
            && self.is_crowded.swap(false, Ordering::Relaxed)
        {
            let missed = self.build.tally.missed.load(Ordering::Relaxed);
            tracing::info!(plugin = self.build.info.name, missed, "the plugin keeps up with WebSocket messages again");
        }
    }

    /// A queue for one flow, and a task that empties it and ends with it.
    fn listen(self: &Arc<Self>, limit: usize, telling: Telling) -> Listener {
        let (queue, queued) = mpsc::channel(self.places);
        self.tasks.spawn(tell(self.clone(), queued, telling));
        Listener { crowd: self.clone(), limit, queue, is_behind: AtomicBool::new(false) }
    }
}

impl Listener {
    /// Full: waits for a place within the bound, then the message goes unobserved, and is counted.
    async fn send(&self, told: Told, heard: Arc<Heard>) {
        let crowd = &*self.crowd;
        // What it holds, not what it sees of it.
        let octets = u32::try_from(heard.len()).unwrap_or(u32::MAX).clamp(1, crowd.most_octets);
        let place = async {
            let octets = crowd.octets.clone().acquire_many_owned(octets).await.ok()?;
            let place = self.queue.reserve().await.ok()?;
            Some((octets, place))
        };
        let patience = if self.is_behind.load(Ordering::Relaxed) { Duration::ZERO } else { crowd.patience };
        match timeout(patience, place).await {
            Ok(Some((octets, place))) => {
                self.falls_behind(false);
                crowd.catch_up();
                place.send(Queued { told, heard, _octets: octets });
            }
            Ok(None) | Err(_) => {
                self.falls_behind(true);
                crowd.build.tally.missed.fetch_add(1, Ordering::Relaxed);
                if !crowd.is_crowded.swap(true, Ordering::Relaxed) {
                    tracing::error!(plugin = crowd.build.info.name, "the plugin does not keep up: WebSocket messages pass unobserved");
                }
            }
        }
    }

    fn falls_behind(&self, now: bool) {
        match (self.is_behind.swap(now, Ordering::Relaxed), now) {
            (false, true) => self.crowd.behind.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.crowd.behind.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.falls_behind(false);
    }
}

/// Tells of one flow's messages in their order, and of its end when the connection has gone.
async fn tell(crowd: Arc<Crowd>, mut queued: Receiver<Queued>, telling: Telling) {
    let Crowd { build, view, tasks, turns, .. } = &*crowd;
    while let Some(Queued { mut told, heard, _octets }) = queued.recv().await {
        let telling = async {
            // Nothing of it changes any more but its tags.
            let flow = view.of(&telling.shared, tasks).await;
            told.show(view.of_message(&heard, tasks).await, heard.len(), telling.limit);
            // Never closed.
            let _turn = turns.acquire().await;
            build.tell_message(told, &flow, &telling).await;
        };
        if caught(telling).await.is_none() {
            build.tally.missed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(plugin = build.info.name, "a WebSocket message is not observed: the proxy failed in telling of it");
        }
    }
    if telling.ends {
        let telling = async {
            let flow = view.of(&telling.shared, tasks).await;
            let _turn = turns.acquire().await;
            build.tell_end(&flow, telling.shown, telling.held.as_ref(), &telling.page).await;
        };
        if caught(telling).await.is_none() {
            build.lose_flow();
        }
    }
}

impl Build {
    async fn ask_message(&self, flow: &SharedFlow, of: Direction, message: &Message, page: &Page) -> Result<MessageVerdict, Failure> {
        let call = self.in_instance(async |instance| {
            let action = instance.on_message(flow, of, guest_message(message)).await?;
            verdict(action).map_err(Failure::Answer)
        });
        self.asked(Hook::Message, page, call, said).await
    }

    /// Once: what an observer fails to hear of a message is lost, and counted.
    async fn tell_message(&self, told: Told, flow: &SharedFlow, telling: &Telling) {
        if let Some(held) = &telling.held {
            held.push(told.clone());
        }
        let call = async {
            let mut instance = self.pool.for_observer().await?;
            instance.on_message_passed(flow, told, telling.shown, telling.held.as_ref()).await?;
            instance.give_back();
            Ok(((), Vec::new()))
        };
        let told = self.asked(Hook::MessagePassed, &telling.page, call, |()| "observed".into()).await;
        if let Some(held) = &telling.held {
            held.settle();
        }
        if let Err(failure) = told {
            self.report(Hook::MessagePassed, flow, &failure);
            self.tally.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Octets that are called text and are none arrive as they are.
fn guest_message(message: &Message) -> GuestMessage {
    match std::str::from_utf8(&message.content) {
        Ok(text) if message.is_text => GuestMessage::Text(text.to_owned()),
        _ => GuestMessage::Binary(message.content.to_vec()),
    }
}

fn verdict(action: Option<MessageAction>) -> Result<MessageVerdict, String> {
    Ok(match action {
        None | Some(MessageAction::Pass) => MessageVerdict::Pass,
        Some(MessageAction::Replace(GuestMessage::Text(text))) => {
            MessageVerdict::Replace(Message { is_text: true, content: Bytes::from(text) })
        }
        Some(MessageAction::Replace(GuestMessage::Binary(octets))) => {
            MessageVerdict::Replace(Message { is_text: false, content: Bytes::from(octets) })
        }
        Some(MessageAction::Discard) => MessageVerdict::Discard,
        // RFC 6455 §7.4.1: the others are for no frame, or for nobody yet.
        Some(MessageAction::Close(code @ (1000..=1003 | 1007..=1014 | 3000..=4999))) => MessageVerdict::Close(code),
        Some(MessageAction::Close(code)) => return Err(format!("{code} is no status code that a close frame may have")),
    })
}

fn said(verdict: &MessageVerdict) -> Cow<'static, str> {
    match verdict {
        MessageVerdict::Pass => "pass".into(),
        MessageVerdict::Replace(_) => "replace".into(),
        MessageVerdict::Discard => "discard".into(),
        MessageVerdict::Close(code) => format!("close {code}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_checked() {
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert_eq!(verdict(Some(MessageAction::Close(code))), Ok(MessageVerdict::Close(code)));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(verdict(Some(MessageAction::Close(code))).is_err(), "{code}");
        }
    }

    #[test]
    fn text_that_is_none_is_shown_as_octets() {
        let message = |is_text, content: &'static [u8]| guest_message(&Message { is_text, content: Bytes::from_static(content) });

        assert_eq!(message(true, "ü".as_bytes()), GuestMessage::Text("ü".into()));
        assert_eq!(message(true, b"\xfc"), GuestMessage::Binary(b"\xfc".to_vec()));
        assert_eq!(message(false, b"a"), GuestMessage::Binary(b"a".to_vec()));
    }
}
