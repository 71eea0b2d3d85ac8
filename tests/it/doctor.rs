//! Each fault that `doctor` looks for, set up for real, and found.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use kallback::clock::{Clock, UnixMillis};
use kallback::doctor::{Admin, Callers, Finding, Patient, Verdict, examine};
use kallback::event::Kind;
use kallback::probe::{AnswerLimit, Limits, Origin, Probe, Trust};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::authority::{Authority, Signed};
use crate::support::process::kallback;
use crate::support::script::Act;
use crate::support::shop::Shop;
use crate::support::site::Site;
use crate::support::time::patiently;
use crate::support::world::{HOST, World};

const CALLBACK: &str = "/wc-api/KP_WC_AUTHORIZATION";

/// What is looked at, with everything well: a TLS shop called [`HOST`], and nothing behind it.
struct Ward {
    patient: Patient,
    callers: Callers,
}

impl Ward {
    fn new(address: SocketAddr, trust: Trust) -> Self {
        let limits = Limits {
            connect_within: Duration::from_secs(20),
            answer: AnswerLimit::Whole(Duration::from_secs(20)),
            body_bytes_max: 1 << 16,
        };
        let inside = Probe { limits, trust: trust.believing_all(), connect_to: None, clock: Clock::system() };
        let callback = Request::post(CALLBACK).header("user-agent", "APIs-Klarna").body(Bytes::new()).unwrap();
        let public = Origin { is_tls: true, host: HOST.to_owned(), port: 443 };
        Self {
            patient: Patient { public, callback, kind: Kind::Authorization, shop: None, admin: None },
            callers: Callers { outside: Probe { connect_to: Some(address), ..inside.clone() }, inside },
        }
    }

    /// The shop stands there, with a certificate of this authority.
    fn of(shop: &Shop, authority: &Authority) -> Self {
        Self::new(shop.tcp(), Trust::only(authority.der()).unwrap())
    }

    /// kallback stands there, and the shop and the admin listener are known.
    fn around(world: &World) -> Self {
        let mut ward = Self::new(world.address(), Trust::only(world.authority.der()).unwrap());
        ward.patient.shop = Some(plain(world.shop.tcp()));
        ward.patient.admin = Some(Admin { origin: plain(world.admin()), authorization: None });
        ward
    }

    async fn examine(&self) -> Vec<Finding> {
        patiently("the doctor", examine(&self.patient, &self.callers)).await
    }

    /// What that check found, worst first.
    async fn finds(&self, check: &str) -> (Verdict, String) {
        let mut found = self.examine().await;
        found.retain(|finding| finding.check == check);
        let worst = found.into_iter().max_by_key(|finding| finding.verdict).expect(check);
        assert_eq!(worst.advice.is_some(), worst.verdict >= Verdict::Warning, "{worst:?}");
        (worst.verdict, format!("{}; {}", worst.what, worst.advice.unwrap_or_default()))
    }

    /// That check finds a fault, and these words stand in it.
    async fn is_faulty(&self, check: &str, words: &[&str]) {
        let (verdict, text) = self.finds(check).await;
        assert_eq!(verdict, Verdict::Fault, "{check}: {text}");
        for word in words {
            assert!(text.contains(word), "{check} does not say `{word}`: {text}");
        }
    }
}

fn plain(address: SocketAddr) -> Origin {
    Origin { is_tls: false, host: address.ip().to_string(), port: address.port() }
}

/// A bare shop behind TLS whose callback is answered so.
async fn answering(act: Act) -> (Shop, Ward) {
    let authority = Authority::new();
    let shop = Shop::over_tls(&authority, HOST).await;
    shop.always(act);
    let ward = Ward::of(&shop, &authority);
    (shop, ward)
}

/// TLS with a certificate that signs itself.
fn signed_by_itself() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    config_of(rustls::ALL_VERSIONS, &Signed { certificate, key })
}

/// A web server that wants no TLS on its port, and says so to everybody.
async fn plain_http() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    address
}

