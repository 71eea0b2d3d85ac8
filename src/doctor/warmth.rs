//! How long does the shop take for its first answer, against the sender's budget?

use std::time::Duration;

use super::calls::{Facts, Outcome};
use super::{Finding, NOT_ASKED, Patient};

const CHECK: &str = "cold start";

const ADVICE: &str = "keep the shop's workers alive between calls (php-fpm: pm = static, or pm.min_spare_servers) and its \
     code compiled (opcache); a callback that comes first pays for the start";

/// Judges the shop's first answer of this run. Only a shop that has slept shows its cold start.
pub(super) fn check(patient: &Patient, facts: &Facts) -> Vec<Finding> {
    let Some([first, second]) = &facts.behind else {
        return vec![Finding::untried(CHECK, NOT_ASKED)];
    };
    let (Some(first), Some(second)) = (took(first), took(second)) else {
        return vec![Finding::untried(CHECK, "the shop did not answer")];
    };
    let budget = patient.kind.defaults().budget;
    let what = format!(
        "first answer after {} ms, second after {} ms, of {} ms",
        first.as_millis(),
        second.as_millis(),
        budget.as_millis()
    );
    vec![if second > budget {
        Finding::fault(
            CHECK,
            what,
            "the shop is too slow even when warm: see its own logs for what this path waits for",
        )
    } else if first > budget {
        Finding::fault(CHECK, what, ADVICE)
    } else if first > budget / 2 {
        Finding::warning(CHECK, what, ADVICE)
    } else {
        Finding::good(CHECK, what)
    }]
}

fn took(outcome: &Outcome) -> Option<Duration> {
    outcome.as_ref().ok().map(|answered| answered.took)
}
