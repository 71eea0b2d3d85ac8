//! Klarna repeats a push until its order is acknowledged, and a shop that says 200 may have done nothing.

use std::time::Duration;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::Answered;
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::world::World;

#[tokio::test]
async fn unacknowledged_repeats_reach_the_shop_are_counted_and_alarm_from_the_third_push_on() {
    let world = World::builder().with_frozen_time().start().await;
    let operator = world.operator();
    let purchase = Purchase::new();
    let alarms = async || operator.metric("kallback_unacknowledged_orders_total", &[]).await;
    let repeats = async || operator.metric("kallback_unacknowledged_push_repeats_total", &[]).await;

    for (number, (repeated, alarmed)) in [(0.0, 0.0), (1.0, 0.0), (2.0, 1.0), (3.0, 1.0)].into_iter().enumerate() {
        let answer = push(&world, &purchase).await;
        assert_eq!((answer.status, answer.header("kallback-replayed")), (200, None));
        world.shop.saw(number + 1);
        assert_eq!((repeats().await, alarms().await), (repeated, alarmed), "push {}", number + 1);
        let settled = number as u64 + 1;
        operator.wait_for_books(Books { accepted: settled, settled, ..Books::default() }).await;
        world.time.as_ref().unwrap().pass(Duration::from_secs(300), Duration::from_secs(60)).await;
    }
    // Another order is another matter.
    push(&world, &Purchase::new()).await;
    assert_eq!((repeats().await, alarms().await), (3.0, 1.0));
    assert_eq!(operator.callbacks(&format!("subject={}", purchase.order)).await[0]["repeats"], 3);
}

#[tokio::test]
async fn pushes_that_the_shop_failed_are_no_repeats_of_one_that_it_took() {
    let world = World::builder().with_frozen_time().start().await;
    let operator = world.operator();
    let purchase = Purchase::new();
    for number in 1..=3 {
        world.shop.next(Act::reply(500));
        push(&world, &purchase).await;
        operator.wait_for_books(Books { accepted: number, left: number, ..Books::default() }).await;
    }
    push(&world, &purchase).await;
    assert_eq!(operator.metric("kallback_unacknowledged_push_repeats_total", &[]).await, 0.0);
    world.shop.saw(4);
}

#[tokio::test]
async fn a_repeat_within_a_minute_is_answered_from_the_record() {
    let world = World::builder().with_frozen_time().start().await;
    let purchase = Purchase::new();
    push(&world, &purchase).await;
    world.operator().wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    world.time.as_ref().unwrap().pass(Duration::from_secs(59), Duration::from_secs(1)).await;
    let repeat = push(&world, &purchase).await;
    assert_eq!((repeat.text(), repeat.header("kallback-replayed")), ("-1", Some("true")));
    world.shop.saw(1);
}

#[tokio::test]
async fn an_acknowledged_orders_push_is_answered_from_the_record_for_two_days() {
    let world = World::builder().with_frozen_time().start().await;
    let operator = world.operator();
    let purchase = Purchase::new();
    push(&world, &purchase).await;
    operator.wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    assert_eq!(operator.acknowledge(&purchase.order).await, 1);

    for _ in 0..3 {
        world.time.as_ref().unwrap().pass(Duration::from_secs(15 * 3600), Duration::from_secs(900)).await;
        let repeat = push(&world, &purchase).await;
        assert_eq!((repeat.text(), repeat.header("kallback-replayed")), ("-1", Some("true")));
    }
    world.shop.saw(1);
    world.time.as_ref().unwrap().pass(Duration::from_secs(4 * 3600), Duration::from_secs(900)).await;
    assert_eq!(push(&world, &purchase).await.header("kallback-replayed"), None);
    world.shop.saw(2);
}

#[tokio::test]
async fn an_order_that_was_acknowledged_before_its_push_settled_is_remembered() {
    let world = World::builder().with_frozen_time().start().await;
    let operator = world.operator();
    let purchase = Purchase::new();
    assert_eq!(operator.acknowledge(&purchase.order).await, 0);
    push(&world, &purchase).await;
    operator.wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    world.time.as_ref().unwrap().pass(Duration::from_secs(3600), Duration::from_secs(60)).await;
    assert_eq!(push(&world, &purchase).await.header("kallback-replayed"), Some("true"));
    world.shop.saw(1);
}

async fn push(world: &World, purchase: &Purchase) -> Answered {
    world.somebody().call(&world.signed(Callback::push(purchase), purchase)).await.unwrap()
}
