//! Questions: the shop's own reply decides, so that nothing is stored, joined, followed or made up.

use std::time::Duration;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::klarna::{Answered, Klarna};
use crate::support::operator::Books;
use crate::support::script::{Act, Deed};
use crate::support::world::{HOST, World};

const NEW_CART: &str = r#"{"order_amount":34800,"order_tax_amount":6960,"purchase_currency":"SEK","order_lines":[]}"#;
const DENIAL: &str = r#"{"error_type":"address_error","error_text":"Vi levererar inte dit"}"#;

/// Every reply that a question may get, as shops give them.
fn replies() -> Vec<Act> {
    let json = |status: u16, body: &str| Act::reply(status).header("Content-Type", "application/json").body(body);
    vec![
        json(200, NEW_CART).header("Cache-Control", "no-cache, must-revalidate").header("Set-Cookie", "a=1"),
        Act::minus_one(200),
        Act::reply(200),
        Act::minus_one(303).header("Location", "https://shop.example/cart/?stock_validate_failed"),
        Act::minus_one(303),
        Act::reply(302).header("Location", "/checkout?failed=1"),
        Act::reply(307).header("Location", "//shop.example/kassa"),
        Act::reply(301).header("Location", "https://www.shop.example/wc-api/KCO_WC_Validation/"),
        json(400, DENIAL).reason("Bad Request"),
        Act::reply(401).header("WWW-Authenticate", "Basic realm=\"staging\"").body("who are you?"),
        Act::reply(404).header("Content-Type", "text/html").body("<h1>Not found</h1>"),
        Act::reply(500).body("There has been a critical error on this website").http10(),
        Act::maintenance(),
        Act::wordfence(),
        Act::reply(303)
            .reason("Die gew\u{e4}hlte Gr\u{f6}\u{df}e ist Ung\u{fc}ltig")
            .header("Location", "/checkout/klarna/validateFailed/?id=1&message=A%20b"),
        Act::reply(303).reason(b"Ung\xfcltig").header("Location", "/checkout?m=\u{fc}&x=+;y=%C3%BC"),
        json(200, NEW_CART).chunked(),
        Act::reply(200).header("Content-Type", "application/octet-stream").body([0xff, 0x00, b'\r', b'\n', 0x1f, 0x8b]),
        Act::reply(200).body("until the end").body_until_close(),
        json(200, &"x".repeat(2 << 20)),
        Act::reply(299).reason("Nobody Knows").header("X-Two", "1").header("X-Two", "2"),
    ]
}

#[tokio::test]
async fn whatever_the_shop_answers_goes_back_unchanged_over_both_protocols() {
    let world = World::start().await;
    for (klarna, speaks_http1) in [(world.somebody(), true), (world.somebody().over_http2(&world.authority), false)] {
        for (number, act) in (1..).zip(replies()) {
            world.shop.next(act.clone());
            let answered = ask(&world, &klarna, &Purchase::new()).await;
            assert_unchanged(&act, &answered, speaks_http1);
            world.shop.saw(if speaks_http1 { number } else { replies().len() + number });
        }
    }
    assert_eq!(world.operator().books().await, Books::default(), "no question is stored");
    assert_eq!(world.records().await.len(), 0);
}

async fn ask(world: &World, klarna: &Klarna, purchase: &Purchase) -> Answered {
    klarna.call(&world.signed(Callback::validation(purchase), purchase)).await.unwrap()
}

#[track_caller]
fn assert_unchanged(act: &Act, answered: &Answered, speaks_http1: bool) {
    let Deed::Reply(reply) = &act.deed else { panic!("no reply") };
    assert_eq!(answered.status, reply.status);
    if speaks_http1 {
        assert_eq!(answered.reason, reply.reason, "{}", String::from_utf8_lossy(&answered.reason));
    }
    let body: Vec<u8> = reply.pieces.iter().flat_map(|(_, piece)| piece.clone()).collect();
    assert!(answered.body == body, "{} bytes came of {}", answered.body.len(), body.len());
    let comparable = |(name, value): &(String, Vec<u8>)| (name.to_lowercase(), value.clone());
    let mut expected: Vec<_> = reply.headers.iter().map(comparable).collect();
    let ours = ["date", "content-length", "transfer-encoding", "connection"];
    let mut told: Vec<_> = answered.headers.iter().map(comparable).collect();
    told.retain(|(name, _)| !ours.contains(&name.as_str()));
    expected.sort();
    told.sort();
    assert_eq!(told, expected, "the headers of a reply of {}", reply.status);
}

