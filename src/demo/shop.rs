//! The sample shop: it makes an order of every callback that reaches it, like a plugin that never heard of repeats,
//! and it can be slow, dead, or behind a firewall.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, SERVER};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::scenes::{Mood, REFUSED_AT};

/// Requests that the shop works on at once, as a small PHP pool does.
pub const WORKERS: usize = 8;

/// What the first request after a restart takes longer: PHP has to compile everything anew.
const COLD_START: Duration = Duration::from_millis(1_200);

const BODY_BYTES_MAX: usize = 2 << 20;

/// What the shop calls itself in `Server`, so that its own replies are told from kallback's.
pub const SIGNATURE: HeaderValue = HeaderValue::from_static("sample-shop");

/// A running sample shop. It closes when it is dropped.
#[derive(Debug)]
pub struct SampleShop {
    address: SocketAddr,
    /// Bound, but does not listen: keeps the port ours while the shop is dead, and callers refused.
    _keeper: Socket,
    /// Ends the shop's current life; none while it is dead.
    life: Mutex<Option<CancellationToken>>,
    interior: Arc<Interior>,
}

/// What the shop knows of one purchase.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Visits {
    /// Callbacks that reached the shop itself.
    pub asked: u32,
    /// Orders it made of them. More than one is a customer who pays twice.
    pub orders: u32,
    /// Callbacks that it is working on.
    pub under_way: u32,
}

#[derive(Debug)]
struct Interior {
    mood: watch::Sender<Mood>,
    cold: AtomicBool,
    workers: Semaphore,
    /// By session or order id. Bounded by [`SampleShop::forget`].
    purchases: watch::Sender<HashMap<String, Visits>>,
}

impl SampleShop {
    /// Opens a shop on a port of the system's choice on loopback. Fails if no port can be had.
    pub async fn open() -> io::Result<Self> {
        let keeper = reusable_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = keeper.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let interior = Interior {
            mood: watch::Sender::new(Mood::Well),
            cold: AtomicBool::new(false),
            workers: Semaphore::new(WORKERS),
            purchases: watch::Sender::new(HashMap::new()),
        };
        let shop = Self { address, _keeper: keeper, life: Mutex::new(None), interior: Arc::new(interior) };
        shop.revive().await?;
        Ok(shop)
    }

    /// Where it listens, plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the shop is like this. Fails if it cannot listen again after it was dead.
    pub async fn turn(&self, mood: Mood) -> io::Result<()> {
        let was = self.interior.mood.send_replace(mood);
        if mood == Mood::Dead {
            if let Some(life) = self.life.lock().await.take() {
                life.cancel();
            }
        } else if was == Mood::Dead {
            self.interior.cold.store(true, Ordering::Relaxed);
            self.revive().await?;
        }
        Ok(())
    }

    /// What it knows of a purchase.
    pub fn visits(&self, subject: &str) -> Visits {
        self.interior.purchases.borrow().get(subject).copied().unwrap_or_default()
    }

    /// Waits until what it knows of a purchase is as asked for.
    pub async fn wait_until(&self, subject: &str, is_so: impl Fn(Visits) -> bool) {
        let known = |purchases: &HashMap<String, Visits>| purchases.get(subject).copied().unwrap_or_default();
        // The sender lives as long as the shop, so that this cannot end early.
        let _ = self.interior.purchases.subscribe().wait_for(|purchases| is_so(known(purchases))).await;
    }

    /// Forgets a purchase.
    pub fn forget(&self, subject: &str) {
        self.interior.purchases.send_modify(|purchases| {
            purchases.remove(subject);
        });
    }

    async fn revive(&self) -> io::Result<()> {
        let mut life = self.life.lock().await;
        if life.is_none() {
            let socket = reusable_socket(self.address)?;
            socket.listen(1024)?;
            let listener = TcpListener::from_std(socket.into())?;
            let token = CancellationToken::new();
            tokio::spawn(accept(listener, self.interior.clone(), token.clone()));
            *life = Some(token);
        }
        Ok(())
    }
}

impl Drop for SampleShop {
    fn drop(&mut self) {
        if let Some(life) = self.life.get_mut().take() {
            life.cancel();
        }
    }
}

