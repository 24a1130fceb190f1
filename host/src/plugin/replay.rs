//! A new build, tried on flows that have ended, before it is published.
//!
//! Place: called by `swap` and `orders` when a build is loaded. Build and predecessor are loaded once more, on stages: their hooks run with the
//! same code, configuration and bounds, and nothing they do reaches anybody. What they keep, store, count, log or fetch goes nowhere; what they
//! have stored is not there, nor does anything answer what they fetch.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, bail};
use tokio::time::timeout;

use super::{
    build::Build,
    capability::log::sanitised,
    hash::Hash,
    load::{Code, Loader, Source},
    means::Means,
    observe::View,
    ring::Ring,
    scene::{Mishap, Scene},
    settings::Settings,
    stage::{Played, Stage, staged},
};
use crate::recording::RecordedFlow;

/// A build and the settings it is for.
pub(super) struct Tried<'a> {
    pub(super) build: &'a Build,
    pub(super) settings: &'a Settings,
}

/// Plays what is kept for that plugin to the new build, and to the one in service for comparison. Where they differ, that is said.
///
/// # Errors
/// The new build failed in a flow in which the other one did not: names flow, hook and cause.
pub(super) async fn replay(loader: &Loader, ring: &Ring, view: &View, new: Tried<'_>, old: Option<Tried<'_>>) -> anyhow::Result<()> {
    let (plugin, limits) = (&new.build.info.name, new.settings.limits.replay);
    let flows = ring.of(plugin);
    let Some(first) = flows.first() else { return Ok(()) };
    let until = Instant::now() + limits.time;
    let shadow = Shadow::cast(loader, &new, view, first).await.context("trying it on earlier flows")?;
    let before = match &old {
        // It serves: that it cannot be loaded again says nothing about the new one.
        Some(old) => Shadow::cast(loader, old, view, first).await.ok(),
        None => None,
    };
    let (mut played, mut differing) = (0, Vec::new());
    for flow in &flows {
        let Some(now) = shadow.play(flow, until).await else { break };
        let then = match &before {
            Some(before) => before.play(flow, until).await,
            None => None,
        };
        played += 1;
        if let Some(mishap) = &now.mishap {
            let is_known = then.as_ref().and_then(|then| then.mishap.as_ref()).is_some_and(|then| then.hook == mishap.hook);
            if !is_known {
                let Mishap { hook, cause } = mishap;
                bail!("it fails in {} that has passed before: {}: {cause}", called(flow), hook.name());
            }
        }
        if let Some(then) = then
            && let Some(difference) = difference(&then, &now)
        {
            differing.push(format!("{}: {difference}", called(flow)));
        }
    }
    let (kept, first) = (flows.len(), differing.first());
    if played < kept {
        tracing::warn!(plugin, played, kept, "the new build was not tried on all flows: that took too long");
    }
    match first {
        Some(first) => {
            tracing::warn!(plugin, played, differing = differing.len(), first, "the new build decides otherwise than the one before")
        }
        None => tracing::info!(plugin, played, "the new build was tried on flows that had passed"),
    }
    Ok(())
}

/// A build on a stage.
struct Shadow {
    stage: Stage,
    scene: Arc<Scene>,
}

/// What it made of a flow.
struct Seen {
    played: Played,
    mishap: Option<Mishap>,
}

impl Shadow {
    async fn cast(loader: &Loader, tried: &Tried<'_>, view: &View, first: &RecordedFlow) -> anyhow::Result<Self> {
        let Tried { build, settings } = tried;
        let settings = staged((*settings).clone());
        let scene = Scene::quiet();
        scene.set(first.began);
        let means: Arc<Means> = Arc::new(loader.means().aside(&settings, &scene));
        let hash = Hash::parse(&build.info.hash).context("its hash is none")?;
        let code = Code::Compiled(build.pool.component().clone());
        let source = Source { name: build.info.name.clone(), code, hash, file: build.info.file.clone() };
        let built = loader.on_stage(means.clone(), scene.clone()).load(source, &settings).await?;
        let stage = Stage::of(built, scene.clone(), means, settings.limits, view.clone());
        Ok(Self { stage, scene })
    }

    /// `None`: there was no time left.
    async fn play(&self, flow: &RecordedFlow, until: Instant) -> Option<Seen> {
        // What ends at once would end within no time as well.
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let failures = self.stage.failures();
        let played = timeout(left, self.stage.play(flow)).await.ok()?;
        let mishap = self.scene.take_mishap().filter(|_| self.stage.failures() > failures);
        Some(Seen { played, mishap })
    }
}

/// What of a build's doings others would see differently.
fn difference(then: &Seen, now: &Seen) -> Option<String> {
    let said = |seen: &Seen| -> Vec<String> {
        let steps = seen.played.steps.iter();
        steps.map(|step| format!("{} {} × {} [{}]", step.hook, step.said, step.calls, step.changes.join(", "))).collect()
    };
    let (old, new) = (said(then), said(now));
    if let Some(at) = (0..old.len().max(new.len())).find(|at| old.get(*at) != new.get(*at)) {
        let shown = |said: &[String]| said.get(at).cloned().unwrap_or_else(|| "nothing".into());
        return Some(format!("{}, and before {}", shown(&new), shown(&old)));
    }
    let (then, now) = (&then.played.rehearsed, &now.played.rehearsed);
    let tunnel = |rehearsed: &crate::rehearsal::Rehearsed| rehearsed.tunnel.as_ref().map(std::mem::discriminant);
    let same = [
        ("it decides otherwise about the tunnel", tunnel(then) == tunnel(now)),
        ("it wants other flows", then.flow.is_some() == now.flow.is_some()),
        ("what goes on to the origin is not the same", then.sent == now.sent),
        ("what goes on to the client is not the same", then.got == now.got),
        ("the messages that go on are not the same", then.messages == now.messages && then.closed == now.closed),
    ];
    same.iter().find(|(_, same)| !same).map(|(what, _)| (*what).to_owned())
}

/// A flow, without what may be secret in its target.
fn called(flow: &RecordedFlow) -> String {
    let url = flow.url();
    let url = url.split('?').next().unwrap_or_default();
    sanitised(&format!("flow {} ({} {url})", flow.id, flow.request.head.method))
}
