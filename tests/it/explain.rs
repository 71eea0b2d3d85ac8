//! `kallback explain`, with the real binary: it says what the gateway does, because it asks the gateway's own code.

use std::fs;

use kallback::klarna::places;
use serde_json::Value;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::process::{kallback, told};
use crate::support::shop::Shop;
use crate::support::site::Site;

#[tokio::test]
async fn every_callback_that_trigger_sends_is_recognised_as_what_it_is() {
    let shop = Shop::start().await;
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    for place in places::ALL {
        let (kind, preset) = (place.kind.name(), place.preset);
        let url = format!("http://{}", shop.tcp());
        let (code, out, err) =
            told(kallback().args(["trigger", kind, &url, "--bare", "--preset", preset, "--attempts", "1"])).await;
        // A question wants more than an empty 200; here only what was sent counts.
        assert!(code <= 1 && err.is_empty() && out.contains("200"), "{preset} {kind}: {out}{err}");
        let sent = shop.requests().pop().unwrap();
        fs::write(&body, &sent.body).unwrap();
        let mut explain = kallback();
        explain.args(["explain", &sent.method, &sent.target, "--json", "--presets", preset]);
        let (_, out, err) = told(explain.args(["--set", "token.mode=off", "--body"]).arg(&body)).await;
        let said: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{preset} {kind}: {out}{err}"));
        assert_eq!((&said["kind"], &said["respelled"]), (&kind.into(), &false.into()), "{out}");
        assert_eq!(said["family"], place.family.name(), "{out}");
        assert!(said["rule"].as_str().unwrap().starts_with(&format!("{preset} {kind} ")), "{out}");
        assert_eq!(said["shop_gets"].as_str(), Some(sent.target.as_str()));
    }
    shop.saw(places::ALL.len());
}

#[tokio::test]
async fn what_it_says_of_a_callback_is_what_the_gateway_does() {
    let site = Site::new().await;
    let kallback = site.start(&[]).await;
    let purchase = Purchase::new();
    let callback = site.signed(Callback::push(&purchase), &purchase);
    assert!(site.somebody(&kallback).call(&callback).await.unwrap().is_success());
    let record = kallback.operator().callbacks("kind=push").await.remove(0);
    let seen = site.shop.request();

    let url = format!("https://shop.example{}", callback.target);
    let (code, out, err) = told(site.command_of("explain").args(["POST", &url, "--json"])).await;

    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["fingerprint"], record["fingerprint"]);
    assert_eq!((&said["rule"], &said["subject"]), (&record["route"], &record["subject"]));
    assert_eq!((&said["verdict"], &said["lets_through"]), (&"proven".into(), &true.into()));
    assert_eq!(said["shop_gets"].as_str(), Some(seen.target.as_str()));
    assert_eq!((&said["token"]["family"], &said["token"]["made_with"]), (&"checkout".into(), &1.into()));

    let (code, text, _) = told(site.command_of("explain").args(["POST", &url])).await;
    assert_eq!(code, 0);
    let (_, token) = callback.target.split_once("&kallback=").unwrap();
    assert!(!text.contains(token) && !out.contains(token), "{text}{out}");
    for line in [
        "callback     push, a notice",
        "rule         woocommerce push KCO_WC_Push",
        "proof        token for the checkout API, enforced",
        "verdict      proven",
        "routing      kco-action=push",
        "the sender waits 5000 ms",
        "or 204 after 4000 ms",
        "for 48 h once the order is acknowledged",
        "brought again if the shop was certainly not reached, until 48 h old",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[tokio::test]
async fn why_a_callback_would_be_refused_is_said() {
    let site = Site::new().await;
    let purchase = Purchase::new();
    let token = |family| site.token(family, &purchase);
    let good = token(kallback::event::Family::Payments);
    let forged = format!("{}{}", &good[..62], if good.ends_with("00") { "01" } else { "00" });
    for (query, refusal) in [
        (String::new(), "missing"),
        (format!("?kallback={good}&kallback={good}"), "repeated"),
        ("?kallback=12".to_owned(), "malformed"),
        (format!("?kallback={forged}"), "forged"),
        (format!("?kallback={}", token(kallback::event::Family::Checkout)), "wrong_family"),
    ] {
        let target = format!("/wc-api/KP_WC_AUTHORIZATION{query}");
        let (code, out, _) = told(site.command_of("explain").args(["POST", &target, "--json"])).await;
        let said: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &said["verdict"], &said["refusal"]), (1, &"refused".into(), &refusal.into()), "{out}");

        let observing = ["POST", &target, "--json", "--set", "token.mode=observe"];
        let (code, out, _) = told(site.command_of("explain").args(observing)).await;
        let said: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &said["verdict"], &said["refusal"]), (0, &"observed".into(), &refusal.into()), "{out}");
    }
    let two_names = format!("/wc-api/kp_wc_authorization%3Ckco_wc_push?kallback={good}");
    let (code, out, _) = told(site.command_of("explain").args(["POST", &two_names])).await;
    assert_eq!(code, 1);
    assert!(out.contains("refused with 403 as ambiguous: behind tags or escapes"), "{out}");
    let (code, out, _) = told(site.command_of("explain").args(["POST", "/wp-json/klarna/v1/kec/notifications"])).await;
    assert_eq!(code, 1);
    assert!(out.contains("refused with 403 as bad_signature") && out.contains("the shop never hears of it"), "{out}");
}

