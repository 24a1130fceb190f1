//! Forwarding octets the moment they arrive, and reading messages beside where somebody wants them.
//!
//! Place: where nobody may change messages. What is made of the octets never reaches the other side: where the decoder cannot go on, nobody is
//! told any more, and the octets pass all the same. Neither side is kept from hearing that the proxy goes away.

use std::{io, sync::atomic::Ordering, time::Instant};

use bytes::BytesMut;

use super::{
    GOING_AWAY, Terms,
    borders::Borders,
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

/// Relays until both sides have ended, one is broken, or the proxy stops. `messages`: who wants them, and how they are compressed.
pub(super) async fn run(
    client: Ends,
    origin: Ends,
    messages: Option<(&dyn Messages, Option<Deflate>)>,
    terms: Terms<'_>,
) -> io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_origin, mut to_origin)) = (client, origin);
    let way = |of| Way {
        of,
        borders: Borders::default(),
        watch: messages.map(|(messages, deflate)| Watch::new(of, deflate, messages, terms.limits.inflated_message)),
    };
    let up = way(Direction::Request).forward(&mut from_client, &mut to_origin, terms);
    let down = way(Direction::Response).forward(&mut from_origin, &mut to_client, terms);
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
struct Way<'a> {
    of: Direction,
    borders: Borders,
    watch: Option<Watch<'a>>,
}

impl Way<'_> {
    async fn forward(mut self, from: &mut HalfReader, to: &mut HalfWriter, terms: Terms<'_>) -> io::Result<End> {
        loop {
            if from.buffer().is_empty() {
                let filled = tokio::select! {
                    biased;
                    // Only between two frames of its sender is there room for one of ours.
                    () = terms.stopping.cancelled(), if self.borders.is_between_frames() => {
                        Encoder::new(self.of, None).control(to.buffer(), Opcode::Close, &GOING_AWAY.to_be_bytes());
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
            terms.relayed[self.of as usize].fetch_add(octets.len() as u64, Ordering::Relaxed);
            to.buffer().extend_from_slice(&octets);
            to.flush().await?;
            self.borders.passed(&octets);
            if let Some(watch) = &mut self.watch {
                watch.passed(octets).await;
            }
        }
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
