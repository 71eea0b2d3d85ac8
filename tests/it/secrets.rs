//! No secret gets out: not by a log line at any level, a metric, a span, an error, a record, or a file that others may
//! read.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hmac::{Hmac, KeyInit, Mac};
use kallback::event::Family;
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::collector::Collector;
use crate::support::klarna::{Answered, Unanswered};
use crate::support::ledger_file::LedgerFile;
use crate::support::operator::told;
use crate::support::process::Process;
use crate::support::script::Act;
use crate::support::site::{KEY, Site};
use crate::support::world::HOST;

/// What stands in every secret place that is not a token of ours.
const MARK: &str = "sesame-4711-open";
const ADMIN_TOKEN: &str = "sesame-admin-token";
const SIGNING_KEY: &str = "sesame-signing-key";
const COLLECTOR_KEY: &str = "sesame-collector-key";

/// Parameters whose values are secrets or lead to one.
const SECRET_PARAMETERS: [&str; 12] = [
    "token",
    "secret",
    "secretToken",
    "security_token",
    "token_value",
    "kco_session_id",
    "s",
    "sid",
    "force_sid",
    "key",
    "hash",
    "authorization_token",
];

#[tokio::test]
async fn nothing_that_is_said_in_json_holds_a_secret() {
    tell_everything("json").await;
}

#[tokio::test]
async fn nothing_that_is_said_in_text_holds_a_secret() {
    tell_everything("text").await;
}

/// Everything that can happen to a callback happens, and everything that is said about it is searched.
async fn tell_everything(log_format: &str) {
    let mut story = Story::begin(log_format).await;
    story.deliveries().await;
    story.refusals().await;
    story.questions().await;
    story.webhooks().await;
    story.nonsense().await;
    story.a_broken_ledger().await;
    story.a_death().await;
    story.what_the_operator_sees().await;
    story.end(log_format).await;
}

struct Story {
    site: Site,
    process: Process,
    collector: Collector,
    /// What opens a callback, the admin listener, a signature or the collector.
    openers: Vec<String>,
    /// What else must not be said.
    secrets: Vec<String>,
    /// Where it was said, and what.
    said: Vec<(String, Vec<u8>)>,
}

impl Story {
    async fn begin(log_format: &str) -> Self {
        let site = Site::new().await;
        let webhooks = format!("[[webhooks.signing_keys]]\nid = \"key-1\"\nsecret = \"{SIGNING_KEY}\"\n\n[ledger]");
        site.edit("[ledger]", &webhooks);
        site.edit("[admin]", &format!("[admin]\ntoken = \"{ADMIN_TOKEN}\""));
        let options = [
            &format!("log.format={log_format}"),
            "log.filter=trace",
            "callbacks.presets=woocommerce,umbraco",
            "callbacks.kinds.notification.oldest=1 s",
            "ledger.admit_within=1 s",
        ];
        let collector = Collector::start().await;
        let mut command = site.command(&options);
        command.envs(collector.variables());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={COLLECTOR_KEY}"));
        let process = Process::start(command).await;
        let openers = [ADMIN_TOKEN, SIGNING_KEY, COLLECTOR_KEY, KEY, "kallback kallback"].map(str::to_owned).to_vec();
        Self { site, process, collector, openers, secrets: vec![MARK.to_owned()], said: Vec::new() }
    }

    /// A callback with its token and with a secret wherever there is room for one.
    fn laden(&mut self, callback: Callback, purchase: &Purchase) -> Callback {
        let callback = self.site.signed(callback, purchase);
        let token = callback.target.rsplit_once('=').unwrap().1.to_owned();
        self.openers.push(token);
        self.secrets.push(purchase.authorization_token.clone());
        load(callback)
    }

    async fn call(&mut self, callback: &Callback) -> Result<Answered, Unanswered> {
        let outcome = self.site.somebody(&self.process).call(callback).await;
        if let Ok(Answered { status: 400.., headers, body, .. }) = &outcome
            && !headers.iter().any(|(name, _)| name == "x-from-the-shop")
        {
            let lines: Vec<u8> = headers.iter().flat_map(|(_, value)| value.clone()).collect();
            self.said
                .push((format!("the answer to {} {}", callback.method, callback.target), [&lines[..], body].concat()));
        }
        outcome
    }

