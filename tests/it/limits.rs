//! What is turned away, with which status, and who is not turned away with it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kallback::event::{Family, Mode};
use tokio::sync::mpsc;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::Answered;
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::world::{HOST, World};

const BODY_BYTES_MAX: usize = 2 << 20;

#[tokio::test]
async fn two_mebibytes_of_body_are_taken_and_not_one_byte_more() {
    let world = World::start().await;
    let mut seen = 0;
    for klarna in [world.somebody(), world.somebody().over_http2(&world.authority)] {
        for callback in [Callback::validation, Callback::notification] {
            let purchase = Purchase::new();
            let order = format!(r#"{{"order_id":"{}","event_type":"X","#, purchase.order);
            let start = format!(r#"{order}"lines":""#);
            let body = format!(r#"{start}{}"}}"#, "x".repeat(BODY_BYTES_MAX - start.len() - 2));
            assert_eq!(body.len(), BODY_BYTES_MAX);
            let callback = world.signed(callback(&purchase), &purchase);
            let larger = callback.clone().with_body(format!("{body} "));
            assert_eq!(klarna.call(&larger).await.unwrap().status, 413);
            world.shop.saw(seen);
            assert_eq!(klarna.call(&callback.with_body(body.clone())).await.unwrap().status, 200);
            seen += 1;
            assert!(world.shop.requests().pop().unwrap().body == body.as_bytes());
        }
    }
    assert_eq!(world.metric(r#"kallback_requests_refused_total{why="body_size"}"#), 4);
}

#[tokio::test]
async fn a_body_that_says_or_shows_that_it_is_too_large_is_refused_before_its_end() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let declared = callback.clone().with_body("").with_header("content-length", &(BODY_BYTES_MAX + 1).to_string());
    assert_eq!(world.somebody().call(&declared).await.unwrap().status, 413);

    let mut line = world.somebody().connect().await.unwrap();
    line.write(&callback.with_body("").with_header("transfer-encoding", "chunked").bytes(HOST)).await;
    let mut chunk = format!("{:x}\r\n", 1 << 20).into_bytes();
    chunk.extend(vec![b'x'; 1 << 20]);
    chunk.extend(b"\r\n");
    for _ in 0..3 {
        line.write(&chunk).await;
    }
    assert_eq!(line.reply_to("POST").await.unwrap().status, 413);
    world.shop.saw(0);
    assert_eq!(world.operator().books().await, Books::default());
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    for callback in [Callback::authorization, Callback::validation] {
        let purchase = Purchase::new();
        let bytes = world.signed(callback(&purchase), &purchase).bytes(HOST);
        let mut line = world.somebody().connect().await.unwrap();
        line.write(&bytes[..bytes.len() - 1]).await;
        let answer = time.run(line.reply_to("POST")).await.unwrap();
        assert_eq!((answer.status, answer.text()), (408, ""));
        assert!((5_000..5_100).contains(&answer.took.as_millis()), "{:?}", answer.took);
    }
    world.shop.saw(0);
    assert_eq!(world.metric(r#"kallback_requests_refused_total{why="slow_body"}"#), 2);
}

#[tokio::test]
async fn a_stranger_is_refused_before_its_body_is_waited_for() {
    let world = World::frozen().start().await;
    let callback = Callback::authorization(&Purchase::new()).with_header("content-length", "2097152");
    let bytes = callback.with_body("").bytes(HOST);
    let mut line = world.somebody().connect().await.unwrap();
    line.write(&bytes).await;
    let answer = line.reply_to("POST").await.unwrap();
    assert_eq!((answer.status, answer.took), (403, Duration::ZERO));
}

#[tokio::test]
async fn a_stranger_who_sends_its_body_to_the_end_finds_its_refusal_and_may_go_on() {
    let world = World::start().await;
    let callback = Callback::authorization(&Purchase::new());
    let bytes = callback.bytes(HOST);
    let (first, rest) = bytes.split_at(bytes.len() - 10);

    let mut line = world.somebody().connect().await.unwrap();
    line.write(first).await;
    assert_eq!(line.reply_to("POST").await.unwrap().status, 403);
    line.write(rest).await;
    line.write(&Callback::page("/").bytes(HOST)).await;
    assert_eq!(line.reply_to("GET").await.unwrap().status, 200);
}

#[tokio::test]
async fn over_http2_such_a_refusal_does_not_reset_what_is_still_being_sent() {
    let world = World::start().await;
    let socket = world.somebody().over_http2(&world.authority).connect().await.unwrap().into_socket();
    let (mut caller, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let post = |target: &str, upload| Request::post(format!("https://{HOST}{target}")).body(upload).unwrap();

    let (pieces, upload) = Upload::begin();
    let target = Callback::authorization(&Purchase::new()).target;
    assert_eq!(caller.send_request(post(&target, upload)).await.unwrap().status(), 403);
    // When the next reply is here, what came right after the first one was read.
    let (_, nothing) = Upload::begin();
    assert_eq!(caller.send_request(post("/", nothing)).await.unwrap().status(), 200);
    assert!(!pieces.is_closed(), "the upload was cut off");
}

/// A body that goes on for as long as the test holds its other end.
struct Upload(mpsc::Receiver<Bytes>);

impl Upload {
    fn begin() -> (mpsc::Sender<Bytes>, Self) {
        let (pieces, upload) = mpsc::channel(1);
        (pieces, Self(upload))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let world = World::start().await;
    let large = Callback::page("/").with_header("cookie", &"x".repeat(32 << 10));
    let mut many = Callback::page("/");
    for number in 0..101 {
        many = many.with_header(&format!("x-{number}"), "1");
    }
    let long = Callback::page(&format!("/?{}", "x".repeat(32 << 10)));
    for request in [&large, &many, &long] {
        assert_eq!(world.somebody().call(request).await.unwrap().status, 431);
    }
    for request in [&large, &many] {
        let outcome = world.somebody().over_http2(&world.authority).call(request).await;
        assert!(outcome.is_err() || outcome.as_ref().unwrap().status == 431, "{outcome:?}");
    }
    world.shop.saw(0);
    let fits = Callback::page("/").with_header("cookie", &"x".repeat(31 << 10));
    assert_eq!(world.somebody().call(&fits).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_408() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let mut line = world.somebody().connect().await.unwrap();
    line.write(b"POST /wc-api/KP_WC_AUTHORIZATION HTTP/1.1\r\nhost: shop").await;
    let answer = time.run(line.reply_to("POST")).await.unwrap();
    assert_eq!(answer.status, 408);
    assert!((5_000..5_100).contains(&answer.took.as_millis()), "{:?}", answer.took);
}

#[tokio::test]
async fn a_flood_of_wrong_tokens_is_slowed_down_and_keeps_the_right_one_from_nobody() {
    let world = World::frozen().with_settings(|settings| settings.limits.refused_per_minute = 5).start().await;
    let time = world.time.as_ref().unwrap();
    let stranger = Callback::authorization(&Purchase::new()).with_token(&"0".repeat(64));
    for _ in 0..5 {
        assert_eq!(world.somebody().call(&stranger).await.unwrap().status, 403);
    }
    for _ in 0..20 {
        assert_too_many(&world.somebody().call(&stranger).await.unwrap());
    }
    for callback in [Callback::authorization, Callback::validation] {
        let purchase = Purchase::new();
        let callback = world.signed(callback(&purchase), &purchase);
        assert_eq!(world.somebody().call(&callback).await.unwrap().status, 200, "from the same address");
    }
    world.shop.saw(2);
    assert_eq!(world.metric(r#"kallback_requests_refused_total{why="rate"}"#), 20);
    time.pass(Duration::from_secs(60), Duration::from_secs(1)).await;
    assert_eq!(world.somebody().call(&stranger).await.unwrap().status, 403);
}

#[track_caller]
fn assert_too_many(answer: &Answered) {
    assert_eq!((answer.status, answer.text(), answer.header("retry-after")), (429, "", Some("1")));
}

#[tokio::test]
async fn a_shop_that_observes_is_not_flooded_by_what_cannot_prove_itself() {
    let world = let_pass_at_most_three_a_second(Mode::Observe).await;
    let purchase = Purchase::new();
    let proven = world.signed(Callback::push(&purchase), &purchase);
    assert_eq!(world.somebody().call(&proven).await.unwrap().status, 200, "who can prove itself is not held up");
}

#[tokio::test]
async fn a_shop_without_tokens_is_not_flooded_either() {
    let_pass_at_most_three_a_second(Mode::Off).await;
}

/// Gives back a world whose allowance for that is used up.
async fn let_pass_at_most_three_a_second(mode: Mode) -> World {
    let world = World::frozen().with_mode(mode).with_settings(|settings| settings.limits.unproven_per_second = 3);
    let world = world.start().await;
    let over_http2 = world.klarna().over_http2(&world.authority);
    let unproven = || Callback::push(&Purchase::new()).with_token("wrong");
    for _ in 0..2 {
        for _ in 0..3 {
            assert_eq!(world.somebody().call(&unproven()).await.unwrap().status, 200);
        }
        assert_too_many(&world.somebody().call(&unproven()).await.unwrap());
        assert_too_many(&over_http2.call(&unproven()).await.unwrap());
        world.time.as_ref().unwrap().pass(Duration::from_secs(1), Duration::from_millis(100)).await;
    }
    world.shop.saw(6);
    for _ in 0..3 {
        assert_eq!(world.somebody().call(&unproven()).await.unwrap().status, 200);
    }
    assert_too_many(&world.somebody().call(&unproven()).await.unwrap());
    world
}

#[tokio::test]
async fn even_proven_calls_have_a_limit_that_nobody_else_can_use_up() {
    let world = World::frozen().with_settings(|settings| settings.limits.proven_per_second = 2).start().await;
    let call = async |callback: Callback| world.somebody().call(&callback).await.unwrap();
    for _ in 0..10 {
        assert_eq!(call(Callback::push(&Purchase::new())).await.status, 403);
    }
    let purchase = Purchase::new();
    let signed = |number: usize| {
        let callback = Callback::page(&format!("/wc-api/KCO_WC_Push/?kco_wc_order_id={number}")).with_method("POST");
        callback.with_token(&world.token(Family::Checkout, &purchase))
    };
    assert_eq!((call(signed(1)).await.status, call(signed(2)).await.status), (200, 200));
    assert_too_many(&call(signed(3)).await);
    world.time.as_ref().unwrap().pass(Duration::from_secs(1), Duration::from_millis(100)).await;
    assert_eq!(call(signed(3)).await.status, 200);
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_gets_them_back() {
    let world = World::builder().with_settings(|settings| settings.server.connections_per_address_max = 2);
    let world = world.start().await;
    let first = world.klarna().connect().await.unwrap();
    let _second = world.klarna().connect().await.unwrap();
    assert!(world.klarna().connect().await.is_err());
    assert_eq!(world.metric(r#"kallback_connections_refused_total{why="too_many_from_address"}"#), 1);
    drop(first);
    while world.klarna().connect().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upload_that_is_too_large_for_the_shop_never_arrives_whole() {
    let world = World::builder().with_settings(|settings| settings.limits.traffic_body_bytes_max = 1 << 20);
    let world = world.start().await;
    let upload = |bytes: usize| Callback::page("/upload").with_method("POST").with_body(vec![b'x'; bytes]);
    assert_eq!(world.somebody().call(&upload(1 << 20)).await.unwrap().status, 200);
    assert_eq!(world.somebody().call(&upload((1 << 20) + 1)).await.unwrap().status, 413);
    world.shop.saw(1);
    let chunked = upload(0).with_header("transfer-encoding", "chunked");
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", (1 << 20) + 1, "x".repeat((1 << 20) + 1));
    assert_eq!(world.somebody().call(&chunked.with_body(body)).await.unwrap().status, 413);
    world.shop.wait_until("the end of the torn upload", |book| book.requests.iter().all(|seen| seen.done)).await;
    assert!(!world.shop.requests().pop().unwrap().whole);
}

#[tokio::test]
async fn a_question_that_finds_no_seat_in_time_is_told_to_come_again() {
    let seats = |settings: &mut kallback::app::Settings| {
        settings.limits.seats.max_in_flight = 1;
        settings.limits.seats.reserved_for_callbacks = 0;
    };
    let world = World::frozen().with_settings(seats).start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.next(Act::hang());
    let mut page = world.somebody().connect().await.unwrap();
    page.write(&Callback::page("/slow").bytes(HOST)).await;
    world.shop.wait_for_requests(1).await;
    let purchase = Purchase::new();
    let question = world.signed(Callback::validation(&purchase), &purchase);
    let answer = time.run(world.somebody().call(&question)).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!((10_000..10_100).contains(&answer.took.as_millis()), "{:?}", answer.took);
    world.shop.saw(1);
}
