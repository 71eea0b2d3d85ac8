//! What a connection is doing, and whether it takes too long over it. Pure: it is told the time.
//!
//! Deadlines are not armed and disarmed with every byte. The connection's one timer looks here from time to time, never
//! later than the shortest limit after the last look: a state that was entered since then cannot be late before the
//! next look, which then knows exactly when to come again.

use std::time::Duration;

use tokio::time::Instant;

/// How long a caller may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head_within: Duration,
    pub(super) idle_for_at_most: Duration,
    pub(super) write_stall_at_most: Duration,
}

impl Patience {
    /// No state can be late sooner than this.
    pub(super) fn shortest(&self) -> Duration {
        self.head_within.min(self.idle_for_at_most).min(self.write_stall_at_most)
    }
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    /// HTTP/2: since when its first bytes are waited for.
    preface_since: Option<Instant>,
    /// HTTP/1.1: when the first byte of an unfinished head came.
    head_since: Option<Instant>,
    /// Requests whose reply is not over.
    requests: usize,
    /// When the last one ended.
    idle_since: Instant,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
    /// Replies of which a piece waits for the caller to make room.
    waiting_replies: usize,
    /// When the caller last made room.
    taken_at: Instant,
    /// Since when it is being closed.
    closing_since: Option<Instant>,
}

/// What a look found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// All is well; look again then at the latest.
    Fine { again: Instant },
    /// A head is not complete in time.
    SlowHead,
    /// Nothing happened for too long.
    Idle,
    /// The caller does not take what it is sent, or does not speak, or does not close.
    Stuck,
}

impl Activity {
    /// A connection that may speak now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            preface_since: None,
            head_since: None,
            requests: 0,
            idle_since: now,
            blocked_since: None,
            waiting_replies: 0,
            taken_at: now,
            closing_since: None,
        }
    }

    pub(super) fn preface_awaited(&mut self, now: Instant) {
        self.preface_since = Some(now);
    }

    pub(super) fn preface_came(&mut self) {
        self.preface_since = None;
    }

    pub(super) fn head_began(&mut self, at: Instant) {
        self.head_since.get_or_insert(at);
    }

    /// The head is over, one way or the other; says when it began.
    pub(super) fn head_ended(&mut self) -> Option<Instant> {
        self.head_since.take()
    }

    pub(super) fn request_began(&mut self) {
        self.requests += 1;
    }

    pub(super) fn request_ended(&mut self, now: Instant) {
        self.requests = self.requests.saturating_sub(1);
        self.idle_since = now;
    }

    /// Requests whose reply is not over.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// Whether a part of a head is here.
    pub(super) fn reads_head(&self) -> bool {
        self.head_since.is_some()
    }

    pub(super) fn write_blocked(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    pub(super) fn write_advanced(&mut self) {
        self.blocked_since = None;
    }

    /// A reply has a piece that waits for room.
    pub(super) fn piece_offered(&mut self, now: Instant) {
        if self.waiting_replies == 0 {
            self.taken_at = now;
        }
        self.waiting_replies += 1;
    }

    /// The caller made room for such a piece, or its reply is over.
    pub(super) fn piece_taken(&mut self, now: Instant) {
        self.waiting_replies = self.waiting_replies.saturating_sub(1);
        self.taken_at = now;
    }

    pub(super) fn closing(&mut self, now: Instant) {
        self.closing_since.get_or_insert(now);
    }

    /// Whether something takes too long.
    pub(super) fn look(&self, now: Instant, patience: &Patience) -> Look {
        let nothing_runs = self.requests == 0;
        let stalled_for = patience.write_stall_at_most;
        // A head whose bytes came while an earlier request was still served has its time from then on: until then
        // nobody was reading.
        let head = self.head_since.filter(|_| nothing_runs).map(|began| began.max(self.idle_since));
        let idle = (nothing_runs && head.is_none() && self.closing_since.is_none()).then_some(self.idle_since);
        let closing = self.closing_since.filter(|_| nothing_runs).map(|since| since.max(self.idle_since));
        let deadlines = [
            (self.preface_since, patience.head_within, Look::Stuck),
            (self.blocked_since, stalled_for, Look::Stuck),
            ((self.waiting_replies > 0).then_some(self.taken_at), stalled_for, Look::Stuck),
            (closing, stalled_for, Look::Stuck),
            (head, patience.head_within, Look::SlowHead),
            (idle, patience.idle_for_at_most, Look::Idle),
        ];
        let mut again = now + patience.shortest();
        for (since, limit, late) in deadlines {
            let Some(since) = since else { continue };
            if since + limit <= now {
                return late;
            }
            again = again.min(since + limit);
        }
        Look::Fine { again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head_within: Duration::from_secs(10),
        idle_for_at_most: Duration::from_secs(60),
        write_stall_at_most: Duration::from_secs(30),
    };

    /// The seconds at which a timer looks, and what it finds at last, if nothing else happens.
    fn looks(activity: &Activity, start: Instant) -> (Vec<u64>, Look) {
        let (mut at, mut seconds) = (start, Vec::new());
        for _ in 0..100 {
            match activity.look(at, &PATIENCE) {
                Look::Fine { again } => at = again,
                late => return (seconds, late),
            }
            seconds.push((at - start).as_secs());
        }
        (seconds, Look::Fine { again: at })
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn an_idle_connection_is_late_exactly_at_its_limit() {
        let start = Instant::now();
        assert_eq!(looks(&Activity::new(start), start), (vec![10, 20, 30, 40, 50, 60], Look::Idle));
    }

    #[test]
    fn a_head_that_begins_between_two_looks_is_late_exactly_at_its_limit() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.head_began(after(start, 3));
        activity.head_began(after(start, 9));
        assert_eq!(looks(&activity, start), (vec![10, 13], Look::SlowHead));
        assert_eq!(activity.head_ended(), Some(after(start, 3)));
        assert_eq!(looks(&activity, start).1, Look::Idle);
    }

    #[test]
    fn while_a_request_is_served_nothing_is_idle_and_no_head_is_slow() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.request_began();
        activity.head_began(start);
        assert!(matches!(looks(&activity, start).1, Look::Fine { .. }));
        activity.request_ended(after(start, 500));
        assert_eq!(looks(&activity, after(start, 500)), (vec![10], Look::SlowHead));
    }

    #[test]
    fn a_caller_that_takes_nothing_is_stuck_even_while_a_request_is_served() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.request_began();
        activity.write_blocked(after(start, 5));
        activity.write_blocked(after(start, 6));
        assert_eq!(looks(&activity, start), (vec![10, 20, 30, 35], Look::Stuck));
        activity.write_advanced();
        assert!(matches!(looks(&activity, start).1, Look::Fine { .. }));

        activity.piece_offered(start);
        activity.piece_offered(start);
        activity.piece_taken(after(start, 7));
        assert_eq!(looks(&activity, start), (vec![10, 20, 30, 37], Look::Stuck));
        activity.piece_taken(after(start, 8));
        assert!(matches!(looks(&activity, start).1, Look::Fine { .. }));
    }

    #[test]
    fn the_first_bytes_and_the_close_have_their_time_too() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.preface_awaited(start);
        assert_eq!(looks(&activity, start), (vec![10], Look::Stuck));
        activity.preface_came();
        activity.closing(start);
        assert_eq!(looks(&activity, start), (vec![10, 20, 30], Look::Stuck));
        activity.request_began();
        assert!(matches!(looks(&activity, start).1, Look::Fine { .. }), "a reply may be finished first");
    }
}
