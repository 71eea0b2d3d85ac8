//! What it costs to put a notice on disk before it is answered: claims and ends per second and their latencies with
//! 1, 16 and 64 callers, and under constant load with checkpoints beside the writer and within it.
//!
//! `cargo bench --bench admit`, or `cargo bench --bench admit -- 64` for some numbers of callers only. The file lies
//! under `target/`, so that it is on the disk of the sources. `-- fill 100000 FILE` measures nothing: it makes a ledger
//! of so many settled records, for `benches/compare`.

#![allow(clippy::print_stdout, reason = "its table is what a benchmark is for")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kallback::clock::{Clock, UnixMillis};
use kallback::event::{Family, Kind, Mode, Proof, Route, UrlFacts};
use kallback::ledger::flights::{Boarding, Flights};
use kallback::ledger::sqlite::{Checkpoints, Options, Sqlite};
use kallback::ledger::{Admission, Claim, Ledger, Notice, Surroundings};
use kallback::message::Reply;
use kallback::metrics::Telemetry;
use kallback::token::{Guard, Key, Received, Settings, Ticket};

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let [fill, records, file, ..] = arguments.as_slice()
        && fill == "fill"
    {
        return runtime.block_on(make_filled(Path::new(file), records.parse()?));
    }
    let chosen: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    println!("{:<34} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "per s", "p50 ms", "p99 ms", "p99.9 ms", "max ms");
    runtime.block_on(async {
        for (callers, notices) in [(1, 10_000), (16, 60_000), (64, 120_000)] {
            if chosen.is_empty() || chosen.contains(&callers) {
                full_speed(callers, notices).await?;
            }
        }
        for checkpoints in [Checkpoints::Aside, Checkpoints::InLine] {
            constant_load(checkpoints).await?;
        }
        Ok(())
    })
}

/// Everybody claims as fast as they can; then everybody settles.
async fn full_speed(callers: usize, notices: usize) -> Result<(), Fault> {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench::open(&place.path().join("ledger.db"), Checkpoints::Aside)?;
    fill(&bench, FILLED).await?;
    let mut stacks = Vec::new();
    for caller in 0..callers {
        stacks.push(made(caller, notices / callers)?);
    }
    let (claims, times) = bench.together(stacks, Bench::admit_all).await?;
    times.show(&format!("admit, {callers} callers"));
    let (_, times) = bench.together(claims, Bench::settle_all).await?;
    times.show(&format!("settle, {callers} callers"));
    bench.ledger.shut_down().await?;
    let bytes = std::fs::metadata(place.path().join("ledger.db"))?.len();
    println!("{:<34} {:>9} bytes", "  of the file for each record", bytes / (FILLED + notices) as u64);
    Ok(())
}

/// 32 callers claim and settle, each with a pause in between: a few thousand writes per second, for 20 s.
async fn constant_load(checkpoints: Checkpoints) -> Result<(), Fault> {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench::open(&place.path().join("ledger.db"), checkpoints)?;
    fill(&bench, FILLED).await?;
    let mut stacks = Vec::new();
    for caller in 0..32 {
        stacks.push(made(caller, 1_700)?);
    }
    let (_, times) = bench.together(stacks, Bench::admit_and_settle_slowly).await?;
    times.show(&format!("constant load, {checkpoints:?}"));
    let wal = place.path().join("ledger.db-wal");
    println!("{:<34} {:>9} KiB", "  size of the WAL", std::fs::metadata(wal)?.len() >> 10);
    bench.ledger.shut_down().await?;
    Ok(())
}

/// A new file with exactly so many settled records.
async fn make_filled(file: &Path, records: usize) -> Result<(), Fault> {
    let bench = Bench::open(file, Checkpoints::Aside)?;
    fill(&bench, records).await?;
    Ok(bench.ledger.shut_down().await?)
}

async fn fill(bench: &Bench, notices: usize) -> Result<(), Fault> {
    const FILLERS: usize = 64;
    let mut stacks = Vec::new();
    for filler in 0..FILLERS {
        let share = notices / FILLERS + usize::from(filler < notices % FILLERS);
        stacks.push(made(1_000 + filler, share)?);
    }
    let (claims, _) = bench.together(stacks, Bench::admit_all).await?;
    bench.together(claims, Bench::settle_all).await?;
    Ok(())
}

#[derive(Clone)]
struct Bench {
    ledger: Arc<Sqlite>,
    flights: Flights,
    clock: Clock,
}

impl Bench {
    fn open(file: &Path, checkpoints: Checkpoints) -> Result<Self, Fault> {
        let (clock, flights) = (Clock::system(), Flights::default());
        let around = Surroundings { clock: clock.clone(), flights: flights.clone(), telemetry: Telemetry::new()? };
        let options = Options { queue_max: 4_096, bytes_max: 1 << 33, checkpoints };
        let ledger = Arc::new(Sqlite::open(file, options, around)?);
        Ok(Self { ledger, flights, clock })
    }

    /// Runs one task per stack and gathers what they made and how long each call took.
    async fn together<T, R, F, W>(&self, stacks: Vec<Vec<T>>, work: W) -> Result<(Vec<Vec<R>>, Times), Fault>
    where
        R: Send + 'static,
        F: Future<Output = Result<(Vec<R>, Vec<Duration>), Fault>> + Send + 'static,
        W: Fn(Self, Vec<T>) -> F,
    {
        let began = self.clock.instant();
        let tasks: Vec<_> = stacks.into_iter().map(|stack| tokio::spawn(work(self.clone(), stack))).collect();
        let (mut made, mut took) = (Vec::new(), Vec::new());
        for task in tasks {
            let (results, times) = task.await??;
            made.push(results);
            took.extend(times);
        }
        Ok((made, Times { in_all: self.clock.instant() - began, took }))
    }

