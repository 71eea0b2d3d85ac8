//! An attempt is over: settled, postponed, or closed for good.
//!
//! Every statement names record and epoch, so that a holder whose lease was taken over changes nothing. One that finds
//! its own work done already says so: its first try was carried out although its answer got lost.

use tokio_postgres::types::ToSql;

use crate::clock::UnixMillis;
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Lanes, Use};
use crate::ledger::postgres::row::{get, state, storable};
use crate::ledger::stored::state_number;
use crate::ledger::{Claim, End, Failure, LedgerError, NoticeId, State, rules};
use crate::message::Reply;

/// What became of an attempt, ready to be written.
pub(super) struct Ending {
    id: NoticeId,
    epoch: i64,
    outcome: Outcome,
}

enum Outcome {
    Settled(Settlement),
    Postponed { due_at: UnixMillis, setback: Setback },
    Closed { end: End, now: UnixMillis, setback: Setback },
}

struct Settlement {
    now: UnixMillis,
    order: Option<Vec<u8>>,
    replay_until: UnixMillis,
    replay_until_if_acknowledged: UnixMillis,
    status: i64,
    head: Vec<u8>,
    body: bytes::Bytes,
}

struct Setback {
    status: Option<i64>,
    note: String,
}

/// What was written.
pub(super) struct Written {
    /// Somebody at another process may wait for it, and was not told by an earlier try.
    pub(super) is_news: bool,
    /// The record's state now.
    pub(super) state: State,
}

impl Ending {
    pub(super) fn settled(claim: &Claim, reply: &Reply, now: UnixMillis) -> Self {
        let policy = &claim.notice.policy;
        let settlement = Settlement {
            now,
            order: rules::order_of(claim).map(|order| rules::subject_key(order).to_vec()),
            replay_until: rules::replay_until(policy, now, false),
            replay_until_if_acknowledged: rules::replay_until(policy, now, true),
            status: i64::from(reply.status.as_u16()),
            head: reply.head_bytes(),
            body: reply.body.clone(),
        };
        Self::of(claim, Outcome::Settled(settlement))
    }

    pub(super) fn postponed(claim: &Claim, due_at: UnixMillis, failure: &Failure) -> Self {
        Self::of(claim, Outcome::Postponed { due_at, setback: Setback::of(failure) })
    }

    pub(super) fn closed(claim: &Claim, end: End, failure: &Failure, now: UnixMillis) -> Self {
        Self::of(claim, Outcome::Closed { end, now, setback: Setback::of(failure) })
    }

    fn of(claim: &Claim, outcome: Outcome) -> Self {
        Self { id: claim.id, epoch: claim.epoch, outcome }
    }

    /// Writes it. `Err(Lost)` in the `Ok`: nothing is wrong with the ledger.
    pub(super) async fn write(&self, lanes: &Lanes) -> Result<Result<Written, LedgerError>, Fault> {
        let call = lanes.call(Use::End).await?;
        let slot = call.wire.slot;
        let rows = match &self.outcome {
            Outcome::Settled(settlement) => {
                let bytes = i64::try_from(settlement.head.len() + settlement.body.len()).unwrap_or(i64::MAX);
                let values: [&(dyn ToSql + Sync); 11] = [
                    &self.id,
                    &self.epoch,
                    &settlement.now.0,
                    &settlement.order,
                    &settlement.replay_until_if_acknowledged.0,
                    &settlement.replay_until.0,
                    &settlement.status,
                    &settlement.head,
                    &&settlement.body[..],
                    &bytes,
                    &slot,
                ];
                call.rows(SETTLE, &values).await?
            }
            Outcome::Postponed { due_at, setback } => {
                call.rows(POSTPONE, &[&self.id, &self.epoch, &due_at.0, &setback.status, &setback.note]).await?
            }
            Outcome::Closed { end, now, setback } => {
                let state = match end {
                    End::Dead => state_number(State::Dead),
                    End::Left => state_number(State::Left),
                };
                let values: [&(dyn ToSql + Sync); 7] =
                    [&self.id, &self.epoch, &state, &now.0, &setback.status, &setback.note, &slot];
                call.rows(CLOSE, &values).await?
            }
        };
        if let Some(row) = rows.first() {
            return Ok(Ok(Written { is_news: get(row, 0)?, state: state(row, 1)? }));
        }
        let (is_over, due_at) = match &self.outcome {
            Outcome::Postponed { due_at, .. } => (false, Some(due_at.0)),
            Outcome::Settled(_) | Outcome::Closed { .. } => (true, None),
        };
        Ok(match call.rows(CONFIRM, &[&self.id, &self.epoch, &is_over, &due_at]).await?.first() {
            Some(row) => Ok(Written { is_news: false, state: state(row, 0)? }),
            None => Err(LedgerError::Lost(self.id)),
        })
    }
}

impl Setback {
    fn of(failure: &Failure) -> Self {
        Self {
            status: failure.reply.as_ref().map(|reply| i64::from(reply.status.as_u16())),
            note: storable(&failure.note),
        }
    }
}

const SETTLE: &str = "
with ended as (
  update kallback_notice set state = 1, held = false, free_at = null, ended_at = $3,
    replay_until = case when exists (select 1 from kallback_acknowledged where subject = $4) then $5 else $6::bigint end,
    status = $7, note = null, interrupted = false, reply_head = $8, reply_body = $9
  where id = $1 and epoch = $2 and state = 0 returning followed, state
), counted as (
  update kallback_counts set pending = pending - 1, settled = settled + 1, bytes = bytes + $10
  where slot = $11 and exists (select 1 from ended)
)
select followed, state from ended";

const POSTPONE: &str = "
update kallback_notice set held = false, free_at = $3, status = coalesce($4, status), note = $5, interrupted = false
where id = $1 and epoch = $2 and state = 0 returning followed, state";

/// A sender who waited at another process was perhaps told that kallback brings it. Then nobody else will, and the
/// record is dead rather than left, as it is where the holder itself told so.
const CLOSE: &str = "
with ended as (
  update kallback_notice set state = case when followed and kind <> 'push' then 2 else $3::bigint end, held = false,
    free_at = null, ended_at = $4, status = coalesce($5, status), note = $6, interrupted = false
  where id = $1 and epoch = $2 and state = 0 returning followed, state
), counted as (
  update kallback_counts set pending = pending - 1,
    dead = dead + (select count(*) from ended where state = 2), gone = gone + (select count(*) from ended where state = 3)
  where slot = $7 and exists (select 1 from ended)
)
select followed, state from ended";

const CONFIRM: &str = "
select state from kallback_notice
where id = $1 and epoch = $2 and (state <> 0) = $3 and not held and free_at is not distinct from $4::bigint";
