//! How many records there are: one row that every group keeps up, so that reading it takes no time, however many
//! records there are, and records that were swept still count.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::UnixMillis;
use crate::ledger::{Counts, State};

/// The counters, with the oldest pending record.
pub(super) fn counts(sql: &Connection) -> rusqlite::Result<Counts> {
    let mut oldest = sql.prepare_cached("select accepted_at from notice where state = 0 order by id limit 1")?;
    let oldest_pending = oldest.query_row([], |row| row.get(0).map(UnixMillis)).optional()?;
    Ok(Counts { oldest_pending, ..read(sql)? })
}

/// The counters alone.
pub(super) fn read(sql: &Connection) -> rusqlite::Result<Counts> {
    let mut kept = sql.prepare_cached("select accepted, pending, settled, dead, left from counts")?;
    kept.query_row([], |row| {
        Ok(Counts {
            accepted: number(row, 0)?,
            pending: number(row, 1)?,
            settled: number(row, 2)?,
            dead: number(row, 3)?,
            left: number(row, 4)?,
            oldest_pending: None,
        })
    })
}

/// Writes the counters.
pub(super) fn write(sql: &Connection, counts: &Counts) -> rusqlite::Result<()> {
    let mut update =
        sql.prepare_cached("update counts set accepted = ?1, pending = ?2, settled = ?3, dead = ?4, left = ?5")?;
    let [pending, settled, dead, left] = State::ALL.map(|state| stored(counts.of(state)));
    update.execute([stored(counts.accepted), pending, settled, dead, left]).map(drop)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
