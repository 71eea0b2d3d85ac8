//! What happens beside the path: listings, counts, acknowledgements, the sweep.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::clock::UnixMillis;
use crate::event::Kind;
use crate::ledger::postgres::admission::RECORD_BYTES;
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Call, Lanes, Use};
use crate::ledger::postgres::row::{fingerprint, get, kind, millis, number, state};
use crate::ledger::rules::{self, ACKNOWLEDGEMENTS_KEPT_FOR, BINDINGS_KEPT_FOR};
use crate::ledger::stored::{policy_of, state_number};
use crate::ledger::{Counts, Filter, LISTED_RECORDS_MAX, NoticeId, Record, Retention, State, Swept};

/// Records for people, newest first. Conditions that are not set are left out of the statement, so that each set one
/// finds its index.
pub(super) async fn list(lanes: &Lanes, filter: &Filter) -> Result<Vec<Record>, Fault> {
    let (wanted_state, wanted_kind) = (filter.state.map(state_number), filter.kind.map(Kind::name));
    let limit = i64::from(filter.limit.min(LISTED_RECORDS_MAX));
    let mut conditions = Vec::new();
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&limit];
    let mut condition = |text: &str, value| {
        values.push(value);
        conditions.push(text.replace('?', &format!("${}", values.len())));
    };
    if let Some(state) = &wanted_state {
        condition("state = ?", state);
    }
    if let Some(kind) = &wanted_kind {
        condition("kind = ?", kind);
    }
    if let Some(subject) = &filter.subject {
        condition("subject = ? and (ended_at is not null or state = 0)", subject);
    }
    if let Some(before) = &filter.before {
        condition("id < ?", before);
    }
    let (from, before) = (filter.accepted_from.map(|at| at.0), filter.accepted_before.map(|at| at.0));
    if let Some(from) = &from {
        condition("accepted_at >= ?", from);
    }
    if let Some(before) = &before {
        condition("accepted_at < ?", before);
    }
    if filter.undelivered {
        conditions.push(format!("{UNDELIVERED} and {NEWEST}"));
    }
    let only = if conditions.is_empty() { String::new() } else { format!("where {}", conditions.join(" and ")) };
    let query = format!(
        "select id, fingerprint, kind, route, subject, state, accepted_at, ended_at,
           case when state = 0 and not held then free_at end, attempts, repeats, status, note, expires_at,
           {NEWEST}, not stripped, policy
         from kallback_notice n {only} order by id desc limit $1"
    );
    let rows = lanes.call(Use::Upkeep).await?.rows_of(&query, &values).await?;
    rows.iter().map(record).collect()
}

fn record(row: &Row) -> Result<Record, Fault> {
    let (status, kind): (Option<i64>, Kind) = (get(row, 11)?, kind(row, 2)?);
    // A policy that another version wrote cannot be read; then the kind's own says what was meant.
    let policy = policy_of(get(row, 16)?).unwrap_or_else(|| kind.defaults());
    Ok(Record {
        id: get(row, 0)?,
        fingerprint: fingerprint(row, 1)?,
        kind,
        route: get(row, 3)?,
        subject: get(row, 4)?,
        state: state(row, 5)?,
        accepted_at: UnixMillis(get(row, 6)?),
        ended_at: millis(row, 7)?,
        due_at: millis(row, 8)?,
        attempts: number(row, 9)?,
        repeats: number(row, 10)?,
        status: status.and_then(|status| u16::try_from(status).ok()),
        note: get(row, 12)?,
        budget: policy.budget,
        expires_at: UnixMillis(get(row, 13)?),
        is_newest: get(row, 14)?,
        has_request: get(row, 15)?,
    })
}

/// The counters, with the oldest pending record.
pub(super) async fn counts(lanes: &Lanes) -> Result<Counts, Fault> {
    let rows = lanes.call(Use::Upkeep).await?.rows(COUNTS, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Counts::default()) };
    Ok(Counts {
        accepted: number(row, 0)?,
        pending: number(row, 1)?,
        settled: number(row, 2)?,
        dead: number(row, 3)?,
        left: number(row, 4)?,
        oldest_pending: millis(row, 5)?,
    })
}

/// Remembers the order, lengthens the replay windows of its settled pushes, and says how many these are.
pub(super) async fn acknowledge(lanes: &Lanes, order: &str, now: UnixMillis) -> Result<u64, Fault> {
    let call = lanes.call(Use::Upkeep).await?;
    call.rows(REMEMBER, &[&&rules::subject_key(order)[..], &now.0]).await?;
    let pushes = call.rows(SETTLED_PUSHES, &[&order]).await?;
    for push in &pushes {
        let (id, settled_at): (NoticeId, i64) = (get(push, 0)?, get(push, 1)?);
        let Some(policy) = policy_of(get(push, 2)?) else { continue };
        let until = rules::replay_until(&policy, UnixMillis(settled_at), true);
        call.rows(LENGTHEN, &[&id, &settled_at, &until.0]).await?;
    }
    Ok(pushes.len() as u64)
}

