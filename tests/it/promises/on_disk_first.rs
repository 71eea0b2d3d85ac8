//! First promise: a notice that kallback itself answered 2xx is on disk before the first byte of that answer.

use tempfile::TempDir;

use super::seconds;
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::ledger_file::{LedgerFile, in_time};
use crate::support::script::Act;
use crate::support::time::patiently;
use crate::support::world::World;

/// Time stands still, and the ledger may take as long as it likes: nothing but the disk holds an answer up.
async fn world() -> World {
    World::builder().with_frozen_time().start().await
}

#[test]
fn while_the_disk_hangs_no_deadline_makes_kallback_answer() {
    in_time(async || {
        let world = world().await;
        let gate = Gate::closed();
        world.shop.next(Act::minus_one(200).once_open(&gate));
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let lock = world.ledger_file().lock();

        let (first, second) = (world.calling(&callback), world.calling(&callback));
        world.pass(seconds(10), seconds(1)).await;

        assert!(!first.is_finished() && !second.is_finished(), "answered before anything was on disk");
        assert!(world.ledger_file().rows().is_empty());
        if !lock.release() {
            return false;
        }
        assert_eq!(patiently("the answer", first).await.unwrap().unwrap().status, 204);
        let on_disk = world.ledger_file().rows();
        assert_eq!(on_disk.len(), 1);
        assert_eq!(on_disk[0].body.as_deref(), Some(&callback.body[..]));
        gate.open();
        assert_eq!(patiently("the other answer", second).await.unwrap().unwrap().text(), "-1");
        true
    });
}

#[test]
fn while_the_disk_hangs_a_dead_shop_makes_kallback_accept_nothing() {
    in_time(async || {
        let mut world = world().await;
        world.shop.go_down().await;
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let lock = world.ledger_file().lock();

        let call = world.calling(&callback);
        world.pass(seconds(1), seconds(1)).await;

        assert!(!call.is_finished(), "accepted before anything was on disk");
        if !lock.release() {
            return false;
        }
        assert_eq!(patiently("the answer", call).await.unwrap().unwrap().status, 204);
        assert_eq!(world.ledger_file().rows().len(), 1);
        true
    });
}

#[tokio::test]
async fn a_kill_at_the_instant_of_the_answer_leaves_a_ledger_from_which_the_notice_is_delivered() {
    let mut world = world().await;
    world.shop.next(Act::hang());
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);

    let call = world.calling(&callback);
    world.shop.wait_for_requests(1).await;
    world.pass(seconds(2), seconds(1)).await;
    assert_eq!(patiently("the answer", call).await.unwrap().unwrap().status, 204);
    let folder = TempDir::new().unwrap();
    let left = world.ledger_file().copy_into(folder.path());

    continue_from(&mut world, &left).await;
    let seen = world.shop.wait_for_requests(2).await;
    assert!(seen[1].is_redelivery());
    assert_eq!((seen[1].body.as_slice(), seen[1].attempt()), (&callback.body[..], Some(2)));
}

#[tokio::test]
async fn what_waits_for_the_shop_is_in_what_a_kill_would_leave() {
    let mut world = world().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::push(&purchase), &purchase);

    let answer = world.somebody().call(&callback).await.unwrap();
    assert_eq!(answer.status, 204);
    let folder = TempDir::new().unwrap();
    let left = world.ledger_file().copy_into(folder.path());
    let (kept, recounted) = left.kept_and_recounted();
    assert_eq!((kept, kept.pending), (recounted, 1));
}

#[tokio::test]
async fn an_answer_of_the_shop_itself_does_not_wait_for_a_disk_that_hangs_after_the_claim() {
    let world = world().await;
    let gate = Gate::closed();
    world.shop.next(Act::minus_one(200).once_open(&gate));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);

    let call = world.calling(&callback);
    world.shop.wait_for_requests(1).await;
    let _lock = world.ledger_file().lock();
    gate.open();

    let answer = patiently("the answer", call).await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "-1"));
}

/// The gateway goes on over another ledger, as after a crash.
async fn continue_from(world: &mut World, ledger: &LedgerFile) {
    world.crash_gateway();
    world.settings.ledger.backend = kallback::ledger::Backend::File(ledger.path().to_owned());
    world.start_gateway_again().await;
}
