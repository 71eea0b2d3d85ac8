//! Bringing a notice to the shop: one attempt now, others later.
//!
//! A delivery runs in a task of its own, which a hang-up of the caller does not end. [`Delivery::bring`] is the
//! story: wait for the notice's turn, try once, decide what follows, tell who waits, write it down.

pub mod attempt;
pub mod blockers;
pub mod disguise;
pub mod next;
mod readable;
pub mod retry;
pub mod schedule;
pub mod warnings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::delivery::attempt::{Number, Tried};
use crate::delivery::next::{Next, When};
use crate::delivery::schedule::Jitter;
use crate::ledger::{Claim, End, Failure, GaveUp, Ledger, LedgerError, Notice, Standing};
use crate::limits::Seats;
use crate::metrics::{Event, Telemetry};
use crate::upstream::Upstream;

/// First and longest pause before an outcome that could not be recorded is written again.
const RECORD_AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How notices are delivered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A running call to the shop is cut after this time and its outcome is unknown; before it, a seat at the shop is
    /// waited for as long. Default 60 s.
    pub attempt_timeout: Duration,
    /// Redeliveries under way at once. Default 4.
    pub redelivery_concurrency: usize,
    /// Pauses before the second, third, … attempt; the last one repeats. Default 1, 2, 5, 10, 30, 60, 120 s.
    pub schedule: Vec<Duration>,
    /// `Retry-After` of the shop is respected up to this time.
    pub retry_after_at_most: Duration,
    /// Largest reply body in bytes that is recorded for replays; a larger one is replayed as `204`.
    pub recorded_body_bytes_max: usize,
    /// Largest reply body in bytes that is kept in memory for the sender.
    pub reply_body_bytes_max: usize,
}

/// Brings notices to the shop and writes down what became of them.
pub struct Delivery {
    settings: Settings,
    ledger: Arc<dyn Ledger>,
    upstream: Upstream,
    seats: Seats,
    clock: Clock,
    telemetry: Telemetry,
    outage: Arc<Outage>,
    jitter: Jitter,
}

/// Whether the shop failed last time, and the bell that wakes the redelivery. Outlives a reload of the config.
#[derive(Debug)]
pub struct Outage {
    failing: AtomicBool,
    /// Rung when something was postponed, or everything that waits became due.
    bell: Notify,
}

impl Default for Outage {
    /// Nobody knows how the shop was before the start: the first success wakes what an earlier process left waiting.
    fn default() -> Self {
        Self { failing: AtomicBool::new(true), bell: Notify::new() }
    }
}

impl Outage {
    /// Waits for the bell.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Rings the bell: something became due.
    pub fn ring(&self) {
        self.bell.notify_one();
    }
}

/// What a delivery stands on.
pub struct Parts {
    /// Where claims end.
    pub ledger: Arc<dyn Ledger>,
    /// The shop.
    pub upstream: Upstream,
    /// The shop's seats.
    pub seats: Seats,
    /// Time.
    pub clock: Clock,
    /// Events.
    pub telemetry: Telemetry,
    /// The shop's last state.
    pub outage: Arc<Outage>,
    /// Chance.
    pub jitter: Jitter,
}

