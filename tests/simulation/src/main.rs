//! Plays seeds of the simulation: many on all cores, or one with its story.

#![expect(clippy::disallowed_methods, reason = "says how long it took; the simulation itself reads no clock")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use clap::Parser;
use kallback_simulation::world::{Report, play};

/// Plays kallback through simulated time, network and disk.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this one, and its story.
    #[arg(long, env = "KALLBACK_SIM_SEED")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let reports = match arguments.seed {
        Some(seed) => {
            let report = play(seed, None, true);
            report.story.iter().for_each(|line| println!("{line}"));
            println!("trace {:016x}", report.trace);
            vec![report]
        }
        None => play_all(arguments.from..arguments.from + arguments.seeds),
    };
    summary(&reports, began)
}

fn play_all(seeds: std::ops::Range<u64>) -> Vec<Report> {
    let next = AtomicU64::new(seeds.start);
    let reports = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = play(seed, None, false);
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    reports.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn summary(reports: &[Report], began: Instant) -> ExitCode {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    for report in reports {
        for violation in &report.violations {
            println!("seed {}: {violation}", report.seed);
        }
    }
    let failed: Vec<String> =
        reports.iter().filter(|report| !report.violations.is_empty()).map(|report| report.seed.to_string()).collect();
    if let Some(seed) = failed.first() {
        println!("{} seeds failed; again, with the story: tests/proof/simulate --seed {seed}", failed.len());
    }
    println!(
        "simulate: {} seeds, {} steps, {} callbacks, {} kills, {} disk faults, {} violations, {:.0} s",
        reports.len(),
        sum(|report| report.steps),
        sum(|report| report.callbacks),
        sum(|report| report.kills),
        sum(|report| report.disk_faults),
        sum(|report| report.violations.len() as u64),
        began.elapsed().as_secs_f64(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
