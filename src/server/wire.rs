//! The socket below TLS, which knows when the caller takes nothing any more.
//!
//! It has to be below: TLS buffers, so that above it a slow caller and a stuck one look the same.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::activity::Activity;
use super::connection_limit::Place;
use super::conversation::Conversation;

/// A socket that tells its connection when writing blocks, and when it goes on.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: S,
    conversation: Conversation,
    blocked: bool,
    /// Given back when the socket closes, which after an upgrade is later than the end of our part.
    _held: Held,
}

/// What a socket holds: its place among the connections, and the end of the drain.
pub(super) type Held = (Place, TaskTrackerToken);

impl<S> Wire<S> {
    pub(super) fn new(socket: S, conversation: Conversation, held: Held) -> Self {
        Self { socket, conversation, blocked: false, _held: held }
    }

    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_pending() && !self.blocked {
            self.blocked = true;
            self.conversation.note(Activity::write_blocked);
        } else if outcome.is_ready() && self.blocked {
            self.blocked = false;
            self.conversation.note(|activity, _| activity.write_advanced());
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
