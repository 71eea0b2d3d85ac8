//! Does the simulation repeat itself, and does it notice what is wrong?

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kallback_simulation::variant::Variant;
use kallback_simulation::world::play;

/// Seeds in which a broken variant may get away: CI plays many more of the real one.
const SEEDS_MAX: u64 = 400;

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 1..=60 {
        let (once, again) = (play(seed, None, true), play(seed, None, true));
        assert_eq!(once.story, again.story, "seed {seed}");
        assert_eq!((once.trace, once.steps), (again.trace, again.steps), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_story() {
    assert_ne!(play(1, None, false).trace, play(2, None, false).trace);
}

/// Plays seeds until one of them breaks the promise that the variant breaks.
fn is_noticed(variant: Variant, as_what: &str) {
    let (next, found) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS_MAX || seed > found.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = play(seed, Some(variant), false);
                    if report.violations.iter().any(|violation| violation.contains(as_what)) {
                        found.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_ne!(found.into_inner(), u64::MAX, "{variant:?} was not noticed in {SEEDS_MAX} seeds");
}

macro_rules! noticed {
    ($($name:ident: $variant:ident as $what:literal;)*) => {$(
        #[test]
        fn $name() {
            is_noticed(Variant::$variant, $what);
        }
    )*};
}

noticed! {
    an_fsync_that_is_left_out: NoSync as "not on disk";
    a_claim_after_the_forward: ClaimAfterForward as "not on disk";
    a_deadline_that_cuts_the_call: DeadlineCuts as "was cut after";
    a_replay_without_an_end: ReplayForEver as "replayed after its window";
    a_replay_that_never_comes: ReplayNever as "after a recorded 2xx, within the window";
    a_push_that_is_retried_on_a_guess: PushRetriedOnUnknown as "although the shop may have had it";
    duplicates_that_do_not_join: NothingJoins as "two requests of one notice";
    a_delivery_that_is_not_recorded: SettledNotRecorded as "the record is gone";
    a_restart_that_forgets: RestartForgets as "pending for ever";
    a_repeat_that_does_not_say_so: NoMark as "out of order or not marked";
    a_retry_after_that_is_ignored: RetryAfterIgnored as "before the shop's Retry-After";
    a_stampede_after_an_outage: AllAtOnce as "too many attempts of kallback's own";
    an_answer_after_the_sender_gave_up: AnswersLate as "the limit is 1500 ms";
    holes_in_the_wal_after_a_failed_fsync: HolesInTheWal as "the record is gone";
    nobody_who_brings_it_again: NobodyRedelivers as "pending for ever";
    a_disk_error_that_nobody_sees: BlindToDiskErrors as "not on disk";
    a_ledger_that_is_given_up: GivesTheLedgerUp as "and the ledger is well";
    a_clock_that_is_trusted: TrustsTheClock as "pending for ever";
}
