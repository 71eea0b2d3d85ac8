//! The corpus of HTTP/2 attacks, and floods of frames that cost the sender nothing.

use super::frames::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, End, Frame, HEADERS, LAST_KEPT_FIELD, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, kept_field, request, setting,
};
use super::http2_corpus::{PATH, STREAM, broken_frames, heads};
use super::{Fate, Fortress};
use crate::support::script::Act;

/// Names of settings (RFC 9113, 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

#[tokio::test]
async fn every_hostile_head_over_http2_is_refused_or_means_one_thing() {
    let fortress = Fortress::build().await;
    let (mut faults, heads) = (Vec::new(), heads());
    for (number, head) in heads.iter().enumerate() {
        let target = format!("/attack/{number}");
        let fill = |value: &'static [u8]| if value == PATH { target.as_bytes().to_vec() } else { value.to_vec() };
        let fields: Vec<(&[u8], Vec<u8>)> = head.fields.iter().map(|(name, value)| (*name, fill(value))).collect();
        let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let before = fortress.site.shop.requests().len();
        let mut attacker = Attacker::connect(&fortress, &[]).await;
        attacker.send_frames(&[Frame::head(STREAM, &fields)]).await;
        let end = attacker.end_of(STREAM).await;
        let seen = fortress.site.shop.requests().len() - before;
        let is_as_it_should = match head.fate {
            Fate::Refused => end == End::Refused && seen == 0,
            Fate::Served => end == End::Taken && seen == 1,
        };
        if !is_as_it_should {
            faults.push(format!("{}: {:?}, but {end:?}, {seen} at the shop", head.name, head.fate));
        }
        fortress.serves_the_honest(head.name).await;
    }
    fortress.stands("all of them").await;
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), heads.len(), faults.join("\n"));
    eprintln!("attack: {} HTTP/2 heads, 0 smuggled", heads.len());
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection_or_the_stream_and_no_whole_request_comes_of_them() {
    let fortress = Fortress::build().await;
    let (mut faults, number) = (Vec::new(), broken_frames(b"/").len());
    for case in 0..number {
        let target = format!("/attack/{case}");
        let (name, frames) = broken_frames(target.as_bytes()).swap_remove(case);
        let mut attacker = Attacker::connect(&fortress, &[]).await;
        attacker.send_frames(&frames).await;
        let end = attacker.end_of(STREAM).await;
        let whole = fortress.seen(&target).iter().filter(|seen| seen.whole).count();
        if end != End::Refused || whole > 0 {
            faults.push(format!("{name}: {end:?}, {whole} whole at the shop"));
        }
        fortress.serves_the_honest(name).await;
    }
    fortress.stands("all of them").await;
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), number, faults.join("\n"));
    eprintln!("attack: {number} broken HTTP/2 exchanges, none whole at the shop");
}

#[tokio::test]
async fn pseudo_headers_in_trailers_never_reach_the_shop() {
    let fortress = Fortress::build().await;
    let mut attacker = Attacker::connect(&fortress, &[]).await;
    let trailers = block(&[(b":path", b"/smuggled"), (b":authority", b"evil.example")]);
    let post = [
        Frame::new(HEADERS, END_HEADERS, STREAM, block(&request(b"POST", b"/trailers"))),
        Frame::new(DATA, 0, STREAM, *b"hello"),
        Frame::new(HEADERS, END_HEADERS | END_STREAM, STREAM, trailers),
    ];
    attacker.send_frames(&post).await;
    assert_ne!(attacker.end_of(STREAM).await, End::Silence);
    assert!(fortress.seen("/trailers").iter().all(|seen| seen.trailers.is_empty()));
    fortress.stands("pseudo-headers in trailers").await;
}

#[tokio::test]
async fn a_rapid_reset_reaches_the_shop_with_a_few_requests_and_ends_the_connection() {
    let fortress = Fortress::build().await;
    let mut attacker = Attacker::connect(&fortress, &[]).await;
    for round in 0..400_u32 {
        let burst: Vec<Frame> = (0..50)
            .flat_map(|number| {
                let stream = (round * 50 + number) * 2 + 1;
                [Frame::head(stream, &request(b"GET", b"/rapid")), Frame::new(RST_STREAM, 0, stream, CANCEL)]
            })
            .collect();
        if !attacker.send_frames(&burst).await {
            break;
        }
    }
    assert!(attacker.is_hung_up_on().await, "20,000 cancelled requests are borne");
    assert!(fortress.seen("/rapid").len() < 400, "{} reached the shop", fortress.seen("/rapid").len());
    fortress.stands("a rapid reset").await;
}

