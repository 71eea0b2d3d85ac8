//! One connection to the shop, driven by whoever uses it.
//!
//! hyper divides a connection into a handle and a driver, which is meant to run as a task of its own. Then every
//! request costs two changes of task and two more wake-ups. Here the task that waits for the reply drives the
//! connection itself; the handle and the bodies are asked with a waker that does nothing, since it is the driver that
//! makes them ready, in the same turn. Nobody drives an idle connection. What came on it meanwhile (its end, or bytes
//! that nobody asked for) is found before a byte of the next request is written, because the driver reads first.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::request_body::{ShopBody, Upload};
use super::watch::Watch;

/// A connection to the shop on which a request can be sent. Dropping it closes it.
pub(super) struct Connection {
    handle: SendRequest<ShopBody>,
    driver: Driver,
    alarm: Alarm,
    pub(super) watch: Arc<Watch>,
}

/// Reads and writes, whenever it is polled.
struct Driver {
    /// Gone once the connection ended. Boxed, for it is large, and a connection changes hands twice for each request.
    running: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    bell: Arc<Bell>,
    rings: Waker,
}

/// Wakes the task that uses the connection, if there is one. hyper keeps the waker of its last turn and wakes it for
/// the next request: without this, that would be the task of the request before.
#[derive(Default)]
struct Bell(Mutex<Option<Waker>>);

/// How an exchange ended: with the reply's head, or with a fault. The fault brings the request back if not a byte of
/// it was written.
pub(super) type Outcome = Result<Response<Incoming>, Box<TrySendError<Request<ShopBody>>>>;

/// Until when a reply's head is waited for. While parts of the request's body still go out, the time starts anew: a
/// long upload is not a slow shop.
pub(super) struct ReplyLimit {
    at: Instant,
    within: Duration,
    /// The body, unless it is here as a whole; and how many of its parts had gone out when it was last looked at.
    upload: Option<Arc<Upload>>,
    seen: usize,
}

impl ReplyLimit {
    pub(super) fn new(now: Instant, within: Duration, body: &ShopBody) -> Self {
        Self { at: now + within, within, upload: body.upload(), seen: 0 }
    }

    /// The time is over; whether there is more of it.
    fn goes_on(&mut self) -> bool {
        let now = self.upload.as_ref().map_or(0, |upload| upload.parts());
        self.at += self.within;
        std::mem::replace(&mut self.seen, now) != now
    }
}

impl Connection {
    /// A connection on a stream that nothing was written to.
    ///
    /// # Errors
    /// hyper's own, when it sets itself up.
    pub(super) async fn new<S>(http: &Builder, stream: S, watch: Arc<Watch>) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (handle, driver) = http.handshake(TokioIo::new(stream)).await?;
        Ok(Self { handle, driver: Driver::new(driver.with_upgrades()), alarm: Alarm::default(), watch })
    }

    /// Sends a request and waits for the reply's head; nothing if it did not come in time.
    pub(super) fn send(
        &mut self,
        request: Request<ShopBody>,
        limit: Option<ReplyLimit>,
    ) -> impl Future<Output = Option<Outcome>> {
        // Without a limit on turns: out of turns, it would ask to be woken by the waker that does nothing. Boxed, for it
        // has room for the request.
        let mut reply = Box::pin(unconstrained(self.handle.try_send_request(request)));
        let (Self { driver, alarm, .. }, mut limit) = (self, limit);
        poll_fn(move |cx| {
            driver.drive(cx);
            if let Poll::Ready(outcome) = reply.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Poll::Ready(Some(outcome.map_err(Box::new)));
            }
            let Some(limit) = &mut limit else { return Poll::Pending };
            while alarm.poll(limit.at, cx).is_ready() {
                if !limit.goes_on() {
                    return Poll::Ready(None);
                }
            }
            Poll::Pending
        })
    }

    /// The next part of a reply's body, which comes on this connection.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut body = Pin::new(body);
        let unheard = &mut Context::from_waker(Waker::noop());
        // hyper rings the driver for each part that is taken. Whoever takes one asks for the next by itself.
        self.driver.bell.wakes(None);
        let next = body.as_mut().poll_frame(unheard);
        if next.is_ready() {
            return next;
        }
        self.driver.drive(cx);
        body.poll_frame(unheard)
    }

    /// Whether another request can be sent: the last reply is over, and so is its request.
    pub(super) fn is_ready(&self) -> bool {
        self.driver.running.is_some() && self.handle.is_ready()
    }

    /// Nobody uses it any more, for now.
    pub(super) fn rest(&mut self) {
        self.driver.bell.wakes(None);
    }

    /// Looks at what came while nobody used it; false once it ended.
    pub(super) fn is_alive(&mut self) -> bool {
        self.driver.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.running.is_some()
    }

    /// Has what is under way finished by a task: the request of a reply that came early, or an upgrade.
    pub(super) fn finish_in_background(self) {
        let mut driver = self.driver;
        if driver.running.is_some() {
            // Whatever ends it, nobody waits for it.
            tokio::spawn(poll_fn(move |cx| {
                driver.drive(cx);
                if driver.running.is_some() { Poll::Pending } else { Poll::Ready(()) }
            }));
        }
    }
}

