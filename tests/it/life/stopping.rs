//! SIGTERM: not ready, still there for a while, then to the end of what runs.

use std::time::Duration;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::klarna::{Klarna, Limits, Silence};
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::site::Site;
use crate::support::time::{patiently, within};

/// kallback answers for a slow shop a little earlier than by default.
const ANSWER_SOON: &str = "callbacks.kinds.authorization.answer_within=1 s";
/// The same for pushes.
const ANSWER_PUSHES_SOON: &str = "callbacks.kinds.push.answer_within=1 s";

#[tokio::test]
async fn readiness_goes_off_at_once_and_callbacks_are_taken_until_the_delay_is_over() {
    let site = Site::new().await;
    let mut kallback = site.start(&["life.drain_delay=10 min"]).await;
    assert_eq!(kallback.status_of("/readyz").await, 200);

    kallback.terminate();
    kallback.says("draining").await;

    assert_eq!(kallback.status_of("/readyz").await, 503);
    assert_eq!(kallback.status_of("/livez").await, 200);
    let answer = site.somebody(&kallback).call(&site.authorization(&Purchase::new())).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "-1"));
}

#[tokio::test]
async fn what_runs_is_finished_while_nobody_new_is_let_in() {
    let site = Site::new().await;
    let gate = Gate::closed();
    site.shop.next(Act::reply(200).body("a slow page").once_open(&gate));
    let mut kallback = site.start(&[]).await;
    let customer = site.somebody(&kallback);
    let asked = tokio::spawn({
        let customer = customer.clone();
        async move { customer.call(&Callback::page("/slow")).await }
    });
    site.shop.wait_for_requests(1).await;

    kallback.terminate();
    kallback.says("draining").await;
    refused_at_last(&customer).await;
    gate.open();

    let answer = asked.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "a slow page"));
    assert_eq!(kallback.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_takes_longer_than_drain_timeout_is_cut_off() {
    let site = Site::new().await;
    site.shop.next(Act::hang());
    let mut kallback = site.start(&["life.drain_timeout=100 ms"]).await;
    let customer = site.somebody(&kallback);
    let asked = tokio::spawn(async move { customer.call(&Callback::page("/slow")).await });
    site.shop.wait_for_requests(1).await;

    kallback.terminate();
    kallback.says("cut off").await;

    assert_eq!(kallback.ended().await.code(), Some(0));
    let unanswered = asked.await.unwrap().unwrap_err();
    assert!(matches!(unanswered.why, Silence::HungUp(_)), "{unanswered:?}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let site = Site::new().await;
    site.shop.next(Act::hang());
    let mut kallback = site.start(&["life.drain_delay=10 min"]).await;
    let customer = site.somebody(&kallback);
    let asked = tokio::spawn(async move { customer.call(&Callback::page("/slow")).await });
    site.shop.wait_for_requests(1).await;
    kallback.terminate();
    kallback.says("draining").await;

    kallback.terminate();

    let ended = within(Duration::from_secs(5), "the end of the process", kallback.ended()).await;
    assert_eq!(ended.code(), Some(0));
    kallback.says("told twice to stop").await;
    asked.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn http2_callers_are_told_to_go_away_and_get_what_they_asked_for() {
    let site = Site::new().await;
    let gate = Gate::closed();
    site.shop.next(Act::reply(200).body("a slow page").once_open(&gate));
    let mut kallback = site.start(&[]).await;
    let caller = site.somebody(&kallback).over_http2(&site.authority);
    let mut line = caller.connect().await.unwrap();
    line.write(&http2::request_for_the_home_page()).await;
    site.shop.wait_for_requests(1).await;

    kallback.terminate();
    let goodbye = http2::next_frame(&mut line, http2::GOAWAY).await;
    assert_eq!(goodbye.payload[4..8], [0; 4], "the reason is no error");
    gate.open();

    assert_eq!(http2::next_frame(&mut line, http2::HEADERS).await.stream, 1);
    let body = http2::next_frame(&mut line, http2::DATA).await;
    assert_eq!((body.stream, body.payload.as_slice()), (1, b"a slow page".as_slice()));
    assert_eq!(kallback.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_notice_that_was_answered_while_the_shop_still_worked_is_finished() {
    let site = Site::new().await;
    let gate = Gate::closed();
    site.shop.next(Act::minus_one(200).once_open(&gate));
    let mut kallback = site.start(&[ANSWER_SOON]).await;
    let callback = site.authorization(&Purchase::new());
    assert_eq!(site.somebody(&kallback).call(&callback).await.unwrap().status, 204);

    kallback.terminate();
    kallback.says("draining").await;
    gate.open();
    assert_eq!(kallback.ended().await.code(), Some(0));

    let kallback = site.start(&[]).await;
    let again = site.somebody(&kallback).call(&callback).await.unwrap();
    assert_eq!((again.status, again.header("kallback-replayed")), (200, Some("true")));
    site.shop.saw(1);
}

#[tokio::test]
async fn a_notice_that_could_not_be_finished_is_brought_by_the_next_start() {
    let site = Site::new().await;
    site.shop.next(Act::hang());
    let mut kallback = site.start(&[ANSWER_SOON, "life.drain_timeout=100 ms"]).await;
    let callback = site.authorization(&Purchase::new());
    assert_eq!(site.somebody(&kallback).call(&callback).await.unwrap().status, 204);

    kallback.terminate();
    assert_eq!(kallback.ended().await.code(), Some(0));
    site.shop.saw(1);

    let kallback = site.start(&[]).await;
    let seen = site.shop.wait_for_requests(2).await;
    assert!(seen[1].is_redelivery() && seen[1].key() == seen[0].key(), "{:?}", seen[1]);
    assert_eq!(seen[1].body, callback.body);
    let delivered = Books { accepted: 1, settled: 1, ..Books::default() };
    kallback.operator().wait_for_books(delivered).await;
}

#[tokio::test]
async fn a_push_that_the_shop_may_have_had_is_left_to_the_senders_repeat() {
    let site = Site::new().await;
    site.shop.next(Act::hang());
    let mut kallback = site.start(&[ANSWER_PUSHES_SOON, "life.drain_timeout=100 ms"]).await;
    let purchase = Purchase::new();
    let push = site.signed(Callback::push(&purchase), &purchase);
    let answer = site.somebody(&kallback).call(&push).await.unwrap();
    assert_eq!(answer.status, 204);

    kallback.terminate();
    assert_eq!(kallback.ended().await.code(), Some(0));

    let kallback = site.start(&[]).await;
    let left = Books { accepted: 1, left: 1, ..Books::default() };
    kallback.operator().wait_for_books(left).await;
    site.shop.saw(1);
}

#[tokio::test]
async fn a_notice_that_waits_for_a_dead_shop_does_not_hold_up_the_stop() {
    let mut site = Site::new().await;
    site.shop.go_down().await;
    // The first pause is drawn at random up to 10 min.
    let mut kallback = site.start(&[ANSWER_SOON, "delivery.schedule=10 min", "life.drain_timeout=10 min"]).await;
    assert_eq!(site.somebody(&kallback).call(&site.authorization(&Purchase::new())).await.unwrap().status, 204);

    kallback.terminate();
    assert_eq!(kallback.ended().await.code(), Some(0));

    site.shop.come_back().await;
    let kallback = site.start(&[]).await;
    let Books { accepted, settled, pending, .. } = kallback.operator().books().await;
    // Its next attempt may have been drawn to be now.
    assert_eq!((accepted, settled + pending), (1, 1));
}

/// Connects until nobody listens any more.
async fn refused_at_last(caller: &Klarna) {
    let caller = caller.clone().with_limits(Limits::PATIENT);
    let refused = async {
        while !matches!(caller.connect().await, Err(unanswered) if unanswered.why == Silence::Refused) {
            tokio::task::yield_now().await;
        }
    };
    patiently("callers to be refused", refused).await;
}

/// As much of HTTP/2 as it takes to ask for one page and to look at single frames.
mod http2 {
    use crate::support::klarna::Line;
    use crate::support::world::HOST;

    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;

    const ACK: u8 = 1;
    const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;

    pub struct Frame {
        pub kind: u8,
        pub flags: u8,
        pub stream: u32,
        pub payload: Vec<u8>,
    }

    /// Preface, settings, and `GET /` on stream 1.
    pub fn request_for_the_home_page() -> Vec<u8> {
        // Entries 2, 7 and 4 of HPACK's static table: GET, https, `/`; then entry 1, `:authority`, with a value.
        let mut head = vec![0x82, 0x87, 0x84, 0x41, u8::try_from(HOST.len()).unwrap()];
        head.extend_from_slice(HOST.as_bytes());
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        [preface, frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM_AND_HEADERS, 1, &head)].concat()
    }

    /// The next frame of that kind. Settings and pings in between are acknowledged, the rest is passed over.
    pub async fn next_frame(line: &mut Line, kind: u8) -> Frame {
        loop {
            let head = line.read_exactly(9).await;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let found = Frame { kind: head[3], flags: head[4], stream, payload: line.read_exactly(length).await };
            match found.kind {
                SETTINGS if found.flags & ACK == 0 => line.write(&frame(SETTINGS, ACK, 0, &[])).await,
                PING if found.flags & ACK == 0 => line.write(&frame(PING, ACK, 0, &found.payload)).await,
                _ => {}
            }
            if found.kind == kind {
                return found;
            }
        }
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }
}
