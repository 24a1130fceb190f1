//! The port between plugins that fetch something and whatever carries that.
//!
//! Place: `plugin` orders, `exchange` carries; a test may carry natively. Neither side knows the other. Who may fetch from where is decided
//! before an order is made.

use bytes::Bytes;
use http::Method;

use crate::{
    flow::{Fields, LocalResponse, Origin},
    hooks::BoxFuture,
};

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where to.
    pub origin: Origin,
    /// Anything but CONNECT.
    pub method: Method,
    /// Path with query: begins with `/`, or is `*`.
    pub path: Bytes,
    /// Without Host and whatever frames the content.
    pub fields: Fields,
    /// May be empty.
    pub content: Bytes,
    /// Most octets of the response's content.
    pub max_response: usize,
}

/// Why there is no response.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetchError {
    /// The content of the response is longer than [`Order::max_response`].
    #[error("the response is too large")]
    TooLarge,
    /// In a sentence for people.
    #[error("{0}")]
    Failed(String),
}

/// Carries orders. Its waits are bounded by whoever orders: dropping the future gives the order up.
pub trait Outbound: Send + Sync + 'static {
    /// Sends the request and waits for the whole response. Redirections are the guest's affair, as are content codings.
    fn fetch(&self, order: Order) -> BoxFuture<'static, Result<LocalResponse, FetchError>>;
}

/// Nothing is carried.
impl Outbound for () {
    fn fetch(&self, _: Order) -> BoxFuture<'static, Result<LocalResponse, FetchError>> {
        Box::pin(async { Err(FetchError::Failed("this proxy has no way out".into())) })
    }
}
