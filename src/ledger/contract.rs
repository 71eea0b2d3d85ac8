//! What every ledger backend promises. Each backend runs the whole suite: `contract!(place)`.
//!
//! The clock's wall time is moved by hand; tokio's own clock runs, because the writer is a thread that a paused
//! clock would not wait for.

pub(crate) mod ends;
pub(crate) mod entry;
mod model;
pub(crate) mod upkeep;
pub(crate) mod world;

pub(crate) use world::{Place, World};

/// The suite as tests of the module it is called in. `$place` makes an empty place for a ledger.
macro_rules! contract {
    ($place:expr) => {
        contract!($place;
            entry::a_new_notice_is_claimed_once_and_comes_back_whole
            entry::of_many_calls_at_once_exactly_one_is_fresh
            entry::a_call_that_meets_a_waiting_notice_is_promised_its_redelivery
            entry::a_settled_notice_is_replayed_until_its_window_is_over
            entry::a_notice_that_was_left_or_died_is_fresh_when_it_comes_again
            entry::a_token_comes_with_only_so_many_subjects
            entry::a_full_ledger_takes_no_new_notice_but_ends_the_old_ones
            ends::those_who_joined_learn_the_reply_though_the_ledger_is_closed
            ends::a_claim_that_was_taken_over_is_lost
            ends::a_postponed_claim_comes_when_it_is_due_and_not_before
            ends::what_is_due_comes_oldest_first
            ends::what_is_in_the_air_is_not_leased
            ends::of_one_turn_one_at_a_time_is_leased
            ends::an_abandoned_claim_is_leased_as_interrupted
            ends::an_abandoned_claim_is_due_though_the_clock_was_set_back
            ends::when_the_shop_is_back_everything_is_due
            ends::an_answer_of_our_own_is_remembered
            upkeep::an_acknowledged_push_is_replayed_for_the_long_window
            upkeep::a_person_can_replay_what_ended_and_nothing_else
            upkeep::listings_show_what_was_asked_for_newest_first
            upkeep::listings_can_be_cut_by_age_to_the_millisecond
            upkeep::what_the_shop_never_took_is_one_listing_away
            upkeep::sweeps_keep_what_may_still_be_needed
            upkeep::a_sweep_touches_no_more_than_its_slice
            upkeep::after_the_shutdown_nothing_is_taken
        );

        #[test]
        fn whatever_happens_it_does_what_the_model_does() {
            crate::ledger::contract::run_model(|| Box::new($place));
        }
    };
    ($place:expr; $($module:ident::$name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let place = $place;
            crate::ledger::contract::$module::$name(crate::ledger::contract::World::new(&place)).await;
        }
    )*};
}

pub(crate) use contract;
pub(crate) use model::run_model;
