//! Requests of the proxy's own, as plugins order them.
//!
//! Place: carries for [`Outbound`], over the same connections, with the same trust, and with the same refusal to dial the proxy itself, as
//! clients' requests.
//! Source: RFC 9110, RFC 9112, RFC 9113.

use std::{io, net::Ipv4Addr, pin::pin, sync::Arc};

use bytes::BytesMut;
use http::{Method, StatusCode, Version};

use super::{
    Limits,
    ends::{Answer, NoAnswer, Sink, h2_error},
    fields, http2, respond,
};
use crate::{
    flow::{ClientAddr, Fields, LocalResponse, Origin, Principal, Refusal, RequestHead, ResponseHead, Scope},
    h1::{Framing, encode_request, response_framing},
    hooks::BoxFuture,
    origin::{Connection, Destination, Lease, Pool, Share},
    outbound::{FetchError, Order, Outbound},
};

/// See the module.
pub struct Fetcher {
    pool: Arc<Pool>,
    limits: Limits,
    /// Whose HTTP/2 connections are used: plugins share theirs.
    scope: Arc<Scope>,
}

impl Fetcher {
    /// Over connections of `pool`.
    pub fn new(pool: Arc<Pool>, limits: Limits) -> Self {
        let nobody = ClientAddr((Ipv4Addr::UNSPECIFIED, 0).into());
        Self { pool, limits, scope: Arc::new(Scope { connection: 0, client: nobody, principal: Principal::UNKNOWN }) }
    }
}

impl Outbound for Fetcher {
    fn fetch(&self, order: Order) -> BoxFuture<'static, Result<LocalResponse, FetchError>> {
        let errand = Errand { pool: self.pool.clone(), limits: self.limits, scope: self.scope.clone(), order };
        Box::pin(async move {
            errand.run().await.map_err(|end| match end {
                End::TooLarge => FetchError::TooLarge,
                End::Refused(refusal) => FetchError::Failed(respond::sentence(&refusal)),
            })
        })
    }
}

struct Errand {
    pool: Arc<Pool>,
    limits: Limits,
    scope: Arc<Scope>,
    order: Order,
}

