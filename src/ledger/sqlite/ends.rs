//! An attempt is over: settled, postponed, or closed for good.
//!
//! Every write names record and epoch, so that a holder whose lease was taken over changes nothing. A write that
//! finds its own work done already says so: its first try was committed although it was reported as failed.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::UnixMillis;
use crate::event::Policy;
use crate::ledger::sqlite::group::Group;
use crate::ledger::stored::state_number;
use crate::ledger::{Claim, End, Failure, LedgerError, NoticeId, State, rules};
use crate::message::Reply;

/// Which record, and which lease of it.
#[derive(Clone, Copy)]
pub(super) struct Held {
    id: NoticeId,
    epoch: i64,
}

/// The shop's 2xx, ready to be written.
pub(super) struct Settlement {
    held: Held,
    now: UnixMillis,
    policy: Policy,
    order: Option<[u8; 16]>,
    pub(super) head: Vec<u8>,
    status: u16,
}

/// A failed attempt, ready to be written.
pub(super) struct Setback {
    held: Held,
    status: Option<u16>,
    note: String,
}

/// `Err(Lost)` inside the `Ok` of the group: nothing is wrong with the ledger.
type Outcome = rusqlite::Result<Result<(), LedgerError>>;

impl Settlement {
    pub(super) fn new(claim: &Claim, reply: &Reply, now: UnixMillis) -> Self {
        Self {
            held: Held { id: claim.id, epoch: claim.epoch },
            now,
            policy: claim.notice.policy,
            order: rules::order_of(claim).map(rules::subject_key),
            head: reply.head_bytes(),
            status: reply.status.as_u16(),
        }
    }

    /// Says until when the reply is replayed, if it was written now.
    pub(super) fn write(
        &self,
        group: &mut Group<'_>,
        body: &[u8],
    ) -> rusqlite::Result<Result<Option<UnixMillis>, LedgerError>> {
        let acknowledged = match &self.order {
            Some(order) => is_acknowledged(group.sql(), order)?,
            None => false,
        };
        let replay_until = rules::replay_until(&self.policy, self.now, acknowledged);
        let mut settle = group.sql().prepare_cached(
            "update notice set state = 1, ended_at = ?3, due_at = null, replay_until = ?4, acknowledged = ?5,
               status = ?6, note = null, interrupted = 0, reply_head = ?7, reply_body = ?8
             where id = ?1 and epoch = ?2 and state = 0",
        )?;
        let settled = settle.execute(params![
            self.held.id,
            self.held.epoch,
            self.now.0,
            replay_until.0,
            acknowledged,
            self.status,
            self.head,
            body,
        ])?;
        drop(settle);
        group.moved(settled, State::Pending, State::Settled);
        let confirmed = self.held.confirm(group.sql(), settled, (State::Settled, None))?;
        Ok(confirmed.map(|()| (settled > 0).then_some(replay_until)))
    }
}

impl Setback {
    pub(super) fn new(claim: &Claim, failure: &Failure) -> Self {
        Self {
            held: Held { id: claim.id, epoch: claim.epoch },
            status: failure.reply.as_ref().map(|reply| reply.status.as_u16()),
            note: failure.note.clone(),
        }
    }

    pub(super) fn postpone(&self, group: &mut Group<'_>, due_at: UnixMillis) -> Outcome {
        let mut postpone = group.sql().prepare_cached(
            "update notice set due_at = ?3, status = ifnull(?4, status), note = ?5, interrupted = 0
             where id = ?1 and epoch = ?2 and state = 0",
        )?;
        let postponed = postpone.execute(params![self.held.id, self.held.epoch, due_at.0, self.status, self.note])?;
        drop(postpone);
        self.held.confirm(group.sql(), postponed, (State::Pending, Some(due_at)))
    }

    pub(super) fn close(&self, group: &mut Group<'_>, end: End, now: UnixMillis) -> Outcome {
        let state = match end {
            End::Dead => State::Dead,
            End::Left => State::Left,
        };
        let mut close = group.sql().prepare_cached(
            "update notice set state = ?3, ended_at = ?4, due_at = null, status = ifnull(?5, status), note = ?6,
               interrupted = 0
             where id = ?1 and epoch = ?2 and state = 0",
        )?;
        let number = state_number(state);
        let closed = close.execute(params![self.held.id, self.held.epoch, number, now.0, self.status, self.note])?;
        drop(close);
        group.moved(closed, State::Pending, state);
        self.held.confirm(group.sql(), closed, (state, None))
    }
}

impl Held {
    /// Done now, done before, or lost.
    fn confirm(self, sql: &Connection, rows: usize, wanted: (State, Option<UnixMillis>)) -> Outcome {
        if rows > 0 {
            return Ok(Ok(()));
        }
        let (state, due_at) = wanted;
        let mut found =
            sql.prepare_cached("select 1 from notice where id = ?1 and epoch = ?2 and state = ?3 and due_at is ?4")?;
        let done_before = found
            .query_row(params![self.id, self.epoch, state_number(state), due_at.map(|at| at.0)], |_| Ok(()))
            .optional()?;
        Ok(done_before.ok_or(LedgerError::Lost(self.id)))
    }
}

fn is_acknowledged(sql: &Connection, order: &[u8; 16]) -> rusqlite::Result<bool> {
    sql.prepare_cached("select 1 from acknowledged where subject = ?1")?.exists([order])
}
