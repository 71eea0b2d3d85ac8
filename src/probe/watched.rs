//! A connection that notes when bytes came in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::{AnswerLimit, Duplex};
use crate::clock::Clock;

/// A connection with a note book.
pub(super) struct Watched {
    stream: Box<dyn Duplex>,
    notes: Notes,
}

/// When bytes came in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Notes {
    start: Instant,
    clock: Clock,
    moments: Arc<Mutex<Option<Moments>>>,
}

#[derive(Clone, Copy)]
struct Moments {
    first: Instant,
    last: Instant,
}

impl Watched {
    pub(super) fn new(stream: Box<dyn Duplex>, notes: Notes) -> Self {
        Self { stream, notes }
    }
}

impl Notes {
    /// An empty note book, from now on.
    pub(super) fn new(clock: Clock) -> Self {
        Self { start: clock.instant(), clock, moments: Arc::default() }
    }

    /// When it was begun.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// When the first byte came.
    pub(super) fn first(&self) -> Option<Instant> {
        self.moments().map(|moments| moments.first)
    }

    /// Ends when the answer is too late, by the client's way of counting.
    pub(super) async fn too_late(&self, limit: AnswerLimit) {
        match limit {
            AnswerLimit::Whole(whole) => sleep_until(self.start + whole).await,
            AnswerLimit::Silence { pause, whole } => loop {
                let last = self.moments().map_or(self.start, |moments| moments.last);
                let due = (last + pause).min(self.start + whole);
                if self.clock.instant() >= due {
                    return;
                }
                sleep_until(due).await;
            },
        }
    }

    fn moments(&self) -> Option<Moments> {
        *self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn byte_came(&self) {
        let now = self.clock.instant();
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        *moments = Some(Moments { first: moments.map_or(now, |known| known.first), last: now });
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut *self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.notes.byte_came();
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
