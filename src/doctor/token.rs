//! Is a callback without a token refused?

use http::StatusCode;
use http::header::SERVER;

use super::Finding;
use super::calls::{Facts, reply};
use crate::message::Reply;

const CHECK: &str = "token";

/// Judges how the stranger that the doctor is was received.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(reply) = reply(&facts.outside) else {
        return vec![Finding::untried(CHECK, "there was no answer")];
    };
    let status = reply.status.as_u16();
    vec![if is_our_refusal(reply) {
        Finding::good(CHECK, "a callback without one is refused, as by kallback")
    } else if reply.status == StatusCode::TOO_MANY_REQUESTS {
        Finding::untried(CHECK, "too many calls in the last minute; try again in one")
    } else if reply.status.is_success() {
        let advice = "have kallback in front of this name, and its mode \"enforce\" once all URLs carry a token";
        Finding::warning(CHECK, format!("a callback without one is let through ({status})"), advice)
    } else {
        let advice = "see the other findings; kallback refuses with 403 and nothing in it";
        Finding::warning(CHECK, format!("it was not kallback that answered ({status})"), advice)
    }]
}

/// kallback refuses with an empty 403. Web servers and the plugins behind them say their name in every reply.
pub(super) fn is_our_refusal(reply: &Reply) -> bool {
    reply.status == StatusCode::FORBIDDEN && reply.body.is_empty() && !reply.headers.contains_key(SERVER)
}
