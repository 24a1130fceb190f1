//! The hand-over of a singleton's state from the build in service to the one that takes its place.
//!
//! Place: called by `swap` and `orders` when a build is ready and before it is published; the contract is `state-handoff` in `wit/`. Whatever
//! goes wrong costs the state and never the swap.

use tokio::sync::OwnedSemaphorePermit;

use super::{build::Build, instance::Failure};

/// No call begins in the old build while this lives: it is kept until the new one is in service.
pub(super) struct HandedOver {
    _pause: OwnedSemaphorePermit,
}

/// Saves and restores. `None`: the new build begins as it was configured, and that was said if there was a state. Not to be dropped halfway,
/// which would cost the instance in service what it knows.
pub(super) async fn hand_over(old: &Build, new: &Build) -> Option<HandedOver> {
    if !old.hands_over {
        return None;
    }
    let outcome = match new.hands_over {
        true => moved(old, new).await,
        false => Err("the new build is no singleton with `state-handoff`".to_owned()),
    };
    let (plugin, from, to) = (&old.info.name, &old.label.hash, &new.label.hash);
    match outcome {
        Ok((handed, octets)) => {
            tracing::info!(plugin, from, to, octets, "the plugin's state was handed over");
            Some(handed)
        }
        Err(why) => {
            tracing::warn!(plugin, from, to, why, "the plugin's state was not handed over: the new build begins without it");
            None
        }
    }
}

async fn moved(old: &Build, new: &Build) -> Result<(HandedOver, usize), String> {
    let pause = old.pool.pause().await.ok_or("a call of the old build does not end")?;
    let mut before = old.pool.resting().ok_or("the instance that had it was thrown away")?;
    let state = before.save().await.map_err(|failure: Failure| format!("saving it failed: {failure}"))?.unwrap_or_default();
    old.pool.put(before);
    let mut after = new.pool.resting().ok_or("the new build has no instance")?;
    // One that failed is dropped: the next call makes a fresh one.
    after.restore(&old.info.version, &state).await.map_err(|failure| format!("restoring it failed: {failure}"))?;
    new.pool.put(after);
    Ok((HandedOver { _pause: pause }, state.len()))
}
