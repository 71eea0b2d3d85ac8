//! What happened lately to each callback that proved itself: attempts, joins, answers, replays. In memory, for people.
//!
//! The ledger keeps what must survive a stop; this keeps what explains it, is bounded, and is gone after a restart.
//! It lives on the same events as the counters and the log, so that the three cannot disagree. A caller who did not
//! prove itself leaves nothing here: strangers cannot push out what matters.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::day::{Answer, Day, KindOfDay};
use super::{AnsweredBy, Event};
use crate::clock::{Clock, UnixMillis};
use crate::event::Fingerprint;

/// Callbacks whose moments are kept at most; the one that was seen first goes first.
const CALLBACKS_MAX: usize = 1_000;
/// Moments of one callback at most; the oldest goes first.
const MOMENTS_MAX: usize = 40;
/// Characters of a note at most.
const NOTE_CHARS_MAX: usize = 120;

/// Something that happened to a callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// When it was over.
    pub at: UnixMillis,
    /// What.
    pub what: Happened,
}

/// What happened to a callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// One try at the shop ended.
    Attempt {
        /// The record, where there is one.
        record: Option<i64>,
        /// Which attempt it was.
        attempt: u32,
        /// `delivered`, `failed`, `unreached` or `unknown`.
        outcome: &'static str,
        /// The shop's status, if it replied.
        status: Option<u16>,
        /// How long it took.
        took: Duration,
        /// What became of it, in words.
        note: String,
    },
    /// The same notice came again and joined the one under way.
    Joined,
    /// A sender was answered.
    Answered {
        /// How the answer came about.
        by: AnsweredBy,
        /// The status that was sent.
        status: u16,
        /// From the start of the sender's clock to the answer.
        took: Duration,
    },
    /// A person had it brought again.
    ReplayOrdered {
        /// The record.
        record: i64,
    },
}

impl Moment {
    /// When it began.
    pub fn began_at(&self) -> UnixMillis {
        match &self.what {
            Happened::Attempt { took, .. } | Happened::Answered { took, .. } => self.at - *took,
            Happened::Joined | Happened::ReplayOrdered { .. } => self.at,
        }
    }

    fn record(&self) -> Option<i64> {
        match &self.what {
            Happened::Attempt { record, .. } => *record,
            Happened::ReplayOrdered { record } => Some(*record),
            Happened::Joined | Happened::Answered { .. } => None,
        }
    }
}

/// What happened since the process started, as far as it is kept.
#[derive(Debug)]
pub struct History {
    clock: Clock,
    since: UnixMillis,
    changes: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    moments: HashMap<Fingerprint, VecDeque<Moment>>,
    /// The keys of `moments` in the order in which they came.
    order: VecDeque<Fingerprint>,
    day: Day,
}

