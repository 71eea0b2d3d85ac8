//! The body of a reply from the shop.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;

use super::connection::Connection;
use super::pool::Pool;
use super::stall::Stall;

/// A reply's body as it comes from the shop, decoded from its transfer encoding only.
///
/// Read to its end, it gives its connection back to the pool. Dropped before, it closes the connection: the rest
/// of the body would stand in the next request's way.
#[derive(Debug)]
pub struct ShopStream {
    body: Incoming,
    /// What was read already to look at it.
    ahead: Option<Result<Frame<Bytes>, ReplyFault>>,
    stall: Stall,
    /// Gone once the last byte is here.
    lease: Option<Lease>,
}

/// Why a reply's body broke off. The caller's connection is cut then, so that half a page never looks whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum ReplyFault {
    /// The shop paused for too long.
    #[error("the shop paused for too long within its reply")]
    TooSlow,
    /// The connection to the shop broke.
    #[error("the connection to the shop broke within its reply")]
    Broken,
}

/// A connection that is busy with one reply.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// Where it goes afterwards, if it can be used again.
    pub(super) pool: Option<Arc<Pool>>,
}

impl ShopStream {
    pub(super) fn new(body: Incoming, idle_at_most: Duration, lease: Option<Lease>) -> Self {
        let mut stream = Self { body, ahead: None, stall: Stall::new(idle_at_most), lease };
        stream.release_at_end();
        stream
    }

    /// The beginning of the body, as much as came at once; it is still there for the reader. Empty if there is none.
    pub async fn start(&mut self) -> Bytes {
        if self.ahead.is_none() {
            self.ahead = self.frame().await;
        }
        match &self.ahead {
            Some(Ok(frame)) => frame.data_ref().cloned().unwrap_or_default(),
            _ => Bytes::new(),
        }
    }

    /// Gives the connection back as soon as the last byte is there. A reader that knows the length never asks for
    /// the end, so this cannot wait for it.
    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        match self.lease.take() {
            Some(Lease { connection, pool: Some(pool) }) => pool.put(connection),
            Some(Lease { connection, pool: None }) => connection.finish_in_background(),
            None => {}
        }
    }
}

impl Body for ShopStream {
    type Data = Bytes;
    type Error = ReplyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyFault>>> {
        let this = self.get_mut();
        if let Some(frame) = this.ahead.take() {
            return Poll::Ready(Some(frame));
        }
        let next = match &mut this.lease {
            Some(Lease { connection, .. }) => connection.poll_frame(&mut this.body, cx),
            None => Pin::new(&mut this.body).poll_frame(cx),
        };
        let next = match next {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ready!(this.stall.poll_too_long(cx));
                return Poll::Ready(Some(Err(ReplyFault::TooSlow)));
            }
        };
        this.stall.over();
        match next {
            Some(Ok(frame)) => {
                this.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                // Told at the next turn: what came before it, perhaps at once with it, must go to the caller first.
                this.ahead = Some(Err(ReplyFault::Broken));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = match &self.ahead {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(rest.lower() + ahead);
        hint
    }
}
