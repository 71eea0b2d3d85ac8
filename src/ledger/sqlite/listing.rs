//! Records for people.

use rusqlite::{Connection, Row, params};

use crate::clock::UnixMillis;
use crate::event::Kind;
use crate::ledger::sqlite::row::{fingerprint_column, kind_column, millis, state_column};
use crate::ledger::stored::{policy_of, state_number};
use crate::ledger::{Filter, LISTED_RECORDS_MAX, Record, State};

/// Newest first. Conditions that are not set are left out of the statement, so that each set one finds its index.
pub(super) fn list(sql: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Record>> {
    let conditions = [
        filter.state.map(of_state),
        filter.kind.map(|_| "kind = ?2"),
        filter.subject.as_ref().map(|_| OF_SUBJECT),
        filter.before.map(|_| "id < ?4"),
        filter.undelivered.then_some(UNDELIVERED),
        filter.accepted_from.map(|_| "accepted_at >= ?5"),
        filter.accepted_before.map(|_| "accepted_at < ?6"),
    ];
    let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
    let only = if conditions.is_empty() { String::new() } else { format!("where {}", conditions.join(" and ")) };
    let mut records = sql.prepare_cached(&format!(
        "select id, fingerprint, kind, route, subject, state, accepted_at, ended_at, due_at, attempts, repeats,
           status, note, expires_at, newest, stripped, policy
         from notice {only} order by id desc limit ?7"
    ))?;
    let values = params![
        filter.state.map(state_number),
        filter.kind.map(Kind::name),
        filter.subject,
        filter.before,
        filter.accepted_from.map(|at| at.0),
        filter.accepted_before.map(|at| at.0),
        filter.limit.min(LISTED_RECORDS_MAX),
    ];
    records.query_map(values, record)?.collect()
}

/// Almost all is settled, so the newest are near. What is not has an index, and is little beside it.
fn of_state(state: State) -> &'static str {
    match state {
        State::Settled => "state = ?1",
        State::Pending => "state = 0",
        State::Dead | State::Left => "id in (select id from notice where state = ?1 and ended_at is not null)",
    }
}

/// The index on subjects leaves pending records out; of these there are few.
const OF_SUBJECT: &str = "id in (
  select id from notice where subject = ?3 and ended_at is not null
  union all select id from notice where subject = ?3 and state = 0)";

/// What is not settled is little beside what is, and the two indexes have it.
const UNDELIVERED: &str = "newest = 1 and id in (
  select id from notice where state = 0
  union all select id from notice where state in (2, 3) and ended_at is not null)";

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let kind = kind_column(row, 2)?;
    // A policy that another version wrote cannot be read; then the kind's own says what was meant.
    let policy = policy_of(row.get_ref(16)?.as_str()?).unwrap_or_else(|| kind.defaults());
    Ok(Record {
        id: row.get(0)?,
        fingerprint: fingerprint_column(row, 1)?,
        kind,
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
        budget: policy.budget,
        expires_at: UnixMillis(row.get(13)?),
        is_newest: row.get(14)?,
        has_request: !row.get::<_, bool>(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sqlite::schema;

    #[test]
    fn the_few_that_are_not_settled_are_found_without_a_walk_through_all() {
        let mut sql = Connection::open_in_memory().unwrap();
        schema::bring_up_to_date(&mut sql, schema::STEPS).unwrap();
        for (state, index) in [(State::Pending, "pending"), (State::Dead, "ended"), (State::Left, "ended")] {
            let only = of_state(state);
            let query = format!("explain query plan select * from notice where {only} order by id desc limit 9");
            let mut plan = sql.prepare(&query).unwrap();
            // The plan is made without the values.
            let steps: Vec<String> = plan.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
            assert!(steps.iter().any(|step| step.contains(&format!("INDEX {index}"))), "{state:?}: {steps:?}");
        }
    }
}
