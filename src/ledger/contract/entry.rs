//! Notices arrive.

use std::sync::Arc;

use super::World;
use super::world::{HOUR, MINUTE, SECOND, bare_notice, failure, notice, with_token};
use crate::event::{Kind, TokenUse};
use crate::ledger::flights::{Boarding, Flights};
use crate::ledger::{Admission, End, LedgerError, State};

pub(crate) async fn a_new_notice_is_claimed_once_and_comes_back_whole(world: World<'_>) {
    let sent = notice(Kind::Authorization, 1);
    let claim = world.fresh(&sent).await;
    assert_eq!((claim.attempt, claim.repeats, claim.interrupted, claim.answered), (1, 0, false, false));
    assert_eq!(claim.expires_at, claim.accepted_at + sent.policy.oldest);
    world.postpone(claim, SECOND).await;
    world.pass(2 * SECOND);
    let again = world.lease_one().await;
    assert_eq!((again.attempt, again.interrupted), (2, false));
    let back = &again.notice;
    assert_eq!((back.kind, &back.route, back.policy), (sent.kind, &sent.route, sent.policy));
    assert_eq!((&back.identity, &back.failure_texts), (&sent.identity, &sent.failure_texts));
    assert_eq!((&back.request.method, &back.request.target), (&sent.request.method, &sent.request.target));
    assert_eq!((&back.request.headers, &back.request.body), (&sent.request.headers, &sent.request.body));
}

pub(crate) async fn of_many_calls_at_once_exactly_one_is_fresh(world: World<'_>) {
    let sent = notice(Kind::Push, 1);
    // Each with a board of its own, as in different processes: only the ledger can tell them apart.
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let (ledger, sent) = (world.ledger.clone(), sent.clone());
            tokio::spawn(async move {
                let board = Flights::default();
                let Boarding::First(flight) = board.board(sent.identity.fingerprint, sent.identity.turn) else {
                    panic!("a new board is empty")
                };
                ledger.admit(sent, flight).await.unwrap()
            })
        })
        .collect();
    let mut claims = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Admission::Fresh(claim) => claims.push(claim),
            Admission::InFlight(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(claims.len(), 1);
    assert_eq!(world.ledger.counts().await.unwrap().accepted, 1);
}

pub(crate) async fn a_call_that_meets_a_waiting_notice_is_promised_its_redelivery(world: World<'_>) {
    let sent = notice(Kind::Push, 1);
    let claim = world.fresh(&sent).await;
    world.postpone(claim, MINUTE).await;
    world.waiting(&sent).await;
    assert!(world.flights.is_empty());
    assert!(world.lease(9).await.is_empty(), "the promise does not make it due");
    world.pass(2 * MINUTE);
    let claim = world.lease_one().await;
    assert!(claim.answered, "the second call was answered by us, so that nobody else brings it");
    assert_eq!(world.ledger.counts().await.unwrap().accepted, 1);
}

pub(crate) async fn a_settled_notice_is_replayed_until_its_window_is_over(world: World<'_>) {
    let sent = notice(Kind::Push, 1);
    let claim = world.fresh(&sent).await;
    world.settle(claim).await;
    world.pass(59 * SECOND);
    let recorded = world.replayed(&sent).await;
    assert_eq!((recorded.status.as_u16(), &recorded.body[..]), (200, &b"done"[..]));
    world.pass(2 * SECOND);
    let repeated = world.fresh(&sent).await;
    assert_eq!((repeated.id, repeated.attempt, repeated.repeats), (2, 1, 1));
    world.settle(repeated).await;
    world.pass(61 * SECOND);
    assert_eq!(world.fresh(&sent).await.repeats, 2);
}

pub(crate) async fn a_notice_that_was_left_or_died_is_fresh_when_it_comes_again(world: World<'_>) {
    let sent = notice(Kind::Webhook, 1);
    for (id, end) in [(1, End::Left), (2, End::Dead), (3, End::Left)] {
        let claim = world.fresh(&sent).await;
        assert_eq!((claim.id, claim.repeats), (id, 0), "the shop never said that it has it");
        world.ledger.close(claim, end, failure()).await.unwrap();
        let record = world.record(id).await.unwrap();
        assert_eq!(record.state, if end == End::Dead { State::Dead } else { State::Left });
        assert_eq!((record.status, record.note.as_deref()), (Some(502), Some("connection refused")));
    }
    let counts = world.ledger.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.left, counts.dead, counts.pending), (3, 2, 1, 0));
}

pub(crate) async fn a_token_comes_with_only_so_many_subjects(world: World<'_>) {
    let with = |subject: u8| with_token(bare_notice(Kind::Authorization, subject), 7, 2);
    for subject in [1, 2, 1, 2] {
        let admission = world.admit(&with(subject)).await;
        assert!(!matches!(admission, Admission::TokenOverused), "{subject}");
    }
    assert!(matches!(world.admit(&with(3)).await, Admission::TokenOverused));
    assert_eq!(world.ledger.counts().await.unwrap().accepted, 2, "what is turned down is not stored");
    let token = TokenUse { nonce: [7; 10], sessions_max: 3 };
    assert!(world.ledger.bind(token, "order-9".to_owned()).await.unwrap(), "the limit is the call's own");
    assert!(!world.ledger.bind(token, "order-10".to_owned()).await.unwrap());
    assert!(world.ledger.bind(token, "order-1".to_owned()).await.unwrap());
    let another = TokenUse { nonce: [8; 10], sessions_max: 1 };
    assert!(world.ledger.bind(another, "order-10".to_owned()).await.unwrap());
}

pub(crate) async fn a_full_ledger_takes_no_new_notice_but_ends_the_old_ones(world: World<'_>) {
    let world = world.smaller(300_000);
    let mut claims = Vec::new();
    let fault = loop {
        let number = u8::try_from(claims.len()).unwrap();
        let mut large = bare_notice(Kind::Notification, number);
        large.request.body = vec![number; 20_000].into();
        match world.try_admit(&Arc::new(large)).await {
            Ok(Admission::Fresh(claim)) => claims.push(claim),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => break fault,
        }
    };
    assert!(matches!(&fault, LedgerError::Unavailable(why) if why.contains("full")), "{fault}");
    assert!(claims.len() > 5);
    for claim in claims {
        world.settle(claim).await;
    }
    world.replayed(&notice(Kind::Notification, 0)).await;
    world.pass(100 * HOUR);
    let retention = super::upkeep::RETENTION;
    while world.ledger.sweep(retention).await.unwrap().records > 0 {}
    world.fresh(&notice(Kind::Notification, 0)).await;
}
