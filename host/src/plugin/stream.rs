//! Content on its way through the plugins that rewrite it: the hook `stream-filter`.
//!
//! Place: made by `course` when a body begins, driven by `exchange`. Each plugin cuts the content in its own way; what one has answered goes
//! on to the next at once. An instance belongs to one body for as long as that lasts, so a trap costs one body; the only instance of a
//! singleton is borrowed for each call.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    bindings::exports::flowgate::plugin::stream_filter::ChunkAction,
    build::Build,
    capability::context::Shown,
    cutter::Cutter,
    hook::Hook,
    instance::{Failure, Instance},
    journal::Page,
};
use crate::{
    flow::{Direction, Refusal, SharedFlow},
    hooks::{BoxFuture, Chunks, Next},
    tasks::Tasks,
};

/// What is known of a body to whoever filters it.
pub(super) struct About {
    pub(super) flow: SharedFlow,
    pub(super) of: Direction,
    pub(super) page: Arc<Page>,
    /// Where plugins are told of bodies that broke off.
    pub(super) tasks: Tasks,
}

/// See the module.
pub(super) struct Stream {
    about: Arc<About>,
    stages: Vec<Stage>,
    /// What has come through all of them.
    out: VecDeque<Bytes>,
    /// How many of them will get no more.
    ended: usize,
    input_over: bool,
    over: bool,
    /// Gone when all plugins know how it ended.
    told: Arc<oneshot::Sender<()>>,
}

/// One plugin that content passes.
pub(super) struct Stage {
    build: Arc<Build>,
    shown: Shown,
    id: u32,
    cutter: Cutter,
    held: Held,
    /// Among the bodies that the plugin filters at a time.
    place: Option<OwnedSemaphorePermit>,
}

/// The instance that knows the body.
enum Held {
    /// For itself.
    Own(Box<Instance>),
    /// The plugin's only one, of that number.
    Shared(u64),
    /// It failed: what comes passes as it is.
    Gone,
}

impl Stage {
    /// A body begins; `None`: the plugin does not want it.
    ///
    /// # Errors
    /// The call failed, or there are too many bodies.
    pub(super) async fn begin(build: &Arc<Build>, about: &About, shown: Shown, cutter: Cutter) -> Result<Option<Self>, Failure> {
        let place = build.pool.body_place().await?;
        let id = build.next_body();
        let call = async {
            let mut held = Held::begin(build).await?;
            let wanted = held
                .call(build, async |instance| {
                    let wanted = instance.on_body_start(id, &about.flow, about.of, shown).await?;
                    instance.bodies += usize::from(wanted);
                    Ok(wanted)
                })
                .await?;
            Ok(((held, wanted), Vec::new()))
        };
        let said = |answer: &(Held, bool)| if answer.1 { "filter it".into() } else { "leave it alone".into() };
        let (held, wanted) = build.asked(Hook::BodyStart, &about.page, call, said).await?;
        if !wanted {
            held.give_back(build);
            return Ok(None);
        }
        Ok(Some(Self { build: build.clone(), shown, id, cutter, held, place: Some(place) }))
    }

    async fn chunk(&mut self, about: &About, chunk: &Bytes) -> Result<ChunkAction, Failure> {
        let Self { build, shown, id, held, .. } = self;
        let call = async {
            let call = async |instance: &mut Instance| instance.on_chunk(*id, chunk, &about.flow, *shown).await;
            held.call(build, call).await.map(|action| (action, Vec::new()))
        };
        let said = |action: &ChunkAction| match action {
            ChunkAction::Pass => "pass".into(),
            ChunkAction::Replace(octets) if octets.is_empty() => "drop".into(),
            ChunkAction::Replace(_) => "replace".into(),
            ChunkAction::Finish(_) => "finish".into(),
        };
        build.asked(Hook::Chunk, &about.page, call, said).await
    }

    async fn end(&mut self, about: &About, broken: bool) -> Result<Vec<u8>, Failure> {
        let Self { build, shown, id, held, .. } = self;
        let call = async {
            let call = async |instance: &mut Instance| {
                let last = instance.on_body_end(*id, broken, &about.flow, *shown).await?;
                instance.bodies = instance.bodies.saturating_sub(1);
                Ok(last)
            };
            held.call(build, call).await.map(|last| (last, Vec::new()))
        };
        let said = |last: &Vec<u8>| match (broken, last.is_empty()) {
            (true, _) => "broken".into(),
            (false, true) => "end".into(),
            (false, false) => "append".into(),
        };
        build.asked(Hook::BodyEnd, &about.page, call, said).await
    }

    /// The body is over for the plugin.
    fn give_back(&mut self) {
        std::mem::replace(&mut self.held, Held::Gone).give_back(&self.build);
        self.place = None;
    }

    fn is_gone(&self) -> bool {
        matches!(self.held, Held::Gone)
    }
}

impl Held {
    async fn begin(build: &Build) -> Result<Self, Failure> {
        if !build.pool.is_singleton() {
            return Ok(Self::Own(Box::new(build.pool.take().await?)));
        }
        let lease = build.pool.for_filter().await?;
        let serial = lease.serial();
        lease.give_back();
        Ok(Self::Shared(serial))
    }

