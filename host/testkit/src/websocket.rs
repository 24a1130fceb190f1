//! WebSocket ends that say each frame exactly as told and show each frame exactly as it came.
//!
//! Place: on both sides of the proxy in tests, over any [`Wire`]. Shares no code with the proxy.
//! Source: RFC 6455 §5, RFC 7692 §7.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::{
    client::{Client, Failure, request},
    message::Trouble,
    wire::Wire,
};

/// Opcodes (RFC 6455 §11.8).
pub const CONTINUATION: u8 = 0;
/// A text message.
pub const TEXT: u8 = 1;
/// A binary message.
pub const BINARY: u8 = 2;
/// A close frame.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// FIN.
    pub is_last: bool,
    /// RSV1.
    pub is_compressed: bool,
    /// As it stands.
    pub opcode: u8,
    /// The key, if it is masked.
    pub key: Option<[u8; 4]>,
    /// Mask off, compression on.
    pub content: Vec<u8>,
}

/// A whole message, or a control frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Of its first frame.
    pub opcode: u8,
    /// Compression off.
    pub content: Vec<u8>,
}

impl Message {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self { opcode: TEXT, content: text.as_bytes().to_vec() }
    }

    /// The content as text, for comparing.
    pub fn as_text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// One end of a connection that has switched.
#[derive(Debug)]
pub struct WebSocket {
    wire: Wire,
    is_client: bool,
    deflate: Option<Deflate>,
    keys: u32,
    begun: Option<(u8, bool, Vec<u8>)>,
}

/// `permessage-deflate` as agreed: whether this side and the other forget their context after each message.
#[derive(Debug)]
struct Deflate {
    out: Compress,
    forgets: bool,
    incoming: Decompress,
    other_forgets: bool,
}

impl WebSocket {
    /// A client's end.
    pub fn client(wire: Wire) -> Self {
        Self { wire, is_client: true, deflate: None, keys: 0x1234_5678, begun: None }
    }

    /// A server's end.
    pub fn server(wire: Wire) -> Self {
        Self { is_client: false, ..Self::client(wire) }
    }

    /// With compression: whether this side, and the other, forget their context after each message.
    #[must_use]
    pub fn deflating(mut self, forgets: bool, other_forgets: bool) -> Self {
        let (out, incoming) = (Compress::new(Compression::default(), false), Decompress::new(false));
        self.deflate = Some(Deflate { out, forgets, incoming, other_forgets });
        self
    }

