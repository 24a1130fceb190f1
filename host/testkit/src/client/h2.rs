//! HTTP/2 as a client, on the `h2` crate.

use std::{future::poll_fn, time::Instant};

use bytes::Bytes;
use flowgate::tasks::Tasks;
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use tokio::{task::JoinHandle, time::timeout};

use super::Failure;
use crate::{
    message::{Piece, Trouble},
    patience::{PATIENCE, within},
    wire::Wire,
};

/// A connection; closed when dropped.
pub struct H2 {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Drop for H2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl H2 {
    /// Over a connection on which HTTP/2 was agreed on.
    ///
    /// # Errors
    /// The preface was not answered.
    pub async fn over(wire: Wire) -> Result<Self, Failure> {
        let mut builder = Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20).max_header_list_size(1 << 20).enable_push(false);
        let handshake = timeout(PATIENCE, builder.handshake(wire.into_stream()));
        let (send, connection) = handshake.await.map_err(|_elapsed| Failure::from(Trouble::Silent))??;
        Ok(Self { send, driver: Tasks::new().spawn(connection) })
    }

    /// Waits until the other side has ended the connection.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn ended(&mut self) {
        let _ = within("the end of the HTTP/2 connection", &mut self.driver).await;
    }

    /// Sends a request and reads its response to the end.
    ///
    /// # Errors
    /// There is no response.
    pub async fn exchange(&mut self, request: Request<Bytes>) -> Result<H2Response, Failure> {
        let (head, content) = request.into_parts();
        let (response, mut sending) = self.begin(Request::from_parts(head, ()), content.is_empty()).await?;
        if !content.is_empty() {
            send(&mut sending, content, true).await?;
        }
        Ok(H2Answer::of(response).await?.finish().await)
    }

    /// Sends a request's head; content (unless `over`) is for the caller to send.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn begin(&mut self, head: Request<()>, over: bool) -> Result<(ResponseFuture, SendStream<Bytes>), Failure> {
        let mut ready = within("a place for another stream", self.send.clone().ready()).await?;
        Ok(ready.send_request(head, over)?)
    }
}

/// Sends content as the window allows.
///
/// # Errors
/// The stream or the connection is gone.
pub async fn send(stream: &mut SendStream<Bytes>, mut content: Bytes, over: bool) -> Result<(), h2::Error> {
    while !content.is_empty() {
        stream.reserve_capacity(content.len());
        while stream.capacity() == 0 {
            let granted = within("room in the window", poll_fn(|context| stream.poll_capacity(context))).await;
            if granted.transpose()?.is_none() {
                return Err(h2::Reason::CANCEL.into());
            }
        }
        let now = content.split_to(stream.capacity().min(content.len()));
        stream.send_data(now, over && content.is_empty())?;
    }
    Ok(())
}

/// A response whose head has come.
pub struct H2Answer {
    /// Statuses and fields of interim responses that came before.
    pub interim: Vec<(u16, HeaderMap)>,
    /// The status.
    pub status: u16,
    /// Without pseudo-fields.
    pub fields: HeaderMap,
    body: RecvStream,
    content: Vec<u8>,
    pieces: Vec<Piece>,
}

impl H2Answer {
    /// Waits for the head.
    ///
    /// # Errors
    /// The stream was reset or the connection is gone.
    pub async fn of(mut response: ResponseFuture) -> Result<Self, Failure> {
        let mut interim = Vec::new();
        while let Some(before) = timeout(PATIENCE, poll_fn(|context| response.poll_informational(context)))
            .await
            .map_err(|_elapsed| Failure::from(Trouble::Silent))?
        {
            let before = before?;
            interim.push((before.status().as_u16(), before.headers().clone()));
        }
        let response = timeout(PATIENCE, response).await.map_err(|_elapsed| Failure::from(Trouble::Silent))??;
        let (head, body) = response.into_parts();
        Ok(Self { interim, status: head.status.as_u16(), fields: head.headers, body, content: Vec::new(), pieces: Vec::new() })
    }

    /// The next octets of content as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// How the content was cut short.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let data = timeout(PATIENCE, self.body.data()).await.map_err(|_elapsed| Trouble::Silent)?;
        let Some(octets) = data.transpose().map_err(trouble)? else { return Ok(None) };
        self.body.flow_control().release_capacity(octets.len()).map_err(trouble)?;
        self.content.extend_from_slice(&octets);
        self.pieces.push(Piece { at: Instant::now(), octets: octets.clone() });
        Ok(Some(octets))
    }

    /// Reads content until it ends with `mark`; returns all content so far.
    ///
    /// # Errors
    /// How the content was cut short, or [`Trouble::Closed`] where it ended otherwise.
    pub async fn until(&mut self, mark: &[u8]) -> Result<&[u8], Trouble> {
        while !self.content.ends_with(mark) {
            self.next().await?.ok_or(Trouble::Closed)?;
        }
        Ok(&self.content)
    }

    /// Reads to the end, well or not.
    pub async fn finish(mut self) -> H2Response {
        let trouble = loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(trouble) => break Some(trouble),
            }
        };
        let trailers = if trouble.is_none() { self.trailers().await } else { Ok(None) };
        H2Response {
            interim: self.interim,
            status: self.status,
            fields: self.fields,
            content: self.content,
            trouble: trouble.or(trailers.as_ref().err().cloned()),
            trailers: trailers.ok().flatten(),
            pieces: self.pieces,
        }
    }

    async fn trailers(&mut self) -> Result<Option<HeaderMap>, Trouble> {
        timeout(PATIENCE, self.body.trailers()).await.map_err(|_elapsed| Trouble::Silent)?.map_err(trouble)
    }
}

fn trouble(error: h2::Error) -> Trouble {
    Trouble::Other(error.to_string())
}

/// A response as it came.
#[derive(Debug)]
pub struct H2Response {
    /// Statuses and fields of interim responses that came before.
    pub interim: Vec<(u16, HeaderMap)>,
    /// The status.
    pub status: u16,
    /// Without pseudo-fields.
    pub fields: HeaderMap,
    /// All content.
    pub content: Vec<u8>,
    /// Where there were any.
    pub trailers: Option<HeaderMap>,
    /// When what came.
    pub pieces: Vec<Piece>,
    /// How the content was cut short; `None`: it is complete.
    pub trouble: Option<Trouble>,
}