/// Why there is no response.
enum End {
    TooLarge,
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Errand {
    /// Once more on a fresh connection where a kept one turned out to be dead, as for clients.
    async fn run(&self) -> Result<LocalResponse, End> {
        let destination = Destination::new(self.order.origin.clone());
        let mut lease = self.pool.http2(&destination, &self.scope, false).await?;
        loop {
            let mut connection = match lease {
                Lease::Http2(share) => return self.over_http2(&share).await,
                Lease::Http1(connection) => connection,
            };
            match self.over_http1(&mut connection).await {
                Err(End::Refused(Refusal::NoResponse { .. })) if connection.reused && self.order.method.is_idempotent() => {
                    lease = Lease::Http1(self.pool.http1(&destination, &self.scope, true).await?);
                }
                Err(end) => return Err(end),
                Ok((response, persists)) => {
                    if fields::logs_in(&self.order.fields) || fields::logs_in(&response.fields) {
                        connection.carry_login_of(&self.scope);
                    }
                    if persists {
                        self.pool.give_back(destination, *connection);
                    }
                    return Ok(response);
                }
            }
        }
    }

    async fn over_http1(&self, connection: &mut Connection) -> Result<(LocalResponse, bool), End> {
        let Connection { reader, writer, .. } = connection;
        let RequestHead { method, path, version, fields, .. } = self.head(Version::HTTP_11);
        let buffer: &mut BytesMut = writer.buffer();
        encode_request(buffer, &method, &path, version, &fields);
        writer.be_patient(self.limits.idle);
        let sink = Sink::Http1 { writer, outgoing: self.framing().into() };
        self.talk(sink, Answer::Http1(reader)).await
    }

    async fn over_http2(&self, share: &Share) -> Result<LocalResponse, End> {
        let ends = self.order.content.is_empty();
        let outgoing = http2::request(&self.head(Version::HTTP_2))?;
        let failed = |error| Refusal::NoResponse { origin: self.order.origin.clone(), source: Some(h2_error(error)) };
        let mut send = share.send.clone().ready().await.map_err(failed)?;
        let (answer, stream) = send.send_request(outgoing, ends).map_err(failed)?;
        let sink = if ends { Sink::Ended } else { Sink::Http2 { stream, flushes: None, idle: self.limits.idle } };
        self.talk(sink, Answer::Http2(answer, None)).await.map(|(response, _)| response)
    }

    /// Both directions at once: an origin may answer before it has read all. The second value: the connection can carry another request.
    async fn talk(&self, mut sink: Sink<'_>, answer: Answer<'_>) -> Result<(LocalResponse, bool), End> {
        let upload = async {
            if !self.order.content.is_empty() {
                sink.put(self.order.content.clone()).await?;
            }
            sink.finish(&Fields::default())?;
            sink.flush().await
        };
        let (mut upload, mut download) = (pin!(upload), pin!(self.download(answer)));
        let mut uploaded: Option<io::Result<()>> = None;
        loop {
            tokio::select! {
                biased;
                response = &mut download => {
                    let (response, persists) = response?;
                    return Ok((response, persists && matches!(uploaded, Some(Ok(())))));
                }
                // The origin may take no more and answer all the same.
                end = &mut upload, if uploaded.is_none() => uploaded = Some(end),
            }
        }
    }

    async fn download(&self, mut answer: Answer<'_>) -> Result<(LocalResponse, bool), End> {
        let origin = &self.order.origin;
        let bad = |reason: String| Refusal::BadResponse { origin: origin.clone(), reason };
        let head = self.final_head(&mut answer).await?;
        let method = &self.order.method;
        let framing = match head.version {
            Version::HTTP_2 => http2::response_framing(method, &head),
            _ => response_framing(method, &head).map_err(|error| bad(error.0.to_owned()))?,
        };
        let persists = framing != Framing::UntilClose && fields::persists(head.version, &head.fields);
        let mut content = answer.content(framing, self.limits.idle);
        match content.hold(self.order.max_response).await {
            Ok(Ok((pieces, _trailers))) => {
                Ok((LocalResponse { status: head.status, fields: head.fields, content: pieces.into_octets() }, persists))
            }
            Ok(Err(_beyond)) => Err(End::TooLarge),
            Err(error) => Err(bad(error.to_string()).into()),
        }
    }

    /// Past interim responses (RFC 9110 §15.2), which nobody waits for here.
    async fn final_head(&self, answer: &mut Answer<'_>) -> Result<ResponseHead, Refusal> {
        let origin: &Origin = &self.order.origin;
        let bad = |reason: &str| Refusal::BadResponse { origin: origin.clone(), reason: reason.to_owned() };
        for _ in 0..self.limits.interim_responses {
            let head = answer.head(self.limits.head).await.map_err(|none| match none {
                NoAnswer::Closed(source) => Refusal::NoResponse { origin: origin.clone(), source },
                NoAnswer::Malformed(reason) => bad(&reason),
            })?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Err(bad("it switches protocols unasked")),
                status if status.is_informational() => {}
                _ => return Ok(head),
            }
        }
        Err(bad("too many interim responses"))
    }

    fn head(&self, version: Version) -> RequestHead {
        let Order { origin, method, path, fields, content, .. } = &self.order;
        let authority = origin.host_field().to_string();
        let mut all = Fields::with_capacity(fields.len() + 2);
        if version != Version::HTTP_2 {
            all.push("Host", &authority);
        }
        for field in fields {
            all.append(field.clone());
        }
        // RFC 9110 §8.6: said where content is expected, even if there is none.
        if !content.is_empty() || matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            all.push("Content-Length", content.len().to_string());
        }
        let (method, path, scheme) = (method.clone(), path.clone(), origin.scheme);
        RequestHead { method, scheme, authority: authority.into(), path, version, fields: all }
    }

    fn framing(&self) -> Framing {
        match self.order.content.len() {
            0 => Framing::Empty,
            octets => Framing::Length(octets as u64),
        }
    }
}
