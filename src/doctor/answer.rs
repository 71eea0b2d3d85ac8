//! Does an answer come at all?

use super::Finding;
use super::calls::Facts;
use crate::probe::{Fault, Step};

const CHECK: &str = "answer";

/// Judges whether somebody answered, from outside and at the shop.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let outside = match &facts.outside {
        Ok(answered) => {
            let (status, took) = (answered.reply.status.as_u16(), answered.took.as_millis());
            Finding::good(CHECK, format!("{status} from outside after {took} ms"))
        }
        Err(unanswered) => Finding::fault(
            CHECK,
            format!("none from outside: {unanswered}"),
            advice(unanswered.seen.step, &unanswered.fault),
        ),
    };
    let shop = facts.behind.as_ref().and_then(|[_, second]| second.as_ref().err()).map(|unanswered| {
        let advice =
            "start the shop, and see that `shop.url` of the config is right; until then kallback keeps notices";
        Finding::fault(CHECK, format!("none at the shop itself: {unanswered}"), advice)
    });
    [Some(outside), shop].into_iter().flatten().collect()
}

fn advice(step: Step, fault: &Fault) -> &'static str {
    match (step, fault) {
        (Step::LookUp, _) => "see what is said of the name",
        (Step::Connect, Fault::TooSlow(_)) => "something swallows the packets: open the port in the firewall",
        (Step::Connect, _) => "see that kallback runs and listens on this address and port",
        (Step::Handshake, _) => "see what is said of the certificate and of TLS",
        (_, Fault::TooSlow(_)) => "see where it waits: kallback itself answers a callback without a token at once",
        _ => "see the log of whatever listens there",
    }
}