    /// Reads a request's head on a fresh connection and switches, with those extensions.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn accept(mut wire: Wire, extensions: Option<&str>) -> Result<Self, Trouble> {
        wire.until(b"\r\n\r\n").await?;
        wire.send(switched(extensions)).await?;
        Ok(Self::server(wire))
    }

    /// Asks for a WebSocket over TLS at `path`, and takes the 101.
    ///
    /// # Errors
    /// There is none.
    ///
    /// # Panics
    /// Where the answer is another.
    pub async fn open(client: &Client, authority: &str, path: &str, extensions: Option<&str>) -> Result<Self, Failure> {
        let mut connection = client.h1(authority).await?;
        let mut fields = vec![("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
        fields.push(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="));
        fields.extend(extensions.map(|extensions| ("Sec-WebSocket-Extensions", extensions)));
        connection.send(request("GET", path, authority, &fields, b"")).await?;
        let head = connection.head().await?;
        assert_eq!(head.status(), 101);
        Ok(Self::client(connection.into_wire()))
    }

    /// The connection.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// A whole message in one frame, compressed where that was agreed.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn send(&mut self, opcode: u8, content: &[u8]) -> Result<(), Trouble> {
        let octets = self.message(opcode, content);
        self.wire.send(octets).await
    }

    /// A text message.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn say(&mut self, text: &str) -> Result<(), Trouble> {
        self.send(TEXT, text.as_bytes()).await
    }

    /// The octets of such a message, without sending them.
    pub fn message(&mut self, opcode: u8, content: &[u8]) -> Vec<u8> {
        let is_compressed = self.deflate.is_some() && opcode < CLOSE;
        let content = if is_compressed { self.compress(content) } else { content.to_vec() };
        self.frame(true, is_compressed, opcode, &content)
    }

    /// A message compressed.
    ///
    /// # Panics
    /// Where no compression was agreed.
    pub fn compress(&mut self, content: &[u8]) -> Vec<u8> {
        let deflate = self.deflate.as_mut().expect("compression was agreed");
        if deflate.forgets {
            deflate.out.reset();
        }
        let mut out = Vec::with_capacity(content.len() + content.len() / 100 + 1024);
        deflate.out.compress_vec(content, &mut out, FlushCompress::Sync).expect("the compressor takes anything");
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "there was room for all of it");
        out.truncate(out.len() - 4);
        out
    }

    /// The octets of one frame, masked if a client's.
    pub fn frame(&mut self, is_last: bool, is_compressed: bool, opcode: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![u8::from(is_last) << 7 | u8::from(is_compressed) << 6 | opcode];
        let masked = u8::from(self.is_client) << 7;
        match content.len() {
            len @ 0..126 => out.push(masked | len as u8),
            len @ 126..0x1_0000 => {
                out.push(masked | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(masked | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        if self.is_client {
            self.keys = self.keys.wrapping_mul(0x9e37_79b1).wrapping_add(1);
            let key = self.keys.to_be_bytes();
            out.extend(key);
            out.extend(content.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key));
        } else {
            out.extend_from_slice(content);
        }
        out
    }

    /// The next frame as it came.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn next_frame(&mut self) -> Result<Frame, Trouble> {
        let head = self.wire.exactly(2).await?;
        let len = match head[1] & 0x7f {
            126 => u16::from_be_bytes(self.wire.exactly(2).await?[..].try_into().expect("two octets")).into(),
            127 => u64::from_be_bytes(self.wire.exactly(8).await?[..].try_into().expect("eight octets")),
            len => len.into(),
        };
        let mut key: Option<[u8; 4]> = None;
        if head[1] & 0x80 != 0 {
            key = Some(self.wire.exactly(4).await?[..].try_into().expect("four octets"));
        }
        let mut content = self.wire.exactly(usize::try_from(len).expect("it fits into memory")).await?.to_vec();
        if let Some(key) = key {
            content.iter_mut().zip(key.iter().cycle()).for_each(|(octet, key)| *octet ^= key);
        }
        assert_eq!(head[0] & 0x30, 0, "a reserved bit");
        assert_eq!(key.is_some(), !self.is_client, "who masks");
        Ok(Frame { is_last: head[0] & 0x80 != 0, is_compressed: head[0] & 0x40 != 0, opcode: head[0] & 0x0f, key, content })
    }

    /// The next message or control frame.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn next(&mut self) -> Result<Message, Trouble> {
        loop {
            let frame = self.next_frame().await?;
            if frame.opcode >= CLOSE {
                return Ok(Message { opcode: frame.opcode, content: frame.content });
            }
            let begun = self.begun.get_or_insert((frame.opcode, frame.is_compressed, Vec::new()));
            assert!(frame.opcode == CONTINUATION || begun.2.is_empty(), "a message within another");
            begun.2.extend(frame.content);
            if frame.is_last
                && let Some((opcode, is_compressed, content)) = self.begun.take()
            {
                let content = if is_compressed { self.inflate(content) } else { content };
                return Ok(Message { opcode, content });
            }
        }
    }

    /// The next message, as text.
    ///
    /// # Errors
    /// How the connection ended.
    ///
    /// # Panics
    /// Where it is a control frame.
    pub async fn hear(&mut self) -> Result<String, Trouble> {
        let message = self.next().await?;
        assert!(message.opcode < CLOSE, "{message:?}");
        Ok(message.as_text())
    }

    /// Says again what it hears, until the other side closes.
    pub async fn echo(mut self) {
        while let Ok(message) = self.next().await {
            let said = match message.opcode {
                PING => self.send(PONG, &message.content).await,
                PONG => Ok(()),
                opcode => self.send(opcode, &message.content).await,
            };
            if said.is_err() || message.opcode == CLOSE {
                break;
            }
        }
        // The other side may be gone already.
        let _ = self.wire.finish().await;
    }

    fn inflate(&mut self, mut content: Vec<u8>) -> Vec<u8> {
        let deflate = self.deflate.as_mut().expect("compression was agreed");
        content.extend([0, 0, 0xff, 0xff]);
        let (mut out, begin) = (Vec::new(), deflate.incoming.total_in());
        loop {
            out.reserve(64 * 1024);
            let read = (deflate.incoming.total_in() - begin) as usize;
            deflate.incoming.decompress_vec(&content[read..], &mut out, FlushDecompress::Sync).expect("it inflates");
            if (deflate.incoming.total_in() - begin) as usize == content.len() && out.len() < out.capacity() {
                break;
            }
        }
        if deflate.other_forgets {
            deflate.incoming.reset(false);
        }
        out
    }
}

/// The head of a 101.
pub fn switched(extensions: Option<&str>) -> Vec<u8> {
    let mut head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_owned();
    head.push_str("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    if let Some(extensions) = extensions {
        head.push_str(&format!("Sec-WebSocket-Extensions: {extensions}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}
