//! The ledger's threads, turned when the simulated disk is done; and looks at what lies on that disk.

use kallback::event::Fingerprint;
use kallback::ledger::sqlite::Hand;
use rusqlite::{Connection, OpenFlags};

use super::{Event, World};
use crate::disk::{Disk, Trouble, VFS};
use crate::life::FILE;
use crate::promises::Row;

/// After failures the ledger rests for up to 5 s, and rests once more if it fails again.
const REST_MS: u64 = 6_000;

impl World {
    pub(super) fn plan_ledger_turn(&mut self) {
        let Some(life) = &mut self.life else { return };
        if !self.ledger_turn_planned && life.ledger(Hand::has_work) {
            self.ledger_turn_planned = true;
            let latency = self.chance.within(0..self.disk_latency_ms * 2);
            self.after(latency, Event::LedgerTurn);
        }
    }

    pub(super) fn ledger_turn(&mut self) {
        self.ledger_turn_planned = false;
        let Some(life) = &mut self.life else { return };
        let reads_first = self.chance.percent(50);
        if reads_first {
            life.ledger(Hand::read);
        }
        life.ledger(Hand::commit);
        if !reads_first {
            life.ledger(Hand::read);
        }
        self.bury_if_dead();
        self.plan_ledger_turn();
    }

    pub(super) fn checkpoint(&mut self) {
        if let Some(life) = &mut self.life {
            life.ledger(Hand::checkpoint);
        }
        self.bury_if_dead();
    }

    pub(super) fn disk_trouble(&mut self, trouble: Option<Trouble>) {
        self.trace.note(self.now_ms, || format!("the disk: {trouble:?}"));
        self.disk.set_trouble(trouble);
        self.disk_ill_until_ms = if trouble.is_some() { u64::MAX } else { self.now_ms + REST_MS };
    }

    pub(super) fn slow_disk(&mut self, latency_ms: u64) {
        self.disk_latency_ms = latency_ms;
        let is_slow = latency_ms > 1;
        self.disk_slow_until_ms = if is_slow { u64::MAX } else { self.now_ms + REST_MS + 8_000 };
    }

    /// Until then the ledger may fail, or be slow.
    pub(super) fn ledger_ill_until_ms(&self) -> u64 {
        self.disk_ill_until_ms.max(self.disk_slow_until_ms)
    }

    /// No trouble comes any more.
    pub(super) fn calm_down(&mut self) {
        self.trace.note(self.now_ms, || "calm".to_owned());
        self.calm = true;
        self.mood = super::plan::Mood::Well;
        self.disk_trouble(None);
        self.slow_disk(1);
        self.disk.goes_off_after(u64::MAX);
        if let Some(life) = &self.life {
            life.bell.kill_after(u64::MAX / 2);
        }
    }

    /// kallback answered 2xx by itself: after a power cut at this instant the notice would have to be there.
    pub(super) fn check_on_disk(&mut self, key: usize) {
        let now = self.moment();
        let disk = self.disk.as_after_a_power_cut();
        let of_it = |row: &&Row| Some(row.fingerprint) == self.promises.fingerprint(key);
        let newest = rows(&disk).and_then(|(rows, _)| rows.iter().filter(of_it).map(|row| row.id).max());
        disk.scrap();
        self.promises.gave_its_word(key, newest, now);
    }

    /// Accepted is the sum of the rest, and the file can be read, at any time.
    pub(super) fn look_at_the_books(&mut self) {
        let now = self.moment();
        let disk = self.disk.as_after_a_power_cut();
        match rows(&disk) {
            Some((rows, counts)) if !balanced(&rows, &counts) => {
                self.promises.books_are_wrong(&format!("{counts:?} for {} records", rows.len()), now);
            }
            Some(_) => {}
            // Before the first start ended there is no table.
            None if self.lives <= 1 => {}
            None => self.promises.books_are_wrong("the file cannot be read", now),
        }
        disk.scrap();
    }

    pub(super) fn pending_on_disk(&self) -> Option<usize> {
        let disk = self.disk.copy();
        let found = rows(&disk).map(|(rows, _)| rows.iter().filter(|row| row.state == 0).count());
        disk.scrap();
        found
    }

    /// The last look.
    pub(super) fn settle_accounts(&mut self) {
        self.look_at_the_books();
        let now = self.moment();
        let disk = self.disk.as_after_a_power_cut();
        let rows = rows(&disk).map(|(rows, _)| rows).unwrap_or_default();
        disk.scrap();
        self.promises.all_ended(&rows, now);
    }
}

fn balanced(rows: &[Row], counts: &[i64; 5]) -> bool {
    let of = |state| i64::try_from(rows.iter().filter(|row| row.state == state).count()).unwrap_or(-1);
    let [accepted, rest @ ..] = counts;
    *accepted == rest.iter().sum::<i64>() && *rest == [of(0), of(1), of(2), of(3)]
}

/// All records and the counters. `None`: not to be read, or no ledger yet.
fn rows(disk: &Disk) -> Option<(Vec<Row>, [i64; 5])> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags_and_vfs(disk.name_of(FILE), flags, VFS).ok()?;
    let mut select = sql.prepare("select id, fingerprint, state from notice").ok()?;
    let rows = select
        .query_map([], |row| Ok(Row { id: row.get(0)?, fingerprint: Fingerprint(row.get(1)?), state: row.get(2)? }));
    let rows = rows.ok()?;
    let rows = rows.collect::<Result<_, _>>().ok()?;
    let counts = sql.query_row("select accepted, pending, settled, dead, left from counts", [], |row| {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
    });
    Some((rows, counts.ok()?))
}
