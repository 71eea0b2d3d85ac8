//! The only thread that writes: takes all writes that wait and commits them together.
//!
//! One fsync pays for a whole group, so a hundred callers wait hardly longer than one. Every caller is answered
//! after the commit. After any error the whole group fails and the connection is given up: a failed fsync may have
//! thrown pages away that a second one would claim to have written. The next group gets a new connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::MAIN_DB;
use rusqlite::wal::CheckpointMode;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clock::{Clock, UnixMillis};
use crate::ledger::sqlite::answers;
use crate::ledger::sqlite::aside::{Aside, Taker};
use crate::ledger::sqlite::checkpointer::Checkpointer;
use crate::ledger::sqlite::file::{LedgerFile, WriterConnection};
use crate::ledger::sqlite::group::{Group, Rider, Riders};
use crate::ledger::sqlite::write::{Call, Message, Urgency, Write};
use crate::ledger::sqlite::{Options, closed, leases, unavailable};
use crate::ledger::{LedgerError, Surroundings};
use crate::metrics::{Event, Telemetry};

/// The writer as its callers see it. Dropping it commits what waits and closes the file.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Message>,
    aside: Aside,
    riders: Riders,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread with a connection that is open already, so that the first faults show at start-up.
    pub(super) fn start(
        file: Arc<LedgerFile>,
        connection: WriterConnection,
        options: Options,
        around: &Surroundings,
    ) -> io::Result<Self> {
        let checkpointer = Checkpointer::start(file.clone(), around.telemetry.clone())?;
        let (mut writer, bench, messages) = Self::with_bench((file, connection), checkpointer, options, around);
        let thread = thread::Builder::new().name("ledger-writer".into()).spawn(move || bench.serve(&messages))?;
        writer.thread = Some(thread);
        Ok(writer)
    }

    /// The writer, and what its thread would do.
    pub(super) fn with_bench(
        (file, connection): (Arc<LedgerFile>, WriterConnection),
        checkpointer: Checkpointer,
        options: Options,
        around: &Surroundings,
    ) -> (Self, Bench, Receiver<Message>) {
        let (queue, messages) = sync_channel(options.queue_max.max(1));
        let (aside, outcomes) = Aside::new(options.queue_max.max(1));
        let riders = Riders::new(queue.clone());
        let bench = Bench {
            checkpointer,
            link: Link { file, connection: Some(connection), failures: 0, rest_until: None, fault: closed() },
            outcomes,
            riders: riders.clone(),
            bytes_max: options.bytes_max,
            clock: around.clock.clone(),
            telemetry: around.telemetry.clone(),
            holders_unknown: false,
        };
        (Self { queue, aside, riders, thread: None }, bench, messages)
    }

    /// Runs `work` in the next group, also if the caller goes away meanwhile.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Group<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.send(work, Urgency::AtOnce)?.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The same, but it may wait a little for a group that somebody waits for.
    pub(super) async fn write_soon<T, W>(&self, work: W) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Group<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let is_first = self.aside.put(Box::new(Call::new(work, Urgency::AtOnce, caller)))?;
        if is_first {
            // A full queue is no loss: the writer is about to make a group, and takes along what is put aside.
            let _ = self.queue.try_send(Message::Outcome);
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The same, but a write whose caller is gone by then is left out.
    pub(super) async fn write_if_awaited<T, W>(&self, work: W) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Group<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.send(work, Urgency::IfAwaited)?.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The small writes that wait for a group.
    pub(super) fn riders(&self) -> &Riders {
        &self.riders
    }

    /// Commits what waits and closes the file.
    pub(super) async fn stop(&self) {
        let (stopped, answer) = oneshot::channel();
        let mut message = Message::Stop(Some(stopped));
        // The queue may be full for a moment, and an async thread must not wait in `send`.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            message = back;
            tokio::task::yield_now().await;
        }
        // An error means that it had stopped before.
        let _ = answer.await;
    }

    fn send<T, W>(&self, work: W, urgency: Urgency) -> Result<oneshot::Receiver<Result<T, LedgerError>>, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Group<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let write = Call::new(work, urgency, caller);
        match self.queue.try_send(Message::Write(Box::new(write))) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(LedgerError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Fails when it was stopped before.
        let _ = self.queue.send(Message::Stop(None));
        if let Some(thread) = self.thread.take() {
            // It ends after the group it is at; the lock on the file is free then.
            let _ = thread.join();
        }
    }
}

