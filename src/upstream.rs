//! The only client that reaches the shop: HTTP/1.1 over TCP, TLS or a unix socket.
//!
//! The pool is our own, because two things must be certain that a ready-made client leaves open: whether a byte of
//! a request left this machine (a callback may be delivered again exactly when none did), and that no request is
//! ever sent twice behind our back.

mod alarm;
pub mod answer;
pub mod connect;
mod connection;
pub mod dial;
mod fault;
pub mod headers;
mod pool;
mod reply_body;
mod request_body;
pub mod sender;
mod stall;
mod tls;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;

pub use self::fault::{Reached, SendCause, SendError};
pub use self::reply_body::{ReplyFault, ShopStream};
pub use self::request_body::{BodyGuard, RequestFault, RequestStream, ShopBody, StreamLimits};
pub use self::tls::TlsFault;

use self::connect::Connector;
use self::connection::{Connection, ReplyLimit};
use self::dial::Dialler;
use self::pool::Pool;
use self::reply_body::Lease;
use self::watch::{Watch, Watched};
use crate::clock::Clock;
use crate::metrics::{Event, ShopClass, Telemetry, Tracer};

/// How long a connection counts as just used, in milliseconds. Below the shortest time for which servers keep idle
/// connections (a few seconds), with room for the way there: so a shop closes it only because it stops or is full.
pub const JUST_USED_MS_MAX: u64 = 1_000;

/// Where the shop is and how it is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The shop.
    pub address: Address,
    /// TLS to the shop, for `https://`.
    pub tls: TlsSettings,
    /// A connection must stand within this time; after it the shop was certainly not reached.
    pub connect_within: Duration,
    /// Connections kept open for traffic, per worker.
    pub idle_connections_max: usize,
    /// An idle connection is closed after this time; below the shop's own idle time (Apache: 5 s).
    pub idle_for_at_most: Duration,
    /// The reply's head of ordinary traffic must come within this time.
    pub reply_within: Duration,
    /// A reply's body may pause for this long.
    pub body_idle_at_most: Duration,
    /// Largest reply head in bytes.
    pub head_bytes_max: usize,
}

