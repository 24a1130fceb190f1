//! One flow's way through the plugins that want it.
//!
//! Place: the `Course` that `exchange` walks. Holds the set of plugins the flow began with.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    answer::Answer,
    build::Build,
    capability::context::Shown,
    cutter::Cutter,
    hook::Hook,
    instance::Failure,
    journal::{Journal, Page},
    messages::Conversation,
    observe::{Ended, Observers, Place, Shared},
    rules::{Body, Matched, Rule},
    set::Set,
    settings::OnFailure,
    stream::{self, Stage, Stream},
};
use crate::{
    flow::{Direction, Refusal, ResponseHead, SharedFlow, lock},
    hooks::{BoxFuture, Chunks, Course, Messages, Needs, Verdict},
    tasks::Tasks,
};

/// A plugin that wants the flow.
pub(super) struct Wanted {
    /// Its place in the set.
    pub(super) at: usize,
    pub(super) matched: Matched,
    pub(super) place: Option<Place>,
    /// It observes and has no place yet.
    is_waiting: bool,
    /// It said `need-body` about the message in question.
    asked_for_body: bool,
}

impl Wanted {
    pub(super) fn new(at: usize, matched: Matched, observers: Option<&Observers>) -> Self {
        let place = observers.and_then(Observers::try_reserve);
        Self { at, matched, is_waiting: observers.is_some() && place.is_none(), place, asked_for_body: false }
    }
}

/// See the module.
pub(super) struct Way {
    set: Arc<Set>,
    journal: Arc<Journal>,
    /// What is noted of this flow, once it is known.
    page: Option<Arc<Page>>,
    wanted: Vec<Wanted>,
    /// The request filter to ask next.
    request_at: usize,
    /// How many response filters are still to be asked; they are asked from the last to the first.
    responses_left: usize,
    /// Media type of the response that decided about rules.
    media_type: Option<String>,
    tasks: Tasks,
    /// Bodies whose plugins may not all know yet how they ended.
    telling: Vec<oneshot::Receiver<()>>,
}

/// What one filter's answer means for the others.
enum Step {
    Next,
    Stop(Verdict),
}

impl Way {
    /// `tasks`: what may outlive the flow.
    pub(super) fn new(set: Arc<Set>, journal: Arc<Journal>, wanted: Vec<Wanted>, tasks: Tasks) -> Self {
        let responses_left = wanted.len();
        Self { set, journal, page: None, request_at: 0, responses_left, wanted, media_type: None, tasks, telling: Vec::new() }
    }

    async fn reserve_all(&mut self) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.is_waiting) {
            wanted.is_waiting = false;
            if let Some(observers) = &self.set.plugins[wanted.at].observers {
                wanted.place = observers.reserve().await;
            }
        }
    }

    fn page(&mut self, flow: &SharedFlow) -> Arc<Page> {
        self.page.get_or_insert_with(|| self.journal.open(flow)).clone()
    }

    async fn filter_request(&mut self, flow: &SharedFlow, body_held: bool) -> Result<Verdict, Refusal> {
        let page = self.page(flow);
        while let Some(wanted) = self.wanted.get_mut(self.request_at) {
            let build = &*self.set.plugins[wanted.at].build;
            if let Some(asking) = Asking::request(build, wanted)
                && let Step::Stop(verdict) = asking.ask(flow, body_held, &page).await?
            {
                return Ok(verdict);
            }
            wanted.asked_for_body = false;
            self.request_at += 1;
        }
        Ok(Verdict::Proceed)
    }

    async fn filter_response(&mut self, flow: &SharedFlow, body_held: bool) -> Result<Verdict, Refusal> {
        let page = self.page(flow);
        while let Some(at) = self.responses_left.checked_sub(1) {
            let wanted = &mut self.wanted[at];
            let build = &*self.set.plugins[wanted.at].build;
            if let Some(asking) = Asking::response(build, wanted, self.media_type.as_deref())
                && let Step::Stop(verdict) = asking.ask(flow, body_held, &page).await?
            {
                return Ok(verdict);
            }
            wanted.asked_for_body = false;
            self.responses_left = at;
        }
        Ok(Verdict::Proceed)
    }

    /// The plugins that want the content piece by piece, in the order in which it passes them, and their rules.
    fn chunking(&self, of: Direction) -> impl Iterator<Item = (&Arc<Build>, &Rule)> {
        let last = self.wanted.len();
        (0..last).filter_map(move |at| {
            let wanted = &self.wanted[if of == Direction::Request { at } else { last - 1 - at }];
            let build = &self.set.plugins[wanted.at].build;
            let rule = match of {
                _ if !build.filters_streams => None,
                Direction::Request => build.rules.of(wanted.matched).next(),
                Direction::Response => build.rules.deciding(wanted.matched, self.media_type.as_deref()),
            };
            rule.filter(|rule| rule.body(of) == Body::Chunks).map(|rule| (build, rule))
        })
    }

    async fn begin_chunks(&mut self, flow: &SharedFlow, of: Direction) -> Result<Option<Box<dyn Chunks>>, Refusal> {
        let about = Arc::new(stream::About { flow: flow.clone(), of, page: self.page(flow), tasks: self.tasks.clone() });
        let are_events = lock(flow).media_type(of).is_some_and(|media_type| media_type == "text/event-stream");
        let (mut stream, heard) = Stream::new(about.clone());
        self.telling.push(heard);
        for (build, rule) in self.chunking(of) {
            let most = build.event_bytes.min(rule.limit);
            let cutter = Cutter::new((rule.by_events && are_events).then_some(most));
            match Stage::begin(build, &about, shown(rule), cutter).await {
                Ok(stage) => stage.into_iter().for_each(|stage| stream.push(stage)),
                Err(failure) => build.failed(Hook::BodyStart, flow, failure)?,
            }
        }
        Ok((!stream.is_empty()).then(|| Box::new(stream) as Box<dyn Chunks>))
    }
}

