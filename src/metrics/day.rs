//! The shape of the last 24 hours: for every kind how many, how fast against the budget, hour by hour.
//!
//! Prometheus' histograms count since the start and in few steps; a person wants the day, and p99 to a tenth.

use std::time::Duration;

use super::AnsweredBy;
use crate::clock::UnixMillis;
use crate::event::Kind;

/// Hours that are shown, the current one included.
pub const HOURS: usize = 24;
/// Steps per doubling of a duration: a percentile is at most 9 % above what was measured.
const STEPS_PER_OCTAVE: u32 = 8;
/// From 1 ms to 65 s, later ones in the last step.
const STEPS: usize = 16 * STEPS_PER_OCTAVE as usize;
const HOUR_MILLIS: i64 = 3_600_000;

/// Answers by hour and kind. Some 150 kB, whatever comes.
#[derive(Debug, Default)]
pub(super) struct Day {
    kinds: [Option<Box<Hours>>; Kind::ALL.len()],
}

/// One answer to a sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) by: AnsweredBy,
    pub(super) took: Duration,
    pub(super) budget: Duration,
}

#[derive(Debug)]
struct Hours {
    budget: Duration,
    ring: [Hour; HOURS],
}

#[derive(Clone, Debug)]
struct Hour {
    /// Hours since 1970.
    number: i64,
    by: [u32; AnsweredBy::ALL.len()],
    late: u32,
    steps: [u32; STEPS],
}

impl Hour {
    const EMPTY: Self = Self { number: -1, by: [0; AnsweredBy::ALL.len()], late: 0, steps: [0; STEPS] };
}

/// One kind's last 24 hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindOfDay {
    /// The kind.
    pub kind: Kind,
    /// The sender's limit, as it was for the last one.
    pub budget: Duration,
    /// Answers by how they came about, in the order of [`AnsweredBy::ALL`].
    pub by: [u32; AnsweredBy::ALL.len()],
    /// Answers that were later than the budget.
    pub late: u32,
    /// Half, 95 % and 99 % of the answers were there within this time; callers turned away are not counted.
    pub percentiles: Option<[Duration; 3]>,
    /// Answers of each hour, the oldest first, the current one last.
    pub hours: [u32; HOURS],
}

impl Day {
    pub(super) fn answered(&mut self, kind: Kind, answer: Answer, now: UnixMillis) {
        let Answer { by, took, budget } = answer;
        let hours = self.kinds[kind as usize]
            .get_or_insert_with(|| Box::new(Hours { budget, ring: [const { Hour::EMPTY }; HOURS] }));
        hours.budget = budget;
        let number = hour_of(now);
        let hour = &mut hours.ring[place(number)];
        if hour.number != number {
            *hour = Hour { number, ..Hour::EMPTY };
        }
        hour.by[by as usize] = hour.by[by as usize].saturating_add(1);
        // Turning away takes no time, and anybody can have it done: it would make the shop look fast.
        if by != AnsweredBy::Refused {
            let step = &mut hour.steps[step_of(took)];
            *step = step.saturating_add(1);
            hour.late += u32::from(took > budget);
        }
    }

    pub(super) fn kinds(&self, now: UnixMillis) -> Vec<KindOfDay> {
        let hours = Kind::ALL.into_iter().zip(&self.kinds);
        let kinds = hours.filter_map(|(kind, hours)| Some(hours.as_ref()?.sum(kind, hour_of(now))));
        kinds.filter(|kind| kind.by.iter().any(|answers| *answers > 0)).collect()
    }
}

