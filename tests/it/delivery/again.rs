//! kallback's own redelivery of one notice: its times, its marks, its end.

use std::time::Duration;

use super::{authorize, postponed, send, settle, time};
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::shop::Seen;
use crate::support::world::World;

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test]
async fn each_attempt_comes_at_its_time_within_the_schedules_step_and_says_which_it_is() {
    let world = World::builder().with_frozen_time().start().await;
    world.shop.always_for("/", Act::reply(500));
    let operator = world.operator();
    assert_eq!(authorize(&world).await, 204);

    let mut pauses = Vec::new();
    for (number, step) in [1, 2, 5, 10, 30, 60, 120, 120, 120].into_iter().enumerate() {
        let tried = number + 1;
        let record = postponed(&operator, 1, tried as u64).await;
        let pause = time(&record, "due_at").since(world.clock.now());
        assert!(pause <= Duration::from_secs(step), "attempt {tried} + {pause:?}, at most {step} s");
        let clock = world.time.as_ref().unwrap();
        clock.pass(pause.saturating_sub(MILLISECOND), Duration::from_secs(1)).await;
        world.shop.saw(tried);
        let seen = comes_at_once(&world, tried + 1).await;
        assert_eq!((seen[tried].attempt(), seen[tried].is_redelivery()), (Some(tried as u32 + 1), true));
        assert_eq!((seen[tried].key(), &seen[tried].body), (seen[0].key(), &seen[0].body));
        pauses.push(pause.as_secs_f64() / step as f64);
    }
    assert_eq!((world.shop.requests()[0].attempt(), world.shop.requests()[0].is_redelivery()), (Some(1), false));
    // Nine draws from the whole step: all in one half of it would be one time in 256.
    assert!(pauses.iter().any(|share| (share - pauses[0]).abs() > 0.01), "no jitter: {pauses:?}");
}

#[tokio::test]
async fn retry_after_is_the_least_pause() {
    retry_after("90", Duration::from_secs(90)).await;
}

#[tokio::test]
async fn retry_after_has_a_bound() {
    retry_after("100000", Duration::from_secs(600)).await;
}

/// What waits, waits for a time of the wall clock.
#[tokio::test]
async fn nothing_waits_longer_because_the_clock_is_set_back() {
    let world = World::builder().with_frozen_time().start().await;
    world.shop.next(Act::reply(503).header("retry-after", "90"));
    assert_eq!(authorize(&world).await, 204);
    postponed(&world.operator(), 1, 1).await;
    world.clock.jump(-3_600_000);
    world.time.as_ref().unwrap().pass(Duration::from_secs(3), Duration::from_millis(500)).await;
    comes_at_once(&world, 2).await;
}

#[tokio::test]
async fn nothing_waits_longer_because_the_clock_is_set_back_while_nobody_runs() {
    let mut world = World::builder().with_frozen_time().start().await;
    world.shop.next(Act::reply(503).header("retry-after", "90"));
    assert_eq!(authorize(&world).await, 204);
    postponed(&world.operator(), 1, 1).await;
    let time = world.time.take().unwrap();
    time.run(world.stop_gateway()).await;
    world.time = Some(time);
    world.clock.jump(-3_600_000);
    world.start_gateway_again().await;
    comes_at_once(&world, 2).await;
}

async fn retry_after(told: &str, least: Duration) {
    let world = World::builder().with_frozen_time().start().await;
    world.shop.next(Act::reply(503).header("retry-after", told));
    assert_eq!(authorize(&world).await, 204);
    let record = postponed(&world.operator(), 1, 1).await;
    let pause = time(&record, "due_at").since(world.clock.now());
    assert!((least..=least + Duration::from_secs(1)).contains(&pause), "{pause:?}");
    world.time.as_ref().unwrap().pass(pause - MILLISECOND, Duration::from_secs(1)).await;
    world.shop.saw(1);
    comes_at_once(&world, 2).await;
}

/// The shop's request number `number` comes as soon as the ledger has leased it. Simulated time runs ten times as
/// fast as the disk meanwhile, at least.
async fn comes_at_once(world: &World, number: usize) -> Vec<Seen> {
    let before = world.clock.now();
    let seen = world.time.as_ref().unwrap().run(world.shop.wait_for_requests(number)).await;
    let took = world.clock.now().since(before);
    assert!(took <= Duration::from_secs(10), "it came {took:?} too late");
    seen
}

