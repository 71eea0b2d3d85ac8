//! How long a sender waits for a delivery, and what it is told in the end.

use std::net::IpAddr;

use tokio::time::{Instant, timeout_at};

use super::Outcome;
use crate::ledger::flights::Joined;
use crate::ledger::{GaveUp, Notice, Standing};

/// Who waits: when kallback answers for the shop, and when it stops waiting for the shop's reply at all.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) client: IpAddr,
    answer_by: Instant,
    give_up_at: Instant,
}

impl Waiting {
    pub(super) fn for_notice(notice: &Notice, client: IpAddr, arrived: Instant) -> Self {
        let policy = notice.policy();
        Self { client, answer_by: arrived + policy.answer_within, give_up_at: arrived + policy.hard_limit }
    }
}

/// Waits for a delivery until the deadline. What is not on disk is never answered 2xx by kallback itself: then the
/// sender waits for the shop.
pub(super) async fn wait(mut joined: Joined, waiting: Waiting) -> Outcome {
    if let Ok(standing) = timeout_at(waiting.answer_by, joined.standing()).await {
        return standing.map_or(Outcome::Failed(GaveUp::NoReply), outcome_of);
    }
    if joined.answer_for_the_shop() {
        return Outcome::Deadline;
    }
    match timeout_at(waiting.give_up_at, joined.standing()).await {
        Ok(standing) => standing.map_or(Outcome::Failed(GaveUp::NoReply), outcome_of),
        Err(_) => Outcome::Failed(GaveUp::TooSlow),
    }
}

pub(super) fn outcome_of(standing: Standing) -> Outcome {
    match standing {
        Standing::Settled(reply) | Standing::GivenUp(Some(reply), _) => Outcome::Shop(reply),
        Standing::GivenUp(None, why) => Outcome::Failed(why),
        Standing::WillRedeliver => Outcome::Accepted,
    }
}
