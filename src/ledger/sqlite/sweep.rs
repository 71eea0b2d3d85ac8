//! Drops what is old, a slice at a time, and gives the room back.

use std::time::Duration;

use rusqlite::{Connection, params};

use crate::clock::UnixMillis;
use crate::ledger::rules::{ACKNOWLEDGEMENTS_KEPT_FOR, BINDINGS_KEPT_FOR};
use crate::ledger::sqlite::group::Group;
use crate::ledger::stored::state_number;
use crate::ledger::{Retention, State, Swept};

/// One slice of each kind of thing; records and bodies together are one slice.
pub(super) fn sweep(group: &Group<'_>, retention: &Retention, now: UnixMillis) -> rusqlite::Result<Swept> {
    let sql = group.sql();
    let mut left = retention.slice;
    let mut swept = Swept::default();
    for (state, kept_for) in [
        (State::Settled, retention.keep_records_for),
        (State::Left, retention.keep_records_for),
        (State::Dead, retention.keep_dead_for),
    ] {
        let dropped = drop_records(sql, state, Old { now, kept_for, slice: left })?;
        left = left.saturating_sub(dropped);
        swept.records += u64::from(dropped);
    }
    let bodies = drop_requests(sql, Old { now, kept_for: retention.keep_bodies_for, slice: left })?;
    swept.bodies += u64::from(bodies);
    forget(sql, "binding", Old { now, kept_for: BINDINGS_KEPT_FOR, slice: retention.slice })?;
    forget(sql, "acknowledged", Old { now, kept_for: ACKNOWLEDGEMENTS_KEPT_FOR, slice: retention.slice })?;
    shrink(sql, retention.slice)?;
    Ok(swept)
}

/// What counts as old, and how much of it goes.
#[derive(Clone, Copy)]
struct Old {
    now: UnixMillis,
    kept_for: Duration,
    slice: u32,
}

impl Old {
    fn before(self) -> i64 {
        (self.now - self.kept_for).0
    }
}

/// Never a record whose reply may still be replayed: the repeat would reach the shop again.
fn drop_records(sql: &Connection, state: State, old: Old) -> rusqlite::Result<u32> {
    let mut delete = sql.prepare_cached(
        "delete from notice where id in (
           select id from notice
           where state = ?1 and stripped in (0, 1) and ended_at <= ?2 and ifnull(replay_until, 0) <= ?3 limit ?4)",
    )?;
    delete.execute(params![state_number(state), old.before(), old.now.0, old.slice]).map(count)
}

fn drop_requests(sql: &Connection, old: Old) -> rusqlite::Result<u32> {
    let mut strip = sql.prepare_cached(
        "update notice set stripped = 1, request_head = null, request_body = null where id in (
           select id from notice where state = ?1 and stripped = 0 and ended_at <= ?2 limit ?3)",
    )?;
    strip.execute(params![state_number(State::Settled), old.before(), old.slice]).map(count)
}

/// Rows of these tables stand in the order of their time, so the oldest are the first.
fn forget(sql: &Connection, table: &'static str, old: Old) -> rusqlite::Result<()> {
    let mut delete = sql.prepare_cached(&format!(
        "delete from {table} where at <= ?1 and id in (select id from {table} order by id limit ?2)"
    ))?;
    delete.execute(params![old.before(), old.slice]).map(drop)
}

/// Gives pages back to the disk while more than a quarter of the file is free. Less than that is kept for the next
/// records: a file that shrinks and grows all the time costs more than it saves.
fn shrink(sql: &Connection, slice: u32) -> rusqlite::Result<()> {
    let pragma = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (pages, free) = (pragma("page_count")?, pragma("freelist_count")?);
    let surplus = free - pages / 4;
    if surplus > 0 && pages > PAGES_KEPT {
        let mut vacuum = sql.prepare(&format!("pragma incremental_vacuum({})", surplus.min(i64::from(slice))))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(())
}

fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

/// A file of this size is not worth shrinking: 4 MiB.
const PAGES_KEPT: i64 = 1_000;