impl Hours {
    fn sum(&self, kind: Kind, current: i64) -> KindOfDay {
        let mut sum = KindOfDay {
            kind,
            budget: self.budget,
            by: [0; AnsweredBy::ALL.len()],
            late: 0,
            percentiles: None,
            hours: [0; HOURS],
        };
        let mut steps = [0_u64; STEPS];
        let first = current - (HOURS as i64 - 1);
        for (shown, number) in sum.hours.iter_mut().zip(first..) {
            let hour = &self.ring[place(number)];
            if hour.number != number {
                continue;
            }
            *shown = hour.by.iter().sum();
            sum.late += hour.late;
            sum.by.iter_mut().zip(&hour.by).for_each(|(all, some)| *all += some);
            steps.iter_mut().zip(&hour.steps).for_each(|(all, some)| *all += u64::from(*some));
        }
        sum.percentiles = percentiles(&steps);
        sum
    }
}

fn percentiles(steps: &[u64; STEPS]) -> Option<[Duration; 3]> {
    let all: u64 = steps.iter().sum();
    let within = |percent: u64| {
        let mut so_far = 0;
        let wanted = (all * percent).div_ceil(100);
        let step = steps.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        });
        upper_edge(step.unwrap_or(STEPS - 1))
    };
    (all > 0).then(|| [50, 95, 99].map(within))
}

fn hour_of(at: UnixMillis) -> i64 {
    at.0.div_euclid(HOUR_MILLIS)
}

fn place(number: i64) -> usize {
    usize::try_from(number.rem_euclid(HOURS as i64)).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that is not negative")]
fn step_of(took: Duration) -> usize {
    let millis = (took.as_secs_f64() * 1000.0).max(1.0);
    ((millis.log2() * f64::from(STEPS_PER_OCTAVE)) as usize).min(STEPS - 1)
}

fn upper_edge(step: usize) -> Duration {
    let octaves = f64::from(u32::try_from(step + 1).unwrap_or(u32::MAX)) / f64::from(STEPS_PER_OCTAVE);
    Duration::from_secs_f64(octaves.exp2() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(2);

    fn day(answers: &[(u64, i64)]) -> Day {
        let mut day = Day::default();
        for (took_ms, hour) in answers {
            let at = UnixMillis(hour * HOUR_MILLIS + 5);
            let answer = Answer { by: AnsweredBy::Shop, took: Duration::from_millis(*took_ms), budget: BUDGET };
            day.answered(Kind::Push, answer, at);
        }
        day
    }

    fn at(hour: i64) -> UnixMillis {
        UnixMillis(hour * HOUR_MILLIS + HOUR_MILLIS - 1)
    }

    #[test]
    fn percentiles_are_no_less_and_at_most_a_tenth_more_than_what_was_measured() {
        let answers: Vec<_> = (1..=1000).map(|took_ms| (took_ms, 100)).collect();
        let kinds = day(&answers).kinds(at(100));
        let millis = kinds[0].percentiles.unwrap().map(|within| within.as_secs_f64() * 1000.0);
        for (found, measured) in millis.into_iter().zip([500.0, 950.0, 990.0]) {
            assert!(found >= measured && found <= measured * 1.1, "{found} for {measured}");
        }
    }

    #[test]
    fn a_day_has_24_hours_and_forgets_the_one_before() {
        let day = day(&[(10, 100), (10, 100), (3_000, 101), (99_999, 123)]);
        let today = &day.kinds(at(123))[0];
        assert_eq!((today.hours[0], today.hours[1], today.hours[23], today.late), (2, 1, 1, 2));
        let later = &day.kinds(at(124))[0];
        assert_eq!((later.hours[0], later.hours[22], later.by[AnsweredBy::Shop as usize]), (1, 1, 2));
        assert_eq!(day.kinds(at(147)), []);
    }

    #[test]
    fn callers_who_are_turned_away_do_not_make_it_look_fast() {
        let mut day = day(&[(900, 100)]);
        for _ in 0..1000 {
            let answer = Answer { by: AnsweredBy::Refused, took: Duration::ZERO, budget: BUDGET };
            day.answered(Kind::Push, answer, at(100));
        }
        let kind = &day.kinds(at(100))[0];
        assert!(kind.percentiles.unwrap()[0] >= Duration::from_millis(900));
        assert_eq!((kind.by[AnsweredBy::Refused as usize], kind.hours[23]), (1000, 1001));
    }
}
