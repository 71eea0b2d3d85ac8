//! From nothing to a guarded callback: `kallback init`, then `check` and `run` on what it wrote.

use std::fs;
use std::path::Path;
use std::process::Output;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::Klarna;
use crate::support::process::{Process, kallback};
use crate::support::script::Act;
use crate::support::shop::Shop;
use crate::support::time::patiently;

#[tokio::test]
async fn a_config_from_init_runs_and_lets_nothing_but_signed_callbacks_through() {
    let (folder, shop) = (TempDir::new().unwrap(), Shop::woocommerce().await);
    shop.always(Act::reply(200));
    let config = folder.path().join("kallback.toml");
    let (code, out, err) = told(&mut init(folder.path(), &format!("http://{}", shop.tcp()))).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["platform"], &summary["name"]), (&"woocommerce".into(), &"shop.example".into()));
    assert_eq!(summary["config"], config.to_str().unwrap());
    assert_eq!(summary["next"].as_array().unwrap().len(), 3);

    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("certificate = \"development.crt\""), "the folder can be moved: {text}");

    let (code, out, err) = told(kallback().arg("check").arg("--config").arg(&config)).await;
    assert_eq!((code, err.as_str()), (0, ""), "nothing is to be warned of");
    assert!(out.contains("127.0.0.1:8443"), "{out}");

    let mut run = kallback();
    run.arg("run").arg("--config").arg(&config).args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let running = Process::start(run).await;
    let certificate = CertificateDer::from_pem_file(summary["certificate"].as_str().unwrap()).unwrap();
    let klarna = Klarna::plain(running.address).with_host("shop.example").trusting(certificate);
    let callback = Callback::authorization(&Purchase::new());
    assert_eq!(klarna.call(&callback).await.unwrap().status, 403);
    let signed = callback.with_target(&with_token(&config).await);
    assert_eq!(klarna.call(&signed).await.unwrap().status, 200);
    assert!(folder.path().join("data/kallback.db").exists());
    running.stop().await;
}

#[tokio::test]
async fn without_a_terminal_nothing_is_asked_and_all_that_is_missing_is_named() {
    let folder = TempDir::new().unwrap();
    let (code, out, err) = told(kallback().arg("init").arg("--folder").arg(folder.path())).await;
    assert_eq!((code, out.as_str()), (2, ""));
    for flag in ["--shop", "--platform", "--name", "--certificate", "--key", "--development-certificate"] {
        assert!(err.contains(flag), "{err}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_second_init_changes_nothing() {
    let folder = TempDir::new().unwrap();
    assert_eq!(told(&mut init(folder.path(), "http://127.0.0.1:8080")).await.0, 0);
    let keys = fs::read(folder.path().join("token.keys")).unwrap();
    let (code, out, err) = told(&mut init(folder.path(), "http://127.0.0.1:9999")).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("kallback.toml and ") && err.contains("nothing was changed"), "{err}");
    assert_eq!(fs::read(folder.path().join("token.keys")).unwrap(), keys);
}

fn init(folder: &Path, shop: &str) -> Command {
    let mut command = kallback();
    command.args(["init", "--json", "--development-certificate", "--shop", shop]);
    command.args(["--platform", "woocommerce", "--name", "shop.example", "--folder"]).arg(folder);
    command
}

/// The target of an authorization callback, with a token of the config's key.
async fn with_token(config: &Path) -> String {
    let mut mint = kallback();
    mint.arg("token").arg("--config").arg(config);
    mint.args(["mint", "--family", "payments", "--session", "s-1"]);
    mint.args(["--url", "https://shop.example/wc-api/KP_WC_AUTHORIZATION"]);
    let (code, url, err) = told(&mut mint).await;
    assert_eq!((code, err.as_str()), (0, ""));
    url.trim_end().strip_prefix("https://shop.example").unwrap().to_owned()
}

/// Runs a command to its end: its exit code, output and errors.
async fn told(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = patiently("the command's end", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}
