//! One connection, clear or under TLS, read and written octet for octet.
//!
//! Place: under both the origins and the clients. Knows nothing of HTTP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsStream;

use crate::{message::Trouble, patience::PATIENCE};

/// Clear or TLS, either side.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Clear(TcpStream),
    /// TLS, as client or as server.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_write(context, octets),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

/// Room for one read: a TLS record holds at most as much. A buffer grows by 64 octets if it is not told better.
const READ: usize = 16 * 1024;

/// A connection and what was read from it but not yet asked for.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    held: BytesMut,
    ended: Option<Trouble>,
}

impl Wire {
    /// Over a connection that is up. Small writes go out at once.
    pub fn new(stream: Stream) -> Self {
        // Fails on a connection that is already gone; reading will say so.
        let _ = stream.tcp().set_nodelay(true);
        Self { stream, held: BytesMut::new(), ended: None }
    }

    /// The connection; what was read from it and not yet asked for is lost.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// The connection.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What was read and not yet asked for.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Writes all of it, verbatim. What arrives meanwhile is kept: neither side can make the other one stand still.
    ///
    /// # Errors
    /// How the connection ended, or [`Trouble::Silent`] where the peer took nothing for too long.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) -> Result<(), Trouble> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let writing = async {
            writer.write_all(octets.as_ref()).await?;
            writer.flush().await
        };
        let writing = timeout(PATIENCE, writing);
        tokio::pin!(writing);
        loop {
            self.held.reserve(READ);
            tokio::select! {
                biased;
                done = &mut writing => {
                    return match done {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(error)) => Err(Trouble::from(error)),
                        Err(_elapsed) => Err(Trouble::Silent),
                    };
                }
                got = reader.read_buf(&mut self.held), if self.ended.is_none() => self.ended = ended(got),
            }
        }
    }

    /// Reads some more; how many octets came.
    ///
    /// # Errors
    /// How the connection ended, or [`Trouble::Silent`] where nothing came for too long.
    pub async fn fill(&mut self) -> Result<usize, Trouble> {
        timeout(PATIENCE, self.more()).await.unwrap_or(Err(Trouble::Silent))
    }

    /// The same, as long as it takes. Cancelling loses nothing.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn more(&mut self) -> Result<usize, Trouble> {
        if let Some(trouble) = &self.ended {
            return Err(trouble.clone());
        }
        self.held.reserve(READ);
        let got = self.stream.read_buf(&mut self.held).await;
        let count = got.as_ref().copied().unwrap_or_default();
        self.ended = ended(got);
        match &self.ended {
            None => Ok(count),
            Some(trouble) => Err(trouble.clone()),
        }
    }

    /// Octets up to and with the first `mark`.
    ///
    /// # Errors
    /// As for [`Wire::fill`]; what had come stays held.
    pub async fn until(&mut self, mark: &[u8]) -> Result<Bytes, Trouble> {
        loop {
            if let Some(at) = self.held.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.held.split_to(at + mark.len()).freeze());
            }
            self.fill().await?;
        }
    }

    /// So many octets.
    ///
    /// # Errors
    /// As for [`Wire::fill`]; what had come stays held.
    pub async fn exactly(&mut self, count: usize) -> Result<Bytes, Trouble> {
        while self.held.len() < count {
            self.fill().await?;
        }
        Ok(self.held.split_to(count).freeze())
    }

    /// Whatever is there, at least one octet and at most so many.
    ///
    /// # Errors
    /// As for [`Wire::fill`].
    pub async fn some(&mut self, most: usize) -> Result<Bytes, Trouble> {
        if self.held.is_empty() {
            self.fill().await?;
        }
        let count = most.min(self.held.len());
        Ok(self.held.split_to(count).freeze())
    }

    /// Everything to the end of the connection, and how that came.
    pub async fn rest(&mut self) -> (Bytes, Trouble) {
        loop {
            if let Err(trouble) = self.fill().await {
                return (self.held.split().freeze(), trouble);
            }
        }
    }

    /// Ends our direction in good order (TLS: `close_notify` first); the other stays open.
    ///
    /// # Errors
    /// The connection is already gone.
    pub async fn finish(&mut self) -> Result<(), Trouble> {
        self.stream.shutdown().await.map_err(Trouble::from)
    }

    /// Ends the connection with a reset, as a process that dies with unread octets does.
    pub fn reset(self) {
        // Fails on a connection that is already gone, which is as good.
        let _ = SockRef::from(self.stream.tcp()).set_linger(Some(std::time::Duration::ZERO));
    }

    /// Forgets octets that were read and not asked for.
    pub fn discard(&mut self, count: usize) {
        self.held.advance(count);
    }
}

fn ended(read: io::Result<usize>) -> Option<Trouble> {
    match read {
        Ok(0) => Some(Trouble::Closed),
        Ok(_) => None,
        Err(error) => Some(Trouble::from(error)),
    }
}
