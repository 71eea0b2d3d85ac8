//! Spans: made from the same events as log lines and counters, and kept until the exporter takes them.
//!
//! No attribute comes from the outside world. What finds no room is lost and counted; nobody ever waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Event;
use super::otlp::{self, Ended, Role, Value};
use crate::clock::Clock;
use crate::trace::{Sampler, Span};

/// How spans are made and kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SpanSettings {
    /// Which traces are exported.
    pub sampler: Sampler,
    /// Spans that wait for the exporter; more are lost. Default 2048.
    pub waiting_spans_max: usize,
    /// Spans that go to the collector at once. Default 512.
    pub batch_spans_max: usize,
}

/// Makes spans and keeps them.
#[derive(Debug)]
pub struct Tracer {
    settings: SpanSettings,
    clock: Clock,
    waiting: Mutex<Waiting>,
    lost: AtomicU64,
    batch_is_full: Notify,
}

#[derive(Debug)]
struct Waiting {
    spans: VecDeque<Vec<u8>>,
    anchor: Anchor,
}

impl Tracer {
    pub(super) fn new(settings: SpanSettings, clock: Clock) -> Self {
        let waiting = Waiting { spans: VecDeque::new(), anchor: Anchor::at(&clock) };
        let (lost, batch_is_full) = (AtomicU64::new(0), Notify::new());
        Self { settings, clock, waiting: Mutex::new(waiting), lost, batch_is_full }
    }

    /// The span of the answer to a request, which its headers name from now on. `is_believed`: the caller's word on
    /// sampling counts.
    pub fn answering(&self, headers: &mut HeaderMap, method: &Method, is_believed: bool) -> Span {
        let span = Span::for_request(headers, method, is_believed, self.settings.sampler);
        span.write_to(headers);
        span
    }

    /// The span of an attempt to bring a request with these headers to the shop.
    pub fn attempting(&self, headers: &HeaderMap, method: &Method) -> Span {
        Span::for_attempt(headers, method, self.settings.sampler)
    }

    /// Makes a span of the event, if it ends one that is exported.
    pub(super) fn record(&self, event: &Event<'_>) {
        match *event {
            Event::CallbackAnswered { kind, route, answered_by, status, took, span: Some(span), .. } => {
                let more = [
                    ("kallback.kind", Value::Text(kind.name())),
                    ("kallback.route", Value::Text(route)),
                    ("kallback.answered_by", Value::Text(answered_by.name())),
                ];
                self.keep((span, Role::Server, kind.name()), took, Told::status(status), more);
            }
            Event::TrafficAnswered { status, took, span: Some(span), .. } => {
                self.keep((span, Role::Server, span.method), took, Told::status(status), []);
            }
            Event::Attempt { kind, outcome, record, attempt, status, took, span: Some(span), .. } => {
                let more = [
                    ("kallback.kind", Value::Text(kind.name())),
                    ("kallback.attempt", Value::Whole(attempt.into())),
                    ("kallback.redelivery", Value::Truth(attempt > 1)),
                    ("kallback.outcome", Value::Text(outcome)),
                ];
                let more = more.into_iter().chain(record.map(|record| ("kallback.record", Value::Whole(record))));
                // A shop may say 200 and mean a failure.
                let fault = (outcome != "delivered").then_some(outcome);
                self.keep((span, Role::Client, kind.name()), took, Told { status, fault }, more);
            }
            Event::ShopAsked { class, status, took, span } => {
                let more = [("kallback.class", Value::Text(class.name()))];
                let told = Told { status: status.ok(), fault: status.err() };
                self.keep((span, Role::Client, span.method), took, told, more);
            }
            _ => {}
        }
    }

