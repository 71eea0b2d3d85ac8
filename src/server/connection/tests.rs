//! Connections over in-memory pipes, with a clock that runs ahead by itself.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ResolvesServerCertUsingSni;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::caller_body::CallerBody;
use crate::clock::{Clock, UnixMillis};
use crate::metrics::Telemetry;
use crate::server::{Caller, Interim, Settings, Workers, tls};

const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(30);
const RESETS_MAX: usize = 5;

// ── what stands behind the door ──

/// Does what the path says, and tells which paths it saw and after how many milliseconds they arrived.
#[derive(Clone)]
struct Scripted {
    seen: mpsc::UnboundedSender<(String, u128)>,
    start: Instant,
}

impl Handler for Scripted {
    type Body = Pieces;

    async fn handle(&self, mut request: Request<CallerBody>, caller: Caller) -> Response<Pieces> {
        let path = request.uri().path().to_owned();
        let _ = self.seen.send((path.clone(), (caller.arrived - self.start).as_millis()));
        match path.as_str() {
            "/echo" => match request.body_mut().collect().await {
                Ok(body) => Response::new(Pieces::one(body.to_bytes())),
                Err(_) => with_status(StatusCode::UNPROCESSABLE_ENTITY),
            },
            "/read-later" => {
                tokio::spawn(request.into_body().collect());
                with_status(StatusCode::OK)
            }
            "/slow" => {
                sleep(Duration::from_secs(100)).await;
                Response::new(Pieces::one("slow"))
            }
            "/never" => std::future::pending().await,
            "/hints" => {
                early_hints(&caller.interim);
                sleep(Duration::from_secs(1)).await;
                Response::new(Pieces::one("hinted"))
            }
            "/hints-at-once" => {
                early_hints(&caller.interim);
                Response::new(Pieces::one("hinted"))
            }
            "/hints-from-elsewhere" => {
                let interim = caller.interim.clone();
                tokio::spawn(async move {
                    for _ in 0..3 {
                        sleep(Duration::from_secs(1)).await;
                        early_hints(&interim);
                    }
                });
                sleep(Duration::from_millis(2_500)).await;
                Response::new(Pieces::one("hinted"))
            }
            "/upgrade" => {
                tokio::spawn(async move {
                    let upgraded = hyper::upgrade::on(request).await.unwrap();
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                    tokio::io::copy(&mut read, &mut write).await.unwrap();
                });
                let mut response = with_status(StatusCode::SWITCHING_PROTOCOLS);
                response.headers_mut().insert("upgrade", HeaderValue::from_static("echo"));
                response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
                response
            }
            "/large" => Response::new(Pieces { piece: vec![b'x'; 16 * 1024].into(), times: 64 }),
            _ => Response::new(Pieces::one(path)),
        }
    }
}

fn early_hints(interim: &Interim) {
    let headers = HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static("</a.css>"))]);
    interim.send(StatusCode::EARLY_HINTS, &headers);
    // Final replies, which are the handler's to return.
    interim.send(StatusCode::SWITCHING_PROTOCOLS, &headers);
    interim.send(StatusCode::OK, &headers);
}

fn with_status(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces { piece: Bytes::new(), times: 0 });
    *response.status_mut() = status;
    response
}

/// The same piece several times.
#[derive(Debug)]
struct Pieces {
    piece: Bytes,
    times: usize,
}

impl Pieces {
    fn one(piece: impl Into<Bytes>) -> Self {
        Self { piece: piece.into(), times: 1 }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.times.checked_sub(1).map(|times| {
            self.times = times;
            Ok(Frame::data(self.piece.clone()))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.times == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.piece.len() * self.times) as u64)
    }
}

// ── the world ──

/// One connection: our end of the pipe, and what can be seen of the other one.
struct World {
    pipe: DuplexStream,
    seen: mpsc::UnboundedReceiver<(String, u128)>,
    ended: JoinHandle<()>,
    front: Arc<Front>,
    drain: Drain,
    start: Instant,
}

