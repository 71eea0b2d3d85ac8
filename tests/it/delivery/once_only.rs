//! What kallback must not bring again on a guess: pushes and webhooks that the shop may have seen.

use std::time::Duration;

use kallback::event::{Kind, Mode};

use super::{postponed, send, settle};
use crate::support::callbacks::{Callback, Purchase, place};
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::time::patiently;
use crate::support::world::World;

#[tokio::test]
async fn a_push_that_certainly_did_not_reach_the_shop_comes_again() {
    let mut world = World::builder().with_frozen_time().start().await;
    let operator = world.operator();
    world.shop.go_down().await;
    let purchase = Purchase::new();
    assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, 204);
    postponed(&operator, 1, 1).await;
    world.shop.come_back().await;
    settle(&world, 1).await;
    let seen = world.shop.request();
    assert_eq!((seen.attempt(), seen.is_redelivery()), (Some(2), true));
}

#[tokio::test]
async fn a_push_whose_connection_was_reset_is_left_to_its_sender() {
    left_to_its_sender(Act::reset(), 502).await;
}

#[tokio::test]
async fn a_push_that_got_no_answer_is_left_to_its_sender() {
    left_to_its_sender(Act::close(), 502).await;
}

#[tokio::test]
async fn a_push_at_which_the_shop_failed_is_left_to_its_sender() {
    left_to_its_sender(Act::reply(500).body("fatal"), 500).await;
}

async fn left_to_its_sender(act: Act, status: u16) {
    let world = World::builder().with_frozen_time().start().await;
    world.shop.next(act);
    let purchase = Purchase::new();
    assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, status);
    let operator = world.operator();
    operator.wait_for_books(Books { accepted: 1, left: 1, ..Books::default() }).await;
    assert_eq!(operator.metric("kallback_left_total", &[("kind", "push")]).await, 1.0);
    world.time.as_ref().unwrap().pass(Duration::from_secs(600), Duration::from_secs(10)).await;
    world.shop.saw(1);
    // Klarna's own repeat is welcome, and is no redelivery of ours.
    assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, 200);
    let seen = world.shop.requests().pop().unwrap();
    assert_eq!((seen.attempt(), seen.is_redelivery()), (Some(1), false));
}

#[tokio::test]
async fn a_push_of_magento_never_comes_again() {
    never_again("magento2").await;
}

#[tokio::test]
async fn a_push_of_oxid_never_comes_again() {
    never_again("oxid").await;
}

async fn never_again(preset: &str) {
    let world = World::builder().with_frozen_time();
    let mut world = world.with_settings(|settings| settings.recognise.presets.push("oxid".to_owned())).start().await;
    let operator = world.operator();
    let purchase = Purchase::new();
    let callback = Callback::at(&place(preset, Kind::Push), &purchase);
    world.shop.next(Act::maintenance());
    assert_eq!(send(&world, callback.clone(), &purchase).await, 503);
    operator.wait_for_books(Books { accepted: 1, left: 1, ..Books::default() }).await;
    world.shop.go_down().await;
    assert_eq!(send(&world, callback, &purchase).await, 502);
    operator.wait_for_books(Books { accepted: 2, left: 2, ..Books::default() }).await;
    world.shop.come_back().await;
    world.time.as_ref().unwrap().pass(Duration::from_secs(600), Duration::from_secs(10)).await;
    world.shop.saw(1);
}

#[tokio::test]
async fn a_webhook_whose_sender_was_told_204_and_whose_outcome_is_unknown_is_dead() {
    let world = World::builder().with_frozen_time().with_mode(Mode::Off).start().await;
    world.shop.always_for("/", Act::hang());
    let call = world.calling(&Callback::webhook(&Purchase::new()));
    world.shop.wait_for_requests(1).await;
    let clock = world.time.as_ref().unwrap();
    clock.pass(Duration::from_secs(5), Duration::from_secs(1)).await;
    assert_eq!(patiently("the answer", call).await.unwrap().unwrap().status, 204);
    let operator = world.operator();
    assert_eq!(operator.books().await.pending, 1);

    clock.pass(Duration::from_secs(60), Duration::from_secs(1)).await;
    operator.wait_for_books(Books { accepted: 1, dead: 1, ..Books::default() }).await;
    assert_eq!(operator.metric("kallback_dead_total", &[("kind", "webhook")]).await, 1.0);
    clock.pass(Duration::from_secs(600), Duration::from_secs(10)).await;
    world.shop.saw(1);
}

#[tokio::test]
async fn a_webhook_whose_sender_learnt_of_the_failure_is_left_to_him() {
    let world = World::builder().with_frozen_time().with_mode(Mode::Off).start().await;
    world.shop.next(Act::reset());
    let answer = world.somebody().call(&Callback::webhook(&Purchase::new())).await.unwrap();
    assert_eq!(answer.status, 502);
    let operator = world.operator();
    operator.wait_for_books(Books { accepted: 1, left: 1, ..Books::default() }).await;
}
