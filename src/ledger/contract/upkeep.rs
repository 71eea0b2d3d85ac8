//! Acknowledgements, replays by hand, listings, sweeps, the end.

use std::sync::Arc;

use super::World;
use super::world::{HOUR, MILLISECOND, MINUTE, SECOND, bare_notice, failure, notice};
use crate::event::Kind;
use crate::ledger::{End, Filter, LedgerError, Obstacle, Retention, State, Swept};

pub(crate) const RETENTION: Retention = Retention {
    keep_bodies_for: HOUR.saturating_mul(24),
    keep_records_for: HOUR.saturating_mul(72),
    keep_dead_for: HOUR.saturating_mul(720),
    slice: 100,
};

pub(crate) async fn an_acknowledged_push_is_replayed_for_the_long_window(world: World<'_>) {
    let (before, after) = (notice(Kind::Push, 1), notice(Kind::Push, 2));
    let claim = world.fresh(&before).await;
    world.settle(claim).await;
    assert_eq!(world.ledger.acknowledge("order-1".to_owned()).await.unwrap(), 1);
    assert_eq!(world.ledger.acknowledge("order-2".to_owned()).await.unwrap(), 0);
    let claim = world.fresh(&after).await;
    world.settle(claim).await;
    world.pass(47 * HOUR);
    world.replayed(&before).await;
    world.replayed(&after).await;
    world.pass(2 * HOUR);
    world.fresh(&before).await;
}

pub(crate) async fn a_person_can_replay_what_ended_and_nothing_else(world: World<'_>) {
    let sent = notice(Kind::Notification, 1);
    let claim = world.fresh(&sent).await;
    let refused =
        |outcome: Result<(), LedgerError>, id| matches!(outcome, Err(LedgerError::NotReplayable(at)) if at == id);
    assert!(refused(world.ledger.replay(1).await, 1), "it is pending");
    assert!(refused(world.ledger.replay(2).await, 2), "there is none");
    world.ledger.close(claim, End::Dead, failure()).await.unwrap();
    world.pass(48 * HOUR);
    world.ledger.replay(1).await.unwrap();
    let counts = world.ledger.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.pending, counts.dead), (1, 1, 0));
    let claim = world.lease_one().await;
    assert!(claim.expires_at > world.clock.now(), "it gets a new life");
    assert_eq!(world.record(1).await.unwrap().expires_at, claim.expires_at);
    assert_eq!(claim.attempt, 2);
    world.settle(claim).await;
    world.ledger.replay(1).await.unwrap();
    let claim = world.lease_one().await;
    world.ledger.close(claim, End::Left, failure()).await.unwrap();
    let newer = world.fresh(&sent).await;
    assert!(refused(world.ledger.replay(1).await, 1), "there is a newer record of it");
    assert_eq!(world.record(1).await.unwrap().obstacle(), Some(Obstacle::Superseded));
    assert_eq!(world.record(2).await.unwrap().obstacle(), Some(Obstacle::Pending));
    world.settle(newer).await;
    assert_eq!(world.record(2).await.unwrap().obstacle(), None);
    world.pass(25 * HOUR);
    assert_eq!(world.ledger.sweep(RETENTION).await.unwrap().bodies, 1);
    assert!(refused(world.ledger.replay(2).await, 2), "its request is gone");
    assert_eq!(world.record(2).await.unwrap().obstacle(), Some(Obstacle::Swept));
}

pub(crate) async fn listings_show_what_was_asked_for_newest_first(world: World<'_>) {
    for number in 1..=3 {
        let claim = world.fresh(&notice(Kind::Push, number)).await;
        world.settle(claim).await;
    }
    let mut same_subject = bare_notice(Kind::Authorization, 4);
    same_subject.identity.subject = Some("order-3".to_owned());
    let held = world.fresh(&Arc::new(same_subject)).await;
    let ids = async |filter: Filter| -> Vec<i64> {
        world.ledger.list(filter).await.unwrap().iter().map(|record| record.id).collect()
    };
    let all = Filter { limit: 9, ..Filter::default() };
    assert_eq!(ids(all.clone()).await, [4, 3, 2, 1]);
    assert_eq!(ids(Filter { limit: 2, ..Filter::default() }).await, [4, 3]);
    assert_eq!(ids(Filter { before: Some(3), ..all.clone() }).await, [2, 1]);
    assert_eq!(ids(Filter { state: Some(State::Pending), ..all.clone() }).await, [4]);
    assert_eq!(ids(Filter { kind: Some(Kind::Push), ..all.clone() }).await, [3, 2, 1]);
    assert_eq!(ids(Filter { subject: Some("order-3".to_owned()), ..all.clone() }).await, [4, 3]);
    let record = world.record(4).await.unwrap();
    assert_eq!((record.kind, record.route.as_str(), record.attempts), (Kind::Authorization, held.notice.route(), 1));
    assert_eq!((record.fingerprint, record.accepted_at), (held.notice.identity.fingerprint, held.accepted_at));
    assert_eq!((record.budget, record.expires_at), (held.notice.policy.budget, held.expires_at));
}

