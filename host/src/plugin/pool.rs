//! Warm instances of one build.
//!
//! Place: `course` and `observe` lease from it. A call into a live instance costs a fraction of a microsecond, a fresh one up to two
//! milliseconds (Python), so instances are kept; what failed, was dropped in mid-call or is worn is not.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use wasmtime::component::Component;

use super::{
    bindings::exports::flowgate::plugin::lifecycle::Registration,
    instance::{Failure, Instance, Kit},
    scene::Scene,
};

/// How long a call waits for an instance before one more is made for it.
const WAIT: Duration = Duration::from_millis(5);
/// How many of those there may be for each that is kept.
const SPARE_FACTOR: usize = 4;

/// The instances of one build.
pub(super) struct Pool {
    kit: Arc<Kit>,
    warm: Mutex<Vec<Instance>>,
    /// How many are kept.
    kept: usize,
    /// Filters' calls at a time; with `singleton` all calls at a time.
    places: Arc<Semaphore>,
    spare: Semaphore,
    is_singleton: bool,
    /// Bodies filtered at a time.
    bodies: Arc<Semaphore>,
    streams: Streams,
}

/// How many bodies are filtered at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    /// Each has an instance for itself, unless there is only one.
    pub(super) most: usize,
    /// How long another one waits.
    pub(super) patience: Duration,
}

/// An instance for one call. Dropped without [`Lease::give_back`] it is gone for good.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    instance: Instance,
    _place: Option<SemaphorePermit<'a>>,
}

impl Pool {
    /// Up to `instances` at work for filters, with `first` among them.
    pub(super) fn new(kit: Arc<Kit>, first: Instance, instances: usize, is_singleton: bool, streams: Streams) -> Self {
        let kept = if is_singleton { 1 } else { instances.max(1) };
        let spare = if is_singleton { 0 } else { kept * SPARE_FACTOR };
        Self {
            kit,
            warm: Mutex::new(vec![first]),
            kept,
            places: Arc::new(Semaphore::new(kept)),
            spare: Semaphore::new(spare),
            is_singleton,
            bodies: Arc::new(Semaphore::new(streams.most)),
            streams,
        }
    }

    /// Octets of linear memory of the instances that are not at work now.
    pub(super) fn memory(&self) -> usize {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Instance::memory).sum()
    }

    /// What one more instance registers.
    pub(super) async fn registration(&self) -> Result<Registration, Failure> {
        Instance::start(&self.kit).await.map(|(_, registration)| registration)
    }

    /// What its instances are made of.
    pub(super) fn component(&self) -> &Component {
        self.kit.component.component()
    }

    /// What surrounds its instances, if they serve nobody.
    pub(super) fn scene(&self) -> Option<&Scene> {
        self.kit.about.scene.as_deref()
    }

    /// How many calls can be in progress without anyone waiting.
    pub(super) fn width(&self) -> usize {
        self.kept
    }

    /// One for a filter: warm if there is one, else fresh. When all are busy, one more after a moment, and when there are too many of
    /// those, the next that comes back.
    pub(super) async fn for_filter(&self) -> Result<Lease<'_>, Failure> {
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => self.wait().await?,
        };
        self.lease(Some(place)).await
    }

    /// One for an observer. Their number is bounded by whoever calls; only a singleton's is waited for.
    pub(super) async fn for_observer(&self) -> Result<Lease<'_>, Failure> {
        let place = match self.is_singleton {
            // Never closed.
            true => self.places.acquire().await.ok(),
            false => None,
        };
        self.lease(place).await
    }

    /// A fresh one for an observer whose last one failed.
    pub(super) async fn fresh_for_observer(&self) -> Result<Lease<'_>, Failure> {
        let place = match self.is_singleton {
            true => self.places.acquire().await.ok(),
            false => None,
        };
        self.fresh(place).await
    }

    /// A place for a body, waited for within the bound.
    pub(super) async fn body_place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = self.bodies.clone().try_acquire_owned() {
            return Ok(place);
        }
        match timeout(self.streams.patience, self.bodies.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Failure::Streams(self.streams.most)),
        }
    }

    /// One for a body, for as long as that lasts. Their number is bounded by [`Pool::body_place`].
    pub(super) async fn take(&self) -> Result<Instance, Failure> {
        match self.resting() {
            Some(instance) => Ok(instance),
            None => Instance::start(&self.kit).await.map(|(instance, _)| instance),
        }
    }

    /// No call is in progress in a singleton, and none begins until what is returned is dropped; `None`: one has gone on for too long.
    pub(super) async fn pause(&self) -> Option<OwnedSemaphorePermit> {
        timeout(self.kit.budgets.observer.wall, self.places.clone().acquire_owned()).await.ok()?.ok()
    }

    /// One that is not at work, out of the pool.
    pub(super) fn resting(&self) -> Option<Instance> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// There is only one instance.
    pub(super) fn is_singleton(&self) -> bool {
        self.is_singleton
    }

    /// All calls in it went well: it may serve others.
    pub(super) fn put(&self, instance: Instance) {
        if instance.is_worn() {
            return;
        }
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if warm.len() < self.kept {
            warm.push(instance);
        } else {
            // Freeing its memory takes a while.
            drop(warm);
            drop(instance);
        }
    }

    async fn wait(&self) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(Ok(place)) = timeout(WAIT, self.places.acquire()).await {
            return Ok(place);
        }
        if let Ok(spare) = self.spare.try_acquire() {
            return Ok(spare);
        }
        let patience = self.kit.budgets.filter.wall;
        match timeout(patience, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Failure::Busy(patience)),
        }
    }

    async fn lease<'a>(&'a self, place: Option<SemaphorePermit<'a>>) -> Result<Lease<'a>, Failure> {
        match self.resting() {
            Some(instance) => Ok(Lease { pool: self, instance, _place: place }),
            None => self.fresh(place).await,
        }
    }

    async fn fresh<'a>(&'a self, place: Option<SemaphorePermit<'a>>) -> Result<Lease<'a>, Failure> {
        let (instance, _) = Instance::start(&self.kit).await?;
        Ok(Lease { pool: self, instance, _place: place })
    }
}

impl Lease<'_> {
    /// The call went well: the instance may serve others.
    pub(super) fn give_back(self) {
        let Self { pool, instance, _place } = self;
        // In the pool before its place is free, so that whoever takes that finds it.
        pool.put(instance);
    }
}

impl Deref for Lease<'_> {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }
}
