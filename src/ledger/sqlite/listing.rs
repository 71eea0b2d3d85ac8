//! Records for people.

use rusqlite::{Connection, Row, params};

use crate::clock::UnixMillis;
use crate::event::Kind;
use crate::ledger::sqlite::row::{fingerprint_column, kind_column, millis, state_column};
use crate::ledger::stored::state_number;
use crate::ledger::{Filter, Record};

/// Newest first. Conditions that are not set are left out of the statement, so that each set one finds its index.
pub(super) fn list(sql: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Record>> {
    let conditions = [
        filter.state.map(|_| "state = ?1"),
        filter.kind.map(|_| "kind = ?2"),
        filter.subject.as_ref().map(|_| OF_SUBJECT),
        filter.before.map(|_| "id < ?4"),
    ];
    let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
    let only = if conditions.is_empty() { String::new() } else { format!("where {}", conditions.join(" and ")) };
    let mut records = sql.prepare_cached(&format!(
        "select id, fingerprint, kind, route, subject, state, accepted_at, ended_at, due_at, attempts, repeats,
           status, note
         from notice {only} order by id desc limit ?5"
    ))?;
    let values = params![
        filter.state.map(state_number),
        filter.kind.map(Kind::name),
        filter.subject,
        filter.before,
        filter.limit.min(RECORDS_MAX),
    ];
    records.query_map(values, record)?.collect()
}

/// The index on subjects leaves pending records out; of these there are few.
const OF_SUBJECT: &str = "id in (
  select id from notice where subject = ?3 and ended_at is not null
  union all select id from notice where subject = ?3 and state = 0)";

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        fingerprint: fingerprint_column(row, 1)?,
        kind: kind_column(row, 2)?,
        route: row.get(3)?,
        subject: row.get(4)?,
        state: state_column(row, 5)?,
        accepted_at: UnixMillis(row.get(6)?),
        ended_at: millis(row, 7)?,
        due_at: millis(row, 8)?,
        attempts: row.get(9)?,
        repeats: row.get(10)?,
        status: row.get(11)?,
        note: row.get(12)?,
    })
}

/// Most records of one listing.
const RECORDS_MAX: u32 = 1_000;
