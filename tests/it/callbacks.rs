//! The ordinary ways of callbacks, end to end over TLS.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use kallback::event::{Kind, Mode};
use kallback::recognise::Recogniser;
use kallback::token::SigningKey;
use serde_json::json;

use crate::support::callbacks::{Callback, PLACES, Purchase, place};
use crate::support::gate::Gate;
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::shop::Shop;
use crate::support::world::{HOST, World};

#[tokio::test]
async fn an_authorization_reaches_the_shop_once_and_its_answer_goes_back_unchanged() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);

    let answer = world.klarna().call(&callback).await.unwrap();

    assert_eq!((answer.status, answer.text()), (200, "-1"));
    world.shop.saw(1);
    let seen = world.shop.request();
    assert_eq!(seen.target, "/wc-api/KP_WC_AUTHORIZATION");
    assert_eq!(seen.attempt(), Some(1));
    assert!(!seen.is_redelivery());
}

#[tokio::test]
async fn every_callback_of_every_plugin_comes_through_over_both_protocols() {
    let presets = Recogniser::preset_names().map(str::to_owned).collect();
    let shop = Shop::start().await;
    let world = World::builder().with_shop(shop).with_settings(|settings| settings.recognise.presets = presets);
    let world = world.with_mode(Mode::Enforce).start().await;
    let over_http2 = world.klarna().over_http2(&world.authority);
    for place in PLACES.iter().filter(|place| place.kind != Kind::Webhook) {
        for klarna in [&world.klarna(), &over_http2] {
            let purchase = Purchase::new();
            let callback = Callback::at(place, &purchase);
            let answer = klarna.call(&world.signed(callback.clone(), &purchase)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", callback.target);
            let seen = world.shop.requests().pop().unwrap();
            assert_eq!((&seen.target, &seen.method, &seen.body), (&callback.target, &callback.method, &callback.body));
            assert_eq!(seen.header("host"), Some(HOST));
            assert_eq!(seen.header("user-agent"), Some("APIs-Klarna"));
        }
    }
    world.shop.saw(2 * (PLACES.len() - 1));
}

#[tokio::test]
async fn a_push_has_no_body_or_an_empty_one_and_the_shop_is_always_told_its_length() {
    let world = World::start().await;
    for (headers, body) in [("", ""), ("content-length: 0\r\n", ""), ("content-length: 2\r\n", "{}")] {
        let purchase = Purchase::new();
        let push = Callback::push(&purchase);
        let target = world.signed(push.clone(), &purchase).target;
        let request = format!("POST {target} HTTP/1.1\r\nhost: {HOST}\r\n{headers}\r\n{body}");

        let answer = world.klarna().call_with(request.as_bytes(), "POST").await.unwrap();

        assert_eq!((answer.status, answer.text()), (200, "-1"));
        let seen = world.shop.requests().pop().unwrap();
        assert_eq!((seen.target, seen.body), (push.target, body.as_bytes().to_vec()));
        let length = seen.headers.iter().find(|(name, _)| name == "content-length").expect("there is a length");
        assert_eq!(length.1, body.len().to_string().into_bytes());
    }
    world.shop.saw(3);
}

#[tokio::test]
async fn a_shop_that_is_too_slow_costs_the_sender_no_time_and_is_not_cut_off() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.next(Act::minus_one(200).after(Duration::from_secs(5)));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);

    let answer = time.run(world.klarna().call(&callback)).await.unwrap();

    assert_eq!((answer.status, answer.text()), (204, ""));
    assert!((1_500..1_600).contains(&answer.took.as_millis()), "{:?}", answer.took);
    assert_eq!(world.operator().books().await, Books { accepted: 1, pending: 1, ..Books::default() });
    time.run(world.shop.wait_until_done_with(1)).await;
    world.until_settled(1).await;
    let seen = world.shop.request();
    assert!(!seen.caller_left && seen.answered == Some(200));
    assert_eq!(
        world.metric(r#"kallback_callbacks_total{answered_by="deadline",code_class="2xx",kind="authorization"}"#),
        1
    );
    assert_eq!(world.metric(r#"kallback_budget_exceeded_total{kind="authorization"}"#), 0);
}

#[tokio::test]
async fn every_notice_is_answered_at_its_own_deadline() {
    let shop = Shop::start().await;
    let world =
        World::frozen().with_shop(shop).with_settings(|settings| settings.recognise.presets.push("umbraco".to_owned()));
    let world = world.start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.always(Act::hang());
    type Make = fn(&Purchase) -> Callback;
    let deadlines: [(Make, u128); 4] = [
        (Callback::authorization, 1_500),
        (Callback::push, 4_000),
        (Callback::notification, 4_000),
        (Callback::session_status, 2_500),
    ];
    for (callback, deadline) in deadlines {
        let purchase = Purchase::new();
        let callback = world.signed(callback(&purchase), &purchase);
        let answer = time.run(world.somebody().call(&callback)).await.unwrap();
        assert_eq!(answer.status, 204, "{}", callback.target);
        let took = answer.took.as_millis();
        assert!((deadline..deadline + 100).contains(&took), "{} took {took} ms", callback.target);
    }
}

#[tokio::test]
async fn a_callback_that_finds_the_shop_in_maintenance_is_brought_again_when_the_shop_said() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.next(Act::maintenance());
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);

    let answer = world.klarna().call(&callback).await.unwrap();

    assert_eq!((answer.status, answer.text()), (204, ""));
    world.until_books(Books { accepted: 1, pending: 1, ..Books::default() }).await;
    let record = world.record().await;
    assert_eq!((&record["status"], &record["note"]), (&json!(503), &json!("blocked by wp-maintenance")));
    // `Retry-After: 600`.
    time.pass(Duration::from_secs(599), Duration::from_secs(1)).await;
    world.shop.saw(1);
    time.pass(Duration::from_secs(3), Duration::from_millis(100)).await;
    world.until_settled(1).await;
    let seen = world.shop.requests();
    let again = &seen[1];
    assert_eq!((again.attempt(), again.is_redelivery(), again.key()), (Some(2), true, seen[0].key()));
    assert_eq!((&again.target, &again.body), (&seen[0].target, &seen[0].body));
    world.shop.saw(2);
}

