//! Brings spans to the collector: OTLP over HTTP/1.1, in batches, beside everything else.
//!
//! One batch is on its way at a time, and what waits meanwhile is bounded: a collector that is slow, refuses or is not
//! there costs spans and nothing else, and says so once a minute.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics::{Causes, Event, SpanSettings, Telemetry, Tracer, otlp_request};
use crate::upstream::connect::Connector;
use crate::upstream::{Address, SendError, TlsFault, TlsSettings};

/// Where spans go, and how patiently.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// How spans are made and kept.
    pub spans: SpanSettings,
    /// The collector.
    pub collector: Address,
    /// The host that it is told, with the port where that is not the usual one.
    pub host: HeaderValue,
    /// Where it takes traces.
    pub path: PathAndQuery,
    /// What else it is told. Sensitive ones do not print.
    pub headers: HeaderMap,
    /// PEM file with the authority to trust; the public ones when absent.
    pub ca_file: Option<PathBuf>,
    /// One try must be over within this time. Default 10 s.
    pub try_within: Duration,
    /// A batch is lost after this time. Default 30 s.
    pub batch_within: Duration,
    /// A batch that is not full goes after this time. Default 5 s.
    pub batch_every: Duration,
    /// Who makes the spans: `service.name` and more.
    pub resource: Vec<(String, String)>,
}

/// Brings the spans of one process to the collector.
pub struct Exporter {
    settings: Settings,
    connector: Connector,
    tracer: Arc<Tracer>,
    clock: Clock,
    telemetry: Telemetry,
    /// On its way.
    batch: Vec<Vec<u8>>,
    lost: Lost,
}

/// Spans that were lost and not told of yet.
#[derive(Default)]
struct Lost {
    spans: u64,
    why: String,
    told: Option<Instant>,
}

/// Why a try failed.
#[derive(Debug, Error)]
enum TryFault {
    #[error("the collector cannot be reached")]
    NotReached(#[from] SendError),
    #[error("the collector broke off")]
    Broken(#[from] hyper::Error),
    #[error("the collector did not answer within {0:?}")]
    TooSlow(Duration),
    #[error("the collector answered {0}")]
    Busy(StatusCode, Option<Duration>),
    #[error("the collector answered {0}")]
    Refused(StatusCode),
    #[error("its address cannot be used")]
    Unaskable(#[from] http::Error),
}

impl Exporter {
    /// From now on spans are made.
    ///
    /// # Errors
    /// [`TlsFault`]: the authority cannot be used. No spans are made then.
    pub fn new(settings: Settings, clock: Clock, telemetry: Telemetry) -> Result<Self, TlsFault> {
        let tls = TlsSettings { ca_file: settings.ca_file.clone(), name: None };
        let connector = Connector::new(&settings.collector, &tls, settings.try_within, clock.clone())?;
        let tracer = telemetry.trace(settings.spans, clock.clone());
        Ok(Self { settings, connector, tracer, clock, telemetry, batch: Vec::new(), lost: Lost::default() })
    }

    /// Runs until it is told to stop, and then brings what is left, for [`LAST_BATCHES_WITHIN`] at most.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.tracer.batch_is_full() => {}
                () = sleep(self.settings.batch_every) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.bring_what_waits() => {}
            }
            self.tell_lost(Some(TELL_LOST_EVERY));
        }
        if timeout(LAST_BATCHES_WITHIN, self.bring_the_last()).await.is_err() {
            let mut left = self.batch.len();
            while let more @ 1.. = self.tracer.take_batch().len() {
                left += more;
            }
            self.lose(left, "the process ended before the collector took them");
        }
        self.tell_lost(None);
    }

    async fn bring_what_waits(&mut self) {
        loop {
            self.take_batch();
            self.bring_batch().await;
            if !self.tracer.has_batch() {
                return;
            }
        }
    }

    /// Without another try: nobody waits for a collector that is not well.
    async fn bring_the_last(&mut self) {
        loop {
            self.take_batch();
            if self.batch.is_empty() {
                return;
            }
            match self.try_batch().await {
                Ok(()) => self.batch.clear(),
                Err(fault) => self.lose_batch(&fault),
            }
        }
    }

