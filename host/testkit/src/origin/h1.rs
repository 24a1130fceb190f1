//! Performs scripts over HTTP/1.1.

use std::{collections::VecDeque, sync::atomic::Ordering};

use super::{Act, Answer, Journal, Script, Seen};
use crate::{
    message::{Framing, Head, Incoming, Trouble},
    wire::Wire,
};

/// Serves one connection to its end; how that came.
pub(super) async fn serve(mut wire: Wire, answer: Answer, journal: &Journal, connection: usize) -> Trouble {
    loop {
        let head = match read_head(&mut wire).await {
            Ok(head) => head,
            Err(trouble) => return trouble,
        };
        let seen = seen(&head, connection);
        let script = answer(&seen);
        let at = journal.asked(seen);
        let exchange = Exchange { wire, journal, at, request: Incoming::new(Framing::of_request(&head)), framing: script.framing };
        match exchange.perform(script).await {
            Ok(kept) if !head.closes() => wire = kept,
            Ok(mut kept) => {
                let _ = kept.finish().await;
                return Trouble::Closed;
            }
            Err(End::Ours) => return Trouble::Closed,
            Err(End::Theirs(trouble)) => {
                journal.request(at, |seen| seen.gone = Some(trouble.clone()));
                return trouble;
            }
        }
    }
}

/// Between requests a connection may rest as long as it likes.
async fn read_head(wire: &mut Wire) -> Result<Head, Trouble> {
    while wire.held().is_empty() {
        wire.more().await?;
    }
    Head::read(wire).await
}

/// Why a connection does not go on.
enum End {
    /// The script says so.
    Ours,
    /// The client left or talks nonsense.
    Theirs(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Theirs(trouble)
    }
}

struct Exchange<'a> {
    wire: Wire,
    journal: &'a Journal,
    at: usize,
    request: Incoming,
    framing: Framing,
}

impl Exchange<'_> {
    /// The connection, if it can take another request.
    async fn perform(mut self, script: Script) -> Result<Wire, End> {
        let mut length = script.length();
        let mut acts = VecDeque::from(script.acts);
        // There is nothing more to wait for where there is no content.
        self.note();
        while let Some(act) = acts.pop_front() {
            match act {
                Act::Read => self.read().await?,
                Act::Interim(status, fields) => self.head(status, "", &fields, None).await?,
                Act::Head { status, reason, fields } => self.head(status, &reason, &fields, Some(length)).await?,
                Act::Data(octets) => self.data(&octets).await?,
                Act::Raw(octets) => self.wire.send(octets).await?,
                Act::Trailers(fields) => {
                    self.wire.send([b"0\r\n", &lines(&fields)[..], b"\r\n"].concat()).await?;
                    self.framing = Framing::None;
                }
                Act::Hold(gate) => self.hold(gate.passed()).await?,
                Act::Then(make) => {
                    let next = make(&self.journal.look(self.at));
                    (length, self.framing) = (next.length(), next.framing);
                    acts = next.acts.into();
                }
                Act::Count(count) => drop(count.fetch_add(1, Ordering::SeqCst)),
                Act::Echo => return Err(self.echo().await),
                Act::Speak(talk) => {
                    self.answered();
                    talk(self.wire).await;
                    return Err(End::Ours);
                }
                Act::Close => {
                    self.answered();
                    let _ = self.wire.finish().await;
                    return Err(End::Ours);
                }
                Act::Cut => return Err(End::Ours),
                Act::ResetFor(_) => panic!("there is no such thing in HTTP/1.1"),
                Act::Reset => {
                    self.wire.reset();
                    return Err(End::Ours);
                }
            }
        }
        if self.framing == Framing::Chunked {
            self.wire.send("0\r\n\r\n").await?;
        }
        self.answered();
        if self.framing == Framing::UntilClose {
            let _ = self.wire.finish().await;
            return Err(End::Ours);
        }
        self.read().await?;
        Ok(self.wire)
    }

    fn answered(&self) {
        self.journal.request(self.at, |seen| seen.answered = true);
    }

    async fn read(&mut self) -> Result<(), Trouble> {
        while self.request.next(&mut self.wire).await?.is_some() {
            self.note();
        }
        self.note();
        Ok(())
    }

    fn note(&self) {
        let request = &self.request;
        self.journal.request(self.at, |seen| {
            seen.content.extend_from_slice(&request.content[seen.content.len()..]);
            seen.wire_content.extend_from_slice(&request.wire[seen.wire_content.len()..]);
            seen.trailers = fields(&Head::new([b"\r\n", &request.trailers[..]].concat()));
            seen.complete = request.is_complete();
        });
    }

    async fn head(&mut self, status: u16, reason: &str, fields: &[(String, Vec<u8>)], length: Option<usize>) -> Result<(), Trouble> {
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
        head.extend_from_slice(&lines(fields));
        let framed = fields.iter().any(|(name, _)| ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()));
        match (self.framing, length) {
            (Framing::Length(_), Some(length)) if !framed && status != 204 && status != 304 => {
                head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
            }
            (Framing::Chunked, Some(_)) if !framed => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            _ => {}
        }
        head.extend_from_slice(b"\r\n");
        self.wire.send(head).await
    }

    async fn data(&mut self, octets: &[u8]) -> Result<(), Trouble> {
        match self.framing {
            Framing::Chunked => self.wire.send([format!("{:x}\r\n", octets.len()).as_bytes(), octets, b"\r\n"].concat()).await,
            _ => self.wire.send(octets).await,
        }
    }

    /// Waits for `event`, or for the client to leave. What it sends meanwhile is kept.
    async fn hold(&mut self, event: impl Future<Output = ()>) -> Result<(), Trouble> {
        tokio::pin!(event);
        loop {
            tokio::select! {
                biased;
                () = &mut event => return Ok(()),
                more = self.wire.more() => more?,
            };
        }
    }

    async fn echo(mut self) -> End {
        loop {
            while self.wire.held().is_empty() {
                if let Err(trouble) = self.wire.more().await {
                    return End::Theirs(trouble);
                }
            }
            let octets = match self.wire.some(usize::MAX).await {
                Ok(octets) => octets,
                Err(trouble) => return End::Theirs(trouble),
            };
            self.journal.request(self.at, |seen| seen.content.extend_from_slice(&octets));
            if let Err(trouble) = self.wire.send(octets).await {
                return End::Theirs(trouble);
            }
        }
    }
}

fn seen(head: &Head, connection: usize) -> Seen {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Seen {
        connection,
        head: head.octets().to_vec(),
        method: text(head.method()),
        target: text(head.target()),
        fields: fields(head),
        ..Seen::default()
    }
}

fn fields(head: &Head) -> Vec<(String, Vec<u8>)> {
    head.fields().into_iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect()
}

fn lines(fields: &[(String, Vec<u8>)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat()).collect()
}
