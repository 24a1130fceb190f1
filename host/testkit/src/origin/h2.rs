//! Performs scripts over HTTP/2, on the `h2` crate.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use flowgate::tasks::Tasks;
use h2::{
    Reason, RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::{Act, Answer, Journal, Script, Seen};
use crate::{message::Trouble, wire::Stream};

/// Serves one connection to its end; how that came.
/// `streams`: how many the client may have at a time.
pub(super) async fn serve(stream: Stream, answer: Answer, journal: Arc<Journal>, connection: usize, streams: Option<u32>) -> Trouble {
    let mut builder = server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20).max_header_list_size(1 << 20);
    if let Some(streams) = streams {
        builder.max_concurrent_streams(streams);
    }
    let mut accepting = match builder.handshake::<_, Bytes>(stream).await {
        Ok(accepting) => accepting,
        Err(error) => return trouble(&error),
    };
    let tasks = Tasks::new();
    while let Some(accepted) = accepting.accept().await {
        let (request, respond) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return trouble(&error),
        };
        let (head, content) = request.into_parts();
        let seen = seen(&Request::from_parts(head, ()), connection);
        let script = answer(&seen);
        let at = journal.asked(seen);
        let exchange = Exchange { journal: journal.clone(), at, request: content, respond, response: None };
        tasks.spawn(exchange.run(script));
    }
    Trouble::Closed
}

struct Exchange {
    journal: Arc<Journal>,
    at: usize,
    request: RecvStream,
    respond: SendResponse<Bytes>,
    response: Option<SendStream<Bytes>>,
}

impl Exchange {
    async fn run(mut self, script: Script) {
        let (journal, at) = (self.journal.clone(), self.at);
        match self.perform(script).await {
            Ok(()) => journal.request(at, |seen| seen.answered = true),
            Err(error) => journal.request(at, |seen| seen.gone = Some(trouble(&error))),
        }
    }

    async fn perform(&mut self, script: Script) -> Result<(), h2::Error> {
        let mut acts = VecDeque::from(script.acts);
        if self.request.is_end_stream() {
            self.journal.request(self.at, |seen| seen.complete = true);
        }
        while let Some(act) = acts.pop_front() {
            match act {
                Act::Read => self.read().await?,
                Act::Interim(status, fields) => self.respond.send_informational(head(status, &fields))?,
                Act::Head { status, fields, .. } => {
                    let over = acts.is_empty();
                    self.response = Some(self.respond.send_response(head(status, &fields), over)?);
                    if over {
                        return Ok(());
                    }
                }
                Act::Data(octets) => self.data(octets).await?,
                Act::Trailers(fields) => return self.stream().send_trailers(map(&fields)),
                Act::Hold(gate) => {
                    tokio::select! {
                        () = gate.passed() => {}
                        reason = left(&mut self.response, &mut self.respond) => return Err(reason?.into()),
                    }
                }
                Act::Then(make) => acts = make(&self.journal.look(self.at)).acts.into(),
                Act::Count(count) => drop(count.fetch_add(1, Ordering::SeqCst)),
                Act::Close => break,
                Act::Reset => {
                    self.reset(Reason::INTERNAL_ERROR);
                    return Ok(());
                }
                Act::ResetFor(reason) => {
                    self.reset(reason);
                    return Ok(());
                }
                Act::Raw(_) | Act::Echo | Act::Speak(_) | Act::Cut => panic!("{act:?} is for HTTP/1.1 only"),
            }
        }
        self.stream().send_data(Bytes::new(), true)
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.response {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    fn stream(&mut self) -> &mut SendStream<Bytes> {
        self.response.as_mut().expect("content follows a head")
    }

    async fn read(&mut self) -> Result<(), h2::Error> {
        while let Some(octets) = self.request.data().await {
            let octets = octets?;
            self.request.flow_control().release_capacity(octets.len())?;
            self.journal.request(self.at, |seen| seen.content.extend_from_slice(&octets));
        }
        let trailers = self.request.trailers().await?;
        self.journal.request(self.at, |seen| {
            seen.trailers = trailers.as_ref().map(fields).unwrap_or_default();
            seen.complete = true;
        });
        Ok(())
    }

    async fn data(&mut self, mut octets: Bytes) -> Result<(), h2::Error> {
        while !octets.is_empty() {
            let stream = self.stream();
            stream.reserve_capacity(octets.len());
            while stream.capacity() == 0 {
                if poll_fn(|context| stream.poll_capacity(context)).await.transpose()?.is_none() {
                    return Err(Reason::CANCEL.into());
                }
            }
            let now = octets.split_to(stream.capacity().min(octets.len()));
            stream.send_data(now, false)?;
        }
        Ok(())
    }
}

/// Waits until the client resets the stream.
async fn left(response: &mut Option<SendStream<Bytes>>, respond: &mut SendResponse<Bytes>) -> Result<Reason, h2::Error> {
    match response {
        Some(stream) => poll_fn(|context| stream.poll_reset(context)).await,
        None => poll_fn(|context| respond.poll_reset(context)).await,
    }
}

fn seen(head: &Request<()>, connection: usize) -> Seen {
    Seen {
        connection,
        http2: true,
        method: head.method().to_string(),
        target: head.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority: head.uri().authority().map(ToString::to_string).unwrap_or_default(),
        fields: fields(head.headers()),
        ..Seen::default()
    }
}

fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

fn head(status: u16, fields: &[(String, Vec<u8>)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().expect("scripts have real statuses");
    *response.headers_mut() = map(fields);
    response
}

fn map(fields: &[(String, Vec<u8>)]) -> HeaderMap {
    let pair = |(name, value): &(String, Vec<u8>)| {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).expect("scripts have real field names");
        (name, HeaderValue::from_bytes(value).expect("scripts have real field values"))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(pair) {
        map.append(name, value);
    }
    map
}

fn trouble(error: &h2::Error) -> Trouble {
    match error.reason() {
        Some(reason) if error.is_reset() => Trouble::Other(format!("stream reset: {reason:?}")),
        _ => Trouble::Other(error.to_string()),
    }
}
