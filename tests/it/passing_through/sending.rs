//! `Upstream` alone: which failures mean that the shop certainly saw nothing.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use kallback::limits::{NoSeat, SeatSettings, Seats};
use kallback::metrics::ShopClass;
use kallback::upstream::answer::ReplyBody;
use kallback::upstream::{
    Address, ConnectionChoice, How, Reached, ReplyFault, SendCause, SendError, ShopBody, ShopReply, TlsSettings,
    Upstream, on_informational,
};
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use super::world::{LONG, SHORT, Shop, Wire, plain, settings, upstream};

const FRESH: How =
    How { connection: ConnectionChoice::Fresh, reply_within: Some(LONG), class: ShopClass::Callback, traced: false };
const POOLED: How =
    How { connection: ConnectionChoice::Pooled, reply_within: Some(LONG), class: ShopClass::Traffic, traced: false };

fn post(body: ShopBody) -> Request<ShopBody> {
    Request::post("/wc-api/KCO_WC_Push/?id={a}").header("host", "shop.example").body(body).unwrap()
}

fn empty() -> Request<ShopBody> {
    post(ShopBody::Empty)
}

async fn whole(reply: ShopReply) -> Bytes {
    reply.into_body().collect().await.unwrap().to_bytes()
}

#[track_caller]
fn assert_failed(outcome: Result<ShopReply, SendError>, reached: Reached, cause: SendCause) {
    let error = outcome.unwrap_err();
    assert_eq!((error.reached, error.cause), (reached, cause), "{error:?}");
}

#[tokio::test]
async fn a_shop_that_is_not_there_was_certainly_not_reached() {
    let shop = Shop::open().await;
    let gone = plain(shop.address);
    drop(shop);
    assert_failed(upstream(&gone).send(empty(), FRESH).await, Reached::No, SendCause::Refused);

    let missing = settings(Address::Unix("/nonexistent/shop.sock".into()));
    assert_failed(upstream(&missing).send(empty(), FRESH).await, Reached::No, SendCause::Refused);

    let nameless = settings(Address::Http { host: "not a host".into(), port: 80 });
    assert_failed(upstream(&nameless).send(empty(), FRESH).await, Reached::No, SendCause::NameNotFound);
}

#[tokio::test]
async fn a_handshake_that_hangs_or_fails_means_not_reached() {
    let shop = Shop::open().await;
    let https = Address::Https { host: "127.0.0.1".into(), port: shop.address.port() };
    let hasty = kallback::upstream::Settings { connect_within: SHORT, ..settings(https.clone()) };
    assert_failed(upstream(&hasty).send(empty(), FRESH).await, Reached::No, SendCause::ConnectTimeout);
    drop(shop.visitor().await);

    let to_shop = upstream(&settings(https));
    let sending = tokio::spawn(async move { to_shop.send(empty(), FRESH).await });
    shop.visitor().await.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_failed(sending.await.unwrap(), Reached::No, SendCause::TlsFailed);
}

#[tokio::test]
async fn a_shop_that_took_the_request_and_hung_up_may_have_seen_it() {
    let shop = Shop::open().await;
    for reset in [false, true] {
        let to_shop = upstream(&plain(shop.address));
        let sending = tokio::spawn(async move { to_shop.send(empty(), FRESH).await });
        let mut visitor = shop.visitor().await;
        visitor.head().await;
        if reset {
            visitor.reset();
        } else {
            drop(visitor);
        }
        assert_failed(sending.await.unwrap(), Reached::Unknown, SendCause::ConnectionBroken);
    }
    assert!(shop.is_left_alone().await, "it was sent twice");
}

#[tokio::test]
async fn a_silent_shop_may_have_seen_it() {
    let shop = Shop::open().await;
    let how = How { reply_within: Some(SHORT), ..FRESH };
    assert_failed(upstream(&plain(shop.address)).send(empty(), how).await, Reached::Unknown, SendCause::ReplyTimeout);
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    assert_eq!(visitor.rest().await, "", "the connection is closed, not left hanging");
}