/// Tells whoever wants to know that a thread ended.
pub(super) fn tell(stopped: Option<oneshot::Sender<()>>) {
    if let Some(stopped) = stopped {
        // Nobody may be waiting any more.
        let _ = stopped.send(());
    }
}

/// The thread's own things.
pub(super) struct Bench {
    link: Link,
    checkpointer: Checkpointer,
    outcomes: Taker,
    riders: Riders,
    bytes_max: u64,
    clock: Clock,
    telemetry: Telemetry,
    /// There may be records whose holders are gone without a trace, because a commit failed.
    holders_unknown: bool,
}

impl Bench {
    fn serve(mut self, messages: &Receiver<Message>) {
        let mut stop = None;
        while stop.is_none() {
            let Ok(first) = messages.recv() else { break };
            let gathered = self.gather(first, messages);
            stop = self.turn(gathered, messages);
        }
        drop(self);
        tell(stop.flatten());
    }

    /// Outcomes wait for a claim to share its sync with: nobody waits for them, and a crash before they are on disk is
    /// one between the shop's reply and its record.
    pub(super) fn gather(&self, first: Message, messages: &Receiver<Message>) -> Vec<Message> {
        let until = self.clock.instant() + OUTCOME_WAITS_AT_MOST;
        let mut gathered = vec![first];
        while gathered.len() < GROUP_MAX && gathered.last().is_some_and(Message::may_wait) {
            let left = until.saturating_duration_since(self.clock.instant());
            match messages.recv_timeout(left) {
                Ok(message) => gathered.push(message),
                Err(_) => break,
            }
        }
        gathered
    }

    /// Commits one group. A message to stop is given back, with whoever wants to know when it is done.
    pub(super) fn turn(
        &mut self,
        gathered: Vec<Message>,
        messages: &Receiver<Message>,
    ) -> Option<Option<oneshot::Sender<()>>> {
        let (mut group, mut stop) = (Vec::new(), None);
        let mut gathered = gathered.into_iter();
        while let Some(message) =
            gathered.next().or_else(|| (group.len() < GROUP_MAX).then(|| messages.try_recv().ok()).flatten())
        {
            match message {
                Message::Write(write) => group.push(write),
                Message::Outcome | Message::Nudge => {}
                Message::Stop(answer) => {
                    stop = Some(answer);
                    break;
                }
            }
        }
        // Taken after the queue, and done before it: what was asked for after an outcome finds it written.
        group.splice(0..0, self.outcomes.take());
        self.commit(group);
        stop
    }

    /// Commits a group and answers its callers.
    fn commit(&mut self, mut group: Vec<Box<dyn Write>>) {
        group.retain(|write| write.is_wanted());
        let riders = self.riders.take();
        if group.is_empty() && riders.is_empty() && !self.holders_unknown {
            return;
        }
        let began = self.clock.instant();
        let outcome = self.link.connection(began).and_then(|connection| {
            let changes = connection.sql.total_changes();
            let (holders_unknown, now) = (self.holders_unknown, self.clock.now());
            let parts = Parts { writes: &mut group, riders: &riders, holders_unknown, now };
            parts.transact(connection, self.bytes_max).map_err(|error| unavailable(&error))?;
            Ok(connection.sql.total_changes() != changes)
        });
        match &outcome {
            Ok(wrote) => {
                self.holders_unknown = false;
                self.link.works();
                if *wrote {
                    self.telemetry.emit(Event::LedgerCommitted { took: self.clock.instant() - began });
                }
            }
            Err(error) => {
                self.holders_unknown = true;
                self.link.failed(error, self.clock.instant());
                self.riders.put_back(riders);
                self.telemetry.emit(Event::LedgerFailed { call: "commit", error });
            }
        }
        answers::tell_all(group, &outcome.map(drop));
        self.tend_wal();
    }

