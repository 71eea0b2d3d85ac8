//! One notice, one request at the shop: calls that come at once, again, or after the window.

use std::time::Duration;

use kallback::event::Kind;
use serde_json::json;

use crate::support::callbacks::{Callback, Purchase, place};
use crate::support::gate::Gate;
use crate::support::klarna::Answered;
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::shop::Seen;
use crate::support::world::{World, WorldBuilder};

#[tokio::test]
async fn calls_at_once_are_one_request_and_all_get_its_answer() {
    let world = with_hosted_pages(World::builder()).start().await;
    for (number, place) in (1..).zip(NOTICES.map(|(preset, kind, _)| place(preset, kind))) {
        let gate = Gate::closed();
        world.shop.next(Act::reply(201).body("created").once_open(&gate));
        let purchase = Purchase::new();
        let notice = world.signed(Callback::at(&place, &purchase), &purchase);
        let calls = tokio::spawn({
            let (klarna, over_http2) = (world.somebody(), world.somebody().over_http2(&world.authority));
            async move {
                let (some, others) = tokio::join!(klarna.call_at_once(&notice, 5), over_http2.call_at_once(&notice, 5));
                some.into_iter().chain(others).map(Result::unwrap).collect::<Vec<_>>()
            }
        });
        world.shop.wait_for_requests(number).await;
        let joined = format!("kallback_duplicates_total{{kind=\"{}\",state=\"in_flight\"}}", place.kind);
        while world.metric(&joined) < 9 {
            tokio::task::yield_now().await;
        }
        gate.open();
        for answer in calls.await.unwrap() {
            assert_eq!((answer.status, answer.text()), (201, "created"), "{}", place.kind);
        }
        world.shop.saw(number);
        world.until_settled(number as u64).await;
    }
    assert_eq!(world.shop.most_at_once_of_one_key(), 1);
}

#[tokio::test]
async fn a_hanging_shop_sees_one_request_however_often_the_sender_tries() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.next(Act::minus_one(200).after(Duration::from_secs(5)));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    // When Klarna would try if it got no answer: 0, 3 and 7 s.
    for pause in [1_500, 4_000, 0].map(Duration::from_millis) {
        let answer = time.run(world.klarna().call(&callback)).await.unwrap();
        assert!(answer.is_success() && answer.took < Duration::from_secs(2), "{answer:?}");
        time.pass(pause, Duration::from_millis(50)).await;
    }
    world.until_settled(1).await;
    world.shop.saw(1);
    assert_eq!(world.shop.request().answered, Some(200));
}

#[tokio::test]
async fn the_retry_that_magento_would_refuse_never_reaches_it() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    // Magento places the order at once, which takes its time, and refuses the retry meanwhile.
    world
        .shop
        .always(Act::reply(400).body(r#"{"error":"Another authorization callback workflow is still in progress."}"#));
    world.shop.next(Act::reply(204).after(Duration::from_secs(4)));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::at(&place("magento2", Kind::Authorization), &purchase), &purchase);
    let first = time.run(world.klarna().call(&callback)).await.unwrap();
    assert_eq!(first.status, 204);
    time.pass(Duration::from_millis(1_500), Duration::from_millis(50)).await;
    let retry = time.run(world.klarna().call(&callback)).await.unwrap();
    assert_eq!(retry.status, 204, "the first one's own answer, a second later");
    assert!((900..1_100).contains(&retry.took.as_millis()), "{:?}", retry.took);
    world.until_settled(1).await;
    let third = time.run(world.klarna().call(&callback)).await.unwrap();
    assert_eq!((third.status, third.header("kallback-replayed")), (204, Some("true")));
    world.shop.saw(1);
}

#[tokio::test]
async fn another_token_of_the_same_session_is_another_notice_that_waits_for_its_turn() {
    let world = World::start().await;
    let gate = Gate::closed();
    world.shop.next(Act::reply(200).body("first").once_open(&gate));
    world.shop.next(Act::reply(200).body("second"));
    let purchase = Purchase::new();
    let again = purchase.authorised_again();
    let call = |purchase: &Purchase| {
        let (klarna, callback) = (world.somebody(), world.signed(Callback::authorization(purchase), purchase));
        tokio::spawn(async move { klarna.call(&callback).await.unwrap() })
    };
    let first = call(&purchase);
    world.shop.wait_for_requests(1).await;
    let second = call(&again);
    world.until_books(Books { accepted: 2, pending: 2, ..Books::default() }).await;
    // Another customer is served meanwhile: it is not the shop that holds the second one up.
    let other = Purchase::new();
    let other = world.signed(Callback::push(&other), &other);
    assert_eq!(world.somebody().call(&other).await.unwrap().text(), "second");
    world.shop.saw(2);
    world.shop.next(Act::reply(200).body("third"));
    gate.open();
    assert_eq!((first.await.unwrap().text(), second.await.unwrap().text()), ("first", "third"));
    let seen = world.shop.requests_for("KP_WC");
    assert_ne!(seen[0].key(), seen[1].key());
    assert_eq!(seen[1].at_once, 1);
    let tokens = [purchase, again].map(|purchase| purchase.authorization_token);
    assert!(seen.iter().zip(tokens).all(|(seen, token)| String::from_utf8_lossy(&seen.body).contains(&token)));
}

