//! Do this machine's clock and the other side's agree?

use std::time::Duration;

use http::header::DATE;

use super::Finding;
use super::calls::Facts;
use crate::clock::UnixMillis;
use crate::message::Reply;

const CHECK: &str = "clock";

/// `Date` has whole seconds, and the answer took its time.
const APART_MAX: Duration = Duration::from_secs(30);

/// Judges the `Date` of the answers.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let dates: Vec<_> = facts.replies().filter_map(|(place, reply)| Some((place, date(reply)?))).collect();
    if dates.is_empty() {
        return vec![Finding::untried(CHECK, "no answer has a Date")];
    }
    let now = facts.answered_at;
    let apart = dates.into_iter().map(|(place, then)| (place, then, now.since(then).max(then.since(now))));
    vec![match apart.max_by_key(|(_, _, apart)| *apart) {
        Some((place, then, apart)) if apart > APART_MAX => {
            let (seconds, order) = (apart.as_secs(), if then < now { "ahead of" } else { "behind" });
            let advice = "set both by NTP (systemd-timesyncd, chrony): tokens and certificates end by the clock";
            Finding::fault(
                CHECK,
                format!("this machine's is {seconds} s {order} the one that answered {place}"),
                advice,
            )
        }
        _ => Finding::good(CHECK, format!("the same here and there, within {} s", APART_MAX.as_secs())),
    }]
}

/// RFC 9110, 5.6.7: the form that every sender must use.
fn date(reply: &Reply) -> Option<UnixMillis> {
    let text = reply.headers.get(DATE)?.to_str().ok()?;
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(UnixMillis(at.as_millisecond()))
}
