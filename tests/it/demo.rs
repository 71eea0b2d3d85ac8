//! The demo, in front of kallback, and in front of a plain TLS terminator: there its scenes must fail, or they show
//! nothing.

use std::time::Duration;

use kallback::clock::Clock;
use kallback::demo::shop::SampleShop;
use kallback::demo::{self, Gateway, Options};
use kallback::token::{Guard, TTL_DEFAULT, Ticket};
use kallback::upstream::Address;
use tokio_util::sync::CancellationToken;

use crate::support::authority::Authority;
use crate::support::terminator::Terminator;
use crate::support::time::FrozenTime;
use crate::support::world::{HOST, World};

#[tokio::test]
async fn with_kallback_every_scene_ends_as_it_should() {
    let shop = SampleShop::open().await.unwrap();
    let (host, port) = (shop.address().ip().to_string(), shop.address().port());
    let world = World::builder().with_frozen_time().with_settings(move |settings| {
        settings.upstream.address = Address::Http { host, port };
        demo::tune(settings);
    });
    let world = world.start().await;
    let guard = Guard::new(world.settings.token.clone());
    let expires_at = world.clock.now() + TTL_DEFAULT;
    let gateway = Gateway {
        address: world.address(),
        host: HOST.to_owned(),
        authority: world.authority.der(),
        admin: world.admin(),
        mint: Box::new(move |family, session| guard.mint(&Ticket { family, session: session.as_bytes(), expires_at })),
    };
    let time = Some(Duration::from_secs(60));
    let options = Options { seconds: time, live: false, stop: CancellationToken::new(), clock: world.clock.clone() };
    let mut text = Vec::new();
    let play = demo::run(options, gateway, shop, &mut text);
    let well = world.time.as_ref().unwrap().run(play).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(well, "{text}");
    assert_eq!(text.matches("\nok ").count(), 8, "{text}");
    assert!(text.contains("More callbacks"), "the scenes are followed by traffic:\n{text}");
}

#[tokio::test]
async fn without_kallback_only_the_question_ends_as_it_should() {
    let (well, text) = play(Duration::from_secs(90), false).await;
    assert!(!well);
    let failed: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("FAILED, ")).collect();
    assert_eq!(failed.len(), 7, "{text}");
    for symptom in [
        "an ordinary day: 2 answers came from the shop",
        "a slow shop: a callback was answered by nobody (answer not within 2000 ms) at attempt 3",
        "the shop made 3 orders, and not 1",
        "five at once: the shop made 5 orders",
        "a dead shop: a callback was answered by nobody",
        "a stranger: a callback was answered 200",
        "a firewall: a callback was answered 403 in",
        "the metrics do not name wordfence",
        "a stampede: a callback was answered",
    ] {
        assert!(text.contains(symptom), "{symptom} is not in\n{text}");
    }
    assert!(!text.contains("FAILED, a question"), "{text}");
    let table = text.lines().skip_while(|line| !line.contains("slowest answer")).take(9);
    let widths: Vec<_> = table.map(|line| line.chars().count()).collect();
    assert!(widths.len() == 9 && widths.iter().all(|width| *width <= 80), "{widths:?}");
    assert!(text.contains("More callbacks"), "the scenes are followed by traffic:\n{text}");
}

#[tokio::test]
async fn a_demo_that_is_cut_short_is_no_success() {
    let (well, text) = play(Duration::from_millis(1_500), false).await;
    assert!(!well);
    assert!(text.contains("NOT SHOWN to its end: a stampede."), "{text}");
}

#[tokio::test]
async fn a_live_table_is_drawn_over_itself() {
    let (_, text) = play(Duration::from_millis(1_500), true).await;
    let drawings: Vec<_> = text.split("\x1b[?7l").skip(1).collect();
    assert!(drawings.len() > 5, "{} drawings", drawings.len());
    for drawing in &drawings[..drawings.len() - 1] {
        let (table, up) = drawing.split_once("\x1b[?7h\n\x1b[").unwrap();
        assert_eq!(up, format!("{}A\r\x1b[J", table.lines().count()));
    }
}

/// Plays the demo in frozen time; gives back its verdict and what it wrote.
async fn play(time: Duration, live: bool) -> (bool, String) {
    let authority = Authority::new();
    let shop = SampleShop::open().await.unwrap();
    let front = Terminator::start(&authority, HOST, shop.address()).await;
    let gateway = Gateway {
        address: front.address(),
        host: HOST.to_owned(),
        authority: authority.der(),
        // Nothing that has metrics.
        admin: front.address(),
        mint: Box::new(|_, _| Some("00".repeat(32))),
    };
    let options = Options { seconds: Some(time), live, stop: CancellationToken::new(), clock: Clock::system() };
    let time = FrozenTime::begin();
    let mut text = Vec::new();
    let well = time.run(demo::run(options, gateway, shop, &mut text)).await.unwrap();
    (well, String::from_utf8(text).unwrap())
}
