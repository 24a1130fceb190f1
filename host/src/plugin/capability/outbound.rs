//! `outbound`: a plugin's own requests, to origins the operator granted.
//!
//! Place: checked here, carried by whatever is behind the port `outbound`. The wait counts against the call's time by the clock and not
//! against its computing time: it is another task's, given up with the call.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    flow::{Authority, Field, Fields, Origin},
    outbound::{FetchError, Order, Outbound},
    plugin::{
        bindings::flowgate::plugin::{
            outbound::{Error, Host},
            types::{LocalResponse, RequestHead},
        },
        capability::context::Effect,
        convert,
        guest::Guest,
        settings::OutboundLimits,
    },
};

/// The ways out of one plugin.
pub(in crate::plugin) struct WayOut {
    pub(in crate::plugin) origins: Vec<Origin>,
    pub(in crate::plugin) limits: OutboundLimits,
    pub(in crate::plugin) carrier: Arc<dyn Outbound>,
    /// What carries decides about origins, too.
    pub(in crate::plugin) is_open: bool,
}

impl Host for Guest {
    async fn fetch(&mut self, head: RequestHead, body: Vec<u8>, timeout_ms: u32) -> wasmtime::Result<Result<LocalResponse, Error>> {
        self.admitted()?;
        self.hand_over(body.len())?;
        let Some(way) = &self.about.way_out else { return Ok(Err(Error::Denied)) };
        let order = match way.order(head, body) {
            Ok(order) => order,
            Err(error) => return Ok(Err(error)),
        };
        let fetching = way.carrier.fetch(order);
        self.act(Effect::Acted);
        // In a task of its own: what TLS and the like compute is not the guest's.
        let fetching = AbortOnDropHandle::new(self.about.tasks.spawn(fetching));
        let fetched = match timeout_ms {
            0 => fetching.await,
            millis => match timeout(Duration::from_millis(millis.into()), fetching).await {
                Ok(fetched) => fetched,
                Err(_elapsed) => return Ok(Err(Error::Timeout)),
            },
        };
        Ok(match fetched.map_err(wasmtime::Error::new)? {
            Ok(response) => Ok(LocalResponse {
                status: response.status.as_u16(),
                headers: convert::headers(&response.fields),
                body: response.content.into(),
            }),
            Err(FetchError::TooLarge) => Err(Error::TooLarge),
            Err(FetchError::Failed(why)) => Err(Error::Failed(why)),
        })
    }
}

impl WayOut {
    /// What is allowed first: a plugin learns nothing by trying.
    fn order(&self, head: RequestHead, body: Vec<u8>) -> Result<Order, Error> {
        let origin = convert::scheme(&head.scheme)
            .and_then(|scheme| {
                let authority =
                    Authority::parse_or(head.authority.as_bytes(), Some(scheme.default_port())).map_err(|error| error.to_string())?;
                Ok(Origin { scheme, authority })
            })
            .map_err(Error::Failed)?;
        if !self.is_open && !self.origins.iter().any(|granted| is_same(granted, &origin)) {
            return Err(Error::Denied);
        }
        if body.len() > self.limits.request_bytes {
            return Err(Error::TooLarge);
        }
        let method = match Method::from_bytes(head.method.as_bytes()) {
            Ok(Method::CONNECT) | Err(_) => return Err(Error::Failed(format!("{:?} is not a method of a request", head.method))),
            Ok(method) => method,
        };
        if !convert::is_path(&head.path) {
            return Err(Error::Failed(format!("{:?} is not a path", head.path)));
        }
        let mut fields = Fields::with_capacity(head.headers.len());
        for header in head.headers {
            // Said by the authority, and by the body.
            if header.name.eq_ignore_ascii_case("host") || convert::is_own_field(&header.name) {
                continue;
            }
            convert::check_field(&header.name, &header.value).map_err(Error::Failed)?;
            fields.append(Field::new(header.name.as_bytes(), &header.value));
        }
        Ok(Order { origin, method, path: Bytes::from(head.path), fields, content: body.into(), max_response: self.limits.response_bytes })
    }
}

fn is_same(one: &Origin, other: &Origin) -> bool {
    one.scheme == other.scheme
        && one.authority.port() == other.authority.port()
        && one.authority.host().eq_ignore_ascii_case(other.authority.host())
}
