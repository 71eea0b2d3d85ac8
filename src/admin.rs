//! The admin listener: health, metrics, what happened to callbacks, replay, tokens.
//!
//! | route | answers | closed without the admin token |
//! |---|---|---|
//! | `GET /livez` | the process runs | no |
//! | `GET /readyz` | it takes callbacks; never asks the shop | no |
//! | `GET /startupz` | it has started | no |
//! | `GET /metrics` | Prometheus text | no |
//! | `GET /callbacks?state=&kind=&subject=&undelivered=&…` | records, newest first | yes |
//! | `GET /callbacks/ID` | one record | yes |
//! | `POST /callbacks/ID/replay` `{"dry_run":…,"even_if_old":…}` | brings it to the shop again | yes |
//! | `GET /counts` | how many there are of each state | yes |
//! | `GET /day` | the last 24 hours by kind | yes |
//! | `GET /inspector` | a page for people, which asks the others | the page itself no |
//! | `POST /acknowledgements` `{"order_id":…}` | its pushes are replayed for longer | yes |
//! | `POST /tokens` `{"family":…,"session":…,"ttl_seconds":…}` | a token | yes |
//!
//! "Closed" holds when an admin token is set, which the config demands beyond loopback. A browser page of another
//! site cannot use a loopback listener either: what changes something must be `application/json` (a form cannot
//! send that without asking first) and must not carry a foreign `Origin`.

mod callbacks;
mod inspector;
mod lately;
mod routes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::metrics::Telemetry;
use crate::token::Guard;

/// A request's head must be there within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Connections at once: Prometheus, probes and a few people.
const CONNECTIONS_MAX: usize = 64;
/// How long the listener rests when the system has no file descriptor to spare.
const REST_AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; loopback by default.
    pub listen: Option<SocketAddr>,
    /// What `Authorization: Bearer` must say for everything but health and metrics; demanded whenever it is set,
    /// and it must be set when the listener is bound beyond loopback.
    pub token: Option<SecretString>,
    /// Records per page of a listing at most.
    pub page_records_max: u32,
}

/// Whether kallback has started, and whether callbacks should be sent here.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    ready: AtomicBool,
}

impl Health {
    /// Everything is built and listens.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
        self.ready.store(true, Ordering::Release);
    }

    /// Draining: load balancers should look elsewhere.
    pub fn draining(&self) {
        self.ready.store(false, Ordering::Release);
    }

    fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// What the admin listener shows and does.
pub struct Admin {
    /// Its settings.
    pub settings: Settings,
    /// Started, ready.
    pub health: Arc<Health>,
    /// Counters.
    pub telemetry: Telemetry,
    /// Records.
    pub ledger: Arc<dyn Ledger>,
    /// Mints tokens: gives the guard of the config that holds now.
    pub guard: Box<dyn Fn() -> Arc<Guard> + Send + Sync>,
    /// Rung after a replay, so that it starts at once.
    pub wake: Box<dyn Fn() + Send + Sync>,
    /// Time.
    pub clock: Clock,
}

impl Admin {
    /// Serves until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(REST_AFTER_ACCEPT_ERROR).await;
                continue;
            };
            // Above the bound a connection is closed at once: a stuck scraper must not lock people out for ever.
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let (admin, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let admin = admin.clone();
                    async move { Ok::<Response<Full<bytes::Bytes>>, Infallible>(admin.route(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_WITHIN)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                tokio::select! {
                    // What goes wrong on an admin connection concerns its client only.
                    _ = connection.as_mut() => {}
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = tokio::time::timeout(HEAD_WITHIN, connection).await;
                    }
                }
                drop(place);
            });
        }
    }
}
