//! The extra listener for proxies that end TLS themselves: whom it serves, and whom not.

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::{Klarna, Limits};
use crate::support::process::Process;
use crate::support::site::Site;
use crate::support::world::HOST;

/// A gateway with that listener, which believes those proxies.
async fn fronted_by(site: &Site, proxies: &str) -> (Process, Klarna) {
    let believed = format!("forward.trusted_proxies=[\"{proxies}\"]");
    let process = site.start(&["server.listen_behind_tls=127.0.0.1:0", &believed]).await;
    let door = process.behind_tls.expect("it says where");
    let proxy = Klarna::plain(door).with_host(HOST).with_limits(Limits::PATIENT);
    (process, proxy)
}

#[tokio::test]
async fn a_listed_proxy_that_says_https_is_served_and_the_shop_learns_who_called() {
    let site = Site::new().await;
    let (_process, proxy) = fronted_by(&site, "127.0.0.0/8").await;
    let purchase = Purchase::new();
    let callback = site.authorization(&purchase);
    let forwarded = callback.with_header("x-forwarded-proto", "https").with_header("x-forwarded-for", "203.0.113.7");

    assert_eq!(proxy.call(&forwarded).await.unwrap().status, 200);
    let seen = site.shop.request();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));

    let page = Callback::page("/").with_header("x-forwarded-proto", "HTTPS");
    assert_eq!(proxy.call(&page).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_listed_proxy_that_does_not_say_https_once_and_only_that_is_refused() {
    let site = Site::new().await;
    let (process, proxy) = fronted_by(&site, "127.0.0.0/8").await;
    let purchase = Purchase::new();
    for request in [site.authorization(&purchase), Callback::page("/")] {
        let said = |proto: &str| request.clone().with_header("x-forwarded-proto", proto);
        let twice = said("https").with_header("X-Forwarded-Proto", "http");
        for refused in [request.clone(), said("http"), said("https, http"), said("http, https"), said(""), twice] {
            assert_eq!(proxy.call(&refused).await.unwrap().status, 403, "{refused:?}");
        }
    }
    site.shop.saw(0);
    let refused = process.operator().metric("kallback_requests_refused_total", &[("why", "plain_http")]).await;
    assert_eq!(refused, 12.0);
}

#[tokio::test]
async fn nobody_else_is_served_there_whatever_they_say() {
    let site = Site::new().await;
    let (process, stranger) = fronted_by(&site, "192.0.2.0/24").await;
    let callback = site.authorization(&Purchase::new()).with_header("x-forwarded-proto", "https");
    let claiming = callback.clone().with_header("x-forwarded-for", "192.0.2.1");
    for refused in [&callback, &claiming] {
        assert_eq!(stranger.call(refused).await.unwrap().status, 403);
    }
    site.shop.saw(0);
    // Over TLS the same words are nobody's business.
    assert_eq!(site.somebody(&process).call(&callback).await.unwrap().status, 200);
    assert_eq!(site.shop.request().header_values("x-forwarded-proto"), [b"https"]);
}

#[tokio::test]
async fn without_a_listed_proxy_the_config_is_at_fault() {
    let site = Site::new().await;
    let mut command = site.command_of("check");
    let said = command.args(["--set", "server.listen_behind_tls=127.0.0.1:0"]).output().await.unwrap();
    assert_eq!(said.status.code(), Some(1));
    let words = String::from_utf8_lossy(&said.stderr) + String::from_utf8_lossy(&said.stdout);
    assert!(words.contains("no proxy is trusted"), "{words}");
}
