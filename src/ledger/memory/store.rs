//! The rows, and what can be done with them. No time, no lock, no future.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Kind, Nonce, TokenUse};
use crate::ledger::flights::Flights;
use crate::ledger::memory::row::{Lease, Outcome, Row};
use crate::ledger::rules::{self, Newest, Verdict};
use crate::ledger::{
    Claim, Counts, Filter, LISTED_RECORDS_MAX, LedgerError, Notice, NoticeId, Record, Retention, State, Swept,
};
use crate::message::Reply;

type SubjectKey = [u8; 16];

/// Everything that a ledger knows.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) closed: bool,
    bytes_max: u64,
    bytes: u64,
    rows: BTreeMap<NoticeId, Row>,
    newest: HashMap<Fingerprint, NoticeId>,
    bindings: HashMap<Nonce, HashMap<SubjectKey, UnixMillis>>,
    acknowledged: HashMap<SubjectKey, UnixMillis>,
    counts: Counts,
}

/// What the store says to a notice that arrives.
pub(super) enum Ruling {
    Opens(Lease),
    Waits,
    Replays(Arc<Reply>),
    TokenOverused,
}

/// Which record, and which lease of it.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) id: NoticeId,
    pub(super) epoch: i64,
}

impl Store {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            closed: false,
            bytes_max,
            bytes: 0,
            rows: BTreeMap::new(),
            newest: HashMap::new(),
            bindings: HashMap::new(),
            acknowledged: HashMap::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn rule(&mut self, notice: &Arc<Notice>, now: UnixMillis) -> Result<Ruling, LedgerError> {
        let binding = notice.token.zip(notice.identity.subject.as_deref());
        let binding = binding.map(|(token, subject)| (token, rules::subject_key(subject)));
        if binding.is_some_and(|(token, subject)| !self.may_bind(token, subject)) {
            return Ok(Ruling::TokenOverused);
        }
        let verdict = rules::judge(self.newest(notice.identity.fingerprint), now);
        if matches!(verdict, Verdict::Opens { .. }) && self.bytes >= self.bytes_max {
            return Err(rules::full(self.bytes_max));
        }
        if let Some((token, subject)) = binding {
            self.bind(token, subject, now);
        }
        Ok(match verdict {
            Verdict::Waits(id) => {
                self.promise(id, now);
                Ruling::Waits
            }
            Verdict::Replays(id) => {
                let recorded = self.rows.get(&id).and_then(|row| row.reply.clone());
                Ruling::Replays(recorded.unwrap_or_else(|| Arc::new(rules::bare_receipt())))
            }
            Verdict::Opens { repeats, .. } => Ruling::Opens(self.insert(notice, repeats, now)),
        })
    }

    /// `false`: the token came with too many others.
    pub(super) fn bind(&mut self, token: TokenUse, subject: SubjectKey, now: UnixMillis) -> bool {
        let may = self.may_bind(token, subject);
        if may {
            self.bindings.entry(token.nonce).or_default().entry(subject).or_insert(now);
        }
        may
    }

    fn may_bind(&self, token: TokenUse, subject: SubjectKey) -> bool {
        let bound = self.bindings.get(&token.nonce);
        bound.is_some_and(|subjects| subjects.contains_key(&subject))
            || bound.map_or(0, HashMap::len) < token.sessions_max as usize
    }

    fn newest(&self, fingerprint: Fingerprint) -> Option<Newest> {
        let row = self.rows.get(self.newest.get(&fingerprint)?)?;
        Some(Newest {
            id: row.record.id,
            state: row.record.state,
            repeats: row.record.repeats,
            replay_until: row.replay_until,
        })
    }

    fn insert(&mut self, notice: &Arc<Notice>, repeats: u32, now: UnixMillis) -> Lease {
        self.counts.admitted();
        let id = NoticeId::try_from(self.counts.accepted).unwrap_or(NoticeId::MAX);
        let row = Row::new(id, notice.clone(), repeats, now);
        let lease = row.lease();
        self.bytes += row.bytes();
        let earlier = self.newest.insert(notice.identity.fingerprint, id);
        if let Some(earlier) = earlier.and_then(|earlier| self.rows.get_mut(&earlier)) {
            earlier.record.is_newest = false;
        }
        self.rows.insert(id, row);
        lease
    }

