//! WebSocket: what passes after a 101, read as messages.
//!
//! Place: between `serve`, which has the two connections, and the plugins behind `hooks::Messages`. The codec (`frame`, `borders`,
//! `extensions`, `deflate`, `decode`, `encode`) knows octets only; `watch` forwards octets as they are and reads beside if anybody wants that,
//! `rewrite` makes frames of its own for filters.
//! Source: RFC 6455, RFC 7692.

mod borders;
mod decode;
mod deflate;
mod encode;
mod extensions;
mod frame;
#[cfg(test)]
mod fuzz;
mod gather;
mod rewrite;
mod watch;

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use extensions::Extensions;

use tokio::{io::AsyncReadExt, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Limits, upgrade::Ends};
use crate::{
    flow::Fields,
    hooks::{MessageVerdict, Messages},
};

/// RFC 6455 §7.4.1: who says it goes away.
const GOING_AWAY: u16 = 1001;

/// How a conversation is bounded, and when it is to end.
#[derive(Clone, Copy)]
struct Terms<'a> {
    limits: &'a Limits,
    /// The proxy stops: both ends are told so, each between two frames.
    stopping: &'a CancellationToken,
    /// Octets that pass as they came, by direction.
    relayed: &'a [AtomicU64; 2],
}

/// Relays between two ends that have become a WebSocket. `messages`: the fields of the 101, and who wants the messages; `relayed`: where
/// octets are counted that no filter may change.
pub(super) async fn converse(
    client: Ends,
    origin: Ends,
    messages: Option<(Fields, Arc<dyn Messages>)>,
    limits: &Limits,
    stopping: &CancellationToken,
    relayed: &[AtomicU64; 2],
) {
    let terms = Terms { limits, stopping, relayed };
    // How either side ends it is theirs to say.
    let _ = match messages {
        None => watch::run(client, origin, None, terms).await,
        Some((response, messages)) => told(client, origin, &response, &*messages, terms).await,
    };
}

async fn told(client: Ends, origin: Ends, response: &Fields, messages: &dyn Messages, terms: Terms<'_>) -> io::Result<()> {
    let is_filtered = messages.needs().filter.is_some();
    match (Extensions::of(response), is_filtered) {
        (Extensions::Known(deflate), false) => watch::run(client, origin, Some((messages, deflate)), terms).await,
        (Extensions::Known(deflate), true) => rewrite::run(client, origin, deflate, messages, terms).await,
        (Extensions::Unknown, _) => {
            tracing::info!("a WebSocket with unknown extensions: its messages cannot be read");
            match messages.unreadable() {
                MessageVerdict::Close(code) if is_filtered => rewrite::refuse(client, origin, code, terms).await,
                _ => watch::run(client, origin, None, terms).await,
            }
        }
    }
}

/// Lets both ends read what was said to them: a reset caused by unread octets would take it away again.
async fn part(client: Ends, origin: Ends, terms: Terms<'_>) -> io::Result<()> {
    let Limits { farewell: patience, farewell_octets: most, .. } = *terms.limits;
    let (client, origin) = tokio::join!(timeout(patience, farewell(client, most)), timeout(patience, farewell(origin, most)));
    client.unwrap_or(Ok(())).and(origin.unwrap_or(Ok(())))
}

async fn farewell((reader, mut writer): Ends, most: u64) -> io::Result<()> {
    writer.flush().await?;
    writer.shutdown().await?;
    let (rest, _) = reader.into_parts();
    tokio::io::copy(&mut rest.take(most), &mut tokio::io::sink()).await.map(drop)
}
