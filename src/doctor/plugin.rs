//! Does the payment plugin listen?

use http::StatusCode;

use super::calls::Facts;
use super::{Finding, NOT_ASKED, firewall, token};

const CHECK: &str = "plugin";

/// Judges what the shop itself said: where it is known, else what came from outside.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some((place, reply)) = facts.replies().last().filter(|(_, reply)| !token::is_our_refusal(reply)) else {
        return vec![Finding::untried(CHECK, NOT_ASKED)];
    };
    let what = format!("{} {place}", reply.status.as_u16());
    vec![match firewall::blocker(reply) {
        // A handler that checks a secret of its own says 403 too, and so does kallback behind a server that adds its name.
        Some(blocker) if blocker.reached_shop && reply.status != StatusCode::FORBIDDEN => {
            Finding::fault(CHECK, what, blocker.advice)
        }
        Some(blocker) if !blocker.reached_shop => Finding::untried(CHECK, format!("{what} was given by somebody else")),
        _ => by_status(reply.status, what),
    }]
}

fn by_status(status: StatusCode, what: String) -> Finding {
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let advice = "nobody serves this path: activate the payment plugin, or name the platform with --preset";
            Finding::fault(CHECK, what, advice)
        }
        status if status.is_server_error() => {
            Finding::fault(CHECK, what, "see the shop's own error log: its handler fails before it looks at anything")
        }
        status if status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS => {
            Finding::untried(CHECK, format!("{what} says nothing of it"))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Finding::untried(CHECK, format!("{what}: it may check a secret of its own, or somebody stands before it"))
        }
        _ => Finding::good(CHECK, format!("it listens ({what})")),
    }
}
