//! Is kallback ready, and what does its ledger hold?

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::Finding;
use super::calls::{Books, Facts};
use crate::clock::UnixMillis;

const CHECK: &str = "ledger";

/// A shop that is well has every notice sooner.
const PENDING_MAX: Duration = Duration::from_secs(5 * 60);

/// What `/counts` says.
#[derive(Debug, Deserialize)]
struct Counts {
    accepted: u64,
    pending: u64,
    dead: u64,
    oldest_pending_at: Option<String>,
}

/// Judges what the admin listener says.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(Books { ready, counts }) = &facts.admin else {
        return vec![Finding::untried(CHECK, "name kallback's config with --config, on the machine where it runs")];
    };
    let ready = match ready {
        Ok(answered) if answered.reply.status.is_success() => None,
        Ok(_) => Some(Finding::warning(CHECK, "kallback is stopping: it is not ready", "start it again")),
        Err(unanswered) => {
            let advice = "start kallback on this machine, or see `admin.listen` of the config";
            return vec![Finding::fault(CHECK, format!("the admin listener does not answer: {unanswered}"), advice)];
        }
    };
    let held = match counts {
        Ok(answered) if answered.reply.status == StatusCode::OK => match serde_json::from_slice(&answered.reply.body) {
            Ok(counts) => judged(&counts, facts.answered_at),
            Err(why) => vec![Finding::untried(CHECK, format!("/counts of the admin listener cannot be read: {why}"))],
        },
        Ok(answered) if answered.reply.status == StatusCode::UNAUTHORIZED => {
            vec![Finding::untried(CHECK, "the admin listener wants another token than this config has")]
        }
        Ok(answered) => {
            let advice = "see kallback's log: the ledger cannot be read (a full disk, another owner of the file)";
            let status = answered.reply.status.as_u16();
            vec![Finding::fault(CHECK, format!("/counts of the admin listener says {status}"), advice)]
        }
        Err(unanswered) => {
            vec![Finding::fault(CHECK, format!("/counts does not answer: {unanswered}"), "see kallback's log")]
        }
    };
    ready.into_iter().chain(held).collect()
}

fn judged(counts: &Counts, now: UnixMillis) -> Vec<Finding> {
    let Counts { accepted, pending, dead, oldest_pending_at } = counts;
    let mut findings = Vec::new();
    if *dead > 0 {
        let advice = "see them with GET /callbacks?state=dead on the admin listener, and replay what still counts";
        findings.push(Finding::fault(CHECK, format!("{dead} notices were never delivered"), advice));
    }
    let oldest = oldest_pending_at.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let age = oldest.map(|at| now.since(UnixMillis(at.as_millisecond()))).unwrap_or_default();
    if age > PENDING_MAX {
        let advice = "the shop does not take them: see GET /callbacks?state=pending for what it answers";
        let what = format!("{pending} notices wait for the shop, the oldest for {} min", age.as_secs() / 60);
        findings.push(Finding::fault(CHECK, what, advice));
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            CHECK,
            format!("{accepted} notices, {pending} of them wait for the shop, none is dead"),
        ));
    }
    findings
}
