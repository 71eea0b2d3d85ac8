//! The real binary, restarted under load: nobody is refused, no request fails, nothing reaches the shop twice.

mod callers;

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use self::callers::{Callers, Met};
use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::klarna::Klarna;
use crate::support::operator::{Books, Operator};
use crate::support::process::Process;
use crate::support::script::Act;
use crate::support::shop::reusable_socket;
use crate::support::site::Site;
use crate::support::time::patiently;
use crate::support::world::HOST;

const SHOP_TAKES: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_notices_that_a_successor_took_over() {
    let street = Street::new().await;
    let mut running = Process::start(street.command(&[])).await;
    let callers = street.callers();

    let restarts = restarts();
    for restart in 0..restarts {
        some_answers(&callers).await;
        // The number of workers may change from one process to the next.
        let threads = format!("server.threads={}", 1 + restart % 3);
        let successor = Process::start(street.successor(&[&threads])).await;
        assert_eq!(running.ended().await.code(), Some(0));
        running = successor;
    }
    some_answers(&callers).await;

    Verdict::of(restarts, callers.end().await, &street.site).holds("hand-over");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_notices_a_restart_while_systemd_holds_the_sockets() {
    let street = Street::new().await;
    let held = [street.door, street.admin].map(|address| TcpListener::bind(address).unwrap());
    let mut running = Process::start(street.command_with_sockets(&held)).await;
    let callers = street.callers();

    let restarts = restarts();
    for _ in 0..restarts {
        some_answers(&callers).await;
        running.stop().await;
        running = Process::start(street.command_with_sockets(&held)).await;
    }
    some_answers(&callers).await;

    Verdict::of(restarts, callers.end().await, &street.site).holds("socket activation");
    running.stop().await;
}

#[tokio::test]
async fn a_callback_that_stays_at_the_shop_keeps_the_ledger_where_it_is() {
    let street = Street::new().await;
    let gate = Gate::closed();
    street.site.shop.next(Act::minus_one(200).once_open(&gate));
    let mut running = Process::start(
        street.command(&["callbacks.kinds.authorization.answer_within=400 ms", "ledger.admit_within=350 ms"]),
    )
    .await;
    let klarna = street.klarna();
    let slow = street.site.authorization(&Purchase::new());
    assert_eq!(klarna.call(&slow).await.unwrap().status, 204);

    let mut successor = street.successor(&[]).stderr(Stdio::null()).spawn().unwrap();
    running.says("the successor has to wait").await;
    // It still serves, and the shop is asked once.
    let other = street.site.authorization(&Purchase::new());
    assert_eq!(klarna.call(&other).await.unwrap().status, 200);
    gate.open();
    assert_eq!(running.ended().await.code(), Some(0));

    let joined = klarna.call(&slow).await.unwrap();
    assert_eq!((joined.status, joined.header("kallback-replayed")), (200, Some("true")));
    street.site.shop.saw(2);
    successor.kill().await.unwrap();
}

#[tokio::test]
async fn a_successor_that_cannot_start_changes_nothing() {
    let street = Street::new().await;
    let mut running = Process::start(street.command(&[])).await;
    // It gets the sockets, and fails over an address that is taken.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let redirect = format!("server.redirect_from={}", taken.local_addr().unwrap());
    let failed = street.successor(&[&redirect]).output().await.unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let told = String::from_utf8(failed.stderr).unwrap();
    assert!(told.contains("cannot listen on"), "{told}");

    running.says("this process goes on").await;
    let callback = street.site.authorization(&Purchase::new());
    assert_eq!(street.klarna().call(&callback).await.unwrap().status, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_successor_that_could_not_have_one_of_its_own_changes_nothing() {
    let street = Street::new().await;
    let mut running = Process::start(street.command(&[])).await;
    std::fs::create_dir(street.site.path("next.sock.new")).unwrap();
    let failed = street.successor(&[]).output().await.unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let told = String::from_utf8(failed.stderr).unwrap();
    assert!(told.contains("life.hand_over_at: cannot listen at"), "{told}");

    running.says("this process goes on").await;
    let callback = street.site.authorization(&Purchase::new());
    assert_eq!(street.klarna().call(&callback).await.unwrap().status, 200);
    std::fs::remove_dir(street.site.path("next.sock.new")).unwrap();
    let successor = Process::start(street.successor(&[])).await;
    assert_eq!(running.ended().await.code(), Some(0));
    successor.stop().await;
}

#[tokio::test]
async fn what_waits_is_brought_after_a_successor_gave_up() {
    let mut street = Street::new().await;
    let gate = Gate::closed();
    street.site.shop.next(Act::minus_one(200).once_open(&gate));
    let options = [
        "callbacks.kinds.authorization.answer_within=400 ms",
        "ledger.admit_within=350 ms",
        "delivery.schedule=[\"100 ms\"]",
    ];
    let mut running = Process::start(street.command(&options)).await;
    let klarna = street.klarna();
    assert_eq!(klarna.call(&street.site.authorization(&Purchase::new())).await.unwrap().status, 204);
    let mut successor = street.successor(&[]).stderr(Stdio::null()).spawn().unwrap();
    running.says("the successor has to wait").await;
    successor.kill().await.unwrap();
    running.says("this process goes on").await;
    gate.open();
    let operator = Operator::at(street.admin);
    operator.wait_for_books(Books { accepted: 1, settled: 1, ..Books::default() }).await;

    street.site.shop.go_down().await;
    assert_eq!(klarna.call(&street.site.authorization(&Purchase::new())).await.unwrap().status, 204);
    street.site.shop.come_back().await;
    operator.wait_for_books(Books { accepted: 2, settled: 2, ..Books::default() }).await;
    running.stop().await;
}

#[tokio::test]
async fn the_listeners_for_redirects_and_behind_tls_are_handed_over_too() {
    let street = Street::new().await;
    let keepers = [(); 2].map(|()| reusable_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    let [redirecting, behind_tls] = [0, 1].map(|one: usize| keepers[one].local_addr().unwrap().as_socket().unwrap());
    let redirect_from = format!("server.redirect_from={redirecting}");
    let listen_behind_tls = format!("server.listen_behind_tls={behind_tls}");
    let options = [&redirect_from, &listen_behind_tls, "forward.trusted_proxies=[\"127.0.0.0/8\"]"];
    let mut running = Process::start(street.command(&options)).await;

    // An address where somebody listens cannot be bound: it is inherited, or the successor does not start.
    let successor = Process::start(street.successor(&options)).await;
    assert_eq!(running.ended().await.code(), Some(0));
    let proxied = street.site.authorization(&Purchase::new()).with_header("x-forwarded-proto", "https");
    assert_eq!(Klarna::plain(behind_tls).with_host(HOST).call(&proxied).await.unwrap().status, 200);
    let page = Callback::page("/shelf");
    assert_eq!(Klarna::plain(redirecting).with_host(HOST).call(&page).await.unwrap().status, 301);
    successor.stop().await;
}

#[tokio::test]
async fn a_successor_that_fails_over_the_ledger_gives_it_back() {
    let street = Street::new().await;
    let mut running = Process::start(street.command(&[])).await;
    let callback = street.site.authorization(&Purchase::new());
    assert_eq!(street.klarna().call(&callback).await.unwrap().status, 200);
    // The folder of its ledger is a file.
    let nowhere = format!("ledger.file={}/ledger.db", street.site.config().display());
    let failed = street.successor(&[&nowhere]).output().await.unwrap();
    assert_eq!(failed.status.code(), Some(1));

    running.says("this process starts again").await;
    let again = street.klarna().call(&callback).await.unwrap();
    assert_eq!((again.status, again.header("kallback-replayed")), (200, Some("true")));
    let settled = Books { accepted: 1, settled: 1, ..Books::default() };
    Operator::at(street.admin).wait_for_books(settled).await;
    running.stop().await;
}

#[tokio::test]
async fn a_pending_notice_is_brought_by_the_successor() {
    let mut street = Street::new().await;
    street.site.shop.go_down().await;
    let schedule = "delivery.schedule=[\"100 ms\"]";
    let mut running = Process::start(street.command(&[schedule])).await;
    let callback = street.site.authorization(&Purchase::new());
    assert_eq!(street.klarna().call(&callback).await.unwrap().status, 204);

    let successor = Process::start(street.successor(&[schedule])).await;
    assert_eq!(running.ended().await.code(), Some(0));
    street.site.shop.come_back().await;
    let settled = Books { accepted: 1, settled: 1, ..Books::default() };
    successor.operator().wait_for_books(settled).await;
    street.site.shop.saw(1);
    successor.stop().await;
}

#[tokio::test]
async fn without_a_place_to_ask_nobody_takes_over_and_without_a_predecessor_it_just_starts() {
    let site = Site::new().await;
    let refused = site.command(&[]).arg("--take-over").output().await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("set life.hand_over_at"), "{told}");

    let street = Street::new().await;
    Process::start(street.successor(&[])).await.stop().await;
}

/// A site with addresses that stay.
struct Street {
    site: Site,
    door: SocketAddr,
    admin: SocketAddr,
    /// Keep the ports ours while nobody listens there.
    _keepers: [socket2::Socket; 2],
}

impl Street {
    async fn new() -> Self {
        let site = Site::new().await;
        site.shop.always_for("wc-api", Act::minus_one(200).after(SHOP_TAKES));
        site.shop.always_for("/shelf", Act::reply(200).body("a shelf").after(SHOP_TAKES));
        let keepers = [(); 2].map(|()| reusable_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        let [door, admin] = [0, 1].map(|one: usize| keepers[one].local_addr().unwrap().as_socket().unwrap());
        Self { site, door, admin, _keepers: keepers }
    }

    fn command(&self, options: &[&str]) -> Command {
        let (listen, admin) = (format!("server.listen={}", self.door), format!("admin.listen={}", self.admin));
        let hand_over = format!("life.hand_over_at={}", self.site.path("next.sock").display());
        let own = ["server.connections_per_address_max=10000", "limits.proven_per_second=100000"];
        let all: Vec<&str> =
            [&listen[..], &admin, &hand_over].into_iter().chain(own).chain(options.iter().copied()).collect();
        self.site.command(&all)
    }

    fn successor(&self, options: &[&str]) -> Command {
        let mut command = self.command(options);
        command.arg("--take-over");
        command
    }

    /// As systemd starts it: the sockets are its files from 3 on.
    fn command_with_sockets(&self, held: &[TcpListener; 2]) -> Command {
        let plain = self.command(&[]);
        let plain = plain.as_std();
        let [door, admin] = [0, 1].map(|one: usize| OwnedFd::from(held[one].try_clone().unwrap()));
        let mut shell = Command::new("/bin/sh");
        let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
        shell.env_clear().kill_on_drop(true).stdin(door).stdout(admin);
        shell.args(["-c", script]).arg(plain.get_program()).args(plain.get_args());
        shell
    }

    fn klarna(&self) -> Klarna {
        Klarna::new(self.door, HOST, &self.site.authority)
    }

    fn callers(&self) -> Callers {
        Callers::begin(self.klarna(), &self.site.authority)
    }
}

/// The figures of one test.
struct Verdict {
    restarts: u64,
    met: Met,
    doubled: usize,
    longest_gap: Duration,
}

impl Verdict {
    fn of(restarts: u64, mut met: Met, site: &Site) -> Self {
        let mut times_brought: HashMap<String, usize> = HashMap::new();
        for seen in site.shop.requests_for("wc-api") {
            *times_brought.entry(seen.key().expect("a callback has its key").to_owned()).or_default() += 1;
        }
        met.answered.sort();
        let gaps = met.answered.windows(2).map(|pair| pair[1] - pair[0]);
        let longest_gap = gaps.max().unwrap_or_default();
        Self { restarts, doubled: times_brought.values().filter(|times| **times > 1).count(), longest_gap, met }
    }

    fn holds(&self, way: &str) {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let _ = writeln!(std::io::stderr(), "restart by {way}: {self}");
        assert!(self.met.refused == 0 && self.met.failed.is_empty() && self.doubled == 0, "{:?}", self.met.failed);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { restarts, met, doubled, longest_gap } = self;
        write!(
            f,
            "{restarts} restarts, {} requests, {} refused, {} failed, {doubled} doubled, longest gap {} ms, slowest \
             answer {} ms",
            met.answered.len() + met.refused + met.failed.len(),
            met.refused,
            met.failed.len(),
            longest_gap.as_millis(),
            met.slowest.as_millis(),
        )
    }
}

fn restarts() -> u64 {
    std::env::var("KALLBACK_RESTARTS").map_or(10, |text| text.parse().expect("a number"))
}

/// Lets the load run for a while.
async fn some_answers(callers: &Callers) {
    let wanted = callers.answered() + 50;
    let enough = async {
        while callers.answered() < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patiently("some answers", enough).await;
}