#[tokio::test]
async fn a_callback_that_must_not_be_multiplied_gets_the_shops_failure_and_comes_again_by_itself() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.always(Act::maintenance());
    let purchase = Purchase::new();
    let push = world.signed(Callback::at(&place("magento2", Kind::Push), &purchase), &purchase);

    let answer = time.run(world.klarna().insist(&push)).await.unwrap();

    assert_eq!((answer.status, answer.attempts, answer.header("retry-after")), (503, 3, Some("600")));
    assert!(answer.text().starts_with("Briefly unavailable"));
    time.pass(Duration::from_secs(1800), Duration::from_secs(10)).await;
    world.shop.saw(3);
    assert!(world.shop.requests().iter().all(|seen| !seen.is_redelivery()));
    assert_eq!(world.operator().books().await, Books { accepted: 3, left: 3, ..Books::default() });
}

#[tokio::test]
async fn a_push_that_the_shop_fails_itself_is_left_to_its_sender() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    let push = world.signed(Callback::push(&purchase), &purchase);
    for number in 1..=2 {
        world.shop.next(Act::reply(500).reason("Fatal").body("There has been a critical error on this website"));
        let answer = world.klarna().call(&push).await.unwrap();
        assert_eq!((answer.status, &answer.reason[..]), (500, &b"Fatal"[..]));
        world.until_books(Books { accepted: number, left: number, ..Books::default() }).await;
    }
    time.pass(Duration::from_secs(600), Duration::from_secs(10)).await;
    world.shop.saw(2);
    assert_eq!(world.metric(r#"kallback_blocked_total{by="wp-fatal"}"#), 2);
}

#[tokio::test]
async fn who_blocked_is_named_whatever_the_page_is_packed_in() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let page = "<title>403 Forbidden</title><p>A potentially unsafe operation has been detected in your request to \
                this site</p><p>Generated by Wordfence at Sat, 15 Jan 2026 10:00:00 GMT</p>";
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(page.as_bytes()).unwrap();
    let packed = Act::reply(403).header("content-encoding", "gzip").body(packed.finish().unwrap());
    for (number, block) in (1..).zip([Act::wordfence(), packed]) {
        world.shop.next(block);
        let purchase = Purchase::new();
        let callback = world.signed(Callback::push(&purchase), &purchase);
        assert_eq!(world.klarna().call(&callback).await.unwrap().status, 204);
        assert_eq!(world.metric(r#"kallback_blocked_total{by="wordfence-waf"}"#), number);
        assert_eq!(world.records().await[0]["note"], "blocked by wordfence-waf");
    }
    time.pass(Duration::from_secs(3), Duration::from_millis(100)).await;
    world.until_settled(2).await;
}

#[tokio::test]
async fn minus_one_with_200_is_delivered_and_with_400_nobody_listened() {
    let world = World::frozen().start().await;
    let purchase = Purchase::new();
    let push = world.signed(Callback::push(&purchase), &purchase);
    world.shop.next(Act::minus_one(400));
    let answer = world.klarna().call(&push).await.unwrap();
    assert_eq!((answer.status, answer.text()), (400, "-1"));
    assert_eq!(world.metric(r#"kallback_suspicious_replies_total{kind="push"}"#), 1);
    let answer = world.klarna().call(&push).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "-1"));
    world.until_books(Books { accepted: 2, settled: 1, left: 1, ..Books::default() }).await;
}

#[tokio::test]
async fn a_delivery_goes_on_when_its_caller_hangs_up() {
    let world = World::start().await;
    for (number, resets) in (1..).zip([false, true]) {
        let gate = Gate::closed();
        world.shop.next(Act::minus_one(200).once_open(&gate));
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let mut line = world.klarna().connect().await.unwrap();
        line.write(&callback.bytes(HOST)).await;
        world.shop.wait_for_requests(2 * number - 1).await;
        if resets {
            line.reset();
        } else {
            drop(line);
        }
        // The gateway saw the hang-up before the shop goes on: another caller was served on the same runtime.
        assert_eq!(world.somebody().call(&Callback::page("/wp-cron.php")).await.unwrap().status, 200);
        gate.open();
        world.until_settled(number as u64).await;
        assert!(world.shop.requests_for("wc-api").iter().all(|seen| !seen.caller_left && seen.answered == Some(200)));
        world.shop.saw(2 * number);
        assert_eq!(world.klarna().call(&callback).await.unwrap().header("kallback-replayed"), Some("true"));
    }
}

#[tokio::test]
async fn a_callback_that_breaks_off_in_its_body_never_happened() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let bytes = callback.bytes(HOST);
    let mut line = world.klarna().connect().await.unwrap();
    line.write(&bytes[..bytes.len() - 10]).await;
    line.half_close().await;
    line.read_to_end().await.unwrap();
    assert_eq!(world.operator().books().await, Books::default());
    world.shop.saw(0);
    assert!(world.klarna().call(&callback).await.unwrap().is_success());
}

#[tokio::test]
async fn a_large_reply_reaches_the_first_caller_and_is_replayed_as_a_bare_receipt() {
    let world = World::start().await;
    let sizes = [(64 << 10, (200, 64 << 10)), ((64 << 10) + 1, (204, 0)), (900 << 10, (204, 0))];
    for (number, (bytes, replayed)) in (1..).zip(sizes) {
        let body = vec![b'x'; bytes];
        world.shop.next(Act::reply(200).header("content-type", "text/html").body(&body));
        let purchase = Purchase::new();
        let callback = world.signed(Callback::authorization(&purchase), &purchase);
        let first = world.somebody().call(&callback).await.unwrap();
        assert_eq!((first.status, first.body == body), (200, true), "{bytes} bytes");
        assert_eq!(first.header("kallback-replayed"), None);
        world.until_settled(number).await;
        let second = world.somebody().call(&callback).await.unwrap();
        assert_eq!((second.status, second.body.len()), replayed, "{bytes} bytes");
        assert_eq!(second.header("kallback-replayed"), Some("true"));
    }
    world.shop.saw(3);
}

#[tokio::test]
async fn the_headers_that_are_ours_to_say_are_not_believed_from_a_caller() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let callback = callback.with_header("idempotency-key", "mine").with_header("Kallback-Redelivery", "true");
    let callback = callback.with_header("kallback-attempt", "7").with_header("kallback_attempt", "8");
    assert_eq!(world.klarna().call(&callback).await.unwrap().status, 200);
    let seen = world.shop.request();
    assert_eq!((seen.attempt(), seen.is_redelivery()), (Some(1), false));
    assert_eq!(seen.key(), world.record().await["fingerprint"].as_str());
    assert!(seen.header_values("kallback_attempt").is_empty());
}