#[tokio::test]
async fn what_is_no_http_or_too_long_is_a_bad_reply() {
    let shop = Shop::open().await;
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    for reply in
        ["SSH-2.0-OpenSSH_9.2\r\n\r\n", &endless, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"]
    {
        let to_shop = upstream(&plain(shop.address));
        let sending = tokio::spawn(async move { to_shop.send(empty(), FRESH).await });
        let mut visitor = shop.visitor().await;
        visitor.head().await;
        visitor.say(reply).await;
        assert_failed(sending.await.unwrap(), Reached::Unknown, SendCause::BadReply);
    }
}

#[tokio::test]
async fn half_an_answer_breaks_and_a_pausing_one_is_given_up() {
    let shop = Shop::open().await;
    let impatient = kallback::upstream::Settings { body_idle_at_most: SHORT, ..plain(shop.address) };
    for (settings, fault) in [(plain(shop.address), ReplyFault::Broken), (impatient, ReplyFault::TooSlow)] {
        let to_shop = upstream(&settings);
        let sending = tokio::spawn(async move { to_shop.send(empty(), FRESH).await });
        let mut visitor = shop.visitor().await;
        visitor.head().await;
        visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ").await;
        let mut body = sending.await.unwrap().unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half ");
        if fault == ReplyFault::Broken {
            drop(visitor);
        }
        assert_eq!(body.frame().await.unwrap().unwrap_err(), fault);
    }
}

#[tokio::test]
async fn a_reply_keeps_its_status_reason_headers_and_bytes() {
    let shop = Shop::open().await;
    let to_shop = upstream(&plain(shop.address));
    let sending = tokio::spawn(async move { to_shop.send(post(ShopBody::Full("{}".into())), FRESH).await });
    let mut visitor = shop.visitor().await;
    let head = visitor.head().await;
    assert_eq!(head, "POST /wc-api/KCO_WC_Push/?id={a} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(visitor.bytes(2).await, "{}");
    visitor
        .say(b"HTTP/1.1 103 Fr\xfch\r\nlink: </a>\r\n\r\nHTTP/1.1 303 Ung\xfcltig\r\nlocation: /a?m=A%20b\r\n")
        .await;
    visitor
        .say("set-cookie: a=1\r\nset-cookie: b=2\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u{1}\u{2}\u{3}")
        .await;
    let reply = sending.await.unwrap().unwrap();
    assert_eq!(reply.status(), StatusCode::SEE_OTHER);
    assert_eq!(reply.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Ung\xfcltig");
    assert_eq!(reply.headers()["location"], "/a?m=A%20b");
    assert_eq!(reply.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(whole(reply).await, "\u{1}\u{2}\u{3}");
}

#[tokio::test]
async fn a_body_in_memory_has_its_own_length_whatever_its_headers_say() {
    let shop = Shop::open().await;
    for (body, length, end) in [(ShopBody::Full("{}".into()), "2", "{}"), (ShopBody::Empty, "0", "")] {
        let mut request = post(body);
        request.headers_mut().insert("content-length", "7".parse().unwrap());
        let to_shop = upstream(&plain(shop.address));
        let sending = tokio::spawn(async move { to_shop.send(request, FRESH).await });
        let mut visitor = shop.visitor().await;
        assert!(visitor.head().await.ends_with(&format!("\r\ncontent-length: {length}\r\n\r\n")));
        assert_eq!(visitor.bytes(end.len()).await, end);
        visitor.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        sending.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_seat_is_free_at_the_last_byte_however_long_the_caller_holds_the_body() {
    let shop = Shop::open().await;
    let settings = SeatSettings {
        max_in_flight: 1,
        reserved_for_callbacks: 0,
        waiting_traffic_max: 0,
        traffic_waits_at_most: LONG,
    };
    let seats = Seats::new(settings, kallback::clock::Clock::system(), kallback::metrics::Telemetry::new().unwrap());
    let seat = seats.for_traffic().await.unwrap();
    let to_shop = upstream(&plain(shop.address));
    let sending = tokio::spawn(async move { to_shop.send(empty(), POOLED).await.unwrap() });
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
    let mut body = ReplyBody::Shop(sending.await.unwrap().into_body(), Some(seat));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ha");
    assert_eq!(seats.for_traffic().await.unwrap_err(), NoSeat::QueueFull);
    visitor.say("lf").await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "lf");
    assert!(seats.for_traffic().await.is_ok());
    drop(body);
}

#[tokio::test]
async fn informational_replies_are_told_and_a_hundred_is_not() {
    let shop = Shop::open().await;
    let to_shop = upstream(&plain(shop.address));
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut request = empty();
    let teller = Arc::clone(&told);
    on_informational(&mut request, move |status, headers| {
        teller.lock().unwrap().push((status.as_u16(), headers.get("link").cloned()));
    });
    let sending = tokio::spawn(async move { to_shop.send(request, FRESH).await });
    let mut visitor = shop.visitor().await;
    visitor.head().await;
    visitor.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").await;
    visitor.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(sending.await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(*told.lock().unwrap(), [(103, Some("</a.css>".parse().unwrap()))]);
}

#[tokio::test]
async fn connections_are_used_again_by_traffic_and_never_by_who_wants_a_fresh_one() {
    let shop = Shop::open().await;
    let to_shop = upstream(&plain(shop.address));
    let ask = |how: How| {
        let to_shop = to_shop.clone();
        tokio::spawn(async move { whole(to_shop.send(empty(), how).await.unwrap()).await })
    };
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    let callback = ask(FRESH);
    let mut first = shop.visitor().await;
    first.head().await;
    first.say(answer).await;
    assert_eq!(callback.await.unwrap(), "ok");

    let page = ask(POOLED);
    first.head().await;
    first.say(answer).await;
    assert_eq!(page.await.unwrap(), "ok");

    let callback = ask(FRESH);
    let mut second = shop.visitor().await;
    second.head().await;
    second.say(answer).await;
    assert_eq!(callback.await.unwrap(), "ok");
}

#[tokio::test]
async fn another_worker_has_connections_of_its_own() {
    let shop = Shop::open().await;
    let one = upstream(&plain(shop.address));
    let other = one.for_another_worker();
    let mut visitors = Vec::new();
    for worker in [one, other] {
        let asking = tokio::spawn(async move { whole(worker.send(empty(), POOLED).await.unwrap()).await });
        let mut visitor = shop.visitor().await;
        visitor.head().await;
        visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        asking.await.unwrap();
        visitors.push(visitor);
    }
}

/// Asks twice and says whether the second request came on a second connection.
async fn opens_another(to_shop: &Upstream, shop: &Shop, first_answer: &str, read_it: bool) -> bool {
    let asking = {
        let to_shop = to_shop.clone();
        tokio::spawn(async move {
            let reply = to_shop.send(empty(), POOLED).await.unwrap();
            if read_it {
                whole(reply).await;
            }
        })
    };
    let mut first = shop.visitor().await;
    first.head().await;
    first.say(first_answer).await;
    if !first_answer.contains("content-length") {
        first.stream.shutdown_write().await;
    }
    asking.await.unwrap();
    let again = {
        let to_shop = to_shop.clone();
        tokio::spawn(async move { to_shop.send(empty(), POOLED).await.map(|reply| reply.status()) })
    };
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    let opened = tokio::select! {
        mut second = shop.visitor() => { second.head().await; second.say(answer).await; true }
        Some(_) = first.head_or_end() => { first.say(answer).await; false }
    };
    assert_eq!(again.await.unwrap().unwrap(), StatusCode::NO_CONTENT);
    opened
}

trait ShutdownWrite {
    async fn shutdown_write(&mut self);
}

impl ShutdownWrite for tokio::net::TcpStream {
    async fn shutdown_write(&mut self) {
        tokio::io::AsyncWriteExt::shutdown(self).await.unwrap();
    }
}

#[tokio::test]
async fn only_a_clean_connection_is_used_again() {
    let shop = Shop::open().await;
    let fresh_pool = || upstream(&plain(shop.address));
    let big = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1000));
    assert!(!opens_another(&fresh_pool(), &shop, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true).await);
    assert!(opens_another(&fresh_pool(), &shop, &big, false).await, "unread body");
    let closing = "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n";
    assert!(opens_another(&fresh_pool(), &shop, closing, true).await, "connection: close");
    let old = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n";
    assert!(opens_another(&fresh_pool(), &shop, old, true).await, "HTTP/1.0");
    let until_close = "HTTP/1.0 303 See Other\r\nlocation: /x\r\n\r\nuntil the end";
    assert!(opens_another(&fresh_pool(), &shop, until_close, true).await, "until close");
    let short_lived =
        upstream(&kallback::upstream::Settings { idle_for_at_most: std::time::Duration::ZERO, ..plain(shop.address) });
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    assert!(opens_another(&short_lived, &shop, answer, true).await, "too old");
}

#[tokio::test]
async fn idle_connections_are_closed_in_time_and_not_more_than_allowed_are_kept() {
    let shop = Shop::open().await;
    let to_shop = upstream(&kallback::upstream::Settings {
        idle_for_at_most: SHORT,
        idle_connections_max: 1,
        ..plain(shop.address)
    });
    let (one, other) = (to_shop.clone(), to_shop.clone());
    let asking = tokio::spawn(async move {
        let both = tokio::join!(one.send(empty(), POOLED), other.send(empty(), POOLED));
        (whole(both.0.unwrap()).await, whole(both.1.unwrap()).await)
    });
    let (mut first, mut second) = (shop.visitor().await, shop.visitor().await);
    for visitor in [&mut first, &mut second] {
        visitor.head().await;
        visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
    asking.await.unwrap();
    assert_eq!((first.rest().await, second.rest().await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_connection_that_the_shop_closed_while_idle_costs_nobody_anything() {
    let shop = Shop::open().await;
    let to_shop = upstream(&plain(shop.address));
    let ask = |how: How| {
        let to_shop = to_shop.clone();
        tokio::spawn(async move { to_shop.send(empty(), how).await.map(|reply| reply.status()) })
    };
    let asking = ask(POOLED);
    let mut stale = shop.visitor().await;
    stale.head().await;
    stale.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    asking.await.unwrap().unwrap();
    drop(stale);
    // One whole exchange elsewhere gives the runtime time to notice the end of the first.
    let elsewhere = ask(FRESH);
    let mut other = shop.visitor().await;
    other.head().await;
    other.say("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    elsewhere.await.unwrap().unwrap();

    let asking = ask(POOLED);
    let mut fresh = shop.visitor().await;
    assert!(fresh.head().await.starts_with("POST /wc-api/"));
    fresh.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(asking.await.unwrap().unwrap(), StatusCode::OK);
}

/// The race that nobody wins: the shop closes an idle connection, and we write before we can know it.
#[tokio::test]
async fn a_request_written_to_a_dying_connection_is_unknown_and_never_repeated() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to_shop = upstream(&plain(listener.local_addr().unwrap()));
    let (closed, is_closed) = mpsc::channel();
    let (close, may_close) = mpsc::channel::<()>();
    let shop = std::thread::spawn(move || {
        let (mut visitor, _) = listener.accept().unwrap();
        assert!(visitor.read(&mut [0; 4096]).unwrap() > 0);
        visitor.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        may_close.recv().unwrap();
        drop(visitor);
        closed.send(()).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    to_shop.send(empty(), POOLED).await.unwrap();
    close.send(()).unwrap();
    // Blocks the runtime's only thread on purpose: it must not notice the end.
    is_closed.recv().unwrap();
    assert_failed(to_shop.send(empty(), POOLED).await, Reached::Unknown, SendCause::ConnectionBroken);
    assert!(shop.join().unwrap().accept().is_err(), "it was sent twice");
}

#[tokio::test]
async fn a_unix_socket_is_a_shop_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let to_shop = upstream(&settings(Address::Unix(path)));
    let asking = tokio::spawn(async move { whole(to_shop.send(empty(), POOLED).await.unwrap()).await });
    let mut visitor = Wire::new(listener.accept().await.unwrap().0);
    assert!(visitor.head().await.contains("\r\nhost: shop.example\r\ncontent-length: 0\r\n"));
    visitor.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    assert_eq!(asking.await.unwrap(), "ok");
}

struct TlsShop {
    shop: Shop,
    acceptor: TlsAcceptor,
    authority: tempfile::NamedTempFile,
}

impl TlsShop {
    async fn open() -> Self {
        let own = rcgen::generate_simple_self_signed(["shop.internal".to_owned()]).unwrap();
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), own.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        Self { shop: Shop::open().await, acceptor: TlsAcceptor::from(Arc::new(config)), authority }
    }

    fn upstream(&self, trusted: bool, name: &str) -> Upstream {
        let address = Address::Https { host: "127.0.0.1".into(), port: self.shop.address.port() };
        let ca_file = trusted.then(|| self.authority.path().to_owned());
        let tls = TlsSettings { ca_file, name: Some(name.to_owned()) };
        upstream(&kallback::upstream::Settings { tls, ..settings(address) })
    }
}

#[tokio::test]
async fn a_shop_behind_tls_is_reached_with_its_own_authority_and_name_only() {
    let world = TlsShop::open().await;
    for (trusted, name) in [(false, "shop.internal"), (true, "other.internal")] {
        let to_shop = world.upstream(trusted, name);
        let asking = tokio::spawn(async move { to_shop.send(empty(), FRESH).await });
        let visitor = world.shop.visitor().await;
        assert!(world.acceptor.accept(visitor.stream).await.is_err());
        assert_failed(asking.await.unwrap(), Reached::No, SendCause::TlsFailed);
    }
    let to_shop = world.upstream(true, "shop.internal");
    let asking = tokio::spawn(async move { whole(to_shop.send(empty(), FRESH).await.unwrap()).await });
    let visitor = world.shop.visitor().await;
    let mut visitor = Wire::new(world.acceptor.accept(visitor.stream).await.unwrap());
    visitor.head().await;
    visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(asking.await.unwrap(), "ok");
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_told_at_the_start() {
    let address = Address::Https { host: "shop.internal".into(), port: 443 };
    let empty_file = tempfile::NamedTempFile::new().unwrap();
    for file in ["/nonexistent/ca.pem", empty_file.path().to_str().unwrap()] {
        let tls = TlsSettings { ca_file: Some(file.into()), name: None };
        let settings = kallback::upstream::Settings { tls, ..settings(address.clone()) };
        let fault =
            Upstream::new(&settings, kallback::clock::Clock::system(), kallback::metrics::Telemetry::new().unwrap())
                .unwrap_err();
        assert!(fault.to_string().contains(file), "{fault}");
    }
}

#[test]
fn connections_work_on_a_shared_runtime_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let shop = Shop::open().await;
        let to_shop = upstream(&plain(shop.address));
        let asking = tokio::spawn(async move {
            for _ in 0..50 {
                assert_eq!(whole(to_shop.send(empty(), POOLED).await.unwrap()).await, "ok");
            }
        });
        let serving = tokio::spawn(async move {
            loop {
                let mut visitor = shop.visitor().await;
                tokio::spawn(async move {
                    loop {
                        visitor.head().await;
                        visitor.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    }
                });
            }
        });
        asking.await.unwrap();
        serving.abort();
    });
}