    /// Keeps the WAL short. The checkpointer copies it into the file beside the writes, whenever some megabytes came
    /// on top. SQLite starts the WAL anew only when every page of it was copied, which under constant load never
    /// happens by itself: so, when the WAL has grown long, and the checkpointer has left only a little, the writer
    /// copies that little itself before it goes on.
    fn tend_wal(&mut self) {
        let Some(connection) = &self.link.connection else { return };
        let pages = connection.wal_pages.load(Ordering::Relaxed);
        let copied = self.checkpointer.pages_copied();
        // More than there are: it is a word about the WAL before this one.
        let left = if copied > pages { pages } else { pages - copied };
        if pages >= WAL_PAGES_MAX || (pages >= WAL_PAGES_LONG && left <= PAGES_LITTLE) {
            // "Busy" while the checkpointer is at it: the next group asks again.
            let _ = connection.sql.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE);
        } else if left >= CHECKPOINT_PAGES || pages >= WAL_PAGES_LONG {
            self.checkpointer.nudge();
        }
    }
}

/// What goes into one transaction.
struct Parts<'a> {
    writes: &'a mut [Box<dyn Write>],
    riders: &'a [Rider],
    holders_unknown: bool,
    now: UnixMillis,
}

impl Parts<'_> {
    fn transact(self, connection: &mut WriterConnection, bytes_max: u64) -> rusqlite::Result<()> {
        let mut group = Group::begin(&mut connection.sql, bytes_max)?;
        for rider in self.riders {
            group.ride(rider)?;
        }
        if self.holders_unknown {
            leases::reclaim_all(group.sql(), self.now)?;
        }
        for write in self.writes {
            write.run(&mut group)?;
        }
        group.commit()
    }
}

/// The connection, and how often in a row it failed.
struct Link {
    file: Arc<LedgerFile>,
    connection: Option<WriterConnection>,
    failures: u32,
    rest_until: Option<Instant>,
    fault: LedgerError,
}

impl Link {
    /// The connection, opened anew if the last one was given up. While it rests after several failures, the last
    /// fault at once, so that callbacks do not wait for a broken disk.
    fn connection(&mut self, now: Instant) -> Result<&mut WriterConnection, LedgerError> {
        if self.rest_until.is_some_and(|until| now < until) {
            return Err(self.fault.clone());
        }
        if self.connection.is_none() {
            let opened = self.file.open_writer().map_err(|why| LedgerError::Unavailable(why.to_string()))?;
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or_else(closed)
    }

    fn works(&mut self) {
        self.failures = 0;
        self.rest_until = None;
    }

    /// Gives the connection up. The first time the next group tries at once; after that, not before a rest.
    fn failed(&mut self, fault: &LedgerError, now: Instant) {
        self.connection = None;
        if self.rest_until.is_some_and(|until| now < until) {
            return;
        }
        self.fault = fault.clone();
        self.rest_until = self.failures.checked_sub(1).map(|before| now + rest_after(before));
        self.failures = self.failures.saturating_add(1);
    }
}

fn rest_after(failures: u32) -> Duration {
    REST_MIN.saturating_mul(1 << failures.min(10)).min(REST_MAX)
}

/// So long an outcome waits for a claim.
const OUTCOME_WAITS_AT_MOST: Duration = Duration::from_millis(10);

/// Most writes of one group.
const GROUP_MAX: usize = 512;

/// The checkpointer copies when so many pages of the WAL are not copied yet: 2 MiB. Pages that changed more than once
/// are copied once, which speaks for more; but commits wait while the disk takes what was copied, and the p99 of callbacks
/// is as long as that (`benches/PROFILE-CALLBACKS.md`).
const CHECKPOINT_PAGES: i32 = 512;

/// From this size of the WAL on, in pages, it is to start anew: 32 MiB.
const WAL_PAGES_LONG: i32 = 8_192;

/// What the writer copies itself: 2 MiB, some milliseconds.
const PAGES_LITTLE: i32 = 512;

/// At this size of the WAL the writer copies all that is left, however much: 128 MiB.
const WAL_PAGES_MAX: i32 = 32_768;

const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_and_stay_bounded() {
        let rests = [0, 1, 5, 6, 40].map(|failures| rest_after(failures).as_millis());
        assert_eq!(rests, [100, 200, 3_200, 5_000, 5_000]);
    }
}
