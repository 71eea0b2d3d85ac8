//! What a caller was answered, and when.

use kallback::event::Class;

use super::{Moment, Promises, Visit, ms};

/// An attempt's own limit, the wait for a seat, and the ledger's: nobody waits longer, whatever is wrong.
const EVER_MS: u64 = 60_000 + 60_000 + 10_000;
/// What the simulated network and disk may add to a deadline.
const SLACK_MS: u64 = 60;

/// An answer, or a caller who gave up waiting for one.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whose.
    pub key: usize,
    /// `None`: the caller gave up.
    pub status: Option<u16>,
    /// The visit whose reply it is.
    pub visit: Option<usize>,
    /// `kallback-replayed`.
    pub replayed: bool,
    /// When its first byte came.
    pub began_ms: Option<u64>,
    /// When the caller connected.
    pub connected: Moment,
    /// When its request was complete.
    pub complete: Moment,
    /// The ledger could be written all the time.
    pub ledger_was_well: bool,
}

impl Promises {
    /// A caller was answered, or gave up. Says whether kallback answered 2xx on its own, so that it has to be on disk.
    pub fn answered(&mut self, answer: &Answer, now: Moment) -> bool {
        self.check_deadline(answer, now);
        let Some(status) = answer.status else { return false };
        match answer.visit {
            Some(visit) => {
                self.check_reply(answer, (visit, status), now);
                false
            }
            None => self.check_own_word(answer.key, status, now),
        }
    }

    fn check_deadline(&mut self, answer: &Answer, now: Moment) {
        let notice = &self.notices[answer.key];
        let since = now.ms - answer.connected.ms;
        let complete_after = answer.complete.ms - answer.connected.ms;
        let limit = match notice.kind.class() {
            Class::Question if self.comes_still(answer, now) => EVER_MS,
            Class::Question => ms(notice.policy.hard_limit),
            Class::Notice if answer.ledger_was_well && !self.joined_unrecorded(answer, now) => {
                ms(notice.policy.answer_within)
            }
            Class::Notice => EVER_MS,
        };
        if since > limit.max(complete_after) + SLACK_MS {
            let what = if answer.status.is_some() { "answered only" } else { "not answered" };
            self.broken(now, answer.key, &format!("{what} after {since} ms, the limit is {limit} ms"));
        }
    }

    /// A question's reply that began in time, and that the shop has hardly ended: it is passed on as it comes, to its
    /// last byte.
    fn comes_still(&self, answer: &Answer, now: Moment) -> bool {
        let notice = &self.notices[answer.key];
        let limit = answer.connected.ms + ms(notice.policy.hard_limit) + SLACK_MS;
        let began_in_time = answer.began_ms.is_some_and(|began| began <= limit);
        let hardly_ended = |number: usize, visit: &Visit| {
            let is_it = visit.key == answer.key && answer.visit.is_none_or(|of| of == number);
            is_it && visit.ended_ms.is_none_or(|ended| now.ms <= ended + SLACK_MS)
        };
        began_in_time && self.visits.iter().enumerate().any(|(number, visit)| hardly_ended(number, visit))
    }

    /// What was not stored when it went to the shop is answered by the shop alone, also to those who join
    /// later, and holds up whoever takes turns with it.
    fn joined_unrecorded(&self, answer: &Answer, now: Moment) -> bool {
        let is_claimed = self.notices[answer.key].claimed_in == Some(now.life);
        self.visits.iter().any(|visit| {
            let overlaps = visit.ended_ms.is_none_or(|ended| ended >= answer.connected.ms);
            let same_turn = self.notices[visit.key].turn == self.notices[answer.key].turn;
            same_turn && overlaps && (visit.unrecorded || !is_claimed)
        })
    }

    /// The shop's words have to be the shop's, for this notice.
    fn check_reply(&mut self, answer: &Answer, (visit, status): (usize, u16), now: Moment) {
        let is_so = self.visits.get(visit).is_some_and(|visit| {
            let of_this_notice = visit.key == answer.key;
            // A question's reply is passed on while it comes.
            of_this_notice && visit.replied().is_none_or(|replied| replied == status)
        });
        if !is_so {
            self.broken(now, answer.key, "the shop never said that");
        }
        let notice = &self.notices[answer.key];
        let until = notice.settled_at_best.map(|settled| settled + notice.policy.replay_for);
        let too_old = until.is_none_or(|until| answer.complete.wall > until);
        if answer.replayed && too_old && !self.jumped_lately(now) {
            self.broken(now, answer.key, "a reply was replayed after its window");
        }
    }

    /// Promise 1, and the answers that kallback may give by itself.
    fn check_own_word(&mut self, key: usize, status: u16, now: Moment) -> bool {
        let is_notice = self.notices[key].kind.class() == Class::Notice;
        match status {
            204 if is_notice => return true,
            502..=504 => {}
            _ => self.broken(now, key, &format!("kallback answered {status} by itself")),
        }
        false
    }

    /// kallback closed a connection without an answer.
    pub fn hung_up_on(&mut self, key: usize, now: Moment) {
        self.broken(now, key, "not answered, and the connection closed");
    }

    /// kallback answered 2xx on its own. `record`: the newest one that would be there after a power cut.
    pub fn gave_its_word(&mut self, key: usize, record: Option<i64>, now: Moment) {
        match record {
            Some(record) => self.notices[key].owed.push(record),
            None => self.broken(now, key, "answered 2xx by kallback itself, and not on disk"),
        }
    }

    /// What would be there after a power cut does not add up, or cannot be read.
    pub fn books_are_wrong(&mut self, what: &str, now: Moment) {
        self.violations.push(format!("at {} ms: the books are wrong: {what}", now.ms));
    }
}
