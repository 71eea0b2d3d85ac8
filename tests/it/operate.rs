//! `kallback callbacks` and `kallback top`, the real binary at a real gateway.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::process::{Process, kallback};
use crate::support::pty::AtTerminal;
use crate::support::script::Act;
use crate::support::site::Site;
use crate::support::time::patiently;

/// A gateway with four callbacks: 1 is settled, 2 left to the sender, 3 dead and too old, 4 blocked and pending.
struct Afternoon {
    site: Site,
    kallback: Process,
    purchases: [Purchase; 4],
}

impl Afternoon {
    async fn passes() -> Self {
        let site = Site::new().await;
        // What cannot live for ten seconds more after its first attempt is dead at once.
        let kallback = site.start(&["callbacks.kinds.notification.oldest=1 s"]).await;
        let purchases = [(); 4].map(|()| Purchase::new());
        let klarna = site.somebody(&kallback);
        let failure = || Act::reply(500);
        for (number, act) in [Some(Act::minus_one(200)), Some(failure()), Some(failure()), None].into_iter().enumerate()
        {
            match act {
                Some(act) => site.shop.next(act),
                None => site.shop.always_for("/", Act::wordfence()),
            }
            let purchase = &purchases[number];
            let callback = if number == 2 { Callback::notification(purchase) } else { Callback::push(purchase) };
            klarna.call(&site.signed(callback, purchase)).await.unwrap();
        }
        let operator = kallback.operator();
        for (id, state) in [(1, "settled"), (2, "left"), (3, "dead"), (4, "pending")] {
            operator.wait_for_callback(id, state, |record| record["state"] == state).await;
        }
        operator.wait_for_callback(3, "too old", |record| record["replay"] == "old").await;
        operator.wait_for_callback(4, "blocked", |record| record["blocked_by"] == "wordfence-waf").await;
        Self { site, kallback, purchases }
    }

    /// What a command says that asks this gateway.
    async fn says(&self, arguments: &[&str]) -> Said {
        let mut command = kallback();
        said(command.args(arguments).args(["--admin", &self.kallback.admin.to_string()])).await
    }

    /// The numbers that `callbacks list` prints.
    async fn numbers(&self, filters: &[&str]) -> Vec<i64> {
        let said = self.says(&[&["callbacks", "list", "--json"], filters].concat()).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{filters:?}");
        said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect()
    }
}

/// How a command ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

async fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = patiently("the command's end", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

#[tokio::test]
async fn callbacks_are_listed_by_what_somebody_looks_for() {
    let afternoon = Afternoon::passes().await;
    let order = afternoon.purchases[1].order.as_str();
    for (filters, numbers) in [
        (&[][..], &[4, 3, 2, 1][..]),
        (&["--undelivered"], &[4, 3, 2]),
        (&["--state", "dead"], &[3]),
        (&["--kind", "push", "--state", "settled"], &[1]),
        (&["--order", order], &[2]),
        (&["--session", order], &[2]),
        (&["--older-than", "1h"], &[]),
        (&["--younger-than", "1h", "--undelivered", "--kind", "push"], &[4, 2]),
        (&["--limit", "2"], &[4, 3]),
    ] {
        assert_eq!(afternoon.numbers(filters).await, numbers, "{filters:?}");
    }

    let said = afternoon.says(&["callbacks", "list", "--undelivered"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.out);
    assert!(lines[0].split_whitespace().eq("NUMBER KIND STATE AGE TOOK ATTEMPTS SHOP ABOUT LAST ATTEMPT".split(' ')));
    assert!(lines[1].contains("pending") && lines[1].contains("blocked by wordfence-waf"), "{}", said.out);
    assert!(lines[3].contains(" left ") && lines[3].contains(order), "{}", said.out);
    assert!(!said.out.contains('\x1b'), "colours are for terminals");
    let said = afternoon.says(&["callbacks", "list", "--limit", "1"]).await;
    assert_eq!(said.err, "there are more; say --limit\n");
    let said = afternoon.says(&["callbacks", "list", "--order", "nobody's"]).await;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", "no callbacks that fit\n"));
}

#[tokio::test]
async fn more_callbacks_than_one_page_holds_are_all_listed() {
    let site = Site::new().await;
    site.shop.always_for("/", Act::minus_one(200));
    let running = site.start(&["admin.page_records_max=2"]).await;
    for _ in 0..5 {
        let purchase = Purchase::new();
        let answer = site.somebody(&running).call(&site.authorization(&purchase)).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let admin = running.admin.to_string();
    let listed = async |limit: &str| {
        let mut command = kallback();
        said(command.args(["callbacks", "list", "--json", "--admin", &admin, "--limit", limit]))
            .await
            .out
            .lines()
            .count()
    };
    assert_eq!([listed("100").await, listed("5").await, listed("3").await, listed("2").await], [5, 5, 3, 2]);
}

#[tokio::test]
async fn one_callback_is_shown_with_who_blocked_it_and_what_to_do() {
    let afternoon = Afternoon::passes().await;
    let said = afternoon.says(&["callbacks", "show", "4"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for (name, part) in [
        ("state", "pending"),
        ("kind", "push, by the rule `woocommerce push KCO_WC_Push`"),
        ("about", &afternoon.purchases[3].order),
        ("ended", "not yet; the sender waits 5.0 s"),
        ("shop said", "403"),
        ("blocked by", "wordfence-waf"),
        ("what to do", "Wordfence"),
        ("replay", "not possible: kallback brings it by itself"),
        ("what happened", "attempt 1: unreached after "),
    ] {
        let line = said.out.lines().find(|line| line.starts_with(&format!("{name:<13}")));
        assert!(line.is_some_and(|line| line.contains(part)), "{name}: {part}\n{}", said.out);
    }
    assert!(said.out.contains("its sender was answered 204 (accepted) after "), "{}", said.out);
    let said = afternoon.says(&["callbacks", "show", "3"]).await;
    assert!(said.out.contains("kallback callbacks replay 3 --even-if-old"), "{}", said.out);
    let said = afternoon.says(&["callbacks", "show", "1", "--json"]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&told["id"], &told["state"], &told["status"]), (&1.into(), &"settled".into(), &200.into()));
    let said = afternoon.says(&["callbacks", "show", "77"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.starts_with("error: there is no callback 77 (any more)"), "{}", said.err);
}

#[tokio::test]
async fn a_replay_says_what_would_happen_refuses_what_is_old_and_asks_nobody_who_is_not_there() {
    let afternoon = Afternoon::passes().await;
    let replay = async |arguments: &[&str]| afternoon.says(&[&["callbacks", "replay"], arguments].concat()).await;

    let said = replay(&["2", "--dry-run"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.starts_with("2 (push, ") && said.out.ends_with("would be brought\n"), "{}", said.out);
    let said = replay(&["3", "--dry-run"]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.contains("not brought: it is older than its kind may become"), "{}", said.out);
    let said = replay(&["3", "--yes"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    let said = replay(&["--undelivered", "--dry-run", "--even-if-old", "--json"]).await;
    let told: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = |id: i64, obstacle: Value| json!({ "id": id, "replayed": false, "dry_run": true, "obstacle": obstacle });
    assert_eq!((said.code, told), (0, vec![step(4, "pending".into()), step(3, Value::Null), step(2, Value::Null)]));
    let said = replay(&["2"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("--yes") && said.err.contains("--dry-run"), "{}", said.err);
    for wrong in [&[][..], &["2", "--undelivered"], &["--state", "lost"], &["--kind", "validation"], &["x"]] {
        assert_eq!(replay(wrong).await.code, 2, "{wrong:?}");
    }
    assert_eq!(replay(&["77", "--yes"]).await.code, 1);

    assert_eq!(afternoon.numbers(&["--state", "left"]).await, [2], "nothing was changed until now");
    assert_eq!(afternoon.numbers(&["--state", "dead"]).await, [3]);
}

#[tokio::test]
async fn a_replay_brings_callbacks_to_the_shop_once_more() {
    let afternoon = Afternoon::passes().await;
    afternoon.site.shop.always_for("/", Act::minus_one(200));
    let operator = afternoon.kallback.operator();

    let said = afternoon.says(&["callbacks", "replay", "2", "--yes"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.ends_with("is brought\n"), "{}", said.out);
    operator.wait_for_callback(2, "settled", |record| record["state"] == "settled").await;

    let said = afternoon.says(&["callbacks", "replay", "--state", "dead", "--even-if-old", "--yes", "--json"]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told, json!({ "id": 3, "replayed": true, "dry_run": false, "obstacle": null }));
    operator.wait_for_callback(3, "settled", |record| record["state"] == "settled").await;
    let of_three = afternoon.site.shop.requests().into_iter().filter(|seen| seen.body == afternoon_body(&afternoon));
    assert_eq!(of_three.count(), 2);
}

#[tokio::test]
async fn somebody_at_a_terminal_is_asked_first_and_no_means_no() {
    let afternoon = Afternoon::passes().await;
    afternoon.site.shop.always_for("/", Act::minus_one(200));
    let admin = afternoon.kallback.admin.to_string();
    for (answer, code, state) in [("n", 1, "left"), ("", 1, "left"), ("y", 0, "settled")] {
        let mut command = kallback();
        let mut terminal = AtTerminal::start(command.args(["callbacks", "replay", "2", "--admin", &admin]));
        terminal.until("Bring this callback to the shop again? [y/N] ").await;
        assert!(terminal.written.contains("2 (push, "), "{}", terminal.written);
        terminal.press(&format!("{answer}\n"));
        assert_eq!(terminal.ended().await.0, code, "{answer}: {}", terminal.written);
        let operator = afternoon.kallback.operator();
        operator.wait_for_callback(2, state, |record| record["state"] == state).await;
    }
}

#[tokio::test]
async fn top_gives_the_terminal_back_however_it_ends() {
    let afternoon = Afternoon::passes().await;
    let admin = afternoon.kallback.admin.to_string();
    for end in ["q", "\x03", "told"] {
        let mut command = kallback();
        let mut terminal = AtTerminal::start(command.args(["top", "--admin", &admin]));
        terminal.until("q quit").await;
        assert!(terminal.written.contains("\x1b[?1049h") && terminal.written.contains("\x1b[31mdead"));
        if end == "told" {
            terminal.terminate();
        } else {
            terminal.press(end);
        }
        terminal.until("\x1b[?1049l").await;
        assert!(terminal.written.contains("\x1b[?25h"), "the cursor is there again");
        assert_eq!(terminal.ended().await, (0, true), "{end:?}");
    }
}

#[tokio::test]
async fn without_colours_top_still_draws() {
    let afternoon = Afternoon::passes().await;
    let mut command = kallback();
    command.args(["top", "--admin", &afternoon.kallback.admin.to_string()]).env("NO_COLOR", "1");
    let mut terminal = AtTerminal::start(&mut command);
    terminal.until("q quit").await;
    assert!(terminal.written.contains("blocked by wordfence-waf 1") && !terminal.written.contains("\x1b[31m"));
    terminal.press("f");
    terminal.until("f show: undelivered").await;
    terminal.press("q");
    assert_eq!(terminal.ended().await, (0, true));
}

/// What Klarna said in callback 3.
fn afternoon_body(afternoon: &Afternoon) -> Vec<u8> {
    Callback::notification(&afternoon.purchases[2]).body
}

#[tokio::test]
async fn without_a_terminal_top_takes_one_look() {
    let afternoon = Afternoon::passes().await;
    let said = afternoon.says(&["top"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines[0].starts_with(&format!("kallback at {}", afternoon.kallback.admin)), "{}", said.out);
    assert!(lines[1].starts_with("pending 1, the oldest ") && lines[1].contains("dead 1   left 1   settled 1"));
    assert_eq!(lines[2], "blocked by wordfence-waf 1");
    let numbers: Vec<_> = lines[5..].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(numbers, ["4", "3", "2", "1"]);
    assert!(!said.out.contains('\x1b'));
    let said = afternoon.says(&["top", "--json"]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&told["counts"]["dead"], &told["callbacks"][3]["id"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn who_cannot_be_asked_and_who_may_not_ask_is_told_what_to_do() {
    let site = Site::new().await;
    let token = "an admin token that only the tests know";
    fs::write(site.path("admin.token"), format!("{token}\n")).unwrap();
    fs::write(site.path("wrong.token"), "another one").unwrap();
    site.edit("[admin]", "[admin]\ntoken_file = \"admin.token\"");
    let running = site.start(&[]).await;
    let admin = running.admin.to_string();
    let list = async |arguments: &[&str]| {
        let mut command = kallback();
        said(command.args(["callbacks", "list", "--admin", &admin]).args(arguments)).await
    };
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();

    let said_without = list(&[]).await;
    assert_eq!((said_without.code, said_without.out.as_str()), (1, ""));
    assert!(said_without.err.contains("wants an admin token: say --admin-token-file"), "{}", said_without.err);
    let wrong = list(&["--admin-token-file", &path("wrong.token")]).await;
    assert!(wrong.code == 1 && wrong.err.contains("wants another admin token"), "{}", wrong.err);
    assert!(!wrong.err.contains("another one"));
    let missing = list(&["--admin-token-file", &path("no.token")]).await;
    assert!(missing.code == 1 && missing.err.contains("cannot read the admin token"), "{}", missing.err);
    for right in [["--admin-token-file", &path("admin.token")], ["--config", &path("kallback.toml")]] {
        let said = list(&right).await;
        assert_eq!((said.code, said.err.as_str()), (0, "no callbacks\n"), "{right:?}");
    }

    let mut shop = kallback();
    let shop = said(shop.args(["top", "--admin", &site.shop.tcp().to_string()])).await;
    assert!(shop.code == 1 && shop.err.contains("does not answer as an admin listener"), "{}", shop.err);
    running.stop().await;
    let nobody = list(&[]).await;
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.starts_with(&format!("error: no answer from {admin}: ")), "{}", nobody.err);
    assert!(nobody.err.contains("does kallback run"), "{}", nobody.err);
    let off = said(site.command_of("callbacks").args(["--admin-listen", "off", "list"])).await;
    assert!(off.code == 1 && off.err.contains("there is no admin listener to ask"), "{}", off.err);
}

#[tokio::test]
async fn every_command_of_the_paper_does_what_it_says() {
    let afternoon = Afternoon::passes().await;
    let paper = fs::read_to_string("docs/callbacks-cli.md").unwrap();
    let blocks = paper.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: Vec<&str> = blocks.flat_map(str::lines).filter(|line| line.starts_with("kallback ")).collect();
    assert!(commands.len() > 10, "{commands:?}");
    let folder = Path::new(env!("CARGO_BIN_EXE_kallback")).parent().unwrap().to_str().unwrap();
    for command in commands {
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("PATH", format!("{folder}:/usr/bin:/bin")).current_dir(afternoon.site.folder());
        shell.env("KALLBACK_CONFIG", afternoon.site.config());
        shell.env("KALLBACK_ADMIN__LISTEN", afternoon.kallback.admin.to_string());
        let said = said(shell.stdin(std::process::Stdio::null()).kill_on_drop(true).args(["-c", command])).await;
        assert_eq!(said.code, 0, "{command}: {}{}", said.out, said.err);
    }
    let exported = fs::read_to_string(afternoon.site.path("callbacks.jsonl")).unwrap();
    assert_eq!(exported.lines().count(), 4, "{exported}");
}
