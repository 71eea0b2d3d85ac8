//! Does the simulation repeat itself, and does it notice what is wrong?
#![allow(clippy::print_stderr, missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kallback_simulation::variant::Variant;
use kallback_simulation::world::play;

/// Seeds that a broken variant may survive: CI plays more than that of the real one.
const SEEDS_MAX: u64 = 600;

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 1..=40 {
        let (once, again) = (play(seed, None, true), play(seed, None, true));
        assert_eq!(once.story, again.story, "seed {seed}");
        assert_eq!((once.trace, once.steps), (again.trace, again.steps), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_story() {
    assert_ne!(play(1, None, false).trace, play(2, None, false).trace);
}

/// The first seed in which something is noticed, and what.
fn noticed(variant: Variant) -> Option<(u64, Vec<String>)> {
    let (next, found) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS_MAX || seed > found.load(Ordering::Relaxed) {
                        return;
                    }
                    if !play(seed, Some(variant), false).violations.is_empty() {
                        found.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seed = found.into_inner();
    (seed != u64::MAX).then(|| (seed, play(seed, Some(variant), false).violations))
}

#[test]
fn probe() {
    for variant in Variant::ALL {
        match noticed(variant) {
            Some((seed, violations)) => eprintln!("{variant:?}: seed {seed}: {}", violations[0]),
            None => eprintln!("{variant:?}: NOT NOTICED"),
        }
    }
}
