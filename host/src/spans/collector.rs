//! The collector, reached as origins are: over this proxy's own connections, with the same trust and the same proxy on the way.
//!
//! Place: what the exporter of `mod` sends with, in place of an HTTP client of its own.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use http::Method;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use crate::{
    flow::{Fields, Origin},
    outbound::{Order, Outbound},
};

/// See the module.
#[derive(Clone)]
pub(super) struct Collector {
    outbound: Arc<dyn Outbound>,
    answer_bytes: usize,
    /// Why the last delivery failed: the exporter keeps that to itself.
    trouble: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    pub(super) fn new(outbound: Arc<dyn Outbound>, answer_bytes: usize) -> Self {
        Self { outbound, answer_bytes, trouble: Arc::default() }
    }

    /// Why the last delivery failed, where it did not get as far as an answer.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn order(&self, request: Request<Bytes>) -> Result<Order, HttpError> {
        let (head, content) = request.into_parts();
        let authority = head.uri.authority().ok_or("there is no host in its URL")?;
        let origin = Origin::parse(&format!("{}://{authority}", head.uri.scheme_str().unwrap_or("http")))?;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut fields = Fields::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            fields.push(name.as_str(), value.as_bytes());
        }
        Ok(Order { origin, method: Method::POST, path: path.into(), fields, content, max_response: self.answer_bytes })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.outbound.fetch(self.order(request)?).await?;
        let mut response = Response::builder().status(answer.status);
        // The only one that means something to the exporter.
        if let Some(after) = answer.fields.get("retry-after") {
            response = response.header("retry-after", after);
        }
        Ok(response.body(answer.content)?)
    }
}

impl HttpClient for Collector {
    // As the attribute `async_trait` has it.
    fn send_bytes<'here, 'future>(
        &'here self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'here: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            let sent = self.send(request).await;
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = sent.as_ref().err().map(ToString::to_string);
            sent
        })
    }
}
