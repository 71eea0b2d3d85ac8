//! Tests of the test world itself: a test tool that lies is worse than none.

use std::time::Duration;

use kallback::upstream::Address;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::support::authority::Authority;
use crate::support::callbacks::{Callback, PLACES, Purchase};
use crate::support::gate::Gate;
use crate::support::klarna::{Klarna, Limits, Silence};
use crate::support::script::Act;
use crate::support::shop::Shop;
use crate::support::terminator::Terminator;
use crate::support::time::{FrozenTime, within};
use crate::support::wire::Asked;
use crate::support::world::{HOST, settings};

#[tokio::test]
async fn the_shop_remembers_a_request_byte_for_byte() {
    let shop = Shop::start().await;
    let request =
        b"POST /a?b={c}&d=%20 HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two: \xfc\r\ncontent-length: 4\r\n\r\nbody";
    let answered = Klarna::plain(shop.tcp()).call_with(request, "POST").await.unwrap();
    assert_eq!((answered.status, answered.text()), (200, ""));
    let seen = shop.request();
    assert_eq!(&seen.head[..], &request[..request.len() - 4]);
    assert_eq!((seen.method.as_str(), seen.target.as_str(), &seen.body[..]), ("POST", "/a?b={c}&d=%20", &b"body"[..]));
    assert_eq!(seen.header_values("x-two"), [&b"1"[..], b"\xfc"]);
    assert!(seen.whole && seen.done && !seen.caller_left);
    assert_eq!((seen.answered, seen.at_once, seen.connection), (Some(200), 1, 0));
}

#[tokio::test]
async fn the_shop_reads_chunks_and_trailers() {
    let shop = Shop::start().await;
    let request =
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nx-sum: 4\r\n\r\n";
    assert!(Klarna::plain(shop.tcp()).call_with(request, "POST").await.is_ok());
    let seen = shop.request();
    assert_eq!((seen.body, seen.trailers), (b"abcd".to_vec(), vec![("x-sum".to_owned(), b"4".to_vec())]));
}

#[tokio::test]
async fn the_script_is_followed_in_order() {
    let shop = Shop::start().await;
    let klarna = Klarna::plain(shop.tcp());
    shop.always(Act::reply(404));
    shop.always_for("/page", Act::reply(200));
    shop.always_for("/page/odd", Act::reply(201));
    shop.next(Act::reply(500));
    shop.next_for("/page", Act::reply(502));
    let mut statuses = Vec::new();
    for target in ["/page", "/page", "/page", "/page/odd", "/else"] {
        statuses.push(klarna.call(&Callback::page(target)).await.unwrap().status);
    }
    assert_eq!(statuses, [502, 500, 200, 201, 404]);
    shop.saw(5);
    assert_eq!(shop.requests_for("odd").len(), 1);
}

#[tokio::test]
#[should_panic(expected = "the shop saw [\"/\"]")]
async fn the_shop_fails_a_test_that_expects_another_number_of_requests() {
    let shop = Shop::start().await;
    let _ = Klarna::plain(shop.tcp()).call(&Callback::page("/")).await;
    shop.saw(2);
}

#[tokio::test]
#[should_panic(expected = "no HTTP")]
async fn the_shop_fails_a_test_in_which_it_was_sent_nonsense() {
    let shop = Shop::start().await;
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(b"GET / HTTP/1.1\nhost: x\r\n\r\n").await;
    line.read_to_end().await.unwrap();
    assert_eq!(shop.faults().len(), 1);
    shop.saw(0);
}

#[tokio::test]
async fn two_lengths_or_a_length_with_chunks_are_nonsense() {
    let shop = Shop::start().await;
    for framing in ["content-length: 0\r\ncontent-length: 0", "content-length: 5\r\ntransfer-encoding: chunked"] {
        let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
        line.write(format!("POST / HTTP/1.1\r\n{framing}\r\n\r\n0\r\n\r\n").as_bytes()).await;
        let _ = line.read_to_end().await;
    }
    assert_eq!(shop.faults().len(), 2);
}

#[tokio::test]
async fn a_reply_arrives_as_it_was_scripted() {
    let shop = Shop::start().await;
    shop.next(Act::minus_one(303).reason(b"Ung\xfcltig").header("Location", "/cart/?id=1&message=A%20b"));
    let answered = Klarna::plain(shop.tcp()).call(&Callback::validation(&Purchase::new())).await.unwrap();
    assert_eq!((answered.status, &answered.reason[..], answered.text()), (303, &b"Ung\xfcltig"[..], "-1"));
    assert_eq!(answered.header("location"), Some("/cart/?id=1&message=A%20b"));
}