/// TLS as these versions have it.
fn config_of(versions: &[&'static SupportedProtocolVersion], signed: &Signed) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let chain = vec![signed.certificate.der().clone()];
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_shop_that_is_well_has_no_fault_and_no_warning() {
    let world = World::start().await;
    let found = Ward::around(&world).examine().await;
    let of = |verdict| found.iter().filter(|one| one.verdict == verdict).map(|one| one.check).collect::<Vec<_>>();
    assert_eq!(of(Verdict::Fault), Vec::<&str>::new(), "{found:?}");
    assert_eq!(of(Verdict::Untried), ["name"], "{found:?}");
    let good = ["certificate", "tls", "answer", "redirect", "firewall", "token", "plugin", "clock", "ledger"];
    for check in good {
        assert!(of(Verdict::Good).contains(&check), "{check}: {found:?}");
    }
    let seen = world.shop.requests();
    assert!(seen.iter().all(|request| request.body.is_empty() && !request.target.contains("kallback=")), "{seen:?}");
    assert!(seen[0].header("x-forwarded-proto") == Some("https"));
}

#[tokio::test]
async fn a_name_without_an_address_is_a_fault() {
    let mut ward = Ward::new(SocketAddr::from(([127, 0, 0, 1], 1)), Trust::public_and(None).unwrap());
    ward.callers.outside.connect_to = None;
    // A label of 64 characters: no name server is asked for that.
    ward.patient.public.host = format!("{}.example", "a".repeat(64));
    ward.is_faulty("name", &["is not found", "A record"]).await;
    assert_eq!(ward.finds("tls").await.0, Verdict::Untried);
}

#[tokio::test]
async fn a_name_that_only_this_machine_reaches_is_a_warning() {
    let shop = Shop::start().await;
    let mut ward = Ward::new(shop.tcp(), Trust::public_and(None).unwrap());
    ward.callers.outside.connect_to = None;
    ward.patient.public = Origin { is_tls: false, host: "localhost".to_owned(), port: shop.tcp().port() };
    let (verdict, text) = ward.finds("name").await;
    assert!(verdict >= Verdict::Warning, "{text}");
    assert!(text.contains("localhost"), "{text}");
    ward.is_faulty("certificate", &["is not https"]).await;
}

#[tokio::test]
async fn nobody_at_the_port_is_a_fault() {
    let keeper = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    keeper.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let deaf = keeper.local_addr().unwrap().as_socket().unwrap();
    let ward = Ward::new(deaf, Trust::public_and(None).unwrap());
    ward.is_faulty("answer", &["refused", "see that kallback runs"]).await;
    assert_eq!(ward.finds("certificate").await.0, Verdict::Untried);
}

#[tokio::test]
async fn a_certificate_that_no_stranger_believes_is_a_fault() {
    let authority = Authority::new();
    let trusted = || Trust::only(authority.der()).unwrap();
    let other_name = Shop::over_tls(&authority, "other.example").await;
    let signed_itself = Shop::over_this_tls(signed_by_itself()).await;
    let alone = Shop::over_tls(&Authority::new(), HOST).await;
    for (address, words) in [
        (other_name.tcp(), ["another name", "for this name"]),
        (signed_itself.tcp(), ["signed by itself", "for trials"]),
        (alone.tcp(), ["comes alone", "fullchain.pem"]),
        (plain_http().await, ["none was shown", "not plain HTTP"]),
    ] {
        Ward::new(address, trusted()).is_faulty("certificate", &words).await;
    }
}

#[tokio::test]
async fn a_certificate_is_told_to_have_ended_or_to_end_soon() {
    let authority = Authority::new();
    let now = Clock::system().now();
    for (days, verdict, words) in [
        (-1, Verdict::Fault, ["has expired on ", "why the renewal did not run"]),
        (9, Verdict::Warning, ["8 days", "why the renewal did not run"]),
        (60, Verdict::Good, ["59 days", ""]),
    ] {
        let end = UnixMillis(now.0 + days * 86_400_000);
        let shop = Shop::over_this_tls(config_of(rustls::ALL_VERSIONS, &authority.signs_until(&[HOST], end))).await;
        let (found, text) = Ward::of(&shop, &authority).finds("certificate").await;
        assert_eq!(found, verdict, "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn a_version_of_tls_that_is_not_offered_is_named() {
    let authority = Authority::new();
    for (versions, verdict, words) in [
        (&[&TLS12, &TLS13][..], Verdict::Good, "1.2 and 1.3 are offered"),
        (&[&TLS12], Verdict::Warning, "only 1.2 is offered"),
        (&[&TLS13], Verdict::Warning, "1.2 is refused"),
    ] {
        let shop = Shop::over_this_tls(config_of(versions, &authority.signs(&[HOST]))).await;
        let (found, text) = Ward::of(&shop, &authority).finds("tls").await;
        assert_eq!(found, verdict, "{text}");
        assert!(text.contains(words), "{text}");
    }
    let trust = Trust::only(authority.der()).unwrap();
    Ward::new(plain_http().await, trust).is_faulty("tls", &["neither 1.2 nor 1.3"]).await;
}

#[tokio::test]
async fn a_redirect_is_a_fault_that_says_what_it_changes() {
    for (location, words) in [
        ("https://www.shop.example/wc-api/KP_WC_AUTHORIZATION", ["only the name changes", "calls itself"]),
        ("http://shop.example/wc-api/KP_WC_AUTHORIZATION", ["only the scheme changes", "X-Forwarded-Proto"]),
        ("https://shop.example/wc-api/KP_WC_AUTHORIZATION/", ["only a slash changes", "slashes"]),
        ("/de/wc-api/KP_WC_AUTHORIZATION", ["only the language changes", "language plugin"]),
        ("https://shop.example/login", ["/login", "a login"]),
    ] {
        let (_shop, ward) = answering(Act::reply(301).header("location", location)).await;
        ward.is_faulty("redirect", &words).await;
    }
    let (_shop, ward) = answering(Act::minus_one(200)).await;
    assert_eq!(ward.finds("redirect").await.0, Verdict::Good);
}

#[tokio::test]
async fn the_shop_behind_kallback_may_redirect_too() {
    let world = World::start().await;
    world.shop.always_for("wc-api", Act::reply(301).header("location", format!("https://{HOST}{CALLBACK}/")));
    Ward::around(&world).is_faulty("redirect", &["at the shop itself", "a slash"]).await;
}

#[tokio::test]
async fn a_firewall_is_named_wherever_it_stands() {
    let (_shop, ward) = answering(Act::wordfence()).await;
    ward.is_faulty("firewall", &["403 from outside", "wordfence"]).await;
    let world = World::start().await;
    world.shop.always_for("wc-api", Act::maintenance());
    Ward::around(&world).is_faulty("firewall", &["503 at the shop itself", "wp-maintenance"]).await;
}

#[tokio::test]
async fn a_callback_that_nobody_checks_is_a_warning() {
    let (_shop, ward) = answering(Act::minus_one(200)).await;
    let (verdict, text) = ward.finds("token").await;
    assert_eq!(verdict, Verdict::Warning, "{text}");
    assert!(text.contains("let through (200)"), "{text}");
    let (_shop, ward) = answering(Act::reply(403).header("server", "nginx")).await;
    assert_eq!(ward.finds("token").await.0, Verdict::Warning, "a web server's own 403 is not kallback's");
    assert_eq!(ward.finds("plugin").await.0, Verdict::Untried, "it may be kallback's, passed on by a front server");
}

#[tokio::test]
async fn a_plugin_that_does_not_listen_is_a_fault() {
    let world = World::start().await;
    for (act, words) in [
        (Act::minus_one(400), ["400 at the shop itself", "Activate the payment plugin"]),
        (Act::reply(404).header("content-type", "text/html").body("<h1>Not found</h1>"), ["404", "permalinks"]),
        (Act::reply(500), ["500", "error log"]),
    ] {
        world.shop.always_for("wc-api", act);
        Ward::around(&world).is_faulty("plugin", &words).await;
    }
}

#[tokio::test]
async fn a_shop_that_takes_long_to_wake_is_told_with_its_figures() {
    let world = World::start().await;
    world.shop.next_for("wc-api", Act::minus_one(200).after(Duration::from_millis(1_200)));
    let (verdict, text) = Ward::around(&world).finds("cold start").await;
    assert!(verdict >= Verdict::Warning, "{text}");
    assert!(text.contains("of 2000 ms") && text.contains("opcache"), "{text}");
}

#[tokio::test]
async fn a_dead_shop_is_a_fault_and_not_one_of_the_plugin() {
    let mut world = World::start().await;
    world.shop.go_down().await;
    let ward = Ward::around(&world);
    ward.is_faulty("answer", &["none at the shop itself", "shop.url"]).await;
    assert_eq!(ward.finds("plugin").await.0, Verdict::Untried);
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_a_fault() {
    let world = World::start().await;
    for (minutes, words) in [(10, "ahead of"), (-10, "behind")] {
        let mut ward = Ward::around(&world);
        ward.callers.outside.clock = Clock::simulated(UnixMillis(Clock::system().now().0 + minutes * 60_000));
        ward.is_faulty("clock", &[words, "from outside", "NTP"]).await;
    }
}

#[tokio::test]
async fn what_the_ledger_holds_is_told() {
    let world = World::start().await;
    let counts = |pending: u32, dead: u32, since: &str| {
        let body = format!(
            r#"{{"accepted":9,"pending":{pending},"settled":1,"dead":{dead},"left":0,"oldest_pending_at":{since}}}"#
        );
        Act::reply(200).body(body)
    };
    for (ready, counts, words) in [
        (200, counts(0, 3, "null"), ["3 notices were never delivered", "state=dead"]),
        (200, counts(2, 0, "\"2026-01-15T10:00:00.000Z\""), ["2 notices wait", "state=pending"]),
        (200, Act::reply(503), ["/counts of the admin listener says 503", "disk"]),
    ] {
        let admin = Shop::start().await;
        admin.always_for("/readyz", Act::reply(ready));
        admin.always_for("/counts", counts);
        let mut ward = Ward::around(&world);
        ward.patient.admin = Some(Admin { origin: plain(admin.tcp()), authorization: None });
        ward.is_faulty("ledger", &words).await;
    }
}

#[tokio::test]
async fn an_admin_listener_that_is_gone_or_draining_or_strange_is_told() {
    let world = World::start().await;
    let mut admin = Shop::start().await;
    let mut ward = Ward::around(&world);
    let authorization = Some(HeaderValue::from_static("Bearer mine"));
    ward.patient.admin = Some(Admin { origin: plain(admin.tcp()), authorization });
    admin.always_for("/readyz", Act::reply(503));
    admin.always_for("/counts", Act::reply(401));
    let (verdict, text) = ward.finds("ledger").await;
    assert_eq!(verdict, Verdict::Warning, "{text}");
    assert!(text.contains("not ready"), "{text}");
    let counts = admin.requests().into_iter().find(|request| request.target == "/counts").unwrap();
    assert!(counts.header("authorization") == Some("Bearer mine"));
    admin.go_down().await;
    ward.is_faulty("ledger", &["the admin listener does not answer", "start kallback"]).await;
}

#[tokio::test]
async fn the_command_says_it_in_words_in_json_and_in_its_exit_code() {
    let site = Site::new().await;
    let running = site.start(&[]).await;
    let authority = site.authority.write(site.folder());
    let doctor = || {
        let mut command = site.command_of("doctor");
        command.arg(format!("https://{HOST}")).arg("--ca").arg(&authority);
        command.args(["--connect-to", &running.address.to_string()]);
        command.args(["--admin-listen", &running.admin.to_string()]);
        command
    };
    let (code, out, err) = told(doctor().arg("--json")).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(all["ok"], true);
    assert!(all["findings"].as_array().unwrap().iter().any(|one| one["check"] == "ledger" && one["verdict"] == "good"));

    site.shop.always_for("wc-api", Act::minus_one(400));
    let (code, out, err) = told(&mut doctor()).await;
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("fault    plugin") && out.ends_with("\n1 fault, no warning\n"), "{out}");
    assert!(!out.contains('\u{1b}'), "no colours where nobody sees them");

    let (code, _, err) = told(kallback().args(["doctor", "shop.example"])).await;
    assert!(code == 2 && err.contains("https://"), "{err}");
    let (code, _, err) = told(kallback().args(["doctor", "https://shop.example"])).await;
    assert!(code == 2 && err.contains("--preset") && err.contains("--config"), "{err}");
    running.stop().await;
}

/// Runs a command to its end: its exit code, output and errors.
async fn told(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = patiently("the command's end", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}