pub(crate) async fn listings_can_be_cut_by_age_to_the_millisecond(world: World<'_>) {
    let mut accepted = Vec::new();
    for number in 1..=3 {
        accepted.push(world.fresh(&notice(Kind::Push, number)).await.accepted_at);
        world.pass(HOUR);
    }
    let ids = async |filter: Filter| -> Vec<i64> {
        let filter = Filter { limit: 9, ..filter };
        world.ledger.list(filter).await.unwrap().iter().map(|record| record.id).collect()
    };
    let from = |at| Filter { accepted_from: Some(at), ..Filter::default() };
    let before = |at| Filter { accepted_before: Some(at), ..Filter::default() };
    assert_eq!(ids(from(accepted[1])).await, [3, 2]);
    assert_eq!(ids(from(accepted[1] + MILLISECOND)).await, [3]);
    assert_eq!(ids(before(accepted[1])).await, [1]);
    assert_eq!(ids(before(accepted[1] + MILLISECOND)).await, [2, 1]);
    assert_eq!(ids(Filter { accepted_before: Some(accepted[2]), ..from(accepted[1]) }).await, [2]);
}

pub(crate) async fn what_the_shop_never_took_is_one_listing_away(world: World<'_>) {
    let undelivered = async || -> Vec<i64> {
        let filter = Filter { undelivered: true, limit: 9, ..Filter::default() };
        world.ledger.list(filter).await.unwrap().iter().map(|record| record.id).collect()
    };
    let settled = world.fresh(&notice(Kind::Webhook, 1)).await;
    world.settle(settled).await;
    let _held = world.fresh(&notice(Kind::Webhook, 2)).await;
    let waits = world.fresh(&notice(Kind::Webhook, 3)).await;
    world.postpone(waits, HOUR).await;
    for (number, end) in [(4, End::Dead), (5, End::Left)] {
        let claim = world.fresh(&notice(Kind::Webhook, number)).await;
        world.ledger.close(claim, end, failure()).await.unwrap();
    }
    assert_eq!(undelivered().await, [5, 4, 3, 2]);
    let again = world.fresh(&notice(Kind::Webhook, 5)).await;
    assert_eq!(undelivered().await, [6, 4, 3, 2], "one record stands for a callback that came again");
    world.settle(again).await;
    assert_eq!(undelivered().await, [4, 3, 2]);
    let dead = Filter { undelivered: true, state: Some(State::Dead), limit: 9, ..Filter::default() };
    assert_eq!(world.ledger.list(dead).await.unwrap().len(), 1);
}

pub(crate) async fn sweeps_keep_what_may_still_be_needed(world: World<'_>) {
    for (number, kind) in [(1, Kind::Push), (2, Kind::Push), (3, Kind::Authorization), (4, Kind::Webhook)] {
        let claim = world.fresh(&notice(kind, number)).await;
        match number {
            1 => world.settle(claim).await,
            2 => drop(world.ledger.close(claim, End::Dead, failure()).await.unwrap()),
            3 => world.postpone(claim, 1_000 * HOUR).await,
            _ => drop(world.ledger.close(claim, End::Left, failure()).await.unwrap()),
        }
    }
    let before = world.ledger.counts().await.unwrap();
    assert_eq!(world.ledger.sweep(RETENTION).await.unwrap(), Swept::default());
    world.pass(25 * HOUR);
    assert_eq!(world.ledger.sweep(RETENTION).await.unwrap(), Swept { bodies: 1, records: 0 });
    world.pass(48 * HOUR);
    let long_windows = Retention { keep_records_for: MINUTE, ..RETENTION };
    assert_eq!(world.ledger.sweep(RETENTION).await.unwrap(), Swept { bodies: 0, records: 2 });
    let claim = world.fresh(&notice(Kind::Notification, 5)).await;
    world.settle(claim).await;
    world.pass(2 * HOUR);
    assert_eq!(world.ledger.sweep(long_windows).await.unwrap(), Swept::default(), "it may be replayed for a day");
    world.replayed(&notice(Kind::Notification, 5)).await;
    world.pass(700 * HOUR);
    assert_eq!(world.ledger.sweep(RETENTION).await.unwrap(), Swept { bodies: 0, records: 2 });
    let left: Vec<_> = world.ledger.list(Filter { limit: 9, ..Filter::default() }).await.unwrap();
    assert_eq!(left.iter().map(|record| (record.id, record.state)).collect::<Vec<_>>(), [(3, State::Pending)]);
    let after = world.ledger.counts().await.unwrap();
    assert_eq!((after.accepted, after.settled), (before.accepted + 1, before.settled + 1), "swept ones still count");
    assert_eq!((after.pending, after.dead, after.left), (1, 1, 1));
}

pub(crate) async fn a_sweep_touches_no_more_than_its_slice(world: World<'_>) {
    for number in 0..10 {
        let claim = world.fresh(&notice(Kind::Push, number)).await;
        world.settle(claim).await;
    }
    world.pass(25 * HOUR);
    let slice = Retention { slice: 4, ..RETENTION };
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(world.ledger.sweep(slice).await.unwrap().bodies);
    }
    assert_eq!(bodies, [4, 4, 2, 0]);
    world.pass(72 * HOUR);
    let mut records = Vec::new();
    for _ in 0..4 {
        records.push(world.ledger.sweep(slice).await.unwrap().records);
    }
    assert_eq!(records, [4, 4, 2, 0]);
}

pub(crate) async fn after_the_shutdown_nothing_is_taken(world: World<'_>) {
    let claim = world.fresh(&notice(Kind::Push, 1)).await;
    world.postpone(claim, SECOND).await;
    world.ledger.shut_down().await.unwrap();
    let fault = world.try_admit(&notice(Kind::Push, 2)).await.unwrap_err();
    assert!(matches!(fault, LedgerError::Unavailable(_)), "{fault}");
    assert!(world.ledger.counts().await.is_err());
    assert!(world.ledger.lease_due(9).await.is_err());
}