#[tokio::test]
async fn a_reply_waits_for_its_gate() {
    let shop = Shop::start().await;
    let gate = Gate::closed();
    shop.next(Act::reply(200).once_open(&gate));
    let klarna = Klarna::plain(shop.tcp());
    let call = tokio::spawn(async move { klarna.call(&Callback::page("/")).await });
    let seen = shop.wait_for_requests(1).await;
    assert!(seen[0].whole && !seen[0].done && !call.is_finished());
    gate.open();
    assert_eq!(call.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn the_shop_resets_before_and_after_reading() {
    let shop = Shop::start().await;
    let klarna = Klarna::plain(shop.tcp());
    shop.next(Act::reset_unread());
    assert!(matches!(klarna.call(&Callback::page("/")).await.unwrap_err().why, Silence::HungUp(_)));
    shop.saw(0);
    assert_eq!(shop.connections(), 1);
    shop.next(Act::reset());
    assert!(matches!(klarna.call(&Callback::page("/")).await.unwrap_err().why, Silence::HungUp(_)));
    let seen = shop.request();
    assert!(seen.whole && seen.done);
    assert_eq!(seen.answered, None);
}

#[tokio::test]
async fn the_shop_leaves_in_the_middle_of_a_reply() {
    let shop = Shop::start().await;
    let klarna = Klarna::plain(shop.tcp());
    for (act, reset) in [(Act::reply(200).body("0123456789").cut_after(40), false), (Act::close(), false)]
        .into_iter()
        .chain([(Act::reply(200).body("0123456789").then_reset().cut_after(40), true)])
    {
        shop.next(act);
        let mut line = klarna.connect().await.unwrap();
        line.write(&Callback::page("/").bytes(HOST)).await;
        let read = line.read_to_end().await;
        assert_eq!(read.is_err(), reset);
        assert!(read.is_err() || [0, 40].contains(&read.unwrap().len()));
    }
    shop.next(Act::reply(200).body("0123456789").cut_after(40));
    assert!(matches!(klarna.call(&Callback::page("/")).await.unwrap_err().why, Silence::HungUp(_)));
}

#[tokio::test]
async fn replies_come_chunked_with_trailers_and_after_informational_ones() {
    let shop = Shop::start().await;
    let klarna = Klarna::plain(shop.tcp());
    let early = Act::reply(200).informational(100, &[]).informational(103, &[("link", "</a.css>; rel=preload")]);
    shop.next(early.body("text").trailer("x-sum", "4"));
    let answered = klarna.call(&Callback::page("/")).await.unwrap();
    assert_eq!((answered.informational.as_slice(), answered.text()), (&[100, 103][..], "text"));
    assert_eq!(answered.trailers, vec![("x-sum".to_owned(), b"4".to_vec())]);
    shop.next(Act::wordfence());
    let answered = klarna.call(&Callback::page("/")).await.unwrap();
    assert_eq!(answered.status, 403);
    assert!(answered.text().contains("Generated by Wordfence"));
    shop.next(Act::reply(200).body("to the end").body_until_close());
    assert_eq!(klarna.call(&Callback::page("/")).await.unwrap().text(), "to the end");
}

#[tokio::test]
async fn a_piece_of_a_reply_is_on_its_way_before_the_next() {
    let shop = Shop::start().await;
    let (first, second) = (Gate::closed(), Gate::closed());
    shop.next(Act::reply(200).piece_once_open(&first, "one").piece_once_open(&second, "two"));
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(&Callback::page("/").bytes(HOST)).await;
    let head = line.read_exactly(38).await;
    assert_eq!(head, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n");
    first.open();
    assert_eq!(line.read_exactly(3).await, b"one");
    assert!(!shop.requests()[0].done);
    second.open();
    assert_eq!(line.read_exactly(3).await, b"two");
    assert!(shop.requests()[0].done);
}

#[tokio::test]
async fn a_connection_is_kept_until_the_script_ends_it() {
    let shop = Shop::start().await;
    shop.next(Act::reply(200));
    shop.next(Act::reply(200).then_close());
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    for _ in 0..2 {
        line.write(&Callback::page("/").bytes(HOST)).await;
        assert_eq!(line.reply_to("GET").await.unwrap().status, 200);
    }
    assert_eq!(line.read_to_end().await.unwrap(), b"");
    let connections: Vec<_> = shop.requests().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0]);
}

#[tokio::test]
async fn a_half_closed_connection_still_takes_bytes() {
    let shop = Shop::start().await;
    shop.next(Act::reply(200).then_half_close());
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(&Callback::page("/").bytes(HOST)).await;
    assert!(line.read_to_end().await.unwrap().starts_with(b"HTTP/1.1 200"));
    line.write(b"anybody there?").await;
    assert_eq!(line.read_to_end().await.unwrap(), b"");
}

#[tokio::test]
async fn a_tunnel_gives_every_byte_back() {
    let shop = Shop::start().await;
    shop.next(Act::echo_tunnel());
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(b"GET /socket HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly").await;
    assert_eq!(line.reply_to("GET").await.unwrap().status, 101);
    assert_eq!(line.read_exactly(5).await, b"early");
    line.write(b"later").await;
    assert_eq!(line.read_exactly(5).await, b"later");
    line.half_close().await;
    assert_eq!(line.read_to_end().await.unwrap(), b"");
    assert_eq!(shop.requests()[0].answered, Some(101));
}

#[tokio::test]
async fn a_body_is_seen_and_echoed_while_it_comes() {
    let shop = Shop::start().await;
    shop.next(Act::echo_body());
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(b"POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\nabc").await;
    let head = line.read_exactly(38).await;
    assert!(head.starts_with(b"HTTP/1.1 200 OK"));
    assert_eq!(line.read_exactly(3).await, b"abc");
    assert!(!shop.requests()[0].whole);
    line.write(b"def").await;
    assert_eq!(line.read_exactly(3).await, b"def");
    assert_eq!(shop.request().body, b"abcdef");
}

#[tokio::test]
async fn a_refusal_may_come_before_the_body() {
    let shop = Shop::start().await;
    shop.next(Act::reply(413).before_the_body_is_read().then_close());
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(b"POST / HTTP/1.1\r\ncontent-length: 1000\r\n\r\n").await;
    assert_eq!(line.reply_to("POST").await.unwrap().status, 413);
    assert!(!shop.requests()[0].whole);
}

#[tokio::test]
async fn a_shop_that_is_down_refuses_and_comes_back_at_its_place() {
    let mut shop = Shop::start().await;
    let klarna = Klarna::plain(shop.tcp());
    shop.next(Act::hang());
    let mut line = klarna.connect().await.unwrap();
    line.write(&Callback::page("/").bytes(HOST)).await;
    shop.wait_for_requests(1).await;
    shop.go_down().await;
    assert_ne!(line.read_to_end().await.unwrap_or_default(), b"HTTP/1.1");
    assert!(shop.requests()[0].done, "a shop that died is working on nothing");
    assert_eq!(klarna.call(&Callback::page("/")).await.unwrap_err().why, Silence::Refused);
    shop.come_back().await;
    assert_eq!(klarna.call(&Callback::page("/")).await.unwrap().status, 200);
    shop.saw(2);
}

#[tokio::test]
async fn the_shop_counts_who_is_there_at_once() {
    let shop = Shop::start().await;
    let gate = Gate::closed();
    shop.always(Act::reply(200).once_open(&gate));
    let klarna = Klarna::plain(shop.tcp());
    let keyed = |key: &str| Callback::page("/").with_header("Idempotency-Key", key);
    let calls = [keyed("a"), keyed("a"), keyed("b"), Callback::page("/"), Callback::page("/")].map(|callback| {
        let klarna = klarna.clone();
        tokio::spawn(async move { klarna.call(&callback).await })
    });
    shop.wait_for_requests(5).await;
    gate.open();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!((shop.most_at_once(), shop.most_at_once_of_one_key()), (5, 2));
    assert_eq!(shop.requests_with_key("a").len(), 2);
    for _ in 0..3 {
        assert!(klarna.call(&keyed("c")).await.is_ok());
    }
    assert_eq!(shop.requests_with_key("c").iter().map(|seen| seen.at_once).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn the_shop_notices_a_caller_that_leaves_and_goes_on() {
    let shop = Shop::start().await;
    let gate = Gate::closed();
    shop.next(Act::reply(200).once_open(&gate));
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(&Callback::page("/").bytes(HOST)).await;
    shop.wait_for_requests(1).await;
    drop(line);
    let book = shop.wait_until("the hang-up", |book| book.requests[0].caller_left).await;
    assert!(!book.requests[0].done);
    gate.open();
    assert_eq!(shop.wait_until_done_with(1).await[0].answered, Some(200));
}

#[tokio::test]
async fn klarna_can_hang_up_in_the_middle_of_a_body() {
    let shop = Shop::start().await;
    let bytes = Callback::authorization(&Purchase::new()).bytes(HOST);
    let mut line = Klarna::plain(shop.tcp()).connect().await.unwrap();
    line.write(&bytes[..bytes.len() - 10]).await;
    line.reset();
    let book = shop.wait_until("the torn request", |book| book.requests.iter().any(|seen| seen.done)).await;
    assert!(!book.requests[0].whole && book.requests[0].caller_left);
}

#[tokio::test]
async fn shops_are_also_reached_over_tls_and_unix_sockets() {
    let authority = Authority::new();
    let shop = Shop::over_tls(&authority, HOST).await;
    shop.next(Act::reply(200).body("over TLS"));
    let klarna = Klarna::new(shop.tcp(), HOST, &authority);
    assert_eq!(klarna.call(&Callback::page("/")).await.unwrap().text(), "over TLS");
    assert!(matches!(shop.address(), Address::Https { .. }));

    let folder = TempDir::new().unwrap();
    let mut shop = Shop::on_a_unix_socket(folder.path()).await;
    let Address::Unix(path) = shop.address() else { panic!("no Unix socket") };
    for visits in 1..=2 {
        let mut unix = tokio::net::UnixStream::connect(&path).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut unix, &Callback::page("/").bytes(HOST)).await.unwrap();
        shop.wait_until_done_with(visits).await;
        shop.go_down().await;
        assert!(tokio::net::UnixStream::connect(&path).await.is_err());
        shop.come_back().await;
    }
    shop.saw(2);
}

#[tokio::test]
async fn klarna_trusts_one_authority_and_speaks_both_protocols() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shop = Shop::woocommerce().await;
    let front = Terminator::start(&authority, HOST, shop.tcp()).await;
    let klarna = Klarna::new(front.address(), HOST, &authority);
    let purchase = Purchase::new();
    let callback = Callback::authorization(&purchase).with_token("0123");
    let first = klarna.call(&callback).await.unwrap();
    let second = klarna.clone().over_http2(&authority).call(&callback).await.unwrap();
    assert_eq!((first.status, first.text()), (200, "-1"));
    assert_eq!(
        (second.status, second.text(), second.header("cache-control")),
        (200, "-1", first.header("cache-control"))
    );
    let seen = shop.requests();
    assert_eq!((seen[0].target.as_str(), seen[0].body.len()), ("/wc-api/KP_WC_AUTHORIZATION?kallback=0123", 114));
    assert_eq!((&seen[0].target, &seen[0].body), (&seen[1].target, &seen[1].body));
    assert_eq!(seen[0].header("user-agent"), Some("APIs-Klarna"));
    let distrusting = Klarna::new(front.address(), HOST, &stranger);
    assert!(matches!(distrusting.call(&callback).await.unwrap_err().why, Silence::Tls(_)));
    let elsewhere = klarna.with_host("other.example");
    assert!(matches!(elsewhere.call(&callback).await.unwrap_err().why, Silence::Tls(_)));
}

#[tokio::test]
async fn a_front_without_kallback_loses_what_the_shop_misses() {
    let authority = Authority::new();
    let mut shop = Shop::woocommerce().await;
    let front = Terminator::start(&authority, HOST, shop.tcp()).await;
    shop.go_down().await;
    let klarna = Klarna::new(front.address(), HOST, &authority);
    for klarna in [klarna.clone(), klarna.over_http2(&authority)] {
        let outcome = klarna.call(&Callback::push(&Purchase::new())).await;
        assert!(outcome.is_err() || outcome.unwrap().status == 502);
    }
    shop.saw(0);
}

#[tokio::test]
async fn klarna_gives_up_after_two_seconds_and_comes_three_times() {
    let shop = Shop::start().await;
    let klarna = Klarna::plain(shop.tcp());
    let time = FrozenTime::begin();
    let callback = Callback::authorization(&Purchase::new());
    let start = Instant::now();
    shop.always(Act::hang());
    let failed = time.run(klarna.insist(&callback)).await.unwrap_err();
    assert_eq!((failed.why, failed.attempts), (Silence::ReadTimeout, 3));
    assert!((2_000..2_050).contains(&failed.took.as_millis()), "{:?}", failed.took);
    let at: Vec<_> = shop.requests().iter().map(|seen| (seen.at - start).as_millis() / 100).collect();
    assert_eq!(at, [0, 30, 70]);

    shop.always(Act::maintenance());
    let start = Instant::now();
    let answered = time.run(klarna.insist(&callback)).await.unwrap();
    assert_eq!((answered.status, answered.attempts), (503, 3));
    let at: Vec<_> = shop.requests()[3..].iter().map(|seen| (seen.at - start).as_millis() / 100).collect();
    assert_eq!(at, [0, 10, 30]);

    shop.always(Act::reply(204));
    assert_eq!(time.run(klarna.insist(&callback)).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_reply_that_drips_is_too_slow_as_a_whole() {
    let shop = Shop::start().await;
    let time = FrozenTime::begin();
    shop.always(Act::reply(200).body("0123456789").dripping(Duration::from_millis(300)));
    let klarna = Klarna::plain(shop.tcp());
    let failed = time.run(klarna.call(&Callback::page("/"))).await.unwrap_err();
    assert_eq!(failed.why, Silence::ReadTimeout);
    let klarna = klarna.with_limits(Limits::PATIENT);
    let answered = time.run(klarna.call(&Callback::page("/"))).await.unwrap();
    assert_eq!(answered.text(), "0123456789");
    assert!((3_000..3_200).contains(&answered.took.as_millis()), "{:?}", answered.took);
}

#[tokio::test]
async fn frozen_time_moves_only_when_it_is_told_to() {
    let authority = Authority::new();
    let shop = Shop::over_tls(&authority, HOST).await;
    let time = FrozenTime::begin();
    let start = Instant::now();
    let klarna = Klarna::new(shop.tcp(), HOST, &authority);
    for _ in 0..20 {
        let answered = klarna.call(&Callback::page("/")).await.unwrap();
        assert_eq!(answered.took, Duration::ZERO);
    }
    let (ready, work) = oneshot::channel();
    std::thread::spawn(move || {
        Authority::new();
        ready.send(()).unwrap();
    });
    timeout(Duration::from_millis(1), work).await.expect("no time passes while another thread works").unwrap();
    time.pass(Duration::from_secs(3600), Duration::from_secs(60)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3600));
}

#[tokio::test]
#[should_panic(expected = "in vain for a gate that nobody opens")]
async fn patience_ends() {
    let _time = FrozenTime::begin();
    within(Duration::from_millis(20), "a gate that nobody opens", Gate::closed().passed()).await;
}

#[test]
fn every_callback_is_a_whole_request_with_the_ids_of_its_purchase() {
    let (one, other) = (Purchase::new(), Purchase::new());
    assert!(one != other && one.authorised_again().session == one.session && one.authorised_again() != one);
    for place in PLACES {
        let bytes = Callback::at(place, &one).with_token("00ff").bytes(HOST);
        let end = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap() + 4;
        let asked = Asked::read(&bytes[..end]).unwrap();
        assert!(asked.target.ends_with("?kallback=00ff") || asked.target.ends_with("&kallback=00ff"));
        assert!(!asked.target.contains(['{', '}']), "{}", asked.target);
        let body = &bytes[end..];
        assert!(body.is_empty() || serde_json::from_slice::<serde_json::Value>(body).is_ok(), "{}", asked.target);
    }
}

#[tokio::test]
async fn the_world_points_its_gateway_at_the_scripted_shop() {
    let (shop, authority, folder) = (Shop::woocommerce().await, Authority::new(), TempDir::new().unwrap());
    let settings = settings(&folder, &authority, &shop);
    assert_eq!(settings.upstream.address, shop.address());
    let certificate = &settings.server.tls.certificates[0];
    for file in [&certificate.certificate, &certificate.key, settings.upstream.tls.ca_file.as_ref().unwrap()] {
        assert!(std::fs::read_to_string(file).unwrap().starts_with("-----BEGIN"), "{}", file.display());
    }
}