/// A filter that is to be asked about a message.
struct Asking<'a> {
    build: &'a Build,
    of: Direction,
    mode: Body,
    /// Most octets it may hold.
    limit: usize,
    shown: Shown,
    asked_for_body: &'a mut bool,
}

impl<'a> Asking<'a> {
    fn request(build: &'a Build, wanted: &'a mut Wanted) -> Option<Self> {
        if !build.filters_requests {
            return None;
        }
        let rule = build.rules.of(wanted.matched).next()?;
        Some(Self::new(build, Direction::Request, rule, &mut wanted.asked_for_body))
    }

    fn response(build: &'a Build, wanted: &'a mut Wanted, media_type: Option<&str>) -> Option<Self> {
        if !build.filters_responses {
            return None;
        }
        let rule = build.rules.deciding(wanted.matched, media_type)?;
        Some(Self::new(build, Direction::Response, rule, &mut wanted.asked_for_body))
    }

    fn new(build: &'a Build, of: Direction, rule: &Rule, asked_for_body: &'a mut bool) -> Self {
        Self { build, of, mode: rule.body(of), limit: rule.limit, shown: shown(rule), asked_for_body }
    }

    async fn ask(mut self, flow: &SharedFlow, body_held: bool, page: &Page) -> Result<Step, Refusal> {
        let wants_body = *self.asked_for_body || matches!(self.mode, Body::Whole(_));
        if wants_body {
            // It holds no more than it declared, even if another filter holds more.
            let fits = body_held && lock(flow).content(self.of).kept() <= self.limit;
            if !fits {
                return self.overflow().map(|()| Step::Next);
            }
        }
        if body_held {
            match self.of {
                Direction::Request => self.shown.request = self.limit,
                Direction::Response => self.shown.response = self.limit,
            }
        }
        match self.build.ask(self.of, flow, body_held, self.shown, page).await {
            Ok(answer) => Ok(self.step(answer)),
            Err(failure) => self.build.failed(Hook::about(self.of), flow, failure).map(|()| Step::Next),
        }
    }

    fn step(self, answer: Answer) -> Step {
        Step::Stop(match answer {
            Answer::Proceed => return Step::Next,
            Answer::Disconnect => Verdict::Disconnect,
            Answer::NeedBody => {
                *self.asked_for_body = true;
                Verdict::NeedBody { limit: self.limit }
            }
            Answer::Local(response) => Verdict::Answer { by: self.build.info.name.clone(), response },
        })
    }

    /// The message is larger than it may hold.
    fn overflow(&self) -> Result<(), Refusal> {
        if self.build.on_failure == OnFailure::Pass {
            return Ok(());
        }
        let (plugin, limit) = (self.build.info.name.clone(), self.limit);
        Err(match self.of {
            Direction::Request => Refusal::ContentTooLarge { plugin, limit },
            Direction::Response => Refusal::PluginFailed {
                plugin,
                hook: Hook::about(self.of).name(),
                source: anyhow::anyhow!("the content of the response is larger than the {limit} octets it may hold"),
            },
        })
    }
}

pub(super) fn shown(rule: &Rule) -> Shown {
    Shown { request: rule.request.limit(), response: rule.response.limit() }
}

