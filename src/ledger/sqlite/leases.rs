//! Claims on what waits: leases, the wake-up after an outage, replays by hand, and holders that vanished.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::UnixMillis;
use crate::event::Fingerprint;
use crate::ledger::flights::{Flight, Flights};
use crate::ledger::sqlite::group::Group;
use crate::ledger::sqlite::row::{fingerprint_column, state_column, stored_notice};
use crate::ledger::stored::{policy_of, state_number};
use crate::ledger::{Claim, Notice, NoticeId, State};

/// Everything pending that waits for no time is due now: its holder is gone, and nobody knows what it did. Those
/// that are in the air all the same are not leased before they land. A clock that was set back may have it admitted
/// in the future.
pub(super) fn reclaim_all(sql: &Connection, now: UnixMillis) -> rusqlite::Result<()> {
    let mut reclaim = sql.prepare_cached(
        "update notice set due_at = min(accepted_at, ?1), interrupted = 1 where state = 0 and due_at is null",
    )?;
    reclaim.execute([now.0]).map(drop)
}

/// The same for these records.
fn reclaim(sql: &Connection, records: &[NoticeId], now: UnixMillis) -> rusqlite::Result<()> {
    let mut reclaim = sql.prepare_cached(
        "update notice set due_at = min(accepted_at, ?2), interrupted = 1
         where id = ?1 and state = 0 and due_at is null",
    )?;
    records.iter().try_for_each(|record| reclaim.execute([*record, now.0]).map(drop))
}

/// Claims what is due, oldest first.
pub(super) fn lease_due(
    group: &mut Group<'_>,
    flights: &Flights,
    now: UnixMillis,
    limit: usize,
) -> rusqlite::Result<Vec<Claim>> {
    reclaim(group.sql(), &flights.take_abandoned(), now)?;
    let mut claims = Vec::new();
    for (id, flight) in due(group.sql(), flights, now, limit)? {
        match lease(group.sql(), id, flight)? {
            Some(claim) => claims.push(claim),
            None => bury(group, id, now)?,
        }
    }
    Ok(claims)
}

/// The oldest due records that nothing in the air holds up.
///
/// SQLite left alone walks through the whole table, whose order saves it a sort. So it is told the way: a few due ones
/// are sorted; when many are due, after an outage, the next ones are near the front of all that is pending. Rows are
/// taken one by one and no further than needed: while the shop is down, most of what is pending waits for later, and
/// every row more is a search among those.
fn due(
    sql: &Connection,
    flights: &Flights,
    now: UnixMillis,
    limit: usize,
) -> rusqlite::Result<Vec<(NoticeId, Flight)>> {
    let mut count = sql.prepare_cached("select count(*) from (select 1 from notice where due_at <= ?1 limit ?2)")?;
    let are_many = count.query_row([now.0, FEW_DUE + 1], |row| row.get::<_, i64>(0))? > FEW_DUE;
    let mut due = sql.prepare_cached(if are_many { OF_MANY_DUE } else { OF_FEW_DUE })?;
    let looks_max = i64::try_from(limit.saturating_mul(4).saturating_add(64)).unwrap_or(i64::MAX);
    let mut rows = due.query([now.0, looks_max])?;
    let mut boarded = Vec::new();
    while boarded.len() < limit
        && let Some(row) = rows.next()?
    {
        let id = row.get(0)?;
        if let Some(flight) = board(sql, flights, id)? {
            boarded.push((id, flight));
        }
    }
    Ok(boarded)
}

fn board(sql: &Connection, flights: &Flights, id: NoticeId) -> rusqlite::Result<Option<Flight>> {
    let mut identity = sql.prepare_cached("select fingerprint, turn from notice where id = ?1")?;
    let (fingerprint, turn) =
        identity.query_row([id], |row| Ok((fingerprint_column(row, 0)?, fingerprint_column(row, 1)?)))?;
    Ok(flights.board_alone(fingerprint, turn))
}

