//! The ledger in memory: for tests and trial runs. Keeps every rule of the others, but nothing survives a stop.

mod row;
mod store;

use std::future::ready;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::UnixMillis;
use crate::event::TokenUse;
use crate::ledger::flights::{Flight, Joined};
use crate::ledger::memory::row::Outcome;
use crate::ledger::memory::store::{Held, Ruling, Store};
use crate::ledger::{
    Admission, Claim, Counts, End, Failure, Filter, Ledger, LedgerError, Notice, NoticeId, Pending, PendingAdmission,
    PendingEnd, Record, Retention, Standing, State, Surroundings, Swept, rules,
};
use crate::message::Reply;

/// The ledger in memory.
#[derive(Debug)]
pub struct Memory {
    store: Mutex<Store>,
    around: Surroundings,
}

impl Memory {
    /// An empty ledger that holds at most `bytes_max` bytes of requests and replies.
    pub fn new(bytes_max: u64, around: Surroundings) -> Self {
        Self { store: Mutex::new(Store::new(bytes_max)), around }
    }

    fn now(&self) -> UnixMillis {
        self.around.clock.now()
    }

    /// The store, unless it was shut down.
    fn open(&self) -> Result<MutexGuard<'_, Store>, LedgerError> {
        // Nothing panics while it is held.
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.closed { Err(LedgerError::Unavailable("it is closed".to_owned())) } else { Ok(store) }
    }

    fn call<'a, T: Send + 'a>(&'a self, work: impl FnOnce(&mut Store) -> Result<T, LedgerError>) -> Pending<'a, T> {
        let outcome = self.open().and_then(|mut store| work(&mut store));
        Box::pin(ready(outcome))
    }

    /// Uses a claim up, or gives it back.
    fn end(&self, mut claim: Box<Claim>, outcome: Outcome) -> PendingEnd<'_> {
        let held = Held { id: claim.id, epoch: claim.epoch };
        let ended = match self.open() {
            Err(error) => Err((error, claim)),
            Ok(mut store) => {
                claim.flight.land();
                store.end(held, outcome).map_err(|lost| (lost, claim))
            }
        };
        Box::pin(ready(ended))
    }
}

impl Ledger for Memory {
    fn admit(&self, notice: Arc<Notice>, mut flight: Flight) -> PendingAdmission<'_> {
        let ruling = self.open().and_then(|mut store| store.rule(&notice, self.now()));
        Box::pin(ready(match ruling {
            Err(error) => Err((error, flight)),
            Ok(Ruling::TokenOverused) => Ok(Admission::TokenOverused),
            Ok(Ruling::Waits) => {
                flight.resolve(Standing::WillRedeliver);
                Ok(Admission::InFlight(Joined::resolved(Standing::WillRedeliver)))
            }
            Ok(Ruling::Replays(reply)) => {
                flight.resolve(Standing::Settled(reply.clone()));
                Ok(Admission::Settled(reply))
            }
            Ok(Ruling::Opens(lease)) => {
                flight.carries(lease.id);
                Ok(Admission::Fresh(Box::new(lease.into_claim(flight))))
            }
        }))
    }

    fn bind(&self, token: TokenUse, subject: String) -> Pending<'_, bool> {
        let now = self.now();
        self.call(|store| Ok(store.bind(token, rules::subject_key(&subject), now)))
    }

    fn answered(&self, id: NoticeId) -> Pending<'_, ()> {
        self.call(|store| {
            store.answered(id);
            Ok(())
        })
    }

    fn settle(&self, claim: Box<Claim>, stored: Arc<Reply>) -> PendingEnd<'_> {
        claim.flight.resolve(Standing::Settled(stored.clone()));
        let order = rules::order_of(&claim).map(rules::subject_key);
        self.end(claim, Outcome::Settled { reply: stored, order, at: self.now() })
    }

    fn postpone(&self, claim: Box<Claim>, due_at: UnixMillis, failure: Failure) -> PendingEnd<'_> {
        claim.flight.resolve(Standing::WillRedeliver);
        self.end(claim, Outcome::Postponed { due_at, failure })
    }

    fn close(&self, claim: Box<Claim>, end: End, failure: Failure) -> PendingEnd<'_, End> {
        claim.flight.resolve(Standing::GivenUp(failure.reply.clone(), failure.why));
        let state = match end {
            End::Dead => State::Dead,
            End::Left => State::Left,
        };
        let closed = self.end(claim, Outcome::Closed { state, failure, at: self.now() });
        Box::pin(async move { closed.await.map(|()| end) })
    }

    fn lease_due(&self, limit: usize) -> Pending<'_, Vec<Box<Claim>>> {
        let now = self.now();
        self.call(|store| {
            let claims = store.lease_due(&self.around.flights, now, limit);
            Ok(claims.into_iter().map(Box::new).collect())
        })
    }

    fn next_due(&self) -> Pending<'_, Option<UnixMillis>> {
        let now = self.now();
        self.call(|store| Ok(store.next_due(&self.around.flights, now)))
    }

    fn wake_later_than(&self, at: UnixMillis) -> Pending<'_, u64> {
        let now = self.now();
        self.call(|store| Ok(store.wake_later_than(at, now)))
    }

    fn acknowledge(&self, order_id: String) -> Pending<'_, u64> {
        let now = self.now();
        self.call(|store| Ok(store.acknowledge(&order_id, now)))
    }

    fn replay(&self, id: NoticeId) -> Pending<'_, ()> {
        let now = self.now();
        self.call(|store| store.replay(id, now))
    }

    fn list(&self, filter: Filter) -> Pending<'_, Vec<Record>> {
        self.call(|store| Ok(store.list(&filter)))
    }

    fn counts(&self) -> Pending<'_, Counts> {
        self.call(|store| Ok(store.counts()))
    }

    fn sweep(&self, retention: Retention) -> Pending<'_, Swept> {
        let now = self.now();
        self.call(|store| Ok(store.sweep(&retention, now)))
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        self.call(|store| {
            store.closed = true;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::contract::{Place, contract};

    struct InMemory;

    impl Place for InMemory {
        fn open(&self, around: Surroundings, bytes_max: u64) -> Box<dyn Ledger> {
            Box::new(Memory::new(bytes_max, around))
        }

        fn survives(&self) -> bool {
            false
        }
    }

    contract!(InMemory);
}