impl Course for Way {
    fn reserve(&mut self) -> Option<BoxFuture<'_, ()>> {
        if !self.wanted.iter().any(|wanted| wanted.is_waiting) {
            return None;
        }
        Some(Box::pin(self.reserve_all()))
    }

    fn request_needs(&self) -> Needs {
        let mut needs = Needs::default();
        for wanted in &self.wanted {
            let build = &self.set.plugins[wanted.at].build;
            let mut rules = build.rules.of(wanted.matched);
            if wanted.place.is_some() {
                // Which of them counts is not known before the response.
                needs.capture = rules.map(|rule| rule.request.limit()).fold(needs.capture, usize::max);
                rules = build.rules.of(wanted.matched);
            }
            if build.filters_requests {
                needs.filter = true;
                if let Some(Body::Whole(limit)) = rules.next().map(|rule| rule.request) {
                    needs.whole = needs.whole.max(Some(limit));
                }
            }
        }
        needs
    }

    fn request<'a>(&'a mut self, flow: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(self.filter_request(flow, body_held))
    }

    fn overflow(&mut self, of: Direction) -> Result<(), Refusal> {
        let media_type = self.media_type.as_deref();
        let left = match of {
            Direction::Request => self.request_at..self.wanted.len(),
            Direction::Response => 0..self.responses_left,
        };
        for wanted in &mut self.wanted[left] {
            let build = &*self.set.plugins[wanted.at].build;
            let asking = match of {
                Direction::Request => Asking::request(build, wanted),
                Direction::Response => Asking::response(build, wanted, media_type),
            };
            if let Some(asking) = asking.filter(|asking| *asking.asked_for_body || matches!(asking.mode, Body::Whole(_))) {
                asking.overflow()?;
            }
        }
        Ok(())
    }

    fn response_needs(&mut self, response: &ResponseHead) -> Needs {
        let media_type = self.media_type.insert(response.media_type()).as_str();
        let mut needs = Needs::default();
        for wanted in &mut self.wanted {
            // About the request; a new message begins.
            wanted.asked_for_body = false;
            let build = &self.set.plugins[wanted.at].build;
            let Some(rule) = build.rules.deciding(wanted.matched, Some(media_type)) else { continue };
            if wanted.place.is_some() {
                needs.capture = needs.capture.max(rule.response.limit());
            }
            if build.filters_responses {
                needs.filter = true;
                if let Body::Whole(limit) = rule.response {
                    needs.whole = needs.whole.max(Some(limit));
                }
            }
        }
        needs
    }

    fn response<'a>(&'a mut self, flow: &'a SharedFlow, body_held: bool) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(self.filter_response(flow, body_held))
    }

    fn messages(&mut self, flow: &SharedFlow) -> Option<Arc<dyn Messages>> {
        let page = self.page(flow);
        let conversation = Conversation::open(&self.set, flow, &page, &mut self.wanted, self.media_type.as_deref())?;
        Some(Arc::new(conversation))
    }

    fn wants_chunks(&self, of: Direction) -> bool {
        self.chunking(of).next().is_some()
    }

    fn without_chunks(&mut self, flow: &SharedFlow, of: Direction, why: &str) -> Result<(), Refusal> {
        let failed = |(build, _): (&Arc<Build>, _)| build.failed(Hook::BodyStart, flow, Failure::Unfit(why.to_owned()));
        self.chunking(of).try_for_each(failed)
    }

    fn chunks<'a>(&'a mut self, flow: &'a SharedFlow, of: Direction) -> BoxFuture<'a, Result<Option<Box<dyn Chunks>>, Refusal>> {
        Box::pin(self.begin_chunks(flow, of))
    }

    fn end(mut self: Box<Self>, flow: SharedFlow) {
        let page = self.page(&flow);
        page.close(&flow);
        let still = |heard: &mut oneshot::Receiver<()>| matches!(heard.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        self.telling.retain_mut(still);
        if self.telling.is_empty() {
            return self.hand_over(&flow, &page);
        }
        // Observers come after everything else.
        let tasks = self.tasks.clone();
        tasks.spawn(async move {
            for heard in std::mem::take(&mut self.telling) {
                // Nothing is ever sent; that it cannot be any more is what is waited for.
                let _ = heard.await;
            }
            self.hand_over(&flow, &page);
        });
    }
}

impl Way {
    fn hand_over(self, flow: &SharedFlow, page: &Arc<Page>) {
        let Self { set, wanted, media_type, .. } = self;
        let media_type = media_type.or_else(|| lock(flow).response.as_ref().map(ResponseHead::media_type));
        let shared = Shared::new(flow.clone());
        for Wanted { at, matched, place, .. } in wanted {
            let Some(place) = place else { continue };
            if let Some(rule) = set.plugins[at].build.rules.deciding(matched, media_type.as_deref()) {
                place.send(Ended { shared: shared.clone(), shown: shown(rule), page: page.clone() });
            }
        }
    }
}