#[tokio::test]
async fn a_settled_notice_is_replayed_for_its_window_and_then_forwarded_again() {
    let world = with_hosted_pages(World::frozen()).start().await;
    let time = world.time.as_ref().unwrap();
    let mut settled = 0;
    for (preset, kind, window) in NOTICES {
        world.shop.next(Act::minus_one(200).header("x-first", "yes").reason("Fine"));
        world.shop.next(Act::reply(202).body("anew"));
        let seen_before = world.shop.requests().len();
        let purchase = Purchase::new();
        let notice = world.signed(Callback::at(&place(preset, kind), &purchase), &purchase);
        let first = world.klarna().call(&notice).await.unwrap();
        assert_eq!(first.header("kallback-replayed"), None);
        settled += 1;
        world.until_settled(settled).await;

        time.pass(window - Duration::from_secs(1), Duration::from_secs(60)).await;
        let within = world.klarna().call(&notice).await.unwrap();
        assert_eq!((within.status, &within.reason[..], within.text()), (200, &b"Fine"[..], "-1"), "{kind}");
        assert_eq!((within.header("x-first"), within.header("kallback-replayed")), (Some("yes"), Some("true")));
        assert_eq!(world.shop.requests().len(), seen_before + 1);

        time.pass(Duration::from_secs(2), Duration::from_secs(1)).await;
        let after = world.klarna().call(&notice).await.unwrap();
        assert_eq!((after.status, after.text(), after.header("kallback-replayed")), (202, "anew", None), "{kind}");
        settled += 1;
        world.until_settled(settled).await;
        let seen = world.shop.requests();
        assert_eq!(seen.len(), seen_before + 2);
        let by_its_sender = |seen: &Seen| seen.attempt() == Some(1) && !seen.is_redelivery();
        assert!(seen[seen_before..].iter().all(by_its_sender));
    }
}

#[tokio::test]
async fn a_push_that_is_repeated_for_want_of_an_acknowledgement_is_forwarded_counted_and_alarmed() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    let push = world.signed(Callback::push(&purchase), &purchase);
    // Kustom's own distances: 5, 15, 30 minutes.
    for (number, minutes) in (1..).zip([5, 15, 30]) {
        assert_eq!(world.klarna().call(&push).await.unwrap().text(), "-1");
        world.until_settled(number).await;
        assert_eq!(world.metric("kallback_unacknowledged_push_repeats_total"), number - 1);
        assert_eq!(world.metric("kallback_unacknowledged_orders_total"), u64::from(number == 3));
        time.pass(Duration::from_secs(60 * minutes), Duration::from_secs(10)).await;
    }
    world.shop.saw(3);
    assert_eq!(world.records().await[0]["repeats"], 2);
}

#[tokio::test]
async fn a_push_whose_order_is_acknowledged_is_answered_from_the_record_for_two_days() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let (purchase, other) = (Purchase::new(), Purchase::new());
    let [push, other] = [&purchase, &other].map(|purchase| world.signed(Callback::push(purchase), purchase));
    for push in [&push, &other] {
        assert!(world.klarna().call(push).await.unwrap().is_success());
    }
    world.until_settled(2).await;
    let told = world.tell("/acknowledgements", &json!({ "order_id": purchase.order })).await;
    assert_eq!((told.status, told.json()), (200, json!({ "pushes": 1 })));
    for hours in [1, 46] {
        time.pass(Duration::from_secs(3600 * hours), Duration::from_secs(60)).await;
        let replayed = world.klarna().call(&push).await.unwrap();
        assert_eq!((replayed.text(), replayed.header("kallback-replayed")), ("-1", Some("true")));
    }
    world.shop.saw(2);
    assert_eq!(world.klarna().call(&other).await.unwrap().header("kallback-replayed"), None);
    time.pass(Duration::from_secs(3700), Duration::from_secs(60)).await;
    assert_eq!(world.klarna().call(&push).await.unwrap().header("kallback-replayed"), None);
    world.shop.saw(4);
}

