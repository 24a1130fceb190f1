//! A reader of requests that forgives nothing: what it reads, every reader reads alike.
//!
//! Independent of the proxy's own. Source: RFC 9112 §3, §5, §6, §7.

/// One whole request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    /// In order.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) content: Vec<u8>,
}

/// `METHOD target content`, for tables.
impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        if self.content.is_empty() { Ok(()) } else { write!(f, " {}", self.content.escape_ascii()) }
    }
}

/// The whole requests at the front; one that is still to be completed may follow.
///
/// # Errors
/// What is wrong with it.
pub(super) fn requests(mut octets: &[u8]) -> Result<Vec<Asked>, String> {
    let mut all = Vec::new();
    while let Some((asked, rest)) = request(octets)? {
        all.push(asked);
        octets = rest;
    }
    Ok(all)
}

fn request(octets: &[u8]) -> Result<Option<(Asked, &[u8])>, String> {
    let Some(end) = find(octets, b"\r\n\r\n") else { return Ok(None) };
    let (head, mut rest) = (&octets[..end], &octets[end + 4..]);
    let mut lines = lines(head)?.into_iter();
    let first: Vec<&[u8]> = lines.next().unwrap_or_default().split(|octet| *octet == b' ').collect();
    let [method, target, version] = first[..] else { return Err("the first line has not three words".into()) };
    if !is_token(method) || target.is_empty() || target.iter().any(|octet| *octet <= b' ' || *octet == 0x7f) {
        return Err("method or target".into());
    }
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err("version".into());
    }
    let fields = fields(lines)?;
    let all = |name: &str| fields.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..]).collect::<Vec<_>>();
    let (hosts, lengths, codings) = (all("host"), all("content-length"), all("transfer-encoding"));
    if hosts.len() > 1 || (hosts.is_empty() && version == b"HTTP/1.1") {
        return Err(format!("{} Hosts", hosts.len()));
    }
    let mut content = Vec::new();
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([length], []) => {
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
            let length: usize = length.ok_or("Content-Length is no number")?;
            if rest.len() < length {
                return Ok(None);
            }
            (content, rest) = (rest[..length].to_vec(), &rest[length..]);
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && version == b"HTTP/1.1" => match chunks(rest)? {
            Some((data, after)) => (content, rest) = (data, after),
            None => return Ok(None),
        },
        _ => return Err(format!("framing: {lengths:?} {codings:?}")),
    }
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Ok(Some((Asked { method: text(method), target: text(target), fields, content }, rest)))
}

/// Data, and what follows it; `None` where it is not all there.
type Chunks<'a> = Option<(Vec<u8>, &'a [u8])>;

fn chunks(mut rest: &[u8]) -> Result<Chunks<'_>, String> {
    let mut data = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Ok(None) };
        let digits = &rest[..end];
        if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("chunk size {}", digits.escape_ascii()));
        }
        let size = usize::from_str_radix(&String::from_utf8_lossy(digits), 16).map_err(|error| error.to_string())?;
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        if rest.len() < size + 2 {
            return Ok(None);
        }
        if &rest[size..size + 2] != b"\r\n" {
            return Err("a chunk does not end in CRLF".into());
        }
        data.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    if let Some(after) = rest.strip_prefix(b"\r\n") {
        return Ok(Some((data, after)));
    }
    let Some(end) = find(rest, b"\r\n\r\n") else { return Ok(None) };
    for (name, _) in fields(lines(&rest[..end])?.into_iter())? {
        let forbidden = ["content-length", "transfer-encoding", "host", "connection", "proxy-authorization"];
        if forbidden.contains(&&*name.to_ascii_lowercase()) {
            return Err(format!("{name} in trailers"));
        }
    }
    Ok(Some((data, &rest[end + 4..])))
}

/// Ends are CRLF; there is neither of the two elsewhere.
fn lines(section: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    let mut rest = section;
    loop {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        if rest[..end].iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
            return Err("a bare CR or LF".into());
        }
        lines.push(&rest[..end]);
        match rest.get(end + 2..) {
            Some(more) => rest = more,
            None => return Ok(lines),
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|octet| *octet == b':').ok_or("a field line without colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || value.iter().any(|octet| (*octet < b' ' && *octet != b'\t') || *octet == 0x7f) {
            return Err(format!("field {}", line.escape_ascii()));
        }
        Ok((String::from_utf8_lossy(name).into_owned(), value.to_vec()))
    };
    lines.map(field).collect()
}

fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet))
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

#[test]
fn the_reader_forgives_nothing() {
    let good =
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET";
    let read: Vec<String> = requests(good).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(read, ["POST /a abc", "GET /b"]);

    let bad: [&[u8]; 8] = [
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\na\r\n0\r\n\r\n",
    ];
    for octets in bad {
        assert!(requests(octets).is_err(), "{}", octets.escape_ascii());
    }
}
