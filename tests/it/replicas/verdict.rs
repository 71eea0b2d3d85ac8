//! What the proof with replicas shows: nothing lost, and nothing twice without a mark.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::crash::senders::Sent;
use crate::crash::verdict::{by_notice, delivered, lost, subject, succeeded};
use crate::support::shop::Seen;

use super::replica::Woken;

/// What was about to leave has left by then.
const A_MOMENT: Duration = Duration::from_secs(2);

/// The figures, and everything that must not have happened.
#[derive(Debug, Default)]
pub struct Verdict {
    sent: usize,
    answered: usize,
    delivered: usize,
    /// Second requests after a 2xx, or beside the first: brought again by kallback after a crash, a pause or a cut, with
    /// the mark of a redelivery.
    marked: usize,
    /// The same where one of the two was passed without a record, because that replica had no ledger, with that mark.
    unrecorded: usize,
    /// Pushes that were left to the sender's own repeat, and which the sender repeated.
    left: usize,
    /// Requests that were just about to leave when their process stood still for longer than its lease: nobody but the
    /// shop could keep them out, by their `idempotency-key`.
    late: usize,
    lost: Vec<String>,
    twice: Vec<String>,
}

impl Verdict {
    /// `ends` says how each subject's newest record ended.
    pub fn of(sent: &[Sent], requests: &[Seen], ends: &HashMap<String, String>, woken: &[Woken]) -> Self {
        let delivered = delivered(requests);
        let mut verdict = Self {
            sent: sent.len(),
            answered: sent.iter().filter(|notice| notice.answered).count(),
            delivered: delivered.len(),
            lost: lost(sent, &delivered, ends),
            ..Self::default()
        };
        by_notice(requests).values().for_each(|seen| verdict.judge(seen, woken));
        verdict
    }

    /// Looks at all requests of one notice, in the order in which they came.
    fn judge(&mut self, requests: &[&Seen], woken: &[Woken]) {
        let is_unrecorded = |seen: &Seen| seen.header("kallback-unrecorded").is_some();
        for (place, later) in requests.iter().enumerate() {
            let is_open = |seen: &Seen| seen.done_at.is_none_or(|done_at| done_at > later.at) && !seen.caller_left;
            let before: Vec<_> = requests[..place].iter().filter(|seen| succeeded(seen) || is_open(seen)).collect();
            let is_left = || before.iter().all(|seen| seen.door != later.door || seen.caller_left);
            let is_late =
                |one: &Woken| later.door == Some(one.door) && one.at <= later.at && later.at - one.at < A_MOMENT;
            if before.is_empty() {
                continue;
            } else if later.is_redelivery() {
                self.marked += 1;
            } else if is_unrecorded(later) || before.iter().any(|seen| is_unrecorded(seen)) {
                self.unrecorded += 1;
            } else if woken.iter().any(is_late) {
                self.late += 1;
            } else if later.body.is_empty() && is_left() {
                self.left += 1;
            } else {
                self.twice.push(subject(later));
            }
        }
    }

    /// Fails the test unless everything held.
    pub fn holds(&self) {
        assert!(self.lost.is_empty() && self.twice.is_empty(), "{self:#?}");
        assert!(self.answered > 0 && self.delivered > 0, "nothing happened: {self:#?}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, delivered, marked, unrecorded, left, late, lost, twice } = self;
        write!(f, "sent {sent}, answered 2xx {answered}, delivered {delivered}, lost {}, ", lost.len())?;
        write!(f, "twice without a mark {}, marked repeats {marked}, ", twice.len())?;
        write!(f, "beside one without a record {unrecorded}, pushes left and repeated by the sender {left}, ")?;
        write!(f, "late after a pause {late}")
    }
}
