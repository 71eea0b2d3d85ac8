//! A shop that does byte for byte what a test says, a front that passes through to it, and a raw caller.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kallback::caller_body::CallerBody;
use kallback::clock::Clock;
use kallback::forward::{Context, ForwardError, Forwarder, Limits};
use kallback::limits::{SeatSettings, Seats};
use kallback::metrics::Telemetry;
use kallback::upstream::answer::ReplyBody;
use kallback::upstream::sender::Sender;
use kallback::upstream::{Address, BodyGuard, Settings, TlsSettings, Upstream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Long enough never to strike by chance.
pub const LONG: Duration = Duration::from_secs(20);
/// Short enough to wait for.
pub const SHORT: Duration = Duration::from_millis(80);

pub struct Shop {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Shop {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    pub async fn visitor(&self) -> Wire<TcpStream> {
        let (stream, _) = tokio::time::timeout(LONG, self.listener.accept()).await.unwrap().unwrap();
        Wire { stream, read: Vec::new() }
    }

    /// Nobody stands at the door.
    pub async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(SHORT, self.listener.accept()).await.is_err()
    }
}

/// One end of a connection, in plain bytes.
pub struct Wire<S> {
    pub stream: S,
    read: Vec<u8>,
}

impl Wire<TcpStream> {
    pub async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Up to the blank line, which is included. Every byte becomes the character of its number.
    pub async fn head(&mut self) -> String {
        self.head_or_end().await.expect("ended within a head")
    }

    /// A head, or nothing if the other side closes first.
    pub async fn head_or_end(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return Some(head.iter().map(|byte| char::from(*byte)).collect());
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    pub async fn bytes(&mut self, count: usize) -> String {
        while self.read.len() < count {
            assert_ne!(self.more().await, 0, "ended early: {:?}", String::from_utf8_lossy(&self.read));
        }
        let rest = self.read.split_off(count);
        String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap()
    }

    /// Everything until the other side closes or breaks.
    pub async fn rest(&mut self) -> String {
        while self.more().await > 0 {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    async fn more(&mut self) -> usize {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(LONG, self.stream.read(&mut chunk)).await.expect("silence");
        let read = read.unwrap_or(0);
        self.read.extend_from_slice(&chunk[..read]);
        read
    }
}

pub fn settings(address: Address) -> Settings {
    Settings {
        address,
        tls: TlsSettings::default(),
        connect_within: LONG,
        idle_connections_max: 8,
        idle_for_at_most: LONG,
        reply_within: LONG,
        body_idle_at_most: LONG,
        head_bytes_max: 16 * 1024,
    }
}

pub fn plain(address: SocketAddr) -> Settings {
    settings(Address::Http { host: address.ip().to_string(), port: address.port() })
}

pub fn upstream(settings: &Settings) -> Upstream {
    Upstream::new(settings, Clock::system(), Telemetry::new().unwrap()).unwrap()
}

/// What a test changes about the front.
pub struct Plan {
    pub limits: Limits,
    pub seats: SeatSettings,
    pub guard: fn() -> Option<Box<dyn BodyGuard>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            limits: Limits {
                request_body_bytes_max: 0,
                request_body_idle_at_most: LONG,
                reply_within: LONG,
                tunnel_idle_at_most: LONG,
            },
            seats: SeatSettings {
                max_in_flight: 8,
                reserved_for_callbacks: 0,
                waiting_traffic_max: 8,
                traffic_waits_at_most: LONG,
            },
            guard: || None,
        }
    }
}

/// Passes everything through to a shop.
pub struct Front {
    address: SocketAddr,
    pub told: Arc<Mutex<Vec<StatusCode>>>,
    pub tunnels: TaskTracker,
}

impl Front {
    pub async fn of(shop: &Shop) -> Self {
        Self::planned(&plain(shop.address), Plan::default()).await
    }

    pub async fn planned(settings: &Settings, plan: Plan) -> Self {
        let clock = Clock::system();
        let seats = Seats::new(plan.seats, clock.clone(), Telemetry::new().unwrap());
        let tunnels = TaskTracker::new();
        let forwarder = Forwarder::new(upstream(settings), seats, tunnels.clone(), plan.limits);
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, forwarder, Arc::clone(&told), plan.guard));
        Self { address, told, tunnels }
    }

    pub async fn caller(&self) -> Wire<TcpStream> {
        Wire::to(self.address).await
    }
}

async fn serve(
    listener: TcpListener,
    forwarder: Forwarder,
    told: Arc<Mutex<Vec<StatusCode>>>,
    guard: fn() -> Option<Box<dyn BodyGuard>>,
) {
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let caller = Sender::new(peer.ip(), true, 443, &[]);
        let (forwarder, told) = (forwarder.clone(), Arc::clone(&told));
        let service = service_fn(move |request: Request<Incoming>| {
            let (forwarder, told, caller) = (forwarder.clone(), Arc::clone(&told), caller.clone());
            async move {
                let tell = move |status: StatusCode, _: &HeaderMap| told.lock().unwrap().push(status);
                let context = Context { sender: &caller, guard: guard(), informational: Some(tell) };
                let outcome = forwarder.forward(request.map(CallerBody::from), context).await;
                Ok::<_, std::convert::Infallible>(outcome.unwrap_or_else(|error| refusal(&error)))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(connection);
    }
}

fn refusal(error: &ForwardError) -> Response<ReplyBody> {
    let status = match error {
        ForwardError::BadHead(_) | ForwardError::CallerGone => 400,
        ForwardError::NoSeat(_) => 503,
        ForwardError::BodyTooLarge => 413,
        ForwardError::BodyTooSlow => 408,
        ForwardError::FormBypass => 403,
        ForwardError::NotReached(_) | ForwardError::Broken(_) => 502,
        ForwardError::TooSlow(_) => 504,
    };
    Response::builder().status(status).header("x-why", error.name()).body(ReplyBody::Empty).unwrap()
}
