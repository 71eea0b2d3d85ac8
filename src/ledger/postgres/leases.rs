//! Claims on what waits: leases, takeovers, the wake-up after an outage, replays by hand, and holders that vanished.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::clock::UnixMillis;
use crate::event::Fingerprint;
use crate::ledger::flights::{Flight, Flights};
use crate::ledger::postgres::admission::{Terms, process_of};
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Call, Lanes, Use};
use crate::ledger::postgres::row::{fingerprint, get, number, state, stored_notice};
use crate::ledger::stored::{policy_of, state_number};
use crate::ledger::{Claim, Lease, Notice, NoticeId};

/// Makes these records of this process due now: their holder is gone, and nobody knows what it did.
pub(super) async fn reclaim(call: &Call, records: &[NoticeId], now: UnixMillis, ticket: i64) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    call.rows(RECLAIM, &[&records, &process_of(ticket), &now.0]).await.map(drop)
}

/// A due record.
struct Due {
    id: NoticeId,
    fingerprint: Fingerprint,
    turn: Fingerprint,
}

/// Claims what is due, oldest first. `takes_over`: also what others hold whose leases ran out.
pub(super) async fn lease_due(
    call: &Call,
    flights: &Flights,
    terms: Terms,
    (limit, takes_over): (usize, bool),
    lease: Lease,
) -> Result<Vec<Claim>, Fault> {
    let candidates = i64::try_from(limit.saturating_mul(4).saturating_add(64)).unwrap_or(i64::MAX);
    let rows = call.rows(DUE, &[&terms.now.0, &takes_over, &candidates]).await?;
    let mut claims = Vec::new();
    for row in &rows {
        if claims.len() == limit {
            break;
        }
        let due = Due { id: get(row, 0)?, fingerprint: fingerprint(row, 1)?, turn: fingerprint(row, 2)? };
        let Some(flight) = flights.board_alone(due.fingerprint, due.turn) else { continue };
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&due.id, &terms.now.0, &terms.lease_until.0, &terms.ticket, &takes_over];
        // Nothing comes back when another process was quicker.
        let taken = call.rows(LEASE, &values).await?;
        let Some(row) = taken.first() else { continue };
        match claim_of(row, due.id, flight, lease)? {
            Some(claim) => claims.push(claim),
            None => bury(call, due.id, get(row, 1)?, terms.now).await?,
        }
    }
    Ok(claims)
}

/// `None`: what is stored cannot be read back.
fn claim_of(row: &Row, id: NoticeId, mut flight: Flight, lease: Lease) -> Result<Option<Claim>, Fault> {
    // From here on, a claim that gets lost is noticed.
    flight.carries(id);
    let Some(notice) = stored_notice(row, 7)? else {
        flight.land();
        return Ok(None);
    };
    Ok(Some(Claim {
        id,
        notice: Arc::<Notice>::new(notice),
        attempt: number(row, 0)?,
        epoch: get(row, 1)?,
        accepted_at: UnixMillis(get(row, 2)?),
        expires_at: UnixMillis(get(row, 3)?),
        repeats: number(row, 4)?,
        interrupted: get(row, 5)?,
        answered: get(row, 6)?,
        lease: Some(lease),
        flight,
    }))
}

/// A record that no version can bring to the shop must not be tried for ever.
async fn bury(call: &Call, id: NoticeId, epoch: i64, now: UnixMillis) -> Result<(), Fault> {
    let note = "the stored request cannot be read back";
    call.rows(BURY, &[&id, &epoch, &now.0, &note, &call.wire.slot]).await.map(drop)
}

/// When the first record is due that nothing holds up, here or at another process.
pub(super) async fn next_due(lanes: &Lanes, flights: &Flights, now: UnixMillis) -> Result<Option<UnixMillis>, Fault> {
    let rows = lanes.call(Use::Upkeep).await?.rows(WAITING, &[&now.0]).await?;
    for row in &rows {
        if flights.is_free(fingerprint(row, 1)?, fingerprint(row, 2)?) {
            return Ok(Some(UnixMillis(get(row, 0)?)));
        }
    }
    Ok(None)
}

/// Makes everything due now that waits for a time later than `at`, in slices, and says how many that were.
pub(super) async fn wake(lanes: &Lanes, now: UnixMillis, at: UnixMillis) -> Result<u64, Fault> {
    let call = lanes.call(Use::Upkeep).await?;
    let mut woken = 0;
    loop {
        let slice = call.rows(WAKE, &[&now.0, &at.max(now).0, &WAKE_SLICE]).await?.len();
        woken += slice as u64;
        if i64::try_from(slice).unwrap_or(i64::MAX) < WAKE_SLICE {
            return Ok(woken);
        }
    }
}

