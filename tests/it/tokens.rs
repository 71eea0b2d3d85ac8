//! Only somebody who knows the session's secret reaches a callback, whichever way it is spelled.

use std::time::Duration;

use kallback::clock::UnixMillis;
use kallback::event::{Family, Kind, Mode};
use kallback::recognise::Override;
use kallback::token::{Guard, Key, Ticket};

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::{Answered, Klarna};
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::world::{HOST, World};

#[tokio::test]
async fn only_the_right_token_opens_and_every_wrong_one_is_refused_alike() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let right = world.token(Family::Payments, &purchase);
    let callback = Callback::authorization(&purchase);
    let minted = |expires_at: UnixMillis, key: u8| {
        let mut settings = world.settings.token.clone();
        settings.keys = vec![Key { id: key, secret: settings.keys[0].secret.clone() }];
        let ticket = Ticket { family: Family::Payments, session: purchase.session.as_bytes(), expires_at };
        Guard::new(settings).mint(&ticket).unwrap()
    };
    let mut forged = right.clone().into_bytes();
    let last = forged.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let forged = String::from_utf8(forged).unwrap();
    let refused = [
        ("missing", callback.clone()),
        ("missing", callback.clone().with_parameter("Kallback", &right)),
        ("missing", callback.clone().with_header("kallback", &right).with_header("authorization", &right)),
        ("malformed", callback.clone().with_token("")),
        ("malformed", callback.clone().with_token(&right.to_uppercase())),
        ("malformed", callback.clone().with_token(&right[..63])),
        ("malformed", callback.clone().with_token(&format!("{right}0"))),
        ("malformed", callback.clone().with_token(&format!("%20{right}"))),
        ("malformed", callback.clone().with_token(&right.replacen(&right[..1], "%30", 1))),
        ("forged", callback.clone().with_token(&forged)),
        ("unknown_key", callback.clone().with_token(&minted(world.clock.now() + Duration::from_secs(60), 2))),
        ("expired", callback.clone().with_token(&minted(world.clock.now() - Duration::from_secs(1), 1))),
        ("wrong_family", callback.clone().with_token(&world.token(Family::Checkout, &purchase))),
        ("repeated", callback.clone().with_token(&right).with_token(&right)),
        ("repeated", callback.clone().with_token(&right).with_parameter("k%61llback", "x")),
        ("repeated", callback.clone().with_token(&right).with_parameter("%20kallback", "")),
        ("ambiguous", callback.clone().with_target("/wc-api/kp_wc_authorization%3Ckco_wc_push").with_token(&right)),
    ];
    let over_http2 = world.klarna().over_http2(&world.authority);
    for (why, callback) in refused {
        let series = format!("kallback_token_checks_total{{result=\"{why}\"}}");
        for method in ["POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE"] {
            let callback = callback.clone().with_method(method);
            let before = world.metric(&series);
            for klarna in [&world.klarna(), &over_http2] {
                assert_refused(&klarna.call(&callback).await.unwrap(), &callback.target);
            }
            assert_eq!(world.metric(&series), before + 2, "{method} {}", callback.target);
        }
    }
    world.shop.saw(0);
    assert_eq!(world.operator().books().await, Books::default());
    for method in ["POST", "GET"] {
        let callback = Callback::authorization(&Purchase::new()).with_method(method).with_token(&right);
        assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200, "{method}");
    }
    world.shop.saw(2);
}

/// `403` with nothing in it. Never a redirect, which to Kustom is a refused purchase; never a success.
#[track_caller]
fn assert_refused(answer: &Answered, what: &str) {
    assert_eq!((answer.status, answer.text(), answer.header("location")), (403, "", None), "{what}");
}

