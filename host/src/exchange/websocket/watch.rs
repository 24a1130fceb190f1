//! Forwarding octets the moment they arrive, and reading messages beside.
//!
//! Place: where messages are observed and nobody may change them. What the decoder makes of the octets never reaches the other side: where
//! it cannot go on, nobody is told any more, and the octets pass all the same.

use std::{io, time::Instant};

use bytes::BytesMut;

use super::{
    decode::{Decoder, Event},
    extensions::Deflate,
    frame::Opcode,
    gather::Gather,
};
use crate::{
    exchange::upgrade::Ends,
    flow::{Direction, MessageKind, PassedMessage},
    hooks::Messages,
    io::{HalfReader, HalfWriter},
};

/// Relays until both sides have ended, or one is broken.
pub(super) async fn run(client: Ends, origin: Ends, deflate: Option<Deflate>, messages: &dyn Messages) -> io::Result<()> {
    let watch = |of| Watch::new(of, deflate, messages);
    let up = forward(client.0, origin.1, watch(Direction::Request));
    let down = forward(origin.0, client.1, watch(Direction::Response));
    tokio::try_join!(up, down).map(drop)
}

/// One direction.
async fn forward(mut from: HalfReader, mut to: HalfWriter, mut watch: Watch<'_>) -> io::Result<()> {
    loop {
        if from.buffer().is_empty() && from.fill().await? == 0 {
            return to.shutdown().await;
        }
        let octets = from.buffer().split();
        to.buffer().extend_from_slice(&octets);
        to.flush().await?;
        watch.passed(octets).await;
    }
}

/// Reads the messages of one direction.
struct Watch<'a> {
    of: Direction,
    /// `None`: no more messages can be told apart.
    decoder: Option<Decoder>,
    /// What passed and has not been read as a frame's head yet.
    input: BytesMut,
    gather: Gather,
    messages: &'a dyn Messages,
}

impl<'a> Watch<'a> {
    fn new(of: Direction, deflate: Option<Deflate>, messages: &'a dyn Messages) -> Self {
        Self {
            of,
            decoder: Some(Decoder::new(deflate.map(|deflate| deflate.of(of)))),
            input: BytesMut::new(),
            gather: Gather::new(messages.needs().observe.unwrap_or_default()),
            messages,
        }
    }

    /// Octets that have been forwarded.
    async fn passed(&mut self, octets: BytesMut) {
        if self.decoder.is_none() {
            return;
        }
        match self.input.is_empty() {
            true => self.input = octets,
            false => self.input.extend_from_slice(&octets),
        }
        while let Some(decoder) = &mut self.decoder {
            match decoder.next(&mut self.input) {
                Ok(None) => return,
                Ok(Some(Event::Data(octets))) => {
                    self.gather.add(&octets);
                    // What inflates to much more than came must not keep others from their turn.
                    tokio::task::coop::consume_budget().await;
                }
                Ok(Some(Event::End)) => {
                    let kind = if decoder.is_text() { MessageKind::Text } else { MessageKind::Binary };
                    let (content, length) = self.gather.take();
                    self.messages.passed(PassedMessage { sent: self.of, kind, at: Instant::now(), length, content }).await;
                }
                Ok(Some(Event::Control(Opcode::Close, content))) => {
                    // RFC 6455 §5.5.1: nothing follows.
                    self.decoder = None;
                    let (kind, length) = (MessageKind::Closed, content.len() as u64);
                    self.messages.passed(PassedMessage { sent: self.of, kind, at: Instant::now(), length, content }).await;
                }
                Ok(Some(Event::Control(..))) => {}
                Err(error) => {
                    tracing::info!(direction = ?self.of, "the messages of a WebSocket can be read no further: {error}");
                    self.decoder = None;
                }
            }
        }
        self.input = BytesMut::new();
    }
}
