//! Through the whole forwarder, from a raw caller to a raw shop.

use std::time::Duration;

use kallback::limits::SeatSettings;
use kallback::upstream::BodyGuard;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::world::{Front, LONG, Plan, SHORT, Shop, plain};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Sends one request and gives back the head that the shop saw; the shop answers `OK`.
async fn seen_by_shop(request: impl AsRef<[u8]>) -> String {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say(request).await;
    let mut visitor = tokio::select! {
        visitor = shop.visitor() => visitor,
        refused = caller.head() => panic!("refused: {refused}"),
    };
    let head = visitor.head().await;
    visitor.say(OK).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    head
}

/// Sends one request that must not get to the shop; the status that comes back.
async fn refused(request: impl AsRef<[u8]>) -> String {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say(request).await;
    let answer = tokio::select! {
        answer = caller.head() => answer,
        mut visitor = shop.visitor() => panic!("it got to the shop: {}", visitor.head().await),
    };
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// One exchange: the request, what the shop answers, and what the caller gets before the connection ends.
async fn answered(request: &str, answer: impl AsRef<[u8]>) -> (String, String) {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say(request).await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    visitor.say(answer).await;
    drop(visitor);
    let head = caller.head().await;
    (head, caller.rest().await)
}

#[tokio::test]
async fn the_shop_sees_the_target_as_it_came_and_who_called() {
    let head = seen_by_shop(
        "POST /a%20b/{id}/..//x|^?q=%7c|\\'^`{}[]&&=;+ HTTP/1.1\r\nHost: shop.example:8443\r\nAccept: */*\r\n\
         Content-Length: 0\r\nX-Forwarded-For: 203.0.113.66\r\nX-Real-IP: 203.0.113.66\r\nForwarded: for=203.0.113.66\r\n\
         X-Forwarded-Proto: gopher\r\n\r\n",
    )
    .await;
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /a%20b/{id}/..//x|^?q=%7c|\\'^`{}[]&&=;+ HTTP/1.1");
    lines.sort_unstable();
    let agent = format!("user-agent: kallback/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines,
        [
            "accept: */*",
            "content-length: 0",
            "host: shop.example:8443",
            &agent,
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: shop.example:8443",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

/// The list that the module's documentation names.
#[tokio::test]
async fn which_bytes_a_target_may_hold() {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let passes = async |target: Vec<u8>| {
        let mut caller = front.caller().await;
        caller.say([&b"GET "[..], &target, b" HTTP/1.1\r\nhost: shop.example\r\n\r\n"].concat()).await;
        tokio::select! {
            mut visitor = shop.visitor() => {
                let line = visitor.head().await;
                let line: Vec<u8> = line.split("\r\n").next().unwrap().chars().map(|c| c as u8).collect();
                assert_eq!(line, [&b"GET "[..], &target, b" HTTP/1.1"].concat(), "changed on its way");
                true
            }
            status = caller.head() => {
                assert!(status.starts_with("HTTP/1.1 400 "), "{status}");
                false
            }
        }
    };
    let mut refused_in_path = Vec::new();
    let mut refused_in_query = Vec::new();
    for byte in (0x21..=0x7e).filter(|byte| *byte != b'#') {
        if !passes(vec![b'/', b'a', byte, b'b']).await {
            refused_in_path.push(char::from(byte));
        }
        if !passes(vec![b'/', b'?', b'a', byte, b'b']).await {
            refused_in_query.push(char::from(byte));
        }
    }
    assert_eq!((refused_in_path, refused_in_query), (vec!['<', '>', '`'], vec!['"', '<', '>']));
    assert!(passes("/gl\u{fc}hwein?q=\u{20ac}".into()).await);
    assert!(!passes(b"/gl\xfchwein".to_vec()).await);
}

#[tokio::test]
async fn headers_of_the_connection_and_those_that_lead_astray_stay_behind() {
    let head = seen_by_shop(
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, X-Mine, Host, Content-Length\r\nKeep-Alive: 5\r\n\
         X-Mine: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nTE: gzip\r\nProxy: http://evil\r\n\
         X-Original-URL: /wc-api/x\r\nX-Rewrite-Url: /wc-api/x\r\nKallback-Attempt: 7\r\nkallback-redelivery: true\r\n\
         X_Forwarded_For: 203.0.113.66\r\nX_Real-IP: 203.0.113.66\r\nkallback_attempt: 7\r\nx_own: 1\r\nCookie: a=1\r\n\r\n",
    )
    .await;
    let mut names: Vec<&str> =
        head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|line| line.0).collect();
    names.sort_unstable();
    let ours = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"];
    assert_eq!(names, [&["cookie", "host"][..], &ours, &["x_own"]].concat());
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused() {
    let host = "host: shop.example\r\n";
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{host}host: other.example\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nhost: a.example/b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: user@a.example\r\n\r\n".to_owned(), "400"),
        (format!("GET http://other.example/ HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("CONNECT shop.example:443 HTTP/1.1\r\n{host}\r\n"), "400"),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "400"),
    ] {
        assert_eq!(refused(&request).await, status, "{request}");
    }
    let absolute = seen_by_shop(format!("GET http://SHOP.example/x?y HTTP/1.1\r\n{host}\r\n")).await;
    assert!(absolute.starts_with("GET /x?y HTTP/1.1\r\nhost: shop.example\r\n"), "{absolute}");
}

#[tokio::test]
async fn bodies_keep_their_length_or_their_chunks_even_in_a_get() {
    let host = "host: shop.example\r\n";
    let declared = seen_by_shop(format!("PUT / HTTP/1.1\r\n{host}content-length: 3\r\n\r\nabc")).await;
    assert!(declared.contains("\r\ncontent-length: 3\r\n") && !declared.contains("transfer-encoding"), "{declared}");
    for method in ["GET", "POST"] {
        let request = format!("{method} / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let chunked = seen_by_shop(request).await;
        assert!(chunked.contains("\r\ntransfer-encoding: chunked\r\n"), "{chunked}");
        assert!(!chunked.contains("content-length"), "{chunked}");
    }
    assert!(!seen_by_shop(format!("GET / HTTP/1.1\r\n{host}\r\n")).await.contains("content-length"));
    let bare = seen_by_shop(format!("POST / HTTP/1.1\r\n{host}user-agent: \r\n\r\n")).await;
    assert!(bare.contains("\r\ncontent-length: 0\r\n") && bare.contains("user-agent: kallback/"), "{bare}");
}

#[tokio::test]
async fn bodies_and_trailers_stream_both_ways() {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller
        .say("POST / HTTP/1.1\r\nhost: shop.example\r\nte: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nab\r\n")
        .await;
    let mut visitor = shop.visitor().await;
    let head = visitor.head().await;
    assert!(head.contains("\r\nte: trailers\r\n") && head.contains("\r\nconnection: te\r\n"), "{head}");
    assert_eq!(visitor.bytes(7).await, "2\r\nab\r\n");
    caller.say("2\r\ncd\r\n0\r\nx-sum: 7\r\n\r\n").await;
    assert_eq!(visitor.bytes(7).await, "2\r\ncd\r\n");
    assert_eq!(visitor.bytes(15).await, "0\r\nx-sum: 7\r\n\r\n");

    visitor.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nef\r\n").await;
    let head = caller.head().await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(caller.bytes(7).await, "2\r\nef\r\n");
    visitor.say("0\r\nx-sum: 9\r\n\r\n").await;
    assert_eq!(caller.bytes(15).await, "0\r\nx-sum: 9\r\n\r\n");
}

#[tokio::test]
async fn replies_come_back_as_the_shop_wrote_them() {
    let get = "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
    let (head, body) = answered(
        get,
        b"HTTP/1.0 303 Ung\xfcltig\r\nLocation: /x?id=1&message=A%20b\r\nConnection: x-hop\r\nx-hop: 1\r\nKeep-Alive: 5\r\n\r\nto the end",
    )
    .await;
    assert!(head.starts_with("HTTP/1.1 303 Ung\u{fc}ltig\r\nlocation: /x?id=1&message=A%20b\r\n"), "{head}");
    assert!(!head.contains("hop") && !head.contains("keep-alive"), "{head}");
    assert!(body.contains("to the end"), "{body}");

    let (head, body) = answered(&get.replace("GET", "HEAD"), "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    assert!(head.contains("content-length: 1234\r\n") && body.is_empty(), "{head}{body}");
    let (head, body) = answered(get, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 204 No Content\r\n") && body.is_empty(), "{head}{body}");
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    let (head, body) = answered(get, "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n").await;
    assert!(head.contains("etag: \"a\"\r\n") && body.is_empty(), "{head}{body}");
}

#[tokio::test]
async fn half_a_page_never_looks_whole() {
    let get = "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    for reply in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (head, body) = answered(get, format!("HTTP/1.1 200 OK\r\n{reply}")).await;
        assert!(head.starts_with("HTTP/1.1 200 OK"));
        assert!(!body.ends_with("0\r\n\r\n") && body.len() < 10, "{body}");
    }
}

#[tokio::test]
async fn early_hints_reach_whoever_tells_the_caller() {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    visitor.say("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").await;
    visitor.say(OK).await;
    caller.head().await;
    assert_eq!(*front.told.lock().unwrap(), [103]);
}

#[tokio::test]
async fn a_caller_that_expects_a_hundred_gets_it_from_us_and_the_shop_is_not_asked() {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say("POST / HTTP/1.1\r\nhost: shop.example\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(caller.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.say("ok").await;
    let mut visitor = shop.visitor().await;
    assert!(!visitor.head().await.contains("expect"));
    assert_eq!(visitor.bytes(2).await, "ok");
    visitor.say(OK).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_shop_that_fails_gives_502_and_a_slow_one_504() {
    let get = "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say(get).await;
    shop.visitor().await.reset();
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");

    let mut plan = Plan::default();
    plan.limits.reply_within = SHORT;
    let front = Front::planned(&plain(shop.address), plan).await;
    let mut caller = front.caller().await;
    caller.say(get).await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 504 ") && head.contains("x-why: reply_timeout"), "{head}");

    drop(shop);
    let mut caller = front.caller().await;
    caller.say(get).await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 502 ") && head.contains("x-why: refused"), "{head}");
}

#[tokio::test]
async fn a_long_upload_is_no_slow_shop() {
    let mut plan = Plan::default();
    plan.limits.reply_within = SHORT;
    let shop = Shop::open().await;
    let front = Front::planned(&plain(shop.address), plan).await;
    let mut caller = front.caller().await;
    caller.say("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 6\r\n\r\n").await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    let mut pace = tokio::time::interval(SHORT * 2 / 3);
    for _ in 0..6 {
        pace.tick().await;
        caller.say("x").await;
        assert_eq!(visitor.bytes(1).await, "x");
    }
    visitor.say(OK).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_upload_goes_on_behind_an_early_reply_that_its_caller_does_not_take_yet() {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 6\r\n\r\nabc").await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    assert_eq!(visitor.bytes(3).await, "abc");
    visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
    // As much of it as there is room for on the way, so that whoever passes it on waits for the caller.
    let piece = vec![b'x'; 1 << 16];
    while timeout(SHORT, visitor.stream.write(&piece)).await.is_ok() {}
    caller.say("def").await;
    assert_eq!(visitor.bytes(3).await, "def");
}

#[tokio::test]
async fn bodies_that_are_too_large_or_too_slow_are_cut_off() {
    let post = "POST / HTTP/1.1\r\nhost: shop.example\r\n";
    let shop = Shop::open().await;
    let mut plan = Plan::default();
    plan.limits.request_body_bytes_max = 4;
    plan.limits.request_body_idle_at_most = SHORT;
    let front = Front::planned(&plain(shop.address), plan).await;

    let mut caller = front.caller().await;
    caller.say(format!("{post}content-length: 5\r\n\r\n")).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 413 "));
    assert!(shop.is_left_alone().await);

    for (last, status) in [("3\r\nabc\r\n", "413"), ("", "408")] {
        let mut caller = front.caller().await;
        caller.say(format!("{post}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n")).await;
        let mut visitor = shop.visitor().await;
        visitor.head().await;
        assert_eq!(visitor.bytes(7).await, "2\r\nab\r\n");
        caller.say(last).await;
        assert!(caller.head().await.starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(visitor.rest().await, "", "no more, and no end of the body");
    }
}

/// Refuses what contains `!`, and whatever ends with `?`.
struct Picky {
    last: u8,
}

impl BodyGuard for Picky {
    fn passes(&mut self, bytes: &[u8]) -> bool {
        self.last = bytes.last().copied().unwrap_or(self.last);
        !bytes.contains(&b'!')
    }

    fn passes_end(&mut self) -> bool {
        self.last != b'?'
    }
}

#[tokio::test]
async fn a_guarded_body_is_cut_before_the_bytes_that_must_not_pass() {
    let post = "POST / HTTP/1.1\r\nhost: shop.example\r\n";
    let shop = Shop::open().await;
    let plan = Plan { guard: || Some(Box::new(Picky { last: 0 })), ..Plan::default() };
    let front = Front::planned(&plain(shop.address), plan).await;

    let mut caller = front.caller().await;
    caller.say(format!("{post}content-length: 4\r\n\r\nab")).await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    assert_eq!(visitor.bytes(2).await, "ab");
    caller.say("c!").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 403 "));
    assert_eq!(visitor.rest().await, "");

    for (length, body) in [("content-length: 2", "a?"), ("transfer-encoding: chunked", "2\r\na?\r\n0\r\n\r\n")] {
        let mut caller = front.caller().await;
        caller.say(format!("{post}{length}\r\n\r\n{body}")).await;
        let mut visitor = shop.visitor().await;
        assert!(caller.head().await.starts_with("HTTP/1.1 403 "));
        let seen = visitor.rest().await;
        assert!(!seen.ends_with("\r\n\r\na?") && !seen.ends_with("0\r\n\r\n"), "the shop got a whole request: {seen}");
    }
}

#[tokio::test]
async fn a_full_shop_sends_the_next_one_away_until_a_reply_is_through() {
    let shop = Shop::open().await;
    let seats = SeatSettings {
        max_in_flight: 1,
        reserved_for_callbacks: 0,
        waiting_traffic_max: 0,
        traffic_waits_at_most: LONG,
    };
    let front = Front::planned(&plain(shop.address), Plan { seats, ..Plan::default() }).await;
    let get = "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    let mut first = front.caller().await;
    first.say(get).await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
    first.head().await;
    let mut second = front.caller().await;
    second.say(get).await;
    assert!(second.head().await.starts_with("HTTP/1.1 503 "));
    visitor.say("lf").await;
    assert_eq!(first.bytes(4).await, "half");
    second.say(get).await;
    visitor.head().await;
    visitor.say(OK).await;
    assert!(second.head().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_caller_that_hangs_up_frees_the_shop() {
    let shop = Shop::open().await;
    let front = Front::of(&shop).await;
    let mut caller = front.caller().await;
    caller.say("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    drop(caller);
    assert_eq!(visitor.rest().await, "");
}

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: shop.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: b\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_a_tunnel_that_takes_no_seat() {
    let shop = Shop::open().await;
    let seats = SeatSettings {
        max_in_flight: 1,
        reserved_for_callbacks: 0,
        waiting_traffic_max: 0,
        traffic_waits_at_most: LONG,
    };
    let front = Front::planned(&plain(shop.address), Plan { seats, ..Plan::default() }).await;
    let mut caller = front.caller().await;
    caller.say(HANDSHAKE).await;
    let mut visitor = shop.visitor().await;
    let head = visitor.head().await;
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: a"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    // The first message rides along with the switch.
    visitor.say(format!("{SWITCHED}hello")).await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("sec-websocket-accept: b"), "{head}");
    assert_eq!(caller.bytes(5).await, "hello");
    caller.say("and you").await;
    assert_eq!(visitor.bytes(7).await, "and you");

    let mut page = front.caller().await;
    page.say("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    let mut other = shop.visitor().await;
    other.head().await;
    other.say(OK).await;
    assert!(page.head().await.starts_with("HTTP/1.1 200 "));

    drop(caller);
    assert_eq!(visitor.rest().await, "");
    drop(visitor);
    front.tunnels.close();
    tokio::time::timeout(LONG, front.tunnels.wait()).await.expect("the tunnel outlived both its ends");
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let shop = Shop::open().await;
    let mut plan = Plan::default();
    plan.limits.tunnel_idle_at_most = Duration::from_millis(40);
    let front = Front::planned(&plain(shop.address), plan).await;
    let mut caller = front.caller().await;
    caller.say(HANDSHAKE).await;
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    visitor.say(SWITCHED).await;
    caller.head().await;
    assert_eq!((caller.rest().await, visitor.rest().await), (String::new(), String::new()));
}

#[tokio::test]
async fn no_other_protocol_is_switched_to() {
    let h2c = HANDSHAKE.replace("websocket", "h2c");
    assert!(!seen_by_shop(&h2c).await.contains("upgrade"));
    assert!(!seen_by_shop(HANDSHAKE.replace(", Upgrade", "")).await.contains("upgrade"), "Connection does not name it");
    assert!(!seen_by_shop(HANDSHAKE.replace("GET", "POST")).await.contains("upgrade"));
    let (head, _) = answered("GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n", SWITCHED).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

#[tokio::test]
async fn a_refused_websocket_is_an_ordinary_reply() {
    let (head, body) = answered(
        &HANDSHAKE.replace("keep-alive", "close"),
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nno",
    )
    .await;
    assert!(head.starts_with("HTTP/1.1 426 ") && !head.contains("upgrade: h2c"), "{head}");
    assert_eq!(body, "no");
}
