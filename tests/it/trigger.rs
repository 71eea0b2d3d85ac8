//! `kallback trigger`, with the real binary: what it sends, and what it says of the answer.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

use crate::support::process::{Process, kallback, told};
use crate::support::script::Act;
use crate::support::shop::Shop;
use crate::support::site::Site;
use crate::support::time::patiently;

#[tokio::test]
async fn a_callback_through_kallback_is_answered_and_seen_once() {
    let site = Site::new().await;
    let kallback = site.start(&[]).await;

    let (code, out, err) = told(at_gateway(&site, &kallback, "authorization").args(["--session", "s-1"])).await;

    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "POST https://shop.example/wc-api/KP_WC_AUTHORIZATION");
    let intent = "authorization as woocommerce receives it, with a token; waits 2000 ms to connect and 2000 ms for the answer, tries 3 times";
    assert_eq!(lines[1].trim(), intent);
    assert!(lines[2].trim().starts_with("attempt 1: 200 in ") && lines[2].contains("TLS "), "{out}");
    let verdict = lines[3];
    assert!(verdict.starts_with("answered 200 in ") && verdict.ends_with(" ms of 2000; shop saw 1 request"), "{out}");

    let seen = site.shop.request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/wc-api/KP_WC_AUTHORIZATION"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("user-agent"), Some("APIs-Klarna"));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["session_id"], "s-1");
    assert!(body["authorization_token"].as_str().unwrap().len() == 36);
}

#[tokio::test]
async fn what_is_sent_again_comes_from_the_record_and_the_shop_does_not_see_it() {
    let site = Site::new().await;
    let kallback = site.start(&[]).await;

    let (code, out, _) = told(at_gateway(&site, &kallback, "push").args(["--order", "A-1"])).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.ends_with("; shop saw 1 request\n"), "{out}");

    let (code, out, _) = told(at_gateway(&site, &kallback, "push").args(["--order", "A-1", "--repeat", "2"])).await;
    assert_eq!(code, 0, "{out}");
    assert_eq!(out.matches("from kallback's record").count(), 2, "{out}");
    assert!(out.contains("2 of 2 answered, slowest in ") && out.ends_with("; shop saw 0 requests\n"), "{out}");
    site.shop.saw(1);
}

#[tokio::test]
async fn the_shop_sees_one_of_five_copies_that_come_at_once() {
    let site = Site::new().await;
    site.shop.always_for("wc-api", Act::minus_one(200).after(Duration::from_millis(300)));
    let kallback = site.start(&[]).await;

    let (code, out, _) = told(at_gateway(&site, &kallback, "push").args(["--concurrent", "5"])).await;

    assert_eq!(code, 0, "{out}");
    assert!(out.contains("5 of 5 answered") && out.ends_with("; shop saw 1 request\n"), "{out}");
    site.shop.saw(1);

    // Without kallback it sees all of them.
    let bare = Shop::woocommerce().await;
    let (code, out, _) = told(at_bare_shop(&bare, "push").args(["--concurrent", "5"])).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.ends_with("; shop saw 5 requests\n"), "{out}");
    bare.saw(5);
}

#[tokio::test]
async fn a_shop_that_hangs_fails_alone_and_not_behind_kallback() {
    let shop = Shop::start().await;
    shop.always(Act::hang());
    let (code, out, _) = told(at_bare_shop(&shop, "authorization").args(["--attempts", "2", "--faster", "1000"])).await;
    assert_eq!(code, 1);
    let verdict = "NOT answered as it should be: answer not within 2000 ms after 2 attempts: it may never arrive; shop saw 2 requests";
    assert_eq!(out.lines().last(), Some(verdict));

    let site = Site::new().await;
    site.shop.always_for("wc-api", Act::hang());
    let kallback = site.start(&[]).await;
    let (code, out, _) = told(&mut at_gateway(&site, &kallback, "authorization")).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("answered 204 in ") && out.ends_with("; kallback tried the shop once (pending)\n"), "{out}");
    site.shop.saw(1);
}

#[tokio::test]
async fn a_dead_shop_has_seen_nothing() {
    let mut shop = Shop::start().await;
    shop.go_down().await;
    let (code, out, _) = told(&mut at_bare_shop(&shop, "push")).await;
    assert_eq!(code, 1);
    let verdict = out.lines().last().unwrap();
    assert!(verdict.contains("connection failed after") && verdict.contains("refused"), "{verdict}");
    assert!(verdict.ends_with("the push comes again later; shop saw 0 requests"), "{verdict}");
}

