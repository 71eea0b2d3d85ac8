//! The ledger as one SQLite file: `docs/ledger.md` says what is in it and how to look at it.
//!
//! Three threads of its own, so that no async thread ever waits for a disk: the [`writer`], which commits the
//! writes of all callers that wait together; the [`checkpointer`], which moves what was written from the WAL into
//! the file; and the [`reader`], for people and metrics.

mod acknowledgements;
mod admission;
mod answers;
mod aside;
mod by_hand;
mod checkpointer;
mod counts;
mod ends;
mod file;
mod group;
mod leases;
mod listing;
mod reader;
mod recent;
mod row;
mod schema;
mod sweep;
mod write;
mod writer;

use std::path::Path;
use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::event::TokenUse;
use crate::ledger::flights::{Flight, Joined};
use crate::ledger::sqlite::admission::{Binding, Candidate, Opened, Ruling};
use crate::ledger::sqlite::ends::{Setback, Settlement};
use crate::ledger::sqlite::file::LedgerFile;
use crate::ledger::sqlite::group::{Group, Rider};
use crate::ledger::sqlite::reader::Reader;
use crate::ledger::sqlite::recent::{Recent, Settled};
use crate::ledger::sqlite::writer::Writer;
use crate::ledger::{
    Admission, Claim, Counts, End, Failure, Filter, Ledger, LedgerError, Notice, NoticeId, Pending, PendingAdmission,
    PendingEnd, Record, Retention, Settings, Standing, Surroundings, Swept, rules,
};
use crate::message::Reply;

pub use crate::ledger::sqlite::by_hand::Hand;
pub use crate::ledger::sqlite::file::{OpenError, Vfs};

/// How a file is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// See [`Settings::queue_max`].
    pub queue_max: usize,
    /// See [`Settings::bytes_max`]. The WAL comes on top, usually less than 64 MiB.
    pub bytes_max: u64,
    /// Who does checkpoints.
    pub checkpoints: Checkpoints,
}

/// Who moves what was written from the WAL into the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checkpoints {
    /// A thread beside the writer.
    Aside,
    /// The writer, within a commit, as SQLite does by itself. Slow now and then; there to be compared with.
    InLine,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self { queue_max: settings.queue_max, bytes_max: settings.bytes_max, checkpoints: Checkpoints::Aside }
    }
}

/// The ledger in a file. Dropping it commits what waits; [`Ledger::shut_down`] does so without blocking a thread.
#[derive(Debug)]
pub struct Sqlite {
    // Ends before the writer, so that the writer's connection is the last one: that one empties the WAL.
    reader: Reader,
    writer: Writer,
    recent: Recent,
    around: Surroundings,
}

impl Sqlite {
    /// Opens the file, or makes it. What another process left pending without a time is due at once, marked as
    /// interrupted.
    pub fn open(path: &Path, options: Options, around: Surroundings) -> Result<Self, OpenError> {
        let file = Arc::new(LedgerFile::take(path, options.checkpoints)?);
        let place = |why| OpenError::Place { file: path.to_owned(), why };
        let connection = file.open_writer()?;
        leases::reclaim_all(&connection.sql, around.clock.now()).map_err(|why| file.fault(why.into()))?;
        let reader = Reader::start(file.clone(), options.queue_max).map_err(place)?;
        let writer = Writer::start(file, connection, options, &around).map_err(place)?;
        Ok(Self { reader, writer, recent: Recent::default(), around })
    }

    fn now(&self) -> UnixMillis {
        self.around.clock.now()
    }

    /// Uses a claim up with `work`, or gives it back.
    async fn end<T, W>(
        &self,
        mut claim: Box<Claim>,
        work: W,
        then: impl FnOnce(T),
    ) -> Result<(), (LedgerError, Box<Claim>)>
    where
        T: Send + 'static,
        W: FnOnce(&mut Group<'_>) -> rusqlite::Result<Result<T, LedgerError>> + Send + 'static,
    {
        match self.writer.write_soon(work).await {
            Ok(outcome) => {
                // Recorded, or somebody else's by now: in both cases nobody has to look for it.
                claim.flight.land();
                outcome.map(then).map_err(|lost| (lost, claim))
            }
            Err(error) => Err((error, claim)),
        }
    }
}

impl Ledger for Sqlite {
    fn admit(&self, notice: Arc<Notice>, flight: Flight) -> PendingAdmission<'_> {
        Box::pin(async move {
            let now = self.now();
            if let Some(reply) = self.recent.find(&notice, now) {
                return Ok(replayed(reply, &flight));
            }
            let candidate = Candidate::new(notice.clone(), now);
            let riders = self.writer.riders().clone();
            let rule = move |group: &mut Group<'_>| candidate.rule(group, &riders);
            match self.writer.write_if_awaited(rule).await {
                Ok(Ruling::Fresh(opened)) => Ok(Admission::Fresh(Box::new(first_claim(opened, notice, flight)))),
                Ok(Ruling::Waits) => {
                    flight.resolve(Standing::WillRedeliver);
                    Ok(Admission::InFlight(Joined::resolved(Standing::WillRedeliver)))
                }
                Ok(Ruling::Replays(reply)) => Ok(replayed(*reply, &flight)),
                Ok(Ruling::TokenOverused) => Ok(Admission::TokenOverused),
                Ok(Ruling::Full { bytes_max }) => Err((rules::full(bytes_max), flight)),
                Err(error) => Err((error, flight)),
            }
        })
    }

