//! The listeners: accept, handshake, and HTTP until the caller or we have enough.
//!
//! A connection's way: `accept` takes and counts it, `connection` reads the PROXY header, shakes hands and chooses
//! HTTP/1.1 or HTTP/2 by ALPN, `guarded_io` lets only sound HTTP/1.1 through to hyper, `service` hands each request to
//! the [`Handler`]. `activity` knows what takes too long.

mod accept;
mod activity;
mod connection;
mod connection_limit;
mod conversation;
mod doorbell;
mod drain;
pub mod framing;
mod guarded_io;
mod interim;
mod listen;
mod outbox;
pub mod proxy_protocol;
pub mod redirect;
mod service;
pub mod tls;
mod wire;
pub mod workers;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::caller_body::CallerBody;
use crate::clock::Clock;
use crate::metrics::Telemetry;
use crate::network::Network;
use crate::upstream::sender::Peer;

use connection::Doorway;
pub use connection::Socket;
use connection_limit::ConnectionLimit;
pub use drain::{Drain, Stage, Watch};
pub use interim::Interim;
pub use listen::{BoundSocket, Inherited, bind};

/// The listeners and the bounds on connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where TLS is accepted.
    pub listen: Vec<SocketAddr>,
    /// Where plain HTTP is accepted, only to redirect to https.
    pub redirect_from: Vec<SocketAddr>,
    /// Where plain HTTP is accepted from proxies that end TLS themselves.
    pub listen_behind_tls: Vec<SocketAddr>,
    /// The public https port that redirects name; left out of the URL when 443.
    pub public_port: u16,
    /// Certificates.
    pub tls: tls::Settings,
    /// Networks that send a PROXY protocol header; a connection from there without one is refused.
    pub proxy_protocol_from: Vec<Network>,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one client address.
    pub connections_per_address_max: usize,
    /// TLS handshake and PROXY header must be done within this time.
    pub handshake_within: Duration,
    /// A request's head must be there this long after its first byte.
    pub head_within: Duration,
    /// A connection without a request is closed after this time.
    pub idle_for_at_most: Duration,
    /// A caller that does not take its reply is cut off after this time without progress.
    pub write_stall_at_most: Duration,
    /// Largest request head in bytes.
    pub head_bytes_max: usize,
    /// Most header lines.
    pub headers_max: usize,
    /// HTTP/2 streams at once on one connection.
    pub h2_streams_max: u32,
    /// HTTP/2 streams that the peer reset before we answered, before the connection is closed. Every answer pays one off.
    pub h2_resets_max: usize,
    /// How the work is spread over threads.
    pub workers: Workers,
}

/// How the work is spread over threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workers {
    /// One current-thread runtime per core, each with its own listening socket.
    PerCore(usize),
    /// One runtime whose threads share all connections.
    Shared(usize),
}

/// What answers requests. One clone per connection.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its replies.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Answers one request. It finds the host in `Host`, whichever version the caller speaks.
    ///
    /// The future is dropped when the caller hangs up. What must go on then needs a task of its own.
    fn handle(&self, request: Request<CallerBody>, caller: Caller)
    -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Who asks, and since when.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client: the other end of the connection, or whom the PROXY header names.
    pub peer: Peer,
    /// The start of the sender's clock: when the connection was accepted, for its first request; later, when the first
    /// byte of the head came (HTTP/1.1) or the request was complete up to its head (HTTP/2).
    pub arrived: Instant,
    /// It came over TLS as far as here. Behind a proxy that ended TLS it did not.
    pub encrypted: bool,
    /// Sends interim replies.
    pub interim: Interim,
    /// The version of HTTP that it speaks.
    pub version: Version,
}

/// What all listeners of one process share.
#[derive(Debug)]
pub struct Front {
    settings: Settings,
    tls: Arc<rustls::ServerConfig>,
    limit: Arc<ConnectionLimit>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    clock: Clock,
    telemetry: Telemetry,
}

impl Front {
    /// Puts the shared parts together.
    pub fn new(settings: Settings, tls: Arc<rustls::ServerConfig>, clock: Clock, telemetry: Telemetry) -> Arc<Self> {
        Arc::new(Self {
            tls,
            limit: ConnectionLimit::new(settings.connections_max, settings.connections_per_address_max),
            http1: http1_builder(&settings),
            http2: http2_builder(&settings),
            settings,
            clock,
            telemetry,
        })
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.limit.in_all()
    }
}

/// Accepts TLS connections until draining begins, and answers their requests. Connections that are open then go on in
/// tasks of their own, which [`Drain::finished`] waits for.
pub async fn serve<H: Handler>(listener: TcpListener, front: Arc<Front>, handler: H, drain: Drain) {
    accept::accept(listener, Doorway { front, handler, drain, speaks_tls: true, encrypted: true }).await;
}

/// The same in the clear, for proxies that end TLS themselves. Whose word counts is the handler's business.
pub async fn serve_behind_tls<H: Handler>(listener: TcpListener, front: Arc<Front>, handler: H, drain: Drain) {
    accept::accept(listener, Doorway { front, handler, drain, speaks_tls: false, encrypted: false }).await;
}

/// Takes one connection that somebody else accepted to its end, and answers its requests. It speaks HTTP/1.1 without
/// TLS, and stands for one that came over TLS: the way in of simulations, which bring their own network. Draining ends it
/// like any other.
pub async fn receive<H: Handler>(socket: impl Socket, peer: SocketAddr, front: Arc<Front>, handler: H, drain: Drain) {
    let Ok(place) = front.limit.take() else { return };
    let accepted = front.clock.instant();
    let doorway = Doorway { front, handler, drain, speaks_tls: false, encrypted: true };
    let asking = doorway.drain.asking();
    doorway.receive(connection::Visitor { socket, peer, place, accepted }, asking).await;
}

fn http1_builder(settings: &Settings) -> http1::Builder {
    /// hyper takes no smaller one.
    const BUFFER_BYTES_MIN: usize = 64 * 1024;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The guard in front of it has the deadline; a second one would close without an answer.
        .header_read_timeout(None)
        .max_headers(settings.headers_max)
        .max_buf_size(BUFFER_BYTES_MIN.max(settings.head_bytes_max + 1));
    builder
}

fn http2_builder(settings: &Settings) -> http2::Builder<TokioExecutor> {
    const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
    const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
    const SEND_BUFFER_BYTES: usize = 64 * 1024;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.h2_streams_max)
        .max_local_error_reset_streams(settings.h2_resets_max)
        .max_pending_accept_reset_streams(settings.h2_resets_max)
        .max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        // A caller that vanished is noticed even while a request of it runs.
        .keep_alive_interval(settings.write_stall_at_most)
        .keep_alive_timeout(settings.write_stall_at_most);
    builder
}
