//! Requests over HTTP/1: inside a tunnel, and at the proxy's own port.
//!
//! `PATH` stands for a path of the case's own, `HOST` for the origin's authority; `/smuggled` is what an attacker wants somebody to see.

use flowgate_testkit::{
    Origin, Setup,
    proxy::{Options, Proxy},
};

use super::{Heard, Neighbour, filled, recording};

/// What must become of it.
#[derive(Clone, Copy)]
enum Fate {
    /// 400, then the connection is closed; the origin sees nothing of it.
    Refused,
    /// The head may have gone out, the request never becomes whole; the connection is closed.
    Cut,
    /// These requests arrive, and are answered: as [`super::strict::Asked`] is shown.
    Means(&'static [&'static str]),
}

use Fate::{Cut, Means, Refused};

/// What it is, why it is dangerous, the octets, what must become of it.
type Case = (&'static str, &'static str, &'static [u8], Fate);

const NEXT: &str = "the next request would begin elsewhere for another reader";
const WHOSE: &str = "whom it is for depends on the reader";
const LINES: &str = "where a line ends depends on the reader";

const IN_TUNNEL: &[Case] = &[
    // Content-Length and Transfer-Encoding.
    ("CL.TE", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", Refused),
    ("TE.CL", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n24\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n\r\n0\r\n\r\n", Refused),
    ("CL.0 with TE", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("two lengths that differ", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nContent-Length: 37\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("two lengths that agree", "one reader may drop one of them", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("three lengths", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\nX: 1\r\ncontent-length: 3\r\nCONTENT-LENGTH: 4\r\n\r\nabcd", Refused),
    ("a list of lengths", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3, 3\r\n\r\nabc", Refused),
    ("a list of lengths that differ", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0,3\r\n\r\nabc", Refused),
    ("+3", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: +3\r\n\r\nabc", Refused),
    ("-1", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\nabc", Refused),
    ("a hexadecimal length", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0x3\r\n\r\nabc", Refused),
    ("an empty length", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length:\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a length with a space in it", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3 7\r\n\r\nabc", Refused),
    ("a length with letters behind", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3abc\r\n\r\nabc", Refused),
    ("a length with a fraction", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3.0\r\n\r\nabc", Refused),
    ("a quoted length", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: \"3\"\r\n\r\nabc", Refused),
    ("a length beyond 64 bits", "it wraps around in some readers", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 18446744073709551619\r\n\r\nabc", Refused),
    ("a length in digits beyond ASCII", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: \xef\xbc\x93\r\n\r\nabc", Refused),
    ("a length with a vertical tab", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: \x0b3\r\n\r\nabc", Refused),
    ("underscores in names", "some origins take _ for -; it is another field, and passes as one", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent_Length: 9\r\nContent-Length: 3\r\n\r\nabc", Means(&["POST PATH abc"])),
    // Transfer-Encoding in odd spellings.
    ("identity", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: identity\r\n\r\n", Refused),
    ("chunked, identity", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused),
    ("identity, chunked", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", Refused),
    ("xchunked", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused),
    ("chunkedx", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", Refused),
    ("chunked twice in a list", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused),
    ("chunked twice in lines", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("chunked, then another line", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", Refused),
    ("an empty member", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", Refused),
    ("an empty member behind", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", Refused),
    ("an empty coding", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", Refused),
    ("an empty coding and a length", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("a parameter", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused),
    ("quotes", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused),
    ("gzip, chunked", "what is behind the coding is not looked into", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused),
    ("a vertical tab before chunked", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused),
    ("a NUL behind chunked", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", Refused),
    ("a no-break space", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n", Refused),
    ("a bare CR behind chunked", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\r\n\r\n0\r\n\r\n", Refused),
    ("chunked on a folded line", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refused),
    ("chunked in HTTP/1.0", NEXT, b"POST PATH HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("a tab before chunked", "white space around a value is none of it", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\tchunked\t\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Means(&["POST PATH abc"])),
    ("CHUNKED", "codings have no case", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Means(&["POST PATH abc"])),
    ("the coding named by Connection", "whoever drops it reads no chunks", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Means(&["POST PATH abc"])),
    ("the length named by Connection", "whoever drops it reads no content", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nConnection: content-length, host\r\nContent-Length: 3\r\n\r\nabc", Means(&["POST PATH abc"])),
    ("two requests in one write", "the plain case: both are requests", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabcGET PATH/2 HTTP/1.1\r\nHost: HOST\r\n\r\n", Means(&["POST PATH abc", "GET PATH/2"])),
    ("GET with content", "who takes GETs for empty begins the next request there", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 39\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: other\r\n\r\n", Means(&["GET PATH GET /smuggled HTTP/1.1\\r\\nHost: other\\r\\n\\r\\n"])),
    // Lines.
    ("obs-fold", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\r\n b\r\n\r\n", Refused),
    ("obs-fold with a tab", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\r\n\tb\r\n\r\n", Refused),
    ("a fold before the first field", LINES, b"GET PATH HTTP/1.1\r\n Host: HOST\r\n\r\n", Refused),
    ("a line of spaces", "to some it is the end of the head", b"GET PATH HTTP/1.1\r\nHost: HOST\r\n  \r\nX-A: a\r\n\r\n", Refused),
    ("bare LF behind the first line", LINES, b"GET PATH HTTP/1.1\nHost: HOST\r\n\r\n", Refused),
    ("bare LF behind a field", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\nTransfer-Encoding: chunked\r\n\r\n", Refused),
    ("bare LF throughout", LINES, b"GET PATH HTTP/1.1\nHost: HOST\n\n", Refused),
    ("LF LF as the head's end", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\n\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("bare CR in a value", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\rTransfer-Encoding: chunked\r\n\r\n", Refused),
    ("bare CR in a name", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-\rA: a\r\n\r\n", Refused),
    ("CR CR LF", LINES, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\r\r\n\r\n", Refused),
    ("a NUL in a value", "strings end there in C", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\0b\r\n\r\n", Refused),
    ("a NUL in a name", "strings end there in C", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX\0A: a\r\n\r\n", Refused),
    ("an escape in a value", "controls are no part of values", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: \x1b[2J\r\n\r\n", Refused),
    ("DEL in a value", "controls are no part of values", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: a\x7f\r\n\r\n", Refused),
    ("a space before the colon", "some drop the field, some trim the name", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("a tab before the colon", "some drop the field, some trim the name", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A\t: a\r\n\r\n", Refused),
    ("a space before the name", "it looks like a fold", b"GET PATH HTTP/1.1\r\nHost: HOST\r\n X-A: a\r\n\r\n", Refused),
    ("an empty name", "some skip the line", b"GET PATH HTTP/1.1\r\nHost: HOST\r\n: a\r\n\r\n", Refused),
    ("no colon", "some skip the line", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A\r\n\r\n", Refused),
    ("a name with a slash", "not a token", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX/A: a\r\n\r\n", Refused),
    ("a name beyond ASCII", "not a token; some fold it to ASCII", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encod\xc4\xb1ng: chunked\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("a pseudo-header field", "it would be one in HTTP/2", b"GET PATH HTTP/1.1\r\nHost: HOST\r\n:authority: other\r\n\r\n", Refused),
    // Chunks.
    ("a size in 0x", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size with +", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size with -", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size with a space before", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size with an underscore", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0_3\r\nabc\r\n0\r\n\r\n", Cut),
    ("no size", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n0\r\n\r\n", Cut),
    ("only an extension", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n;a\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size that overflows 64 bits", "it wraps around to 3", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size that overflows 32 bits", "it wraps around to 3", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n100000003\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Cut),
    ("a huge size", "more than will ever come", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nabc\r\n0\r\n\r\n", Cut),
    ("many zeros", "some readers count digits", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000000003\r\nabc\r\n0\r\n\r\n", Cut),
    ("a size line that ends in LF", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", Cut),
    ("a size line that ends in CR", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\rXabc\r\n0\r\n\r\n", Cut),
    ("a size line that ends in CR CR LF", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\r\nabc\r\n0\r\n\r\n", Cut),
    ("a form feed behind the size", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\x0c\r\nabc\r\n0\r\n\r\n", Cut),
    ("letters behind the size", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3 x\r\nabc\r\n0\r\n\r\n", Cut),
    ("data that ends in LF", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", Cut),
    ("data without an end", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n", Cut),
    ("data longer than its size", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Cut),
    ("a last chunk in LF", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\n\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Cut),
    ("no last chunk", "half a message", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Cut),
    ("an LF in an extension", "TERM.EXT: the line ends elsewhere", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n", Cut),
    ("a CR in an extension", "the line ends elsewhere", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n", Cut),
    ("a NUL in an extension", "strings end there in C", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;\0\r\nabc\r\n0\r\n\r\n", Cut),
    ("an extension of 300 octets", "bounded", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;LARGE\r\nabc\r\n0\r\n\r\n", Cut),
    ("an extension with a quoted line end", "quotes hide nothing", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"\r\nabc\r\n0\r\n\r\n", Means(&["POST PATH abc"])),
    ("extensions", "they are for this hop", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\" ; e\r\nabc\r\n0;z\r\n\r\n", Means(&["POST PATH abc"])),
    ("a size in capitals, with zeros", "the plain case", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n000A\r\n0123456789\r\n00\r\n\r\n", Means(&["POST PATH 0123456789"])),
    ("chunks that look like a request", "content is content", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n", Means(&["POST PATH GET /smuggled HTTP/1.1\\r\\n\\r\\n"])),
    // Trailers.
    ("a length in trailers", "a reader that merges them reads another message", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n", Cut),
    ("a coding in trailers", "a reader that merges them reads another message", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ntransfer-encoding: identity\r\n\r\n", Cut),
    ("Host in trailers", WHOSE, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: other\r\n\r\n", Cut),
    ("credentials in trailers", "for this hop only", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nProxy-Authorization: Basic YTpi\r\n\r\n", Cut),
    ("folded trailers", LINES, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: a\r\n b\r\n\r\n", Cut),
    ("a trailer with a space before the colon", LINES, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A : a\r\n\r\n", Cut),
    ("a request in place of trailers", NEXT, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Cut),
    ("trailers", "the plain case", b"POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n", Means(&["POST PATH abc"])),
    // Whom it is for.
    ("two Hosts", WHOSE, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nHost: other\r\n\r\n", Refused),
    ("two Hosts that agree", WHOSE, b"GET PATH HTTP/1.1\r\nHost: HOST\r\nhost: HOST\r\n\r\n", Refused),
    ("no Host", WHOSE, b"GET PATH HTTP/1.1\r\nX-A: a\r\n\r\n", Refused),
    ("a list of Hosts", WHOSE, b"GET PATH HTTP/1.1\r\nHost: HOST, other\r\n\r\n", Refused),
    ("userinfo in Host", WHOSE, b"GET PATH HTTP/1.1\r\nHost: other@HOST\r\n\r\n", Refused),
    ("a path in Host", WHOSE, b"GET PATH HTTP/1.1\r\nHost: HOST/other\r\n\r\n", Refused),
    ("a port that is none", WHOSE, b"GET PATH HTTP/1.1\r\nHost: localhost:80x\r\n\r\n", Refused),
    ("a space in Host", WHOSE, b"GET PATH HTTP/1.1\r\nHost: local host\r\n\r\n", Refused),
    ("absolute-form against Host", WHOSE, b"GET https://HOSTPATH HTTP/1.1\r\nHost: other\r\n\r\n", Refused),
    ("absolute-form against the tunnel", WHOSE, b"GET https://other.testPATH HTTP/1.1\r\nHost: other.test\r\n\r\n", Refused),
    ("absolute-form of another scheme", WHOSE, b"GET http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("absolute-form with userinfo", WHOSE, b"GET https://other@HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("absolute-form with a fragment", WHOSE, b"GET https://HOSTPATH#x HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("absolute-form that agrees", "the plain case, sent in origin-form", b"GET https://HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Means(&["GET PATH"])),
    // The first line.
    ("CONNECT inside", "a tunnel in a tunnel is none of ours", b"CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("a space in the target", "the version begins elsewhere", b"GET PATH /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a tab in the target", "some split at any white space", b"GET PATH\t/smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a NUL in the target", "strings end there in C", b"GET PATH\0 HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("an escape in the target", "controls are no part of it", b"GET PATH\x1b HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("DEL in the target", "controls are no part of it", b"GET PATH\x7f HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a vertical tab in the target", "some split at any white space", b"GET PATH\x0b HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("two spaces", "some split at any white space", b"GET  PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a tab for a space", "some split at any white space", b"GET\tPATH\tHTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a space in front", "an empty method", b" GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a space behind", "the version is another", b"GET PATH HTTP/1.1 \r\nHost: HOST\r\n\r\n", Refused),
    ("no version", "HTTP/0.9 has no head: what follows is content", b"GET PATH\r\nHost: HOST\r\n\r\n", Refused),
    ("HTTP/2.0", "the preface of another protocol", b"PRI * HTTP/2.0\r\nX: PATH\r\n\r\nSM\r\n\r\n", Refused),
    ("HTTP/1.2", "no such version", b"GET PATH HTTP/1.2\r\nHost: HOST\r\n\r\n", Refused),
    ("HTTP/1.10", "no such version", b"GET PATH HTTP/1.10\r\nHost: HOST\r\n\r\n", Refused),
    ("http/1.1", "versions have a case", b"GET PATH http/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a method with a colon", "it looks like a field", b"GE:T PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a method beyond ASCII", "not a token", b"G\xc3\x89T PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a method in small letters", "methods have a case: it is another method", b"get PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Means(&["get PATH"])),
    ("a method of symbols", "a token all the same", b"M-X!# PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Means(&["M-X!# PATH"])),
    ("an asterisk with GET", "for OPTIONS only", b"GET * HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("a target without a slash", "whose it is depends on the reader", b"GET smuggled HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("empty lines in front", "RFC 9112 §2.2: they are skipped", b"\r\n\r\nGET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Means(&["GET PATH"])),
    ("an LF in front", LINES, b"\nGET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("upgrade to h2c", "what follows would be HTTP/2 to the origin alone", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n", Means(&["GET PATH"])),
];

const AT_PROXY: &[Case] = &[
    (
        "absolute-form against Host",
        "RFC 9112 §3.2.2: the target wins, and Host is made to agree",
        b"GET http://HOSTPATH HTTP/1.1\r\nHost: other\r\n\r\n",
        Means(&["GET PATH"]),
    ),
    ("two Hosts", WHOSE, b"GET http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\nHost: other\r\n\r\n", Refused),
    ("no Host", WHOSE, b"GET http://HOSTPATH HTTP/1.1\r\nX: 1\r\n\r\n", Refused),
    ("a Host that is none", WHOSE, b"GET http://HOSTPATH HTTP/1.1\r\nHost: a b\r\n\r\n", Refused),
    ("userinfo", WHOSE, b"GET http://other@HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a backslash in the authority", WHOSE, b"GET http://HOST\\@otherPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("a percent-encoded authority", WHOSE, b"GET http://local%68ostPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("no authority", WHOSE, b"GET http:///xPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("another scheme", WHOSE, b"GET gopher://HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    (
        "CL.TE",
        NEXT,
        b"POST http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        Refused,
    ),
    ("two lengths", NEXT, b"POST http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Refused),
    (
        "a size with +",
        NEXT,
        b"POST http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        Cut,
    ),
    (
        "CONNECT with content",
        "the tunnel begins elsewhere",
        b"CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\nContent-Length: 3\r\n\r\nabc",
        Refused,
    ),
    (
        "CONNECT with chunks",
        "the tunnel begins elsewhere",
        b"CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    ("CONNECT with a path", WHOSE, b"CONNECT HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n", Refused),
    ("CONNECT with userinfo", WHOSE, b"CONNECT other@HOST HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("CONNECT without a port", WHOSE, b"CONNECT localhost HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("CONNECT with port +443", WHOSE, b"CONNECT localhost:+443 HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("CONNECT with two Hosts", WHOSE, b"CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nHost: other\r\nX: PATH\r\n\r\n", Refused),
    ("CONNECT with a URL", WHOSE, b"CONNECT http://HOST HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
    ("CONNECT with a NUL", WHOSE, b"CONNECT localhost\0:443 HTTP/1.1\r\nHost: HOST\r\nX: PATH\r\n\r\n", Refused),
];

#[tokio::test]
async fn requests_in_a_tunnel_have_one_meaning_or_none() {
    let (origin, heard) = recording(Setup::http1()).await;
    run(IN_TUNNEL, true, origin, heard).await;
}

#[tokio::test]
async fn requests_at_the_proxy_have_one_meaning_or_none() {
    let (origin, heard) = recording(Setup::clear()).await;
    run(AT_PROXY, false, origin, heard).await;
}

async fn run(cases: &[Case], in_tunnel: bool, origin: Origin, heard: Heard) {
    let proxy = Proxy::without_plugins(Options::new()).await;
    let host = origin.authority();
    let mut neighbour = Neighbour { connection: connection(&proxy, &origin, true).await, host: host.clone() };
    let large = "x".repeat(300);
    let mut expected = Vec::new();
    for (at, (name, why, octets, fate)) in cases.iter().enumerate() {
        let (what, path) = (format!("{name} ({why})"), format!("/case-{at}-"));
        let octets = filled(octets, &[("PATH", &path), ("HOST", &host), ("LARGE", &large)]);
        let mut client = connection(&proxy, &origin, in_tunnel).await;
        client.send(octets).await.unwrap();
        match fate {
            Refused => {
                let response = client.response("GET").await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
                assert_eq!(response.status(), 400, "{what}: {response:?}");
                assert!(client.wire().rest().await.0.is_empty(), "{what}: it is answered twice");
                assert!(!heard.contains(&path), "{what}: the origin hears of it");
            }
            Cut => {
                // A reader that waits for more shall not wait for ever.
                let _ = client.wire().finish().await;
                let (answer, _) = client.wire().rest().await;
                assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{what}: {}", answer.escape_ascii());
            }
            Means(requests) => {
                for asked in *requests {
                    let (method, asked) = (asked.split(' ').next().unwrap(), asked.replace("PATH", &path));
                    let response = client.response(method).await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
                    assert_eq!((response.status(), Some(&*response.text())), (200, asked.split(' ').nth(1)), "{what}");
                    expected.push(asked);
                }
            }
        }
        neighbour.asks(&what).await;
    }

    drop(neighbour);
    proxy.stop().await;
    origin.journal().wait("the end of all connections", |_, peers| peers.iter().all(|peer| peer.ended.is_some()).then_some(())).await;
    let requests = heard.requests();
    let seen: Vec<String> = requests.iter().filter(|asked| asked.target != "/neighbour").map(ToString::to_string).collect();
    assert_eq!(seen, expected, "nothing else has arrived whole");
    assert!(requests.iter().all(|asked| asked.fields.iter().any(|(name, value)| name == "Host" && *value == host.as_bytes())));
}

async fn connection(proxy: &Proxy, origin: &Origin, in_tunnel: bool) -> flowgate_testkit::client::H1 {
    match (in_tunnel, origin.url("").starts_with("https")) {
        (true, true) => proxy.client().h1(&origin.authority()).await.unwrap(),
        (true, false) => proxy.client().clear(&origin.authority()).await.unwrap(),
        (false, _) => proxy.client().to_proxy().await.unwrap(),
    }
}
