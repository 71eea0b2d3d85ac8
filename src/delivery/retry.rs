//! The background loop that brings what is due: after a failure, after an outage, after a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, UnixMillis};
use crate::delivery::{Delivery, Outage};
use crate::ledger::flights::Flights;
use crate::ledger::{Claim, Ledger};
use crate::metrics::{Event, Telemetry};

/// The ledger is asked at least this often: a process that shares it rings no bell here.
const ASK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// A wall clock that falls behind by less between two looks is not worth a stir.
const SET_BACK_AT_LEAST: Duration = Duration::from_secs(1);

/// Everything the loop stands on.
pub struct Redelivery {
    /// Where claims wait.
    pub ledger: Arc<dyn Ledger>,
    /// What is in the air: what is due may have to wait for another notice of its turn.
    pub flights: Flights,
    /// The bell.
    pub outage: Arc<Outage>,
    /// Redeliveries under way at once.
    pub concurrency: usize,
    /// Time.
    pub clock: Clock,
    /// Events.
    pub telemetry: Telemetry,
    /// The tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// Holds a token for everything that needs the ledger: it is not handed on before.
    pub under_way: TaskTracker,
    /// Begin nothing new.
    pub stop: CancellationToken,
}

impl Redelivery {
    /// Runs until it is told to stop. `delivery` gives the delivery of the config that holds now.
    pub async fn run(self, delivery: impl Fn() -> Arc<Delivery>) {
        // Shutdown waits for the loop, too: a lease under way is not dropped, because a push whose lease got lost
        // counts as interrupted at the next start and is not brought again.
        let _running = (self.tasks.token(), self.under_way.token());
        let places = Arc::new(Semaphore::new(self.concurrency));
        // A free place first: what cannot be brought yet is not leased yet.
        let mut seen = None;
        while let Some(place) = self.unless_stopped(places.clone().acquire_owned()).await.and_then(Result::ok) {
            self.wake_if_set_back(&mut seen, delivery().longest_pause()).await;
            // Each lease is a sync: whatever is free by now shares it.
            let mut free = vec![place];
            free.extend(std::iter::from_fn(|| places.clone().try_acquire_owned().ok()));
            match self.ledger.lease_due(free.len()).await {
                Ok(claims) if claims.is_empty() => drop(self.unless_stopped(self.rest()).await),
                Ok(claims) => {
                    for (claim, place) in claims.into_iter().zip(free) {
                        self.bring(delivery(), claim, place);
                    }
                }
                Err(error) => {
                    self.telemetry.emit(Event::LedgerFailed { call: "lease_due", error: &error });
                    // Not by what is due next: that is overdue, and would be asked for again at once.
                    self.unless_stopped(tokio::time::sleep(ASK_AT_LEAST_EVERY)).await;
                }
            }
        }
    }

    fn bring(&self, delivery: Arc<Delivery>, claim: Box<Claim>, place: OwnedSemaphorePermit) {
        let under_way = self.under_way.token();
        self.tasks.spawn(async move {
            delivery.bring(claim, place).await;
            drop(under_way);
        });
    }

    /// What waits, waits for a time of the wall clock. When that clock is set back, everything would wait as much
    /// longer, and an authorization would die of it. So then all is due now. Nobody saw what the clock did before the
    /// start: due is what would wait for longer than any pause is.
    async fn wake_if_set_back(&self, seen: &mut Option<(Instant, UnixMillis)>, longest_pause: Duration) {
        let (instant, wall) = (self.clock.instant(), self.clock.now());
        let too_late = match *seen {
            None => Some(wall + longest_pause),
            Some((then, wall_then)) => {
                let expected = wall_then + instant.saturating_duration_since(then);
                (expected.since(wall) >= SET_BACK_AT_LEAST).then_some(wall)
            }
        };
        if let Some(at) = too_late
            && let Err(error) = self.ledger.wake_later_than(at).await
        {
            // Not seen yet: the next turn tries again.
            return self.telemetry.emit(Event::LedgerFailed { call: "wake_later_than", error: &error });
        }
        *seen = Some((instant, wall));
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            output = work => Some(output),
        }
    }

    async fn rest(&self) {
        let next_due = self.ledger.next_due().await.ok().flatten();
        let until = next_due.map_or(ASK_AT_LEAST_EVERY, |due| due.since(self.clock.now()).min(ASK_AT_LEAST_EVERY));
        tokio::select! {
            // In order, so that nothing here depends on chance.
            biased;
            () = self.outage.rung() => {}
            () = self.flights.until_one_ended() => {}
            () = tokio::time::sleep(until) => {}
        }
    }
}