impl History {
    /// Nothing happened yet.
    pub fn new(clock: Clock) -> Self {
        Self { since: clock.now(), clock, changes: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// When it began to be kept.
    pub fn since(&self) -> UnixMillis {
        self.since
    }

    /// Grows with everything that is noted: whoever looks again sees whether something happened.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// What happened to a record. One fingerprint can have several records, one after the other: what names none
    /// belongs to the record that was the newest at the time.
    pub fn of(&self, fingerprint: Fingerprint, record: i64, accepted_at: UnixMillis) -> Vec<Moment> {
        let kept = self.lock();
        let Some(moments) = kept.moments.get(&fingerprint) else { return Vec::new() };
        let later = moments.iter().filter(|moment| moment.record().is_some_and(|other| other > record));
        let until = later.map(Moment::began_at).min();
        let is_its_own = |moment: &&Moment| match moment.record() {
            Some(other) => other == record,
            None => moment.at >= accepted_at && until.is_none_or(|until| moment.at < until),
        };
        moments.iter().filter(is_its_own).cloned().collect()
    }

    /// The last 24 hours of every kind that came.
    pub fn day(&self) -> Vec<KindOfDay> {
        self.lock().day.kinds(self.clock.now())
    }

    /// Keeps what the event says of a callback.
    pub(super) fn note(&self, event: &Event<'_>) {
        // Nearly every event is one of traffic, of which nothing is kept: it pays for no look at the clock.
        let now = || self.clock.now();
        match *event {
            Event::CallbackAnswered { kind, answered_by: by, status, took, budget, fingerprint, .. } => {
                let at = now();
                let mut kept = self.lock();
                kept.day.answered(kind, Answer { by, took, budget }, at);
                if let Some(fingerprint) = fingerprint {
                    kept.keep(fingerprint, Moment { at, what: Happened::Answered { by, status, took } });
                }
            }
            // What joins nothing is answered from the record: that answer says so.
            Event::Duplicate { state: "in_flight", fingerprint, .. } => {
                self.lock().keep(fingerprint, Moment { at: now(), what: Happened::Joined });
            }
            Event::Attempt { record, attempt, outcome, status, took, note, fingerprint, .. } => {
                let note = note.chars().take(NOTE_CHARS_MAX).collect();
                let what = Happened::Attempt { record, attempt, outcome, status, took, note };
                self.lock().keep(fingerprint, Moment { at: now(), what });
            }
            Event::ReplayOrdered { record, fingerprint, .. } => {
                self.lock().keep(fingerprint, Moment { at: now(), what: Happened::ReplayOrdered { record } });
            }
            // The record's state says it; only the change is of interest.
            Event::Ended { .. } => {}
            _ => return,
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, fingerprint: Fingerprint, moment: Moment) {
        if !self.moments.contains_key(&fingerprint) {
            if self.order.len() >= CALLBACKS_MAX
                && let Some(first) = self.order.pop_front()
            {
                self.moments.remove(&first);
            }
            self.order.push_back(fingerprint);
        }
        let moments = self.moments.entry(fingerprint).or_default();
        if moments.len() >= MOMENTS_MAX {
            moments.pop_front();
        }
        moments.push_back(moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn attempt(record: i64, attempt: u32, fingerprint: Fingerprint) -> Event<'static> {
        let took = Duration::from_millis(40);
        Event::Attempt {
            kind: Kind::Push,
            outcome: "failed",
            record: Some(record),
            attempt,
            status: Some(500),
            took,
            note: "",
            fingerprint,
            span: None,
        }
    }

    fn fingerprint(number: usize) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Fingerprint(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn every_record_of_one_fingerprint_has_its_own_moments() {
        let clock = Clock::simulated(UnixMillis(1_000_000));
        let history = History::new(clock.clone());
        let one = fingerprint(1);
        let joined = Event::Duplicate { kind: Kind::Push, state: "in_flight", fingerprint: one };
        let pass = async || tokio::time::advance(Duration::from_secs(1)).await;
        let first_at = clock.now();
        history.note(&joined);
        pass().await;
        history.note(&attempt(7, 1, one));
        pass().await;
        let second_at = clock.now();
        pass().await;
        history.note(&attempt(9, 1, one));
        history.note(&joined);
        history.note(&joined);

        assert_eq!(history.of(one, 7, first_at).len(), 2);
        assert_eq!(history.of(one, 9, second_at).len(), 3);
        assert_eq!(history.of(fingerprint(2), 7, first_at), []);
        assert_eq!(history.changes(), 5);
    }

    #[tokio::test]
    async fn neither_callbacks_nor_their_moments_grow_without_bound() {
        let history = History::new(Clock::simulated(UnixMillis(1_000_000)));
        for number in 0..u32::try_from(MOMENTS_MAX).unwrap() + 5 {
            history.note(&attempt(1, number, fingerprint(0)));
        }
        let moments = history.of(fingerprint(0), 1, UnixMillis(0));
        assert_eq!(moments.len(), MOMENTS_MAX);
        assert!(matches!(moments[0].what, Happened::Attempt { attempt: 5, .. }), "the oldest goes first");
        for number in 1..=CALLBACKS_MAX {
            history.note(&attempt(1, 1, fingerprint(number)));
        }
        assert_eq!(history.of(fingerprint(0), 1, UnixMillis(0)), []);
        assert_eq!(history.of(fingerprint(1), 1, UnixMillis(0)).len(), 1);
        assert_eq!(history.lock().moments.len(), CALLBACKS_MAX);
    }
}
