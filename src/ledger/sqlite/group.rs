//! One transaction that holds the writes of many callers, and the small writes that ride along.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::clock::UnixMillis;
use crate::ledger::sqlite::counts;
use crate::ledger::sqlite::write::Message;
use crate::ledger::stored::state_number;
use crate::ledger::{Counts, NoticeId, State, rules};

/// The transaction of a group, with the counters, which are read and written once per group.
pub(super) struct Group<'c> {
    sql: Transaction<'c>,
    counts: Counts,
    counts_before: Counts,
    bytes_max: u64,
    room: Option<bool>,
}

impl<'c> Group<'c> {
    /// Begins the transaction.
    pub(super) fn begin(connection: &'c mut Connection, bytes_max: u64) -> rusqlite::Result<Self> {
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let counts = counts::read(&sql)?;
        Ok(Self { sql, counts, counts_before: counts, bytes_max, room: None })
    }

    /// The connection, inside the transaction.
    pub(super) fn sql(&self) -> &Connection {
        &self.sql
    }

    /// Counts a new pending record, and says its number: the count of all records ever is a number never used.
    pub(super) fn accept(&mut self) -> NoticeId {
        self.counts.admitted();
        NoticeId::try_from(self.counts.accepted).unwrap_or(NoticeId::MAX)
    }

    /// Counts `records` that went from one state to another.
    pub(super) fn moved(&mut self, records: usize, from: State, to: State) {
        self.counts.moved(records as u64, from, to);
    }

    /// Whether the file may still grow. Looked up once per group.
    pub(super) fn has_room(&mut self) -> rusqlite::Result<bool> {
        match self.room {
            Some(room) => Ok(room),
            None => {
                let room = bytes_used(&self.sql)? < self.bytes_max;
                self.room = Some(room);
                Ok(room)
            }
        }
    }

    /// The bound that [`has_room`](Self::has_room) keeps.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Commits. A group that wrote nothing syncs nothing: SQLite skips the commit of an unchanged database.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        if self.counts != self.counts_before {
            counts::write(&self.sql, &self.counts)?;
        }
        self.sql.commit()
    }

    pub(super) fn ride(&mut self, rider: &Rider) -> rusqlite::Result<()> {
        match rider {
            Rider::Answered(id) => {
                let mut mark = self
                    .sql
                    .prepare_cached("update notice set answered = 1 where id = ?1 and state = 0 and answered = 0")?;
                mark.execute([id])?;
            }
            Rider::Withdrawn { id, at } => {
                // Not one that was seen by a second call since: that one was told that kallback brings it.
                let mut leave = self.sql.prepare_cached(
                    "update notice set state = ?2, ended_at = ?3, note = ?4
                     where id = ?1 and state = 0 and epoch = 1 and due_at is null",
                )?;
                let left = leave.execute(params![id, state_number(State::Left), at.0, rules::WITHDRAWN])?;
                drop(leave);
                self.moved(left, State::Pending, State::Left);
            }
        }
        Ok(())
    }
}

/// Bytes of the file that hold something.
fn bytes_used(sql: &Connection) -> rusqlite::Result<u64> {
    let mut pragma = sql.prepare_cached(
        "select (pages.page_count - free.freelist_count) * size.page_size
         from pragma_page_count pages, pragma_freelist_count free, pragma_page_size size",
    )?;
    pragma.query_row([], |row| row.get::<_, i64>(0)).map(|bytes| u64::try_from(bytes).unwrap_or(0))
}

/// A write that is worth no sync of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rider {
    /// kallback answered the sender itself.
    Answered(NoticeId),
    /// The claim came too late for its caller, who went on without it or is gone.
    Withdrawn { id: NoticeId, at: UnixMillis },
}

/// The writes that wait for the next group. As many as there are claims under way, at most.
#[derive(Clone, Debug)]
pub(super) struct Riders {
    waiting: Arc<Mutex<Vec<Rider>>>,
    queue: SyncSender<Message>,
}

impl Riders {
    pub(super) fn new(queue: SyncSender<Message>) -> Self {
        Self { waiting: Arc::default(), queue }
    }

    /// Adds a write to the next group, whenever that is.
    pub(super) fn wait(&self, rider: Rider) {
        self.lock().push(rider);
    }

    /// All that wait.
    pub(super) fn take(&self) -> Vec<Rider> {
        std::mem::take(&mut *self.lock())
    }

    /// Their group failed: they ride on the next one.
    pub(super) fn put_back(&self, riders: Vec<Rider>) {
        self.lock().splice(0..0, riders);
    }

    /// The claim of a record that is about to be committed; see [`Unclaimed`].
    pub(super) fn unclaimed(&self, id: NoticeId, at: UnixMillis) -> Unclaimed {
        Unclaimed { id, at, riders: Some(self.clone()) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Rider>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new record on its way to its caller. If it does not get there, because the caller gave up, or the commit
/// failed in a way that leaves open whether the record is on disk, the record is withdrawn: nobody was promised
/// anything, and the caller went on without it.
#[derive(Debug)]
pub(super) struct Unclaimed {
    id: NoticeId,
    at: UnixMillis,
    riders: Option<Riders>,
}

impl Unclaimed {
    /// The caller has it.
    pub(super) fn claim(mut self) -> NoticeId {
        self.riders = None;
        self.id
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(riders) = self.riders.take() {
            riders.wait(Rider::Withdrawn { id: self.id, at: self.at });
            // A full queue or a writer that is gone is no loss: the next group or the next start sees to it.
            let _ = riders.queue.try_send(Message::Nudge);
        }
    }
}