#[tokio::test]
async fn a_redirect_without_a_location_is_passed_on_and_warned_of() {
    let world = World::start().await;
    let suspicious = r#"kallback_suspicious_replies_total{kind="validation"}"#;
    world.shop.next(Act::minus_one(303).header("Location", "/cart/?stock_validate_failed"));
    ask(&world, &world.klarna(), &Purchase::new()).await;
    assert_eq!(world.metric(suspicious), 0);
    world.shop.next(Act::minus_one(303));
    let answered = ask(&world, &world.klarna(), &Purchase::new()).await;
    assert_eq!((answered.status, answered.header("location"), answered.text()), (303, None, "-1"));
    assert_eq!(world.metric(suspicious), 1);
    world.shop.next(Act::reply(301).header("Location", "https://www.shop.example/en/wc-api/KCO_WC_Validation"));
    ask(&world, &world.klarna(), &Purchase::new()).await;
    assert_eq!(world.metric(suspicious), 1, "its query got lost, so that it is another page");
}

#[tokio::test]
async fn an_update_without_json_is_passed_on_and_warned_of() {
    let world = World::start().await;
    let purchase = Purchase::new();
    for (callback, kind) in [
        (Callback::address_update(&purchase), "address_update"),
        (Callback::shipping_option_update(&purchase), "shipping_option_update"),
    ] {
        for (body, warned) in [(NEW_CART, 0), ("Notice: undefined index", 1)] {
            world.shop.next(Act::reply(200).body(body));
            let answered = world.klarna().call(&world.signed(callback.clone(), &purchase)).await.unwrap();
            assert_eq!((answered.status, answered.text()), (200, body));
            let series = format!("kallback_suspicious_replies_total{{kind=\"{kind}\"}}");
            assert_eq!(world.metric(&series), warned);
        }
    }
}

