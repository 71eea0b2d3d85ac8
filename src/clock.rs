//! Time, the only place that reads it.
//!
//! Everything else is handed a [`Clock`]. Tests run on [`Clock::simulated`], whose wall time moves with
//! tokio's paused clock, so that a test of two days takes milliseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A point in wall time: milliseconds since 1970-01-01 UTC. What is written to disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// How long ago `earlier` was; zero when it lies in the future (clocks jump).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970, as tokens carry them.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl Add<Duration> for UnixMillis {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;
    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 in UTC, the form that logs and the admin listener use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms since 1970", self.0),
        }
    }
}

/// Reads wall time and monotonic time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Simulated { origin: Instant, wall_at_origin: Arc<AtomicI64> },
}

impl Clock {
    /// The machine's own clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock whose wall time starts at `start` and then follows tokio's clock, paused or not.
    /// Call it inside a runtime.
    pub fn simulated(start: UnixMillis) -> Self {
        Self(Source::Simulated { origin: monotonic(), wall_at_origin: Arc::new(AtomicI64::new(start.0)) })
    }

    /// Wall time now. May jump.
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::System => system_wall_time(),
            Source::Simulated { origin, wall_at_origin } => {
                UnixMillis(wall_at_origin.load(Ordering::Relaxed)) + monotonic().duration_since(*origin)
            }
        }
    }

    /// Monotonic time now: what deadlines are made of.
    pub fn instant(&self) -> Instant {
        monotonic()
    }

    /// Moves a simulated wall clock by `millis` at once, as NTP or a person would; a system clock ignores it.
    pub fn jump(&self, millis: i64) {
        if let Source::Simulated { wall_at_origin, .. } = &self.0 {
            wall_at_origin.fetch_add(millis, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the module the ban sends everybody to")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the module the ban sends everybody to")]
fn system_wall_time() -> UnixMillis {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => UnixMillis(0) + since,
        Err(before) => UnixMillis(0) - before.duration(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_wall_time_follows_the_paused_clock_and_jumps() {
        let clock = Clock::simulated(UnixMillis(1_000));
        tokio::time::advance(Duration::from_secs(7_200)).await;
        assert_eq!(clock.now(), UnixMillis(7_201_000));
        clock.jump(-1_000);
        assert_eq!(clock.now(), UnixMillis(7_200_000));
    }

    #[test]
    fn a_moment_in_the_future_was_no_time_ago() {
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(1_763_700_000_123).to_string(), "2025-11-21T04:40:00.123Z");
    }
}
