//! SIGHUP and changed files: what is good takes over at once, what is broken changes nothing.

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::process::Process;
use crate::support::site::Site;
use crate::support::world::HOST;

#[tokio::test]
async fn a_good_config_changes_modes_and_routes() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    let purchase = Purchase::new();
    let without_token = Callback::authorization(&purchase);
    let of_our_own = Callback::authorization(&purchase).with_target("/payment/push/4711");
    assert_eq!(status(&site, &kallback, &without_token).await, 403);
    assert_eq!(status(&site, &kallback, &of_our_own).await, 200);

    site.edit(r#"mode = "enforce""#, r#"mode = "observe""#);
    site.edit("[token]", OWN_ROUTE);
    kallback.hang_up();
    kallback.says("read again what=\"config\"").await;

    assert_eq!(status(&site, &kallback, &without_token).await, 200);
    assert_eq!(status(&site, &kallback, &of_our_own).await, 403);
    assert!(last_reload_successful(&kallback).await);
    kallback.stop().await;
}

const OWN_ROUTE: &str = r#"[[routes]]
name = "our_own"
path = "/payment/push/*"
kind = "push"
mode = "enforce"

[token]"#;

#[tokio::test]
async fn a_broken_config_changes_nothing_and_is_told() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    assert!(last_reload_successful(&kallback).await);

    site.edit(r#"mode = "enforce""#, "mode = \"off\"\nmood = \"bad\"");
    kallback.hang_up();
    let line = kallback.says("the last good one stays").await;

    assert!(line.contains("ERROR") && line.contains("kallback.toml:20:1") && line.contains("mood"), "{line}");
    assert!(!last_reload_successful(&kallback).await);
    let without_token = Callback::authorization(&Purchase::new());
    assert_eq!(status(&site, &kallback, &without_token).await, 403);

    site.edit("mood = \"bad\"", "");
    kallback.hang_up();
    kallback.says("read again what=\"config\"").await;
    assert!(last_reload_successful(&kallback).await);
    assert_eq!(status(&site, &kallback, &without_token).await, 200);
}

#[tokio::test]
async fn a_config_that_is_gone_changes_nothing() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    fs::remove_file(site.config()).unwrap();
    kallback.hang_up();
    let line = kallback.says("the last good one stays").await;
    assert!(line.contains("error=cannot read the config file"), "{line}");
    assert!(!last_reload_successful(&kallback).await);
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    site.edit(r#"listen = ["127.0.0.1:0"]"#, "listen = [\"127.0.0.1:0\", \"[::1]:0\"]\nthreads = 63");
    site.edit("[callbacks]", "max_in_flight = 7\n\n[callbacks]");
    site.edit(r#"file = "kallback.db""#, "file = \"other.db\"\nsweep_every = \"2 min\"\nadmit_within = \"400 ms\"");
    site.edit(r#"listen = "127.0.0.1:0""#, "listen = \"127.0.0.1:0\"\ntoken = \"an admin's token\"");
    site.edit(r#"format = "text""#, r#"format = "json""#);
    site.edit(r#"drain_delay = "0 s""#, r#"drain_delay = "1 s""#);
    kallback.hang_up();

    let line = kallback.says("takes effect after a restart").await;
    let (_, names) = line.split_once("restart: ").unwrap();
    let expected = "server.listen, server.workers or server.threads, shop.max_in_flight, ledger.file, \
                    ledger.sweep_every, admin.token or admin.token_file, log.format";
    assert_eq!(names, expected);
    assert!(line.contains("WARN"), "{line}");
    kallback.says("read again what=\"config\"").await;
}

#[tokio::test]
async fn a_reload_that_asks_for_nothing_else_warns_of_nothing() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    kallback.hang_up();
    kallback.says("read again what=\"config\"").await;
    assert!(!kallback.has_said("restart"));
}

#[tokio::test]
async fn a_new_drain_delay_holds_for_the_next_stop() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    site.edit(r#"drain_delay = "0 s""#, r#"drain_delay = "10 min""#);
    kallback.hang_up();
    kallback.says("read again what=\"config\"").await;
    kallback.terminate();
    kallback.says("draining").await;
    assert_eq!(status(&site, &kallback, &Callback::page("/")).await, 200);
    assert_eq!(kallback.status_of("/readyz").await, 503);
}

#[tokio::test]
async fn sighup_reads_the_certificates_again() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    assert_eq!(shown(&site, &kallback).await, on_disk(&site));

    site.renew_certificate();
    assert_ne!(shown(&site, &kallback).await, on_disk(&site));
    kallback.hang_up();
    kallback.says("read again what=\"config\"").await;

    assert_eq!(shown(&site, &kallback).await, on_disk(&site));
}

#[tokio::test]
async fn sighup_takes_certificates_that_the_config_did_not_name_before() {
    let site = Site::new().await;
    let mut kallback = site.start(&[]).await;
    site.authority.signs(&["other.example"]).write(site.folder(), "other");
    site.edit("[shop]", "[[tls.certificates]]\ncertificate = \"other.pem\"\nkey = \"other.key\"\n\n[shop]");
    kallback.hang_up();
    kallback.says("read again what=\"config\"").await;

    let other = site.klarna(&kallback).with_host("other.example");
    let answer = other.call(&Callback::page("/")).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_changed_certificate_is_noticed_and_a_broken_one_is_not_used() {
    let site = Site::new().await;
    let mut kallback = site.start(&["tls.look_every=1 s"]).await;
    let first = on_disk(&site);
    fs::write(site.path(&format!("{HOST}.pem")), "rubbish").unwrap();
    let line = kallback.says("the last good one stays what=\"certificates\"").await;
    assert_eq!(line.matches(HOST).count(), 1, "the file is named once: {line}");
    assert_eq!(shown(&site, &kallback).await, first);

    site.renew_certificate();
    kallback.says("read again what=\"certificates\"").await;
    assert_eq!(shown(&site, &kallback).await, on_disk(&site));
}

async fn status(site: &Site, kallback: &Process, callback: &Callback) -> u16 {
    site.somebody(kallback).call(callback).await.unwrap().status
}

async fn last_reload_successful(kallback: &Process) -> bool {
    kallback.operator().metric("kallback_config_last_reload_successful", &[]).await > 0.5
}

/// The certificate that callers see.
async fn shown(site: &Site, kallback: &Process) -> CertificateDer<'static> {
    site.somebody(kallback).connect().await.unwrap().certificate()
}

fn on_disk(site: &Site) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(site.path(&format!("{HOST}.pem"))).unwrap()
}