    /// The next batch, if the one before is done with. It stays in place until then, whatever interrupts it.
    fn take_batch(&mut self) {
        if self.batch.is_empty() {
            self.batch = self.tracer.take_batch();
        }
    }

    async fn bring_batch(&mut self) {
        let deadline = self.clock.instant() + self.settings.batch_within;
        let (mut pause, longest) = TRY_AGAIN_AFTER;
        while !self.batch.is_empty() {
            let Err(fault) = self.try_batch().await else { return self.batch.clear() };
            let wait = fault.asks_for().unwrap_or(pause).min(longest);
            if !fault.may_pass() || self.clock.instant() + wait > deadline {
                return self.lose_batch(&fault);
            }
            sleep(wait).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn try_batch(&self) -> Result<(), TryFault> {
        let within = self.settings.try_within;
        timeout(within, self.send_batch()).await.unwrap_or(Err(TryFault::TooSlow(within)))
    }

    async fn send_batch(&self) -> Result<(), TryFault> {
        let request = self.request()?;
        let stream = self.connector.connect().await?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection lives as long as its only exchange.
        let exchange = async move {
            let reply = sender.send_request(request).await?;
            Ok::<_, hyper::Error>((reply.status(), asked_pause(reply.headers()), read(reply).await))
        };
        let (outcome, _) = tokio::join!(exchange, driver);
        match outcome? {
            (status, ..) if status.is_success() => Ok(()),
            (status @ (StatusCode::TOO_MANY_REQUESTS | BAD_GATEWAY | UNAVAILABLE | GATEWAY_TIMEOUT), pause, ()) => {
                Err(TryFault::Busy(status, pause))
            }
            (status, ..) => Err(TryFault::Refused(status)),
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let body = otlp_request(&self.settings.resource, &self.batch);
        let mut request = Request::post(self.settings.path.clone()).body(Full::from(body))?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kallback/", env!("CARGO_PKG_VERSION"))));
        headers.extend(self.settings.headers.clone());
        headers.insert(HOST, self.settings.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(request)
    }

    fn lose_batch(&mut self, fault: &TryFault) {
        let spans = std::mem::take(&mut self.batch).len();
        self.lose(spans, &Causes(fault).to_string());
    }

    fn lose(&mut self, spans: usize, why: &str) {
        self.lost.spans += spans as u64;
        why.clone_into(&mut self.lost.why);
    }

    /// Says what was lost since the last time, unless that was less than `every` ago.
    fn tell_lost(&mut self, every: Option<Duration>) {
        let without_room = self.tracer.take_lost();
        self.lost.spans += without_room;
        if without_room > 0 && self.lost.why.is_empty() {
            "they came faster than the collector takes them".clone_into(&mut self.lost.why);
        }
        let now = self.clock.instant();
        let too_soon = every.zip(self.lost.told).is_some_and(|(every, told)| now < told + every);
        if self.lost.spans == 0 || too_soon {
            return;
        }
        self.telemetry.emit(Event::SpansLost { spans: self.lost.spans, why: &self.lost.why });
        self.lost = Lost { told: Some(now), ..Lost::default() };
    }
}

impl TryFault {
    /// Another try may help.
    fn may_pass(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Unaskable(_))
    }

    /// The pause that the collector asks for.
    fn asks_for(&self) -> Option<Duration> {
        if let Self::Busy(_, pause) = self { *pause } else { None }
    }
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// To its end, or to where it is too long; nothing in it matters to us.
async fn read(reply: Response<Incoming>) {
    drop(Limited::new(reply.into_body(), REPLY_BYTES_MAX).collect().await);
}

const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const GATEWAY_TIMEOUT: StatusCode = StatusCode::GATEWAY_TIMEOUT;

/// First and longest pause before a batch is tried again.
const TRY_AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// At the end of the process what is left has this time.
pub const LAST_BATCHES_WITHIN: Duration = Duration::from_secs(5);

/// Lost spans are told of at most this often.
const TELL_LOST_EVERY: Duration = Duration::from_secs(60);

/// Largest part of the collector's reply that is read.
const REPLY_BYTES_MAX: usize = 64 * 1024;
