//! The body of an answer to the caller.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{ReplyFault, ShopStream};
use crate::limits::Seat;

/// The body of an answer to the caller.
#[derive(Debug)]
pub enum ReplyBody {
    /// None.
    Empty,
    /// Whole and in memory.
    Full(Bytes),
    /// The shop's, as it comes. The seat is free once the body ended or was dropped.
    Shop(Box<ShopStream>, Option<Seat>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = ReplyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyFault>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Shop(stream, seat) => {
                let next = Pin::new(&mut *stream).poll_frame(cx);
                // The shop is done when its last byte is here; how fast the caller takes it is not the shop's time.
                if stream.is_end_stream() || matches!(next, Poll::Ready(None | Some(Err(_)))) {
                    drop(seat.take());
                }
                next
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Shop(stream, _) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Shop(stream, _) => stream.size_hint(),
        }
    }
}
