//! Every event: its counter, its log line and its span, made together so that they cannot disagree.
//!
//! No label value comes from the outside world, and no event carries a secret. `docs/metrics.md` explains every
//! metric; a test compares it with what is rendered here.

mod day;
mod families;
mod history;
mod json;
mod labels;
mod lines;
mod log;
mod meters;
mod otlp;
mod spans;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Registry, TextEncoder};
use thiserror::Error;

use crate::clock::Clock;
use crate::event::{Fingerprint, Kind};
use crate::trace::Span;

pub use day::{HOURS, KindOfDay};
pub use history::{Happened, History, Moment};
pub use labels::{AnsweredBy, BLOCKERS, ShopClass};
pub use lines::Causes;
pub use log::{LogDrain, LogError, LogFormat, LogSettings};
pub use otlp::request as otlp_request;
pub use spans::{SpanSettings, Tracer};

/// Counts and logs. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry(Arc<Instruments>);

struct Instruments {
    registry: Registry,
    meters: meters::Meters,
    history: OnceLock<History>,
    tracer: OnceLock<Arc<Tracer>>,
}

/// The metrics could not be set up: two of them have one name, or a name is malformed.
#[derive(Debug, Error)]
#[error("the metrics could not be set up: {0}")]
pub struct TelemetryError(#[from] prometheus::Error);

impl Telemetry {
    /// Sets all metrics to nothing.
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let meters = meters::Meters::new(&registry)?;
        Ok(Self(Arc::new(Instruments { registry, meters, history: OnceLock::new(), tracer: OnceLock::new() })))
    }

    /// Counts the event and writes its log line. Never waits.
    pub fn emit(&self, event: Event<'_>) {
        self.0.meters.count(&event);
        lines::write(&event);
        if let Some(history) = self.0.history.get() {
            history.note(&event);
        }
        if let Some(tracer) = self.tracer() {
            tracer.record(&event);
        }
    }

    /// From now on what happens is also kept for people, within bounds. The first clock counts.
    pub fn keep_history(&self, clock: Clock) {
        self.0.history.get_or_init(|| History::new(clock));
    }

    /// What happened lately, if it is kept.
    pub fn history(&self) -> Option<&History> {
        self.0.history.get()
    }

    /// From now on spans are made. The first settings count.
    pub fn trace(&self, settings: SpanSettings, clock: Clock) -> Arc<Tracer> {
        self.0.tracer.get_or_init(|| Arc::new(Tracer::new(settings, clock))).clone()
    }

    /// Who makes spans, if any are made.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.0.tracer.get().map(Arc::as_ref)
    }

    /// Shows how many notices the ledger holds; the app asks the ledger before each scrape or every few seconds.
    pub fn set_ledger_counts(&self, counts: &LedgerCounts) {
        self.0.meters.show(counts);
    }

    /// All metrics in Prometheus' text format, `text/plain; version=0.0.4`.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(RENDERED_BYTES);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.0.registry.gather(), &mut text) {
            self.emit(Event::Warning { what: &format!("some metrics could not be rendered: {error}") });
        }
        text
    }

    /// From now on the whole process logs to stderr, once. A reader that is too slow loses lines, and
    /// `kallback_log_lines_dropped_total` says how many; it never holds anybody up. Keep what is given back until
    /// the process ends.
    pub fn install_logs(&self, settings: &LogSettings) -> Result<LogDrain, LogError> {
        log::install(settings, self.0.meters.log_lines_dropped.clone())
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// How many notices the ledger holds. `accepted` is the sum of the other numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LedgerCounts {
    /// All notices ever accepted.
    pub accepted: u64,
    /// Pending now.
    pub pending: u64,
    /// Settled, ever.
    pub settled: u64,
    /// Dead, less those replayed since.
    pub dead: u64,
    /// Left to the sender, ever.
    pub left: u64,
    /// How long ago the oldest pending one was accepted; zero if none is pending.
    pub oldest_pending_age: Duration,
}

