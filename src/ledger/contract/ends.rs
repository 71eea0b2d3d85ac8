//! Attempts end, and others begin.

use std::sync::Arc;

use super::World;
use super::world::{HOUR, MINUTE, SECOND, bare_notice, failure, notice, reply};
use crate::event::{Fingerprint, Kind};
use crate::ledger::flights::{Boarding, Flight, Flights};
use crate::ledger::{Claim, End, LedgerError, Standing};

pub(crate) async fn those_who_joined_learn_the_reply_though_the_ledger_is_closed(world: World<'_>) {
    let sent = notice(Kind::Push, 1);
    let claim = world.fresh(&sent).await;
    let mut joined = world.join(&sent);
    world.ledger.shut_down().await.unwrap();
    let (fault, claim) = world.ledger.settle(claim, Arc::new(reply("done"))).await.unwrap_err();
    assert!(matches!(fault, LedgerError::Unavailable(_)), "{fault}");
    assert!(matches!(joined.standing().await, Some(Standing::Settled(reply)) if reply.body == "done"));
    // The holder keeps the claim until the ledger took it; meanwhile every call joins.
    assert!(matches!(world.join(&sent).standing().await, Some(Standing::Settled(_))));
    drop(claim);
    assert!(world.flights.has_abandoned());
}

pub(crate) async fn a_claim_that_was_taken_over_is_lost(world: World<'_>) {
    let sent = notice(Kind::Push, 1);
    let claim = world.fresh(&sent).await;
    world.postpone(claim, SECOND).await;
    world.pass(2 * SECOND);
    let current = world.lease_one().await;
    for end in [None, Some(End::Dead)] {
        let stale = Box::new(Claim { flight: foreign_flight(), notice: sent.clone(), epoch: 1, ..*current });
        let outcome = match end {
            None => world.ledger.settle(stale, Arc::new(reply("done"))).await,
            Some(end) => world.ledger.close(stale, end, failure()).await.map(drop),
        };
        let (fault, _) = outcome.unwrap_err();
        assert!(matches!(fault, LedgerError::Lost(1)), "{fault}");
    }
    world.settle(current).await;
    assert_eq!(world.ledger.counts().await.unwrap().settled, 1);
}

/// A place in the air of another process.
fn foreign_flight() -> Flight {
    let identity = Fingerprint([99; 32]);
    match Flights::default().board(identity, identity) {
        Boarding::First(flight) => flight,
        Boarding::Second(_) => panic!("a new board is empty"),
    }
}

pub(crate) async fn a_postponed_claim_comes_when_it_is_due_and_not_before(world: World<'_>) {
    let sent = notice(Kind::Authorization, 1);
    let claim = world.fresh(&sent).await;
    assert_eq!(world.ledger.next_due().await.unwrap(), None, "what is being delivered waits for nothing");
    let due_at = world.clock.now() + 10 * SECOND;
    let mut joined = world.join(&sent);
    world.ledger.postpone(claim, due_at, failure()).await.unwrap();
    assert!(matches!(joined.standing().await, Some(Standing::WillRedeliver)));
    assert_eq!(world.ledger.next_due().await.unwrap(), Some(due_at));
    let record = world.record(1).await.unwrap();
    assert_eq!((record.due_at, record.status, record.attempts), (Some(due_at), Some(502), 1));
    world.pass(5 * SECOND);
    assert!(world.lease(9).await.is_empty());
    world.pass(6 * SECOND);
    let claim = world.lease_one().await;
    assert_eq!((claim.attempt, claim.interrupted), (2, false));
    assert_eq!(world.ledger.next_due().await.unwrap(), None);
    assert!(world.lease(9).await.is_empty());
    world.settle(claim).await;
    let record = world.record(1).await.unwrap();
    assert_eq!((record.due_at, record.status, record.note), (None, Some(200), None));
}