    fn bind(&self, token: TokenUse, subject: String) -> Pending<'_, bool> {
        let binding = Binding::new(token, &subject, self.now());
        Box::pin(async move {
            let bind = move |group: &mut Group<'_>| {
                let bound = binding.bind(group)?;
                Ok(bound.ok_or_else(|| rules::full(group.bytes_max())))
            };
            self.writer.write_if_awaited(bind).await?
        })
    }

    fn answered(&self, id: NoticeId) -> Pending<'_, ()> {
        self.writer.riders().wait(Rider::Answered(id));
        Box::pin(std::future::ready(Ok(())))
    }

    fn settle(&self, claim: Box<Claim>, stored: Arc<Reply>) -> PendingEnd<'_> {
        claim.flight.resolve(Standing::Settled(stored.clone()));
        let settlement = Settlement::new(&claim, &stored, self.now());
        let (fingerprint, bound) = (claim.notice.identity.fingerprint, recent::bound(&claim.notice));
        let recent = self.recent.clone();
        let settle = move |group: &mut Group<'_>| {
            let written = settlement.write(group, &stored.body)?;
            let edition = recent.edition();
            let kept = |replay_until| Settled {
                replay_until,
                head: settlement.head,
                body: stored.body.clone(),
                edition,
                bound,
            };
            Ok(written.map(|until| until.map(kept)))
        };
        let keep = move |settled: Option<Settled>| {
            if let Some(settled) = settled {
                self.recent.keep(fingerprint, settled);
            }
        };
        Box::pin(self.end(claim, settle, keep))
    }

    fn postpone(&self, claim: Box<Claim>, due_at: UnixMillis, failure: Failure) -> PendingEnd<'_> {
        claim.flight.resolve(Standing::WillRedeliver);
        let setback = Setback::new(&claim, &failure);
        Box::pin(self.end(claim, move |group| setback.postpone(group, due_at), drop))
    }

    fn close(&self, claim: Box<Claim>, end: End, failure: Failure) -> PendingEnd<'_, End> {
        let (setback, now) = (Setback::new(&claim, &failure), self.now());
        claim.flight.resolve(Standing::GivenUp(failure.reply, failure.why));
        let closed = self.end(claim, move |group| setback.close(group, end, now), drop);
        Box::pin(async move { closed.await.map(|()| end) })
    }

    fn lease_due(&self, limit: usize) -> Pending<'_, Vec<Box<Claim>>> {
        let (flights, now) = (self.around.flights.clone(), self.now());
        Box::pin(async move {
            let claims = self.writer.write(move |group| leases::lease_due(group, &flights, now, limit)).await?;
            Ok(claims.into_iter().map(Box::new).collect())
        })
    }

    fn next_due(&self) -> Pending<'_, Option<UnixMillis>> {
        let (flights, now) = (self.around.flights.clone(), self.now());
        Box::pin(async move {
            if flights.has_abandoned() {
                return Ok(Some(now));
            }
            self.reader.read(move |sql| leases::next_due(sql, &flights)).await
        })
    }

    fn wake_later_than(&self, at: UnixMillis) -> Pending<'_, u64> {
        let now = self.now();
        Box::pin(async move {
            let mut woken = 0;
            loop {
                let slice = self.writer.write(move |group| leases::wake(group, now, at, WAKE_SLICE)).await?;
                woken += slice;
                if slice < u64::from(WAKE_SLICE) {
                    return Ok(woken);
                }
            }
        })
    }

    fn acknowledge(&self, order_id: String) -> Pending<'_, u64> {
        let now = self.now();
        Box::pin(self.writer.write(move |group| acknowledgements::acknowledge(group, &order_id, now)))
    }

    fn replay(&self, id: NoticeId) -> Pending<'_, ()> {
        let (now, recent) = (self.now(), self.recent.clone());
        Box::pin(async move {
            let replay = move |group: &mut Group<'_>| {
                recent.clear();
                leases::replay(group, id, now)
            };
            let replayed = self.writer.write(replay).await?;
            replayed.then_some(()).ok_or(LedgerError::NotReplayable(id))
        })
    }

    fn list(&self, filter: Filter) -> Pending<'_, Vec<Record>> {
        Box::pin(self.reader.read(move |sql| listing::list(sql, &filter)))
    }

    fn counts(&self) -> Pending<'_, Counts> {
        Box::pin(self.reader.read(|sql| counts::counts(sql)))
    }

    fn sweep(&self, retention: Retention) -> Pending<'_, Swept> {
        let now = self.now();
        Box::pin(self.writer.write(move |group| sweep::sweep(group, &retention, now)))
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.reader.stop().await;
            self.writer.stop().await;
            // Whoever has the file next may change what is in it.
            self.recent.clear();
            Ok(())
        })
    }
}

fn replayed(reply: Reply, flight: &Flight) -> Admission {
    let reply = Arc::new(reply);
    flight.resolve(Standing::Settled(reply.clone()));
    Admission::Settled(reply)
}

fn first_claim(opened: Opened, notice: Arc<Notice>, mut flight: Flight) -> Claim {
    let id = opened.record.claim();
    flight.carries(id);
    Claim {
        id,
        notice,
        attempt: 1,
        accepted_at: opened.accepted_at,
        expires_at: opened.expires_at,
        repeats: opened.repeats,
        interrupted: false,
        answered: false,
        epoch: 1,
        lease: None,
        flight,
    }
}

/// A SQLite error as a ledger error. Only the code's own text: a message could quote what was stored.
fn unavailable(error: &rusqlite::Error) -> LedgerError {
    LedgerError::Unavailable(reason(error))
}

fn reason(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(error) => {
            format!("{} (SQLite error {})", rusqlite::ffi::code_to_str(error.extended_code), error.extended_code)
        }
        None => "something stored there cannot be understood".to_owned(),
    }
}

fn closed() -> LedgerError {
    LedgerError::Unavailable("it is closed".to_owned())
}

/// Most records that one write makes due.
const WAKE_SLICE: u32 = 500;

#[cfg(test)]
mod tests;