    fn keep<'a>(
        &self,
        (span, role, name): (&'a Span, Role, &'a str),
        took: Duration,
        Told { status, fault }: Told<'a>,
        more: impl IntoIterator<Item = (&'a str, Value<'a>)>,
    ) {
        if !span.sampled {
            return;
        }
        let failed = fault.is_some() || status.is_some_and(|status| role.fails_with(status));
        let usual = [
            Some(("http.request.method", Value::Text(span.method))),
            (role == Role::Server).then_some(("url.scheme", Value::Text("https"))),
            (role == Role::Client).then_some(("peer.service", Value::Text("shop"))),
            status.map(|status| ("http.response.status_code", Value::Whole(status.into()))),
            fault.map(|fault| ("error.type", Value::Text(fault))),
        ];
        let attributes = usual.into_iter().flatten().chain(more);
        let end = self.lock().anchor.nanos(&self.clock);
        let start = end.saturating_sub(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.push(otlp::span(&Ended { span, name, role, times: (start, end), failed }, attributes));
    }

    fn push(&self, span: Vec<u8>) {
        let mut waiting = self.lock();
        if waiting.spans.len() >= self.settings.waiting_spans_max {
            drop(waiting);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.spans.push_back(span);
        let is_full = waiting.spans.len() == self.settings.batch_spans_max;
        drop(waiting);
        if is_full {
            self.batch_is_full.notify_one();
        }
    }

    /// Waits until there is a whole batch.
    pub async fn batch_is_full(&self) {
        self.batch_is_full.notified().await;
    }

    /// The spans that have waited longest, at most a batch of them.
    pub fn take_batch(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.lock();
        let batch = waiting.spans.len().min(self.settings.batch_spans_max);
        waiting.spans.drain(..batch).collect()
    }

    /// Whether another whole batch waits already.
    pub fn has_batch(&self) -> bool {
        self.lock().spans.len() >= self.settings.batch_spans_max
    }

    /// How many found no room since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held, and every statement leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the work ended: what was replied, and what went wrong.
#[derive(Clone, Copy)]
struct Told<'a> {
    status: Option<u16>,
    fault: Option<&'a str>,
}

impl Told<'_> {
    fn status(status: u16) -> Self {
        Self { status: Some(status), fault: None }
    }
}

impl Role {
    /// A caller's own mistake is no failure of who answers it; to who asked it is one.
    fn fails_with(self, status: u16) -> bool {
        status >= if self == Self::Server { 500 } else { 400 }
    }
}

/// Ties the monotonic clock, which is exact, to the wall clock, which is right.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    nanos: u64,
    at: Instant,
}

impl Anchor {
    fn at(clock: &Clock) -> Self {
        Self { nanos: u64::try_from(clock.now().0).unwrap_or(0).saturating_mul(1_000_000), at: clock.instant() }
    }

    /// Nanoseconds since 1970 now.
    fn nanos(&mut self, clock: &Clock) -> u64 {
        let now = Self::at(clock);
        let elapsed = now.at.saturating_duration_since(self.at).as_nanos();
        let nanos = self.nanos.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        if nanos.abs_diff(now.nanos) > APART_AT_MOST_NANOS {
            *self = now;
            return now.nanos;
        }
        nanos
    }
}

/// If the clocks drift apart by more, somebody has set the wall clock.
const APART_AT_MOST_NANOS: u64 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::metrics::{ShopClass, Telemetry};
    use crate::trace::Root;

    fn settings(root: Root) -> SpanSettings {
        let sampler = Sampler { root, follows_parent: true };
        SpanSettings { sampler, waiting_spans_max: 3, batch_spans_max: 2 }
    }

    fn ask(telemetry: &Telemetry) {
        let tracer = telemetry.tracer().unwrap();
        let span = tracer.answering(&mut HeaderMap::new(), &Method::GET, true);
        let (class, took) = (ShopClass::Traffic, Duration::from_millis(3));
        telemetry.emit(Event::ShopAsked { class, status: Ok(200), took, span: &span });
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_the_oldest_goes_first() {
        let telemetry = Telemetry::new().unwrap();
        let tracer = telemetry.trace(settings(Root::On), Clock::system());
        (0..5).for_each(|_| ask(&telemetry));
        tracer.batch_is_full().await;
        assert_eq!((tracer.take_lost(), tracer.take_lost()), (2, 0));
        assert_eq!([2, 1, 0].map(|_| tracer.take_batch().len()), [2, 1, 0]);
    }

    #[test]
    fn what_is_not_sampled_is_not_kept() {
        let telemetry = Telemetry::new().unwrap();
        let tracer = telemetry.trace(settings(Root::Off), Clock::system());
        ask(&telemetry);
        assert_eq!((tracer.take_batch().len(), tracer.take_lost()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn times_are_finer_than_the_wall_clock_and_follow_it_when_it_is_set() {
        let clock = Clock::simulated(UnixMillis(1_000));
        let mut anchor = Anchor::at(&clock);
        tokio::time::advance(Duration::from_micros(1_500)).await;
        assert_eq!(anchor.nanos(&clock), 1_001_500_000);
        clock.jump(3_600_000);
        assert_eq!(anchor.nanos(&clock), 3_601_001_000_000);
    }
}