#[tokio::test]
async fn a_body_can_be_too_large_or_reach_another_callback() {
    let site = Site::new().await;
    let purchase = Purchase::new();
    let callback = site.authorization(&purchase);
    let body = site.path("body");
    fs::write(&body, "&wc-api=kco_wc_push&").unwrap();
    let explain = |target: &str| {
        let mut command = site.command_of("explain");
        command.args(["POST", target, "--json", "--body"]).arg(&body);
        command
    };
    let form = ["--header", "Content-Type: application/x-www-form-urlencoded"];
    let verdict = |out: &str| serde_json::from_str::<Value>(out).unwrap()["verdict"].as_str().unwrap().to_owned();

    let (code, out, _) = told(explain(&callback.target).args(form)).await;
    assert_eq!((code, verdict(&out).as_str()), (1, "form_bypass"));
    let (code, out, _) = told(&mut explain(&callback.target)).await;
    assert_eq!((code, verdict(&out).as_str()), (0, "proven"), "JSON is no form");
    let (code, out, _) = told(explain("/any/page").args(form)).await;
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["callback"], &said["form_bypass"]), (1, &false.into(), &true.into()));
    fs::write(&body, vec![b' '; 1025]).unwrap();
    let (code, out, err) =
        told(explain(&callback.target).args(["--set", "limits.callback_body_bytes_max=1 KiB"])).await;
    assert_eq!((code, err.as_str(), verdict(&out).as_str()), (1, "", "body_too_large"));
}

#[tokio::test]
async fn of_what_is_no_callback_it_says_what_may_have_been_meant() {
    for (target, presets, hint) in [
        (
            "/kco/api/push/id/7",
            "woocommerce",
            "preset magento2 would take it for `magento2 push kco/api/push`, and is not on",
        ),
        (
            "/wc-api/KP_WC_AUTHORISATION/",
            "woocommerce",
            "the nearest URL of woocommerce is /wc-api/KP_WC_AUTHORIZATION (authorization)",
        ),
        (
            "/?cl=KlarnaAcknowlege&klarna_order_id=7",
            "oxid",
            "the nearest URL of oxid is /?cl=KlarnaAcknowledge&klarna_order_id={order} (push)",
        ),
    ] {
        let (code, out, _) = told(kallback().args(["explain", "POST", target, "--presets", presets])).await;
        assert_eq!(code, 1, "{out}");
        assert!(out.contains(&format!("callback     no: no rule of {presets} holds")), "{out}");
        assert!(out.contains(hint), "{out}");
    }
    let (code, out, _) = told(kallback().args(["explain", "GET", "/shop/mugs/"])).await;
    assert_eq!(code, 1);
    assert!(!out.contains("perhaps") && out.contains("passed through to the shop as it is"), "{out}");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_said() {
    for (arguments, message) in [
        (["POST", "shop.example/x"], "write https://HOST/PATH"),
        (["POST", "/a b"], "no HTTP request can ask for `/a b`"),
    ] {
        let (code, out, err) = told(kallback().arg("explain").args(arguments)).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains(message), "{err}");
    }
}

#[tokio::test]
async fn the_documented_example_is_what_it_says() {
    let paper = fs::read_to_string("docs/trigger.md").unwrap();
    let (_, example) = paper.split_once("```sh\nkallback explain POST '").unwrap();
    let (target, rest) = example.split_once("' --presets woocommerce\n```\n\n```\n").unwrap();
    let (_, out, _) = told(kallback().args(["explain", "POST", target, "--presets", "woocommerce"])).await;
    assert_eq!(rest.split_once("```").unwrap().0, out);
}