/// Ways to write the authorization of WooCommerce that reach it in WordPress.
const SPELLINGS: &[&str] = &[
    "/wc-api/KP_WC_AUTHORIZATION",
    "/wc-api/KP_WC_AUTHORIZATION/",
    "/en/wc-api/kp_wc_authorization/",
    "/shop/item/wc-api/KP_WC_AUTHORIZATION",
    "/index.php/wc-api/KP_WC_AUTHORIZATION",
    "//wc-api//KP_WC_AUTHORIZATION//",
    "/wc-api/./KP_WC_AUTHORIZATION",
    "/x/../wc-api/KP_WC_AUTHORIZATION",
    "/wc%2Dapi/KP_WC_AUTHORIZATION",
    "/wc%2dapi%2FKP_WC_AUTHORIZATION",
    "/%77c-api/%4b%50_WC_AUTHORIZATION",
    "/wc%252Dapi/KP_WC_AUTHORIZATION",
    "/wc-api/KP_WC_%3Cb%3EAUTHORIZATION",
    "/wc-api/KP_WC_AUTHORIZATION%20",
    "/wc-api/KP_WC_AUTHORIZATION?",
    "/wc-api/KP_WC_AUTHORIZATION?a=1&&b",
    "/?wc-api=KP_WC_AUTHORIZATION",
    "/index.php?wc-api=KP_WC_AUTHORIZATION",
    "/x?wc-api=k.p_wc_authorization",
    "/?wc-api=K.P_WC_%20Authorization",
    "/wc-api/other/?wc-api=kp_wc_authorization",
    "/wc-api/KCO_WC_Push/?wc-api=kp_wc_authorization",
    "/?%20wc-api=KP_WC_AUTHORIZATION",
    "/?+wc-api=KP_WC_AUTHORIZATION",
    "/?wc%2Dapi=KP_WC_AUTHORIZATION",
    "/?wc-api%00z=KP_WC_AUTHORIZATION",
    "/?wc-api=x&wc-api=KP_WC_AUTHORIZATION",
    "/?wc-api=KP_WC_AUTHORIZATION&wc-api[]=x",
];

#[tokio::test]
async fn every_spelling_needs_the_token_and_arrives_as_it_was_written() {
    let world = World::start().await;
    let mut seen = 0;
    for spelling in SPELLINGS {
        for (method, klarna) in
            [("POST", world.klarna()), ("GET", world.klarna()), ("POST", world.klarna().over_http2(&world.authority))]
        {
            let purchase = Purchase::new();
            let bare = Callback::authorization(&purchase).with_target(spelling).with_method(method);
            assert_refused(&klarna.call(&bare).await.unwrap(), spelling);
            world.shop.saw(seen);

            let answer = klarna.call(&world.signed(bare, &purchase)).await.unwrap();
            assert_eq!(answer.status, 200, "{method} {spelling}");
            seen += 1;
            world.shop.saw(seen);
            let arrived = world.shop.requests().pop().unwrap().target;
            assert_eq!(arrived, *spelling);
        }
    }
}

#[tokio::test]
async fn neighbours_of_callbacks_need_no_token() {
    let world = World::start().await;
    let neighbours = [
        "/?kco_confirm=yes&kco_order_id=1",
        "/kassa/?kco_confirm=yes",
        "/?wc-ajax=kp_wc_place_order",
        "/wc-api/",
        "/wc-api/some_other_gateway",
        "/checkout/klarna/confirmation/id/1",
        "/checkout/klarna/validateFailed/?id=1&message=A%20b",
        "/search?q=wc-api+kp_wc_authorization",
    ];
    for target in neighbours {
        assert_eq!(world.somebody().call(&Callback::page(target)).await.unwrap().status, 200, "{target}");
    }
    world.shop.saw(neighbours.len());
}

