//! The real binary, killed with SIGKILL: fourth promise, and the first three across it.

pub mod senders;
pub mod verdict;

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::process::Command;
use tokio::task::yield_now;

use self::senders::Senders;
use self::verdict::Verdict;
use crate::support::callbacks::{Callback, Purchase};
use crate::support::operator::{Books, Operator, eventually};
use crate::support::process::Process;
use crate::support::script::Act;
use crate::support::shop::reusable_socket;
use crate::support::site::Site;
use crate::support::time::within;

#[tokio::test]
async fn an_authorization_that_was_at_the_shop_when_kallback_was_killed_is_brought_again_and_marked() {
    let site = Site::new().await;
    site.shop.next(Act::hang());
    let purchase = Purchase::new();
    let callback = site.signed(Callback::authorization(&purchase), &purchase);

    let (_process, operator) = killed_at_the_shop(&site, &callback).await;

    operator.wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;
    let seen = site.shop.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].attempt(), seen[0].is_redelivery()), (Some(1), false));
    assert_eq!((seen[1].attempt(), seen[1].is_redelivery()), (Some(2), true));
    assert_eq!((seen[1].key(), &seen[1].body), (seen[0].key(), &seen[0].body));
}

#[tokio::test]
async fn a_push_that_was_at_the_shop_when_kallback_was_killed_is_left_and_says_why() {
    let site = Site::new().await;
    site.shop.next(Act::hang());
    let purchase = Purchase::new();
    let callback = site.signed(Callback::push(&purchase), &purchase);

    let (process, operator) = killed_at_the_shop(&site, &callback).await;

    operator.wait_for_books(Books { accepted: 1, left: 1, ..Books::default() }).await;
    let note = operator.callback(1).await["note"].clone();
    assert_eq!(note, "interrupted: nobody knows whether the shop saw it");
    site.shop.saw(1);
    // Klarna's own repeat goes to the shop.
    assert_eq!(site.somebody(&process).call(&callback).await.unwrap().status, 200);
    site.shop.saw(2);
}

#[tokio::test]
async fn a_push_that_waited_for_its_time_when_kallback_was_killed_is_brought_at_that_time() {
    let site = Site::new().await;
    site.shop.next(Act::reply(503).header("retry-after", "3"));
    let purchase = Purchase::new();
    let callback = site.signed(Callback::push(&purchase), &purchase);
    let process = site.start(&[]).await;
    assert_eq!(site.somebody(&process).call(&callback).await.unwrap().status, 204);
    let waits = async || site.ledger_file().rows()[0].waits_for_its_time;
    eventually("a time for the next attempt", waits).await;
    process.kill().await;

    let process = site.start(&[]).await;
    let settled = Books { accepted: 1, settled: 1, ..Books::default() };
    Operator::at(process.admin).wait_for_books(settled).await;
    let seen = site.shop.requests();
    assert_eq!((seen.len(), seen[1].attempt(), seen[1].is_redelivery()), (2, Some(2), true));
}

#[tokio::test]
async fn a_recorded_reply_is_replayed_after_a_kill() {
    let site = Site::new().await;
    let purchase = Purchase::new();
    let callback = site.signed(Callback::authorization(&purchase), &purchase);
    let process = site.start(&[]).await;
    assert_eq!(site.somebody(&process).call(&callback).await.unwrap().text(), "-1");
    let settled = Books { accepted: 1, settled: 1, ..Books::default() };
    Operator::at(process.admin).wait_for_books(settled).await;
    process.kill().await;

    let process = site.start(&[]).await;
    let answer = site.somebody(&process).call(&callback).await.unwrap();
    assert_eq!((answer.text(), answer.header("kallback-replayed")), ("-1", Some("true")));
    site.shop.saw(1);
}

/// Kills kallback while the shop holds the callback, and starts it again.
async fn killed_at_the_shop(site: &Site, callback: &Callback) -> (Process, Operator) {
    let process = site.start(&[]).await;
    let (somebody, sent) = (site.somebody(&process), callback.clone());
    let call = tokio::spawn(async move { somebody.call(&sent).await });
    site.shop.wait_for_requests(1).await;
    process.kill().await;
    assert!(call.await.unwrap().is_err(), "nobody was there to answer");
    let process = site.start(&[]).await;
    let operator = Operator::at(process.admin);
    (process, operator)
}

