//! Asking filters about each message, and sending on what they leave of it.
//!
//! Place: where a filter may change what passes. Both directions are then read whole and written in frames of our own: fragments become one
//! frame, and compression is ours (see `encode`). Control frames pass when they come, in the middle of a message too; messages longer than
//! any filter may hold pass in pieces.

use std::io;

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
    flow::{Direction, Message, MessageKind, PassedMessage},
    hooks::{MessageVerdict, Messages},
    io::{HalfReader, HalfWriter},
};
use bytes::Bytes;

/// RFC 6455 §7.4.1: what came breaks the protocol.
const PROTOCOL_ERROR: u16 = 1002;

/// Why a direction has no good end.
enum Fault {
    /// A connection broke.
    Io,
    /// The connection is to be closed with that status code.
    Close(u16),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

/// Relays until both sides have ended, one is broken, or a filter closes.
pub(super) async fn run(client: Ends, origin: Ends, deflate: Option<Deflate>, messages: &dyn Messages, terms: Terms<'_>) -> io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_origin, mut to_origin)) = (client, origin);
    let mut up = Way::new(Direction::Request, deflate, messages, terms);
    let mut down = Way::new(Direction::Response, deflate, messages, terms);
    let done = tokio::try_join!(up.pass(&mut from_client, &mut to_origin), down.pass(&mut from_origin, &mut to_client));
    let Err(Fault::Close(code)) = done else { return Ok(()) };
    // Whatever was being written when the other direction gave up is still in front in the writers' buffers: frames stay whole.
    for (way, to) in [(&mut up, &mut to_origin), (&mut down, &mut to_client)] {
        if !way.is_closed {
            way.encoder.control(to.buffer(), Opcode::Close, &code.to_be_bytes());
        }
    }
    part((from_client, to_client), (from_origin, to_origin), terms).await
}

/// Closes a connection about whose messages no filter can be asked.
pub(super) async fn refuse(mut client: Ends, mut origin: Ends, code: u16, terms: Terms<'_>) -> io::Result<()> {
    Encoder::new(Direction::Request, None).control(origin.1.buffer(), Opcode::Close, &code.to_be_bytes());
    Encoder::new(Direction::Response, None).control(client.1.buffer(), Opcode::Close, &code.to_be_bytes());
    part(client, origin, terms).await
}

/// One direction.
struct Way<'a> {
    of: Direction,
    decoder: Decoder,
    encoder: Encoder,
    gather: Gather,
    /// Longest message that filters are asked about.
    limit: u64,
    observes: bool,
    /// The message in progress is longer, and passes in pieces.
    is_passing: bool,
    /// A close frame was sent on: nothing may follow it.
    is_closed: bool,
    messages: &'a dyn Messages,
    terms: Terms<'a>,
}

impl<'a> Way<'a> {
    fn new(of: Direction, deflate: Option<Deflate>, messages: &'a dyn Messages, terms: Terms<'a>) -> Self {
        let needs = messages.needs();
        let limit = needs.filter.unwrap_or_default();
        let side = deflate.map(|deflate| deflate.of(of));
        Self {
            of,
            decoder: Decoder::new(side, terms.limits.inflated_message),
            encoder: Encoder::new(of, side),
            // All of what filters are asked about, and of longer ones what observers want.
            gather: Gather::new(limit.max(needs.observe.unwrap_or_default())),
            limit: limit as u64,
            observes: needs.observe.is_some(),
            is_passing: false,
            is_closed: false,
            messages,
            terms,
        }
    }

    async fn pass(&mut self, from: &mut HalfReader, to: &mut HalfWriter) -> Result<(), Fault> {
        loop {
            if self.is_closed {
                from.buffer().clear();
            }
            match self.decoder.next(from.buffer()) {
                Ok(Some(event)) => {
                    self.event(event, to).await?;
                    tokio::task::coop::consume_budget().await;
                }
                Ok(None) => {
                    to.flush().await?;
                    let filled = tokio::select! {
                        biased;
                        filled = from.fill() => filled?,
                        // What is written here are whole frames, so that there is always room for one more.
                        () = self.terms.stopping.cancelled() => return Err(Fault::Close(GOING_AWAY)),
                    };
                    if filled == 0 {
                        return to.shutdown().await.map_err(Fault::from);
                    }
                }
                Err(error) => {
                    tracing::info!(direction = ?self.of, "a WebSocket that is filtered is closed: {error}");
                    return Err(Fault::Close(PROTOCOL_ERROR));
                }
            }
        }
    }

    async fn event(&mut self, event: Event, to: &mut HalfWriter) -> Result<(), Fault> {
        match event {
            Event::Data(octets) => self.data(octets, to).await,
            Event::End if self.is_passing => {
                self.is_passing = false;
                self.encoder.piece(to.buffer(), Opcode::Continuation, true, &[]);
                to.flush().await?;
                let (kind, (content, length)) = (self.kind(), self.gather.take());
                self.passed(kind, content, length).await;
                Ok(())
            }
            Event::End => {
                let content = self.gather.take().0;
                self.message(Message { is_text: self.decoder.is_text(), content }, to).await
            }
            Event::Control(opcode, content) => {
                self.encoder.control(to.buffer(), opcode, &content);
                if opcode == Opcode::Close {
                    self.is_closed = true;
                    to.flush().await?;
                    let length = content.len() as u64;
                    self.passed(MessageKind::Closed, content, length).await;
                }
                Ok(())
            }
        }
    }

    async fn data(&mut self, octets: Bytes, to: &mut HalfWriter) -> Result<(), Fault> {
        let before = self.gather.length();
        self.gather.add(&octets);
        if !self.is_passing {
            if before + octets.len() as u64 <= self.limit {
                return Ok(());
            }
            if let MessageVerdict::Close(code) = self.messages.overflow(self.of) {
                return Err(Fault::Close(code));
            }
            // What was held goes first; `gather` keeps it, or as much of it as observers want.
            self.is_passing = true;
            let opcode = if self.decoder.is_text() { Opcode::Text } else { Opcode::Binary };
            let held = self.gather.begin(before);
            self.encoder.piece(to.buffer(), opcode, false, &held);
        }
        self.encoder.piece(to.buffer(), Opcode::Continuation, false, &octets);
        to.flush().await.map_err(Fault::from)
    }

    /// A whole message that filters are asked about.
    async fn message(&mut self, message: Message, to: &mut HalfWriter) -> Result<(), Fault> {
        let message = match self.messages.filter(self.of, message.clone()).await {
            MessageVerdict::Pass => message,
            MessageVerdict::Replace(other) => other,
            MessageVerdict::Discard => return Ok(()),
            MessageVerdict::Close(code) => return Err(Fault::Close(code)),
        };
        self.encoder.message(to.buffer(), message.is_text, self.decoder.was_compressed(), &message.content);
        to.flush().await?;
        let kind = if message.is_text { MessageKind::Text } else { MessageKind::Binary };
        let length = message.content.len() as u64;
        self.passed(kind, message.content, length).await;
        Ok(())
    }

    fn kind(&self) -> MessageKind {
        if self.decoder.is_text() { MessageKind::Text } else { MessageKind::Binary }
    }

    async fn passed(&self, kind: MessageKind, content: Bytes, length: u64) {
        if self.observes {
            let at = std::time::Instant::now();
            self.messages.passed(PassedMessage { sent: self.of, kind, at, length, content }).await;
        }
    }
}
