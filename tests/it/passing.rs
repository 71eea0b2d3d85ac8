//! Everything that is no callback, through the whole gateway: unchanged, streaming, and after the callbacks.

use std::time::Duration;

use kallback::limits::SeatSettings;
use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::klarna::Line;
use crate::support::script::Act;
use crate::support::shop::{Seen, Shop};
use crate::support::wire::Lines;
use crate::support::world::{HOST, World, WorldBuilder};

#[tokio::test]
async fn the_shop_is_told_who_really_calls_and_what_strangers_claim_is_dropped() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let requests = [Callback::page("/shop"), world.signed(Callback::push(&purchase), &purchase)];
    for klarna in [world.somebody(), world.somebody().over_http2(&world.authority)] {
        for request in &requests {
            let lies = ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"];
            let lying =
                lies.into_iter().fold(request.clone(), |request, name| request.with_header(name, "203.0.113.9"));
            let lying = lying.with_header("Forwarded", "for=203.0.113.9").with_header("X_Forwarded_For", "203.0.113.9");
            // Of the second call of the push the shop sees nothing.
            let lying = if lying.place.is_some() { lying.with_parameter("key", &purchase.event[30..]) } else { lying };
            assert_eq!(klarna.call(&lying).await.unwrap().status, 200);
            assert_told_the_truth(&world.shop.requests().pop().unwrap());
        }
    }
    world.shop.saw(3);
}

#[track_caller]
fn assert_told_the_truth(seen: &Seen) {
    let told = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]
        .map(|name| seen.header(name).unwrap_or("absent"));
    assert_eq!(told, ["127.0.0.1", "127.0.0.1", "https", HOST, "443"], "{}", seen.target);
    assert!(!seen.headers.iter().any(|(_, value)| value.ends_with(b"203.0.113.9")), "{:?}", seen.headers);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_when_it_names_another_client() {
    let world = World::builder().with_settings(|settings| {
        settings.forward.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        settings.limits.refused_per_minute = 2;
    });
    let world = world.start().await;
    let page = Callback::page("/").with_header("X-Forwarded-For", "198.51.100.1, 203.0.113.9");
    let page = page.with_header("X-Forwarded-Proto", "http").with_header("X-Forwarded-Port", "8080");
    assert_eq!(world.somebody().call(&page).await.unwrap().status, 200);
    let seen = world.shop.request();
    let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"].map(|name| seen.header(name).unwrap());
    assert_eq!(told, ["198.51.100.1, 203.0.113.9, 127.0.0.1", "http", "8080"]);

    let stranger = Callback::authorization(&Purchase::new());
    let from = |client: &str| stranger.clone().with_header("x-forwarded-for", client);
    for (client, status) in [
        ("203.0.113.9", 403),
        ("203.0.113.9", 403),
        ("203.0.113.9", 429),
        ("198.51.100.1, 203.0.113.9", 429),
        ("203.0.113.9, 198.51.100.1", 403),
    ] {
        assert_eq!(world.somebody().call(&from(client)).await.unwrap().status, status, "{client}");
    }
}

#[tokio::test]
async fn a_websocket_is_a_tunnel_through_tls() {
    let world = World::start().await;
    world.shop.next(Act::echo_tunnel());
    let upgrade = Callback::page("/socket?room=1").with_header("connection", "keep-alive, Upgrade");
    let upgrade =
        upgrade.with_header("upgrade", "websocket").with_header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut line = world.somebody().connect().await.unwrap();
    line.write(&[&upgrade.bytes(HOST)[..], b"early"].concat()).await;
    let answer = line.reply_to("GET").await.unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(line.read_exactly(5).await, b"early");
    for message in [&b"\x81\x05hello"[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 100_000]] {
        line.write(message).await;
        assert!(line.read_exactly(message.len()).await == message);
    }
    line.half_close().await;
    assert_eq!(line.read_to_end().await.unwrap(), b"");
    let seen = world.shop.request();
    assert_eq!(
        (seen.header("upgrade"), seen.header("sec-websocket-key")),
        (Some("websocket"), Some("dGhlIHNhbXBsZSBub25jZQ=="))
    );
    assert_eq!(world.metric(r#"kallback_seats_in_use{class="traffic"}"#), 0);
}

#[tokio::test]
async fn a_websocket_to_a_callbacks_url_is_none() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let upgrade = |callback: Callback| {
        let upgrade =
            callback.with_method("GET").with_header("connection", "upgrade").with_header("upgrade", "websocket");
        upgrade.with_body("").without_header("content-type")
    };
    let answer = world.somebody().call(&upgrade(Callback::push(&purchase))).await.unwrap();
    assert_eq!(answer.status, 403);
    let answer = world.somebody().call(&upgrade(world.signed(Callback::push(&purchase), &purchase))).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "-1"));
    assert_eq!(world.shop.request().header("upgrade"), None);
}

