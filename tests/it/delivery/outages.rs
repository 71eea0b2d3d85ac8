//! The shop is away for a while, or somebody stands in front of it.

use std::time::Duration;

use super::{authorize, postponed, send, settle};
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::operator::{Books, eventually};
use crate::support::script::Act;
use crate::support::shop::Seen;
use crate::support::world::World;

#[tokio::test]
async fn the_first_success_after_an_outage_wakes_everything_a_few_at_once() {
    let mut world = World::builder().with_frozen_time().start().await;
    world.shop.go_down().await;
    for _ in 0..9 {
        assert_eq!(authorize(&world).await, 204);
    }
    let operator = world.operator();
    let clock = world.time.as_ref().unwrap();
    // Until each waits for minutes.
    clock.pass(Duration::from_secs(20 * 60), Duration::from_secs(1)).await;
    let waits = async || world.ledger_file().rows().iter().all(|row| row.waits_for_its_time);
    eventually("a time for each", waits).await;

    world.shop.come_back().await;
    let gate = Gate::closed();
    world.shop.always_for("KP_WC_AUTHORIZATION", Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, 200);
    // No time passes from here on.
    world.shop.wait_for_requests(5).await;
    clock.rest().await;
    world.shop.saw(5);
    gate.open();

    operator.wait_for_books(Books { accepted: 10, settled: 10, ..Books::default() }).await;
    world.shop.saw(10);
    assert_eq!(world.shop.most_at_once(), 4);
}

#[tokio::test]
async fn an_outage_ends_with_the_first_success_of_a_redelivery_too() {
    let mut world = World::builder().with_frozen_time().start().await;
    world.shop.go_down().await;
    for _ in 0..4 {
        assert_eq!(authorize(&world).await, 204);
    }
    let clock = world.time.as_ref().unwrap();
    clock.pass(Duration::from_secs(20 * 60), Duration::from_secs(1)).await;
    world.shop.come_back().await;
    let clock = world.time.as_ref().unwrap();
    clock.run(world.shop.wait_for_requests(1)).await;
    let since = world.clock.now();
    settle(&world, 4).await;
    assert!(world.clock.now().since(since) < Duration::from_secs(30), "the others waited for their own time");
}

#[tokio::test]
async fn a_firewall_is_named_and_what_it_turned_away_comes_again_also_a_push() {
    let world = World::builder().with_frozen_time().start().await;
    for callback in [Callback::authorization, Callback::push] {
        world.shop.next(Act::wordfence());
        let purchase = Purchase::new();
        assert_eq!(send(&world, callback(&purchase), &purchase).await, 204);
    }
    let operator = world.operator();
    assert_eq!(operator.metric("kallback_blocked_total", &[("by", "wordfence-waf")]).await, 2.0);
    let record = postponed(&operator, 1, 1).await;
    assert_eq!(record["note"], "blocked by wordfence-waf");
    settle(&world, 2).await;
    assert!(world.shop.requests()[2..].iter().all(Seen::is_redelivery));
}
