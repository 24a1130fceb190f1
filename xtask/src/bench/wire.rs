//! Reading answers: where content ends, however it is framed.

use anyhow::{Context, bail};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::origin::head_end;

/// An answer that is being read, of which only the number of octets matters.
pub(crate) struct Answer {
    held: Vec<u8>,
    framing: Framing,
    /// Octets of content so far.
    pub(crate) content: u64,
}

enum Framing {
    Head,
    /// Octets left.
    Length(u64),
    /// Octets left of a chunk, a line end behind them; whether it is the last one, whose line end is that of an empty trailer section.
    Chunk(u64, bool),
    Size,
    Done,
}

impl Answer {
    pub(crate) fn new() -> Self {
        Self { held: Vec::with_capacity(64 * 1024), framing: Framing::Head, content: 0 }
    }

    /// Reads one to its end.
    pub(crate) async fn whole(from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Self> {
        let mut answer = Self::new();
        while !answer.is_done() {
            answer.more(from).await?;
        }
        Ok(answer)
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Reads what is there.
    pub(crate) async fn more(&mut self, from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        if from.read_buf(&mut self.held).await? == 0 {
            bail!("the answer was cut short");
        }
        while self.step()? {}
        Ok(())
    }

    /// Whether there is something left to look at.
    fn step(&mut self) -> anyhow::Result<bool> {
        match self.framing {
            Framing::Head => {
                let Some((end, length)) = head_end(&self.held) else { return Ok(false) };
                let head = String::from_utf8_lossy(&self.held[..end]).to_ascii_lowercase();
                if !head.starts_with("http/1.1 200") {
                    bail!("a wrong answer: {head}");
                }
                self.held.drain(..end);
                self.framing = match head.contains("transfer-encoding: chunked") {
                    true => Framing::Size,
                    false => Framing::Length(length),
                };
            }
            Framing::Length(0) => self.framing = Framing::Done,
            Framing::Length(left) => {
                let now = self.take(left);
                self.framing = Framing::Length(left - now);
                return Ok(left == now);
            }
            Framing::Size => {
                let Some(end) = self.held.windows(2).position(|window| window == b"\r\n") else { return Ok(false) };
                let line = std::str::from_utf8(&self.held[..end])?;
                let size = u64::from_str_radix(line, 16).with_context(|| format!("{line:?} is no chunk's size"))?;
                self.framing = Framing::Chunk(size, size == 0);
                self.held.drain(..end + 2);
            }
            Framing::Chunk(0, is_last) => {
                if self.held.len() < 2 {
                    return Ok(false);
                }
                self.held.drain(..2);
                self.framing = if is_last { Framing::Done } else { Framing::Size };
            }
            Framing::Chunk(left, is_last) => {
                let now = self.take(left);
                self.framing = Framing::Chunk(left - now, is_last);
                return Ok(left == now);
            }
            Framing::Done => return Ok(false),
        }
        Ok(true)
    }

    fn take(&mut self, most: u64) -> u64 {
        let now = usize::try_from(most).unwrap_or(usize::MAX).min(self.held.len());
        self.held.drain(..now);
        self.content += now as u64;
        now as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_counted_however_it_is_framed_and_cut() {
        let table: [(&[u8], u64); 3] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n", 15),
            (b"HTTP/1.1 200 OK\r\n\r\n", 0),
        ];
        for (octets, content) in table {
            for piece in [1, 7, octets.len()] {
                let mut answer = Answer::new();
                for piece in octets.chunks(piece) {
                    assert!(!answer.is_done());
                    answer.held.extend_from_slice(piece);
                    while answer.step().expect("a good answer") {}
                }
                assert_eq!((answer.is_done(), answer.content, answer.held.len()), (true, content, 0));
            }
        }
    }
}