/// Takes one lease. `None`: what is stored cannot be read back.
fn lease(sql: &Connection, id: NoticeId, mut flight: Flight) -> rusqlite::Result<Option<Claim>> {
    let mut take = sql.prepare_cached(
        "update notice set attempts = attempts + 1, epoch = epoch + 1, due_at = null where id = ?1
         returning attempts, epoch, accepted_at, expires_at, repeats, interrupted, answered, kind, route, policy,
           failure_texts, fingerprint, turn, subject, request_head, request_body",
    )?;
    // From here on, a claim that gets lost is noticed; also one that is lost because the group fails.
    flight.carries(id);
    let claim = take.query_row([id], |row| {
        let Some(notice) = stored_notice(row, 7)? else { return Ok(None) };
        Ok(Some(Claim {
            id,
            notice: Arc::<Notice>::new(notice),
            attempt: row.get(0)?,
            epoch: row.get(1)?,
            accepted_at: UnixMillis(row.get(2)?),
            expires_at: UnixMillis(row.get(3)?),
            repeats: row.get(4)?,
            interrupted: row.get(5)?,
            answered: row.get(6)?,
            lease: None,
            flight,
        }))
    })?;
    Ok(claim)
}

/// A record that no version can bring to the shop must not be tried for ever.
fn bury(group: &mut Group<'_>, id: NoticeId, now: UnixMillis) -> rusqlite::Result<()> {
    let mut bury = group
        .sql()
        .prepare_cached("update notice set state = ?2, ended_at = ?3, due_at = null, note = ?4 where id = ?1")?;
    let buried =
        bury.execute(params![id, state_number(State::Dead), now.0, "the stored request cannot be read back"])?;
    drop(bury);
    group.moved(buried, State::Pending, State::Dead);
    Ok(())
}

/// When the first record is due that nothing in the air holds up.
pub(super) fn next_due(sql: &Connection, flights: &Flights) -> rusqlite::Result<Option<UnixMillis>> {
    let mut waiting =
        sql.prepare_cached("select due_at, fingerprint, turn from notice where due_at is not null order by due_at")?;
    let mut rows = waiting.query([])?;
    while let Some(row) = rows.next()? {
        let (fingerprint, turn): (Fingerprint, Fingerprint) =
            (fingerprint_column(row, 1)?, fingerprint_column(row, 2)?);
        if flights.is_free(fingerprint, turn) {
            return row.get(0).map(UnixMillis).map(Some);
        }
    }
    Ok(None)
}

/// Makes at most `slice` records due now that wait for a time later than `at`, and says how many.
pub(super) fn wake(group: &Group<'_>, now: UnixMillis, at: UnixMillis, slice: u32) -> rusqlite::Result<u64> {
    let mut wake = group.sql().prepare_cached(
        "update notice set due_at = ?1 where id in (select id from notice where due_at > ?2 limit ?3)",
    )?;
    wake.execute(params![now.0, at.max(now).0, slice]).map(|rows| rows as u64)
}

/// Makes an ended record pending and due now. `false`: there is none that could be.
pub(super) fn replay(group: &mut Group<'_>, id: NoticeId, now: UnixMillis) -> rusqlite::Result<bool> {
    let mut find = group.sql().prepare_cached(
        "select state, policy from notice where id = ?1 and state <> 0 and newest = 1 and stripped = 0",
    )?;
    let found = find.query_row([id], |row| Ok((state_column(row, 0)?, row.get::<_, String>(1)?))).optional()?;
    drop(find);
    let Some((state, policy)) = found.and_then(|(state, text)| Some((state, policy_of(&text)?))) else {
        return Ok(false);
    };
    let mut reopen = group.sql().prepare_cached(
        "update notice set state = 0, due_at = ?2, expires_at = ?3, ended_at = null, replay_until = null,
           epoch = epoch + 1, interrupted = 0, reply_head = null, reply_body = null
         where id = ?1",
    )?;
    let reopened = reopen.execute(params![id, now.0, (now + policy.oldest).0])?;
    drop(reopen);
    group.moved(reopened, state, State::Pending);
    Ok(true)
}

