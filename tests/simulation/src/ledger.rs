//! The ledger as the simulation watches it: every call rings the bell, every outcome stands in a diary. Some of the
//! broken variants are here, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kallback::clock::UnixMillis;
use kallback::event::{Fingerprint, TokenUse};
use kallback::ledger::flights::{Boarding, Flight, Flights};
use kallback::ledger::memory::Memory;
use kallback::ledger::{
    Admission, Claim, Counts, End, Failure, Filter, Ledger, LedgerError, Notice, NoticeId, Pending, PendingAdmission,
    PendingEnd, Record, Retention, Surroundings, Swept,
};
use kallback::message::Reply;

use crate::variant::Variant;
use crate::wire::{Bell, Touched};

/// The header by which a request says which notice of the simulation it is.
pub const KEY: &str = "x-simulated";

/// What a ledger said, in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Diary(Arc<Mutex<Vec<Entry>>>);

/// One outcome.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which notice of the simulation.
    pub key: usize,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// What happened.
    pub fact: Fact,
    /// kallback's wall clock at the call.
    pub wall: UnixMillis,
}

/// What happened to a notice in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    /// It was asked about.
    Asked,
    /// Stored, and claimed.
    Claimed,
    /// Claimed once more, for an attempt of kallback's own.
    Leased,
    /// About to be recorded as settled.
    Settling,
    /// Recorded as settled.
    Settled,
    /// Recorded as to be brought again.
    Postponed,
    /// Recorded as ended otherwise.
    Closed,
}

impl Diary {
    /// Everything since the last call.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, notice: &Notice, fact: Fact, wall: UnixMillis) {
        let key = notice.request().headers.get(KEY).and_then(|key| key.to_str().ok()?.parse().ok());
        let fingerprint = notice.identity().fingerprint;
        if let Some(key) = key {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { key, fingerprint, fact, wall });
        }
    }
}

/// A ledger that is watched.
pub struct Watched {
    ledger: Arc<dyn Ledger>,
    /// Where the variants keep what they should not.
    memory: Memory,
    apart: Flights,
    around: Surroundings,
    bell: Bell,
    diary: Diary,
    variant: Option<Variant>,
    has_failed: AtomicBool,
}

impl Watched {
    /// Watches a ledger.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        around: Surroundings,
        (bell, diary): (Bell, Diary),
        variant: Option<Variant>,
    ) -> Self {
        let memory = Memory::new(1 << 30, around.clone());
        Self {
            ledger,
            memory,
            apart: Flights::default(),
            around,
            bell,
            diary,
            variant,
            has_failed: AtomicBool::new(false),
        }
    }

    fn called(&self) -> (&dyn Ledger, UnixMillis) {
        self.bell.ring(Touched::Ledger);
        let is_late = self.variant == Some(Variant::ClaimAfterForward);
        let ledger: &dyn Ledger = if is_late { &self.memory } else { &*self.ledger };
        (ledger, self.around.clock.now())
    }

    /// Writes down what was done already.
    async fn late(&self, notice: Arc<Notice>) -> Option<Box<Claim>> {
        if self.variant != Some(Variant::ClaimAfterForward) {
            return None;
        }
        let identity = notice.identity();
        let Boarding::First(flight) = self.apart.board(identity.fingerprint, identity.turn) else { return None };
        match self.ledger.admit(notice, flight).await {
            Ok(Admission::Fresh(claim)) => Some(claim),
            _ => None,
        }
    }

    async fn noted<T>(
        &self,
        notice: Arc<Notice>,
        (fact, wall): (Fact, UnixMillis),
        ended: PendingEnd<'_, T>,
    ) -> Result<T, (LedgerError, Box<Claim>)> {
        let outcome = ended.await;
        if outcome.is_ok() {
            self.diary.note(&notice, fact, wall);
        }
        outcome
    }
}

