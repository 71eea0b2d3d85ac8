//! Fifth promise: while the ledger cannot be written, callbacks pass straight through and are joined in memory,
//! loudly, and kallback answers nothing 2xx on its own. (`full_disk.rs` has a disk that is really full.)

use std::time::{Duration, Instant};

use super::{Answering, seconds};
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::ledger_file::in_time;
use crate::support::operator::{Books, eventually};
use crate::support::script::Act;
use crate::support::time::patiently;
use crate::support::world::World;

async fn world() -> World {
    let world = World::builder()
        .with_frozen_time()
        .with_settings(|settings| settings.ledger.admit_within = Duration::from_secs(1));
    world.with_settings(|settings| settings.delivery.attempt_timeout = seconds(30)).start().await
}

/// A world that gives the ledger one second.
async fn hasty_world() -> World {
    let world = World::builder().with_frozen_time();
    world.with_settings(|settings| settings.ledger.admit_within = seconds(1)).start().await
}

/// A call that the ledger keeps waiting for longer than `admit_within`.
async fn outruns_the_ledger(world: &World, callback: &Callback) -> Answering {
    let (books, valid) = (world.books(), [("result", "valid")]);
    let before = books.metric("kallback_token_checks_total", &valid).await;
    let call = world.calling(callback);
    books.wait_for_metric("kallback_token_checks_total", &valid, before + 1.0).await;
    let admit_within = world.settings.ledger.admit_within;
    world.pass(admit_within + Duration::from_millis(10), admit_within).await;
    call
}

#[tokio::test]
async fn a_broken_ledger_costs_no_callback_and_service_returns_by_itself() {
    let world = world().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::push(&purchase), &purchase);
    world.ledger_file().spoil();

    let calls = [world.calling(&callback), world.calling(&callback), world.calling(&callback)];
    world.shop.wait_for_requests(1).await;
    world.pass(seconds(10), seconds(1)).await;
    assert!(calls.iter().all(|call| !call.is_finished()), "answered by nobody who may");
    gate.open();
    for call in calls {
        let answer = patiently("the shop's answer", call).await.unwrap().unwrap();
        assert_eq!((answer.status, answer.text()), (200, "-1"));
    }
    world.shop.saw(1);
    let seen = world.shop.request();
    assert_eq!((seen.attempt(), seen.is_redelivery()), (Some(1), false));
    assert!(world.books().metric("kallback_ledger_failures_total", &[]).await >= 1.0);
    assert_eq!(world.books().books().await, Books::default());

    world.ledger_file().mend();
    eventually("a record", async || {
        let purchase = Purchase::new();
        let callback = world.signed(Callback::push(&purchase), &purchase);
        assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200);
        world.books().books().await.accepted > 0
    })
    .await;
}

#[tokio::test]
async fn what_a_shop_says_while_the_ledger_is_broken_goes_back_as_it_is() {
    let mut world = world().await;
    world.ledger_file().spoil();
    for (act, status) in
        [(Act::minus_one(200), 200), (Act::reply(500), 500), (Act::maintenance(), 503), (Act::reset(), 502)]
    {
        world.shop.next(act);
        assert_eq!(another_authorization(&world).await, status);
    }
    world.shop.go_down().await;
    assert_eq!(another_authorization(&world).await, 502);
    // Nothing of it was kept, and nothing of it comes again.
    world.shop.come_back().await;
    world.pass(seconds(600), seconds(10)).await;
    world.shop.saw(4);
}

#[tokio::test]
async fn a_shop_that_never_answers_while_the_ledger_is_broken_is_no_success() {
    let world = world().await;
    world.ledger_file().spoil();
    world.shop.always_for("/", Act::hang());
    let purchase = Purchase::new();
    let call = world.calling(&world.signed(Callback::push(&purchase), &purchase));
    world.shop.wait_for_requests(1).await;
    world.pass(seconds(29), seconds(1)).await;
    assert!(!call.is_finished(), "answered by nobody who may");
    world.pass(seconds(2), seconds(1)).await;
    assert_eq!(patiently("the answer", call).await.unwrap().unwrap().status, 504);
}