#[tokio::test]
async fn what_grew_too_old_is_dead_and_kept_and_a_person_can_bring_it_back() {
    let world = World::builder().with_frozen_time().start().await;
    world.shop.always_for("/", Act::reply(500));
    let operator = world.operator();
    let purchase = Purchase::new();
    let callback = Callback::authorization(&purchase);
    assert_eq!(send(&world, callback.clone(), &purchase).await, 204);

    let clock = world.time.as_ref().unwrap();
    clock.pass(Duration::from_secs(59 * 60), Duration::from_secs(2)).await;
    assert_eq!(operator.books().await.pending, 1);
    clock.pass(Duration::from_secs(3 * 60), Duration::from_secs(2)).await;
    operator.wait_for_books(Books { accepted: 1, dead: 1, ..Books::default() }).await;
    let record = operator.callback(1).await;
    assert_eq!((&record["state"], &record["status"]), (&"dead".into(), &500.into()));
    assert_eq!(record["subject"], purchase.session);
    assert_eq!(operator.metric("kallback_dead_total", &[("kind", "authorization")]).await, 1.0);
    let tried = world.shop.requests().len();
    clock.pass(Duration::from_secs(3600), Duration::from_secs(60)).await;
    world.shop.saw(tried);

    world.shop.always_for("/", Act::minus_one(200));
    assert_eq!(operator.replay(1).await, 202);
    operator.wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    let seen = world.shop.requests().pop().unwrap();
    assert!(seen.is_redelivery() && seen.attempt().unwrap() > tried as u32);
    assert_eq!(seen.body, callback.body);
    assert_eq!(operator.replay(77).await, 404);
}

#[tokio::test]
async fn a_notice_whose_next_pause_is_longer_than_its_life_is_tried_once_more_at_the_end() {
    let world = World::builder().with_frozen_time();
    let world = world.with_settings(|settings| settings.delivery.retry_after_at_most = Duration::from_secs(7200));
    let world = world.start().await;
    world.shop.next(Act::reply(503).header("retry-after", "7000"));
    assert_eq!(authorize(&world).await, 204);
    let operator = world.operator();
    let record = postponed(&operator, 1, 1).await;
    let due_after = time(&record, "due_at").since(time(&record, "accepted_at"));
    assert_eq!(due_after, Duration::from_secs(3590));
    world.time.as_ref().unwrap().pass(Duration::from_secs(3589), Duration::from_secs(10)).await;
    world.shop.saw(1);
    settle(&world, 1).await;
}

#[tokio::test]
async fn a_restart_picks_up_what_was_pending() {
    let mut world = World::builder().with_frozen_time().start().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    assert_eq!(authorize(&world).await, 204);
    assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, 204);
    postponed(&world.operator(), 1, 1).await;
    postponed(&world.operator(), 2, 1).await;

    let clock = world.time.take().unwrap();
    clock.run(world.stop_gateway()).await;
    world.shop.come_back().await;
    world.start_gateway_again().await;
    world.time = Some(clock);
    settle(&world, 2).await;
    let seen = world.shop.requests();
    assert!(seen.iter().all(|seen| seen.is_redelivery() && seen.attempt() == Some(2)));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_lease_loses_no_push() {
    let mut world = World::builder().with_frozen_time().start().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, 204);
    postponed(&world.operator(), 1, 1).await;
    world.shop.come_back().await;
    let ledger = world.ledger_file();
    let lock = ledger.lock();
    let clock = world.time.take().unwrap();
    clock.pass(Duration::from_secs(2), Duration::from_millis(100)).await;
    let released = async {
        clock.pass(Duration::from_millis(100), Duration::from_millis(10)).await;
        drop(lock);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = world.stop_gateway() => {}
        () = released => {}
    }

    world.start_gateway_again().await;
    world.time = Some(clock);
    settle(&world, 1).await;
    world.shop.saw(1);
}

#[tokio::test]
async fn a_sender_who_calls_while_his_notice_waits_is_told_that_kallback_has_it() {
    let mut world = World::builder().with_frozen_time().start().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(world.somebody().call(&callback).await.unwrap().status, 204);
    postponed(&world.operator(), 1, 1).await;
    world.shop.come_back().await;
    assert_eq!(world.somebody().call(&callback).await.unwrap().status, 204);
    world.shop.saw(0);
    assert_eq!(world.operator().books().await, Books { accepted: 1, pending: 1, ..Books::default() });
}

#[tokio::test]
async fn a_new_token_of_the_same_session_is_delivered_after_the_first_and_not_at_once() {
    let world = World::builder().with_frozen_time().start().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));
    let first = Purchase::new();
    let second = first.authorised_again();
    assert_ne!(first.authorization_token, second.authorization_token);
    let other = Purchase::new();

    let calls =
        [&first, &second].map(|purchase| world.calling(&world.signed(Callback::authorization(purchase), purchase)));
    let operator = world.operator();
    operator.wait_for_books(Books { accepted: 2, pending: 2, ..Books::default() }).await;
    world.shop.wait_for_requests(1).await;
    // Another session is not held up.
    assert_eq!(send(&world, Callback::authorization(&other), &other).await, 200);
    world.shop.saw(2);
    gate.open();

    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status, 200);
    }
    operator.wait_for_books(Books { accepted: 3, settled: 3, ..Books::default() }).await;
    let bodies: Vec<_> = world.shop.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies.len(), 3);
    assert_eq!(
        bodies[2],
        if bodies[0] == Callback::authorization(&first).body {
            Callback::authorization(&second).body
        } else {
            Callback::authorization(&first).body
        }
    );
}
