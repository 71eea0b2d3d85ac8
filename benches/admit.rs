//! What it costs to put a notice on disk before it is answered: claims and ends per second and their latencies with
//! 1, 16 and 64 callers, and under constant load with checkpoints beside the writer and within it.
//!
//! `cargo bench --bench admit`, or `cargo bench --bench admit -- 64` for some numbers of callers only. The file lies
//! under `target/`, so that it is on the disk of the sources.

#![allow(clippy::print_stdout, reason = "its table is what a benchmark is for")]

#[path = "inputs/notices.rs"]
mod inputs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kallback::clock::Clock;
use kallback::ledger::flights::{Boarding, Flights};
use kallback::ledger::sqlite::{Checkpoints, Options, Sqlite};
use kallback::ledger::{Admission, Claim, Ledger, Notice, Surroundings};
use kallback::metrics::Telemetry;

use inputs::{Fault, made, reply};

fn main() -> Result<(), Fault> {
    let chosen: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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
    let bench = Bench::open(place.path(), Checkpoints::Aside)?;
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
    let bench = Bench::open(place.path(), checkpoints)?;
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

async fn fill(bench: &Bench, notices: usize) -> Result<(), Fault> {
    let mut stacks = Vec::new();
    for filler in 0..64 {
        stacks.push(made(1_000 + filler, notices / 64)?);
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
    fn open(folder: &Path, checkpoints: Checkpoints) -> Result<Self, Fault> {
        let (clock, flights) = (Clock::system(), Flights::default());
        let around = Surroundings { clock: clock.clone(), flights: flights.clone(), telemetry: Telemetry::new()? };
        let options = Options { queue_max: 4_096, bytes_max: 1 << 33, checkpoints };
        let ledger = Arc::new(Sqlite::open(&folder.join("ledger.db"), options, around)?);
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
