//! The front door with real sockets and real TLS.

mod door;

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kallback::clock::Clock;
use kallback::metrics::Telemetry;
use kallback::server::tls::{CertificateFiles, Certificates};
use kallback::server::workers::Listeners;
use kallback::server::{Drain, Front, Workers};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use door::{Authority, Door, Mirror, PATIENCE, any_port, ask, get, settings, until_closed};

// ── TLS ──

#[tokio::test]
async fn http1_is_spoken_to_callers_that_ask_for_it_or_for_nothing() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    for protocols in [vec![b"http/1.1".to_vec()], vec![]] {
        let mut config = authority.caller();
        config.protocols = protocols;
        let mut stream = door.connect(&config.connector(), "shop.example").await.unwrap();
        let reply = ask(&mut stream, &get("/a")).await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.ends_with("\r\n\r\nGET shop.example /a 127.0.0.1"), "{reply}");
    }
}

#[tokio::test]
async fn http2_is_spoken_to_callers_that_prefer_it() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let mut config = authority.caller();
    config.protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = door.connect(&config.connector(), "shop.example").await.unwrap();
    let (mut client, talk) = http2(stream).await;
    let reply = client.send_request(http2_get("/a")).await.unwrap();
    assert_eq!((reply.status(), reply.version()), (StatusCode::OK, Version::HTTP_2));
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "GET shop.example /a 127.0.0.1", "the host is in `Host` too");

    door.drain.begin();
    timeout(PATIENCE, talk).await.expect("GOAWAY, and the close").unwrap();
    timeout(PATIENCE, door.drain.finished()).await.unwrap();
}

#[tokio::test]
async fn callers_that_speak_neither_are_turned_away() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let mut config = authority.caller();
    config.protocols = vec![b"spdy/3".to_vec()];
    assert!(door.connect(&config.connector(), "shop.example").await.is_err());
}

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
static ONLY_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test]
async fn both_tls_versions_are_spoken_and_sessions_are_resumed() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    for (version, protocol) in [(ONLY_1_3, ProtocolVersion::TLSv1_3), (ONLY_1_2, ProtocolVersion::TLSv1_2)] {
        let mut config = authority.caller();
        config.versions = version;
        let connector = config.connector();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = door.connect(&connector, "shop.example").await.unwrap();
            // Reading the reply also reads the tickets.
            ask(&mut stream, &get("/")).await;
            assert_eq!(stream.get_ref().1.protocol_version(), Some(protocol));
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed], "{protocol:?}");
    }
}

#[tokio::test]
async fn of_the_suites_that_a_caller_offers_the_one_that_costs_less_is_chosen() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let cheap = [
        (ONLY_1_3, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (ONLY_1_2, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ];
    for (version, suite) in cheap {
        let mut config = authority.caller();
        config.versions = version;
        // It offers AES-256 first, as most do.
        let stream = door.connect(&config.connector(), "shop.example").await.unwrap();
        assert_eq!(stream.get_ref().1.negotiated_cipher_suite().unwrap().suite(), suite);
    }
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let authority = Authority::new();
    let first = authority.issue("first", &["shop.example"]);
    let second = authority.issue("second", &["pay.example", "*.pay.example"]);
    let door = Door::open(settings(vec![first.clone(), second.clone()]));
    let connector = authority.caller().connector();
    for (host, files) in [("shop.example", &first), ("pay.example", &second), ("www.pay.example", &second)] {
        let stream = door.connect(&connector, host).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown[0], on_disk(files), "{host}");
    }
    let fault = door.connect(&connector, "other.example").await.unwrap_err().to_string();
    assert!(fault.contains("only valid for DnsName(\"shop.example\")"), "the first is shown: {fault}");
}

fn on_disk(files: &CertificateFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.certificate).unwrap()
}

// ── reload ──