#[tokio::test]
async fn what_was_accepted_before_a_restart_comes_to_the_shop_once_after_it() {
    let mut world = World::start().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(world.klarna().call(&callback).await.unwrap().status, 204);
    world.until_books(Books { accepted: 1, pending: 1, ..Books::default() }).await;
    world.stop_gateway().await;
    world.shop.come_back().await;
    world.shop.saw(0);

    world.start_gateway_again().await;

    world.until_settled(1).await;
    let seen = world.shop.request();
    assert_eq!((seen.target.as_str(), seen.is_redelivery()), ("/wc-api/KP_WC_AUTHORIZATION", true));
    assert_eq!(seen.body, callback.body);
    let late = world.klarna().call(&callback).await.unwrap();
    assert_eq!((late.status, late.header("kallback-replayed")), (200, Some("true")));
    world.shop.saw(1);
}

/// The body of the webhook in the documents, and its signature.
const WEBHOOK: &str = r#"{"metadata":{"event_type":"payment.request.state-change.completed","event_id":"6a2f6f0a-4a1c-4f0e-9f0a-2d1e6b1f7c11","event_version":"v2","occurred_at":"2026-01-15T10:00:00Z","live":false},"payload":{"payment_request_id":"krn:payment:eu1:request:demo-1","state":"COMPLETED"}}"#;
const WEBHOOK_SIGNATURE: &str = "293d3c6d25ab9f4f44906cf5902bc941bd7e415a2b2b8c973621245a7d811a0f";

