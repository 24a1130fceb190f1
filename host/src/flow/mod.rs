//! The vocabulary: what one exchange is made of, from its beginning to its record.
//!
//! Place: shared by everything; knows no sockets, no TLS and no WebAssembly.
//! Source: RFC 9110 for the words.

mod authority;
mod budget;
mod coding;
mod content;
mod decoded;
mod decoder;
mod fields;
#[cfg(test)]
mod fuzz;
mod head;
mod message;
mod open;
mod pieces;
mod refusal;
mod scope;
mod state;

pub use authority::{Authority, AuthorityError, Origin, Scheme};
pub use budget::{CaptureBudget, Charge};
pub use content::Content;
pub use decoded::{Decoded, decode};
pub use decoder::Decoder;
pub use fields::{Field, Fields, HTTP_DATE, is_field_value, is_token};
pub(crate) use head::media_type;
pub use head::{Direction, RequestHead, ResponseHead};
pub use message::{Message, MessageKind, PassedMessage};
pub use open::OpenFlow;
pub use pieces::Pieces;
pub use refusal::{Challenge, Refusal};
pub use scope::{ClientAddr, Principal, Scope};
pub use state::{Flow, FlowId, LocalResponse, Outcome, Replaced, SharedFlow, Timings, lock};
