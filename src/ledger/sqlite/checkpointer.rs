//! Copies the WAL into the file, beside the writer, so that no claim waits for it.
//!
//! Passive checkpoints only: they take no lock that a write or a read needs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB};

use crate::ledger::sqlite::file::LedgerFile;
use crate::ledger::sqlite::{Checkpoints, unavailable};
use crate::metrics::{Event, Telemetry};

/// The thread, if there is to be one. Dropping it waits for the checkpoint under way.
#[derive(Debug)]
pub(super) struct Checkpointer {
    nudges: Option<SyncSender<()>>,
    copied: Arc<AtomicI32>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(file: Arc<LedgerFile>, telemetry: Telemetry) -> io::Result<Self> {
        let copied = Arc::new(AtomicI32::new(0));
        if file.checkpoints() == Checkpoints::InLine {
            return Ok(Self { nudges: None, copied, thread: None });
        }
        let (nudges, waiting) = sync_channel(1);
        let copying = Copying { file, connection: None, copied: copied.clone(), telemetry };
        let thread =
            thread::Builder::new().name("ledger-checkpoint".into()).spawn(move || copying.whenever(&waiting))?;
        Ok(Self { nudges: Some(nudges), copied, thread: Some(thread) })
    }

    /// No thread: somebody else does the copying when it seems right.
    pub(super) fn by_hand(file: Arc<LedgerFile>, telemetry: Telemetry) -> (Self, Copying) {
        let copied = Arc::new(AtomicI32::new(0));
        let copying = Copying { file, connection: None, copied: copied.clone(), telemetry };
        (Self { nudges: None, copied, thread: None }, copying)
    }

    /// There is something to copy. Never waits.
    pub(super) fn nudge(&self) {
        if let Some(nudges) = &self.nudges {
            // A nudge that waits already says the same.
            let _ = nudges.try_send(());
        }
    }

    /// How many pages of the WAL the last checkpoint left copied.
    pub(super) fn pages_copied(&self) -> i32 {
        self.copied.load(Ordering::Relaxed)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.nudges = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own things.
pub(super) struct Copying {
    file: Arc<LedgerFile>,
    connection: Option<Connection>,
    copied: Arc<AtomicI32>,
    telemetry: Telemetry,
}

impl Copying {
    fn whenever(mut self, nudged: &Receiver<()>) {
        while nudged.recv().is_ok() {
            self.copy_or_report();
        }
    }

    pub(super) fn copy_or_report(&mut self) {
        if let Err(error) = self.copy() {
            // As with the writer: no second fsync on a connection whose first one failed.
            self.connection = None;
            self.telemetry.emit(Event::LedgerFailed { call: "checkpoint", error: &unavailable(&error) });
        }
    }

    fn copy(&mut self) -> rusqlite::Result<()> {
        let sql = match &mut self.connection {
            Some(sql) => sql,
            None => self.connection.insert(self.file.open_checkpointer()?),
        };
        match sql.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Ok((_, copied)) => self.copied.store(copied, Ordering::Relaxed),
            // The writer is doing one.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
