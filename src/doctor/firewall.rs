//! Did a firewall or a security plugin answer in the shop's place?

use super::calls::Facts;
use super::{Finding, token};
use crate::delivery::blockers::{Blocker, identify};
use crate::message::Reply;

const CHECK: &str = "firewall";

/// Judges replies by the marks that delivery knows.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .replies()
        .filter_map(|(place, reply)| {
            let Blocker { label, advice, .. } = blocker(reply).filter(|blocker| !blocker.reached_shop)?;
            Some(Finding::fault(CHECK, format!("{} {place}, given by {label}", reply.status.as_u16()), advice))
        })
        .collect();
    if findings.is_empty() {
        findings.push(match facts.replies().next() {
            None => Finding::untried(CHECK, "there was no answer"),
            Some(_) => Finding::good(CHECK, "no answer bears the marks of one"),
        });
    }
    findings
}

/// Who gave the reply, if it was neither the callback's handler nor kallback.
pub(super) fn blocker(reply: &Reply) -> Option<Blocker> {
    if token::is_our_refusal(reply) {
        return None;
    }
    let Reply { status, reason, headers, body } = reply;
    identify(*status, reason.as_ref().map(hyper::ext::ReasonPhrase::as_bytes), headers, body)
}