#[tokio::test]
async fn a_head_that_is_continued_for_ever_ends_the_connection() {
    for piece in [block(&[(b"x-a", &[b'b'; 1000])]), Vec::new()] {
        let fortress = Fortress::build().await;
        let mut attacker = Attacker::connect(&fortress, &[]).await;
        let start = Frame::new(HEADERS, END_STREAM, STREAM, block(&request(b"GET", b"/continued")));
        attacker.send_frames(&[start]).await;
        let more: Vec<Frame> = (0..100).map(|_| Frame::new(CONTINUATION, 0, STREAM, piece.clone())).collect();
        for _ in 0..200 {
            if !attacker.send_frames(&more).await {
                break;
            }
        }
        assert_eq!(attacker.end_of(STREAM).await, End::Refused);
        assert!(fortress.seen("/continued").is_empty());
        fortress.stands("a head without end").await;
    }
}

#[tokio::test]
async fn a_small_block_that_unfolds_to_a_large_head_is_refused() {
    let fortress = Fortress::build().await;
    let mut attacker = Attacker::connect(&fortress, &[]).await;
    for stream in (1..200).step_by(2) {
        let mut bomb = block(&request(b"GET", b"/bomb"));
        bomb.extend(kept_field(b"x-bomb", &[b'x'; 3_900]));
        bomb.extend([LAST_KEPT_FIELD; 10_000]);
        if !attacker.send_frames(&[Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, bomb)]).await {
            break;
        }
    }
    assert_eq!(attacker.end_of(1).await, End::Refused);
    assert!(fortress.seen("/bomb").is_empty());
    fortress.stands("100 blocks of 39 MB each").await;
}

#[tokio::test]
async fn floods_of_frames_that_cost_nothing_are_borne_or_ended_in_little_memory() {
    let post = Frame::new(HEADERS, END_HEADERS, STREAM, block(&request(b"POST", b"/flood")));
    let floods = [
        ("settings", None, Frame::new(SETTINGS, 0, 0, setting(3, 100))),
        ("pings", None, Frame::new(PING, 0, 0, [7; 8])),
        ("priorities", None, Frame::new(PRIORITY, 0, 9, [0, 0, 0, 0, 1])),
        ("empty data", Some(post.clone()), Frame::new(DATA, 0, STREAM, *b"")),
        ("windows", Some(post), Frame::new(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1])),
        ("frames of an unknown kind", None, Frame::new(0xbe, 0, 0, [0; 16])),
    ];
    let fortress = Fortress::build().await;
    for (name, before, frame) in floods {
        let mut attacker = Attacker::connect(&fortress, &[]).await;
        attacker.send_frames(before.as_slice()).await;
        let burst = frame.bytes().repeat(1_000);
        for _ in 0..200 {
            if !attacker.send(&burst).await {
                break;
            }
        }
        // It is still connected, or was cut off: others do not notice either way.
        fortress.stands(&format!("200,000 {name}")).await;
    }
    assert!(fortress.seen("/flood").iter().all(|seen| !seen.whole && seen.body.is_empty()));
}

#[tokio::test]
async fn callers_who_give_no_window_are_cut_off_and_hold_little() {
    let fortress = Fortress::build().await;
    fortress.site.shop.always_for("/large", Act::reply(200).body(vec![b'x'; 8 << 20]));
    let mut attackers = Vec::new();
    for _ in 0..4 {
        let mut attacker = Attacker::connect(&fortress, &[(INITIAL_WINDOW_SIZE, 0)]).await;
        let asks: Vec<Frame> = (0..50).map(|number| Frame::head(number * 2 + 1, &request(b"GET", b"/large"))).collect();
        attacker.send_frames(&asks).await;
        attackers.push(attacker);
    }
    for attacker in &mut attackers {
        assert!(attacker.is_hung_up_on().await, "a caller who takes nothing is kept");
    }
    fortress.stands("1.6 GB that nobody took").await;
}
