//! The probe: how far a call came, what was shown on the way, and how long each step took.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use kallback::clock::Clock;
use kallback::probe::{AnswerLimit, Answered, Fault, Limits, Origin, Probe, Step, Trust, Unanswered};
use tokio::net::TcpListener;

use crate::support::authority::Authority;
use crate::support::script::Act;
use crate::support::shop::Shop;
use crate::support::time::patiently;

const LIMITS: Limits = Limits {
    connect_within: Duration::from_secs(10),
    answer: AnswerLimit::Whole(Duration::from_secs(10)),
    body_bytes_max: 10,
};

#[tokio::test]
async fn an_answer_comes_with_the_time_of_every_step_and_what_tls_showed() {
    let authority = Authority::new();
    let shop = Shop::over_tls(&authority, "shop.example").await;
    shop.next(Act::reply(404).reason("Nicht da").body("0123456789"));
    let answered = call(&trusting(&authority, &shop), "https://shop.example/a?b").await.unwrap();

    let Answered { reply, is_cut, took, seen } = answered;
    assert_eq!((reply.status.as_u16(), reply.body.as_ref(), is_cut), (404, &b"0123456789"[..], false));
    assert_eq!(reply.reason.unwrap().as_bytes(), b"Nicht da");
    let steps = [seen.connect, seen.handshake, seen.answer].map(Option::unwrap);
    assert!(steps.iter().sum::<Duration>() <= took, "{steps:?} of {took:?}");
    assert!(seen.first_byte <= seen.head && seen.head <= seen.answer, "{seen:?}");
    assert_eq!((seen.look_up, &seen.addresses[..]), (None, &[shop.tcp()][..]), "nothing to look up");
    let tls = seen.tls.unwrap();
    assert_eq!(tls.version, Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!((tls.alpn.as_deref(), tls.chain.len(), tls.fault), (Some(&b"http/1.1"[..]), 1, None));
    let seen = shop.request();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/a?b", Some("shop.example")));
}

#[tokio::test]
async fn only_so_much_of_a_body_is_read() {
    let shop = Shop::start().await;
    shop.next(Act::reply(200).body("0123456789A"));
    let answered = call(&plain(), &format!("http://{}/", shop.tcp())).await.unwrap();
    assert_eq!((answered.reply.body.as_ref(), answered.is_cut), (&b"0123456789"[..], true));
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_kept_and_can_be_passed_over() {
    let authority = Authority::new();
    let shop = Shop::over_tls(&authority, "shop.example").await;
    let mut probe = Probe { connect_to: Some(shop.tcp()), ..plain() };
    let unanswered = call(&probe, "https://shop.example/").await.unwrap_err();
    assert_eq!(unanswered.seen.step, Step::Handshake);
    let tls = unanswered.seen.tls.unwrap();
    assert_eq!((tls.chain.len(), tls.version), (1, None));
    assert!(tls.fault.unwrap().to_string().contains("UnknownIssuer"));
    shop.saw(0);

    probe.trust = probe.trust.believing_all();
    let answered = call(&probe, "https://shop.example/").await.unwrap();
    assert!(answered.seen.tls.unwrap().fault.unwrap().to_string().contains("UnknownIssuer"));

    probe.trust = Trust::only(authority.der()).unwrap().believing_all();
    let other_name = call(&probe, "https://other.example/").await.unwrap();
    assert!(other_name.seen.tls.unwrap().fault.unwrap().to_string().contains("not valid for name"));
}

#[tokio::test]
async fn versions_of_tls_can_be_chosen() {
    let authority = Authority::new();
    let shop = Shop::over_tls(&authority, "shop.example").await;
    let mut probe = trusting(&authority, &shop);
    probe.trust = probe.trust.speaking(&[&rustls::version::TLS12]);
    let answered = call(&probe, "https://shop.example/").await.unwrap();
    assert_eq!(answered.seen.tls.unwrap().version, Some(rustls::ProtocolVersion::TLSv1_2));
}

#[tokio::test]
async fn where_a_call_ends_is_known() {
    let mut shop = Shop::start().await;
    let url = format!("http://{}/", shop.tcp());
    shop.next(Act::hang());
    shop.next(Act::close());
    shop.next(Act::reply(200).body("0123456789").cut_after(60));
    let hurried =
        Probe { limits: Limits { answer: AnswerLimit::Whole(Duration::from_millis(200)), ..LIMITS }, ..plain() };
    let unanswered = call(&hurried, &url).await.unwrap_err();
    assert!(matches!(unanswered.fault, Fault::TooSlow(_)) && unanswered.seen.step == Step::Answer, "{unanswered:?}");
    assert_eq!(unanswered.to_string(), "answer not within 200 ms");
    let unanswered = call(&plain(), &url).await.unwrap_err();
    assert!(matches!(unanswered.fault, Fault::Broken(_)) && unanswered.seen.step == Step::Answer, "{unanswered:?}");
    let unanswered = call(&plain(), &url).await.unwrap_err();
    assert!(matches!(unanswered.fault, Fault::Broken(_)) && unanswered.seen.step == Step::Body, "{unanswered:?}");
    assert_eq!(unanswered.seen.status, Some(http::StatusCode::OK));
    shop.go_down().await;
    let unanswered = call(&plain(), &url).await.unwrap_err();
    assert!(matches!(unanswered.fault, Fault::Io(_)) && unanswered.seen.step == Step::Connect, "{unanswered:?}");
    assert!(unanswered.seen.tried[0].fault.is_some());
    // Nobody may register a name under it (RFC 6761).
    let unanswered = call(&plain(), "http://nobody.invalid/").await.unwrap_err();
    assert_eq!(unanswered.seen.step, Step::LookUp, "{unanswered:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_fails_the_handshake_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = silent.local_addr().unwrap();
    let limits = Limits { connect_within: Duration::from_millis(200), ..LIMITS };
    let probe = Probe { limits, connect_to: Some(address), ..plain() };
    let unanswered = call(&probe, "https://shop.example/").await.unwrap_err();
    assert_eq!(unanswered.to_string(), "TLS handshake not within 200 ms");
    assert!(unanswered.seen.connect.is_some() && unanswered.seen.handshake.is_none());
}

#[tokio::test]
async fn silence_is_counted_between_bytes_and_bounded_in_all() {
    let shop = Shop::start().await;
    shop.always(Act::reply(200).body("abcd").dripping(Duration::from_millis(150)));
    let url = format!("http://{}/", shop.tcp());
    let by = |pause: u64, whole: u64| {
        let [pause, whole] = [pause, whole].map(Duration::from_millis);
        Probe { limits: Limits { answer: AnswerLimit::Silence { pause, whole }, ..LIMITS }, ..plain() }
    };
    let answered = call(&by(5_000, 10_000), &url).await.unwrap();
    assert!(answered.seen.answer.unwrap() >= Duration::from_millis(600), "four pauses");
    assert_eq!(call(&by(20, 10_000), &url).await.unwrap_err().seen.step, Step::Body);
    assert_eq!(call(&by(5_000, 300), &url).await.unwrap_err().seen.step, Step::Body);
}

async fn call(probe: &Probe, url: &str) -> Result<Answered, Box<Unanswered>> {
    let (origin, target) = Origin::of(url).unwrap();
    let request = Request::get(target).body(Bytes::new()).unwrap();
    patiently("the end of a call", probe.call(&origin, request)).await
}

fn plain() -> Probe {
    Probe { limits: LIMITS, trust: Trust::public_and(None).unwrap(), connect_to: None, clock: Clock::system() }
}

fn trusting(authority: &Authority, shop: &Shop) -> Probe {
    Probe { trust: Trust::only(authority.der()).unwrap(), connect_to: Some(shop.tcp()), ..plain() }
}
