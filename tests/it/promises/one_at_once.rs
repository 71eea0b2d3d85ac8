//! Third promise: the shop never sees two requests of one notice at once, nor a second one after a 2xx within the
//! window.

use super::{minutes, seconds};
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::time::patiently;
use crate::support::world::World;

#[tokio::test]
async fn twenty_calls_at_once_are_one_request_and_all_get_its_reply() {
    let world = World::start().await;
    let gate = Gate::closed();
    world.shop.always(Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::push(&purchase), &purchase);

    let old = world.somebody();
    let new = world.somebody().over_http2(&world.authority);
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let (klarna, callback) = (if number % 2 == 0 { old.clone() } else { new.clone() }, callback.clone());
            tokio::spawn(async move { klarna.call(&callback).await })
        })
        .collect();
    let joined = [("kind", "push"), ("state", "in_flight")];
    world.books().wait_for_metric("kallback_duplicates_total", &joined, 19.0).await;
    world.shop.wait_for_requests(1).await;
    world.shop.saw(1);
    gate.open();

    for call in calls {
        let answer = patiently("an answer", call).await.unwrap().unwrap();
        assert_eq!((answer.status, answer.text()), (200, "-1"));
        assert_eq!(answer.header("kallback-replayed"), None);
    }
    world.shop.saw(1);
}

#[tokio::test]
async fn a_repeat_within_the_window_gets_the_recorded_reply_and_one_after_it_reaches_the_shop() {
    let world = World::builder().with_frozen_time().start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let books = world.books();
    let settled = |settled| Books { accepted: settled, settled, ..Books::default() };

    assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200);
    books.wait_for_books(settled(1)).await;
    for _ in 0..3 {
        world.pass(minutes(19), minutes(1)).await;
        let answer = world.somebody().call(&callback).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.header("kallback-replayed")), (200, "-1", Some("true")));
    }
    world.shop.saw(1);

    world.pass(minutes(4), minutes(1)).await;
    let answer = world.somebody().call(&callback).await.unwrap();
    assert_eq!((answer.status, answer.header("kallback-replayed")), (200, None));
    books.wait_for_books(settled(2)).await;
    world.shop.saw(2);
}

#[tokio::test]
async fn a_repeat_joins_a_delivery_that_the_shop_is_done_with_and_the_ledger_not() {
    let world = World::builder().with_frozen_time().start().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);

    let first = world.calling(&callback);
    world.shop.wait_for_requests(1).await;
    let lock = world.ledger_file().lock();
    gate.open();
    assert_eq!(patiently("the first answer", first).await.unwrap().unwrap().text(), "-1");

    for _ in 0..3 {
        let repeat = world.somebody().call(&callback).await.unwrap();
        assert_eq!((repeat.status, repeat.text()), (200, "-1"));
    }
    // Also after the write failed: until it succeeds, the notice stays in the air.
    world.books().wait_for_metric("kallback_ledger_failures_total", &[], 1.0).await;
    assert_eq!(world.somebody().call(&callback).await.unwrap().text(), "-1");
    world.shop.saw(1);

    drop(lock);
    crate::support::operator::eventually("the record", async || {
        world.pass(seconds(1), seconds(1)).await;
        world.books().books().await.settled == 1
    })
    .await;
    let replay = world.somebody().call(&callback).await.unwrap();
    assert_eq!((replay.status, replay.header("kallback-replayed")), (200, Some("true")));
    world.shop.saw(1);
}

#[tokio::test]
async fn klarnas_three_attempts_at_a_slow_shop_are_one_request_whose_late_success_counts() {
    let world = World::builder().with_frozen_time().start().await;
    world.shop.next(Act::minus_one(200).after(seconds(30)));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let time = world.time.as_ref().unwrap();

    let answer = time.run(world.klarna().insist(&callback)).await.unwrap();
    assert_eq!((answer.status, answer.attempts), (204, 1));
    assert!(answer.took < seconds(2), "{:?}", answer.took);
    // She calls all the same, and again.
    for _ in 0..2 {
        assert_eq!(time.run(world.klarna().call(&callback)).await.unwrap().status, 204);
    }
    world.shop.saw(1);
    assert!(!world.shop.requests()[0].caller_left, "the shop's call is never cut");

    world.pass(seconds(30), seconds(1)).await;
    world.books().wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    let replay = world.somebody().call(&callback).await.unwrap();
    assert_eq!((replay.text(), replay.header("kallback-replayed")), ("-1", Some("true")));
    world.shop.saw(1);
}

#[tokio::test]
async fn a_call_that_waited_for_a_seat_has_its_whole_time_at_the_shop() {
    let world = World::frozen().with_settings(|settings| {
        settings.limits.seats.max_in_flight = 1;
        settings.limits.seats.reserved_for_callbacks = 0;
    });
    let world = world.start().await;
    let gates = [Gate::closed(), Gate::closed()];
    gates.iter().for_each(|gate| world.shop.next(Act::minus_one(200).once_open(gate)));
    let calls = [(); 2].map(|()| {
        let purchase = Purchase::new();
        world.calling(&world.signed(Callback::authorization(&purchase), &purchase))
    });
    world.shop.wait_for_requests(1).await;
    world.pass(seconds(50), seconds(1)).await;
    gates[0].open();
    world.shop.wait_for_requests(2).await;
    world.pass(seconds(50), seconds(1)).await;
    gates[1].open();

    world.books().wait_for_books(Books { accepted: 2, settled: 2, ..Books::default() }).await;
    for call in calls {
        assert_eq!(patiently("an answer", call).await.unwrap().unwrap().status, 204);
    }
    assert!(!world.shop.requests()[1].caller_left, "the shop's call is never cut");
}

#[tokio::test]
async fn a_caller_who_hangs_up_and_comes_back_finds_the_same_delivery() {
    let world = World::builder().with_frozen_time().start().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::push(&purchase), &purchase);

    let mut line = world.somebody().connect().await.unwrap();
    line.write(&callback.bytes(crate::support::world::HOST)).await;
    world.shop.wait_for_requests(1).await;
    line.reset();
    let again = world.calling(&callback);
    let joined = [("kind", "push"), ("state", "in_flight")];
    world.books().wait_for_metric("kallback_duplicates_total", &joined, 1.0).await;
    gate.open();

    assert_eq!(patiently("the answer", again).await.unwrap().unwrap().text(), "-1");
    world.shop.saw(1);
    assert!(!world.shop.requests()[0].caller_left, "the shop's call hangs on nobody");
}

#[tokio::test]
async fn a_sender_who_repeats_during_kallbacks_own_redelivery_joins_it() {
    let mut world = World::builder().with_frozen_time().start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    world.shop.go_down().await;
    assert_eq!(world.somebody().call(&callback).await.unwrap().status, 204);
    world.shop.come_back().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));

    let seen = world.time.as_ref().unwrap().run(world.shop.wait_for_requests(1)).await;
    assert!(seen[0].is_redelivery());
    let repeat = world.calling(&callback);
    let joined = [("kind", "authorization"), ("state", "in_flight")];
    world.books().wait_for_metric("kallback_duplicates_total", &joined, 1.0).await;
    gate.open();

    assert_eq!(patiently("the answer", repeat).await.unwrap().unwrap().text(), "-1");
    world.shop.saw(1);
}