pub(crate) async fn what_is_due_comes_oldest_first(world: World<'_>) {
    for number in 1..=5 {
        let claim = world.fresh(&notice(Kind::Authorization, number)).await;
        world.postpone(claim, u32::from(10 - number) * SECOND).await;
    }
    world.pass(MINUTE);
    let ids: Vec<_> = world.lease(3).await.iter().map(|claim| claim.id).collect();
    assert_eq!(ids, [1, 2, 3]);
}

pub(crate) async fn what_is_in_the_air_is_not_leased(world: World<'_>) {
    let sent = notice(Kind::Authorization, 1);
    let claim = world.fresh(&sent).await;
    world.postpone(claim, SECOND).await;
    world.pass(2 * SECOND);
    let flight = world.board(&sent);
    assert!(world.lease(9).await.is_empty());
    assert_eq!(world.ledger.next_due().await.unwrap(), None, "it is held up");
    drop(flight);
    assert!(world.ledger.next_due().await.unwrap().is_some());
    assert_eq!(world.lease_one().await.attempt, 2, "the try while it was in the air did not count");
}

pub(crate) async fn of_one_turn_one_at_a_time_is_leased(world: World<'_>) {
    for number in [1, 2] {
        let mut sent = bare_notice(Kind::Authorization, number);
        sent.identity.turn = Fingerprint([77; 32]);
        let claim = world.fresh(&Arc::new(sent)).await;
        world.postpone(claim, SECOND).await;
    }
    world.pass(2 * SECOND);
    let first = world.lease_one().await;
    assert_eq!(first.id, 1);
    assert!(world.lease(9).await.is_empty());
    world.settle(first).await;
    assert_eq!(world.lease_one().await.id, 2);
}

pub(crate) async fn an_abandoned_claim_is_leased_as_interrupted(world: World<'_>) {
    let sent = notice(Kind::Push, 1);
    drop(world.fresh(&sent).await);
    assert!(world.ledger.next_due().await.unwrap().is_some_and(|due| due <= world.clock.now()));
    let claim = world.lease_one().await;
    assert_eq!((claim.attempt, claim.interrupted), (2, true));
    world.postpone(claim, SECOND).await;
    world.pass(2 * SECOND);
    let claim = world.lease_one().await;
    assert!(!claim.interrupted, "the attempt before this one ended in order");
    world.settle(claim).await;
    assert!(world.lease(9).await.is_empty());
}

pub(crate) async fn an_abandoned_claim_is_due_though_the_clock_was_set_back(world: World<'_>) {
    let (one, two) = (notice(Kind::Authorization, 1), notice(Kind::Authorization, 2));
    let claims = [world.fresh(&one).await, world.fresh(&two).await];
    world.clock.jump(-3_600_000);
    drop(claims);
    // One is found by whoever looks for what is due, one by its sender's repeat.
    world.waiting(&two).await;
    assert!(world.ledger.next_due().await.unwrap().is_some_and(|due| due <= world.clock.now()));
    assert_eq!(world.lease(9).await.len(), 2);
}

pub(crate) async fn when_the_shop_is_back_everything_is_due(world: World<'_>) {
    for number in 1..=3 {
        let claim = world.fresh(&notice(Kind::Authorization, number)).await;
        world.postpone(claim, u32::from(number) * HOUR).await;
    }
    let held = world.fresh(&notice(Kind::Authorization, 4)).await;
    let now = world.clock.now();
    assert_eq!(world.ledger.wake_later_than(now + 2 * HOUR).await.unwrap(), 1);
    let woken = world.lease_one().await;
    assert_eq!(world.ledger.wake_later_than(now).await.unwrap(), 2);
    assert_eq!(world.ledger.wake_later_than(now).await.unwrap(), 0);
    assert_eq!(world.lease(9).await.len(), 2);
    drop((held, woken));
}

pub(crate) async fn an_answer_of_our_own_is_remembered(world: World<'_>) {
    let claim = world.fresh(&notice(Kind::Push, 1)).await;
    world.ledger.answered(claim.id).await.unwrap();
    world.postpone(claim, SECOND).await;
    world.pass(2 * SECOND);
    assert!(world.lease_one().await.answered);
}
