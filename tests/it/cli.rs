//! The commands that ask or tell and end, with the real binary.

use std::fs;

use serde_json::Value;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::process::{kallback, told};
use crate::support::script::Act;
use crate::support::site::Site;

#[tokio::test]
async fn check_tells_all_faults_at_once_with_their_places() {
    let site = Site::new().await;
    site.edit(r#"listen = ["127.0.0.1:0"]"#, r#"lisen = ["127.0.0.1:0"]"#);
    site.edit(r#"drain_delay = "0 s""#, r#"drain_delay = "5 parsecs""#);
    site.edit(r#"presets = ["woocommerce"]"#, r#"presets = ["woocomerce"]"#);

    let (code, out, err) = told(site.command_of("check").args(["--set", "shop.max_in_flight=many"])).await;

    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.ends_with("4 faults in the config\n"), "{err}");
    for [message, place, hint] in [
        ["no option `lisen` in [server]", "kallback.toml:2:1", "did you mean `listen`?"],
        ["woocomerce", "kallback.toml:15:12", "woocommerce"],
        ["5 parsecs", "kallback.toml:31:15", "500 ms"],
        ["many", "flag shop.max_in_flight", "from 0 to"],
    ] {
        let fault = err.split("error: ").find(|fault| fault.contains(message));
        let fault = fault.unwrap_or_else(|| panic!("no fault says {message}:\n{err}"));
        assert!(fault.contains(place) && fault.contains(hint), "{place}, {hint}: {fault}");
    }
}

#[tokio::test]
async fn check_tells_programs_the_same() {
    let site = Site::new().await;
    let (code, out, err) = told(site.command_of("check").arg("--json")).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let sound: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&sound["ok"], &sound["listen"][0]), (&true.into(), &"127.0.0.1:0".into()));

    site.edit("[life]", "[life]\ndrain_dealy = \"1 s\"");
    let (code, out, err) = told(site.command_of("check").arg("--json")).await;
    assert_eq!((code, err.as_str()), (1, ""));
    let faulty: Value = serde_json::from_str(&out).unwrap();
    let fault = &faulty["faults"][0];
    assert_eq!(
        (&fault["line"], &fault["column"], &fault["option"]),
        (&31.into(), &1.into(), &"life.drain_dealy".into())
    );
    assert_eq!(fault["hint"], "did you mean `drain_delay`?");
}

#[tokio::test]
async fn the_environment_and_flags_go_before_the_file() {
    let site = Site::new().await;
    let shop = |out: &str| serde_json::from_str::<Value>(out).unwrap()["shop"].as_str().unwrap().to_owned();
    let mut command = site.command_of("check");
    command.arg("--json").env("KALLBACK_SHOP__URL", "http://environment.example");
    assert_eq!(shop(&told(&mut command).await.1), "http://environment.example:80");
    command.args(["--shop", "http://flag.example"]);
    assert_eq!(shop(&told(&mut command).await.1), "http://flag.example:80");
}

#[tokio::test]
async fn a_minted_token_opens_the_door_and_is_inspected_as_good() {
    let site = Site::new().await;
    site.shop.always(Act::reply(200));
    let purchase = Purchase::new();
    let url = "https://shop.example/wc-api/KP_WC_AUTHORIZATION";
    let mint = ["mint", "--family", "payments", "--session", &purchase.session, "--url", url];
    let (code, out, err) = told(site.command_of("token").args(mint)).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let target = out.trim_end().strip_prefix("https://shop.example").unwrap();

    let kallback = site.start(&[]).await;
    let callback = Callback::authorization(&purchase).with_target(target);
    assert_eq!(site.somebody(&kallback).call(&callback).await.unwrap().status, 200);

    let (code, out, _) = told(site.command_of("token").args(["inspect", out.trim_end()])).await;
    assert_eq!(code, 0);
    assert!(out.contains("family   payments") && out.contains("verdict  good"), "{out}");
    let (code, out, _) = told(site.command_of("token").args(["inspect", &"1".repeat(64)])).await;
    assert_eq!(code, 1);
    assert!(out.contains("verdict  refused: "), "{out}");
}

#[tokio::test]
async fn a_healthcheck_says_whether_kallback_is_ready() {
    let site = Site::new().await;
    let mut running = site.start(&["life.drain_delay=10 min"]).await;
    let mut by_address = kallback();
    by_address.args(["healthcheck", "--address", &running.admin.to_string()]);
    let mut by_config = site.command_of("healthcheck");
    by_config.args(["--admin-listen", &running.admin.to_string()]);
    for command in [&mut by_address, &mut by_config] {
        assert_eq!(told(command).await, (0, "ready\n".to_owned(), String::new()));
    }
    running.terminate();
    running.says("draining").await;
    let (code, out, err) = told(&mut by_address).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, format!("error: not ready: {} answers 503\n", running.admin));

    running.terminate();
    running.ended().await;
    let (code, _, err) = told(&mut by_address).await;
    assert!(code == 1 && err.starts_with("error: not ready: no answer from "), "{err}");
}

#[tokio::test]
async fn the_help_names_every_command_and_every_command_has_help() {
    let (code, help, err) = told(kallback().arg("--help")).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let commands =
        ["run", "check", "callbacks", "token", "init", "demo", "explain", "trigger", "doctor", "healthcheck", "top"];
    for command in commands {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {help}");
    }
    for command in
        commands.map(|command| vec![command]).into_iter().chain([vec!["token", "mint"], vec!["token", "inspect"]])
    {
        let (code, help, err) = told(kallback().args(&command).arg("--help")).await;
        assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
        assert!(help.contains(&format!("Usage: kallback {}", command.join(" "))), "{help}");
    }
    let (code, version, _) = told(kallback().arg("--version")).await;
    assert_eq!((code, version), (0, format!("kallback {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn a_wrong_command_line_is_another_failure_than_a_wrong_config() {
    for line in [&["run", "--nonsense"][..], &["rnu"], &["token", "mint"], &["demo", "--seconds", "soon"]] {
        let (code, out, err) = told(kallback().args(line)).await;
        assert_eq!((code, out.as_str()), (2, ""), "{line:?}: {err}");
        assert!(err.contains("--help"), "{err}");
    }
}

#[tokio::test]
async fn a_demo_that_is_cut_short_fails_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = told(kallback().args(["demo", "--seconds", "1"]).env("TMPDIR", folder.path())).await;
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("NOT SHOWN to its end: a stampede."), "{out}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
