//! What HTTP/2 writes in one turn of a connection goes out at once.
//!
//! hyper's HTTP/2 flushes after every part of a body, since it has room for one only. Each of these flushes would be a TLS
//! record and a call to the system of its own, although streams of one connection often have their replies in the same
//! turn: their requests came together. So a flush leaves the bytes here, and when the connection has nothing more to
//! say, they go.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is gathered before it goes on: one TLS record.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// Room that stays for the next turn, a small reply or two. To give it back and take it anew for each of them costs as
/// much as to copy four of them.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// A stream that holds back what is written until the end of the turn. One clone is hyper's, the other ends the turns.
#[derive(Debug)]
pub(super) struct Outbox<S>(Arc<Mutex<Gathering<S>>>);

#[derive(Debug)]
struct Gathering<S> {
    stream: S,
    bytes: Vec<u8>,
    /// So many of them are with the stream.
    handed_on: usize,
    /// Nothing is left of them in the layers below either.
    is_sent: bool,
}

/// A connection whose turns end with what its outbox holds.
pub(super) struct InTurns<T, S> {
    pub(super) talk: Pin<Box<T>>,
    outbox: Outbox<S>,
}

impl<S> Outbox<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Gathering { stream, bytes: Vec::new(), handed_on: 0, is_sent: true })))
    }

    /// To be handed to hyper.
    pub(super) fn hand(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// That connection, which writes to this outbox.
    pub(super) fn empties_after<T: Future>(self, talk: T) -> InTurns<T, S> {
        InTurns { talk: Box::pin(talk), outbox: self }
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering<S>> {
        // Both handles are in one task, so nobody ever waits here; and the bytes are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_sent {
            return Poll::Ready(Ok(()));
        }
        while self.handed_on < self.bytes.len() {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.bytes[self.handed_on..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.handed_on += taken;
        }
        self.handed_on = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_sent = true;
        Poll::Ready(Ok(()))
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() >= GATHERED_BYTES_MAX {
            ready!(self.poll_send(cx))?;
        }
        self.bytes.reserve(KEPT_BYTES_MAX.saturating_sub(self.bytes.len()));
        let taken = more.len().min(GATHERED_BYTES_MAX - self.bytes.len());
        self.bytes.extend_from_slice(&more[..taken]);
        self.is_sent = false;
        Poll::Ready(Ok(taken))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outbox<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.gathering().stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outbox<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.gathering().poll_gather(cx, bytes)
    }

    /// The turn's end is the flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.gathering();
        ready!(gathering.poll_send(cx))?;
        Pin::new(&mut gathering.stream).poll_shutdown(cx)
    }
}

impl<T: Future, S: AsyncWrite + Unpin> Future for InTurns<T, S> {
    /// Nothing but the end, whether the connection came to it or its socket broke.
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { talk, outbox } = self.get_mut();
        let is_over = talk.as_mut().poll(cx).is_ready();
        match outbox.gathering().poll_send(cx) {
            Poll::Ready(Ok(())) | Poll::Pending if !is_over => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, duplex};
    use tokio::time::timeout;

    use super::*;

    /// Takes everything and notes in how many pieces.
    #[derive(Debug, Default)]
    struct Pieces(Vec<Vec<u8>>);

    impl AsyncWrite for Pieces {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_written_and_flushed_in_one_turn_goes_out_in_one_piece_at_its_end() {
        let outbox = Outbox::new(Pieces::default());
        let (mut hand, seen) = (outbox.hand(), outbox.hand());
        let mut turns = outbox.empties_after(async move {
            for reply in [b"one", b"two"] {
                hand.write_all(reply).await.unwrap();
                hand.flush().await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let pieces = || seen.gathering().stream.0.clone();
        assert!(pieces().is_empty());
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut turns).poll(cx))).await.is_pending());
        assert_eq!(pieces(), [b"onetwo"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_turn_holds_no_more_than_a_record_and_a_slow_reader_gets_all_of_it() {
        let (ours, mut theirs) = duplex(1);
        // Like TLS, this takes bytes that a flush has to push on.
        let outbox = Outbox::new(BufWriter::new(ours));
        let (mut hand, seen) = (outbox.hand(), outbox.hand());
        let page = vec![b'a'; 3 * GATHERED_BYTES_MAX + 1];
        let written = page.clone();
        let turns = outbox.empties_after(async move {
            hand.write_all(&written).await.unwrap();
            std::future::pending::<()>().await;
        });
        let turns = tokio::spawn(turns);
        let mut read = Vec::new();
        while read.len() < page.len() {
            assert!(seen.gathering().bytes.len() <= GATHERED_BYTES_MAX);
            read.push(timeout(Duration::from_secs(1), theirs.read_u8()).await.expect("stuck").unwrap());
        }
        assert!(read == page && !turns.is_finished());
        assert!(seen.gathering().bytes.capacity() <= KEPT_BYTES_MAX, "an idle connection keeps a large buffer");
        turns.abort();
    }

    #[tokio::test]
    async fn what_was_gathered_goes_before_the_end_and_a_broken_socket_ends_the_turns() {
        let (ours, mut theirs) = duplex(64);
        let outbox = Outbox::new(ours);
        let mut hand = outbox.hand();
        outbox
            .empties_after(async move {
                hand.write_all(b"goodbye").await.unwrap();
                hand.shutdown().await.unwrap();
            })
            .await;
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "goodbye");

        let (ours, theirs) = duplex(64);
        drop(theirs);
        let outbox = Outbox::new(ours);
        let mut hand = outbox.hand();
        outbox
            .empties_after(async move {
                hand.write_all(b"anybody?").await.unwrap();
                std::future::pending::<()>().await;
            })
            .await;
    }
}