#[tokio::test]
async fn early_hints_reach_a_caller_of_http1() {
    let world = World::start().await;
    let act = Act::reply(200).body("the page").informational(103, &[("link", "</a.css>; rel=preload")]);
    world.shop.always(act.informational(103, &[("link", "</b.js>; rel=preload")]));
    let answer = world.somebody().call(&Callback::page("/")).await.unwrap();
    assert_eq!((answer.informational.as_slice(), answer.status, answer.text()), (&[103, 103][..], 200, "the page"));

    let mut line = world.somebody().connect().await.unwrap();
    line.write(&Callback::page("/").bytes(HOST)).await;
    let first = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    assert_eq!(line.read_exactly(first.len()).await, first.as_bytes());
    assert_eq!(line.reply_to("GET").await.unwrap().text(), "the page");

    let over_http2 = world.somebody().over_http2(&world.authority);
    assert_eq!(over_http2.call(&Callback::page("/")).await.unwrap().text(), "the page");
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let world = World::start().await;
    world.shop.next(Act::reply(200).header("trailer", "x-sum").body("answer").trailer("x-sum", "9"));
    let request = format!(
        "POST /grpc HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
         4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"
    );
    let answer = world.somebody().call_with(request.as_bytes(), "POST").await.unwrap();
    assert_eq!((answer.text(), &answer.trailers), ("answer", &trailers("9")));
    let seen = world.shop.request();
    assert_eq!((&seen.body[..], &seen.trailers), (&b"body"[..], &trailers("7")));
}

fn trailers(sum: &str) -> Lines {
    vec![("x-sum".to_owned(), sum.as_bytes().to_vec())]
}

#[tokio::test]
async fn who_expects_a_hundred_gets_it_before_its_body() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let upload = Callback::page("/upload").with_method("POST").with_body("the body");
    for request in [upload, world.signed(Callback::authorization(&purchase), &purchase)] {
        let request = request.with_header("expect", "100-continue");
        let bytes = request.bytes(HOST);
        let head = bytes.len() - request.body.len();
        let mut line = world.somebody().connect().await.unwrap();
        line.write(&bytes[..head]).await;
        let hundred = b"HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(line.read_exactly(hundred.len()).await, hundred);
        line.write(&request.body).await;
        assert_eq!(line.reply_to("POST").await.unwrap().status, 200);
        let seen = world.shop.requests().pop().unwrap();
        assert_eq!((seen.body, seen.headers.iter().any(|(name, _)| name == "expect")), (request.body, false));
    }
    // A stranger is not asked for its body at all.
    let stranger = Callback::authorization(&purchase).with_header("expect", "100-continue");
    let bytes = stranger.bytes(HOST);
    let mut line = world.somebody().connect().await.unwrap();
    line.write(&bytes[..bytes.len() - stranger.body.len()]).await;
    let answer = line.reply_to("POST").await.unwrap();
    assert_eq!((answer.status, answer.informational.as_slice()), (403, &[][..]));
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    const HALF: usize = 8 << 20;
    let world = World::start().await;
    let (head, tail) = (vec![b'a'; HALF], vec![b'b'; HALF]);
    for coding in ["content-length: 16777216", "transfer-encoding: chunked"] {
        let frame = |bytes: &[u8]| match coding {
            "transfer-encoding: chunked" => [format!("{HALF:x}\r\n").as_bytes(), bytes, b"\r\n"].concat(),
            _ => bytes.to_vec(),
        };
        let before = world.shop.requests().len();
        let mut line = world.somebody().connect().await.unwrap();
        line.write(format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\n{coding}\r\n\r\n").as_bytes()).await;
        line.write(&frame(&head)).await;
        world
            .shop
            .wait_until("half of the upload", |book| {
                book.requests.get(before).is_some_and(|seen| seen.body.len() == HALF)
            })
            .await;
        assert!(!world.shop.requests()[before].whole);
        line.write(&frame(&tail)).await;
        if coding.ends_with("chunked") {
            line.write(b"0\r\n\r\n").await;
        }
        assert_eq!(line.reply_to("POST").await.unwrap().status, 200);
        assert!(world.shop.requests()[before].body == [&head[..], &tail].concat());

        let gate = Gate::closed();
        let download = Act::reply(200).body(&head).piece_once_open(&gate, &tail);
        world.shop.next(if coding.ends_with("chunked") { download.chunked() } else { download });
        line.write(&Callback::page("/download").bytes(HOST)).await;
        let begun = line.read_exactly(HALF / 2).await;
        assert!(begun.starts_with(b"HTTP/1.1 200 OK\r\n") && begun.ends_with(b"aaaa"));
        assert!(!world.shop.requests()[before + 1].done);
        gate.open();
        let rest = read_until(&mut line, b'b', HALF).await;
        assert!(rest > HALF / 2);
    }
}

