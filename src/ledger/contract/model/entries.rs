//! The model: records in a map, every rule written down once more, as plainly as possible.

use std::collections::{BTreeMap, HashMap};

use super::numbered;
use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Policy};
use crate::ledger::contract::upkeep::RETENTION;
use crate::ledger::contract::world::HOUR;
use crate::ledger::{Counts, NoticeId, State};

/// A record as the model sees it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u8,
    pub(super) state: State,
    pub(super) newest: bool,
    pub(super) accepted_at: UnixMillis,
    pub(super) due_at: Option<UnixMillis>,
    pub(super) ended_at: Option<UnixMillis>,
    pub(super) replay_until: Option<UnixMillis>,
    pub(super) attempts: u32,
    pub(super) repeats: u32,
    pub(super) interrupted: bool,
    pub(super) answered: bool,
    pub(super) stripped: bool,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<NoticeId, Entry>,
    pub(super) counts: Counts,
    pub(super) acknowledged: HashMap<u8, UnixMillis>,
}

impl Entry {
    pub(super) fn reclaim(&mut self) {
        if self.state == State::Pending && self.due_at.is_none() {
            self.due_at = Some(self.accepted_at);
            self.interrupted = true;
        }
    }

    pub(super) fn policy(&self) -> Policy {
        numbered(self.number).policy
    }
}

impl Model {
    pub(super) fn open(&mut self, id: NoticeId, number: u8, repeats: u32, accepted_at: UnixMillis) {
        self.counts.accepted += 1;
        self.counts.pending += 1;
        let entry = Entry {
            number,
            state: State::Pending,
            newest: true,
            accepted_at,
            due_at: None,
            ended_at: None,
            replay_until: None,
            attempts: 1,
            repeats,
            interrupted: false,
            answered: false,
            stripped: false,
        };
        assert!(self.entries.insert(id, entry).is_none(), "numbers are used once");
    }

    pub(super) fn lease(
        &mut self,
        mut busy: Vec<Fingerprint>,
        now: UnixMillis,
        limit: usize,
    ) -> Vec<(NoticeId, u32, bool, bool)> {
        let mut leased = Vec::new();
        for (id, entry) in &mut self.entries {
            let turn = numbered(entry.number).identity.turn;
            let due = entry.due_at.is_some_and(|due_at| due_at <= now);
            if leased.len() < limit && due && !busy.contains(&turn) {
                busy.push(turn);
                entry.due_at = None;
                entry.attempts += 1;
                leased.push((*id, entry.attempts, entry.interrupted, entry.answered));
            }
        }
        leased
    }

    pub(super) fn settle(&mut self, id: NoticeId, now: UnixMillis) {
        self.end(id, State::Settled, now);
        let entry = self.entries.get_mut(&id).unwrap();
        let acknowledged = self.acknowledged.contains_key(&entry.number) && entry.number < 2;
        let policy = entry.policy();
        entry.replay_until = Some(now + if acknowledged { policy.replay_acknowledged_for } else { policy.replay_for });
    }

    pub(super) fn end(&mut self, id: NoticeId, state: State, now: UnixMillis) {
        let entry = self.entries.get_mut(&id).unwrap();
        entry.state = state;
        entry.ended_at = Some(now);
        entry.due_at = None;
        entry.interrupted = false;
        self.count(State::Pending, state);
    }

    pub(super) fn count(&mut self, from: State, to: State) {
        let counts = &mut self.counts;
        for (state, step) in [(from, -1), (to, 1)] {
            let count = match state {
                State::Pending => &mut counts.pending,
                State::Settled => &mut counts.settled,
                State::Dead => &mut counts.dead,
                State::Left => &mut counts.left,
            };
            *count = count.checked_add_signed(step).unwrap();
        }
    }

    pub(super) fn wake(&mut self, now: UnixMillis) -> u64 {
        let later = self.entries.values_mut().filter(|entry| entry.due_at.is_some_and(|due_at| due_at > now));
        later.map(|entry| entry.due_at = Some(now)).count() as u64
    }

    pub(super) fn acknowledge(&mut self, number: u8, now: UnixMillis) -> u64 {
        self.acknowledged.entry(number).or_insert(now);
        let pushes = self
            .entries
            .values_mut()
            .filter(|entry| entry.number == number && number < 2 && entry.newest && entry.state == State::Settled);
        let mut concerned = 0;
        for push in pushes {
            push.replay_until = Some(push.ended_at.unwrap() + push.policy().replay_acknowledged_for);
            concerned += 1;
        }
        concerned
    }

    pub(super) fn replay(&mut self, id: NoticeId, now: UnixMillis) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let state = entry.state;
        if state == State::Pending || !entry.newest || entry.stripped {
            return false;
        }
        entry.state = State::Pending;
        entry.due_at = Some(now);
        entry.ended_at = None;
        entry.replay_until = None;
        self.count(state, State::Pending);
        true
    }

    pub(super) fn sweep(&mut self, now: UnixMillis) -> (u64, u64) {
        let ended_before = |entry: &Entry, time| entry.ended_at.is_some_and(|ended_at| ended_at <= now - time);
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            let kept_for = match entry.state {
                State::Dead => RETENTION.keep_dead_for,
                _ => RETENTION.keep_records_for,
            };
            !ended_before(entry, kept_for) || entry.replay_until.is_some_and(|until| until > now)
        });
        let bodies = self.entries.values_mut().filter(|entry| {
            entry.state == State::Settled && !entry.stripped && ended_before(entry, RETENTION.keep_bodies_for)
        });
        let bodies = bodies.map(|entry| entry.stripped = true).count();
        self.acknowledged.retain(|_, at| *at > now - 48 * HOUR);
        (bodies as u64, (before - self.entries.len()) as u64)
    }
}