#[tokio::test]
async fn the_sender_insists_as_klarna_does_until_it_is_content() {
    let shop = Shop::start().await;
    shop.next(Act::reply(500));
    shop.next(Act::minus_one(403));
    let (code, out, _) = told(at_bare_shop(&shop, "authorization").args(["--faster", "20"])).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("attempt 1: 500 in ") && out.contains("attempt 2: 403 in "), "{out}");
    assert!(out.contains("answered 200 in ") && out.ends_with("; shop saw 3 requests\n"), "{out}");
    let requests = shop.requests();
    let pause = |at: usize| requests[at].at - requests[at - 1].at;
    assert!(
        pause(1) >= Duration::from_millis(50) && pause(2) >= Duration::from_millis(100),
        "1 s and 2 s, 20 times faster"
    );
    assert_eq!(requests[0].body, requests[2].body);
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_the_shop_sees_nothing() {
    let site = Site::new().await;
    let kallback = site.start(&[]).await;
    let keys = site.path("other.keys");
    write_secret(&keys, &format!("1 {}\n", "ab".repeat(32)));

    let mut command = at_gateway(&site, &kallback, "push");
    // The config names its keys itself; both would be a contradiction in one source, but a flag goes first.
    let (code, out, err) = told(command.arg("--key-file").arg(&keys)).await;

    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let verdict = "NOT answered as it should be: 403 after 1 attempt: only 2xx counts as received; shop saw 0 requests";
    assert_eq!(out.lines().last(), Some(verdict));
    site.shop.saw(0);

    let (code, out, err) = told(at_gateway(&site, &kallback, "push").arg("--key-file").arg("nowhere.keys")).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("there is no file nowhere.keys"), "{err}");
}

#[tokio::test]
async fn a_url_as_the_shop_gave_it_is_filled_in_and_its_token_is_neither_replaced_nor_shown() {
    let site = Site::new().await;
    let kallback = site.start(&[]).await;
    let url =
        "https://shop.example/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={checkout.order.id}&sid={session.id}";
    let mint = ["mint", "--family", "checkout", "--session", "s", "--url", url];
    let (_, minted, _) = told(site.command_of("token").args(mint)).await;
    let minted = minted.trim_end();
    let (_, token) = minted.split_once("&kallback=").unwrap();

    let mut command = command_at(&site, &kallback, "push", minted);
    let (code, out, _) = told(command.args(["--order", "A-1", "--session", "S-1"])).await;

    assert_eq!(code, 0, "{out}");
    assert!(out.contains("to the URL as given, with the URL's own token"), "{out}");
    assert!(!out.contains(token) && !out.contains("kallback="), "{out}");
    let seen = site.shop.request();
    assert_eq!(seen.target, "/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id=A-1&sid=S-1");
    assert!(seen.body.is_empty() && seen.header("content-type").is_none(), "pushes have no body");
}

#[tokio::test]
async fn a_push_schedule_is_played_to_its_end_in_less_than_two_days() {
    let shop = Shop::woocommerce().await;
    let mut command = at_bare_shop(&shop, "push");
    let (code, out, _) = told(command.args(["--push-schedule", "--faster", "1000000", "--json"])).await;
    assert_eq!(code, 0, "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["ok"], &told["planned"], &told["answered"]), (&true.into(), &16.into(), &16.into()));
    assert_eq!(told["shop_saw"], 16);
    let seen = shop.requests();
    assert!(seen.windows(2).all(|two| two[0].target == two[1].target), "all about one order");
    // 5, 15 minutes and 4 hours, a million times faster.
    let pause = |at: usize| seen[at].at - seen[at - 1].at;
    let at_least = [(1, 300), (2, 900), (15, 14_400)].map(|(at, micros)| (at, Duration::from_micros(micros)));
    assert!(at_least.iter().all(|(at, least)| pause(*at) >= *least));
}

#[tokio::test]
async fn ctrl_c_ends_with_a_summary() {
    let shop = Shop::woocommerce().await;
    let mut command = at_bare_shop(&shop, "push");
    // The second push would come after 3 s, the third after 9 s more.
    command.args(["--push-schedule", "--faster", "100"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    shop.wait_until_done_with(1).await;
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    // The shop is done with it before the caller is; the second request is certain to be after the first answer.
    shop.wait_for_requests(2).await;
    kill_process(id, Signal::INT).unwrap();
    let output = patiently("its end", child.wait_with_output()).await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    let verdict = out.lines().last().unwrap();
    assert!(verdict.starts_with("stopped by Ctrl-C: ") && verdict.contains(" of 16 answered"), "{out}");
}

#[tokio::test]
async fn a_drip_is_too_slow_for_one_client_and_not_for_the_other() {
    let shop = Shop::start().await;
    // 3 s in all, and never 2 s without a byte.
    shop.always(Act::reply(200).body("abc").dripping(Duration::from_millis(1000)));
    let (code, out, _) = told(at_bare_shop(&shop, "authorization").args(["--attempts", "1"])).await;
    assert_eq!(code, 1);
    assert!(out.contains("200 after 2") && out.contains("end of the answer not within 2000 ms"), "{out}");
    let (code, out, _) =
        told(at_bare_shop(&shop, "authorization").args(["--attempts", "1", "--client", "socket"])).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("2000 ms for each byte of the answer") && out.contains("answered 200 in "), "{out}");
}

#[tokio::test]
async fn a_question_is_answered_in_kustoms_words_or_not_at_all() {
    let shop = Shop::start().await;
    let told_of = async |act: Act| {
        shop.next(act);
        told(&mut at_bare_shop(&shop, "validation")).await
    };
    let refusal = Act::minus_one(303).header("location", "https://shop.example/cart");
    let (code, out, _) = told_of(refusal).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("answered 303 (refused) in "), "{out}");
    let (code, out, _) = told_of(Act::minus_one(303)).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("a redirect without Location"), "{out}");
    let (code, out, _) = told_of(Act::close()).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("the purchase is approved without the shop"), "{out}");
    shop.next(Act::close());
    let (_, out, _) = told(at_bare_shop(&shop, "validation").arg("--indispensable")).await;
    assert!(out.contains("10000 ms for the answer") && out.contains("the purchase fails"), "{out}");
}