#[tokio::test]
async fn a_signed_webhook_comes_through_unchanged_and_a_tampered_one_does_not() {
    let world = World::builder().with_settings(|settings| {
        let secret = b"demo-signing-key-0001".to_vec().into();
        settings.token.signing_keys = vec![SigningKey { id: "key-1".to_owned(), secret }];
    });
    let world = world.start().await;
    let signed = |body: &str, key: &str, signature: &str| {
        let webhook = Callback::webhook(&Purchase::new()).with_body(body);
        webhook.with_header("Klarna-Signature", signature).with_header("Klarna-Signing-Key-Id", key)
    };
    let changed = WEBHOOK.replace("COMPLETED", "EXPIRED");
    let written_anew = serde_json::from_str::<serde_json::Value>(WEBHOOK).unwrap().to_string();
    assert_ne!(written_anew, WEBHOOK);
    let forgeries = [
        ("a changed byte", signed(&changed, "key-1", WEBHOOK_SIGNATURE)),
        ("written anew", signed(&written_anew, "key-1", WEBHOOK_SIGNATURE)),
        ("another key", signed(WEBHOOK, "key-2", WEBHOOK_SIGNATURE)),
        ("no signature", Callback::webhook(&Purchase::new()).with_body(WEBHOOK)),
        ("an empty signature", signed(WEBHOOK, "key-1", "")),
        ("half a signature", signed(WEBHOOK, "key-1", &WEBHOOK_SIGNATURE[..32])),
        ("two signatures", signed(WEBHOOK, "key-1", WEBHOOK_SIGNATURE).with_header("klarna-signature", "00")),
    ];
    for (what, forgery) in forgeries {
        let answer = world.klarna().call(&forgery).await.unwrap();
        assert_eq!((answer.status, answer.text()), (403, ""), "{what}");
        world.shop.saw(0);
    }

    let webhook = signed(WEBHOOK, "key-1", WEBHOOK_SIGNATURE);
    world.shop.always(Act::reply(200).header("content-type", "application/json").body("null"));
    let answer = world.klarna().call(&webhook).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "null"));
    world.until_settled(1).await;
    let again = webhook.with_target("/?rest_route=/klarna/v1/kec/notifications");
    let answer = world.klarna().call(&again).await.unwrap();
    assert_eq!((answer.status, answer.header("kallback-replayed")), (200, Some("true")));

    let seen = world.shop.request();
    assert_eq!(seen.body, WEBHOOK.as_bytes());
    assert_eq!(seen.header("klarna-signature"), Some(WEBHOOK_SIGNATURE));
    assert_eq!(seen.header("klarna-signing-key-id"), Some("key-1"));
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="valid"}"#), 2);
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="unknown_key"}"#), 1);
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="bad_signature"}"#), 6);
}
