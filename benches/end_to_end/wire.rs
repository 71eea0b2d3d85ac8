//! Just enough HTTP/1.1 for a load generator and a shop that cost little themselves.

use std::io;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection that speaks messages with a `Content-Length`, or without a body.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(16 * 1024) }
    }

    pub(crate) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await?;
        self.stream.flush().await
    }

    /// Reads one message to its end and gives back its first line; nothing when the other side closed before it.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<String>> {
        let head_end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer.split_to(head_end)).into_owned();
        let mut body_left = content_length(&head);
        loop {
            let here = body_left.min(self.buffer.len());
            self.buffer.advance(here);
            body_left -= here;
            if body_left == 0 {
                return Ok(head.lines().next().map(str::to_owned));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn content_length(head: &str) -> usize {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    length.unwrap_or(0)
}