    async fn status(&mut self, callback: &Callback) -> u16 {
        self.call(callback).await.unwrap().status
    }

    async fn deliveries(&mut self) {
        let shop_says = |status: u16| {
            let act = Act::reply(status).header("set-cookie", format!("s={MARK}")).header("x-from-the-shop", "yes");
            act.reason(format!("Reason {MARK}")).body(format!(r#"{{"client_token":"{MARK}"}}"#))
        };
        for callback in [Callback::authorization, Callback::push, Callback::notification, Callback::session_status] {
            let purchase = Purchase::new();
            let callback = self.laden(callback(&purchase), &purchase);
            self.site.shop.next(shop_says(200));
            assert_eq!(self.status(&callback).await, 200, "{}", callback.target);
            assert_eq!(self.status(&callback).await, 200, "{}", callback.target);
        }
        let acts = [shop_says(500), shop_says(404), Act::wordfence().header("x-by", MARK), Act::maintenance()];
        let breaks = [Act::close(), Act::reset(), Act::raw(format!("HTTP/1.1 2oo {MARK}\r\n\r\n"))];
        let torn = shop_says(200).cut_after(60);
        for act in acts.into_iter().chain(breaks).chain([torn]) {
            for callback in [Callback::authorization, Callback::push] {
                let purchase = Purchase::new();
                let callback = self.laden(callback(&purchase), &purchase);
                self.site.shop.next(act.clone());
                self.call(&callback).await.unwrap();
            }
        }
    }

    async fn refusals(&mut self) {
        let purchase = Purchase::new();
        let callback = load(Callback::authorization(&purchase));
        let right = self.site.token(Family::Payments, &purchase);
        let checkout = self.site.token(Family::Checkout, &purchase);
        let guess = "1".to_owned() + &"e".repeat(63);
        self.openers.extend([right.clone(), checkout.clone(), guess.clone()]);
        self.secrets.push(purchase.authorization_token.clone());
        for refused in [
            callback.clone(),
            callback.clone().with_token(MARK),
            callback.clone().with_token(&guess),
            callback.clone().with_token(&right.to_uppercase()),
            callback.clone().with_token(&checkout),
            callback.clone().with_token(&right).with_token(&right),
        ] {
            assert_eq!(self.status(&refused).await, 403);
        }
        for number in 0..5 {
            let another = Callback::authorization(&Purchase::new()).with_token(&right);
            assert_eq!(self.status(&another).await, if number < 4 { 200 } else { 403 });
        }
    }

    async fn questions(&mut self) {
        let location = format!("/?cl=basket&force_sid={MARK}&klarnaInvalid=1");
        for act in [
            Act::minus_one(200),
            Act::minus_one(303).header("location", &location),
            Act::minus_one(303).header("x-no-location", MARK),
            Act::minus_one(301).header("location", format!("https://www.{HOST}/wc-api/KCO_WC_Validation/?s={MARK}")),
            Act::reply(400).header("x-from-the-shop", "yes").body(format!(r#"{{"error_text":"{MARK}"}}"#)),
            Act::wordfence().header("x-from-the-shop", "yes"),
            Act::reset(),
        ] {
            let purchase = Purchase::new();
            let question = self.laden(Callback::validation(&purchase), &purchase);
            self.site.shop.next(act);
            self.call(&question).await.unwrap();
        }
    }

    async fn webhooks(&mut self) {
        let webhook = load(Callback::webhook(&Purchase::new()));
        let mut mac = Hmac::<Sha256>::new_from_slice(SIGNING_KEY.as_bytes()).unwrap();
        mac.update(&webhook.body);
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.secrets.push(signature.clone());
        let signed = webhook.with_header("klarna-signing-key-id", "key-1").with_header("klarna-signature", &signature);
        assert_eq!(self.status(&signed).await, 200);
        assert_eq!(self.status(&signed.clone().with_body(MARK)).await, 403);
        assert_eq!(
            self.status(&signed.without_header("klarna-signature").with_header("klarna-signature", MARK)).await,
            403
        );
    }

    /// What is refused for its form, and what is no HTTP at all.
    async fn nonsense(&mut self) {
        let purchase = Purchase::new();
        let callback = self.laden(Callback::authorization(&purchase), &purchase);
        let large = "x".repeat(2 << 20);
        assert_eq!(self.status(&callback.clone().with_body(format!("{MARK}{large}"))).await, 413);
        assert_eq!(
            self.status(&callback.clone().with_header("cookie", &(MARK.to_owned() + &large[..64 << 10]))).await,
            431
        );
        assert_eq!(self.status(&callback.clone().with_header("content-length", MARK)).await, 400);
        assert_eq!(self.status(&callback.clone().with_header("host", MARK)).await, 400);
        assert_eq!(self.status(&callback.clone().with_method("CONNECT")).await, 400);
        let form = Callback::page(&format!("/checkout?sid={MARK}")).with_method("POST");
        let form = form.with_header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(self.status(&form.with_body(format!("wc-api=kp_wc_authorization&x={MARK}"))).await, 403);
        let page = load(Callback::page("/?kco_confirm=yes"));
        assert_eq!(self.status(&page).await, 200);
        // For this page alone: a redelivery may come in between.
        self.site.shop.next_for("kco_confirm", Act::raw(format!("{MARK}\r\n\r\n")));
        assert_eq!(self.status(&page).await, 502);

        let mut plain = TcpStream::connect(self.process.address).await.unwrap();
        plain.write_all(&callback.bytes(HOST)).await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        self.said.push(("the answer to plain text".to_owned(), answer));
        let stranger = self.site.klarna(&self.process).with_host(&format!("{MARK}.example"));
        assert!(stranger.call(&callback).await.is_err());
    }

    async fn a_broken_ledger(&mut self) {
        let file = LedgerFile::at(self.site.path("kallback.db"));
        file.spoil();
        for callback in [Callback::authorization, Callback::push] {
            let purchase = Purchase::new();
            let callback = self.laden(callback(&purchase), &purchase);
            assert_eq!(self.status(&callback).await, 200);
        }
        file.mend();
        self.process.says("the ledger failed").await;
    }

    /// It lives for a second, so that its first failure is its end.
    async fn a_death(&mut self) {
        self.site.shop.go_down().await;
        let purchase = Purchase::new();
        let callback = self.laden(Callback::notification(&purchase), &purchase);
        let dead = Callback::page("/callbacks?state=dead").with_header("authorization", &bearer(ADMIN_TOKEN));
        // The ledger needs a moment to see that it is mended.
        while self.process.operator().call(&dead).await.json()["callbacks"] == json!([]) {
            assert_eq!(self.status(&callback).await, 502);
        }
        self.process.says("notice given up").await;
        self.site.shop.come_back().await;
    }

    async fn what_the_operator_sees(&mut self) {
        let operator = self.process.operator();
        let known = bearer(ADMIN_TOKEN);
        let mut records = 0;
        for id in 1..=200 {
            let page = Callback::page(&format!("/callbacks/{id}")).with_header("authorization", &known);
            let answer = operator.call(&page).await;
            records += usize::from(answer.status == 200);
            self.said.push((page.target, answer.body));
        }
        assert!(records > 20, "{records} records");
        let mint = json!({ "family": "payments", "session": Purchase::new().session });
        let minted = operator.call(&told("/tokens", &mint).with_header("authorization", &known)).await;
        self.openers.push(minted.json()["token"].as_str().unwrap().to_owned());
        for (words, status) in [(json!({ "x": MARK }), 400), (json!({ "even_if_old": true }), 202)] {
            let replay = told("/callbacks/1/replay", &words).with_header("authorization", &known);
            let answer = operator.call(&replay).await;
            assert_eq!(answer.status, status);
            self.said.push((replay.target, answer.body));
        }
        let wrong_words = json!({ "family": MARK, "session": MARK });
        for request in [
            Callback::page("/callbacks?limit=100"),
            Callback::page("/counts"),
            Callback::page("/metrics"),
            Callback::page(&format!("/callbacks?state={MARK}")),
            Callback::page(&format!("/callbacks?subject={MARK}")),
            Callback::page(&format!("/callbacks/{MARK}")),
            told("/tokens", &wrong_words),
            told("/acknowledgements", &json!({ "order_id": MARK })),
        ] {
            let answer = operator.call(&request.clone().with_header("authorization", &known)).await;
            self.said.push((request.target.clone(), answer.body));
            let stranger = operator.call(&request.with_header("authorization", &bearer(MARK))).await;
            self.said.push(("a stranger at the admin listener".to_owned(), stranger.body));
        }
        self.process.hang_up();
        self.process.says("read again").await;
    }

    async fn end(self, log_format: &str) {
        let Self { site, process, collector, openers, secrets, mut said } = self;
        let log = process.last_words().await;
        for line in [
            "callback answered",
            "token refused",
            "notice given up",
            "the ledger failed",
            "suspicious reply",
            "left to the sender",
            "attempt failed",
            "blocked by wordfence-waf",
            "TLS handshake",
            "request refused",
            "traffic answered",
        ] {
            assert!(log.contains(line), "it was never logged that `{line}`:\n{log}");
        }
        if log_format == "json" {
            assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
        }
        said.push(("the log".to_owned(), log.into_bytes()));
        let spans = collector.spans();
        assert!(spans.len() > 100, "{} spans", spans.len());
        let exports = collector.server.requests().into_iter();
        said.extend(exports.map(|seen| ("a span".to_owned(), seen.body)));
        for (place, words) in &said {
            let words = String::from_utf8_lossy(words).to_lowercase();
            for secret in openers.iter().chain(&secrets).map(|secret| secret.to_lowercase()) {
                let found = words.find(&secret);
                let around = found.map(|at| words[at.saturating_sub(200)..].chars().take(300).collect::<String>());
                assert_eq!(around, None, "{secret} in {place}");
            }
        }
        assert_private(&site, &openers);
    }
}

/// Customers' data and the shop's replies have to lie in the ledger for a while, but nobody else may read it, and
/// what opens a callback does not lie there at all.
fn assert_private(site: &Site, openers: &[String]) {
    let files: Vec<_> = fs::read_dir(site.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let ledger = files.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("kallback.db"));
    assert!(openers.len() > 20);
    let mut number = 0;
    for path in ledger {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has the mode {mode:o}", path.display());
        let bytes = fs::read(path).unwrap();
        for secret in openers {
            assert_eq!(memchr::memmem::find(&bytes, secret.as_bytes()), None, "{secret} in {}", path.display());
        }
        number += 1;
    }
    assert!(number > 0, "there is a ledger");
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Puts secrets into the query, the headers and the body.
fn load(callback: Callback) -> Callback {
    let callback = SECRET_PARAMETERS.iter().fold(callback, |callback, name| callback.with_parameter(name, MARK));
    let names =
        ["authorization", "cookie", "x-api-key", "klarna-correlation-id", "referer", "x-forwarded-for", "traceparent"];
    let callback = names.iter().fold(callback, |callback, name| callback.with_header(name, MARK));
    let callback = callback.with_header("tracestate", &format!("a={MARK}"));
    let body = String::from_utf8(callback.body.clone()).unwrap();
    let more = format!(
        r#","client_token":"{MARK}","klarna_network_session_token":"{MARK}","customer":{{"email":"{MARK}@example.org"}},"merchant_urls":{{"push":"https://{HOST}/?kallback={MARK}"}}}}"#
    );
    match body.strip_suffix('}') {
        Some(start) => callback.with_body(start.to_owned() + &more),
        None => callback,
    }
}
