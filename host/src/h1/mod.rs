//! HTTP/1.x on the wire, octet for octet.
//!
//! Place: both ends of `exchange` read and write through it. A head is kept as it came (spelling, order, repeats, white space), framing that
//! can be understood in two ways is refused, and nothing is repaired. Knows no sockets and no TLS.
//! Source: RFC 9112.

mod body;
mod framing;
#[cfg(test)]
mod fuzz;
mod head;
mod reader;
mod writer;

pub use body::{Incoming, Piece};
pub use framing::{Framing, FramingError, contradicts_itself, request_framing, response_framing, trailers_are_sane};
pub use head::{HeadError, HeadLimits, RequestLine, parse_fields, parse_request, parse_response};
pub use reader::{ReadError, Reader};
pub use writer::{Outgoing, Writer, encode_request, encode_response};
