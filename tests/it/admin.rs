//! The admin listener: health, metrics, records, replays, tokens; and who is kept out.

use std::time::Duration;

use kallback::event::{Family, Kind};
use kallback::recognise::{Override, PolicyPatch};
use serde_json::{Value, json};

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::Answered;
use crate::support::operator::{Books, told};
use crate::support::script::Act;
use crate::support::world::World;

#[tokio::test]
async fn it_is_alive_started_and_ready_whatever_becomes_of_the_shop() {
    let mut world = World::start().await;
    for shop_is_there in [true, false] {
        if !shop_is_there {
            world.shop.go_down().await;
        }
        for page in ["/livez", "/readyz", "/startupz", "/readyz/", "/readyz?verbose"] {
            let answer = world.ask(page).await;
            assert_eq!((answer.status, answer.text()), (200, "ok\n"), "{page}");
            let head = world.operator().call(&Callback::page(page).with_method("HEAD")).await;
            assert_eq!((head.status, head.body.len()), (200, 0), "{page}");
        }
    }
}

#[tokio::test]
async fn while_it_drains_it_is_alive_and_takes_callbacks_but_is_not_ready() {
    let world =
        World::frozen().with_settings(|settings| settings.life.drain_delay = Duration::from_secs(5)).start().await;
    let time = world.time.as_ref().unwrap();
    world.tell_gateway_to_stop();
    time.pass(Duration::from_secs(4), Duration::from_millis(100)).await;
    assert_eq!((world.ask("/readyz").await.status, world.ask("/readyz").await.text()), (503, "no\n"));
    assert_eq!((world.ask("/livez").await.status, world.ask("/startupz").await.status), (200, 200));
    let purchase = Purchase::new();
    let push = world.signed(Callback::push(&purchase), &purchase);
    assert_eq!(world.somebody().call(&push).await.unwrap().status, 200, "load balancers need time to notice");
    time.pass(Duration::from_secs(2), Duration::from_millis(100)).await;
    assert!(world.klarna().connect().await.is_err());
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let world = World::start().await;
    let answer = world.ask("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples: Vec<_> = answer.text().lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.len() > 50);
    for sample in samples {
        let (series, value) = sample.rsplit_once(' ').unwrap();
        assert!(series.starts_with("kallback_") || series.starts_with("process_"), "{sample}");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
    }
    assert!(answer.text().contains("\nkallback_build_info{version="));
}

#[tokio::test]
async fn records_are_listed_newest_first_by_filter_and_page() {
    let world = World::builder().with_settings(|settings| settings.admin.page_records_max = 5).start().await;
    let purchases = [(); 4].map(|()| Purchase::new());
    for (number, purchase) in (0..).zip(&purchases) {
        for callback in [Callback::push(purchase), Callback::notification(purchase)] {
            let fails = number == 3 && callback.body.is_empty();
            world.shop.next(if fails { Act::reply(500) } else { Act::minus_one(200) });
            world.somebody().call(&world.signed(callback, purchase)).await.unwrap();
        }
    }
    world.until_books(Books { accepted: 8, settled: 7, left: 1, ..Books::default() }).await;
    let ids = async |query: &str| -> Vec<u64> {
        let answer = world.ask(&format!("/callbacks{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let listed = answer.json();
        listed["callbacks"].as_array().unwrap().iter().map(|record| record["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [8, 7, 6, 5, 4]);
    assert_eq!(ids("?before=4").await, [3, 2, 1]);
    assert_eq!(ids("?limit=2").await, [8, 7]);
    assert_eq!(ids("?limit=2&before=7&").await, [6, 5]);
    assert_eq!(ids("?limit=1000").await, [8, 7, 6, 5, 4], "a page has its bound");
    assert_eq!(ids("?limit=0").await, [8]);
    assert_eq!(ids("?state=left").await, [7]);
    assert_eq!(ids("?state=settled&kind=push").await, [5, 3, 1]);
    assert_eq!(ids("?state=dead").await, [0; 0]);
    assert_eq!(ids(&format!("?subject={}", purchases[1].order)).await, [4, 3]);
    assert_eq!(ids(&format!("?subject={}&kind=push", purchases[1].order.replace('-', "%2D"))).await, [3]);
    assert_eq!(ids("?subject=nobody").await, [0; 0]);
    assert_eq!(ids("?undelivered=true").await, [7]);
    assert_eq!(ids("?undelivered=false&limit=1").await, [8]);
    assert_eq!(ids("?younger_than_seconds=3600").await, [8, 7, 6, 5, 4]);
    assert_eq!(ids("?older_than_seconds=3600").await, [0; 0]);
    let mut pages = Vec::new();
    let mut page = "?limit=3".to_owned();
    loop {
        let listed = world.ask(&format!("/callbacks{page}")).await.json();
        pages.push(listed["callbacks"].as_array().unwrap().len());
        let Some(next) = listed["next"].as_u64() else { break };
        page = format!("?limit=3&before={next}");
    }
    assert_eq!(pages, [3, 3, 2]);
    for query in [
        "?state=open",
        "?kind=pull",
        "?before=x",
        "?limit=-1",
        "?limit=",
        "?colour=red",
        "?before=1.5",
        "?undelivered=1",
        "?older_than_seconds=-1",
        "?younger_than_seconds=99999999999",
    ] {
        let answer = world.ask(&format!("/callbacks{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.json()["error"].as_str().unwrap().len() > 10, "{query}");
    }
}

#[tokio::test]
async fn a_record_says_what_became_of_a_callback() {
    let world = World::frozen().start().await;
    let purchase = Purchase::new();
    world.shop.next(Act::wordfence());
    let push = world.signed(Callback::push(&purchase), &purchase);
    world.somebody().call(&push).await.unwrap();
    world.until_books(Books { accepted: 1, pending: 1, ..Books::default() }).await;

    let answer = world.ask("/callbacks/1").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let record = answer.json();
    let told =
        ["id", "kind", "state", "subject", "attempts", "repeats", "status", "note"].map(|name| record[name].clone());
    let expected = json!([1, "push", "pending", purchase.order, 1, 0, 403, "blocked by wordfence-waf"]);
    assert_eq!(Value::from(told.to_vec()), expected);
    assert_eq!(record["accepted_at"], "2026-01-15T10:00:00.000Z");
    assert_eq!(record["fingerprint"].as_str(), world.shop.request().key());
    assert!(record["due_at"].is_string() && record["ended_at"].is_null(), "{record}");
    let told = ["blocked_by", "budget_ms", "took_ms", "replay", "expires_at"].map(|name| record[name].clone());
    let expected = json!(["wordfence-waf", 5_000, null, "pending", "2026-01-17T10:00:00.000Z"]);
    assert_eq!(Value::from(told.to_vec()), expected);
    assert!(record["advice"].as_str().unwrap().contains("Wordfence"), "{record}");

    world.time.as_ref().unwrap().pass(Duration::from_secs(5), Duration::from_millis(100)).await;
    world.until_settled(1).await;
    let record = world.record().await;
    let told = ["state", "attempts", "status", "age_seconds"].map(|name| record[name].clone());
    assert_eq!(Value::from(told.to_vec()), json!(["settled", 2, 200, 5]));
    for (target, status) in [
        ("/callbacks/2", 404),
        ("/callbacks/0", 404),
        ("/callbacks/-1", 404),
        ("/callbacks/x", 400),
        ("/callbacks/1/x", 404),
    ] {
        assert_eq!(world.ask(target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn a_dead_callback_is_brought_to_the_shop_again_when_somebody_says_so() {
    let policy = PolicyPatch { oldest: Some(Duration::from_secs(30)), ..PolicyPatch::default() };
    let dies_soon = Override { preset: None, kind: Some(Kind::Authorization), mode: None, policy };
    let mut world = World::frozen().with_override(dies_soon).start().await;
    world.shop.go_down().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(world.somebody().call(&callback).await.unwrap().status, 204);
    world.time.as_ref().unwrap().pass(Duration::from_secs(60), Duration::from_millis(500)).await;
    world.until_books(Books { accepted: 1, dead: 1, ..Books::default() }).await;
    assert_eq!(world.metric(r#"kallback_dead_total{kind="authorization"}"#), 1);
    world.shop.come_back().await;

    let replay = async |order: Value| world.tell("/callbacks/1/replay", &order).await;
    for order in [json!({}), json!({ "dry_run": true }), json!({ "even_if_old": false })] {
        let answer = replay(order).await;
        assert_eq!((answer.status, &answer.json()["replay"]), (409, &"old".into()));
        assert!(answer.json()["error"].as_str().unwrap().contains("even_if_old"));
    }
    let answer = replay(json!({ "dry_run": true, "even_if_old": true })).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "id": 1, "state": "dead", "dry_run": true })));
    assert_eq!(replay(json!({ "even_if_odl": true })).await.status, 400);
    assert_eq!(world.record().await["state"], "dead", "nothing was done yet");
    world.shop.saw(0);

    let answer = replay(json!({ "even_if_old": true })).await;

    assert_eq!((answer.status, answer.json()), (202, json!({ "id": 1, "state": "pending" })));
    world.until_settled(1).await;
    let seen = world.shop.request();
    assert!(seen.is_redelivery() && seen.body == callback.body && seen.target == "/wc-api/KP_WC_AUTHORIZATION");
}

#[tokio::test]
async fn a_settled_callback_can_be_replayed_but_not_a_pending_or_an_older_one() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    let push = world.signed(Callback::push(&purchase), &purchase);
    assert_eq!(world.somebody().call(&push).await.unwrap().status, 200);
    world.until_settled(1).await;
    assert_eq!(world.tell("/callbacks/1/replay", &json!({})).await.status, 202);
    world.shop.wait_until_done_with(2).await;
    world.until_settled(1).await;
    assert!(world.shop.requests()[1].is_redelivery());

    time.pass(Duration::from_secs(61), Duration::from_secs(1)).await;
    world.shop.next(Act::hang());
    assert_eq!(time.run(world.somebody().call(&push)).await.unwrap().status, 204);
    for (id, why) in [(1, json!("superseded")), (2, json!("pending")), (3, Value::Null)] {
        let answer = world.tell(&format!("/callbacks/{id}/replay"), &json!({ "even_if_old": true })).await;
        assert_eq!((answer.status, &answer.json()["replay"]), (404, &why));
    }
    world.shop.saw(3);
}

/// Everything that is not for everybody.
fn guarded() -> Vec<Callback> {
    vec![
        Callback::page("/callbacks"),
        Callback::page("/callbacks/1"),
        Callback::page("/counts"),
        told("/callbacks/1/replay", &json!({})),
        told("/acknowledgements", &json!({ "order_id": "1" })),
        told("/tokens", &json!({ "family": "payments", "session": "1" })),
        Callback::page("/"),
        Callback::page("/nowhere"),
    ]
}

#[tokio::test]
async fn with_an_admin_token_nothing_but_health_and_metrics_is_open() {
    let token = "an admin token that only the tests know";
    let world = World::builder().with_settings(|settings| settings.admin.token = Some(token.to_owned().into()));
    let world = world.start().await;
    for page in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(world.ask(page).await.status, 200, "{page}");
    }
    for request in guarded() {
        let wrong = [
            request.clone(),
            request.clone().with_header("authorization", "Bearer "),
            request.clone().with_header("authorization", token),
            request.clone().with_header("authorization", &format!("Basic {token}")),
            request.clone().with_header("authorization", &format!("Bearer {}", &token[1..])),
            request.clone().with_header("authorization", &format!("Bearer {token}x")),
        ];
        for request in wrong {
            let answer = world.operator().call(&request).await;
            assert_eq!(answer.status, 401, "{} {}", request.method, request.target);
            assert!(!answer.text().contains(token));
        }
        let right = request.with_header("authorization", &format!("Bearer {token}"));
        let answer = world.operator().call(&right).await;
        assert!([200, 404].contains(&answer.status), "{} {}: {}", right.method, right.target, answer.status);
        // Whoever knows the token may come through a tunnel that has another name.
        let tunnelled = world.operator().asking_for("admin.shop.example:9090");
        assert_eq!(tunnelled.call(&right).await.status, answer.status);
    }
}

#[tokio::test]
async fn pages_of_other_sites_are_kept_out_of_a_listener_without_a_token() {
    let world = World::start().await;
    let own = format!("http://{}", world.admin());
    for request in guarded() {
        for origin in
            ["https://evil.example", "null", "", &format!("{own}.evil.example"), &own.replace("http", "https")]
        {
            let foreign = request.clone().with_header("origin", origin);
            assert_eq!(world.operator().call(&foreign).await.status, 403, "{origin} {}", request.target);
        }
        let own = request.with_header("origin", &own);
        assert!([200, 404].contains(&world.operator().call(&own).await.status), "{}", own.target);
    }
}

#[tokio::test]
async fn a_name_that_somebody_else_made_point_here_is_not_answered() {
    let world = World::start().await;
    let port = world.admin().port();
    let answer =
        async |host: &str, request: &Callback| -> Answered { world.operator().asking_for(host).call(request).await };
    for request in guarded() {
        for host in [
            "evil.example",
            "shop.example:443",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "[",
        ] {
            assert_eq!(answer(host, &request).await.status, 403, "{host} {}", request.target);
            // A page of that site says so itself.
            let own = request.clone().with_header("origin", &format!("http://{host}"));
            assert_eq!(answer(host, &own).await.status, 403, "{host} {}", request.target);
        }
        for host in [
            "localhost",
            "LocalHost:9090",
            "127.0.0.1",
            &format!("127.0.0.1:{port}"),
            "127.1.2.3:1",
            "[::1]:9090",
            "[::1]",
        ] {
            let status = answer(host, &request).await.status;
            assert!([200, 404].contains(&status), "{host} {}: {status}", request.target);
        }
    }
    let twice = Callback::page("/callbacks").with_header("host", "evil.example");
    assert_eq!(world.operator().call(&twice).await.status, 403);
    for page in ["/livez", "/metrics"] {
        assert_eq!(answer("kallback.monitoring.svc:9090", &Callback::page(page)).await.status, 200);
    }
}

#[tokio::test]
async fn what_does_not_say_that_it_is_json_is_no_order() {
    let world = World::start().await;
    for request in guarded().into_iter().filter(|request| request.method == "POST") {
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let form = request.clone().without_header("content-type").with_header("content-type", kind);
            assert_eq!(world.operator().call(&form).await.status, 415, "{kind} {}", request.target);
        }
        let charset = request.clone().without_header("content-type");
        let charset = charset.with_header("content-type", "application/json; charset=utf-8");
        assert!([200, 404].contains(&world.operator().call(&charset).await.status));
    }
}

#[tokio::test]
async fn there_is_nothing_else() {
    let world = World::start().await;
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/callback"),
        ("GET", "/callbacks/1/replay"),
        ("DELETE", "/callbacks/1"),
        ("PUT", "/callbacks"),
        ("GET", "/tokens"),
        ("GET", "/acknowledgements"),
        ("GET", "/metrics/x"),
        ("GET", "/wc-api/KP_WC_AUTHORIZATION"),
    ] {
        let answer = world.operator().call(&Callback::page(target).with_method(method)).await;
        assert_eq!(answer.status, 404, "{method} {target}");
        assert!(answer.json()["error"].is_string());
    }
    let answer = world.tell("/metrics", &json!({})).await;
    assert_eq!(answer.status, 404);
    world.shop.saw(0);
}

#[tokio::test]
async fn tokens_are_minted_for_a_session_and_open_its_callbacks() {
    let world = World::start().await;
    let purchase = Purchase::new();
    let wish = |family: &str| json!({ "family": family, "session": purchase.session });
    let minted = world.tell("/tokens", &wish("payments")).await;
    assert_eq!(minted.status, 200);
    assert_eq!(
        world.tell("/tokens", &wish("payments")).await.json(),
        minted.json(),
        "the same session, the same token"
    );
    let token = |answer: &Answered| answer.json()["token"].as_str().unwrap().to_owned();
    let callback = Callback::authorization(&purchase);
    assert_eq!(world.somebody().call(&callback.clone().with_token(&token(&minted))).await.unwrap().status, 200);
    let other = world.tell("/tokens", &wish("checkout")).await;
    assert_eq!(world.somebody().call(&callback.with_token(&token(&other))).await.unwrap().status, 403);
    assert_eq!(world.somebody().call(&Callback::push(&purchase).with_token(&token(&other))).await.unwrap().status, 200);
    assert!(minted.json()["expires_at"].as_str().unwrap().ends_with("T00:00:00.000Z"), "{}", minted.text());

    for wish in [
        json!({ "family": "payments", "session": "" }),
        json!({ "family": "payments" }),
        json!({ "family": "network", "session": "1" }),
        json!({ "family": "klarna", "session": "1" }),
        json!({ "family": "payments", "session": 1 }),
        json!({ "family": "payments", "session": "1", "ttl_seconds": 0 }),
        json!({ "family": "payments", "session": "1", "ttl_seconds": 30 * 24 * 3600 + 1 }),
        json!({ "family": "payments", "session": "1", "ttl_seconds": -1 }),
        json!({ "family": "payments", "session": "1", "ttl": 60 }),
        json!({ "family": "payments", "session": "x".repeat(16 << 10) }),
        json!([]),
    ] {
        let answer = world.tell("/tokens", &wish).await;
        assert_eq!(answer.status, 400, "{}", &wish.to_string()[..wish.to_string().len().min(80)]);
    }
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_mint_with() {
    let world =
        World::builder().with_mode(kallback::event::Mode::Off).with_settings(|settings| settings.token.keys.clear());
    let world = world.start().await;
    let answer = world.tell("/tokens", &json!({ "family": Family::Payments.name(), "session": "1" })).await;
    assert_eq!(answer.status, 409);
}

#[tokio::test]
async fn an_acknowledgement_that_comes_before_the_push_counts_too() {
    let world = World::frozen().start().await;
    let time = world.time.as_ref().unwrap();
    let purchase = Purchase::new();
    let told = world.tell("/acknowledgements", &json!({ "order_id": purchase.order })).await;
    assert_eq!((told.status, told.json()), (200, json!({ "pushes": 0 })));
    let push = world.signed(Callback::push(&purchase), &purchase);
    assert_eq!(world.somebody().call(&push).await.unwrap().status, 200);
    world.until_settled(1).await;
    time.pass(Duration::from_secs(24 * 3600), Duration::from_secs(60)).await;
    assert_eq!(world.somebody().call(&push).await.unwrap().header("kallback-replayed"), Some("true"));
    world.shop.saw(1);
    for nonsense in [json!({}), json!({ "order_id": 1 }), json!({ "order_id": "1", "x": 1 }), json!("1")] {
        assert_eq!(world.tell("/acknowledgements", &nonsense).await.status, 400, "{nonsense}");
    }
}
