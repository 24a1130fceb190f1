//! Forwarding octets the moment they arrive, and reading messages beside.
//!
//! Place: where messages are observed and nobody may change them. What the decoder makes of the octets never reaches the other side: where
//! it cannot go on, nobody is told any more, and the octets pass all the same.

use std::{io, time::Instant};

use bytes::BytesMut;

use super::{
    GOING_AWAY, Terms,
    decode::{Decoder, Event},
    encode::Encoder,
    extensions::Deflate,
    frame::Opcode,
    gather::Gather,
    part,
};
use crate::{
    exchange::upgrade::Ends,
    flow::{Direction, MessageKind, PassedMessage},
    hooks::Messages,
    io::{HalfReader, HalfWriter},
};

/// Relays until both sides have ended, one is broken, or the proxy stops.
pub(super) async fn run(client: Ends, origin: Ends, deflate: Option<Deflate>, messages: &dyn Messages, terms: Terms<'_>) -> io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_origin, mut to_origin)) = (client, origin);
    let watch = |of| Watch::new(of, deflate, messages, terms.limits.inflated_message);
    let up = forward(&mut from_client, &mut to_origin, watch(Direction::Request), terms);
    let down = forward(&mut from_origin, &mut to_client, watch(Direction::Response), terms);
    match tokio::try_join!(up, down)? {
        (End::Closed, End::Closed) => Ok(()),
        _ => part((from_client, to_client), (from_origin, to_origin), terms).await,
    }
}

/// How a direction ends well.
enum End {
    /// As its sender said.
    Closed,
    /// Its receiver was told that we are going away.
    Left,
}

/// One direction.
async fn forward(from: &mut HalfReader, to: &mut HalfWriter, mut watch: Watch<'_>, terms: Terms<'_>) -> io::Result<End> {
    loop {
        if from.buffer().is_empty() {
            let filled = tokio::select! {
                biased;
                // Only between two frames of its sender is there room for one of ours.
                () = terms.stopping.cancelled(), if watch.is_between_frames() => {
                    Encoder::new(watch.of, None).control(to.buffer(), Opcode::Close, &GOING_AWAY.to_be_bytes());
                    to.flush().await?;
                    return Ok(End::Left);
                }
                filled = from.fill() => filled?,
            };
            if filled == 0 {
                to.shutdown().await?;
                return Ok(End::Closed);
            }
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
    fn new(of: Direction, deflate: Option<Deflate>, messages: &'a dyn Messages, limit: u64) -> Self {
        Self {
            of,
            decoder: Some(Decoder::new(deflate.map(|deflate| deflate.of(of)), limit)),
            input: BytesMut::new(),
            gather: Gather::new(messages.needs().observe.unwrap_or_default()),
            messages,
        }
    }

    /// Whether what was forwarded ends with a frame, and not the last one.
    fn is_between_frames(&self) -> bool {
        self.input.is_empty() && self.decoder.as_ref().is_some_and(Decoder::is_between_frames)
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