#[tokio::test]
async fn a_full_ledger_passes_callbacks_through_until_there_is_room_again() {
    let world = World::builder()
        .with_frozen_time()
        .with_settings(|settings| settings.ledger.admit_within = Duration::from_secs(1));
    let world = world.with_settings(|settings| settings.ledger.bytes_max = 3 << 20).start().await;
    let large = vec![b' '; 1 << 20];
    let notification = |purchase: &Purchase| {
        let callback = Callback::notification(purchase);
        let body = [&callback.body[..], &large].concat();
        world.signed(callback.with_body(body), purchase)
    };
    let mut last = (Purchase::new(), 0);
    eventually("a full ledger", async || {
        let purchase = Purchase::new();
        assert_eq!(world.somebody().call(&notification(&purchase)).await.unwrap().status, 200);
        last = (purchase, last.1 + 1);
        world.books().metric("kallback_ledger_failures_total", &[]).await > 0.0
    })
    .await;
    let kept = last.1 - 1;
    assert!((2..=4).contains(&kept), "{kept} MiB in a ledger of 3 MiB");
    world.shop.saw(last.1);

    // No record, so no replay; and what fails is told to the sender.
    assert_eq!(world.somebody().call(&notification(&last.0)).await.unwrap().header("kallback-replayed"), None);
    world.shop.saw(last.1 + 1);
    world.shop.next(Act::reply(500));
    assert_eq!(world.somebody().call(&notification(&last.0)).await.unwrap().status, 500);

    world.pass(seconds(26 * 3600), seconds(600)).await;
    eventually("room", async || {
        world.pass(seconds(60), seconds(60)).await;
        assert_eq!(world.somebody().call(&notification(&last.0)).await.unwrap().status, 200);
        world.books().books().await.accepted > kept as u64
    })
    .await;
}

#[test]
fn a_slow_ledger_holds_nobody_up_and_learns_what_became_of_the_notice() {
    in_time(async || {
        let world = hasty_world().await;
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let lock = world.ledger_file().lock();

        let call = outruns_the_ledger(&world, &callback).await;
        let answer = patiently("the shop's answer", call).await.unwrap().unwrap();
        assert_eq!((answer.status, answer.text()), (200, "-1"));
        assert!(world.books().metric("kallback_ledger_failures_total", &[]).await >= 1.0);
        if !lock.release() {
            return false;
        }
        world.books().wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
        world.pass(seconds(600), seconds(10)).await;
        world.shop.saw(1);
        true
    });
}

#[test]
fn a_failure_behind_a_slow_ledger_is_told_to_the_sender_and_comes_again_once_it_is_recorded() {
    in_time(async || {
        let world = hasty_world().await;
        world.shop.next(Act::reply(500));
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let lock = world.ledger_file().lock();

        let call = outruns_the_ledger(&world, &callback).await;
        assert_eq!(patiently("the shop's answer", call).await.unwrap().unwrap().status, 500);
        if !lock.release() {
            return false;
        }
        world.books().wait_for_books(Books { accepted: 1, pending: 1, ..Books::default() }).await;
        world.pass(seconds(600), seconds(10)).await;
        world.books().wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
        let seen = world.shop.requests();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[1].attempt(), seen[1].is_redelivery()), (Some(2), true));
        true
    });
}

#[test]
fn calls_behind_a_slow_ledger_are_joined_and_answered_with_the_shop_and_not_with_the_ledger() {
    in_time(async || {
        let world = hasty_world().await;
        let gate = Gate::closed();
        world.shop.next(Act::minus_one(200).once_open(&gate));
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let lock = world.ledger_file().lock();

        let first = outruns_the_ledger(&world, &callback).await;
        world.shop.wait_for_requests(1).await;
        let second = world.calling(&callback);
        let joined = [("kind", "authorization"), ("state", "in_flight")];
        world.books().wait_for_metric("kallback_duplicates_total", &joined, 1.0).await;
        world.pass(seconds(10), seconds(1)).await;
        assert!(!first.is_finished() && !second.is_finished(), "answered by nobody who may");
        gate.open();
        for call in [first, second] {
            assert_eq!(patiently("the answer", call).await.unwrap().unwrap().text(), "-1");
        }
        world.shop.saw(1);
        lock.release()
    });
}

#[test]
fn behind_a_slow_ledger_two_authorizations_of_one_session_still_go_one_after_the_other() {
    in_time(async || {
        let world = hasty_world().await;
        let gate = Gate::closed();
        world.shop.next(Act::minus_one(200).once_open(&gate));
        let purchase = Purchase::new();
        let again = purchase.authorised_again();
        let lock = world.ledger_file().lock();

        let first = outruns_the_ledger(&world, &world.signed(Callback::authorization(&purchase), &purchase)).await;
        world.shop.wait_for_requests(1).await;
        let second = outruns_the_ledger(&world, &world.signed(Callback::authorization(&again), &again)).await;
        world.shop.saw(1);
        gate.open();
        for call in [first, second] {
            assert_eq!(patiently("the answer", call).await.unwrap().unwrap().status, 200);
        }
        world.shop.saw(2);
        lock.release()
    });
}