/// Makes an ended record pending and due now. `false`: there is none that could be.
pub(super) async fn replay(lanes: &Lanes, id: NoticeId, now: UnixMillis) -> Result<bool, Fault> {
    let call = lanes.call(Use::Upkeep).await?;
    let rows = call.rows(REPLAYABLE, &[&id]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let (found, epoch): (_, i64) = (state(row, 0)?, get(row, 1)?);
    let Some(policy) = policy_of(get(row, 2)?) else { return Ok(false) };
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&id, &epoch, &state_number(found), &now.0, &(now + policy.oldest).0, &get::<i64>(row, 3)?, &call.wire.slot];
    Ok(!call.rows(REOPEN, &values).await?.is_empty())
}

/// Makes sure that a claim is its holder's until `until`. `false`: it is somebody else's.
pub(super) async fn prolong(lanes: &Lanes, claim: &Claim, until: UnixMillis) -> Result<bool, Fault> {
    let rows = lanes.call(Use::End).await?.rows(PROLONG, &[&claim.id, &claim.epoch, &until.0]).await?;
    Ok(!rows.is_empty())
}

/// Whether another process has an earlier notice of the same turn at the shop.
pub(super) async fn is_behind(lanes: &Lanes, claim: &Claim, now: UnixMillis) -> Result<bool, Fault> {
    let turn = &claim.notice.identity.turn.0[..];
    let rows = lanes.call(Use::End).await?.rows(AHEAD, &[&claim.id, &turn, &now.0]).await?;
    Ok(!rows.is_empty())
}

const WAKE_SLICE: i64 = 500;

const RECLAIM: &str = "
update kallback_notice set held = false, free_at = least(accepted_at, $3), interrupted = true
where id = any($1) and state = 0 and held and ticket >> 32 = $2";

const DUE: &str = "
select n.id, n.fingerprint, n.turn from kallback_notice n
where n.state = 0 and n.free_at <= $1 and (not n.held or $2)
  and not exists (select 1 from kallback_notice o
    where o.turn = n.turn and o.state = 0 and o.held and o.free_at > $1 and o.id <> n.id)
order by n.id limit $3";

const LEASE: &str = "
update kallback_notice set attempts = attempts + 1, epoch = epoch + 1, interrupted = interrupted or held,
  held = true, free_at = $3, ticket = $4
where id = $1 and state = 0 and free_at <= $2 and (not held or $5)
returning attempts, epoch, accepted_at, expires_at, repeats, interrupted, answered, kind, route, policy,
  failure_texts, fingerprint, turn, subject, request_head, request_body";

const BURY: &str = "
with ended as (
  update kallback_notice set state = 2, held = false, free_at = null, ended_at = $3, note = $4
  where id = $1 and epoch = $2 and state = 0 returning id
)
update kallback_counts set pending = pending - 1, dead = dead + 1 where slot = $5 and exists (select 1 from ended)";

const WAITING: &str = "
select n.free_at, n.fingerprint, n.turn from kallback_notice n
where n.state = 0 and not n.held
  and not exists (select 1 from kallback_notice o
    where o.turn = n.turn and o.state = 0 and o.held and o.free_at > $1 and o.id <> n.id)
order by n.free_at limit 100";

const WAKE: &str = "
update kallback_notice set free_at = $1 where id in (
  select id from kallback_notice where state = 0 and not held and free_at > $2 order by id limit $3 for update skip locked)
returning id";

const REPLAYABLE: &str = "
select n.state, n.epoch, n.policy,
  (coalesce(octet_length(n.reply_head), 0) + coalesce(octet_length(n.reply_body), 0))::bigint
from kallback_notice n join kallback_claim c on c.id = n.id and c.fingerprint = n.fingerprint
where n.id = $1 and n.state <> 0 and not n.stripped";

const REOPEN: &str = "
with reopened as (
  update kallback_notice set state = 0, held = false, free_at = $4, expires_at = $5, ended_at = null,
    replay_until = null, epoch = epoch + 1, interrupted = false, followed = false, reply_head = null, reply_body = null
  where id = $1 and epoch = $2 and state = $3 and not stripped
    and exists (select 1 from kallback_claim where id = $1)
  returning id
), counted as (
  update kallback_counts set pending = pending + 1, bytes = bytes - $6,
    settled = settled - case when $3 = 1 then 1 else 0 end,
    dead = dead - case when $3 = 2 then 1 else 0 end,
    gone = gone - case when $3 = 3 then 1 else 0 end
  where slot = $7 and exists (select 1 from reopened)
)
select id from reopened";

const PROLONG: &str = "
update kallback_notice set free_at = $3 where id = $1 and epoch = $2 and state = 0 and held returning id";

const AHEAD: &str = "
select 1 from kallback_notice where turn = $2 and state = 0 and held and free_at > $3 and id < $1 limit 1";