impl Driver {
    fn new(running: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let bell = Arc::new(Bell::default());
        Self { running: Some(Box::pin(running)), rings: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Reads and writes what it can, and wakes the task when it can do more. What fails reaches the request or the
    /// body that it concerns; both end with the driver.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(running) = &mut self.running else { return };
        self.bell.wakes(Some(cx.waker()));
        if running.as_mut().poll(&mut Context::from_waker(&self.rings)).is_ready() {
            self.running = None;
        }
    }
}

impl Bell {
    fn wakes(&self, task: Option<&Waker>) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !now.as_ref().zip(task).is_some_and(|(now, task)| now.will_wake(task)) {
            let before = std::mem::replace(&mut *now, task.cloned());
            drop(now);
            drop(before);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(task) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("alive", &self.driver.running.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::coop::poll_proceed;
    use tokio::time::timeout;

    use super::*;

    /// A connection, and a shop that replies that to every request.
    async fn connection(reply: &'static [u8]) -> Connection {
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(reply_always(theirs, reply));
        Connection::new(&Builder::new(), ours, Arc::default()).await.unwrap()
    }

    async fn reply_always(mut line: DuplexStream, reply: &'static [u8]) {
        let mut heard = Vec::new();
        while line.read_buf(&mut heard).await.unwrap() > 0 {
            if heard.ends_with(b"\r\n\r\n") {
                heard.clear();
                line.write_all(reply).await.unwrap();
            }
        }
    }

    fn request() -> Request<ShopBody> {
        Request::get("/").header("host", "shop.example").body(ShopBody::Empty).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_is_noticed_however_few_turns_the_task_has_left() {
        // With a body, the driver reads no further than the head, and may have taken the task's last turn for that.
        for spent in 0..128 {
            let mut connection = connection(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let mut reply = Box::pin(connection.send(request(), None));
            let noticed = poll_fn(|cx| {
                for _ in 0..spent {
                    if let Poll::Ready(turn) = poll_proceed(cx) {
                        turn.made_progress();
                    }
                }
                reply.as_mut().poll(cx)
            });
            let started = Instant::now();
            let outcome = timeout(Duration::from_secs(1), noticed).await;
            assert!(matches!(outcome, Ok(Some(Ok(_)))), "{spent} turns spent");
            // A timeout looks once more when its time is over, and then the reply is noticed in any case.
            assert_eq!(started.elapsed(), Duration::ZERO, "{spent} turns spent");
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_next_request_does_not_wake_the_task_of_the_one_before() {
        let mut connection = connection(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let before = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&before));
        {
            let mut reply = Box::pin(connection.send(request(), None));
            while reply.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                tokio::task::yield_now().await;
            }
        }
        assert!(before.0.swap(false, Ordering::Relaxed) && connection.is_ready());
        connection.rest();
        assert!(connection.send(request(), None).await.unwrap().is_ok());
        assert!(!before.0.load(Ordering::Relaxed));
    }
}