#[tokio::test]
async fn a_silent_shop_keeps_the_connection_open_until_the_limit_and_only_then_it_is_504() {
    let world = World::builder().with_frozen_time().start().await;
    let time = world.time.as_ref().unwrap();
    for klarna in [world.somebody(), world.somebody().over_http2(&world.authority)] {
        world.shop.next(Act::minus_one(200).after(Duration::from_millis(9_900)));
        let answered = time.run(ask(&world, &klarna, &Purchase::new())).await;
        assert_eq!((answered.status, answered.text()), (200, "-1"));
        assert!((9_900..10_000).contains(&answered.took.as_millis()), "{:?}", answered.took);

        world.shop.next(Act::hang());
        let answered = time.run(ask(&world, &klarna, &Purchase::new())).await;
        assert_eq!((answered.status, answered.text()), (504, ""));
        assert!((10_000..10_100).contains(&answered.took.as_millis()), "{:?}", answered.took);
    }
    assert_eq!(world.operator().books().await, Books::default());
    assert_eq!(world.metric(r#"kallback_budget_exceeded_total{kind="validation"}"#), 4);
}

#[tokio::test]
async fn a_sender_that_gives_up_frees_the_shop() {
    let world = World::builder().with_frozen_time().start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.next(Act::hang());
    let purchase = Purchase::new();
    let question = world.signed(Callback::validation(&purchase), &purchase);
    assert!(time.run(world.klarna().call(&question)).await.is_err());
    world.shop.wait_until("the hang-up", |book| book.requests[0].caller_left).await;
}

#[tokio::test]
async fn two_at_once_are_two_questions() {
    let world = World::start().await;
    let gate = Gate::closed();
    world.shop.next(Act::reply(200).body("first").once_open(&gate));
    world.shop.next(Act::reply(303).header("location", "/").body("second").once_open(&gate));
    let purchase = Purchase::new();
    let question = world.signed(Callback::validation(&purchase), &purchase);
    let calls = tokio::spawn({
        let klarna = world.klarna();
        async move { klarna.call_at_once(&question, 2).await }
    });
    world.shop.wait_for_requests(2).await;
    assert_eq!(world.shop.most_at_once(), 2);
    gate.open();
    let mut bodies: Vec<_> = calls.await.unwrap().into_iter().map(|answer| answer.unwrap().text().to_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, ["first", "second"]);
    assert!(world.shop.requests().iter().all(|seen| seen.key().is_none() && seen.attempt().is_none()));
}

#[tokio::test]
async fn the_same_question_again_is_put_to_the_shop_again() {
    let world = World::start().await;
    let purchase = Purchase::new();
    for (number, text) in (1..).zip(["yes", "yes", "no"]) {
        world.shop.next(Act::reply(200).body(text));
        let answered = ask(&world, &world.klarna(), &purchase).await;
        assert_eq!((answered.text(), answered.header("kallback-replayed")), (text, None));
        world.shop.saw(number);
    }
    assert_eq!(world.operator().books().await, Books::default());
}

#[tokio::test]
async fn a_question_that_fails_is_not_asked_a_second_time() {
    let mut world = World::builder().with_frozen_time().start().await;
    for (number, act) in (1..).zip([Act::close(), Act::reset(), Act::raw("nonsense\r\n\r\n")]) {
        world.shop.next(act);
        let answered = ask(&world, &world.klarna(), &Purchase::new()).await;
        assert_eq!((answered.status, answered.text()), (502, ""));
        world.shop.saw(number);
    }
    world.shop.go_down().await;
    assert_eq!(ask(&world, &world.klarna(), &Purchase::new()).await.status, 502);
    world.shop.come_back().await;
    world.time.as_ref().unwrap().pass(Duration::from_secs(600), Duration::from_secs(5)).await;
    world.shop.saw(3);
}

#[tokio::test]
async fn no_redirect_is_followed_not_even_into_the_shop_itself() {
    let world = World::start().await;
    let there = format!("https://{HOST}/wc-api/KCO_WC_Validation/?elsewhere=1");
    for status in [301, 302, 303, 307, 308] {
        world.shop.next(Act::reply(status).header("location", &there));
        let answered = ask(&world, &world.klarna(), &Purchase::new()).await;
        assert_eq!((answered.status, answered.header("location")), (status, Some(there.as_str())));
    }
    world.shop.saw(5);
    assert!(world.shop.requests_for("elsewhere").is_empty());
}

#[tokio::test]
async fn a_long_answer_streams_while_the_shop_still_writes_it() {
    let world = World::start().await;
    let (first, second) = (Gate::closed(), Gate::closed());
    first.open();
    let start = "x".repeat(200 << 10);
    world.shop.next(Act::reply(200).chunked().piece_once_open(&first, &start).piece_once_open(&second, "the end"));
    let purchase = Purchase::new();
    let question = world.signed(Callback::validation(&purchase), &purchase);
    let mut line = world.somebody().connect().await.unwrap();
    line.write(&question.bytes(HOST)).await;
    let early = line.read_exactly(150 << 10).await;
    assert!(early.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!world.shop.requests()[0].done);
    second.open();
    let mut rest = Vec::new();
    while !rest.ends_with(b"the end") {
        rest.extend(line.read_exactly(1).await);
    }
}

#[tokio::test]
async fn half_an_answer_never_looks_whole() {
    let world = World::start().await;
    for klarna in [world.somebody(), world.somebody().over_http2(&world.authority)] {
        for cut_in_the_body in [Act::reply(200).body(NEW_CART), Act::reply(200).chunked().body(NEW_CART)] {
            world.shop.next(cut_in_the_body.cut_after(100));
            let purchase = Purchase::new();
            let question = world.signed(Callback::address_update(&purchase), &purchase);
            let outcome = klarna.call(&question).await;
            assert!(outcome.is_err(), "{outcome:?}");
        }
    }
    world.shop.saw(4);
}
