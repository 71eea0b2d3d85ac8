//! The inspector's page and what it asks for: headers, strangers, other sites, and what happened to a callback.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::callbacks::{Callback, Purchase};
use crate::support::operator::Books;
use crate::support::script::Act;
use crate::support::world::World;

const FILES: &[(&str, &str)] = &[
    ("/inspector", "text/html; charset=utf-8"),
    ("/inspector/main.js", "text/javascript; charset=utf-8"),
    ("/inspector/htm-preact-standalone.js", "text/javascript; charset=utf-8"),
    ("/inspector/style.css", "text/css; charset=utf-8"),
    ("/inspector/icon.svg", "image/svg+xml"),
];

#[tokio::test]
async fn the_page_may_run_only_what_came_with_it_and_is_kept_and_framed_by_nobody() {
    let world = World::start().await;
    for (target, kind) in FILES {
        let answer = world.ask(target).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(*kind)), "{target}");
        let policy = answer.header("content-security-policy").unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"] {
            assert!(policy.split("; ").any(|given| given == rule), "{target}: {policy}");
        }
        for rule in ["frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"] {
            assert!(policy.contains(rule), "{target}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        let expected = [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ];
        for (name, value) in expected {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
    }
    for target in ["/inspector/nothing.js", "/inspector/vendor/README.md", "/inspector/../admin.rs", "/inspector/a/b"] {
        assert_eq!(world.ask(target).await.status, 404, "{target}");
    }
    assert_eq!(world.tell("/inspector", &json!({})).await.status, 404);
}

#[tokio::test]
async fn strangers_get_the_page_but_nothing_to_show_in_it() {
    let token = "an admin token that only the tests know";
    let world = World::builder().with_settings(|settings| settings.admin.token = Some(token.to_owned().into()));
    let world = world.start().await;
    for (target, _) in FILES {
        let answer = world.ask(target).await;
        assert_eq!(answer.status, 200, "{target}");
        assert!(!answer.text().contains(token), "{target}");
    }
    assert_eq!(world.ask("/day").await.status, 401);
    let day = Callback::page("/day").with_header("authorization", &format!("Bearer {token}"));
    assert_eq!(world.operator().call(&day).await.status, 200);
    // The page may have come through a proxy that speaks TLS; the token proves the rest.
    let host = world.admin().to_string();
    for (origin, status) in [(format!("https://{host}"), 200), ("https://evil.example".to_owned(), 403)] {
        assert_eq!(world.operator().call(&day.clone().with_header("origin", &origin)).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn other_sites_may_link_to_the_page_and_nothing_more() {
    let world = World::start().await;
    let call = async |target: &str, site: &str, mode: &str, destination: &str| {
        let request = Callback::page(target)
            .with_header("sec-fetch-site", site)
            .with_header("sec-fetch-mode", mode)
            .with_header("sec-fetch-dest", destination);
        world.operator().call(&request).await.status
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(call("/inspector", site, "navigate", "document").await, 200, "{site}");
        assert_eq!(call("/inspector", site, "navigate", "iframe").await, 403, "{site}");
        assert_eq!(call("/inspector", site, "no-cors", "empty").await, 403, "{site}");
        assert_eq!(call("/inspector/main.js", site, "no-cors", "script").await, 403, "{site}");
        for page in ["/callbacks", "/callbacks/1", "/counts", "/day"] {
            assert_eq!(call(page, site, "navigate", "document").await, 403, "{site} {page}");
            assert_eq!(call(page, site, "no-cors", "image").await, 403, "{site} {page}");
        }
    }
    for site in ["same-origin", "none"] {
        assert_eq!(call("/inspector/main.js", site, "cors", "script").await, 200, "{site}");
        assert_eq!(call("/counts", site, "cors", "empty").await, 200, "{site}");
    }
    // Another name for this machine is another site's, whatever the browser says of it.
    let borrowed = Callback::page("/inspector").with_header("sec-fetch-mode", "navigate");
    assert_eq!(world.operator().asking_for("evil.example").call(&borrowed).await.status, 403);
}

fn told(value: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| value[*name].clone()).collect()
}

#[tokio::test]
async fn a_record_tells_of_its_attempts_joins_replays_and_answers() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    world.shop.next(Act::wordfence());
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(world.klarna().call(&callback).await.unwrap().status, 204);
    world.until_books(Books { accepted: 1, pending: 1, ..Books::default() }).await;
    assert_eq!(world.klarna().call(&callback).await.unwrap().status, 204);
    time.pass(Duration::from_secs(5), Duration::from_millis(100)).await;
    world.until_settled(1).await;
    assert_eq!(world.klarna().call(&callback).await.unwrap().status, 200);

    let record = world.ask("/callbacks/1").await.json();
    let seen = told(&record["seen"], &["answered_by", "answered_status", "joins", "replays"]);
    assert_eq!(seen, json!(["accepted", 204, 1, 1]));
    assert!(record["seen"]["answered_ms"].as_u64().unwrap() < 2_000, "{record}");
    let history = record["history"].as_array().unwrap();
    let whats: Vec<_> = history.iter().map(|moment| moment["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["attempt", "answered", "joined", "answered", "attempt", "answered"]);
    let attempts = [&history[0], &history[4]].map(|moment| told(moment, &["attempt", "outcome", "status", "note"]));
    assert_eq!(attempts[0], json!([1, "unreached", 403, "blocked by wordfence-waf"]));
    assert_eq!(told(&history[4], &["attempt", "outcome", "status"]), json!([2, "delivered", 200]));
    assert_eq!(told(&history[5], &["by", "status"]), json!(["replay", 200]));
    assert!(history.iter().all(|moment| moment["began_at"].as_str() <= moment["at"].as_str()), "{record}");

    assert_eq!(world.tell("/callbacks/1/replay", &json!({})).await.status, 202);
    world.until_settled(1).await;
    world.shop.wait_until_done_with(3).await;
    let listed = world.ask("/callbacks").await.json();
    assert!(listed["callbacks"][0]["history"].is_null(), "a list stays short");
    let record = world.ask("/callbacks/1").await.json();
    assert_eq!(record["history"][6]["what"], "replay_ordered");
    let text = record.to_string();
    assert!(
        !text.contains(&purchase.authorization_token) && !text.contains(&callback.target[callback.target.len() - 64..])
    );
}

#[tokio::test]
async fn the_day_tells_how_many_and_how_fast_by_kind() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let day = world.ask("/day").await.json();
    assert_eq!(told(&day, &["kinds", "changes", "since"]), json!([[], 0, "2026-01-15T10:00:00.000Z"]));
    for _ in 0..3 {
        let purchase = Purchase::new();
        world.klarna().call(&world.signed(Callback::push(&purchase), &purchase)).await.unwrap();
    }
    let purchase = Purchase::new();
    world.klarna().call(&Callback::authorization(&purchase)).await.unwrap();
    world.shop.next(Act::hang());
    let slow = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(time.run(world.klarna().call(&slow)).await.unwrap().status, 204);

    let day = world.ask("/day").await.json();
    let names = ["kind", "answered", "late", "budget_ms"];
    let kinds: Vec<_> = day["kinds"].as_array().unwrap().iter().map(|kind| told(kind, &names)).collect();
    assert_eq!(kinds, [json!(["authorization", 2, 0, 2_000]), json!(["push", 3, 0, 5_000])]);
    let slow = &day["kinds"][0];
    assert_eq!(told(&slow["by"], &["deadline", "refused", "shop"]), json!([1, 1, 0]));
    let p99 = slow["p99_ms"].as_u64().unwrap();
    assert!((1_500..=1_700).contains(&p99), "the refused one does not count: {p99}");
    assert_eq!(slow["hours"].as_array().unwrap().len(), 24);
    assert_eq!(slow["hours"][23], 2);
    assert!(day["changes"].as_u64().unwrap() >= 5, "{day}");
}
