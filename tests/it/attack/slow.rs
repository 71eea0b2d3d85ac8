//! Callers who are slow on purpose: closed on time, while others are served.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::{Fortress, PATIENCE};
use crate::support::klarna::Line;
use crate::support::script::Act;
use crate::support::shop::Book;

/// Slow callers at once.
const CROWD: usize = 100;
/// Every wait of the gateway is at most two seconds here; the rest is for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);
const DRIP_EVERY: Duration = Duration::from_millis(100);

#[tokio::test]
async fn heads_and_bodies_that_drip_are_closed_on_time_while_others_are_served() {
    let starts: [(&str, &[u8], &[u8]); 4] = [
        ("a head", b"GET /slow HTTP/1.1\r\nhost: shop.example\r\nx-a: ", b"b"),
        ("header lines", b"GET /slow HTTP/1.1\r\nhost: shop.example\r\n", b"x-a: b\r\n"),
        ("nothing at all", b"", b""),
        (
            "a callback's body",
            b"POST /wc-api/KP_WC_AUTHORIZATION HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 1000\r\n\r\n",
            b"x",
        ),
    ];
    let fortress = Fortress::build().await;
    for (name, start, drip) in starts {
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            let mut line = fortress.caller().connect().await.unwrap();
            line.write(start).await;
            crowd.spawn(dripping(line, drip));
        }
        fortress.serves_the_honest(name).await;
        while let Some(closed) = crowd.join_next().await {
            let took = closed.unwrap();
            assert!(took < CLOSED_WITHIN, "{name}: closed after {took:?}");
        }
        fortress.stands(name).await;
    }
    assert!(fortress.seen("/slow").is_empty());
}

#[tokio::test]
async fn handshakes_that_never_come_are_closed_on_time() {
    let fortress = Fortress::build().await;
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let mut tcp = TcpStream::connect(fortress.process.address).await.unwrap();
        crowd.spawn(async move {
            let start = Instant::now();
            let _ = timeout(PATIENCE, tcp.read(&mut [0; 16])).await;
            start.elapsed()
        });
    }
    fortress.serves_the_honest("silent connections").await;
    while let Some(closed) = crowd.join_next().await {
        assert!(closed.unwrap() < CLOSED_WITHIN);
    }
}

#[tokio::test]
async fn callers_who_do_not_read_their_reply_are_cut_off_while_others_are_served() {
    let fortress = Fortress::build().await;
    fortress.site.shop.always_for("/large", Act::reply(200).body(vec![b'x'; 32 << 20]));
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut line = fortress.caller().connect().await.unwrap();
        line.write(b"GET /large HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
        crowd.push(line);
    }
    fortress.site.shop.wait_for_requests(4).await;
    fortress.serves_the_honest("replies that nobody reads").await;
    // The shop cannot go on sending once kallback gives up a reply that nobody takes.
    let given_up =
        |book: &Book| book.requests.iter().filter(|seen| seen.target == "/large").all(|seen| seen.caller_left);
    fortress.site.shop.wait_until("an end of what nobody reads", given_up).await;
    for line in &mut crowd {
        let rest = line.read_to_end().await.unwrap_or_default();
        assert!(rest.len() < 32 << 20, "a whole reply came to somebody who did not read");
    }
    fortress.stands("replies that nobody reads").await;
}

/// Sends a little every now and then until the other side hangs up, and says how long that took.
async fn dripping(mut line: Line, drip: &'static [u8]) -> Duration {
    let (start, mut drips) = (Instant::now(), interval(DRIP_EVERY));
    loop {
        tokio::select! {
            _ = drips.tick() => line.write(drip).await,
            _ = line.read_to_end() => return start.elapsed(),
            () = tokio::time::sleep_until(start + PATIENCE) => return PATIENCE,
        }
    }
}
