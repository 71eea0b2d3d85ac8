//! Two facts about a connection that hyper does not tell: whether anything was written, and the reply's reason
//! phrase where it holds bytes above 0x7f.
//!
//! "Certainly not reached" has to be exact, because a callback is delivered again on the strength of it. And the
//! HTTP parser replaces a reason phrase like `Ungültig` by nothing, while the caller shall get what the shop said.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;

/// A status line or header line longer than this is not looked at.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// What is seen on a connection, shared between its two ends in this program.
#[derive(Debug, Default)]
pub(super) struct Watch {
    touched: AtomicBool,
    expecting: AtomicBool,
    phrase: Mutex<Option<ReasonPhrase>>,
}

impl Watch {
    /// The next request is about to go out; the connection is idle.
    pub(super) fn next_request(&self) {
        self.touched.store(false, Ordering::Relaxed);
        self.expecting.store(true, Ordering::Release);
    }

    /// Whether any byte of the request may have left.
    pub(super) fn touched(&self) -> bool {
        self.touched.load(Ordering::Acquire)
    }

    /// The reason phrase of the reply, if the parser cannot have kept it.
    pub(super) fn take_phrase(&self) -> Option<ReasonPhrase> {
        self.phrase.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection under watch.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Stream,
    watch: Arc<Watch>,
    seeker: PhraseSeeker,
}

impl Watched {
    pub(super) fn new(stream: Stream, watch: Arc<Watch>) -> Self {
        Self { stream, watch, seeker: PhraseSeeker::default() }
    }

    /// A write that failed at once on a plain socket wrote nothing. Everything else counts as written: TLS may
    /// have sent a part before it failed, and a write that has to wait may succeed when nobody looks any more.
    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        let nothing = matches!(outcome, Poll::Ready(Err(_))) && !self.stream.is_tls();
        if !nothing {
            self.watch.touched.store(true, Ordering::Release);
        }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if let Some(phrase) = self.seeker.feed(bytes) {
            self.watch.expecting.store(false, Ordering::Relaxed);
            if !phrase.is_ascii() {
                *self.watch.phrase.lock().unwrap_or_else(PoisonError::into_inner) = ReasonPhrase::try_from(phrase).ok();
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.watch.expecting.load(Ordering::Acquire) {
            this.note_read(buf.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.note_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.note_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Finds the reason phrase of the final reply in the bytes as they come, past informational replies.
#[derive(Debug, Default)]
struct PhraseSeeker {
    /// The start of a line whose end has not come yet.
    torn: Vec<u8>,
    in_informational_head: bool,
}

impl PhraseSeeker {
    /// Takes the next bytes; the phrase (or an empty one for a line that is none) once the status line is there.
    fn feed(&mut self, mut bytes: &[u8]) -> Option<Vec<u8>> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            let found = if self.torn.is_empty() {
                self.line(line)
            } else {
                self.torn.extend_from_slice(line);
                let whole = std::mem::take(&mut self.torn);
                self.line(&whole)
            };
            if found.is_some() {
                return found;
            }
        }
        if self.torn.len() + bytes.len() > LINE_BYTES_MAX {
            self.torn.clear();
            return Some(Vec::new());
        }
        self.torn.extend_from_slice(bytes);
        None
    }

    fn line(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.in_informational_head = false;
            return None;
        }
        if self.in_informational_head {
            return None;
        }
        // `HTTP/1.1 200 OK`: the code stands at 9, the phrase at 13.
        let code = line.get(9..12).unwrap_or_default();
        if code.starts_with(b"1") && code != b"101" {
            self.in_informational_head = true;
            return None;
        }
        // An ASCII phrase reaches the caller through the parser; copying it would be for nothing.
        let phrase = line.get(13..).unwrap_or_default();
        Some(if phrase.is_ascii() { Vec::new() } else { phrase.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase_of(chunks: &[&[u8]]) -> Option<Vec<u8>> {
        let mut seeker = PhraseSeeker::default();
        chunks.iter().find_map(|chunk| seeker.feed(chunk))
    }

    #[test]
    fn a_phrase_outside_ascii_is_found_however_the_bytes_are_torn() {
        let reply = b"HTTP/1.1 303 Ung\xfcltig\r\nlocation: /x\r\n\r\n";
        assert_eq!(phrase_of(&[reply]).unwrap(), b"Ung\xfcltig");
        for cut in 1..reply.len() - 1 {
            let (left, right) = reply.split_at(cut);
            assert_eq!(phrase_of(&[left, right]).unwrap(), b"Ung\xfcltig", "cut at {cut}");
        }
    }

    #[test]
    fn informational_replies_before_the_final_one_are_skipped() {
        let early = b"HTTP/1.1 103 Fr\xfch\r\nlink: </a>\r\n\r\n";
        let last = b"HTTP/1.0 200 Sch\xf6n\r\n";
        assert_eq!(phrase_of(&[early, last]).unwrap(), b"Sch\xf6n");
        assert_eq!(phrase_of(&[early]), None);
    }

    #[test]
    fn a_usual_phrase_ends_the_search_without_a_copy() {
        assert_eq!(phrase_of(&[b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 \xfc\r\n"]), Some(Vec::new()));
        assert_eq!(phrase_of(&[b"\r\nHTTP/1.1 101 Switching\r\n"]), Some(Vec::new()));
        assert_eq!(phrase_of(&[b"nonsense\r\n"]), Some(Vec::new()));
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut seeker = PhraseSeeker::default();
        let fed = (0..100).find_map(|_| seeker.feed(&[b'a'; 1024]));
        assert_eq!(fed, Some(Vec::new()));
        assert!(seeker.torn.capacity() <= 2 * LINE_BYTES_MAX);
    }
}
