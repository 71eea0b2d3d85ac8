//! What an operator sets up: a folder with a config and certificates, in front of a shop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kallback::clock::Clock;
use kallback::event::Family;
use kallback::token::{self, Guard, Key, Ticket};
use tempfile::TempDir;
use tokio::process::Command;

use super::authority::Authority;
use super::callbacks::{Callback, Purchase};
use super::klarna::{Klarna, Limits};
use super::ledger_file::LedgerFile;
use super::process::{Process, kallback};
use super::shop::Shop;
use super::world::HOST;

/// The token key, as the config says it.
pub const KEY: &str = "6b616c6c6261636b206b616c6c6261636b206b616c6c6261636b206b616c6c62";

/// A set-up that the binary can be started on, again and again.
pub struct Site {
    pub shop: Shop,
    pub authority: Authority,
    folder: TempDir,
}

impl Site {
    /// A WooCommerce shop, a certificate for [`HOST`], and the config in `kallback.toml`.
    pub async fn new() -> Self {
        let site =
            Self { shop: Shop::woocommerce().await, authority: Authority::new(), folder: TempDir::new().unwrap() };
        site.renew_certificate();
        fs::write(site.config(), config(&site.shop)).unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path("kallback.toml")
    }

    pub fn ledger_file(&self) -> LedgerFile {
        LedgerFile::at(self.path("kallback.db"))
    }

    /// Puts other words into the config.
    pub fn edit(&self, words: &str, others: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(words), "the config has no {words}");
        fs::write(self.config(), text.replacen(words, others, 1)).unwrap();
    }

    /// Another certificate for the same name, in the same files.
    pub fn renew_certificate(&self) {
        self.authority.signs(&[HOST]).write(self.folder.path(), HOST);
    }

    /// `kallback` with that command, and this config.
    pub fn command_of(&self, name: &str) -> Command {
        let mut command = kallback();
        command.arg(name).arg("--config").arg(self.config());
        command
    }

    /// `kallback run` with this config and these options on top.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = self.command_of("run");
        for option in options {
            command.args(["--set", option]);
        }
        command
    }

    /// Starts it.
    pub async fn start(&self, options: &[&str]) -> Process {
        Process::start(self.command(options)).await
    }

    /// Klarna, calling a running kallback.
    pub fn klarna(&self, process: &Process) -> Klarna {
        Klarna::new(process.address, HOST, &self.authority)
    }

    /// The same with a minute of patience and one attempt.
    pub fn somebody(&self, process: &Process) -> Klarna {
        self.klarna(process).with_limits(Limits::PATIENT)
    }

    /// An authorization callback with its token.
    pub fn authorization(&self, purchase: &Purchase) -> Callback {
        self.signed(Callback::authorization(purchase), purchase)
    }

    /// A callback with its token.
    pub fn signed(&self, callback: Callback, purchase: &Purchase) -> Callback {
        signed(callback, purchase)
    }

    /// That token.
    pub fn token(&self, family: Family, purchase: &Purchase) -> String {
        token_of(family, purchase)
    }
}

/// A callback with the token of any site.
pub fn signed(callback: Callback, purchase: &Purchase) -> Callback {
    let family = callback.place.expect("a callback, and no page").family;
    callback.with_token(&token_of(family, purchase))
}

fn token_of(family: Family, purchase: &Purchase) -> String {
    let key = Key { id: 1, secret: KEY.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>().into() };
    let guard = Guard::new(token::Settings {
        parameter: "kallback".to_owned(),
        keys: vec![key],
        signing_keys: Vec::new(),
        sessions_per_token: 4,
    });
    let expires_at = Clock::system().now() + Duration::from_secs(72 * 3600);
    let ticket = Ticket { family, session: purchase.session.as_bytes(), expires_at };
    guard.mint(&ticket).unwrap()
}

fn byte(digits: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
}

fn config(shop: &Shop) -> String {
    let shop = shop.tcp();
    format!(
        r#"[server]
listen = ["127.0.0.1:0"]

[tls]
look_every = "1 h"

[[tls.certificates]]
certificate = "{HOST}.pem"
key = "{HOST}.key"

[shop]
url = "http://{shop}"

[callbacks]
presets = ["woocommerce"]

[token]
keys = ["1 {KEY}"]
mode = "enforce"

[ledger]
file = "kallback.db"

[admin]
listen = "127.0.0.1:0"

[log]
format = "text"

[life]
drain_delay = "0 s"
drain_timeout = "20 s"
"#
    )
}
