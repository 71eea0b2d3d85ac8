//! The few long-lived connections to the database, each with many statements under way at once.
//!
//! The first lane is for upkeep: redelivery, people, metrics, and what other processes tell. The others are for claims
//! and ends. A call waits for a lane only while kallback starts; later, where no lane is open, it fails at once, so that
//! a database that is gone costs callbacks no time. The same holds for new claims while every lane is stalled, so that
//! one that hangs costs each of the first few callbacks its share, and the others nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::clock::Clock;
use crate::ledger::LedgerError;
use crate::ledger::postgres::fault::{Fault, OpenError};

/// What a statement is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// A sender waits: better no answer than a late one.
    Claim,
    /// The end of an attempt.
    End,
    /// Everything else.
    Upkeep,
}

/// A lane as its users see it.
#[derive(Clone, Debug)]
pub(super) enum Lane {
    /// Nothing is known yet.
    Starting,
    /// It carries statements.
    Open(Arc<Wire>),
    /// It does not, and why.
    Down(Arc<OpenError>),
    /// The ledger was shut down.
    Closed,
}

/// An open connection.
pub(super) struct Wire {
    client: Client,
    statements: Mutex<BTreeMap<&'static str, Statement>>,
    /// When each statement was sent that has no answer yet. Who sent it may be gone: a server that hangs hangs.
    unanswered: Mutex<BTreeMap<u64, Instant>>,
    next: AtomicU64,
    clock: Clock,
    /// The row of counters that it adds to.
    pub(super) slot: i64,
    /// Since when it is open.
    pub(super) since: Instant,
    /// Rung when it is not worth keeping.
    pub(super) broken: Notify,
}

/// All lanes. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    lanes: watch::Sender<Vec<Lane>>,
    room: Arc<Semaphore>,
    stalled_after: Duration,
}

/// A place on a lane.
pub(super) struct Call {
    pub(super) wire: Arc<Wire>,
    _room: OwnedSemaphorePermit,
}

enum Choice {
    Take(Arc<Wire>),
    Wait,
    Fail(LedgerError),
}

impl Lanes {
    /// `count` lanes besides the one for upkeep, none of them open. A lane is stalled for new claims when a statement
    /// waits on it for longer than `stalled_after`.
    pub(super) fn new(count: usize, queue_max: usize, stalled_after: Duration) -> Self {
        let room = Arc::new(Semaphore::new(queue_max.min(Semaphore::MAX_PERMITS)));
        Self { lanes: watch::channel(vec![Lane::Starting; count + 1]).0, room, stalled_after }
    }

    /// A place on a lane.
    pub(super) async fn call(&self, purpose: Use) -> Result<Call, Fault> {
        let room = self.room.clone().try_acquire_owned().map_err(|_| Fault::before(LedgerError::Overloaded))?;
        let mut lanes = self.lanes.subscribe();
        loop {
            let choice = self.choose(&lanes.borrow_and_update(), purpose);
            match choice {
                Choice::Take(wire) => return Ok(Call { wire, _room: room }),
                Choice::Fail(error) => return Err(Fault::before(error)),
                // It ends, because this value holds the sender.
                Choice::Wait => drop(lanes.changed().await),
            }
        }
    }

