//! One record in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::clock::UnixMillis;
use crate::ledger::flights::Flight;
use crate::ledger::{Claim, Failure, Notice, NoticeId, Record, Retention, State, rules};
use crate::message::{Reply, ShopRequest};

#[derive(Debug)]
pub(super) struct Row {
    pub(super) notice: Arc<Notice>,
    pub(super) record: Record,
    pub(super) replay_until: Option<UnixMillis>,
    pub(super) epoch: i64,
    pub(super) interrupted: bool,
    pub(super) answered: bool,
    pub(super) reply: Option<Arc<Reply>>,
}

/// How an attempt ended.
pub(super) enum Outcome {
    Settled { reply: Arc<Reply>, order: Option<[u8; 16]>, at: UnixMillis },
    Postponed { due_at: UnixMillis, failure: Failure },
    Closed { state: State, failure: Failure, at: UnixMillis },
}

/// A claim that has no flight yet.
pub(super) struct Lease {
    pub(super) id: NoticeId,
    notice: Arc<Notice>,
    attempt: u32,
    accepted_at: UnixMillis,
    expires_at: UnixMillis,
    repeats: u32,
    interrupted: bool,
    answered: bool,
    epoch: i64,
}

impl Lease {
    pub(super) fn into_claim(self, flight: Flight) -> Claim {
        Claim {
            id: self.id,
            notice: self.notice,
            attempt: self.attempt,
            accepted_at: self.accepted_at,
            expires_at: self.expires_at,
            repeats: self.repeats,
            interrupted: self.interrupted,
            answered: self.answered,
            epoch: self.epoch,
            lease: None,
            flight,
        }
    }
}

impl Row {
    /// A record that was admitted just now.
    pub(super) fn new(id: NoticeId, notice: Arc<Notice>, repeats: u32, now: UnixMillis) -> Self {
        let record = Record {
            id,
            fingerprint: notice.identity.fingerprint,
            kind: notice.kind,
            route: notice.route.clone(),
            subject: notice.identity.subject.clone(),
            state: State::Pending,
            accepted_at: now,
            ended_at: None,
            due_at: None,
            attempts: 1,
            repeats,
            status: None,
            note: None,
            budget: notice.policy.budget,
            expires_at: now + notice.policy.oldest,
            is_newest: true,
            has_request: true,
        };
        Self { notice, record, replay_until: None, epoch: 1, interrupted: false, answered: false, reply: None }
    }

    /// The lease that the row is under.
    pub(super) fn lease(&self) -> Lease {
        Lease {
            id: self.record.id,
            notice: self.notice.clone(),
            attempt: self.record.attempts,
            accepted_at: self.record.accepted_at,
            expires_at: self.record.expires_at,
            repeats: self.record.repeats,
            interrupted: self.interrupted,
            answered: self.answered,
            epoch: self.epoch,
        }
    }

    /// Puts the row under a new lease.
    pub(super) fn lease_anew(&mut self) -> Lease {
        self.record.attempts += 1;
        self.epoch += 1;
        self.record.due_at = None;
        self.lease()
    }

    /// Its holder is gone: it is due now, if it was held. A clock that was set back may have it admitted in the future.
    pub(super) fn reclaim(&mut self, now: UnixMillis) {
        if self.record.state == State::Pending && self.record.due_at.is_none() {
            self.record.due_at = Some(self.record.accepted_at.min(now));
            self.interrupted = true;
        }
    }

    pub(super) fn end(&mut self, outcome: Outcome, acknowledged: bool) {
        self.interrupted = false;
        match outcome {
            Outcome::Settled { reply, at, .. } => {
                self.ended(State::Settled, at);
                self.record.status = Some(reply.status.as_u16());
                self.record.note = None;
                self.replay_until = Some(rules::replay_until(&self.notice.policy, at, acknowledged));
                self.reply = Some(reply);
            }
            Outcome::Postponed { due_at, failure } => {
                self.record.due_at = Some(due_at);
                self.failed(failure);
            }
            Outcome::Closed { state, failure, at } => {
                self.ended(state, at);
                self.failed(failure);
            }
        }
    }

    fn ended(&mut self, state: State, at: UnixMillis) {
        self.record.state = state;
        self.record.ended_at = Some(at);
        self.record.due_at = None;
    }

    fn failed(&mut self, failure: Failure) {
        self.record.status = failure.reply.map(|reply| reply.status.as_u16()).or(self.record.status);
        self.record.note = Some(failure.note);
    }

    /// A person wants it brought again.
    pub(super) fn reopen(&mut self, now: UnixMillis) {
        self.record.state = State::Pending;
        self.record.ended_at = None;
        self.record.due_at = Some(now);
        self.record.expires_at = now + self.notice.policy.oldest;
        self.replay_until = None;
        self.epoch += 1;
        self.interrupted = false;
        self.reply = None;
    }

    /// Drops the request.
    pub(super) fn strip(&mut self) {
        let request = ShopRequest {
            method: self.notice.request.method.clone(),
            target: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        self.notice = Arc::new(Notice { request, ..Notice::clone(&self.notice) });
        self.record.has_request = false;
    }

    /// Whether the record is to be dropped: it ended long ago, and no repeat may still get its reply.
    pub(super) fn is_past(&self, retention: &Retention, now: UnixMillis) -> bool {
        let kept_for = match self.record.state {
            State::Pending => return false,
            State::Settled | State::Left => retention.keep_records_for,
            State::Dead => retention.keep_dead_for,
        };
        self.ended_before(now, kept_for) && self.replay_until.is_none_or(|until| until <= now)
    }

    /// Whether the record ended at least so long ago.
    pub(super) fn ended_before(&self, now: UnixMillis, kept_for: Duration) -> bool {
        self.record.ended_at.is_some_and(|ended_at| ended_at <= now - kept_for)
    }

    /// What it takes of the bound, roughly.
    pub(super) fn bytes(&self) -> u64 {
        let request = self.notice.request.target.len() + self.notice.request.body.len();
        let reply = self.reply.as_ref().map_or(0, |reply| reply.body.len());
        (ROW_BYTES + request + reply) as u64
    }
}

/// A row without its bodies, roughly.
const ROW_BYTES: usize = 1_024;