/// Reads until so many of that byte came; says how many others came before.
async fn read_until(line: &mut Line, byte: u8, number: usize) -> usize {
    let (mut wanted, mut others) = (0, 0);
    while wanted < number {
        // Never more than what is certain to come.
        let piece = line.read_exactly((number - wanted).min(1 << 16)).await;
        let matching = piece.iter().filter(|known| **known == byte).count();
        (wanted, others) = (wanted + matching, others + piece.len() - matching);
    }
    others
}

#[tokio::test]
async fn a_stampede_of_visitors_does_not_make_a_callback_wait() {
    let world = with_four_seats(World::builder()).start().await;
    let gate = Gate::closed();
    world.shop.always(Act::reply(200).once_open(&gate));
    let visitors = visit(&world, 40);
    world.shop.wait_for_requests(3).await;
    for klarna in [world.klarna(), world.klarna().over_http2(&world.authority)] {
        let purchase = Purchase::new();
        let push = world.signed(Callback::push(&purchase), &purchase);
        let answer = klarna.call(&push).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "-1"));
        let question = world.signed(Callback::validation(&purchase), &purchase);
        assert_eq!(klarna.call(&question).await.unwrap().status, 200);
    }
    assert_eq!(world.shop.requests_for("/page").len(), 3, "nobody else got a seat meanwhile");
    gate.open();
    for visitor in visitors {
        assert_eq!(visitor.await.unwrap(), 200);
    }
    world.shop.saw(44);
    assert_eq!(world.shop.most_at_once(), 4);
}

#[tokio::test]
async fn a_waiting_callback_goes_before_waiting_visitors() {
    let world = with_four_seats(World::frozen()).start().await;
    let (pages, slow) = (Gate::closed(), Gate::closed());
    world.shop.next_for("/page", Act::reply(200).once_open(&pages));
    world.shop.always_for("/page", Act::hang());
    world.shop.next_for("wc-api", Act::minus_one(200).once_open(&slow));
    let visitors = visit(&world, 10);
    let call = || {
        let purchase = Purchase::new();
        let (klarna, push) = (world.somebody(), world.signed(Callback::push(&purchase), &purchase));
        tokio::spawn(async move { klarna.call(&push).await.unwrap().status })
    };
    world.shop.wait_for_requests(3).await;
    let first = call();
    world.shop.wait_for_requests(4).await;
    let second = call();
    world.time.as_ref().unwrap().rest().await;
    world.shop.saw(4);
    pages.open();
    assert_eq!(second.await.unwrap(), 200);
    assert!(world.shop.requests()[4].target.contains("wc-api"), "the first one to get the free seat");
    slow.open();
    assert_eq!(first.await.unwrap(), 200);
    visitors.into_iter().for_each(|visitor| visitor.abort());
}

#[tokio::test]
async fn a_visitor_for_whom_no_seat_comes_free_is_told_to_come_again() {
    let world = with_four_seats(World::builder().with_frozen_time())
        .with_settings(|settings| settings.limits.seats.waiting_traffic_max = 2);
    let world = world.start().await;
    let time = world.time.as_ref().unwrap();
    world.shop.always(Act::hang());
    let visitors = visit(&world, 5);
    world.shop.wait_for_requests(3).await;
    time.rest().await;
    let answer = world.somebody().call(&Callback::page("/page")).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after"), answer.took), (503, Some("1"), Duration::ZERO));
    time.pass(Duration::from_secs(31), Duration::from_millis(100)).await;
    let turned_away = visitors.iter().filter(|visitor| visitor.is_finished()).count();
    assert_eq!(turned_away, 2);
    world.shop.saw(3);
    visitors.into_iter().for_each(|visitor| visitor.abort());
}

/// Four seats, of which one is kept for callbacks.
fn with_four_seats(world: WorldBuilder) -> WorldBuilder {
    world.with_settings(|settings| {
        let waiting = settings.limits.seats;
        settings.limits.seats = SeatSettings { max_in_flight: 4, reserved_for_callbacks: 1, ..waiting };
    })
}

