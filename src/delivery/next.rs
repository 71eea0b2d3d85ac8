//! What follows an attempt? Pure.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::delivery::attempt::Tried;
use crate::delivery::{Settings, schedule};
use crate::event::Kind;
use crate::ledger::{Claim, End};

/// However long the pause, a notice is tried once more this long before it is too old: time enough for the shop to
/// use what it brings.
const LAST_ATTEMPT_BEFORE_THE_END: Duration = Duration::from_secs(10);

/// What becomes of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The shop has it.
    Settled,
    /// Another attempt at this time.
    Again(UnixMillis),
    /// None.
    End(End),
}

/// Whether a claim ends without another attempt, and why: it grew too old while it waited, or its last attempt was
/// interrupted and its kind must not be repeated on a guess.
pub fn before_attempt(claim: &Claim, now: UnixMillis) -> Option<(End, &'static str)> {
    if now > claim.expires_at {
        Some((End::Dead, "too old"))
    } else if claim.interrupted && !claim.notice.redelivers(false) {
        Some((without_redelivery(claim.notice.kind(), true), "interrupted: nobody knows whether the shop saw it"))
    } else {
        None
    }
}

/// What follows an attempt that ended like this. `told`: the sender was told that the notice arrived. `share`: a
/// random number from 0 to 1, for the jitter.
pub fn after_attempt(claim: &Claim, tried: &Tried, told: bool, when: When<'_>) -> Next {
    if matches!(tried, Tried::Delivered(_)) {
        return Next::Settled;
    }
    if !claim.notice.redelivers(tried.certainly_not_reached()) {
        return Next::End(without_redelivery(claim.notice.kind(), told));
    }
    let last_chance = claim.expires_at - LAST_ATTEMPT_BEFORE_THE_END;
    if when.now >= last_chance {
        return Next::End(End::Dead);
    }
    let retry_after =
        tried.reply().and_then(|reply| schedule::retry_after(&reply.headers, when.settings.retry_after_at_most));
    let due = when.now + schedule::pause(&when.settings.schedule, claim.attempt, when.share, retry_after);
    Next::Again(due.min(last_chance))
}

/// What the time of another attempt depends on.
#[derive(Clone, Copy)]
pub struct When<'a> {
    /// The schedule and its bounds.
    pub settings: &'a Settings,
    /// Now.
    pub now: UnixMillis,
    /// A random number from 0 to 1, for the jitter.
    pub share: f64,
}

/// A push comes again until its order is acknowledged, whatever it was answered. Any other notice comes again only
/// if its sender was not told that it arrived.
fn without_redelivery(kind: Kind, told: bool) -> End {
    if kind == Kind::Push || !told { End::Left } else { End::Dead }
}
