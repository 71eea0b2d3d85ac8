//! The body of a request to the shop.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::stall::Stall;
use crate::caller_body::CallerBody;

/// The body of a request to the shop.
#[derive(Debug)]
pub enum ShopBody {
    /// None. A POST still says `Content-Length: 0`.
    Empty,
    /// Whole and in memory: a callback's.
    Full(Bytes),
    /// Comes from the caller while it goes to the shop.
    Stream(RequestStream),
}

/// A body that comes from the caller while it goes to the shop, within limits.
pub struct RequestStream {
    body: CallerBody,
    stall: Stall,
    bytes_left: u64,
    guard: Option<Box<dyn BodyGuard>>,
    upload: Arc<Upload>,
}

/// How far a streaming body has come, for whoever waits for the reply.
#[derive(Debug, Default)]
pub(super) struct Upload {
    parts: AtomicUsize,
    is_over: AtomicBool,
}

impl Upload {
    /// Parts that went on, so that a long upload is not taken for a silent shop.
    pub(super) fn parts(&self) -> usize {
        self.parts.load(Ordering::Relaxed)
    }

    /// Nothing more of it goes on: it is through, or nobody asks for the rest.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Limits on a streaming request body.
pub struct StreamLimits {
    /// The caller may pause for this long.
    pub idle_at_most: Duration,
    /// Largest body in bytes; `u64::MAX` for no limit.
    pub bytes_max: u64,
    /// Looks at every byte before it goes on.
    pub guard: Option<Box<dyn BodyGuard>>,
}

/// Looks at a request body on its way and can stop it.
pub trait BodyGuard: Send {
    /// Whether the next bytes may go on. Once this says no, the request is cut off.
    fn passes(&mut self, bytes: &[u8]) -> bool;
    /// Whether the body may end here.
    fn passes_end(&mut self) -> bool;
}

/// Why a streaming request body was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum RequestFault {
    /// The caller paused for too long: `408`.
    #[error("the caller's request body came too slowly")]
    TooSlow,
    /// More bytes than allowed: `413`.
    #[error("the caller's request body is too large")]
    TooLarge,
    /// The guard said no: `403`.
    #[error("the caller's request body holds what must not pass")]
    Refused,
    /// The caller's connection broke or its framing is bad: nobody is left to answer.
    #[error("the caller's request body broke off")]
    Broken,
}

impl RequestFault {
    /// Short name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooSlow => "slow_body",
            Self::TooLarge => "body_size",
            Self::Refused => "form_bypass",
            Self::Broken => "caller_gone",
        }
    }
}

impl ShopBody {
    /// The caller's body as the shop's; [`ShopBody::Empty`] if there is none.
    ///
    /// # Errors
    /// [`RequestFault::TooLarge`] if its declared length alone is over the limit.
    pub fn stream(body: CallerBody, limits: StreamLimits) -> Result<Self, RequestFault> {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        if body.size_hint().lower() > limits.bytes_max {
            return Err(RequestFault::TooLarge);
        }
        Ok(Self::Stream(RequestStream {
            body,
            stall: Stall::new(limits.idle_at_most),
            bytes_left: limits.bytes_max,
            guard: limits.guard,
            upload: Arc::default(),
        }))
    }

    /// How far a body has come that streams; nothing for one that is here as a whole.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Stream(stream) => Some(Arc::clone(&stream.upload)),
            Self::Empty | Self::Full(_) => None,
        }
    }
}

impl Body for ShopBody {
    type Data = Bytes;
    type Error = RequestFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_checked(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.body.size_hint(),
        }
    }
}

impl RequestStream {
    fn poll_checked(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        let next = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ready!(self.stall.poll_too_long(cx));
                return Poll::Ready(Some(Err(RequestFault::TooSlow)));
            }
        };
        self.stall.over();
        self.upload.parts.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(match next {
            Some(Ok(frame)) => Some(self.check(&frame).map(|()| frame)),
            Some(Err(_)) => Some(Err(RequestFault::Broken)),
            None => self.check_end().err().map(Err),
        })
    }

    fn check(&mut self, frame: &Frame<Bytes>) -> Result<(), RequestFault> {
        let Some(bytes) = frame.data_ref() else {
            return self.check_end();
        };
        self.bytes_left = self.bytes_left.checked_sub(bytes.len() as u64).ok_or(RequestFault::TooLarge)?;
        if let Some(guard) = &mut self.guard
            && !guard.passes(bytes)
        {
            return Err(RequestFault::Refused);
        }
        // With a declared length the last bytes complete the request; nothing can be held back after them.
        if self.body.is_end_stream() { self.check_end() } else { Ok(()) }
    }

    fn check_end(&mut self) -> Result<(), RequestFault> {
        let may_end = self.guard.take().is_none_or(|mut guard| guard.passes_end());
        if may_end { Ok(()) } else { Err(RequestFault::Refused) }
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        self.upload.is_over.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for RequestStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestStream").field("bytes_left", &self.bytes_left).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StreamLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { idle_at_most, bytes_max, guard } = self;
        f.debug_struct("StreamLimits")
            .field("idle_at_most", idle_at_most)
            .field("bytes_max", bytes_max)
            .field("guarded", &guard.is_some())
            .finish()
    }
}