    fn choose(&self, lanes: &[Lane], purpose: Use) -> Choice {
        let candidates = match purpose {
            Use::Upkeep => lanes.get(..1),
            Use::Claim | Use::End => lanes.get(1..),
        };
        let mut failed = None;
        let mut best: Option<(usize, &Arc<Wire>)> = None;
        let mut starting = false;
        for lane in candidates.unwrap_or_default() {
            match lane {
                Lane::Closed => {}
                Lane::Starting => starting = true,
                Lane::Down(why) => failed = Some(LedgerError::Unavailable(why.to_string())),
                Lane::Open(wire) if purpose == Use::Claim && wire.is_silent_for(self.stalled_after) => {
                    failed = Some(LedgerError::Unavailable("the database does not answer".to_owned()));
                }
                Lane::Open(wire) => {
                    let load = wire.lock().len();
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, wire));
                    }
                }
            }
        }
        match best {
            Some((_, wire)) => Choice::Take(wire.clone()),
            // A database that hangs lets no lane open either: whoever has a sender that waits does not wait for one.
            None if starting && (purpose != Use::Claim || failed.is_none()) => Choice::Wait,
            None => Choice::Fail(failed.unwrap_or_else(closed)),
        }
    }

    /// What became of a lane. A closed one stays closed.
    pub(super) fn set(&self, place: usize, lane: Lane) {
        self.lanes.send_modify(|lanes| {
            if let Some(old) = lanes.get_mut(place)
                && !matches!(old, Lane::Closed)
            {
                *old = lane;
            }
        });
    }

    /// Closes all of them.
    pub(super) fn close(&self) {
        self.lanes.send_modify(|lanes| lanes.fill(Lane::Closed));
    }

    /// Waits until it is known how the upkeep lane stands: `Err` if it is down.
    pub(super) async fn first_contact(&self) -> Result<(), Arc<OpenError>> {
        let mut lanes = self.lanes.subscribe();
        loop {
            match lanes.borrow_and_update().first() {
                Some(Lane::Starting) => {}
                Some(Lane::Down(why)) => return Err(why.clone()),
                _ => return Ok(()),
            }
            // It ends, because this value holds the sender.
            let _ = lanes.changed().await;
        }
    }
}

impl Wire {
    /// A connection that is set up.
    pub(super) fn new(client: Client, slot: i64, clock: Clock) -> Self {
        Self {
            client,
            statements: Mutex::default(),
            unanswered: Mutex::default(),
            next: AtomicU64::new(0),
            slot,
            since: clock.instant(),
            clock,
            broken: Notify::new(),
        }
    }

    /// Whether a statement has waited for its answer for longer than this.
    pub(super) fn is_silent_for(&self, time: Duration) -> bool {
        let oldest = self.lock().first_key_value().map(|(_, since)| *since);
        oldest.is_some_and(|since| self.clock.instant().saturating_duration_since(since) > time)
    }

    /// Asks whether anybody is there. `false`: nobody within [`PATIENCE`].
    pub(super) async fn is_alive(&self) -> bool {
        self.answer_to(self.client.check_connection()).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Waits for an answer, within [`PATIENCE`]. They come in the order of the questions, so that one answer says that
    /// the earlier ones were given, too.
    async fn answer_to<T>(&self, question: impl Future<Output = T>) -> Result<T, Elapsed> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, self.clock.instant());
        let answer = tokio::time::timeout(PATIENCE, question).await?;
        let mut unanswered = self.lock();
        *unanswered = unanswered.split_off(&(number + 1));
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        // Nothing panics while it is held.
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Call {
    /// Runs one statement, which is a transaction of its own.
    pub(super) async fn rows(&self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        self.bounded(async {
            let statement = self.wire.statement(sql).await?;
            self.wire.client.query(&statement, values).await
        })
        .await
    }

    /// Runs a statement that is put together anew each time.
    pub(super) async fn rows_of(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        self.bounded(self.wire.client.query(sql, values)).await
    }

    async fn bounded(
        &self,
        work: impl Future<Output = Result<Vec<Row>, tokio_postgres::Error>>,
    ) -> Result<Vec<Row>, Fault> {
        let fault = match self.wire.answer_to(work).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => Fault::of_statement(&error),
            Err(_) => Fault::silence(),
        };
        if fault.ends_connection {
            self.wire.broken.notify_one();
        }
        Err(fault)
    }
}

pub(super) fn closed() -> LedgerError {
    LedgerError::Unavailable("it is closed".to_owned())
}

/// A connection on which a statement gets no answer for this long is given up. Longer than the server's own patience,
/// see [`link`](super::link).
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
