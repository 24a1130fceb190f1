//! HTTP/1.1 as a client, verbatim.

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use tokio_rustls::TlsStream;

use super::Failure;
use crate::{
    message::{Framing, Head, Incoming, Piece, Trouble},
    wire::{Stream, Wire},
};

/// The octets of a request; `Host` first, `Content-Length` last where there is content.
pub fn request(method: &str, target: &str, host: &str, fields: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let mut octets = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    for (name, value) in fields {
        octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !content.is_empty() {
        octets.extend_from_slice(format!("Content-Length: {}\r\n", content.len()).as_bytes());
    }
    octets.extend_from_slice(b"\r\n");
    octets.extend_from_slice(content);
    octets
}

/// A connection on which requests are written verbatim and responses read as they are.
#[derive(Debug)]
pub struct H1 {
    wire: Wire,
}

impl H1 {
    /// Over a connection that is up.
    pub fn new(wire: Wire) -> Self {
        Self { wire }
    }

    /// The connection.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The connection, taken out.
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// What ALPN agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session().and_then(|session| session.alpn_protocol())
    }

    /// The certificate that the other side showed.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session().and_then(|session| session.peer_certificates()?.first())
    }

    fn session(&self) -> Option<&rustls::ClientConnection> {
        match self.wire.stream() {
            Stream::Tls(tls) => match &**tls {
                TlsStream::Client(client) => Some(client.get_ref().1),
                TlsStream::Server(_) => None,
            },
            Stream::Clear(_) => None,
        }
    }

    /// Writes octets verbatim: a request, part of one, several at once, or nonsense.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) -> Result<(), Failure> {
        Ok(self.wire.send(octets).await?)
    }

    /// Reads one head, interim ones included.
    ///
    /// # Errors
    /// The connection ended before it was complete.
    pub async fn head(&mut self) -> Result<Head, Failure> {
        match Head::read(&mut self.wire).await {
            Ok(head) => Ok(head),
            Err(trouble) => Err(Failure::Ended { trouble, held: self.wire.held().to_vec() }),
        }
    }

    /// Reads heads up to the final one of a response to a request of that method; the content is for the caller to read.
    ///
    /// # Errors
    /// The connection ended before the head was complete.
    pub async fn begin(&mut self, method: &str) -> Result<Answer<'_>, Failure> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head().await?;
            if head.status() / 100 != 1 || head.status() == 101 {
                break head;
            }
            interim.push(head);
        };
        let incoming = Incoming::new(Framing::of_response(&head, method.as_bytes()));
        Ok(Answer { wire: &mut self.wire, interim, head, incoming })
    }

    /// Reads one response to a request of that method.
    ///
    /// # Errors
    /// The connection ended before the head was complete.
    pub async fn response(&mut self, method: &str) -> Result<Response, Failure> {
        Ok(self.begin(method).await?.finish().await)
    }

    /// Writes one request and reads its response.
    ///
    /// # Errors
    /// The connection ended before the response's head was complete. That writing failed is no error as long as a response comes.
    pub async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Result<Response, Failure> {
        let request = request.as_ref();
        let method = request.split(|octet| *octet == b' ').next().map(String::from_utf8_lossy).unwrap_or_default();
        let sent = self.wire.send(request).await;
        match (self.response(&method).await, sent) {
            (Err(_), Err(trouble)) => Err(trouble.into()),
            (response, _) => response,
        }
    }
}

/// A response whose head has come.
#[derive(Debug)]
pub struct Answer<'a> {
    wire: &'a mut Wire,
    /// Heads of interim responses that came before.
    pub interim: Vec<Head>,
    /// The final head.
    pub head: Head,
    /// Content as it comes in.
    pub incoming: Incoming,
}

impl Answer<'_> {
    /// The next octets of content as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// How the content was cut short.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        self.incoming.next(self.wire).await
    }

    /// Reads content until it ends with `mark`; returns all content so far.
    ///
    /// # Errors
    /// How the content was cut short, or [`Trouble::Closed`] where it ended otherwise.
    pub async fn until(&mut self, mark: &[u8]) -> Result<&[u8], Trouble> {
        while !self.incoming.content.ends_with(mark) {
            self.next().await?.ok_or(Trouble::Closed)?;
        }
        Ok(&self.incoming.content)
    }

    /// Reads to the end, well or not.
    pub async fn finish(mut self) -> Response {
        let trouble = self.incoming.finish(self.wire).await.err();
        Response {
            interim: self.interim,
            head: self.head,
            content: self.incoming.content,
            wire_content: self.incoming.wire,
            trailers: self.incoming.trailers,
            pieces: self.incoming.pieces,
            trouble,
        }
    }
}

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Response {
    /// Heads of interim responses that came before.
    pub interim: Vec<Head>,
    /// The final head.
    pub head: Head,
    /// Without chunk framing.
    pub content: Vec<u8>,
    /// As on the wire, chunk framing and trailers included.
    pub wire_content: Vec<u8>,
    /// The trailer section's lines; empty where there were none.
    pub trailers: Vec<u8>,
    /// When what came.
    pub pieces: Vec<Piece>,
    /// How the content was cut short; `None`: it is complete.
    pub trouble: Option<Trouble>,
}

impl Response {
    /// Of the final head.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// Content as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// The content is all there.
    pub fn is_complete(&self) -> bool {
        self.trouble.is_none()
    }
}