/// The shop's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `http://host:port`
    Http {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `https://host:port`
    Https {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/path/to/socket`
    Unix(PathBuf),
    /// Wherever this leads. Not in the config: for simulations.
    Dialled(Dialler),
}

/// How the shop's certificate is checked.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// PEM file with the authority to trust; the public ones when absent.
    pub ca_file: Option<PathBuf>,
    /// The name to expect in the certificate; the address's host when absent.
    pub name: Option<String>,
}

/// The way to the shop, with one worker's idle connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    route: Arc<Route>,
    pool: Arc<Pool>,
}

/// What all workers share.
#[derive(Debug)]
struct Route {
    connector: Connector,
    http: http1::Builder,
    body_idle_at_most: Duration,
    idle_connections_max: usize,
    idle_for_at_most: Duration,
    clock: Clock,
    telemetry: Telemetry,
}

/// How one request is sent.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// On which connection.
    pub connection: ConnectionChoice,
    /// The reply's head must come within this time once the request's body is through; no limit when absent.
    pub reply_within: Option<Duration>,
    /// Callback or traffic, for the metrics.
    pub class: ShopClass,
    /// It gets a span below the one that its headers name, while there are traces.
    pub traced: bool,
}

/// On which connection a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionChoice {
    /// A new one. An idle connection can die between our write and the shop's read, and then nobody can tell
    /// whether the shop saw the request. It is pooled afterwards.
    Fresh,
    /// An idle one on which a reply of the shop ended less than [`JUST_USED_MS_MAX`] ago, else a new one. For what may
    /// reach the shop a second time if the idle one dies all the same.
    JustUsed,
    /// An idle one if there is one, else a new one.
    Pooled,
}

/// The shop's reply: its status, its own reason phrase (as [`ReasonPhrase`] among the extensions, where it is not
/// the usual one), all its headers, and its body as it comes.
pub type ShopReply = Response<Box<ShopStream>>;

/// How one exchange on one connection failed.
enum ExchangeFault {
    /// The request came back untouched; it may be sent again.
    Unsent(Box<Request<ShopBody>>),
    Failed(SendError),
}

impl Upstream {
    /// The way to the shop. Reads the authority's file, if one is set, but does not connect.
    ///
    /// # Errors
    /// If that file or the name to expect cannot be used.
    pub fn new(settings: &Settings, clock: Clock, telemetry: Telemetry) -> Result<Self, TlsFault> {
        let mut http = http1::Builder::new();
        http.max_header_size(settings.head_bytes_max);
        let route = Arc::new(Route {
            connector: Connector::new(&settings.address, &settings.tls, settings.connect_within, clock.clone())?,
            http,
            body_idle_at_most: settings.body_idle_at_most,
            idle_connections_max: settings.idle_connections_max,
            idle_for_at_most: settings.idle_for_at_most,
            clock,
            telemetry,
        });
        Ok(Self { pool: route.new_pool(), route })
    }

    /// The same way with idle connections of its own, for another worker: a connection is driven by the thread
    /// that opened it.
    #[must_use]
    pub fn for_another_worker(&self) -> Self {
        Self { route: Arc::clone(&self.route), pool: self.route.new_pool() }
    }

    /// Sends a request and waits for the reply's head. Call it inside a runtime; dropping the future closes the
    /// connection.
    ///
    /// The request's target must be path and query alone; its headers go out as they are, save for those that frame
    /// the body. A request is sent a second time only if no byte of it left the first time.
    ///
    /// # Errors
    /// [`SendError`] says whether the shop can have seen the request.
    pub fn send(&self, mut request: Request<ShopBody>, how: How) -> impl Future<Output = Result<ShopReply, SendError>> {
        frame(&mut request);
        // Boxed, since it is handed on several times from here.
        self.send_framed(Box::new(request), how)
    }

    async fn send_framed(&self, request: Box<Request<ShopBody>>, how: How) -> Result<ShopReply, SendError> {
        match self.route.telemetry.tracer() {
            Some(tracer) if how.traced => Box::pin(self.send_traced(tracer, request, how)).await,
            _ => self.send_on(request, how).await,
        }
    }

    async fn send_traced(
        &self,
        tracer: &Tracer,
        mut request: Box<Request<ShopBody>>,
        how: How,
    ) -> Result<ShopReply, SendError> {
        let span = tracer.attempting(request.headers(), request.method());
        span.write_to(request.headers_mut());
        let started = self.route.clock.instant();
        let outcome = self.send_on(request, how).await;
        self.route.telemetry.emit(Event::ShopAsked {
            class: how.class,
            status: outcome.as_ref().map(|reply| reply.status().as_u16()).map_err(|error| error.cause.name()),
            took: self.route.clock.instant().saturating_duration_since(started),
            span: &span,
        });
        outcome
    }

    async fn send_on(&self, mut request: Box<Request<ShopBody>>, how: How) -> Result<ShopReply, SendError> {
        if let Some(connection) = self.idle(how.connection) {
            match self.exchange(connection, request, how).await {
                Ok(reply) => return Ok(reply),
                Err(ExchangeFault::Failed(error)) => return Err(error),
                Err(ExchangeFault::Unsent(back)) => request = back,
            }
        }
        // Boxed because a TLS handshake is large and most requests never get here.
        let connection = Box::pin(self.open()).await?;
        self.exchange(connection, request, how).await.map_err(|fault| match fault {
            ExchangeFault::Failed(error) => error,
            ExchangeFault::Unsent(_) => SendError::unreached(SendCause::ClosedUnsent),
        })
    }

    fn idle(&self, choice: ConnectionChoice) -> Option<Connection> {
        match choice {
            ConnectionChoice::Fresh => None,
            ConnectionChoice::JustUsed => self.pool.take(Duration::from_millis(JUST_USED_MS_MAX)),
            ConnectionChoice::Pooled => self.pool.take(Duration::MAX),
        }
    }

    async fn open(&self) -> Result<Connection, SendError> {
        let stream = self.route.connector.connect().await?;
        let watch = Arc::new(Watch::default());
        let watched = Watched::new(stream, Arc::clone(&watch));
        // Only hyper's own set-up can fail; nothing is written yet.
        let connection = Connection::new(&self.route.http, watched, watch).await;
        connection.map_err(|error| SendError::unreached(SendCause::ConnectFailed).because(error))
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        request: Box<Request<ShopBody>>,
        how: How,
    ) -> Result<ShopReply, ExchangeFault> {
        let route = &self.route;
        connection.watch.next_request();
        let started = route.clock.instant();
        let upload = request.body().upload();
        let limit = how.reply_within.map(|within| ReplyLimit::new(started, within, request.body()));
        let Some(outcome) = connection.send(*request, limit).await else {
            // Even if nothing was written yet: the connection may still be writing while we look.
            return Err(ExchangeFault::Failed(SendError::unknown(SendCause::ReplyTimeout)));
        };
        match outcome {
            Ok(reply) => {
                let took = route.clock.instant().saturating_duration_since(started);
                route.telemetry.emit(Event::ShopReplied { class: how.class, took });
                let is_early = upload.is_some_and(|upload| !upload.is_over());
                Ok(self.reply(reply, connection, is_early))
            }
            Err(mut fault) => Err(match fault.take_message() {
                Some(request) => ExchangeFault::Unsent(Box::new(request)),
                None => {
                    let touched = connection.watch.touched();
                    ExchangeFault::Failed(SendError::exchanging(fault.into_error(), touched))
                }
            }),
        }
    }

    fn reply(&self, mut reply: Response<Incoming>, connection: Connection, is_early: bool) -> ShopReply {
        // The parser leaves an empty phrase where it met one that it does not keep.
        if reply.extensions().get::<ReasonPhrase>().is_some_and(|phrase| phrase.as_bytes().is_empty())
            && let Some(phrase) = connection.watch.take_phrase()
        {
            reply.extensions_mut().insert(phrase);
        }
        // The rest of an upload must not wait until the caller takes the reply: it may not look before it has sent all.
        if is_early || reply.status() == StatusCode::SWITCHING_PROTOCOLS {
            connection.finish_in_background();
            return reply.map(|body| Box::new(ShopStream::new(body, self.route.body_idle_at_most, None)));
        }
        let pool = reusable(&reply).then(|| Arc::clone(&self.pool));
        let lease = Some(Lease { connection, pool });
        reply.map(|body| Box::new(ShopStream::new(body, self.route.body_idle_at_most, lease)))
    }
}

impl Route {
    fn new_pool(&self) -> Arc<Pool> {
        Arc::new(Pool::new(self.idle_connections_max, self.idle_for_at_most, self.clock.clone()))
    }
}

/// Has informational replies of the shop (103 Early Hints and the like) told to `tell` while the request waits.
///
/// A `100 Continue` is not told: we never ask the shop for one, and the caller's own `Expect` is answered where its
/// body is read.
pub fn on_informational<F>(request: &mut Request<ShopBody>, tell: F)
where
    F: Fn(StatusCode, &HeaderMap) + Send + Sync + 'static,
{
    hyper::ext::on_informational(request, move |reply| {
        if reply.status() != StatusCode::CONTINUE {
            tell(reply.status(), reply.headers());
        }
    });
}

/// Says how long the body is. hyper would believe a length that came with the headers rather than the body itself,
/// and drops the body of a GET that does not say how it is framed.
fn frame(request: &mut Request<ShopBody>) {
    *request.version_mut() = Version::HTTP_11;
    let length = request.body().size_hint().exact();
    let none_needed = !matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    match length {
        // Some servers and firewall rules refuse a POST without a length, so it gets one even without a body.
        Some(0) if none_needed && !headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
}

/// A connection whose shop spoke HTTP/1.0 is not used again: hyper would speak 1.0 on it from then on, and a body
/// of unknown length would be dropped. One that is about to close (`Connection: close`) never becomes ready again,
/// so the pool does not hand it out.
fn reusable(reply: &Response<Incoming>) -> bool {
    reply.version() == Version::HTTP_11
}
