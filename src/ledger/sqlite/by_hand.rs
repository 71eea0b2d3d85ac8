//! The work of the ledger's three threads as one value that somebody turns by hand: for simulations, in which
//! nothing may happen by itself.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::ledger::Surroundings;
use crate::ledger::sqlite::checkpointer::{Checkpointer, Copying};
use crate::ledger::sqlite::file::{LedgerFile, Vfs};
use crate::ledger::sqlite::reader::{self, Desk, Reader};
use crate::ledger::sqlite::recent::Recent;
use crate::ledger::sqlite::write;
use crate::ledger::sqlite::writer::{self, Bench, Writer};
use crate::ledger::sqlite::{Checkpoints, OpenError, Options, Sqlite, leases};

/// What the threads of a ledger would do. Whoever drops it leaves what waits undone, as a process does that is killed.
pub struct Hand {
    bench: Option<Bench>,
    writes: Receiver<write::Message>,
    next_write: Option<write::Message>,
    desk: Option<Desk>,
    reads: Receiver<reader::Message>,
    next_read: Option<reader::Message>,
    copying: Copying,
}

impl Sqlite {
    /// Opens a file that lies on a file system of SQLite's own, without any thread. Who may use the file, and whether its name survives a power cut, is that file system's business.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn by_hand(name: &str, vfs: Vfs, options: Options, around: Surroundings) -> Result<(Self, Hand), OpenError> {
        let file = Arc::new(LedgerFile::elsewhere(name, vfs, Checkpoints::Aside));
        let connection = file.open_writer()?;
        leases::reclaim_all(&connection.sql, around.clock.now()).map_err(|why| file.fault(why.into()))?;
        let (reader, desk, reads) = Reader::with_desk(file.clone(), options.queue_max);
        let (checkpointer, copying) = Checkpointer::by_hand(file.clone(), around.telemetry.clone());
        let (writer, bench, writes) = Writer::with_bench((file, connection), checkpointer, options, &around);
        let hand =
            Hand { bench: Some(bench), writes, next_write: None, desk: Some(desk), reads, next_read: None, copying };
        Ok((Self { reader, writer, recent: Recent::default(), around }, hand))
    }
}

impl Hand {
    /// Whether a read or a write waits.
    pub fn has_work(&mut self) -> bool {
        if self.next_write.is_none() {
            self.next_write = self.writes.try_recv().ok();
        }
        if self.next_read.is_none() {
            self.next_read = self.reads.try_recv().ok();
        }
        self.next_write.is_some() || self.next_read.is_some()
    }

    /// Commits the writes that wait as one group, as the writer's thread does.
    pub fn commit(&mut self) {
        let Some(first) = self.next_write.take().or_else(|| self.writes.try_recv().ok()) else { return };
        let Some(bench) = &mut self.bench else { return };
        if let Some(stopped) = bench.turn(vec![first], &self.writes) {
            self.bench = None;
            writer::tell(stopped);
        }
    }

    /// Does the reads that wait.
    pub fn read(&mut self) {
        while let Some(message) = self.next_read.take().or_else(|| self.reads.try_recv().ok()) {
            let Some(desk) = &mut self.desk else { return };
            if let Some(stopped) = desk.turn(message) {
                self.desk = None;
                writer::tell(stopped);
            }
        }
    }

    /// Copies the WAL into the file.
    pub fn checkpoint(&mut self) {
        self.copying.copy_or_report();
    }
}