/// Several sockets may be bound to the port; callers only reach one that listens.
fn reusable_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(listener: TcpListener, interior: Arc<Interior>, life: CancellationToken) {
    loop {
        let tcp = tokio::select! {
            () = life.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(_) => continue,
            },
        };
        let _ = tcp.set_nodelay(true);
        let (interior, life) = (interior.clone(), life.clone());
        tokio::spawn(async move {
            let visit = service_fn(|request| visit(interior.clone(), life.clone(), request));
            let mut server = hyper::server::conn::http1::Builder::new();
            let connection = server.timer(TokioTimer::new()).serve_connection(TokioIo::new(tcp), visit);
            tokio::select! {
                () = life.cancelled() => {}
                _ = connection => {}
            }
        });
    }
}

/// One request. The work is done in a task of its own: PHP goes on when its caller hangs up, and stops when the shop
/// dies.
async fn visit(
    interior: Arc<Interior>,
    life: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Died> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map(Collected::to_bytes).unwrap_or_default();
    let work = async move {
        tokio::select! {
            () = life.cancelled() => None,
            reply = work(&interior, &head.uri, &body) => Some(reply),
        }
    };
    tokio::spawn(work).await.ok().flatten().ok_or(Died)
}

/// The shop died while it was working on a request; the connection ends without a word.
#[derive(Debug, Error)]
#[error("the sample shop died")]
struct Died;

async fn work(interior: &Interior, uri: &Uri, body: &[u8]) -> Response<Full<Bytes>> {
    let mood = *interior.mood.borrow();
    let is_callback = uri.path().to_ascii_lowercase().contains("/wc-api/");
    let subject = subject(uri, body);
    if mood == Mood::Firewalled {
        return blocked();
    }
    let at_work = subject.filter(|_| is_callback).map(|subject| AtWork::begin(interior, subject));
    // The pool is never closed.
    let _worker = interior.workers.acquire().await;
    let pause = match mood {
        Mood::Slow(pause) if is_callback => pause,
        Mood::SlowPages(pause) if !is_callback => pause,
        _ if interior.cold.swap(false, Ordering::Relaxed) => COLD_START,
        _ => Duration::ZERO,
    };
    tokio::time::sleep(pause).await;
    if !is_callback {
        return reply_with(StatusCode::OK, "<!doctype html><title>Mugs</title><h1>Mugs</h1>");
    }
    if uri.path().to_ascii_lowercase().contains("validation") {
        let mut refusal = reply_with(StatusCode::SEE_OTHER, "-1");
        refusal.headers_mut().insert(LOCATION, HeaderValue::from_static(REFUSED_AT));
        return refusal;
    }
    if let Some(at_work) = at_work {
        at_work.note(|visits| visits.orders += 1);
    }
    // What WordPress says, whatever the plugin did.
    reply_with(StatusCode::OK, "-1")
}

/// Work on a callback; over when it is dropped, also because the shop died.
struct AtWork<'a> {
    interior: &'a Interior,
    subject: String,
}

impl<'a> AtWork<'a> {
    fn begin(interior: &'a Interior, subject: String) -> Self {
        let work = Self { interior, subject };
        work.note(|visits| {
            visits.asked += 1;
            visits.under_way += 1;
        });
        work
    }

    fn note(&self, change: impl FnOnce(&mut Visits)) {
        self.interior.purchases.send_modify(|purchases| match purchases.get_mut(&self.subject) {
            Some(visits) => change(visits),
            None => change(purchases.entry(self.subject.clone()).or_default()),
        });
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.note(|visits| visits.under_way = visits.under_way.saturating_sub(1));
    }
}

/// The session or order that a callback is about, from where the plugins look for it.
fn subject(uri: &Uri, body: &[u8]) -> Option<String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let by_url = pairs.into_iter().find(|(name, _)| ["kco_wc_order_id", "order_id"].contains(name));
    if let Some((_, id)) = by_url {
        return Some(id.to_owned());
    }
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(body.get("session_id")?.as_str()?.to_owned())
}

fn blocked() -> Response<Full<Bytes>> {
    let page = "<!doctype html><html><head><title>403 Forbidden</title></head><body><p>A potentially unsafe operation \
                has been detected in your request to this site.</p><p>Generated by Wordfence at the sample \
                shop</p></body></html>";
    reply_with(StatusCode::FORBIDDEN, page)
}

fn reply_with(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::from(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(SERVER, SIGNATURE);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    reply
}
