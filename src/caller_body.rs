//! A request's body as its caller sends it. What nobody waited for is still read, within bounds.
//!
//! A reply may be complete before the request is: `403` to a callback without a token, `413`. HTTP allows that, but
//! many clients send their whole body first and look for the reply afterwards: on HTTP/2 the stream's reset makes
//! some of them (curl before 8) drop the reply with it, on HTTP/1.1 the close of a socket with unread bytes does.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Of a body that nobody reads any more, so much is still taken, in bytes: what a client has under way.
const LEFTOVER_BYTES_MAX: usize = 64 * 1024;
/// For so long.
const LEFTOVER_WITHIN: Duration = Duration::from_secs(2);

/// A request's body. When it is dropped before its end, a task reads what is left of it.
#[derive(Debug)]
pub struct CallerBody {
    /// None once it ended or broke.
    rest: Option<Incoming>,
}

impl From<Incoming> for CallerBody {
    fn from(body: Incoming) -> Self {
        Self { rest: Some(body) }
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.rest else { return Poll::Ready(None) };
        let next = Pin::new(body).poll_frame(cx);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for CallerBody {
    fn drop(&mut self) {
        let Some(body) = self.rest.take().filter(|body| !body.is_end_stream()) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LEFTOVER_WITHIN, read_leftover(body)));
        }
    }
}

async fn read_leftover(mut body: Incoming) {
    let mut left = LEFTOVER_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(fewer) => left = fewer,
            None => return,
        }
    }
}
