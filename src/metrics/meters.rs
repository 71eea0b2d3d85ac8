//! All metrics, and which event moves which.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, Result};

use super::families::{Cells, Column, Maker, Named, PerKind, PerKindAnd};
use super::labels::{self, AnsweredBy, CODE_CLASSES, ShopClass, code_class};
use super::{Event, LedgerCounts};
use crate::event::Kind;

/// Every metric but those of the process.
pub(super) struct Meters {
    callbacks: CallbackMeters,
    deliveries: DeliveryMeters,
    shop: ShopMeters,
    ledger: LedgerMeters,
    front: FrontMeters,
    /// Log lines that nobody took in time. Counted by the log's own writer: an event for it would be a log line.
    pub(super) log_lines_dropped: IntCounter,
    spans_lost: IntCounter,
}

impl Meters {
    pub(super) fn new(registry: &Registry) -> Result<Self> {
        let make = Maker(registry);
        let build = make.gauges("kallback_build_info", "Always 1; the label says which version runs.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            callbacks: CallbackMeters::new(&make)?,
            deliveries: DeliveryMeters::new(&make)?,
            shop: ShopMeters::new(&make)?,
            ledger: LedgerMeters::new(&make)?,
            front: FrontMeters::new(&make)?,
            log_lines_dropped: make
                .counter("kallback_log_lines_dropped_total", "Log lines lost because their reader was too slow.")?,
            spans_lost: make
                .counter("kallback_spans_lost_total", "Spans that did not get to the collector of traces.")?,
        })
    }

    /// Moves the event's metrics.
    pub(super) fn count(&self, event: &Event<'_>) {
        match *event {
            Event::CallbackAnswered { kind, answered_by, status, took, budget, .. } => {
                self.callbacks.answers(kind, answered_by, status).inc();
                self.callbacks.durations(kind, answered_by).observe(took.as_secs_f64());
                if answered_by != AnsweredBy::Refused {
                    self.callbacks.hold_against(budget, kind, took);
                }
            }
            Event::TokenChecked { result, observed: true, .. } => self.callbacks.count_observed(result),
            Event::TokenChecked { result, observed: false, .. } => self.callbacks.token_checks.count(result),
            Event::Duplicate { kind, state, .. } => self.callbacks.duplicates.count(kind, state),
            Event::UnacknowledgedPush { repeats, .. } => self.callbacks.count_repeat(repeats),
            Event::Attempt { kind, outcome, .. } => self.deliveries.attempts.count(kind, outcome),
            Event::Blocked { by, .. } => self.deliveries.blocked.count(by),
            Event::Suspicious { kind, .. } => self.deliveries.suspicious.count(kind),
            Event::Ended { kind, end: "dead", .. } => self.deliveries.dead.count(kind),
            Event::Ended { kind, .. } => self.deliveries.left.count(kind),
            Event::TrafficAnswered { status, .. } => self.shop.traffic[code_class(status)].inc(),
            Event::ShopReplied { class, took } => self.shop.durations[class as usize].observe(took.as_secs_f64()),
            Event::SeatWaited { class, took } => self.shop.seat_waits[class as usize].observe(took.as_secs_f64()),
            Event::SeatsInUse { class, seats } => self.shop.seats_in_use[class as usize].set(whole(seats)),
            Event::LedgerCommitted { took } => self.ledger.commits.observe(took.as_secs_f64()),
            Event::LedgerFailed { .. } => self.ledger.failures.inc(),
            Event::Handshake { result, took } => self.front.count_handshake(result, took),
            Event::ConnectionRefused { why, .. } => self.front.connections_refused.count(why),
            Event::RequestRefused { why, .. } => self.front.requests_refused.count(why),
            Event::Reloaded { what, fault } => self.front.reloaded(what, fault.is_none()),
            Event::Certificate { name, not_after } => {
                self.front.certificates.with_label_values(&[name]).set(seconds_since_1970(not_after));
            }
            Event::SpansLost { spans, .. } => self.spans_lost.inc_by(spans),
            Event::ShopAsked { .. } | Event::ReplayOrdered { .. } | Event::Life { .. } | Event::Warning { .. } => {}
        }
    }

    /// Shows how many notices the ledger holds.
    pub(super) fn show(&self, counts: &LedgerCounts) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.ledger.accepted.set(whole(counts.accepted));
        self.ledger.pending.set(whole(counts.pending));
        self.ledger.settled.set(whole(counts.settled));
        self.ledger.dead.set(whole(counts.dead));
        self.ledger.left.set(whole(counts.left));
        self.ledger.oldest_pending_age.set(counts.oldest_pending_age.as_secs_f64());
    }
}

