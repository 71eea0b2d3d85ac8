//! WebSocket tunnels.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::caller_body::CallerBody;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::Body;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::sleep;

static WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A caller that asked for a WebSocket.
#[derive(Debug)]
pub(super) struct Asked(OnUpgrade);

impl Asked {
    /// Whether the caller asks for a WebSocket. Nothing else is tunnelled: through an upgrade to HTTP/2 or TLS a
    /// stranger could talk to the shop behind our back.
    pub(super) fn by(request: &mut Request<CallerBody>) -> Option<Self> {
        let protocol = request.headers().get(UPGRADE)?;
        let asked = protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
            && request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && request.body().is_end_stream()
            && names_upgrade(request.headers());
        asked.then(|| Self(hyper::upgrade::on(request)))
    }

    /// Copies bytes both ways until both sides closed, one broke, or nothing moved for `idle_at_most` (give or take
    /// a quarter).
    pub(super) async fn tunnel(self, shop: OnUpgrade, idle_at_most: Duration) {
        let Ok(caller) = self.0.await else { return };
        let Ok(shop) = shop.await else { return };
        let moved = Arc::new(AtomicU64::new(0));
        let mut caller = Counted { stream: TokioIo::new(caller), moved: Arc::clone(&moved) };
        let mut shop = TokioIo::new(shop);
        tokio::select! {
            // Whatever ends a tunnel, both sides see it end; there is nobody to tell more.
            _ended = copy_bidirectional(&mut caller, &mut shop) => {}
            () = idle(&moved, idle_at_most) => {}
        }
    }
}

/// Writes the headers of the upgrade, which are hop-by-hop and were dropped with the others.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET.clone());
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Ends when nothing moved for four quarters in a row. Looking now and then costs less than a timer for each chunk.
async fn idle(moved: &AtomicU64, at_most: Duration) {
    let mut quiet_quarters = 0;
    let mut seen = 0;
    while quiet_quarters < 4 {
        sleep(at_most / 4).await;
        let now = moved.load(Ordering::Relaxed);
        quiet_quarters = if now == seen { quiet_quarters + 1 } else { 0 };
        seen = now;
    }
}

/// The caller's side of a tunnel, through which everything passes in one direction or the other.
struct Counted {
    stream: TokioIo<Upgraded>,
    moved: Arc<AtomicU64>,
}

impl Counted {
    fn count(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.count();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.count();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