    /// The caller is told that kallback brings it; so it has to, also if the holder is gone.
    fn promise(&mut self, id: NoticeId, now: UnixMillis) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.answered = true;
            row.reclaim(now);
        }
    }

    pub(super) fn answered(&mut self, id: NoticeId) {
        if let Some(row) = self.rows.get_mut(&id).filter(|row| row.record.state == State::Pending) {
            row.answered = true;
        }
    }

    /// Records how an attempt ended, if the lease is still the holder's.
    pub(super) fn end(&mut self, held: Held, outcome: Outcome) -> Result<(), LedgerError> {
        let acknowledged = match &outcome {
            Outcome::Settled { order: Some(order), .. } => self.acknowledged.contains_key(order),
            _ => false,
        };
        let lost = LedgerError::Lost(held.id);
        let row = self.rows.get_mut(&held.id).ok_or_else(|| lost.clone())?;
        if row.epoch != held.epoch || row.record.state != State::Pending {
            return Err(lost);
        }
        self.bytes -= row.bytes();
        row.end(outcome, acknowledged);
        self.bytes += row.bytes();
        self.counts.moved(1, State::Pending, row.record.state);
        Ok(())
    }

    pub(super) fn lease_due(&mut self, flights: &Flights, now: UnixMillis, limit: usize) -> Vec<Claim> {
        self.reclaim(flights, now);
        let mut claims = Vec::new();
        for row in self.rows.values_mut() {
            if claims.len() == limit {
                break;
            }
            if row.record.due_at.is_none_or(|due_at| due_at > now) {
                continue;
            }
            let identity = &row.notice.identity;
            if let Some(mut flight) = flights.board_alone(identity.fingerprint, identity.turn) {
                flight.carries(row.record.id);
                claims.push(row.lease_anew().into_claim(flight));
            }
        }
        claims
    }

    pub(super) fn next_due(&mut self, flights: &Flights, now: UnixMillis) -> Option<UnixMillis> {
        if flights.has_abandoned() {
            return Some(now);
        }
        let free = |row: &&Row| flights.is_free(row.notice.identity.fingerprint, row.notice.identity.turn);
        self.rows
            .values()
            .filter(|row| row.record.due_at.is_some())
            .filter(free)
            .filter_map(|row| row.record.due_at)
            .min()
    }

    fn reclaim(&mut self, flights: &Flights, now: UnixMillis) {
        for id in flights.take_abandoned() {
            if let Some(row) = self.rows.get_mut(&id) {
                row.reclaim(now);
            }
        }
    }

    pub(super) fn wake_later_than(&mut self, at: UnixMillis, now: UnixMillis) -> u64 {
        let later = self.rows.values_mut().filter(|row| row.record.due_at.is_some_and(|due_at| due_at > at.max(now)));
        later.map(|row| row.record.due_at = Some(now)).count() as u64
    }

    pub(super) fn acknowledge(&mut self, order_id: &str, now: UnixMillis) -> u64 {
        self.acknowledged.entry(rules::subject_key(order_id)).or_insert(now);
        let newest = &self.newest;
        let pushes = self.rows.values_mut().filter(|row| {
            row.record.state == State::Settled
                && row.record.kind == Kind::Push
                && row.record.subject.as_deref() == Some(order_id)
                && newest.get(&row.record.fingerprint) == Some(&row.record.id)
        });
        let mut concerned = 0;
        for push in pushes {
            let settled_at = push.record.ended_at.unwrap_or(now);
            push.replay_until = Some(rules::replay_until(&push.notice.policy, settled_at, true));
            concerned += 1;
        }
        concerned
    }

    pub(super) fn replay(&mut self, id: NoticeId, now: UnixMillis) -> Result<(), LedgerError> {
        let row = self.rows.get_mut(&id).filter(|row| row.record.obstacle().is_none());
        let row = row.ok_or(LedgerError::NotReplayable(id))?;
        self.bytes -= row.bytes();
        self.counts.moved(1, row.record.state, State::Pending);
        row.reopen(now);
        self.bytes += row.bytes();
        Ok(())
    }

    pub(super) fn list(&self, filter: &Filter) -> Vec<Record> {
        let wanted = |record: &&Record| {
            filter.state.is_none_or(|state| record.state == state)
                && filter.kind.is_none_or(|kind| record.kind == kind)
                && filter.before.is_none_or(|before| record.id < before)
                && (filter.subject.is_none() || record.subject == filter.subject)
                && (!filter.undelivered || record.is_newest && record.state != State::Settled)
                && filter.accepted_from.is_none_or(|from| record.accepted_at >= from)
                && filter.accepted_before.is_none_or(|before| record.accepted_at < before)
        };
        let newest_first = self.rows.values().rev().map(|row| &row.record);
        newest_first.filter(wanted).take(filter.limit.min(LISTED_RECORDS_MAX) as usize).cloned().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let pending = self.rows.values().find(|row| row.record.state == State::Pending);
        Counts { oldest_pending: pending.map(|row| row.record.accepted_at), ..self.counts }
    }

    pub(super) fn sweep(&mut self, retention: &Retention, now: UnixMillis) -> Swept {
        let slice = retention.slice as usize;
        let old: Vec<NoticeId> = self.ids(slice, |row| row.is_past(retention, now));
        for id in &old {
            self.remove(*id);
        }
        let full: Vec<NoticeId> = self.ids(slice - old.len(), |row| {
            row.record.state == State::Settled
                && row.record.has_request
                && row.ended_before(now, retention.keep_bodies_for)
        });
        for id in &full {
            if let Some(row) = self.rows.get_mut(id) {
                self.bytes -= row.bytes();
                row.strip();
                self.bytes += row.bytes();
            }
        }
        self.bindings.retain(|_, subjects| {
            subjects.retain(|_, at| *at > now - rules::BINDINGS_KEPT_FOR);
            !subjects.is_empty()
        });
        self.acknowledged.retain(|_, at| *at > now - rules::ACKNOWLEDGEMENTS_KEPT_FOR);
        Swept { bodies: full.len() as u64, records: old.len() as u64 }
    }

    fn ids(&self, limit: usize, wanted: impl Fn(&Row) -> bool) -> Vec<NoticeId> {
        self.rows.values().filter(|row| wanted(row)).map(|row| row.record.id).take(limit).collect()
    }

    fn remove(&mut self, id: NoticeId) {
        if let Some(row) = self.rows.remove(&id) {
            self.bytes -= row.bytes();
            if self.newest.get(&row.record.fingerprint) == Some(&id) {
                self.newest.remove(&row.record.fingerprint);
            }
        }
    }
}
