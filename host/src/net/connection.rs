//! A client's connection to the proxy's own port.
//!
//! Place: between `listener` and `tunnel`. Nobody is dialled before the client is admitted.
//! Source: RFC 9112 §3.2, RFC 9110 §11.7.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::{Front, own, tunnel};
use crate::{
    exchange::{Served, Target, Via, at_proxy},
    flow::{ClientAddr, Fields, Refusal, Scope},
    h1::{Framing, request_framing},
    io::halves,
    origin::Destination,
};

/// Serves a connection to its end.
pub(super) async fn serve(front: Arc<Front>, stream: TcpStream, connection: u64, client: ClientAddr) {
    let (mut reader, mut writer) = halves(Box::new(stream), BytesMut::new());
    let exchange = front.exchange.clone();
    loop {
        let line = match exchange.next_request(&mut reader).await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(refusal) => return exchange.refuse(refusal, reader, writer).await,
        };
        let framing = request_framing(line.version, &line.fields).map_err(|error| Refusal::BadRequest(error.0));
        let (framing, target) = match (framing, at_proxy(line.clone())) {
            (Err(refusal), _) | (_, Err(refusal)) => return exchange.refuse(refusal, reader, writer).await,
            (Ok(framing), Ok(target)) => (framing, target),
        };
        match target {
            Target::Tunnel(authority) => {
                let scope = match admit(&front, connection, client, &line.fields).await {
                    Ok(scope) => scope,
                    // A CONNECT has no content, so the client can ask again on the same connection, as some insist on.
                    Err(refusal) => match own::say(&front, &refusal, reader, writer).await {
                        Some(halves) => {
                            (reader, writer) = halves;
                            continue;
                        }
                        None => return,
                    },
                };
                return tunnel::run(front, reader, writer, scope, authority).await;
            }
            Target::Forward(origin, head) => {
                let scope = match admit(&front, connection, client, &head.fields).await {
                    Ok(scope) => scope,
                    Err(refusal) if framing == Framing::Empty => match own::say(&front, &refusal, reader, writer).await {
                        Some(halves) => {
                            (reader, writer) = halves;
                            continue;
                        }
                        None => return,
                    },
                    Err(refusal) => return exchange.refuse(refusal, reader, writer).await,
                };
                let via = Via { scope, destination: Destination::new(origin) };
                match exchange.one(reader, writer, &via, head, framing).await {
                    Served::Next(read, write) => (reader, writer) = (read, write),
                    Served::Ended => return,
                }
            }
            Target::Own(head) => return exchange.say_and_close(&own::page(&front, &head), reader, writer).await,
        }
    }
}

async fn admit(front: &Front, connection: u64, client: ClientAddr, fields: &Fields) -> Result<Arc<Scope>, Refusal> {
    let principal = front.gate.admit(fields.get("proxy-authorization")).await?;
    Ok(Arc::new(Scope { connection, client, principal }))
}
