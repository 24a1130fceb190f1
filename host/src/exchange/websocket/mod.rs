//! WebSocket: what passes after a 101, read as messages.
//!
//! Place: between `upgrade`, which has the two connections, and the plugins behind `hooks::Messages`. The codec (`frame`, `extensions`,
//! `deflate`, `decode`, `encode`) knows octets only; `watch` forwards octets as they are and reads beside, `rewrite` makes frames of its own
//! for filters.
//! Source: RFC 6455, RFC 7692.

mod decode;
mod deflate;
mod encode;
mod extensions;
mod frame;
mod gather;
mod rewrite;
mod watch;

use std::sync::Arc;

use extensions::Extensions;

use super::upgrade::{Ends, relay};
use crate::{
    flow::Fields,
    hooks::{MessageVerdict, Messages},
};

/// Relays between two ends that have become a WebSocket, whose messages `messages` wants. `response`: the fields of the 101.
pub(super) async fn converse(client: Ends, origin: Ends, response: &Fields, messages: Arc<dyn Messages>) {
    let is_filtered = messages.needs().filter.is_some();
    // How either side ends it is theirs to say.
    let _ = match (Extensions::of(response), is_filtered) {
        (Extensions::Known(deflate), false) => watch::run(client, origin, deflate, &*messages).await,
        (Extensions::Known(deflate), true) => rewrite::run(client, origin, deflate, &*messages).await,
        (Extensions::Unknown, _) => {
            tracing::info!("a WebSocket with unknown extensions: its messages cannot be read");
            match messages.unreadable() {
                MessageVerdict::Close(code) if is_filtered => rewrite::refuse(client, origin, code).await,
                _ => relay(client, origin).await.map(drop),
            }
        }
    };
}