/// So many can be sorted for each lease.
const FEW_DUE: i64 = 250;
const OF_FEW_DUE: &str = "select id from notice indexed by waiting where due_at <= ?1 order by id limit ?2";
const OF_MANY_DUE: &str =
    "select id from notice indexed by pending where state = 0 and due_at <= ?1 order by id limit ?2";

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::ledger::sqlite::schema;

    fn ledger() -> Connection {
        let mut sql = Connection::open_in_memory().unwrap();
        schema::bring_up_to_date(&mut sql, schema::STEPS).unwrap();
        sql
    }

    /// Records 1, 2, 3 … in the order of admission; nothing for one that is at the shop.
    fn fill(sql: &Connection, due: impl IntoIterator<Item = Option<i64>>) {
        for (number, due_at) in due.into_iter().enumerate() {
            let mut fingerprint = [0; 32];
            fingerprint[..8].copy_from_slice(&number.to_be_bytes());
            let insert = "insert into notice (fingerprint, turn, newest, state, kind, route, accepted_at, expires_at,
                attempts, repeats, epoch, policy, due_at) values (?1, ?1, 1, 0, '', '', 0, 0, 1, 0, 1, '', ?2)";
            sql.execute(insert, params![fingerprint, due_at]).unwrap();
        }
    }

    /// What is due then, when nothing is in the air.
    fn due_at(sql: &Connection, now: i64, limit: usize) -> Vec<NoticeId> {
        let boarded = due(sql, &Flights::default(), UnixMillis(now), limit).unwrap();
        boarded.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn the_oldest_due_ones_are_found_among_few_and_among_many() {
        let few = ledger();
        fill(&few, [Some(30), None, Some(20), Some(99), Some(10)]);
        assert_eq!(due_at(&few, 50, 4), [1, 3, 5]);
        assert_eq!(due_at(&few, 50, 1), [1]);
        let many = ledger();
        fill(&many, (0..2 * FEW_DUE).map(|number| if number == 1 { None } else { Some(1_000 - number) }));
        assert_eq!(due_at(&many, 2_000, 3), [1, 3, 4]);
    }

    #[test]
    fn one_that_is_held_up_does_not_hold_up_the_next() {
        let sql = ledger();
        fill(&sql, (0..2 * FEW_DUE).map(|_| Some(10)));
        let flights = Flights::default();
        let in_the_air = due(&sql, &flights, UnixMillis(20), 3).unwrap();
        let next = due(&sql, &flights, UnixMillis(20), 1).unwrap();
        assert_eq!(next.first().map(|(id, _)| *id), Some(4));
        drop(in_the_air);
    }

    #[test]
    fn a_lease_during_an_outage_looks_no_further_than_it_has_to() {
        // Most of what is pending waits for later; more than a few are due, all over.
        let sql = ledger();
        fill(&sql, (0..100 * FEW_DUE).map(|number| Some(if number % 50 == 0 { 10 } else { 1_000 })));
        let steps = |limit| {
            let due = sql.prepare_cached(OF_MANY_DUE).unwrap();
            due.reset_status(StatementStatus::VmStep);
            drop(due);
            assert_eq!(due_at(&sql, 20, limit).len(), limit);
            sql.prepare_cached(OF_MANY_DUE).unwrap().get_status(StatementStatus::VmStep)
        };
        let (one, forty) = (steps(1), steps(40));
        assert!(one * 20 < forty, "{one} steps for one, {forty} for forty");
    }

    #[test]
    fn nobody_walks_through_the_whole_table() {
        let sql = ledger();
        for query in [OF_FEW_DUE, OF_MANY_DUE] {
            let mut plan = sql.prepare(&format!("explain query plan {query}")).unwrap();
            let steps: Vec<String> = plan.query_map([0, 1], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
            assert!(steps[0].contains("INDEX waiting") || steps[0].contains("INDEX pending"), "{steps:?}");
        }
    }
}