/// A listener's doorway with nothing behind it that matters.
pub(in crate::server) fn doorway() -> Doorway<impl Handler> {
    let clock = Clock::simulated(UnixMillis(0));
    let front = Front::new(settings(), Arc::new(no_tls()), clock.clone(), Telemetry::new().unwrap());
    let handler = Scripted { seen: mpsc::unbounded_channel().0, start: clock.instant() };
    Doorway { front, handler, drain: Drain::new(), speaks_tls: false, encrypted: false }
}

#[derive(PartialEq)]
enum Speaks {
    Http1,
    Http2,
}

impl World {
    fn new(speaks: Speaks, pipe_bytes: usize) -> Self {
        let clock = Clock::simulated(UnixMillis(0));
        let start = clock.instant();
        let front = Front::new(settings(), Arc::new(no_tls()), clock.clone(), Telemetry::new().unwrap());
        let (seen_by, seen) = mpsc::unbounded_channel();
        let drain = Drain::new();
        let doorway = Doorway {
            front: Arc::clone(&front),
            handler: Scripted { seen: seen_by, start },
            drain: drain.clone(),
            speaks_tls: false,
            encrypted: false,
        };
        let (pipe, theirs) = duplex(pipe_bytes);
        let place = front.limit.take().unwrap().belongs_to([192, 0, 2, 1].into()).unwrap();
        let conversation = Conversation::new(clock, start, RESETS_MAX);
        let stream = Wire::new(theirs, conversation.clone(), (place, drain.token()));
        let guest = Guest { stream, conversation, client: [192, 0, 2, 1].into() };
        let asking = drain.asking();
        let ended = tokio::spawn(async move {
            match speaks {
                Speaks::Http1 => doorway.speak_http1(guest, asking).await,
                Speaks::Http2 => doorway.speak_http2(guest, asking).await,
            }
        });
        Self { pipe, seen, ended, front, drain, start }
    }

    fn http1() -> Self {
        Self::new(Speaks::Http1, 64 * 1024)
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.pipe.write_all(bytes.as_ref()).await.unwrap();
    }

    /// All that comes until the other end closes.
    async fn receive_all(&mut self) -> String {
        let mut bytes = Vec::new();
        self.pipe.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// What comes until it ends like this.
    async fn receive_until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            bytes.push(self.pipe.read_u8().await.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&bytes))));
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until the other end is done.
    async fn closed(&mut self) {
        (&mut self.ended).await.unwrap();
    }

    fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    fn paths(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).map(|(path, _)| path).collect()
    }
}

fn settings() -> Settings {
    Settings {
        listen: Vec::new(),
        redirect_from: Vec::new(),
        listen_behind_tls: Vec::new(),
        public_port: 443,
        tls: tls::Settings { certificates: Vec::new(), look_every: HEAD, make_development_certificate: false },
        proxy_protocol_from: Vec::new(),
        connections_max: 10,
        connections_per_address_max: 10,
        handshake_within: HEAD,
        head_within: HEAD,
        idle_for_at_most: IDLE,
        write_stall_at_most: STALL,
        head_bytes_max: 4_096,
        headers_max: 20,
        h2_streams_max: 100,
        h2_resets_max: RESETS_MAX,
        workers: Workers::Shared(1),
    }
}

fn no_tls() -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

/// The status lines of several replies; bodies may stand before them on the same line.
fn status_lines(text: &str) -> Vec<&str> {
    text.match_indices("HTTP/1.").map(|(at, _)| text[at..].lines().next().unwrap()).collect()
}