/// What senders were told.
struct CallbackMeters {
    answers: (IntCounterVec, Cells<IntCounter>),
    durations: (HistogramVec, Cells<Histogram>),
    budgets: (GaugeVec, Cells<Gauge>),
    budget_kept: PerKind,
    budget_exceeded: PerKind,
    token_checks: Named,
    duplicates: PerKindAnd,
    push_repeats: IntCounter,
    unacknowledged_orders: IntCounter,
}

impl CallbackMeters {
    fn new(make: &Maker<'_>) -> Result<Self> {
        let pairs = Kind::ALL.len() * AnsweredBy::ALL.len();
        let answers = make.counters(
            "kallback_callbacks_total",
            "Callbacks answered, by kind, how the answer came about, and its status class.",
            &["kind", "answered_by", "code_class"],
        )?;
        let durations = make.histograms(
            (
                "kallback_callback_duration_seconds",
                "From the start of the sender's clock to the answer, by kind and how the answer came about.",
            ),
            ANSWER_BUCKETS,
            &["kind", "answered_by"],
        )?;
        let budgets = make.seconds_gauges(
            "kallback_callback_budget_seconds",
            "How long the sender of such a callback waits, as it was for the last one.",
            &["kind"],
        )?;
        Ok(Self {
            answers: (answers, Cells::new(pairs * CODE_CLASSES.len())),
            durations: (durations, Cells::new(pairs)),
            budgets: (budgets, Cells::new(Kind::ALL.len())),
            budget_kept: make.per_kind("kallback_budget_kept_total", "Callbacks answered while their sender waits.")?,
            budget_exceeded: make
                .per_kind("kallback_budget_exceeded_total", "Callbacks answered later than their sender waits.")?,
            token_checks: make.named(
                "kallback_token_checks_total",
                "Tokens and signatures looked at, by result; observed_ ones were let pass.",
                "result",
                &[labels::TOKEN_RESULTS, labels::TOKEN_RESULTS_OBSERVED],
            )?,
            duplicates: make.per_kind_and(
                ("kallback_duplicates_total", "Calls of a notice that was known already, by the state it was in."),
                &Column { label: "state", values: labels::DUPLICATE_STATES },
            )?,
            push_repeats: make.counter(
                "kallback_unacknowledged_push_repeats_total",
                "Pushes that came again although the shop had answered 2xx.",
            )?,
            unacknowledged_orders: make.counter(
                "kallback_unacknowledged_orders_total",
                "Orders whose push came for the third time although the shop had answered 2xx.",
            )?,
        })
    }

    fn answers(&self, kind: Kind, by: AnsweredBy, status: u16) -> &IntCounter {
        let (family, cells) = &self.answers;
        let class = code_class(status);
        cells.at(pair(kind, by) * CODE_CLASSES.len() + class, || {
            family.with_label_values(&[kind.name(), by.name(), CODE_CLASSES[class]])
        })
    }

    fn durations(&self, kind: Kind, by: AnsweredBy) -> &Histogram {
        let (family, cells) = &self.durations;
        cells.at(pair(kind, by), || family.with_label_values(&[kind.name(), by.name()]))
    }

