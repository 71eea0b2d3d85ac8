//! A test's hand on the ledger's file: what is in it, a copy of it, and a lock that keeps the gateway from writing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::operator::Books;

/// The ledger's file, looked at past the gateway.
#[derive(Clone, Debug)]
pub struct LedgerFile(PathBuf);

/// Nobody else writes into the ledger while this lives.
#[derive(Debug)]
pub struct Lock {
    _held: Connection,
    since: Instant,
}

/// A record as it lies in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub id: i64,
    pub kind: String,
    /// The session or order that it is about.
    pub subject: String,
    /// `pending`, `settled`, `dead` or `left`.
    pub state: String,
    pub attempts: u32,
    pub waits_for_its_time: bool,
    pub body: Option<Vec<u8>>,
}

impl LedgerFile {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every record, oldest first.
    pub fn rows(&self) -> Vec<Row> {
        let sql = self.open();
        let query = "select id, kind, attempts, due_at is not null, request_body, ifnull(subject, ''),
                       case state when 0 then 'pending' when 1 then 'settled' when 2 then 'dead' else 'left' end
                     from notice order by id";
        let mut statement = sql.prepare(query).unwrap();
        let rows = statement.query_map([], |row| {
            Ok(Row {
                id: row.get(0)?,
                kind: row.get(1)?,
                attempts: row.get(2)?,
                waits_for_its_time: row.get(3)?,
                body: row.get(4)?,
                subject: row.get(5)?,
                state: row.get(6)?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// What the ledger counts in passing, and its records counted one by one at the same instant.
    pub fn kept_and_recounted(&self) -> (Books, Books) {
        let query = "select accepted, settled, pending, dead, left, (select count(*) from notice),
                       (select count(*) from notice where state = 1), (select count(*) from notice where state = 0),
                       (select count(*) from notice where state = 2), (select count(*) from notice where state = 3)
                     from counts";
        let books = |row: &rusqlite::Row<'_>, from: usize| {
            let number = |place: usize| row.get::<_, i64>(from + place).map(|number| number as u64);
            let (settled, pending, dead, left) = (number(1)?, number(2)?, number(3)?, number(4)?);
            Ok::<_, rusqlite::Error>(Books { accepted: number(0)?, settled, pending, dead, left })
        };
        self.open().query_row(query, [], |row| Ok((books(row, 0)?, books(row, 5)?))).unwrap()
    }

    /// Copies what a kill at this instant would leave into `folder`.
    pub fn copy_into(&self, folder: &Path) -> Self {
        let copy = folder.join("copy.sqlite");
        fs::copy(&self.0, &copy).unwrap();
        let wal = |file: &Path| PathBuf::from(format!("{}-wal", file.display()));
        fs::copy(wal(&self.0), wal(&copy)).unwrap();
        Self(copy)
    }

    /// Takes the lock that every write needs. While it is held, the ledger's writes wait for SQLite's patience, and
    /// then fail.
    pub fn lock(&self) -> Lock {
        let sql = self.open();
        sql.busy_timeout(Duration::from_secs(10)).unwrap();
        sql.execute_batch("begin immediate").unwrap();
        Lock { _held: sql, since: Instant::now() }
    }

    /// From now on every write of a notice fails at once, until [`mend`](Self::mend).
    pub fn spoil(&self) {
        let fail = |what: &str| format!("create trigger no_{what} before {what} on notice begin {FAIL} end;");
        self.open().execute_batch(&(fail("insert") + &fail("update"))).unwrap();
    }

    pub fn mend(&self) {
        self.open().execute_batch("drop trigger no_insert; drop trigger no_update;").unwrap();
    }

    fn open(&self) -> Connection {
        let sql = Connection::open_with_flags(&self.0, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        sql.busy_timeout(Duration::from_secs(10)).unwrap();
        sql
    }
}

impl Lock {
    /// Lets the ledger write again. Says whether that came soon enough that no write can have failed.
    pub fn release(self) -> bool {
        self.since.elapsed() < LEDGER_WAITS
    }
}

/// Tells a story in which a [`Lock`] is released in time, again if the machine was too slow for it. Each time on a
/// runtime of its own, so that time can be frozen.
pub fn in_time(story: impl AsyncFn() -> bool) {
    let told_in_time = (0..5).any(|_| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story())
    });
    assert!(told_in_time, "the lock was never released in time");
}

const FAIL: &str = "select raise(rollback, 'out of order');";

/// Well below the second for which the ledger waits for a lock, in real time.
const LEDGER_WAITS: Duration = Duration::from_millis(900);