#[tokio::test]
async fn what_differs_in_anything_that_matters_to_the_shop_is_another_notice() {
    let world = World::start().await;
    let (purchase, other) = (Purchase::new(), Purchase::new());
    let push = |query: &str| {
        let target = format!("/wc-api/KCO_WC_Push/?kco_wc_order_id={}&{query}", purchase.order);
        Callback::push(&purchase).with_target(&target)
    };
    let notification = Callback::notification(&purchase);
    let stopped = notification.clone().with_body(
        String::from_utf8(notification.body.clone()).unwrap().replace("FRAUD_RISK_ACCEPTED", "FRAUD_RISK_STOPPED"),
    );
    let notices = [
        push("kco-action=push"),
        push("kco-action=subs-payment-changed&key=4711"),
        push("kco-action=subs-payment-changed&key=4712"),
        Callback::push(&other),
        notification,
        stopped,
        Callback::authorization(&purchase),
    ];
    for (number, notice) in (1..).zip(&notices) {
        let answer = world.klarna().call(&world.signed(notice.clone(), &purchase)).await.unwrap();
        assert_eq!((answer.status, answer.header("kallback-replayed")), (200, None), "{}", notice.target);
        world.until_settled(number).await;
    }
    world.shop.saw(notices.len());

    let same = [
        push("kco-action=push&utm_source=x"),
        push("kco%2Daction=push").with_method("GET"),
        Callback::push(&purchase).with_target(&format!(
            "/en/index.php/wc-api/kco_wc_push?kco-action=push&kco_wc_order_id={}",
            purchase.order
        )),
        notices[0].clone().with_header("klarna-correlation-id", "another"),
        notices[0].clone().with_body("{}"),
    ];
    for notice in same {
        let answer = world.klarna().call(&world.signed(notice.clone(), &purchase)).await.unwrap();
        assert_eq!(answer.header("kallback-replayed"), Some("true"), "{}", notice.target);
    }
    world.shop.saw(notices.len());
}

#[tokio::test]
async fn a_body_without_ids_counts_as_a_whole() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let bodies: [&[u8]; 5] = [b"", b"{}", b"{\"session_id\":7}", b"no json", b"\xff\xfe"];
    for (number, body) in (1..).zip(bodies) {
        let callback = callback.clone().with_body(body);
        for replayed in [None, Some("true")] {
            let answer = world.klarna().call(&callback).await.unwrap();
            assert_eq!((answer.status, answer.header("kallback-replayed")), (200, replayed));
            world.until_settled(number).await;
        }
    }
    world.shop.saw(bodies.len());
}

#[tokio::test]
async fn a_second_call_while_the_first_waits_for_its_redelivery_is_told_that_it_was_received() {
    let mut world = World::frozen().start().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    for _ in 0..3 {
        let answer = world.klarna().call(&callback).await.unwrap();
        assert_eq!((answer.status, answer.took), (204, Duration::ZERO));
    }
    world.until_books(Books { accepted: 1, pending: 1, ..Books::default() }).await;
    world.shop.come_back().await;
    world.time.as_ref().unwrap().pass(Duration::from_secs(3), Duration::from_millis(100)).await;
    world.until_settled(1).await;
    assert!(world.shop.request().is_redelivery());
}

#[tokio::test]
async fn a_torn_answer_is_unknown_and_only_what_may_be_repeated_is_repeated() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    let call = async |callback: Callback| -> Answered {
        world.shop.next(Act::minus_one(200).cut_after(40));
        world.klarna().call(&world.signed(callback, &purchase)).await.unwrap()
    };
    assert_eq!(call(Callback::push(&purchase)).await.status, 502);
    assert_eq!(call(Callback::authorization(&purchase)).await.status, 204);
    time.pass(Duration::from_secs(5), Duration::from_millis(100)).await;
    world.until_books(Books { accepted: 2, settled: 1, left: 1, ..Books::default() }).await;
    assert_eq!(world.shop.requests_for("KCO_WC_Push").len(), 1);
    assert_eq!(world.shop.requests_for("KP_WC").len(), 2);
}

/// Every notice that proves itself by a token, with the window in which it is replayed.
const NOTICES: [(&str, Kind, Duration); 4] = [
    ("woocommerce", Kind::Authorization, Duration::from_secs(60 * 60)),
    ("woocommerce", Kind::Push, Duration::from_secs(60)),
    ("woocommerce", Kind::Notification, Duration::from_secs(24 * 3600)),
    ("umbraco", Kind::SessionStatus, Duration::from_secs(60 * 60)),
];

fn with_hosted_pages(world: WorldBuilder) -> WorldBuilder {
    world.with_settings(|settings| settings.recognise.presets.push("umbraco".to_owned()))
}
