//! When next? The pause before the next attempt: pure, but for the chance that is handed in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where the random share of a pause comes from. Handed in, so that a simulation can repeat a run. Cheap to clone.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    /// The machine's own chance.
    pub fn random() -> Self {
        Self::drawn_by(rand::random)
    }

    /// Numbers from 0 to 1 that `draw` gives.
    pub fn drawn_by(draw: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    /// The next one.
    pub fn share(&self) -> f64 {
        (self.0)()
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// How long to wait after attempt number `attempt` failed.
///
/// Full jitter: anything between nothing and the schedule's step, so that what failed together does not come back
/// together. `share` is a random number from 0 to 1. A `Retry-After` of the shop is the least pause, up to a bound.
pub fn pause(schedule: &[Duration], attempt: u32, share: f64, retry_after: Option<Duration>) -> Duration {
    let step = (attempt.max(1) as usize - 1).min(schedule.len().saturating_sub(1));
    let most = schedule.get(step).copied().unwrap_or(WITHOUT_SCHEDULE);
    let jittered = most.mul_f64(share.clamp(0.0, 1.0));
    match retry_after {
        Some(least) => least.saturating_add(jittered),
        None => jittered,
    }
}

/// No [`pause`] is longer.
pub fn longest_pause(schedule: &[Duration], retry_after_at_most: Duration) -> Duration {
    retry_after_at_most.saturating_add(schedule.iter().copied().max().unwrap_or(WITHOUT_SCHEDULE))
}

/// The step of a schedule that has none.
const WITHOUT_SCHEDULE: Duration = Duration::from_secs(120);

/// Reads `Retry-After` in seconds, cut to the bound. The date form is not worth a parser: no shop's maintenance page
/// uses it, and the schedule stands without it.
pub fn retry_after(headers: &http::HeaderMap, at_most: Duration) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(at_most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(120)];

    #[test]
    fn steps_follow_the_schedule_and_the_last_one_repeats() {
        let longest = |attempt| pause(&SCHEDULE, attempt, 1.0, None).as_secs();
        assert_eq!([longest(1), longest(2), longest(3), longest(4), longest(900)], [1, 5, 120, 120, 120]);
    }

    #[test]
    fn jitter_covers_the_whole_step() {
        assert_eq!(pause(&SCHEDULE, 2, 0.0, None), Duration::ZERO);
        assert_eq!(pause(&SCHEDULE, 2, 0.5, None), Duration::from_millis(2500));
        assert_eq!(pause(&SCHEDULE, 2, f64::NAN.max(7.0), None), Duration::from_secs(5));
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let at_most = Duration::from_secs(300);
        let longest = (1..9).map(|attempt| pause(&SCHEDULE, attempt, 1.0, Some(at_most))).max();
        assert_eq!(longest, Some(longest_pause(&SCHEDULE, at_most)));
        assert_eq!(pause(&[], 1, 1.0, Some(at_most)), longest_pause(&[], at_most));
    }

    #[test]
    fn retry_after_is_the_least_pause_within_its_bound() {
        let mut headers = http::HeaderMap::new();
        assert_eq!(retry_after(&headers, Duration::from_secs(300)), None);
        headers.insert("retry-after", http::HeaderValue::from_static("600"));
        let least = retry_after(&headers, Duration::from_secs(300));
        assert_eq!(least, Some(Duration::from_secs(300)));
        assert_eq!(pause(&SCHEDULE, 1, 0.5, least), Duration::from_millis(300_500));
        headers.insert("retry-after", http::HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(retry_after(&headers, Duration::from_secs(300)), None);
    }

    #[test]
    fn an_empty_schedule_waits_all_the_same() {
        assert_eq!(pause(&[], 1, 1.0, None), Duration::from_secs(120));
    }
}