    /// A call in the instance. After one that failed or was dropped halfway there is none.
    async fn call<T>(&mut self, build: &Build, call: impl AsyncFnOnce(&mut Instance) -> Result<T, Failure>) -> Result<T, Failure> {
        match std::mem::replace(self, Self::Gone) {
            Self::Own(mut instance) => {
                let answer = call(&mut instance).await?;
                *self = Self::Own(instance);
                Ok(answer)
            }
            Self::Shared(serial) => {
                // It is not this body's fault if there is no time for it now.
                *self = Self::Shared(serial);
                let mut lease = build.pool.for_filter().await?;
                *self = Self::Gone;
                if lease.serial() != serial {
                    lease.give_back();
                    return Err(Failure::Lost);
                }
                let answer = call(&mut lease).await?;
                lease.give_back();
                *self = Self::Shared(serial);
                Ok(answer)
            }
            Self::Gone => Err(Failure::Lost),
        }
    }

    fn give_back(self, build: &Build) {
        if let Self::Own(instance) = self {
            build.pool.put(*instance);
        }
    }
}

impl Stream {
    /// Content through no plugin yet. The receiver hears (by its sender's end) when all of them know how it ended.
    pub(super) fn new(about: Arc<About>) -> (Self, oneshot::Receiver<()>) {
        let (told, heard) = oneshot::channel();
        let stages = Vec::new();
        let stream = Self { about, stages, out: VecDeque::new(), ended: 0, input_over: false, over: false, told: Arc::new(told) };
        (stream, heard)
    }

    /// One more plugin, behind the others.
    pub(super) fn push(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    /// No plugin wants it.
    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    async fn step(&mut self) -> Result<Next, Refusal> {
        loop {
            if let Some(octets) = self.out.pop_front() {
                return Ok(Next::Forward(octets));
            }
            if self.over {
                return Ok(Next::Over);
            }
            // From the last back: what has come further goes first.
            let ready = (self.ended..self.stages.len()).rev().find_map(|at| self.stages[at].cutter.next().map(|chunk| (at, chunk)));
            match ready {
                Some((at, chunk)) => self.chunk(at, chunk).await?,
                None if !self.input_over => return Ok(Next::Hungry),
                None => self.end_next().await?,
            }
        }
    }

    async fn chunk(&mut self, at: usize, chunk: Bytes) -> Result<(), Refusal> {
        let stage = &mut self.stages[at];
        if stage.is_gone() {
            self.pass_on(at, chunk);
            return Ok(());
        }
        match stage.chunk(&self.about, &chunk).await {
            Ok(ChunkAction::Pass) => self.pass_on(at, chunk),
            Ok(ChunkAction::Replace(octets)) => self.pass_on(at, octets.into()),
            Ok(ChunkAction::Finish(octets)) => {
                self.pass_on(at, octets.into());
                self.finish(at);
                self.end(at).await?;
            }
            Err(failure) => {
                self.failed(at, Hook::Chunk, failure)?;
                self.pass_on(at, chunk);
            }
        }
        Ok(())
    }

    /// A plugin ended the message: those before it have to be told that theirs broke off.
    fn finish(&mut self, at: usize) {
        self.input_over = true;
        self.break_off(self.ended..at);
        self.ended = at;
    }

    /// The first that has not ended gets no more.
    async fn end_next(&mut self) -> Result<(), Refusal> {
        let at = self.ended;
        match self.stages.get_mut(at) {
            None => {
                self.over = true;
                Ok(())
            }
            Some(stage) => match stage.cutter.rest() {
                Some(chunk) => self.chunk(at, chunk).await,
                None => self.end(at).await,
            },
        }
    }

    async fn end(&mut self, at: usize) -> Result<(), Refusal> {
        self.ended = at + 1;
        if self.stages[at].is_gone() {
            return Ok(());
        }
        match self.stages[at].end(&self.about, false).await {
            Ok(last) => {
                self.stages[at].give_back();
                self.pass_on(at, last.into());
                Ok(())
            }
            Err(failure) => self.failed(at, Hook::BodyEnd, failure),
        }
    }

    fn failed(&mut self, at: usize, hook: Hook, failure: Failure) -> Result<(), Refusal> {
        let stage = &mut self.stages[at];
        // It may be well and have had no time for this call; then it must not keep what it knows.
        let meaning = stage.build.failed(hook, &self.about.flow, failure);
        self.break_off(at..at + 1);
        meaning
    }

    fn pass_on(&mut self, at: usize, octets: Bytes) {
        if octets.is_empty() {
            return;
        }
        match self.stages.get_mut(at + 1) {
            Some(next) => next.cutter.feed(octets),
            None => self.out.push_back(octets),
        }
    }

    /// Tells those of the plugins that still know the body that it broke off, and waits for nothing.
    fn break_off(&mut self, stages: std::ops::Range<usize>) {
        for stage in &mut self.stages[stages] {
            if stage.is_gone() {
                stage.place = None;
                continue;
            }
            let held = std::mem::replace(&mut stage.held, Held::Gone);
            let cutter = Cutter::new(None);
            let mut last = Stage { build: stage.build.clone(), shown: stage.shown, id: stage.id, cutter, held, place: stage.place.take() };
            let (about, told) = (self.about.clone(), self.told.clone());
            self.about.tasks.spawn(async move {
                match last.end(&about, true).await {
                    Ok(_) => last.give_back(),
                    Err(failure) => last.build.report(Hook::BodyEnd, &about.flow, &failure),
                }
                drop(told);
            });
        }
    }
}

impl Chunks for Stream {
    fn feed(&mut self, piece: Bytes) {
        if self.input_over {
            return;
        }
        match self.stages.first_mut() {
            Some(first) => first.cutter.feed(piece),
            None => self.out.push_back(piece),
        }
    }

    fn end(&mut self) {
        self.input_over = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Next, Refusal>> {
        Box::pin(self.step())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.over {
            self.break_off(0..self.stages.len());
        }
    }
}
