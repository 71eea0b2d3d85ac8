//! On which connection a notice goes to the shop: an idle one can die at that moment, and then nobody knows.

use std::time::Duration;

use super::{authorize, send, settle};
use crate::support::callbacks::{Callback, Purchase};
use crate::support::script::Act;
use crate::support::world::World;

/// The connections that the shop's requests came on, in their order.
fn connections(world: &World) -> Vec<usize> {
    world.shop.requests().iter().map(|seen| seen.connection).collect()
}

#[tokio::test]
async fn an_authorization_takes_the_connection_that_was_just_used() {
    let world = World::frozen().start().await;
    for _ in 0..3 {
        assert_eq!(authorize(&world).await, 200);
    }
    assert_eq!(connections(&world), [0, 0, 0]);
}

#[tokio::test]
async fn a_push_never_does() {
    let world = World::frozen().start().await;
    assert_eq!(authorize(&world).await, 200);
    for _ in 0..2 {
        let purchase = Purchase::new();
        assert_eq!(send(&world, Callback::push(&purchase), &purchase).await, 200);
    }
    assert_eq!(connections(&world), [0, 1, 2]);
}

#[tokio::test]
async fn a_question_never_does() {
    let world = World::frozen().start().await;
    assert_eq!(authorize(&world).await, 200);
    let purchase = Purchase::new();
    assert_eq!(send(&world, Callback::validation(&purchase), &purchase).await, 200);
    assert_eq!(connections(&world), [0, 1]);
}

#[tokio::test]
async fn a_connection_that_was_idle_for_a_second_is_left_to_others() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    for pause in [999, 1_000] {
        assert_eq!(authorize(&world).await, 200);
        time.pass(Duration::from_millis(pause), Duration::from_millis(111)).await;
    }
    assert_eq!(authorize(&world).await, 200);
    assert_eq!(connections(&world), [0, 0, 1]);
}

/// The race that nobody wins: the shop gives the idle connection up, and kallback writes before it can know that.
#[tokio::test]
async fn a_callback_whose_idle_connection_dies_at_that_moment_comes_again_and_says_so() {
    let world = World::frozen().start().await;
    assert_eq!(authorize(&world).await, 200);
    world.shop.next(Act::reset_unread());
    assert_eq!(authorize(&world).await, 204);
    settle(&world, 2).await;
    assert_eq!(connections(&world), [0, 1]);
    let came = world.shop.requests().pop().unwrap();
    assert_eq!((came.attempt(), came.is_redelivery()), (Some(2), true));
}

#[tokio::test]
async fn a_callback_that_the_shop_read_before_it_hung_up_comes_again_and_says_so() {
    let world = World::frozen().start().await;
    assert_eq!(authorize(&world).await, 200);
    world.shop.next(Act::close());
    assert_eq!(authorize(&world).await, 204);
    settle(&world, 2).await;
    let seen = world.shop.requests();
    let marks: Vec<_> = seen.iter().map(|seen| (seen.attempt(), seen.is_redelivery())).collect();
    assert_eq!(marks, [(Some(1), false), (Some(1), false), (Some(2), true)]);
    assert_eq!(connections(&world), [0, 0, 1]);
}

#[tokio::test]
async fn a_connection_that_is_known_to_be_closed_costs_the_callback_nothing() {
    let world = World::frozen().start().await;
    world.shop.next(Act::minus_one(200).then_close());
    assert_eq!(authorize(&world).await, 200);
    world.time.as_ref().unwrap().rest().await;
    assert_eq!(authorize(&world).await, 200);
    let came = world.shop.requests().pop().unwrap();
    assert_eq!((came.connection, came.attempt(), came.is_redelivery()), (1, Some(1), false));
}

/// Whatever was wrong with the connection before is not wrong with this one.
#[tokio::test]
async fn an_attempt_of_kallbacks_own_has_a_connection_of_its_own() {
    let world = World::frozen().start().await;
    assert_eq!(authorize(&world).await, 200);
    world.shop.next(Act::reply(500));
    assert_eq!(authorize(&world).await, 204);
    settle(&world, 2).await;
    assert_eq!(connections(&world), [0, 0, 1]);
}