    async fn admit_all(self, notices: Vec<Arc<Notice>>) -> Result<(Vec<Box<Claim>>, Vec<Duration>), Fault> {
        let (mut claims, mut times) = (Vec::with_capacity(notices.len()), Vec::with_capacity(notices.len()));
        for notice in notices {
            let began = self.clock.instant();
            claims.push(self.admit(notice).await?);
            times.push(self.clock.instant() - began);
        }
        Ok((claims, times))
    }

    #[allow(clippy::vec_box, reason = "the ledger hands out claims in boxes")]
    async fn settle_all(self, claims: Vec<Box<Claim>>) -> Result<(Vec<()>, Vec<Duration>), Fault> {
        let mut times = Vec::with_capacity(claims.len());
        let reply = Arc::new(reply());
        for claim in claims {
            let began = self.clock.instant();
            self.ledger.settle(claim, reply.clone()).await.map_err(|(error, _)| error)?;
            times.push(self.clock.instant() - began);
        }
        Ok((Vec::new(), times))
    }

    async fn admit_and_settle_slowly(self, notices: Vec<Arc<Notice>>) -> Result<(Vec<()>, Vec<Duration>), Fault> {
        let mut times = Vec::with_capacity(notices.len());
        let reply = Arc::new(reply());
        for notice in notices {
            let began = self.clock.instant();
            let claim = self.admit(notice).await?;
            times.push(self.clock.instant() - began);
            self.ledger.settle(claim, reply.clone()).await.map_err(|(error, _)| error)?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok((Vec::new(), times))
    }

    async fn admit(&self, notice: Arc<Notice>) -> Result<Box<Claim>, Fault> {
        let identity = notice.identity();
        let Boarding::First(flight) = self.flights.board(identity.fingerprint, identity.turn) else {
            return Err("two notices are the same".into());
        };
        match self.ledger.admit(notice, flight).await {
            Ok(Admission::Fresh(claim)) => Ok(claim),
            Ok(_) => Err("a notice is not new".into()),
            Err((error, _)) => Err(error.into()),
        }
    }
}

/// Notices as they come over the wire: a token of their own each, the usual headers, a kilobyte of body.
fn made(caller: usize, notices: usize) -> Result<Vec<Arc<Notice>>, Fault> {
    let guard = Guard::new(Settings {
        parameter: "kallback".into(),
        keys: vec![Key { id: 1, secret: vec![1; 32].into() }],
        signing_keys: Vec::new(),
        sessions_per_token: 4,
    });
    let route = Arc::new(Route {
        name: "woocommerce authorization".into(),
        kind: Kind::Authorization,
        family: Family::Payments,
        proof: Proof::Token(Mode::Enforce),
        policy: Kind::Authorization.defaults(),
        failure_texts: Vec::new(),
    });
    (0..notices)
        .map(|number| notice(&guard, &route, &format!("{caller:08}-{number:08}-4333-8444")).map(Arc::new))
        .collect()
}

fn notice(guard: &Guard, route: &Arc<Route>, session: &str) -> Result<Notice, Fault> {
    let expires_at = UnixMillis(1_000_000_000_000_000);
    let ticket = Ticket { family: Family::Payments, session: session.as_bytes(), expires_at };
    let token = guard.mint(&ticket).ok_or("no key")?;
    let target = format!("/wc-api/KP_WC_AUTHORIZATION/?order_id=wc_order_{session}&kallback={token}");
    let admitted = guard.admit(route, UrlFacts::default(), &target, UnixMillis(0))?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example"),
        ("content-type", "application/json"),
        ("accept", "*/*"),
        ("user-agent", "Klarna/1.0"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("klarna-correlation-id", "7d3bd4f6-5a0b-4d1b-9a0e-6b5c5b6a3c1f"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let filling = "x".repeat(900);
    let body = format!(r#"{{"session_id":"{session}","authorization_token":"b{session}","filling":"{filling}"}}"#);
    let received = Received { method: Method::POST, headers, body: Bytes::from(body) };
    let authentic = guard.authenticate(admitted, received)?;
    Notice::from_authentic(authentic).map_err(|_| "a question".into())
}

fn reply() -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json; charset=UTF-8"));
    Reply { status: StatusCode::OK, reason: None, headers, body: Bytes::from_static(b"{\"success\":true}") }
}

/// Records that are there before anything is measured.
const FILLED: usize = 50_000;

struct Times {
    in_all: Duration,
    took: Vec<Duration>,
}

impl Times {
    fn show(mut self, what: &str) {
        self.took.sort_unstable();
        let count = self.took.len();
        let at = |permille: usize| {
            let took = self.took.get((count * permille / 1_000).min(count.saturating_sub(1)));
            took.copied().unwrap_or_default().as_secs_f64() * 1_000.0
        };
        let rate = count as f64 / self.in_all.as_secs_f64();
        let [median, high, higher, most] = [at(500), at(990), at(999), at(1_000)];
        println!("{what:<34} {rate:>9.0} {median:>9.2} {high:>9.2} {higher:>9.2} {most:>9.2}");
    }
}