#[tokio::test]
async fn without_a_ledger_two_authorizations_of_one_session_still_go_one_after_the_other() {
    let world = world().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    let again = purchase.authorised_again();
    world.ledger_file().spoil();

    let first = world.calling(&world.signed(Callback::authorization(&purchase), &purchase));
    world.shop.wait_for_requests(1).await;
    let failures = world.books().metric("kallback_ledger_failures_total", &[]).await;
    let second = world.calling(&world.signed(Callback::authorization(&again), &again));
    world.books().wait_for_metric("kallback_ledger_failures_total", &[], failures + 2.0).await;
    world.time.as_ref().unwrap().rest().await;
    world.shop.saw(1);
    gate.open();

    for call in [first, second] {
        assert_eq!(patiently("the answer", call).await.unwrap().unwrap().status, 200);
    }
    world.shop.saw(2);
}

/// A session whose first authorization the shop has taken, and whose second one is at the shop until the gate opens.
async fn one_settled_and_one_at_the_shop(world: &World, gate: &Gate) -> (Callback, Answering) {
    let purchase = Purchase::new();
    let again = purchase.authorised_again();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    world.shop.next(Act::reply(200).body(said_at_length()));
    assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200);
    world.books().wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    world.shop.next(Act::minus_one(200).once_open(gate));
    let second = world.calling(&world.signed(Callback::authorization(&again), &again));
    world.shop.wait_for_requests(2).await;
    (callback, second)
}

/// A reply that is too large to be replayed from memory: the ledger has to be asked.
fn said_at_length() -> String {
    "taken ".repeat(1024)
}

/// The reply to a repeat that the ledger, by then, knew to be none of the shop's business.
async fn is_replayed(world: &World, repeat: Answering) {
    let answer = patiently("the recorded reply", repeat).await.unwrap().unwrap();
    assert_eq!((answer.text(), answer.header("kallback-replayed")), (said_at_length().as_str(), Some("true")));
    world.shop.saw(2);
}

#[test]
fn what_a_slow_ledger_says_while_a_repeat_waits_for_its_turn_counts() {
    in_time(async || {
        let (world, gate) = (hasty_world().await, Gate::closed());
        let (callback, _second) = one_settled_and_one_at_the_shop(&world, &gate).await;
        let lock = world.ledger_file().lock();
        let repeat = outruns_the_ledger(&world, &callback).await;
        if !lock.release() {
            return false;
        }
        is_replayed(&world, repeat).await;
        true
    });
}

#[tokio::test]
async fn a_repeat_that_waited_for_its_turn_is_looked_up_again_in_a_ledger_that_works_again() {
    let (world, gate) = (world().await, Gate::closed());
    let (callback, second) = one_settled_and_one_at_the_shop(&world, &gate).await;
    let lock = world.ledger_file().lock();
    let repeat = world.calling(&callback);
    // SQLite's own patience ends first, in real time: the ledger fails.
    world.books().wait_for_metric("kallback_ledger_failures_total", &[], 1.0).await;
    drop(lock);
    assert!(!repeat.is_finished(), "it is not its turn");
    gate.open();
    assert_eq!(patiently("the second answer", second).await.unwrap().unwrap().status, 200);
    is_replayed(&world, repeat).await;
}

#[tokio::test]
async fn a_broken_ledger_with_something_due_is_asked_again_at_a_walking_pace() {
    let world = World::start().await;
    world.shop.next(Act::reply(503).header("retry-after", "1"));
    assert_eq!(another_authorization(&world).await, 204);
    eventually("a time for the next attempt", async || world.ledger_file().rows()[0].waits_for_its_time).await;
    world.ledger_file().spoil();
    world.books().wait_for_metric("kallback_ledger_failures_total", &[], 2.0).await;

    let failures = async || world.books().metric("kallback_ledger_failures_total", &[]).await;
    let (first, since) = (failures().await, Instant::now());
    for _ in 0..100 {
        failures().await;
    }
    let (more, seconds) = (failures().await - first, since.elapsed().as_secs_f64());
    assert!(more <= 6.0 + 6.0 * seconds, "{more} more failures in {seconds} s");
    world.shop.saw(1);
}

async fn another_authorization(world: &World) -> u16 {
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    world.somebody().call(&callback).await.unwrap().status
}
