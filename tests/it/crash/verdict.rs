//! What a crash test proves: from what the senders were told, what the shop saw, and when the process died.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use super::senders::Sent;
use crate::support::shop::Seen;

/// The figures, and everything that must not have happened.
#[derive(Debug, Default)]
pub struct Verdict {
    sent: usize,
    answered: usize,
    delivered: usize,
    /// Second requests after a 2xx, after a crash: with the mark of a redelivery, and as the sender's own call.
    repeated: (usize, usize),
    lost: Vec<String>,
    at_once_in_one_life: Vec<String>,
    again_in_one_life: Vec<String>,
}

impl Verdict {
    /// `ends` says how each subject's newest record ended. Every process knew the shop by a door of its own.
    pub fn of(sent: &[Sent], requests: &[Seen], ends: &HashMap<String, String>) -> Self {
        let delivered = delivered(requests);
        let mut verdict = Self {
            sent: sent.len(),
            answered: sent.iter().filter(|notice| notice.answered).count(),
            delivered: delivered.len(),
            lost: lost(sent, &delivered, ends),
            ..Self::default()
        };
        by_notice(requests).values().for_each(|seen| verdict.judge(seen));
        verdict
    }

    /// Looks at all requests of one notice, in the order in which they came.
    fn judge(&mut self, requests: &[&Seen]) {
        for (place, later) in requests.iter().enumerate() {
            let earlier = &requests[..place];
            let of_this_life = || earlier.iter().filter(|seen| seen.door == later.door);
            if of_this_life().any(|seen| seen.done_at.is_none_or(|done_at| done_at > later.at)) {
                self.at_once_in_one_life.push(subject(later));
            }
            if of_this_life().any(|seen| succeeded(seen)) {
                self.again_in_one_life.push(subject(later));
            }
            if earlier.iter().any(|seen| succeeded(seen)) {
                let count = if later.is_redelivery() { &mut self.repeated.0 } else { &mut self.repeated.1 };
                *count += 1;
            }
        }
    }

    /// Fails the test unless everything held.
    pub fn holds(&self) {
        let broken = [&self.lost, &self.at_once_in_one_life, &self.again_in_one_life];
        assert!(broken.iter().all(|list| list.is_empty()), "{self:#?}");
        assert!(self.answered > 0 && self.delivered > 0, "nothing happened: {self:#?}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, delivered, repeated: (marked, own), lost, .. } = self;
        write!(
            f,
            "sent {sent}, answered 2xx {answered}, delivered {delivered}, repeated after a crash {marked} marked "
        )?;
        write!(f, "and {own} by the sender, lost {}", lost.len())
    }
}

/// Everything that the shop said 2xx to.
pub fn delivered(requests: &[Seen]) -> HashSet<String> {
    requests.iter().filter(|seen| succeeded(seen)).map(subject).collect()
}

/// What a sender was promised and the shop never got. A push is left to its sender's own repeat when nobody knows
/// whether the shop saw it; that is visible.
pub fn lost(sent: &[Sent], delivered: &HashSet<String>, ends: &HashMap<String, String>) -> Vec<String> {
    let is_left = |notice: &Sent| notice.is_push && ends.get(&notice.subject).is_some_and(|end| end == "left");
    let promised = sent.iter().filter(|notice| notice.answered);
    let lost = promised.filter(|notice| !delivered.contains(&notice.subject) && !is_left(notice));
    lost.map(|notice| notice.subject.clone()).collect()
}

/// All requests of each notice, in the order in which they came.
pub fn by_notice(requests: &[Seen]) -> HashMap<&str, Vec<&Seen>> {
    let mut by_key: HashMap<&str, Vec<&Seen>> = HashMap::new();
    for seen in requests {
        by_key.entry(seen.key().expect("every callback has its key")).or_default().push(seen);
    }
    by_key
}

pub fn succeeded(seen: &Seen) -> bool {
    seen.answered.is_some_and(|status| (200..300).contains(&status))
}

/// The session or order that a request is about.
pub fn subject(seen: &Seen) -> String {
    if seen.body.is_empty() {
        let (_, rest) = seen.target.split_once("kco_wc_order_id=").expect("a push names its order");
        return rest.split('&').next().unwrap_or_default().to_owned();
    }
    let body: Value = serde_json::from_slice(&seen.body).expect("a whole body");
    let id = body.get("session_id").or_else(|| body.get("order_id"));
    id.and_then(Value::as_str).expect("a session or an order").to_owned()
}
