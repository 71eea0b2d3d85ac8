//! The model: what each promise allows, checked whenever something happens.
//!
//! It knows kallback only from outside (what callers were answered, what the shop saw, what would be left after a power
//! cut) and by the ledger's own word that it recorded something, which it then holds the disk to.

mod answers;
mod ends;

use std::time::Duration;

use kallback::clock::UnixMillis;
use kallback::event::{Class, Fingerprint, Kind, Policy, Redelivery};

use crate::ledger::{Entry, Fact};

pub use answers::Answer;
pub use ends::Row;

/// A shop request is cut after this time and not before.
const ATTEMPT_TIMEOUT_MS: u64 = 60_000;
/// Attempts of kallback's own at once.
const REDELIVERIES_MAX: usize = 4;
/// Requests at the shop at once.
const SEATS: usize = 16;
/// After a success everything is due as soon as the ledger can write that, however slow it is.
const WAKING_MS_MAX: u64 = 10_000;
/// `Retry-After` counts up to this.
const RETRY_AFTER_MS_MAX: u64 = 300_000;

/// A connection that served before may serve a callback within this time.
const JUST_USED_MS_MAX: u64 = 1_000;

/// When something happens, on all clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The world's time.
    pub ms: u64,
    /// kallback's wall clock.
    pub wall: UnixMillis,
    /// How often kallback has been started.
    pub life: u32,
}

/// What the model knows.
#[derive(Debug, Default)]
pub struct Promises {
    notices: Vec<Known>,
    visits: Vec<Visit>,
    /// What was broken.
    pub violations: Vec<String>,
    /// When the wall clock jumped last.
    pub jumped_ms: Option<u64>,
    /// When the shop last answered 2xx to a notice.
    delivered_ms: Option<u64>,
    /// kallback was killed at least once.
    pub was_killed: bool,
}

/// One notice or question.
#[derive(Debug)]
struct Known {
    kind: Kind,
    policy: Policy,
    turn: usize,
    fingerprint: Option<Fingerprint>,
    /// Whole requests that reached kallback, less attempts in their name.
    calls_unused: i64,
    last_attempt: u32,
    /// The visits of the record that holds now.
    of_record: Vec<usize>,
    /// Visits with a lower number belong to earlier attempts.
    attempt_from: usize,
    /// The life in which a claim is held, as far as the ledger said.
    claimed_in: Option<u32>,
    /// The shop's 2xx arrived while a claim was held, and it was not recorded yet: in this life.
    accepted_in: Option<u32>,
    settled: Option<UnixMillis>,
    /// It was about to be recorded; whether it was, only the disk knows.
    settled_at_best: Option<UnixMillis>,
    was_delivered: bool,
    /// The records for which kallback answered 2xx on its own.
    owed: Vec<i64>,
    not_before_ms: Option<u64>,
}

/// A request at the shop.
#[derive(Debug)]
pub struct Visit {
    /// Whose.
    pub key: usize,
    marked: bool,
    /// The ledger had not stored it: nobody may answer for the shop.
    unrecorded: bool,
    began: Moment,
    ended_ms: Option<u64>,
    reply: Option<ShopAnswer>,
    over: bool,
}

/// What the shop answered.
#[derive(Clone, Copy, Debug)]
pub struct ShopAnswer {
    /// The status.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    ms: u64,
}

/// What a request says of itself when it reaches the shop.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    /// Whose.
    pub key: usize,
    /// `kallback-attempt`.
    pub attempt: Option<u32>,
    /// `kallback-redelivery`.
    pub marked: bool,
    /// `kallback-unrecorded`: it went straight through.
    pub unrecorded: bool,
    /// The ledger may fail, or be slow: then callbacks go straight through.
    pub ledger_is_ill: bool,
    /// So long its connection was idle, if it had served before.
    pub idle_ms: Option<u64>,
}

/// How a visit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VisitEnd {
    /// The whole reply was sent.
    Replied(u16, Option<u64>),
    /// The shop broke off.
    Broken,
    /// kallback closed the connection.
    Cut,
    /// kallback was killed.
    Killed,
}

impl Promises {
    /// A notice or question that will be sent. Says its key.
    pub fn expect(&mut self, kind: Kind, turn: usize) -> usize {
        self.notices.push(Known {
            kind,
            policy: kind.defaults(),
            turn,
            fingerprint: None,
            calls_unused: 0,
            last_attempt: 0,
            of_record: Vec::new(),
            attempt_from: 0,
            claimed_in: None,
            accepted_in: None,
            settled: None,
            settled_at_best: None,
            was_delivered: false,
            owed: Vec::new(),
            not_before_ms: None,
        });
        self.notices.len() - 1
    }

    /// Its fingerprint, once kallback said it.
    pub fn fingerprint(&self, key: usize) -> Option<Fingerprint> {
        self.notices[key].fingerprint
    }