/// Something that happened. Borrowed: made and consumed on the spot.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A callback was answered (info).
    CallbackAnswered {
        /// Its kind.
        kind: Kind,
        /// Its route's name.
        route: &'a str,
        /// How the answer came about.
        answered_by: AnsweredBy,
        /// The status that was sent.
        status: u16,
        /// From the start of the sender's clock to the answer.
        took: Duration,
        /// The sender's limit.
        budget: Duration,
        /// Who called.
        client: IpAddr,
        /// The session or order id, once the caller proved itself.
        subject: Option<&'a str>,
        /// What makes it the same as another, once the caller proved itself.
        fingerprint: Option<Fingerprint>,
        /// Its place in a trace, if there are traces.
        span: Option<&'a Span>,
    },
    /// Other traffic was answered (debug).
    TrafficAnswered {
        /// The method.
        method: &'a str,
        /// The status that was sent.
        status: u16,
        /// From the head's last byte to the reply's head.
        took: Duration,
        /// Who called.
        client: IpAddr,
        /// Its place in a trace, if there are traces.
        span: Option<&'a Span>,
    },
    /// A token or signature was looked at (warn when it is refused or observed).
    TokenChecked {
        /// The route's kind.
        kind: Kind,
        /// `valid`, `off`, or the refusal's name.
        result: &'static str,
        /// The route observes: it was let pass.
        observed: bool,
        /// Who called.
        client: IpAddr,
    },
    /// A second call of a notice.
    Duplicate {
        /// Its kind.
        kind: Kind,
        /// `in_flight` or `settled`.
        state: &'static str,
        /// What makes it the same as the first.
        fingerprint: Fingerprint,
    },
    /// One try at the shop ended.
    Attempt {
        /// Its kind.
        kind: Kind,
        /// `delivered`, `failed`, `unreached` or `unknown`.
        outcome: &'static str,
        /// The record, where there is one.
        record: Option<i64>,
        /// Which attempt it was.
        attempt: u32,
        /// The shop's status, if it replied.
        status: Option<u16>,
        /// How long it took.
        took: Duration,
        /// What became of it, in words.
        note: &'a str,
        /// The notice's.
        fingerprint: Fingerprint,
        /// Its place in a trace, if there are traces.
        span: Option<&'a Span>,
    },
    /// A person has a record brought to the shop again (info).
    ReplayOrdered {
        /// Its kind.
        kind: Kind,
        /// The record.
        record: i64,
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
    /// A firewall or security plugin answered instead of the shop (warn).
    Blocked {
        /// Its label: `wordfence-waf`.
        by: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// A reply that is going to cause trouble (warn).
    Suspicious {
        /// The kind asked.
        kind: Kind,
        /// What is wrong and what to do.
        warning: &'static str,
    },
    /// A push was repeated although the shop said 200 (warn from the third on).
    UnacknowledgedPush {
        /// The order.
        subject: Option<&'a str>,
        /// How often it came before: 1 for the second push.
        repeats: u32,
    },
    /// A record ended as dead (error) or left (info).
    Ended {
        /// Its kind.
        kind: Kind,
        /// The record.
        record: i64,
        /// `dead` or `left`.
        end: &'static str,
        /// Why.
        note: &'a str,
    },
    /// A request to the shop got its reply's head.
    ShopReplied {
        /// Callback or traffic.
        class: ShopClass,
        /// From the request's first byte to the reply's head.
        took: Duration,
    },
    /// A request of a trace ended at the shop (debug). An attempt to bring a notice is an [`Attempt`](Event::Attempt).
    ShopAsked {
        /// Callback or traffic.
        class: ShopClass,
        /// The reply's status, or why there is none.
        status: Result<u16, &'static str>,
        /// From the way to the shop to the reply's head.
        took: Duration,
        /// Its place in the trace.
        span: &'a Span,
    },
    /// A request waited for a seat at the shop.
    SeatWaited {
        /// Callback or traffic.
        class: ShopClass,
        /// How long.
        took: Duration,
    },
    /// The number of seats taken changed.
    SeatsInUse {
        /// Callback or traffic.
        class: ShopClass,
        /// Now.
        seats: usize,
    },
    /// The ledger committed a group of writes.
    LedgerCommitted {
        /// How long it took.
        took: Duration,
    },
    /// The ledger failed (error): callbacks are passed straight through.
    LedgerFailed {
        /// Which call.
        call: &'static str,
        /// Why.
        error: &'a (dyn std::error::Error + 'a),
    },
    /// A TLS handshake ended.
    Handshake {
        /// `ok`, `failed` or `timeout`.
        result: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// A connection was turned away (debug).
    ConnectionRefused {
        /// `too_many`, `too_many_from_address`, `bad_proxy_header`.
        why: &'static str,
        /// Who called.
        client: IpAddr,
    },
    /// A request was turned away for a limit or its framing (debug).
    RequestRefused {
        /// `rate`, `header_size`, `slow_head`, `body_size`, `slow_body`, `caller_gone`, `framing`, `form_bypass`,
        /// `plain_http`, `seats`.
        why: &'static str,
        /// Who called.
        client: IpAddr,
    },
    /// Config or certificates were read again (info, or error with what is wrong).
    Reloaded {
        /// `config` or `certificates`.
        what: &'static str,
        /// What is wrong; the last good one stays.
        fault: Option<&'a (dyn std::error::Error + 'a)>,
    },
    /// A certificate is in use (info). After certificates were read again successfully, first
    /// [`Reloaded`](Event::Reloaded) is emitted, which forgets the earlier names, then this for each of the new ones.
    Certificate {
        /// Its first name.
        name: &'a str,
        /// When it expires, seconds since 1970.
        not_after: i64,
    },
    /// Spans did not get to the collector (warn). The exporter says it now and then, for all since the last time.
    SpansLost {
        /// How many.
        spans: u64,
        /// Why.
        why: &'a str,
    },
    /// Something for the operator that is no metric: started, listening, draining (info).
    Life {
        /// What.
        what: &'a str,
    },
    /// The same as a warning.
    Warning {
        /// What, and what to do.
        what: &'a str,
    },
}

/// A push that came this often before has gone unacknowledged for too long: it is the third one.
const REPEATS_THAT_ALARM: u32 = 2;

/// What is rendered usually fits into this without growing.
const RENDERED_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests;
