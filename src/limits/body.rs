//! Reads a callback's body whole, within its limits.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::timeout;

/// Room that is made before the first bytes are there; a declared length is only a promise.
const TRUSTED_BYTES_MAX: u64 = 64 * 1024;

/// Why a body could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum BodyFault {
    /// More bytes than allowed: `413`.
    #[error("the body is too large")]
    TooLarge,
    /// Not complete in time: `408`.
    #[error("the body came too slowly")]
    TooSlow,
    /// The caller's connection broke or its framing is bad.
    #[error("the body broke off")]
    Broken,
}

impl BodyFault {
    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "body_size",
            Self::TooSlow => "slow_body",
            Self::Broken => "caller_gone",
        }
    }
}

/// The whole body: at most `bytes_max` bytes, complete within `within`.
///
/// # Errors
/// [`BodyFault`]. A declared length over the limit is refused before a byte is read.
pub async fn read_body<B>(body: B, bytes_max: u64, within: Duration) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > bytes_max {
        return Err(BodyFault::TooLarge);
    }
    timeout(within, read_at_most(body, bytes_max)).await.unwrap_or(Err(BodyFault::TooSlow))
}

async fn read_at_most<B>(mut body: B, bytes_max: u64) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let expected = body.size_hint().exact().unwrap_or(0).min(TRUSTED_BYTES_MAX);
    let Some(first) = next_bytes(&mut body).await? else { return Ok(Bytes::new()) };
    let mut left = bytes_max.checked_sub(first.len() as u64).ok_or(BodyFault::TooLarge)?;
    // Nearly every callback comes in one piece, which needs no copy.
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len().max(usize::try_from(expected).unwrap_or(0)));
    whole.extend_from_slice(&first);
    while let Some(more) = next_bytes(&mut body).await? {
        left = left.checked_sub(more.len() as u64).ok_or(BodyFault::TooLarge)?;
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// The next bytes; trailers of a callback say nothing.
async fn next_bytes<B>(body: &mut B) -> Result<Option<Bytes>, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = Pin::new(&mut *body).frame().await {
        if let Ok(bytes) = frame.map_err(|_| BodyFault::Broken)?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use http_body::{Frame, SizeHint};
    use http_body_util::Full;
    use tokio::time::{Sleep, sleep};

    use super::*;

    /// Sends so many chunks, one a second, and says that it has `declared` bytes.
    struct Drip {
        chunks: usize,
        chunk: &'static [u8],
        declared: Option<u64>,
        pause: Pin<Box<Sleep>>,
    }

    impl Drip {
        fn new(chunks: usize, chunk: &'static [u8], declared: Option<u64>) -> Self {
            Self { chunks, chunk, declared, pause: Box::pin(sleep(Duration::from_secs(1))) }
        }
    }

    impl Body for Drip {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.chunks == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.pause.as_mut().poll(cx));
            self.pause.set(sleep(Duration::from_secs(1)));
            self.chunks -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.chunk)))))
        }

        fn size_hint(&self) -> SizeHint {
            self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_up_to_the_limit_comes_whole_and_one_byte_more_is_too_large() {
        let minute = Duration::from_secs(60);
        assert_eq!(read_body(Drip::new(3, b"abc", None), 9, minute).await.unwrap(), "abcabcabc");
        assert_eq!(read_body(Drip::new(3, b"abc", None), 8, minute).await, Err(BodyFault::TooLarge));
        assert_eq!(read_body(Full::new(Bytes::from_static(b"{}")), 2, minute).await.unwrap(), "{}");
        assert_eq!(read_body(Full::new(Bytes::new()), 0, minute).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_declared_length_over_the_limit_is_refused_before_it_is_read() {
        let started = tokio::time::Instant::now();
        let refused = read_body(Drip::new(100, b"abc", Some(300)), 299, Duration::from_secs(9)).await;
        assert_eq!(refused, Err(BodyFault::TooLarge));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_does_not_buy_more_time() {
        let slow = read_body(Drip::new(10, b"a", None), 100, Duration::from_millis(5_500)).await;
        assert_eq!(slow, Err(BodyFault::TooSlow));
    }
}