    /// Callers turned away do not come here: that takes no time and anybody can have it done, so a stranger could
    /// hide late answers among them.
    fn hold_against(&self, budget: Duration, kind: Kind, took: Duration) {
        let (family, cells) = &self.budgets;
        cells.at(kind as usize, || family.with_label_values(&[kind.name()])).set(budget.as_secs_f64());
        let met = if took > budget { &self.budget_exceeded } else { &self.budget_kept };
        met.count(kind);
    }

    fn count_observed(&self, result: &str) {
        let observed =
            labels::TOKEN_RESULTS_OBSERVED.iter().find(|name| name.strip_prefix("observed_") == Some(result));
        self.token_checks.count(observed.copied().unwrap_or(result));
    }

    fn count_repeat(&self, repeats: u32) {
        self.push_repeats.inc();
        if repeats == super::REPEATS_THAT_ALARM {
            self.unacknowledged_orders.inc();
        }
    }
}

fn pair(kind: Kind, by: AnsweredBy) -> usize {
    kind as usize * AnsweredBy::ALL.len() + by as usize
}

/// What became of notices at the shop.
struct DeliveryMeters {
    attempts: PerKindAnd,
    blocked: Named,
    suspicious: PerKind,
    dead: PerKind,
    left: PerKind,
}

impl DeliveryMeters {
    fn new(make: &Maker<'_>) -> Result<Self> {
        Ok(Self {
            attempts: make.per_kind_and(
                ("kallback_delivery_attempts_total", "Tries at the shop, by kind and outcome."),
                &Column { label: "outcome", values: labels::ATTEMPT_OUTCOMES },
            )?,
            blocked: make.named(
                "kallback_blocked_total",
                "Replies by which a firewall, a plugin or a known failure was recognised.",
                "by",
                &[labels::BLOCKERS],
            )?,
            suspicious: make.per_kind(
                "kallback_suspicious_replies_total",
                "Replies of the shop that are going to cause trouble; the log says why.",
            )?,
            dead: make.per_kind("kallback_dead_total", "Notices given up: too old, or refused for good.")?,
            left: make.per_kind("kallback_left_total", "Failed notices left to the sender's own repeat.")?,
        })
    }
}

/// The shop and its seats.
struct ShopMeters {
    traffic: [IntCounter; CODE_CLASSES.len()],
    durations: [Histogram; ShopClass::ALL.len()],
    seat_waits: [Histogram; ShopClass::ALL.len()],
    seats_in_use: [IntGauge; ShopClass::ALL.len()],
}

impl ShopMeters {
    fn new(make: &Maker<'_>) -> Result<Self> {
        let traffic = make.counters(
            "kallback_traffic_total",
            "Requests other than callbacks that were answered, by status class.",
            &["code_class"],
        )?;
        let durations = make.histograms(
            ("kallback_shop_duration_seconds", "From a request's first byte at the shop to the head of its reply."),
            ANSWER_BUCKETS,
            &["class"],
        )?;
        let waits = make.histograms(
            ("kallback_seat_wait_seconds", "How long requests waited for a seat at the shop."),
            ANSWER_BUCKETS,
            &["class"],
        )?;
        let seats = make.gauges("kallback_seats_in_use", "Requests that are at the shop now.", &["class"])?;
        Ok(Self {
            traffic: CODE_CLASSES.map(|class| traffic.with_label_values(&[class])),
            durations: ShopClass::ALL.map(|class| durations.with_label_values(&[class.name()])),
            seat_waits: ShopClass::ALL.map(|class| waits.with_label_values(&[class.name()])),
            seats_in_use: ShopClass::ALL.map(|class| seats.with_label_values(&[class.name()])),
        })
    }
}

/// The ledger.
struct LedgerMeters {
    commits: Histogram,
    failures: IntCounter,
    accepted: IntGauge,
    pending: IntGauge,
    settled: IntGauge,
    dead: IntGauge,
    left: IntGauge,
    oldest_pending_age: Gauge,
}