    /// A whole request reached kallback.
    pub fn called(&mut self, key: usize) {
        self.notices[key].calls_unused += 1;
    }

    /// The ledger says something.
    pub fn recorded(&mut self, entry: &Entry, now: Moment) {
        let not_before_ms = self.notices[entry.key].not_before_ms;
        if entry.fact == Fact::Leased && not_before_ms.is_some_and(|at| now.ms + 5 < at) {
            self.broken(now, entry.key, "brought again before the shop's Retry-After");
        }
        let visits = &self.visits;
        let notice = &mut self.notices[entry.key];
        notice.fingerprint = Some(entry.fingerprint);
        if !matches!(entry.fact, Fact::Asked | Fact::Settling) {
            notice.claimed_in = matches!(entry.fact, Fact::Claimed | Fact::Leased).then_some(now.life);
        }
        match entry.fact {
            Fact::Asked => {}
            Fact::Claimed => {
                notice.of_record.clear();
                notice.attempt_from = visits.len();
                (notice.last_attempt, notice.not_before_ms, notice.accepted_in) = (0, None, None);
            }
            Fact::Leased => {
                notice.not_before_ms = None;
                notice.attempt_from = visits.len();
            }
            Fact::Settling => notice.settled_at_best = Some(entry.wall),
            Fact::Settled => {
                notice.settled = Some(entry.wall);
                notice.accepted_in = None;
            }
            Fact::Postponed => {
                let of_attempt = notice.of_record.last().filter(|visit| **visit >= notice.attempt_from);
                let last = of_attempt.and_then(|visit| visits[*visit].reply);
                // A clock that jumped, or a success that wakes everything, may have come in between.
                let stirred = self.jumped_ms.max(self.delivered_ms);
                let last = last.filter(|reply| stirred.is_none_or(|at| at + WAKING_MS_MAX < reply.ms));
                notice.not_before_ms = last.and_then(|reply| {
                    let least = (reply.retry_after? * 1_000).min(RETRY_AFTER_MS_MAX);
                    Some(reply.ms + least)
                });
            }
            Fact::Closed => notice.accepted_in = None,
        }
    }

    /// Everything that waits may go now: the shop is back, or the wall clock jumped.
    pub fn all_due(&mut self) {
        self.notices.iter_mut().for_each(|notice| notice.not_before_ms = None);
    }

    /// A request is at the shop, whole. Says the number of the visit.
    pub fn visit_began(&mut self, arriving: Arriving, now: Moment) -> usize {
        let number = self.visits.len();
        self.check_alone(arriving, now);
        self.check_connection(arriving, now);
        if self.notices[arriving.key].kind.class() == Class::Notice {
            self.check_record(arriving, now);
            self.check_window(arriving, now);
            self.check_mark(arriving, now);
        } else if arriving.marked || arriving.attempt.is_some() {
            self.broken(now, arriving.key, "a question was brought as if it were a notice");
        }
        let notice = &mut self.notices[arriving.key];
        notice.calls_unused -= i64::from(!arriving.marked);
        let asked_too_often = notice.calls_unused < 0;
        if !arriving.unrecorded {
            notice.last_attempt = arriving.attempt.unwrap_or(1);
            notice.of_record.push(number);
        }
        if asked_too_often {
            self.broken(now, arriving.key, "more requests in the sender's name than the sender made");
        }
        let Arriving { key, marked, unrecorded, .. } = arriving;
        self.visits.push(Visit { key, marked, unrecorded, began: now, ended_ms: None, reply: None, over: false });
        number
    }

    /// Promise 3: one at a time, and not more than the shop has room for.
    fn check_alone(&mut self, arriving: Arriving, now: Moment) {
        let turn = self.notices[arriving.key].turn;
        let open: Vec<&Visit> = self.visits.iter().filter(|visit| !visit.over).collect();
        let is_notice = self.notices[arriving.key].kind.class() == Class::Notice;
        let same = open.iter().any(|visit| visit.key == arriving.key);
        let same_turn = open.iter().any(|visit| self.notices[visit.key].turn == turn);
        let marked = open.iter().filter(|visit| visit.marked).count() + usize::from(arriving.marked);
        let seats = open.len() + 1;
        if is_notice && same {
            self.broken(now, arriving.key, "two requests of one notice are at the shop at once");
        } else if is_notice && same_turn {
            self.broken(now, arriving.key, "two notices of one session are at the shop at once");
        }
        if marked > REDELIVERIES_MAX {
            self.broken(now, arriving.key, "too many attempts of kallback's own at once");
        }
        if seats > SEATS {
            self.broken(now, arriving.key, "more requests at the shop than it has seats");
        }
    }