/// Shakes hands until this certificate is shown.
async fn shown_at_last(door: &Door, authority: &Authority, expected: &CertificateDer<'_>) {
    let connector = authority.caller().connector();
    let shown = async {
        loop {
            let stream = door.connect(&connector, "shop.example").await.unwrap();
            if stream.get_ref().1.peer_certificates().unwrap()[0] == *expected {
                return;
            }
        }
    };
    timeout(PATIENCE, shown).await.expect("the certificate is not shown");
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_a_broken_one_is_not_used() {
    let authority = Authority::new();
    let files = authority.issue("shop", &["shop.example"]);
    let first = on_disk(&files);
    let door = Door::open(settings(vec![files.clone()]));
    shown_at_last(&door, &authority, &first).await;

    let next = authority.issue("next", &["shop.example"]);
    // Between two writes the key is that of another certificate.
    std::fs::copy(&next.key, &files.key).unwrap();
    assert!(door.certificates.reload(std::slice::from_ref(&files)).is_err());
    std::fs::write(&files.certificate, "rubbish").unwrap();
    assert!(door.certificates.reload(std::slice::from_ref(&files)).is_err());
    std::fs::remove_file(&files.certificate).unwrap();
    assert!(door.certificates.reload(std::slice::from_ref(&files)).is_err());
    shown_at_last(&door, &authority, &first).await;

    std::fs::copy(&next.certificate, &files.certificate).unwrap();
    shown_at_last(&door, &authority, &on_disk(&next)).await;
}

#[tokio::test]
async fn kubernetes_replaces_a_link_above_the_files() {
    let authority = Authority::new();
    let first = on_disk(&authority.issue("..2025_1/tls", &["shop.example"]));
    let second = on_disk(&authority.issue("..2025_2/tls", &["shop.example"]));
    symlink("..2025_1", authority.path("..data")).unwrap();
    symlink("..data/tls.crt", authority.path("tls.crt")).unwrap();
    symlink("..data/tls.key", authority.path("tls.key")).unwrap();
    let files = CertificateFiles { certificate: authority.path("tls.crt"), key: authority.path("tls.key") };
    let door = Door::open(settings(vec![files]));
    shown_at_last(&door, &authority, &first).await;

    symlink("..2025_2", authority.path("..data_tmp")).unwrap();
    std::fs::rename(authority.path("..data_tmp"), authority.path("..data")).unwrap();
    shown_at_last(&door, &authority, &second).await;
}

#[tokio::test]
async fn a_certificate_for_development_is_made_and_can_be_trusted() {
    let authority = Authority::new();
    let files = CertificateFiles { certificate: authority.path("certs/dev.crt"), key: authority.path("certs/dev.key") };
    let mut settings = settings(vec![files.clone()]);
    assert!(Certificates::load(settings.tls.clone(), Clock::system(), Telemetry::new().unwrap()).is_err());
    settings.tls.make_development_certificate = true;
    let door = Door::open(settings);
    let mut config = authority.caller();
    config.roots.add(on_disk(&files)).unwrap();
    let connector = config.connector();
    for host in ["localhost", "127.0.0.1", "::1"] {
        door.connect(&connector, host).await.unwrap();
    }
}

// ── limits and deadlines ──

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let authority = Authority::new();
    let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
    settings.handshake_within = Duration::from_millis(50);
    let door = Door::open(settings);
    let mut silent = TcpStream::connect(door.address).await.unwrap();
    assert_eq!(until_closed(&mut silent).await, "");
    let mut slow = TcpStream::connect(door.address).await.unwrap();
    slow.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
    assert_eq!(until_closed(&mut slow).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_tls_s_farewell() {
    let authority = Authority::new();
    let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
    settings.idle_for_at_most = Duration::from_millis(50);
    let door = Door::open(settings);
    let mut stream = door.connect(&authority.caller().connector(), "shop.example").await.unwrap();
    stream.write_all(get("/").replace("close", "keep-alive").as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut reply)).await.unwrap().expect("no farewell");
    assert!(reply.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn connections_are_bounded_and_their_places_come_back() {
    let authority = Authority::new();
    let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
    settings.connections_per_address_max = 2;
    let door = Door::open(settings);
    let connector = authority.caller().connector();
    let one = door.connect(&connector, "shop.example").await.unwrap();
    let _two = door.connect(&connector, "shop.example").await.unwrap();
    assert!(door.connect(&connector, "shop.example").await.is_err());
    drop(one);
    let again = async { while door.connect(&connector, "shop.example").await.is_err() {} };
    timeout(PATIENCE, again).await.expect("the place did not come back");
}

#[tokio::test]
async fn connections_are_bounded_in_all() {
    let authority = Authority::new();
    let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
    settings.connections_max = 1;
    let door = Door::open(settings);
    let connector = authority.caller().connector();
    let _one = door.connect(&connector, "shop.example").await.unwrap();
    assert!(door.connect(&connector, "shop.example").await.is_err());
    assert_eq!(door.front.connections(), 1);
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_that_goes_on_sending() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let connector = authority.caller().connector();
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(200_000));
    let unread = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n{}", "x".repeat(150_000));
    for (request, status) in [(large, "431"), (unread, "200")] {
        let mut stream = door.connect(&connector, "shop.example").await.unwrap();
        let (first, rest) = request.split_at(100_000);
        let reply = ask(&mut stream, first).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        // The reply is there. A reset now would make many callers throw it away.
        stream.write_all(rest.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let (mut socket, _) = stream.into_inner();
        assert_eq!(timeout(PATIENCE, socket.read(&mut [0; 1])).await.unwrap().expect("reset"), 0);
    }
}

// ── who the client is ──

#[tokio::test]
async fn the_proxy_header_names_the_client_and_is_required_where_it_is_expected() {
    let authority = Authority::new();
    let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
    settings.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    settings.connections_per_address_max = 1;
    settings.handshake_within = Duration::from_secs(2);
    let door = Door::open(settings);
    let connector = authority.caller().connector();
    let mut block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    block.extend([192, 0, 2, 9, 10, 0, 0, 1, 0, 1, 0, 2]);
    let line = b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n".to_vec();
    for (header, client) in [(line, "2001:db8::7"), (block, "192.0.2.9")] {
        let mut socket = TcpStream::connect(door.address).await.unwrap();
        socket.write_all(&header).await.unwrap();
        let mut stream = connector.connect("shop.example".try_into().unwrap(), socket).await.unwrap();
        let reply = ask(&mut stream, &get("/a")).await;
        assert!(reply.ends_with(&format!(" /a {client}")), "{reply}");
    }
    assert!(door.connect(&connector, "shop.example").await.is_err(), "without a header");
}

#[tokio::test]
async fn a_proxy_header_from_elsewhere_is_not_believed() {
    let authority = Authority::new();
    let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
    settings.proxy_protocol_from = vec!["192.0.2.0/24".parse().unwrap()];
    let door = Door::open(settings);
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n").await.unwrap();
    let connector = authority.caller().connector();
    assert!(connector.connect("shop.example".try_into().unwrap(), socket).await.is_err());
}

// ── the plain listener ──

#[tokio::test]
async fn plain_http_is_redirected_and_callbacks_are_refused() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let host = "Host: shop.example:80\r\nConnection: close";
    for (request, status, location) in [
        (format!("GET /a?b=%20c HTTP/1.1\r\n{host}"), "301", Some("https://shop.example:8443/a?b=%20c")),
        (format!("HEAD / HTTP/1.1\r\n{host}"), "301", Some("https://shop.example:8443/")),
        (format!("POST /cart HTTP/1.1\r\n{host}"), "308", Some("https://shop.example:8443/cart")),
        (format!("POST /wc-api/KCO_WC_Push/ HTTP/1.1\r\n{host}"), "403", None),
        (format!("GET /wc-api/KCO_WC_Push/?a=b HTTP/1.1\r\n{host}"), "403", None),
        ("GET / HTTP/1.0".to_owned(), "400", None),
        ("GET / HTTP/1.1\r\nHost: evil.example/x".to_owned(), "400", None),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b".to_owned(), "400", None),
    ] {
        let mut socket = TcpStream::connect(door.plain_address).await.unwrap();
        let reply = ask(&mut socket, &format!("{request}\r\n\r\n")).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")) || reply.starts_with("HTTP/1.0 400"), "{reply}");
        let found = reply.lines().find_map(|line| line.strip_prefix("location: "));
        assert_eq!(found, location, "{request}");
        assert!(reply.ends_with("\r\n\r\n"), "a body: {reply}");
    }
}

#[tokio::test]
async fn tls_at_the_plain_listener_is_no_request() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let mut socket = TcpStream::connect(door.plain_address).await.unwrap();
    assert!(ask(&mut socket, "\x16\x03\x01\x02\0").await.starts_with("HTTP/1.1 400 Bad Request\r\n"));
}

// ── stopping, and threads ──

#[tokio::test]
async fn draining_closes_the_socket_and_waits_for_what_runs() {
    let authority = Authority::new();
    let door = Door::open(settings(vec![authority.issue("shop", &["shop.example"])]));
    let connector = authority.caller().connector();
    let mut running = door.connect(&connector, "shop.example").await.unwrap();
    running.write_all(b"POST /whole-body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1").await.unwrap();
    let mut idle = door.connect(&connector, "shop.example").await.unwrap();
    idle.write_all(get("/").replace("close", "keep-alive").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();

    door.drain.begin();
    until_closed(&mut idle).await;
    let refused = async { while TcpStream::connect(door.address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("the socket is open");
    running.write_all(b"2").await.unwrap();
    assert!(until_closed(&mut running).await.starts_with("HTTP/1.1 200 OK"));
    timeout(PATIENCE, door.drain.finished()).await.unwrap();
    assert_eq!(door.front.connections(), 0);
}

#[tokio::test]
async fn one_runtime_per_core_and_one_for_all_serve_alike() {
    let authority = Authority::new();
    for workers in [Workers::PerCore(2), Workers::Shared(2)] {
        let mut settings = settings(vec![authority.issue("shop", &["shop.example"])]);
        settings.workers = workers;
        let listeners = Listeners::bind(&settings).unwrap();
        let (address, plain) = (listeners.tls_addresses()[0], listeners.plain_addresses()[0]);
        assert_ne!(address.port(), 0);
        let certificates =
            Certificates::load(settings.tls.clone(), Clock::system(), Telemetry::new().unwrap()).unwrap();
        let front = Front::new(settings, certificates.server_config(), Clock::system(), Telemetry::new().unwrap());
        let drain = Drain::new();
        let served = tokio::spawn(listeners.serve(front, || Mirror, Arc::new(|_| false), drain.clone()));
        let connector = authority.caller().connector();
        for _ in 0..8 {
            let socket = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect("shop.example".try_into().unwrap(), socket).await.unwrap();
            assert!(ask(&mut stream, &get("/a")).await.starts_with("HTTP/1.1 200 OK"));
        }
        assert!(ask(&mut TcpStream::connect(plain).await.unwrap(), &get("/")).await.starts_with("HTTP/1.1 301"));
        drain.begin();
        timeout(PATIENCE, served).await.expect("the workers do not end").unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = kallback::server::bind(any_port(), false).unwrap();
    let mut settings = settings(Vec::new());
    settings.listen = vec![taken.local_addr().unwrap()];
    let fault = Listeners::bind(&settings).unwrap_err();
    assert_eq!(fault.to_string(), format!("cannot listen on {}", taken.local_addr().unwrap()));
}

// ── HTTP/2 callers ──

type Http2Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn http2(stream: tokio_rustls::client::TlsStream<TcpStream>) -> (Http2Client, tokio::task::JoinHandle<()>) {
    let (client, talk) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let talk = tokio::spawn(async move {
        let _ = talk.await;
    });
    (client, talk)
}

fn http2_get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://shop.example{path}")).body(Empty::new()).unwrap()
}
