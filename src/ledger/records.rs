//! Records as people, metrics and the sweep see them: states, listings, counts, retention.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Kind};
use crate::ledger::NoticeId;

/// A record's state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Stored; being delivered, or waiting for its next attempt.
    Pending,
    /// The shop answered 2xx.
    Settled,
    /// See [`End::Dead`](super::End::Dead).
    Dead,
    /// See [`End::Left`](super::End::Left).
    Left,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Settled, Self::Dead, Self::Left];

    /// The state's name in JSON, metrics and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Settled => "settled",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

/// One record, for people. Holds no body and no header.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub id: NoticeId,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its kind.
    pub kind: Kind,
    /// The route it came in on.
    pub route: String,
    /// The session or order id.
    pub subject: Option<String>,
    /// Its state.
    pub state: State,
    /// When it was admitted.
    pub accepted_at: UnixMillis,
    /// When it ended, if it has.
    pub ended_at: Option<UnixMillis>,
    /// When it is brought to the shop again, if it waits for that.
    pub due_at: Option<UnixMillis>,
    /// Attempts so far, including a running one.
    pub attempts: u32,
    /// Earlier records of the same fingerprint that the shop answered 2xx.
    pub repeats: u32,
    /// The shop's last status, if it ever replied.
    pub status: Option<u16>,
    /// What became of the last attempt, in words: `connection refused`, `blocked by wordfence-waf`.
    pub note: Option<String>,
    /// The sender's time limit, as it was when the record was made.
    pub budget: Duration,
    /// From then on it is too old: the kind's oldest age after it was admitted, or after a person replayed it.
    pub expires_at: UnixMillis,
    /// There is no later record of the same fingerprint.
    pub is_newest: bool,
    /// Its request is still stored.
    pub has_request: bool,
}

impl Record {
    /// What stands in the way of bringing it to the shop again, if anything does.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match (self.state, self.is_newest, self.has_request) {
            (State::Pending, ..) => Some(Obstacle::Pending),
            (_, false, _) => Some(Obstacle::Superseded),
            (_, _, false) => Some(Obstacle::Swept),
            _ => None,
        }
    }
}

/// Why a record cannot be brought to the shop again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// It is at the shop, or waits to be brought there.
    Pending,
    /// There is a later record of the same fingerprint.
    Superseded,
    /// Its request is not stored any more.
    Swept,
}

impl Obstacle {
    /// The obstacle's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Superseded => "superseded",
            Self::Swept => "swept",
        }
    }
}

/// Most records of one listing.
pub const LISTED_RECORDS_MAX: u32 = 1_000;

/// Which records a listing shows. Newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<State>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only this session or order id.
    pub subject: Option<String>,
    /// Only records with a smaller number: the next page.
    pub before: Option<NoticeId>,
    /// Only what the shop never answered 2xx: the newest record of its fingerprint, and not settled.
    pub undelivered: bool,
    /// Only what was admitted then or later.
    pub accepted_from: Option<UnixMillis>,
    /// Only what was admitted before.
    pub accepted_before: Option<UnixMillis>,
    /// At most this many records.
    pub limit: u32,
}

/// How many records there are; `accepted` is always the sum of the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All records ever admitted, those already swept included.
    pub accepted: u64,
    /// Pending now.
    pub pending: u64,
    /// Settled, ever.
    pub settled: u64,
    /// Dead, ever, less those replayed since.
    pub dead: u64,
    /// Left to the sender, ever.
    pub left: u64,
    /// When the oldest pending one was admitted.
    pub oldest_pending: Option<UnixMillis>,
}

impl Counts {
    /// The number of records in a state.
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::Pending => self.pending,
            State::Settled => self.settled,
            State::Dead => self.dead,
            State::Left => self.left,
        }
    }

    /// Counts a new record.
    pub(crate) fn admitted(&mut self) {
        self.accepted += 1;
        self.pending += 1;
    }

    /// Counts `records` that went from one state to another.
    pub(crate) fn moved(&mut self, records: u64, from: State, to: State) {
        let left = self.of_mut(from);
        *left = left.saturating_sub(records);
        *self.of_mut(to) += records;
    }

    fn of_mut(&mut self, state: State) -> &mut u64 {
        match state {
            State::Pending => &mut self.pending,
            State::Settled => &mut self.settled,
            State::Dead => &mut self.dead,
            State::Left => &mut self.left,
        }
    }
}

/// How long records are kept and how large the ledger may grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Bodies of settled requests are dropped after this time.
    pub keep_bodies_for: Duration,
    /// Settled and left records are dropped after this time; never before their replay window is over.
    pub keep_records_for: Duration,
    /// Dead records are dropped after this time. Default 30 days: time enough for a person to replay them.
    pub keep_dead_for: Duration,
    /// Most records one sweep touches, so that a claim never waits behind a long delete.
    pub slice: u32,
}

/// What one sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Bodies dropped.
    pub bodies: u64,
    /// Records dropped.
    pub records: u64,
}