    /// On a connection that may be dying goes only what kallback brings again after any failure, and only a moment after
    /// the shop answered there.
    fn check_connection(&mut self, arriving: Arriving, now: Moment) {
        let Some(idle_ms) = arriving.idle_ms else { return };
        let policy = &self.notices[arriving.key].policy;
        let comes_again = policy.redelivery == Redelivery::AnyFailure && !arriving.unrecorded;
        if !comes_again || arriving.marked {
            self.broken(now, arriving.key, "brought on a connection that had served before");
        } else if idle_ms >= JUST_USED_MS_MAX {
            self.broken(now, arriving.key, "brought on a connection that was idle for too long");
        }
    }

    /// Promise 5: without a record only while the ledger fails. Else only with a claim.
    fn check_record(&mut self, arriving: Arriving, now: Moment) {
        if arriving.unrecorded && !arriving.ledger_is_ill {
            self.broken(now, arriving.key, "passed on without a record, and the ledger is well");
        } else if !arriving.unrecorded && self.notices[arriving.key].claimed_in != Some(now.life) {
            self.broken(now, arriving.key, "brought to the shop without a claim");
        }
    }

    /// Promise 3: no second one after a 2xx within the window, not even after a crash once it was recorded.
    fn check_window(&mut self, arriving: Arriving, now: Moment) {
        let notice = &self.notices[arriving.key];
        let in_window = notice.settled.is_some_and(|settled| now.wall < settled + notice.policy.replay_for);
        let in_the_air = notice.accepted_in == Some(now.life);
        let unmarked_repeat = notice.accepted_in.is_some() && !in_the_air && !arriving.marked;
        // What fails cannot say what it knows.
        let straight_through = arriving.unrecorded && arriving.ledger_is_ill;
        if in_window && !straight_through && !self.jumped_lately(now) {
            self.broken(now, arriving.key, "a second request after a recorded 2xx, within the window");
        } else if in_the_air {
            self.broken(now, arriving.key, "a second request after a 2xx that is not recorded yet");
        } else if unmarked_repeat && !straight_through {
            self.broken(now, arriving.key, "a repeat after a crash that does not say so");
        }
    }

    /// Section 6: an attempt of kallback's own is marked, numbered, and allowed for its kind.
    fn check_mark(&mut self, arriving: Arriving, now: Moment) {
        let notice = &self.notices[arriving.key];
        let attempt = arriving.attempt.unwrap_or(0);
        let numbered = if arriving.marked { attempt > notice.last_attempt.max(1) } else { attempt == 1 };
        let allowed = match notice.policy.redelivery {
            Redelivery::AnyFailure => true,
            Redelivery::OnlyUnreached => notice.of_record.iter().all(|visit| self.visits[*visit].was_turned_away()),
            Redelivery::Never => false,
        };
        if !numbered {
            self.broken(now, arriving.key, &format!("attempt {attempt} is out of order or not marked"));
        }
        if arriving.marked && !allowed {
            self.broken(now, arriving.key, "brought again although the shop may have had it");
        }
    }

    /// A visit is over.
    pub fn visit_ended(&mut self, number: usize, end: VisitEnd, now: Moment) {
        let visit = &mut self.visits[number];
        if std::mem::replace(&mut visit.over, true) {
            return;
        }
        visit.ended_ms = Some(now.ms);
        let (key, took) = (visit.key, now.ms - visit.began.ms);
        match end {
            VisitEnd::Replied(status, retry_after) => {
                visit.reply = Some(ShopAnswer { status, retry_after, ms: now.ms });
                if (200..300).contains(&status) {
                    let notice = &mut self.notices[key];
                    notice.was_delivered = true;
                    notice.accepted_in = notice.claimed_in.filter(|life| *life == now.life);
                    self.delivered_ms = Some(now.ms);
                    self.all_due();
                }
            }
            VisitEnd::Cut if self.notices[key].kind.class() == Class::Notice && took + 50 < ATTEMPT_TIMEOUT_MS => {
                self.broken(now, key, &format!("the call to the shop was cut after {took} ms"));
            }
            VisitEnd::Cut | VisitEnd::Broken | VisitEnd::Killed => {}
        }
    }

    /// The visit's owner.
    pub fn visit(&self, number: usize) -> Option<&Visit> {
        self.visits.get(number)
    }

    fn jumped_lately(&self, now: Moment) -> bool {
        self.jumped_ms.is_some_and(|at| now.ms < at + 70_000)
    }

    fn broken(&mut self, now: Moment, key: usize, what: &str) {
        let kind = self.notices[key].kind;
        self.violations.push(format!("at {} ms, {kind} {key}: {what}", now.ms));
    }
}

impl Visit {
    /// A front server answered: certainly the shop did not act on it.
    fn was_turned_away(&self) -> bool {
        self.reply.is_some_and(|reply| matches!(reply.status, 429 | 502 | 503))
    }

    fn replied(&self) -> Option<u16> {
        self.reply.map(|reply| reply.status)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