impl Ledger for Watched {
    fn admit(&self, notice: Arc<Notice>, flight: Flight) -> PendingAdmission<'_> {
        let (ledger, wall) = self.called();
        self.diary.note(&notice, Fact::Asked, wall);
        if self.variant == Some(Variant::GivesTheLedgerUp) && self.has_failed.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err((LedgerError::Overloaded, flight))));
        }
        let admitted = ledger.admit(notice.clone(), flight);
        Box::pin(async move {
            let mut outcome = admitted.await;
            self.has_failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            if self.variant == Some(Variant::BlindToDiskErrors)
                && let Err((_, flight)) = outcome
            {
                outcome = self.memory.admit(notice.clone(), flight).await;
            }
            if let Ok(Admission::Fresh(_)) = outcome {
                self.diary.note(&notice, Fact::Claimed, wall);
            }
            outcome
        })
    }

    fn bind(&self, token: TokenUse, subject: String) -> Pending<'_, bool> {
        self.called().0.bind(token, subject)
    }

    fn answered(&self, id: NoticeId) -> Pending<'_, ()> {
        self.called().0.answered(id)
    }

    fn settle(&self, claim: Box<Claim>, stored: Arc<Reply>) -> PendingEnd<'_> {
        let (ledger, wall) = self.called();
        let notice = claim.notice.clone();
        if self.variant == Some(Variant::SettledNotRecorded) {
            claim.forget();
            self.diary.note(&notice, Fact::Settled, wall);
            return Box::pin(std::future::ready(Ok(())));
        }
        // A dead process writes nothing more; what it wrote before, it wrote.
        if !self.bell.is_killed() {
            self.diary.note(&notice, Fact::Settling, wall);
        }
        let ended = ledger.settle(claim, stored.clone());
        Box::pin(async move {
            self.noted(notice.clone(), (Fact::Settled, wall), ended).await?;
            match self.late(notice).await {
                Some(claim) => self.ledger.settle(claim, stored).await,
                None => Ok(()),
            }
        })
    }

    fn postpone(&self, claim: Box<Claim>, due_at: UnixMillis, failure: Failure) -> PendingEnd<'_> {
        let (ledger, wall) = self.called();
        let notice = claim.notice.clone();
        let ended = ledger.postpone(claim, due_at, failure.clone());
        Box::pin(async move {
            self.noted(notice.clone(), (Fact::Postponed, wall), ended).await?;
            match self.late(notice).await {
                Some(claim) => self.ledger.postpone(claim, due_at, failure).await,
                None => Ok(()),
            }
        })
    }

    fn close(&self, claim: Box<Claim>, end: End, failure: Failure) -> PendingEnd<'_, End> {
        let (ledger, wall) = self.called();
        let notice = claim.notice.clone();
        let ended = ledger.close(claim, end, failure);
        Box::pin(self.noted(notice, (Fact::Closed, wall), ended))
    }

    fn lease_due(&self, limit: usize) -> Pending<'_, Vec<Box<Claim>>> {
        let (ledger, wall) = self.called();
        let leased = ledger.lease_due(limit);
        Box::pin(async move {
            let claims = leased.await?;
            claims.iter().for_each(|claim| self.diary.note(&claim.notice, Fact::Leased, wall));
            Ok(claims)
        })
    }

    fn next_due(&self) -> Pending<'_, Option<UnixMillis>> {
        self.called().0.next_due()
    }

    fn wake_later_than(&self, at: UnixMillis) -> Pending<'_, u64> {
        match self.variant {
            // What a restart forgot looks as if the clock had been set back.
            Some(Variant::TrustsTheClock | Variant::RestartForgets) => Box::pin(std::future::ready(Ok(0))),
            _ => self.called().0.wake_later_than(at),
        }
    }

    fn acknowledge(&self, order_id: String) -> Pending<'_, u64> {
        self.called().0.acknowledge(order_id)
    }

    fn replay(&self, id: NoticeId) -> Pending<'_, ()> {
        self.called().0.replay(id)
    }

    fn list(&self, filter: Filter) -> Pending<'_, Vec<Record>> {
        self.called().0.list(filter)
    }

    fn counts(&self) -> Pending<'_, Counts> {
        self.called().0.counts()
    }

    fn sweep(&self, retention: Retention) -> Pending<'_, Swept> {
        self.called().0.sweep(retention)
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        self.called().0.shut_down()
    }
}