impl LedgerMeters {
    fn new(make: &Maker<'_>) -> Result<Self> {
        Ok(Self {
            commits: make.histogram(
                "kallback_ledger_commit_seconds",
                "How long the ledger took to put a group of writes on disk.",
                QUICK_BUCKETS,
            )?,
            failures: make.counter("kallback_ledger_failures_total", "Calls of the ledger that failed.")?,
            accepted: make.gauge("kallback_accepted", "Notices that the ledger ever accepted: the sum of the rest.")?,
            pending: make
                .gauge("kallback_pending", "Notices that the ledger holds and the shop has not accepted yet.")?,
            settled: make.gauge("kallback_settled", "Notices that the shop ever answered 2xx.")?,
            dead: make.gauge("kallback_dead", "Notices that were given up and not replayed since.")?,
            left: make.gauge("kallback_left", "Notices that were ever left to the sender's own repeat.")?,
            oldest_pending_age: make.seconds_gauge(
                "kallback_oldest_pending_age_seconds",
                "How long ago the oldest pending notice was accepted; 0 if none is pending.",
            )?,
        })
    }
}

/// The listeners and what they were told.
struct FrontMeters {
    handshakes: Named,
    handshake_durations: Histogram,
    connections_refused: Named,
    requests_refused: Named,
    certificates: GaugeVec,
    config_reload: IntGauge,
    certificate_reload: IntGauge,
}

impl FrontMeters {
    fn new(make: &Maker<'_>) -> Result<Self> {
        let good_so_far = |gauge: IntGauge| {
            // What it started with was good, or it would not run.
            gauge.set(1);
            gauge
        };
        Ok(Self {
            handshakes: make.named(
                "kallback_tls_handshakes_total",
                "TLS handshakes, by result.",
                "result",
                &[labels::HANDSHAKE_RESULTS],
            )?,
            handshake_durations: make.histogram(
                "kallback_tls_handshake_seconds",
                "How long TLS handshakes took that succeeded.",
                QUICK_BUCKETS,
            )?,
            connections_refused: make.named(
                "kallback_connections_refused_total",
                "Connections turned away, by cause.",
                "why",
                &[labels::CONNECTION_REFUSALS],
            )?,
            requests_refused: make.named(
                "kallback_requests_refused_total",
                "Requests turned away for a limit or their framing, by cause.",
                "why",
                &[labels::REQUEST_REFUSALS],
            )?,
            certificates: make.seconds_gauges(
                "kallback_certificate_not_after_seconds",
                "When a certificate in use expires, in seconds since 1970.",
                &["name"],
            )?,
            config_reload: good_so_far(make.gauge(
                "kallback_config_last_reload_successful",
                "1 if the config was good when it was last read, 0 if the one before is still in use.",
            )?),
            certificate_reload: good_so_far(make.gauge(
                "kallback_certificates_last_reload_successful",
                "1 if the certificates were good when they were last read, 0 if the ones before are still in use.",
            )?),
        })
    }

    fn count_handshake(&self, result: &str, took: Duration) {
        self.handshakes.count(result);
        // One that failed or timed out says nothing about how fast we are.
        if result == "ok" {
            self.handshake_durations.observe(took.as_secs_f64());
        }
    }

    fn reloaded(&self, what: &str, good: bool) {
        if what == "certificates" {
            self.certificate_reload.set(i64::from(good));
            if good {
                // A name that is no longer served must not go on to expire; those in use are about to be named.
                self.certificates.reset();
            }
        } else {
            self.config_reload.set(i64::from(good));
        }
    }
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "exact for the next 285 million years")]
fn seconds_since_1970(seconds: i64) -> f64 {
    seconds as f64
}

/// Upper bounds in seconds. 2 is the sender's limit for an authorization, 1.5 and 4 are kallback's own deadlines.
const ANSWER_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0];

/// Upper bounds in seconds for what usually takes a few milliseconds.
const QUICK_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