#[tokio::test]
async fn a_form_on_another_path_that_reaches_a_callback_never_arrives_whole() {
    let world = World::start().await;
    let polyglot = r#"{"session_id":"a","authorization_token":"b","x":"&wc-api=kp_wc_authorization&"}"#;
    let multipart = "--X\r\nContent-Disposition: form-data; name=\"wc-api\"\r\n\r\nkco_wc_push\r\n--X--\r\n";
    let form = "application/x-www-form-urlencoded";
    let forms = [
        (form, polyglot),
        (form, "wc-api=kp_wc_authorization"),
        (form, "a=1&%77c-api=kp_wc_authorization"),
        (form, "a=1&+wc-api=kp_wc_authorization"),
        ("Application/X-WWW-Form-Urlencoded; charset=x", polyglot),
        ("application/x-www-form-urlencoded,application/json", polyglot),
        ("application/x-www-form-urlencoded application/json", polyglot),
        ("multipart/form-data; boundary=X", multipart),
        ("Multipart/Form-Data; boundary=\"X\"", multipart),
        (form, "rest_route=/klarna/v1/kec/notifications"),
    ];
    let token = world.token(Family::Payments, &Purchase::new());
    for (kind, body) in forms {
        for target in ["/", "/checkout", "/wp-login.php?x=1", &format!("/checkout?kallback={token}")] {
            let post = Callback::page(target).with_method("POST").with_header("content-type", kind).with_body(body);
            assert_refused(&world.somebody().call(&post).await.unwrap(), body);
            let over_http2 = world.somebody().over_http2(&world.authority);
            assert_refused(&over_http2.call(&post).await.unwrap(), body);
            assert_refused(&in_single_bytes(&world.somebody(), &post).await, body);
        }
    }
    let arrived = world.shop.requests();
    assert!(arrived.iter().all(|seen| !seen.whole), "{arrived:?}");
    assert_eq!(world.metric(r#"kallback_requests_refused_total{why="form_bypass"}"#), forms.len() as u64 * 4 * 3);

    let innocent = Callback::page("/checkout").with_method("POST").with_header("content-type", form);
    let innocent = innocent.with_body("billing_email=a%40example.org&note=wc-api+kp_wc_authorization");
    assert_eq!(world.somebody().call(&innocent).await.unwrap().status, 200);
    assert!(world.shop.requests().pop().unwrap().whole);
}

/// Posts the body in chunks of one byte.
async fn in_single_bytes(klarna: &Klarna, post: &Callback) -> Answered {
    let chunks: Vec<u8> = post.body.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    let chunked =
        post.clone().with_header("transfer-encoding", "chunked").with_body([&chunks[..], b"0\r\n\r\n"].concat());
    klarna.call(&chunked).await.unwrap()
}

#[tokio::test]
async fn a_form_on_a_callbacks_own_path_cannot_choose_another_callback() {
    // A shop that has just begun with tokens: pushes are only observed yet.
    let observed =
        Override { preset: None, kind: Some(Kind::Push), mode: Some(Mode::Observe), policy: Default::default() };
    let world = World::builder().with_override(observed).start().await;
    let purchase = Purchase::new();
    let polyglot = r#"{"session_id":"a","authorization_token":"b","x":"&wc-api=kp_wc_authorization&"}"#;
    let form = "application/x-www-form-urlencoded";
    let push = Callback::push(&purchase);
    let forms = [
        push.clone().with_header("content-type", form).with_body(polyglot),
        world.signed(push.clone(), &purchase).with_header("content-type", form).with_body(polyglot),
        world
            .signed(Callback::validation(&purchase).without_header("content-type"), &purchase)
            .with_header("content-type", form)
            .with_body("wc-api=kp_wc_authorization"),
        push.clone()
            .with_header("content-type", "multipart/form-data; boundary=X")
            .with_body("--X\r\nContent-Disposition: form-data; name=wc-api\r\n\r\nkp_wc_authorization\r\n--X--\r\n"),
    ];
    for callback in forms {
        assert_refused(&world.somebody().call(&callback).await.unwrap(), &callback.target);
    }
    world.shop.saw(0);
    assert_eq!(world.operator().books().await, Books::default());
    let harmless = push.with_header("content-type", form).with_body("{}");
    assert_eq!(world.somebody().call(&harmless).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_token_is_cut_out_and_every_other_byte_stays() {
    let world = World::start().await;
    let rows = [
        ("/wc-api/KP_WC_AUTHORIZATION?T", "/wc-api/KP_WC_AUTHORIZATION"),
        ("/wc-api/KP_WC_AUTHORIZATION/?T", "/wc-api/KP_WC_AUTHORIZATION/"),
        ("/wc-api/KP_WC_AUTHORIZATION?T&a=1&b=2", "/wc-api/KP_WC_AUTHORIZATION?a=1&b=2"),
        ("/wc-api/KP_WC_AUTHORIZATION?a=1&T&b=2", "/wc-api/KP_WC_AUTHORIZATION?a=1&b=2"),
        ("/wc-api/KP_WC_AUTHORIZATION?a=1&b=2&T", "/wc-api/KP_WC_AUTHORIZATION?a=1&b=2"),
        ("/?wc-api=KP_WC_AUTHORIZATION&T", "/?wc-api=KP_WC_AUTHORIZATION"),
        ("/?T&wc-api=KP_WC_AUTHORIZATION", "/?wc-api=KP_WC_AUTHORIZATION"),
        (
            "/wc-api/KP_WC_AUTHORIZATION?a+b=%20+;x=1&&T&e=&f&g==&%C3%BC=%fc&q=a?b/c",
            "/wc-api/KP_WC_AUTHORIZATION?a+b=%20+;x=1&&e=&f&g==&%C3%BC=%fc&q=a?b/c",
        ),
        (
            "/wc-api/KP_WC_AUTHORIZATION?id={checkout.order.id}&T&u=http://x/?y=z&kallbackx=1&xkallback=2",
            "/wc-api/KP_WC_AUTHORIZATION?id={checkout.order.id}&u=http://x/?y=z&kallbackx=1&xkallback=2",
        ),
        ("/wc-api/KP_WC_AUTHORIZATION?json=[%22a%22]|^\\&T", "/wc-api/KP_WC_AUTHORIZATION?json=[%22a%22]|^\\"),
    ];
    let mut seen = 0;
    for (target, arrives) in rows {
        for klarna in [world.klarna(), world.klarna().over_http2(&world.authority)] {
            let purchase = Purchase::new();
            let token = format!("kallback={}", world.token(Family::Payments, &purchase));
            let callback = Callback::authorization(&purchase).with_target(&put_token(target, &token));
            assert_eq!(klarna.call(&callback).await.unwrap().status, 200, "{target}");
            seen += 1;
            world.shop.saw(seen);
            assert_eq!(world.shop.requests().pop().unwrap().target, arrives);
        }
    }
}

/// Puts the token in the place of the pair `T`.
fn put_token(target: &str, token: &str) -> String {
    let (path, query) = target.split_once('?').unwrap();
    let pairs: Vec<_> = query.split('&').map(|pair| if pair == "T" { token } else { pair }).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[tokio::test]
async fn a_shop_that_observes_lets_everything_pass_and_counts_what_it_would_refuse() {
    let world = World::builder().with_mode(Mode::Observe).start().await;
    let purchase = Purchase::new();
    let right = world.token(Family::Payments, &purchase);
    let callback = Callback::authorization(&purchase);
    let rows = [
        ("observed_missing", callback.clone()),
        ("observed_malformed", callback.clone().with_token("0123")),
        ("observed_wrong_family", callback.clone().with_token(&world.token(Family::Checkout, &purchase))),
        ("observed_repeated", callback.clone().with_token(&right).with_token(&right)),
        ("valid", callback.clone().with_token(&right)),
    ];
    for (number, (result, callback)) in (1..).zip(rows) {
        // Each is a notice of its own.
        let body = Callback::authorization(&Purchase::new()).body;
        assert_eq!(world.somebody().call(&callback.with_body(body)).await.unwrap().status, 200, "{result}");
        assert_eq!(world.metric(&format!("kallback_token_checks_total{{result=\"{result}\"}}")), 1);
        world.shop.saw(number);
        assert_eq!(world.shop.requests().pop().unwrap().target, "/wc-api/KP_WC_AUTHORIZATION");
    }
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="missing"}"#), 0);
    let question = Callback::validation(&purchase);
    assert_eq!(world.somebody().call(&question).await.unwrap().status, 200);
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="observed_missing"}"#), 2);
}

#[tokio::test]
async fn a_shop_without_tokens_is_asked_for_none() {
    let world = World::builder().with_mode(Mode::Off).start().await;
    for callback in [Callback::authorization, Callback::push, Callback::validation, Callback::webhook] {
        let purchase = Purchase::new();
        assert_eq!(world.somebody().call(&callback(&purchase)).await.unwrap().status, 200);
    }
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="off"}"#), 4);
    let purchase = Purchase::new();
    let leftover = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(world.somebody().call(&leftover).await.unwrap().status, 200);
    assert_eq!(
        world.shop.requests().pop().unwrap().target,
        "/wc-api/KP_WC_AUTHORIZATION",
        "it is no business of the shop"
    );
}

#[tokio::test]
async fn a_token_is_good_for_a_few_sessions_and_no_more() {
    let world = World::start().await;
    let purchases = [(); 5].map(|()| Purchase::new());
    for callback in [Callback::authorization, Callback::validation] {
        let family = callback(&purchases[0]).place.unwrap().family;
        let token = world.token(family, &purchases[0]);
        let call =
            async |purchase: &Purchase| world.somebody().call(&callback(purchase).with_token(&token)).await.unwrap();
        for purchase in &purchases[..4] {
            assert_eq!(call(purchase).await.status, 200);
        }
        let seen = world.shop.requests().len();
        assert_refused(&call(&purchases[4]).await, "a fifth session");
        world.shop.saw(seen);
        assert_eq!(call(&purchases[0]).await.status, 200, "those that it came with before are still good");
    }
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="overused"}"#), 2);
}

#[tokio::test]
async fn an_overused_token_is_only_counted_while_the_shop_observes() {
    let world = World::builder().with_mode(Mode::Observe).start().await;
    for (number, callback) in (1..).zip([Callback::authorization, Callback::validation]) {
        let first = Purchase::new();
        let token = world.token(callback(&first).place.unwrap().family, &first);
        for _ in 0..5 {
            let callback = callback(&Purchase::new()).with_token(&token);
            assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200, "{}", callback.target);
        }
        world.shop.saw(5 * number);
        assert_eq!(world.metric(r#"kallback_token_checks_total{result="observed_overused"}"#), number as u64);
    }
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="overused"}"#), 0);
}

#[tokio::test]
async fn a_token_expires_when_it_says_so_and_not_before() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    // The world's tokens live for 72 hours.
    let push = world.signed(Callback::push(&purchase), &purchase);
    time.pass(Duration::from_secs(72 * 3600 - 1), Duration::from_secs(600)).await;
    assert_eq!(world.somebody().call(&push).await.unwrap().status, 200);
    time.pass(Duration::from_secs(1), Duration::from_secs(1)).await;
    assert_refused(&world.somebody().call(&push).await.unwrap(), "72 hours later");
    assert_eq!(world.metric(r#"kallback_token_checks_total{result="expired"}"#), 1);
}

#[tokio::test]
async fn while_keys_are_rotated_both_are_good_and_the_first_one_mints() {
    let old = World::start().await.settings.token.keys.remove(0);
    let new = Key { id: 2, secret: b"another key that the tests know.".to_vec().into() };
    let (both, old_only) = (vec![new, old.clone()], vec![old]);
    let world = World::builder().with_settings(|settings| settings.token.keys = both).start().await;
    let purchase = Purchase::new();
    let minted_before = {
        let settings = kallback::token::Settings { keys: old_only, ..world.settings.token.clone() };
        let expires_at = world.clock.now() + Duration::from_secs(3600);
        let ticket = Ticket { family: Family::Payments, session: purchase.session.as_bytes(), expires_at };
        Guard::new(settings).mint(&ticket).unwrap()
    };
    let minted_now = world.token(Family::Payments, &purchase);
    assert_ne!(minted_before, minted_now);
    for token in [minted_before, minted_now] {
        let callback = Callback::authorization(&purchase.authorised_again()).with_token(&token);
        assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_refused_question_is_refused_before_the_shop_hears_of_it() {
    let world = World::start().await;
    world.shop.always(Act::hang());
    let purchase = Purchase::new();
    for callback in
        [Callback::validation, Callback::address_update, Callback::shipping_option_update, Callback::webhook]
    {
        let callback = callback(&purchase);
        assert_refused(&world.somebody().call(&callback).await.unwrap(), &callback.target);
    }
    // Another host name does not help either: the rules look at the target alone.
    let mut line = world.klarna().connect().await.unwrap();
    let bytes = String::from_utf8(Callback::push(&purchase).bytes(HOST)).unwrap();
    line.write(bytes.replace(HOST, "elsewhere.example").as_bytes()).await;
    assert_refused(&line.reply_to("POST").await.unwrap(), "another host");
    world.shop.saw(0);
}