impl Delivery {
    /// A delivery on these parts.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let Parts { ledger, upstream, seats, clock, telemetry, outage, jitter } = parts;
        Self { settings, ledger, upstream, seats, clock, telemetry, outage, jitter }
    }

    /// The longest that a notice waits for another attempt.
    pub fn longest_pause(&self) -> Duration {
        schedule::longest_pause(&self.settings.schedule, self.settings.retry_after_at_most)
    }

    /// Brings a claimed notice to the shop once, and records what became of it. `place` is given back as soon as the shop
    /// is done with it: what the ledger takes time for keeps nobody from the shop.
    pub async fn bring<P>(&self, claim: Box<Claim>, place: P) {
        claim.my_turn().await;
        let notice = claim.notice.clone();
        if let Some((end, why)) = next::before_attempt(&claim, self.clock.now()) {
            return self.record(claim, Next::End(end), Err(why)).await;
        }
        let seat = self.seat().await;
        if seat.is_ok()
            && let Err(error) = self.ledger.hold(&claim, self.settings.attempt_timeout).await
        {
            return self.leave_alone(*claim, &error);
        }
        let number = Number { attempt: claim.attempt, redelivery: claim.attempt > 1, unrecorded: false };
        let tried = self.attempt(&notice, number, Some(claim.id), seat).await;
        let next = self.what_follows(&claim, &tried);
        claim.resolve(standing(&tried, &next));
        drop(place);
        self.note_outage(&tried).await;
        self.record(claim, next, Ok(tried)).await;
    }

    /// From now on nobody answers the sender in the shop's place.
    fn what_follows(&self, claim: &Claim, tried: &Tried) -> Next {
        let when = When { settings: &self.settings, now: self.clock.now(), share: self.jitter.share() };
        next::after_attempt(claim, tried, claim.conclude(), when)
    }

    /// It is stored, and not certainly ours: another process may have it at the shop.
    fn leave_alone(&self, claim: Claim, error: &LedgerError) {
        self.telemetry.emit(Event::LedgerFailed { call: "hold", error });
        claim.resolve(Standing::WillRedeliver);
        if matches!(error, LedgerError::Lost(_)) {
            claim.forget();
        }
    }

    /// Brings a notice that could not be written down: once, live, for the sender who waits. Nothing is promised.
    pub async fn bring_unrecorded(&self, notice: &Notice) -> Tried {
        let number = Number { attempt: 1, redelivery: false, unrecorded: true };
        self.attempt(notice, number, None, self.seat().await).await
    }

    /// Records an attempt that was made while the ledger was too slow to hand out its claim in time. The sender knows
    /// how it ended. But the record was there for other processes to see, and one of them may have told the sender's
    /// next call that the notice is kept: so what failed comes again like any other notice.
    pub async fn record_late(&self, claim: Box<Claim>, tried: Tried) {
        let next = self.what_follows(&claim, &tried);
        self.record(claim, next, Ok(tried)).await;
    }

    /// The first success after a failure wakes everything that waits.
    async fn note_outage(&self, tried: &Tried) {
        match tried {
            Tried::Delivered(_) => {
                if self.outage.failing.swap(false, Ordering::Relaxed) {
                    match self.ledger.wake_later_than(self.clock.now()).await {
                        Ok(_) => self.outage.ring(),
                        // Nobody was woken: the next success has to.
                        Err(_) => self.outage.failing.store(true, Ordering::Relaxed),
                    }
                }
            }
            Tried::TurnedAway(..) | Tried::Unreached(_) | Tried::Unknown(..) => {
                self.outage.failing.store(true, Ordering::Relaxed);
            }
            Tried::Failed(..) => {}
        }
    }

    /// Writes the outcome down, again and again until the ledger takes it: the notice stays in the air meanwhile,
    /// so that nobody brings it a second time. Where nothing was tried, `tried` says why not.
    async fn record(&self, mut claim: Box<Claim>, next: Next, tried: Result<Tried, &'static str>) {
        let (kind, id) = (claim.notice.kind(), claim.id);
        let note = tried.as_ref().map_or_else(|why| (*why).to_owned(), Tried::note);
        let (mut pause, longest) = RECORD_AGAIN_AFTER;
        let written = loop {
            match self.write(claim, &self.in_sight(next), tried.as_ref().ok(), &note).await {
                Ok(written) => break written,
                Err((LedgerError::Lost(_), lost)) => return lost.forget(),
                Err((_, back)) => claim = back,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        };
        match written {
            Next::Settled => {}
            Next::Again(_) => self.outage.ring(),
            Next::End(end) => self.telemetry.emit(Event::Ended { kind, record: id, end: end.name(), note: &note }),
        }
    }

    /// When the ledger takes an outcome late, the wall clock may have been set back since the time was chosen. No pause
    /// is longer than the longest.
    fn in_sight(&self, next: Next) -> Next {
        match next {
            Next::Again(due) => Next::Again(due.min(self.clock.now() + self.longest_pause())),
            Next::Settled | Next::End(_) => next,
        }
    }

    async fn write(
        &self,
        claim: Box<Claim>,
        next: &Next,
        tried: Option<&Tried>,
        note: &str,
    ) -> Result<Next, (LedgerError, Box<Claim>)> {
        let failure = || Failure {
            why: tried.map_or(GaveUp::NoReply, gave_up),
            reply: tried.and_then(Tried::reply).cloned(),
            note: note.to_owned(),
        };
        match (next, tried) {
            (Next::Settled, Some(Tried::Delivered(reply))) => {
                let stored = attempt::for_replay(reply, self.settings.recorded_body_bytes_max);
                self.ledger.settle(claim, stored).await.map(|()| Next::Settled)
            }
            (Next::Again(due), _) => self.ledger.postpone(claim, *due, failure()).await.map(|()| *next),
            (Next::End(end), _) => self.ledger.close(claim, *end, failure()).await.map(Next::End),
            (Next::Settled, _) => self.ledger.close(claim, End::Dead, failure()).await.map(Next::End),
        }
    }

    /// Names who blocked and what is going to cause trouble.
    fn report(&self, notice: &Notice, tried: &Tried) {
        let kind = notice.kind();
        if let Tried::TurnedAway(_, Some(blocker)) | Tried::Failed(_, Some(blocker)) = tried {
            self.telemetry.emit(Event::Blocked { by: blocker.label, advice: blocker.advice });
        }
        if let Some(reply) = tried.reply() {
            for warning in warnings::warnings(kind, &notice.request().target, reply) {
                self.telemetry.emit(Event::Suspicious { kind, warning });
            }
        }
    }
}

fn standing(tried: &Tried, next: &Next) -> Standing {
    match next {
        Next::Again(_) => Standing::WillRedeliver,
        Next::Settled | Next::End(_) => standing_unrecorded(tried),
    }
}

/// How a notice stands that nobody brings again.
pub fn standing_unrecorded(tried: &Tried) -> Standing {
    match tried {
        Tried::Delivered(reply) => Standing::Settled(reply.clone()),
        failed => Standing::GivenUp(failed.reply().cloned(), gave_up(failed)),
    }
}

fn gave_up(tried: &Tried) -> GaveUp {
    match tried {
        Tried::Unknown(_, why) => *why,
        _ => GaveUp::NoReply,
    }
}