/// Drops what is old: one slice of each kind of thing; records and bodies together are one slice.
pub(super) async fn sweep(lanes: &Lanes, retention: &Retention, now: UnixMillis) -> Result<Swept, Fault> {
    let call = lanes.call(Use::Upkeep).await?;
    let mut left = i64::from(retention.slice);
    let mut swept = Swept::default();
    for (state, kept_for) in [
        (State::Settled, retention.keep_records_for),
        (State::Left, retention.keep_records_for),
        (State::Dead, retention.keep_dead_for),
    ] {
        let (state, before) = (state_number(state), (now - kept_for).0);
        let values: [&(dyn ToSql + Sync); 6] = [&state, &before, &now.0, &left, &RECORD_BYTES, &call.wire.slot];
        let dropped = counted(&call.rows(DROP_RECORDS, &values).await?)?;
        left -= dropped;
        swept.records += dropped.unsigned_abs();
    }
    let before = (now - retention.keep_bodies_for).0;
    let stripped = counted(&call.rows(DROP_REQUESTS, &[&before, &left, &call.wire.slot]).await?)?;
    swept.bodies += stripped.unsigned_abs();
    let slice = i64::from(retention.slice);
    forget(&call, FORGET_BINDINGS, (now, BINDINGS_KEPT_FOR), slice).await?;
    forget(&call, FORGET_ACKNOWLEDGEMENTS, (now, ACKNOWLEDGEMENTS_KEPT_FOR), slice).await?;
    Ok(swept)
}

async fn forget(
    call: &Call,
    sql: &'static str,
    (now, kept_for): (UnixMillis, Duration),
    slice: i64,
) -> Result<(), Fault> {
    call.rows(sql, &[&(now - kept_for).0, &slice]).await.map(drop)
}

fn counted(rows: &[Row]) -> Result<i64, Fault> {
    rows.first().map_or(Ok(0), |row| get(row, 0))
}

/// The claim knows the newest record of its fingerprint.
const NEWEST: &str = "exists (select 1 from kallback_claim c where c.fingerprint = n.fingerprint and c.id = n.id)";

/// What is not settled is little beside what is, and the indexes on states have it.
const UNDELIVERED: &str = "(state = 0 or (state in (2, 3) and ended_at is not null))";

const COUNTS: &str = "
select sum(accepted)::bigint, sum(pending)::bigint, sum(settled)::bigint, sum(dead)::bigint, sum(gone)::bigint,
  (select accepted_at from kallback_notice where state = 0 order by id limit 1)
from kallback_counts";

const REMEMBER: &str = "insert into kallback_acknowledged (subject, at) values ($1, $2) on conflict do nothing";

const SETTLED_PUSHES: &str = "
select n.id, n.ended_at, n.policy
from kallback_notice n join kallback_claim c on c.id = n.id and c.fingerprint = n.fingerprint
where n.subject = $1 and n.ended_at is not null and n.kind = 'push' and n.state = 1";

const LENGTHEN: &str = "update kallback_notice set replay_until = $3 where id = $1 and state = 1 and ended_at = $2";

/// Never a record whose reply may still be replayed: the repeat would reach the shop again.
const DROP_RECORDS: &str = "
with old as (
  select id, fingerprint, (coalesce(octet_length(request_head), 0) + coalesce(octet_length(request_body), 0)
    + coalesce(octet_length(reply_head), 0) + coalesce(octet_length(reply_body), 0))::bigint as bytes
  from kallback_notice
  where state = $1 and stripped in (false, true) and ended_at <= $2 and coalesce(replay_until, 0) <= $3
  limit $4 for update skip locked
), gone as (
  delete from kallback_notice where id in (select id from old) returning id
), unclaimed as (
  delete from kallback_claim where (fingerprint, id) in (select fingerprint, id from old)
), counted as (
  update kallback_counts set bytes = bytes - (select coalesce(sum(bytes + $5::bigint), 0)::bigint from old)
  where slot = $6 and exists (select 1 from old)
)
select count(*) from gone";

const DROP_REQUESTS: &str = "
with old as (
  select id, (coalesce(octet_length(request_head), 0) + coalesce(octet_length(request_body), 0))::bigint as bytes
  from kallback_notice where state = 1 and not stripped and ended_at <= $1 limit $2 for update skip locked
), gone as (
  update kallback_notice set stripped = true, request_head = null, request_body = null
  where id in (select id from old) returning id
), counted as (
  update kallback_counts set bytes = bytes - (select coalesce(sum(bytes), 0)::bigint from old)
  where slot = $3 and exists (select 1 from old)
)
select count(*) from gone";

const FORGET_BINDINGS: &str = "
delete from kallback_binding where (nonce, place) in (
  select nonce, place from kallback_binding where at <= $1 order by at limit $2)";

const FORGET_ACKNOWLEDGEMENTS: &str = "
delete from kallback_acknowledged where subject in (
  select subject from kallback_acknowledged where at <= $1 order by at limit $2)";