/// So many visitors at once, each on a connection of its own; gives back what they are answered.
fn visit(world: &World, number: usize) -> Vec<tokio::task::JoinHandle<u16>> {
    let visit = |number| {
        let (klarna, page) = (world.somebody(), Callback::page(&format!("/page/{number}")));
        tokio::spawn(async move { klarna.call(&page).await.unwrap().status })
    };
    (0..number).map(visit).collect()
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_the_shop_sees_nothing() {
    let world = World::start().await;
    let host = format!("host: {HOST}\r\n");
    let length = "content-length: 4\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let heads = [
        format!("POST / HTTP/1.1\r\n{host}{host}{length}\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}host: other.example\r\n{length}\r\nbody"),
        format!("POST / HTTP/1.1\r\n{length}\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}{length}{chunked}\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}{chunked}{chunked}\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}transfer-encoding: identity\r\n{length}\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}{length}{length}\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}{length}content-length: 5\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}content-length: 4, 4\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}content-length: +4\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}content-length : 4\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}x: 1\r\n folded\r\n\r\n"),
        format!("GET / HTTP/1.1\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {HOST}\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}x: a\rb\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}x: a\0b\r\n\r\n"),
        format!("GET /\0 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /a b HTTP/1.1\r\n{host}\r\n"),
        format!("GET https://{HOST}/ HTTP/1.1\r\n{host}\r\n"),
        format!("GET /#fragment HTTP/1.1\r\n{host}\r\n"),
        format!("CONNECT {HOST}:443 HTTP/1.1\r\n{host}\r\n"),
        format!("GET wc-api HTTP/1.1\r\n{host}\r\n"),
    ];
    for (number, head) in (1..).zip(&heads) {
        let mut line = world.somebody().connect().await.unwrap();
        line.write(head.as_bytes()).await;
        line.write(format!("GET /smuggled HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        let answer = line.reply_to("POST").await.unwrap();
        assert!([400, 405].contains(&answer.status), "{} to {head:?}", answer.status);
        assert_eq!(line.read_to_end().await.unwrap_or_default(), b"", "nothing else is answered after {head:?}");
        assert_eq!(world.metric(r#"kallback_requests_refused_total{why="framing"}"#), number);
    }
    assert_eq!(world.shop.connections(), 0);
}

#[tokio::test]
async fn a_connection_that_the_shop_closed_while_it_was_idle_is_no_failure() {
    let mut world = World::frozen().start().await;
    let mut line = world.somebody().connect().await.unwrap();
    for (number, method) in (1..).zip(["GET", "POST", "PUT", "DELETE"]) {
        line.write(&Callback::page("/").with_method(method).bytes(HOST)).await;
        assert_eq!(line.reply_to(method).await.unwrap().status, 200, "{method}");
        world.shop.saw(number);
        assert_eq!(world.shop.connections(), number);
        world.shop.go_down().await;
        world.shop.come_back().await;
        world.time.as_ref().unwrap().rest().await;
    }
}

#[tokio::test]
async fn pages_of_one_visitor_share_a_connection_to_the_shop_and_callbacks_do_not() {
    let world = World::start().await;
    for _ in 0..3 {
        assert_eq!(world.somebody().call(&Callback::page("/")).await.unwrap().status, 200);
    }
    assert_eq!(world.shop.connections(), 1);
    let purchase = Purchase::new();
    let push = world.signed(Callback::push(&purchase), &purchase);
    assert_eq!(world.somebody().call(&push).await.unwrap().status, 200);
    assert_eq!(world.shop.requests().pop().unwrap().connection, 1, "an idle connection may die unseen");
}

#[tokio::test]
async fn a_shop_behind_tls_or_a_unix_socket_is_reached_as_well() {
    let folder = TempDir::new().unwrap();
    let world = World::builder().with_shop(Shop::on_a_unix_socket(folder.path()).await).start().await;
    visit_and_call(&world).await;
    let authority = Authority::new();
    let trusted = authority.write(folder.path());
    let world = World::builder().with_shop(Shop::over_tls(&authority, HOST).await);
    let world = world.with_settings(|settings| settings.upstream.tls.ca_file = Some(trusted)).start().await;
    visit_and_call(&world).await;
}

async fn visit_and_call(world: &World) {
    world.shop.always(Act::reply(200).body("here"));
    let purchase = Purchase::new();
    for request in [
        Callback::page("/"),
        world.signed(Callback::push(&purchase), &purchase),
        world.signed(Callback::validation(&purchase), &purchase),
    ] {
        let answer = world.somebody().call(&request).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "here"), "{}", request.target);
    }
    assert!(world.shop.requests().iter().all(|seen| seen.header("host") == Some(HOST)));
}

#[tokio::test]
async fn traffic_is_never_stored_joined_or_counted_as_a_callback() {
    let mut world = World::start().await;
    for _ in 0..3 {
        assert_eq!(world.somebody().call(&Callback::page("/?kallback=00")).await.unwrap().status, 200);
    }
    world.shop.saw(3);
    assert_eq!(world.shop.requests()[0].target, "/?kallback=00");
    world.shop.go_down().await;
    assert_eq!(world.somebody().call(&Callback::page("/")).await.unwrap().status, 502);
    assert_eq!(world.records().await.len(), 0);
    assert_eq!(world.metric(r#"kallback_traffic_total{code_class="2xx"}"#), 3);
    assert_eq!(world.metric(r#"kallback_traffic_total{code_class="5xx"}"#), 1);
    assert!(!world.telemetry().render().contains("kallback_callbacks_total{"));
}