/// Many senders, a moody shop, and a process that is killed again and again at random moments.
#[tokio::test]
async fn nothing_that_was_answered_2xx_is_lost_however_often_kallback_is_killed() {
    let cycles = number("KALLBACK_CRASH_CYCLES").unwrap_or(50);
    let seed = number("KALLBACK_CRASH_SEED").unwrap_or_else(rand::random);
    say(&format!("crash test: {cycles} kills, KALLBACK_CRASH_SEED={seed}"));
    let (began, mut dice) = (Instant::now(), StdRng::seed_from_u64(seed));
    let site = Site::new().await;
    // Keeps the port ours while nobody listens there.
    let keeper = reusable_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = keeper.local_addr().unwrap().as_socket().unwrap();
    let senders = Senders::begin(&site, &[address], dice.random());

    for _ in 0..cycles {
        (0..200).for_each(|_| site.shop.next(mood(&mut dice)));
        one_life(&site, address, &mut dice).await;
    }
    let last = Process::start(command(&site, address)).await;
    let sent = senders.end().await;
    let operator = Operator::at(last.admin);
    within(Duration::from_secs(60), "an end of all that waits", async {
        while operator.books().await.pending > 0 {
            yield_now().await;
        }
    })
    .await;

    let books = operator.books().await;
    let (kept, recounted) = site.ledger_file().kept_and_recounted();
    assert_eq!((kept, recounted), (books, books));
    let rows = site.ledger_file().rows();
    let ends: HashMap<_, _> = rows.into_iter().map(|row| (row.subject, row.state)).collect();
    let verdict = Verdict::of(&sent, &site.shop.requests(), &ends);
    say(&format!("{verdict}, pending {}, dead {}, left {}", books.pending, books.dead, books.left));
    say(&format!("{:.1} s", began.elapsed().as_secs_f64()));
    verdict.holds();
    last.stop().await;
}

/// Starts kallback and kills it, usually while it serves, sometimes while it starts.
async fn one_life(site: &Site, address: SocketAddr, dice: &mut StdRng) {
    if dice.random_ratio(1, 8) {
        let mut child = command(site, address).spawn().expect("the binary starts");
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..150))).await;
        child.kill().await.expect("it can be killed");
    } else {
        let process = Process::start(command(site, address)).await;
        // Promise 2 holds after every crash.
        Operator::at(process.admin).books().await;
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..400))).await;
        process.kill().await;
    }
}

/// Every process goes to the shop by a door of its own: the shop may read what a killed one sent only after the next
/// one has begun, so that time does not tell whose request it is.
fn command(site: &Site, address: SocketAddr) -> Command {
    let listen = format!("server.listen={address}");
    let shop = format!("shop.url=http://{}", site.shop.side_door());
    site.command(&[
        &listen,
        &shop,
        "server.connections_per_address_max=10000",
        "limits.proven_per_second=100000",
        "shop.max_in_flight=64",
        "callbacks.kinds.authorization.answer_within=400 ms",
        "callbacks.kinds.push.answer_within=400 ms",
        "callbacks.kinds.notification.answer_within=400 ms",
        "delivery.redelivery_concurrency=16",
        "delivery.schedule=[\"100 ms\", \"200 ms\"]",
        "delivery.retry_after_at_most=100 ms",
        "ledger.admit_within=350 ms",
    ])
}

/// What the shop does with one request: mostly well and quickly.
pub fn mood(dice: &mut StdRng) -> Act {
    let quickly = Duration::from_millis(dice.random_range(0..20));
    match dice.random_range(0..100) {
        0..75 => Act::minus_one(200).after(quickly),
        75..85 => Act::maintenance().after(quickly),
        85..95 => Act::minus_one(200).after(Duration::from_millis(dice.random_range(300..700))),
        95..98 => Act::reply(500).after(quickly),
        _ => Act::reset(),
    }
}

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Past the test harness, which keeps the output of tests that pass to itself.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