#[tokio::test]
async fn a_webhook_is_signed_with_the_configs_key() {
    let site = Site::new().await;
    site.edit("[ledger]", "[[webhooks.signing_keys]]\nid = \"key-1\"\nsecret = \"a signing key\"\n\n[ledger]");
    let kallback = site.start(&[]).await;
    let (code, out, _) = told(at_gateway(&site, &kallback, "webhook").arg("--json")).await;
    assert_eq!(code, 0, "{out}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&said["proof"], &said["calls"][0]["attempts"][0]["status"]), (&"signed".into(), &200.into()));
    assert_eq!(said["shop_saw"], Value::Null);
    site.shop.saw(1);
}

#[tokio::test]
async fn a_certificate_that_nobody_signed_is_not_believed_unless_asked_to() {
    let site = Site::new().await;
    let kallback = site.start(&[]).await;
    let untrusting = |more: &[&str]| {
        let mut command = site.command_of("trigger");
        command.args(["push", "https://shop.example", "--connect-to", &kallback.address.to_string()]).args(more);
        command
    };
    let (code, out, _) = told(&mut untrusting(&[])).await;
    assert_eq!(code, 1);
    assert!(out.contains("TLS handshake failed after") && out.contains("UnknownIssuer"), "{out}");
    site.shop.saw(0);
    let (code, out, _) = told(&mut untrusting(&["--insecure"])).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.ends_with("; shop saw: unknown (--admin IP:PORT or --bare tells)\n"), "{out}");
}

#[tokio::test]
async fn what_makes_no_sense_is_said_before_anything_is_sent() {
    for (arguments, code, message) in [
        (&["pussh", "https://shop.example"][..], 2, "one of authorization, push"),
        (&["push", "shop.example"], 1, "write https://HOST/PATH"),
        (&["push", "https://shop.example", "--preset", "woo"], 1, "there is no preset `woo`"),
        (&["upsell", "https://shop.example"], 1, "write the whole callback URL"),
        (
            &["session_status", "https://shop.example", "--preset", "magento2"],
            1,
            "receives session_status, only push, ",
        ),
        (&["authorization", "https://shop.example", "--push-schedule"], 1, "--push-schedule is for pushes"),
        (&["push", "https://shop.example", "--ca", "/nowhere.pem"], 1, "/nowhere.pem"),
    ] {
        let (found, out, err) = told(kallback().arg("trigger").args(arguments)).await;
        assert_eq!((found, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(message), "{arguments:?}: {err}");
    }
}

/// At kallback, which tells what the shop saw.
fn at_gateway(site: &Site, kallback: &Process, kind: &str) -> Command {
    command_at(site, kallback, kind, "https://shop.example")
}

fn command_at(site: &Site, kallback: &Process, kind: &str, url: &str) -> Command {
    let mut command = site.command_of("trigger");
    command.args([kind, url, "--connect-to", &kallback.address.to_string(), "--admin", &kallback.admin.to_string()]);
    command.arg("--ca").arg(site.authority.write(site.folder()));
    command
}

/// At a shop with nothing in front of it.
fn at_bare_shop(shop: &Shop, kind: &str) -> Command {
    let address: SocketAddr = shop.tcp();
    let mut command = kallback();
    command.args(["trigger", kind, &format!("http://{address}"), "--bare"]);
    command
}

fn write_secret(file: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