// ── HTTP/1.1 ──

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order_and_each_knows_when_it_came() {
    let mut world = World::http1();
    sleep(Duration::from_secs(2)).await;
    world.send(get("/slow")).await;
    sleep(Duration::from_secs(1)).await;
    world.send("GET /a HTTP").await;
    sleep(Duration::from_secs(1)).await;
    world.send("/1.1\r\nHost: a\r\n\r\n".to_owned() + &get("/b")).await;
    assert!(world.receive_until("slow").await.starts_with("HTTP/1.1 200 OK"));
    world.receive_until("\r\n\r\n/a").await;
    world.receive_until("\r\n\r\n/b").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(world.seen.recv().await.unwrap());
    }
    // The first one counts from the accept, the others from their first byte, however long they waited.
    assert_eq!(seen, [("/slow".to_owned(), 0), ("/a".to_owned(), 3_000), ("/b".to_owned(), 4_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_after_the_replies_before_it_and_ends_the_connection() {
    let mut world = World::http1();
    world.send(get("/slow") + &get("/a") + "GET /evil HTTP/1.1\r\nHost: a\nX: y\r\n\r\n" + &get("/hidden")).await;
    let replies = world.receive_all().await;
    assert_eq!(status_lines(&replies), ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request"]);
    assert_eq!(world.paths(), ["/slow", "/a"]);
    world.closed().await;
    assert_eq!(world.front.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_fault_has_its_status() {
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(5_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(20));
    for (request, status) in [
        ("\0".to_owned(), "400 Bad Request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505 HTTP Version Not Supported"),
        (large, "431 Request Header Fields Too Large"),
        (many, "431 Request Header Fields Too Large"),
    ] {
        let mut world = World::http1();
        world.send(&request).await;
        let reply = world.receive_all().await;
        assert_eq!(status_lines(&reply), [format!("HTTP/1.1 {status}")], "{request:?}");
        assert!(reply.contains("connection: close") && reply.contains("content-length: 0"), "{reply}");
        assert_eq!(world.paths(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_chunk_reaches_nobody_and_ends_the_connection() {
    let mut world = World::http1();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    world.send(format!("{head}3\r\nabc\r\n0\r\n\r\n")).await;
    world.receive_until("\r\n\r\nabc").await;
    world.send(format!("{head}3\r\nabcd\r\n0\r\n\r\n{}", get("/hidden"))).await;
    let reply = world.receive_all().await;
    assert_eq!(status_lines(&reply), ["HTTP/1.1 422 Unprocessable Entity"]);
    assert_eq!(world.paths(), ["/echo", "/echo"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_at_its_deadline() {
    let mut world = World::http1();
    sleep(Duration::from_secs(7)).await;
    let reply = {
        world.send("GET / HTTP/1.1\r\n").await;
        for _ in 0..9 {
            sleep(Duration::from_secs(1)).await;
            world.send("A: b\r\n").await;
        }
        world.receive_all().await
    };
    assert_eq!(status_lines(&reply), ["HTTP/1.1 408 Request Timeout"]);
    // One more second is the time that the caller may go on sending after the last reply.
    assert_eq!(world.seconds(), 17);
    world.closed().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_but_not_one_that_waits_for_its_reply() {
    let mut world = World::http1();
    world.send(get("/slow")).await;
    world.receive_until("slow").await;
    assert_eq!(world.seconds(), 100);
    assert_eq!(world.receive_all().await, "");
    assert_eq!(world.seconds(), 160);
    world.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_take_its_reply_is_cut_off() {
    let mut world = World::new(Speaks::Http1, 1_024);
    world.send(get("/large")).await;
    for _ in 0..4 {
        sleep(STALL - Duration::from_secs(1)).await;
        let mut some = [0; 512];
        world.pipe.read_exact(&mut some).await.unwrap();
    }
    world.closed().await;
    let since_the_last_read = world.seconds() - 4 * (STALL.as_secs() - 1);
    assert_eq!(since_the_last_read, STALL.as_secs());
}

#[tokio::test(start_paused = true)]
async fn interim_replies_come_before_the_final_one_and_never_after_it() {
    let mut world = World::http1();
    world.send(get("/hints") + &get("/hints-at-once") + &get("/hints-from-elsewhere") + &get("/a")).await;
    let replies = world.receive_until("\r\n\r\n/a").await;
    let (ok, hint) = ("HTTP/1.1 200 OK", "HTTP/1.1 103 Early Hints");
    assert_eq!(status_lines(&replies), [hint, ok, hint, ok, hint, hint, ok, ok]);
    assert!(replies.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{replies}");
}

#[tokio::test(start_paused = true)]
async fn an_interim_reply_never_falls_into_the_reply_before_it() {
    // The pipe is shorter than a reply's head. The rest of the first one waits in the server when its request's body is
    // over, and the server goes on to the next request.
    let mut world = World::new(Speaks::Http1, 64);
    world.send("POST /read-later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await;
    world.seen.recv().await.unwrap();
    world.send("ab".to_owned() + &get("/hints-at-once")).await;
    world.seen.recv().await.unwrap();
    let first = world.receive_until("\r\n\r\n").await;
    assert_eq!(
        first.lines().map(|line| line.split(':').next().unwrap()).collect::<Vec<_>>(),
        ["HTTP/1.1 200 OK", "content-length", "date", ""]
    );
    // Too late to go before the final reply for certain, so it is left out.
    let second = world.receive_until("hinted").await;
    assert_eq!(status_lines(&second), ["HTTP/1.1 200 OK"]);
    world.send(get("/hints")).await;
    assert_eq!(status_lines(&world.receive_until("hinted").await), ["HTTP/1.1 103 Early Hints", "HTTP/1.1 200 OK"]);
}

#[tokio::test(start_paused = true)]
async fn an_old_caller_gets_no_interim_reply() {
    let mut world = World::http1();
    world.send("GET /hints HTTP/1.0\r\n\r\n").await;
    assert_eq!(status_lines(&world.receive_all().await), ["HTTP/1.0 200 OK"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_upgrade_the_bytes_are_not_judged_any_more() {
    let mut world = World::http1();
    let request = "GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
    world.send([request.as_bytes(), b"\0\n early "].concat()).await;
    world.receive_until("\r\n\r\n\0\n early ").await;
    sleep(10 * IDLE).await;
    world.send("\r\n\r\n late").await;
    world.receive_until(" late").await;
    assert_eq!(world.front.connections(), 1, "a tunnel keeps its place");
    drop(world.pipe);
    world.drain.begin();
    world.drain.finished().await;
    assert_eq!(world.front.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_upgrade_that_was_not_made_is_judged() {
    let mut world = World::http1();
    let request = "GET /slow HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
    world.send(format!("{request}{}GET /evil HTTP/1.1\n\n", get("/a"))).await;
    let replies = world.receive_all().await;
    assert_eq!(status_lines(&replies), ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request"]);
    assert_eq!(world.paths(), ["/slow", "/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_ends_its_request() {
    let mut world = World::http1();
    world.send(get("/never")).await;
    assert_eq!(world.seen.recv().await.unwrap().0, "/never");
    drop(std::mem::replace(&mut world.pipe, duplex(1).0));
    world.closed().await;
    assert_eq!(world.start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn draining_finishes_the_request_that_runs_and_no_other() {
    let mut world = World::http1();
    world.send(get("/slow") + &get("/a")).await;
    world.seen.recv().await.unwrap();
    world.drain.begin();
    let reply = world.receive_all().await;
    assert_eq!(status_lines(&reply), ["HTTP/1.1 200 OK"]);
    assert!(reply.contains("connection: close") && reply.ends_with("slow"), "{reply}");
    world.drain.finished().await;
    assert_eq!(world.paths(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn draining_closes_an_idle_connection_at_once() {
    let mut world = World::http1();
    world.send(get("/a")).await;
    world.receive_until("/a").await;
    world.drain.begin();
    assert_eq!(world.receive_all().await, "");
    world.drain.finished().await;
    assert_eq!(world.seconds(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_draining_cuts_what_still_runs() {
    let mut world = World::http1();
    world.send(get("/never")).await;
    world.seen.recv().await.unwrap();
    world.drain.begin();
    sleep(IDLE).await;
    assert!(!world.ended.is_finished());
    world.drain.end_now();
    world.drain.finished().await;
    world.closed().await;
}

// ── HTTP/2 ──

type Client = SendRequest<Empty<Bytes>>;

async fn http2_client(pipe: DuplexStream, window_bytes: u32) -> (Client, JoinHandle<()>) {
    let (client, talk) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(window_bytes)
        .handshake(TokioIo::new(pipe))
        .await
        .unwrap();
    let ended = tokio::spawn(async {
        let _ = talk.await;
    });
    (client, ended)
}

fn http2_world() -> (World, DuplexStream) {
    let mut world = World::new(Speaks::Http2, 64 * 1024);
    let pipe = std::mem::replace(&mut world.pipe, duplex(1).0);
    (world, pipe)
}

fn http2_get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://shop.example{path}")).body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn http2_is_served_and_an_idle_connection_is_told_to_go_away() {
    let (mut world, pipe) = http2_world();
    let (mut client, ended) = http2_client(pipe, 65_535).await;
    sleep(Duration::from_secs(3)).await;
    for (path, arrived) in [("/a", 0), ("/slow", 3_000)] {
        let reply = client.send_request(http2_get(path)).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        reply.into_body().collect().await.unwrap();
        assert_eq!(world.seen.recv().await.unwrap(), (path.to_owned(), arrived));
    }
    assert_eq!(world.seconds(), 103, "not closed while a request ran");
    ended.await.unwrap();
    world.closed().await;
    assert_eq!(world.start.elapsed().as_secs(), 163);
}

#[tokio::test(start_paused = true)]
async fn http2_requests_with_two_hosts_are_refused() {
    let (mut world, pipe) = http2_world();
    let (mut client, _) = http2_client(pipe, 65_535).await;
    let mut request = http2_get("/a");
    request.headers_mut().insert("host", HeaderValue::from_static("other.example"));
    assert_eq!(client.send_request(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.paths(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_says_nothing_has_no_longer_than_a_head() {
    let (mut world, mut pipe) = http2_world();
    pipe.write_all(b"PRI * HTTP/2").await.unwrap();
    world.closed().await;
    assert_eq!(world.start.elapsed(), HEAD);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_back_its_requests_is_cut_off() {
    let (world, pipe) = http2_world();
    let (mut client, _) = http2_client(pipe, 65_535).await;
    let mut taken_back = 0;
    while !world.ended.is_finished() && taken_back < 100 {
        let request = client.send_request(http2_get("/never"));
        let _ = tokio::time::timeout(Duration::from_millis(10), request).await;
        taken_back += 1;
    }
    assert!((RESETS_MAX..RESETS_MAX + 3).contains(&taken_back), "{taken_back}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_back_now_and_then_is_not_cut_off() {
    let (world, pipe) = http2_world();
    let (mut client, _) = http2_client(pipe, 65_535).await;
    for _ in 0..4 * RESETS_MAX {
        let request = client.send_request(http2_get("/never"));
        let _ = tokio::time::timeout(Duration::from_millis(10), request).await;
        client.send_request(http2_get("/a")).await.unwrap().into_body().collect().await.unwrap();
    }
    assert!(!world.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_http2_caller_that_opens_no_window_is_cut_off() {
    let (mut world, pipe) = http2_world();
    let (mut client, _) = http2_client(pipe, 20_000).await;
    let reply = client.send_request(http2_get("/large")).await.unwrap();
    world.closed().await;
    assert_eq!(world.start.elapsed(), STALL);
    drop(reply);
}

#[tokio::test(start_paused = true)]
async fn draining_an_http2_connection_finishes_its_streams() {
    let (mut world, pipe) = http2_world();
    let (mut client, ended) = http2_client(pipe, 65_535).await;
    let reply = client.send_request(http2_get("/slow"));
    let reply = tokio::spawn(reply);
    world.seen.recv().await.unwrap();
    world.drain.begin();
    sleep(Duration::from_secs(1)).await;
    assert!(client.ready().await.is_err() || client.send_request(http2_get("/a")).await.is_err(), "GOAWAY was sent");
    let body = reply.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "slow");
    world.drain.finished().await;
    ended.await.unwrap();
    assert_eq!(world.paths(), [""; 0]);
}
