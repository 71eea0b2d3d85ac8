//! The real binary under mixed load for as long as one wants, in front of a shop that fails for a fifth of the time.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::{Klarna, Limits};
use crate::support::operator::Operator;
use crate::support::process::Process;
use crate::support::script::Act;
use crate::support::shop::Seen;
use crate::support::site::{Site, signed};
use crate::support::time::within;

/// Klarna waits that long for an answer.
const BUDGET: Duration = Duration::from_secs(2);
/// A shop that failed is given that long before budgets count again.
const AFTERMATH: Duration = Duration::from_secs(5);
const OUTSTANDING_MAX: usize = 256;
/// The test keeps every request in memory: an hour at this rate is some 3 GiB.
const RATE_MAX: f64 = 200.0;
/// What a minute's outage left behind goes to the shop four at a time.
const DRAINED_WITHIN: Duration = Duration::from_secs(300);
const SHOP_TAKES: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 120;
/// What memory may grow between the second quarter and the last: a tenth, and this.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
const LEDGER_BYTES_MAX: u64 = 256 << 20;

#[derive(Default)]
struct Counted {
    answered: Vec<String>,
    calls: usize,
    pages: usize,
    /// Calls that took longer than the budget, or were never answered, while the shop was well.
    late: usize,
    skipped: usize,
}

/// When the shop fails.
#[derive(Clone, Copy)]
struct Moods {
    began: Instant,
    period: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "takes minutes; tests/proof/soak runs it"]
async fn memory_and_file_stay_small_and_no_callback_is_lost() {
    let minutes = number("KALLBACK_SOAK_MINUTES").unwrap_or(1.0);
    let lasts = Duration::from_secs_f64(60.0 * minutes);
    let site = Site::new().await;
    well(&site);
    let options = options((lasts / 6).clamp(Duration::from_secs(60), Duration::from_secs(600)));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let process = Process::start(site.command(&options)).await;
    let klarna = site.klarna(&process).with_limits(Limits { attempts: 1, ..Limits::KLARNA });
    let rate = match number("KALLBACK_SOAK_RATE") {
        Some(rate) => rate,
        None => (capacity(&klarna).await / 2.0).min(RATE_MAX),
    };

    let counted = Arc::new(Mutex::new(Counted::default()));
    let moods = Moods { began: Instant::now(), period: Duration::from_secs(300).min(lasts / 2) };
    let load = tokio::spawn(load(klarna.clone(), rate, lasts, moods, counted.clone()));
    let samples = watch(&site, &process, lasts, moods, &counted).await;
    load.await.unwrap();
    well(&site);
    // The shop asked for ten minutes. What waits need not wait for them, once somebody else is served.
    assert!(klarna.call(&another().0).await.unwrap().is_success());
    let operator = Operator::at(process.admin);
    within(DRAINED_WITHIN, "an end of all that waits", async {
        while operator.books().await.pending > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;

    process.stop().await;
    let delivered: HashSet<String> = site.shop.requests_for("wc-api").iter().filter_map(delivered).collect();
    let counted = counted.lock().unwrap();
    let lost = counted.answered.iter().filter(|subject| !delivered.contains(*subject)).count();
    report(&samples, &counted, (rate, lost));
    judge(&samples, &counted, lost);
}

/// Everything in the ledger is forgotten after `keep` at the latest, so that its size has an end within the run: with
/// the defaults of 72 h it would only be seen to grow.
fn options(keep: Duration) -> Vec<String> {
    let keep = format!("{} s", keep.as_secs());
    let mut options = vec![
        "server.connections_per_address_max=10000".to_owned(),
        "limits.proven_per_second=100000".to_owned(),
        format!("ledger.bytes_max={} MiB", LEDGER_BYTES_MAX >> 20),
        format!("ledger.keep_bodies_for={keep}"),
        format!("ledger.keep_records_for={keep}"),
        "ledger.sweep_every=5 s".to_owned(),
        format!("callbacks.kinds.push.replay_acknowledged_for={keep}"),
        format!("callbacks.kinds.push.oldest={keep}"),
    ];
    for kind in ["authorization", "notification", "session_status", "webhook"] {
        options.push(format!("callbacks.kinds.{kind}.replay_for={keep}"));
        options.push(format!("callbacks.kinds.{kind}.oldest={keep}"));
    }
    options
}

/// One line of the figures.
struct Sample {
    seconds: f64,
    fails: bool,
    resident_bytes: u64,
    ledger_bytes: u64,
    calls: usize,
    late: usize,
}

impl Moods {
    fn fails(self) -> bool {
        self.into_period() >= self.period.mul_f64(0.8)
    }

    /// It is well, and was for some time.
    fn is_sound(self) -> bool {
        !self.fails() && (self.began.elapsed() < self.period || self.into_period() > AFTERMATH)
    }

    fn into_period(self) -> Duration {
        Duration::from_secs_f64(self.began.elapsed().as_secs_f64() % self.period.as_secs_f64())
    }
}

/// Callbacks a second that the gateway answers to callers who wait for one another, with as many pages.
async fn capacity(klarna: &Klarna) -> f64 {
    const LASTS: Duration = Duration::from_secs(5);
    /// More than the shop has seats, so that it is not the callers who set the pace.
    const CALLERS: usize = 32;
    let began = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let klarna = klarna.clone();
        tokio::spawn(async move {
            let mut calls = 0;
            while began.elapsed() < LASTS {
                let _ = klarna.call(&another().0).await;
                let _ = klarna.call(&Callback::page("/shelf")).await;
                calls += 1;
            }
            calls
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    f64::from(calls) / LASTS.as_secs_f64()
}

/// So many callbacks and pages a second, whether or not the ones before are answered.
async fn load(klarna: Klarna, rate: f64, lasts: Duration, moods: Moods, counted: Arc<Mutex<Counted>>) {
    let outstanding = Arc::new(Semaphore::new(OUTSTANDING_MAX));
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while moods.began.elapsed() < lasts {
        ticks.tick().await;
        let Ok(place) = outstanding.clone().try_acquire_owned() else {
            counted.lock().unwrap().skipped += 1;
            continue;
        };
        let (klarna, counted) = (klarna.clone(), counted.clone());
        tokio::spawn(async move {
            let (callback, subject) = another();
            let sound_before = moods.is_sound();
            let outcome = klarna.call(&callback).await;
            let in_time = outcome.as_ref().is_ok_and(|answered| answered.took <= BUDGET);
            let page = klarna.call(&Callback::page("/shelf")).await;
            let mut counted = counted.lock().unwrap();
            counted.calls += 1;
            counted.pages += usize::from(page.is_ok());
            counted.late += usize::from(!in_time && sound_before && moods.is_sound());
            if outcome.is_ok_and(|answered| answered.is_success()) {
                counted.answered.push(subject);
            }
            drop(place);
        });
    }
    let all = u32::try_from(OUTSTANDING_MAX).unwrap();
    let _ = outstanding.acquire_many(all).await;
}

/// Turns the shop's mood, and writes down what is seen.
async fn watch(site: &Site, process: &Process, lasts: Duration, moods: Moods, counted: &Mutex<Counted>) -> Vec<Sample> {
    let (mut samples, mut failed) = (Vec::new(), false);
    while moods.began.elapsed() < lasts {
        let fails = moods.fails();
        if fails != failed {
            if fails {
                unwell(site);
            } else {
                well(site);
            }
            failed = fails;
        }
        let (calls, late) = {
            let counted = counted.lock().unwrap();
            (counted.calls, counted.late)
        };
        let seconds = moods.began.elapsed().as_secs_f64();
        let (resident_bytes, ledger_bytes) = (process.resident_bytes(), ledger_bytes(site));
        samples.push(Sample { seconds, fails, resident_bytes, ledger_bytes, calls, late });
        sleep(lasts / SAMPLES).await;
    }
    samples
}

fn report(samples: &[Sample], counted: &Counted, (rate, lost): (f64, usize)) {
    let mut csv = "seconds,shop_fails,resident_bytes,ledger_bytes,calls,late\n".to_owned();
    for Sample { seconds, fails, resident_bytes, ledger_bytes, calls, late } in samples {
        let fails = u8::from(*fails);
        writeln!(csv, "{seconds:.1},{fails},{resident_bytes},{ledger_bytes},{calls},{late}").unwrap();
    }
    if let Some(folder) = std::env::var_os("KALLBACK_SOAK_OUT").map(PathBuf::from) {
        std::fs::write(folder.join("soak.csv"), csv).unwrap();
    }
    let (early, last) = quarters(samples);
    let largest = samples.iter().map(|sample| sample.ledger_bytes).max().unwrap_or(0);
    let line = format!(
        "soak: {:.0} s, {rate:.1} callbacks/s and as many pages, {} callbacks, {} answered 2xx, {lost} lost, {} late, \
         {} not sent, {} pages, memory {} -> {} MiB, ledger at most {} MiB",
        samples.last().map_or(0.0, |sample| sample.seconds),
        counted.calls,
        counted.answered.len(),
        counted.late,
        counted.skipped,
        counted.pages,
        early >> 20,
        last >> 20,
        largest >> 20,
    );
    // Past the test harness, which keeps the output of tests that pass to itself.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

fn judge(samples: &[Sample], counted: &Counted, lost: usize) {
    assert!(!counted.answered.is_empty(), "nothing happened");
    assert_eq!((lost, counted.late), (0, 0), "lost, late");
    let (early, last) = quarters(samples);
    assert!(last <= early + early / 10 + GROWTH_BYTES_MAX, "memory grew from {early} to {last} bytes");
    assert!(samples.iter().all(|sample| sample.ledger_bytes <= LEDGER_BYTES_MAX), "the ledger's file grew too large");
}

/// Mean memory in the second quarter, when everything is warm, and in the last.
fn quarters(samples: &[Sample]) -> (u64, u64) {
    let mean = |part: &[Sample]| {
        part.iter().map(|sample| sample.resident_bytes).sum::<u64>() / u64::try_from(part.len().max(1)).unwrap()
    };
    let quarter = samples.len() / 4;
    (mean(&samples[quarter..2 * quarter]), mean(&samples[3 * quarter..]))
}

/// No push: one that is interrupted may be left to its sender.
fn another() -> (Callback, String) {
    let purchase = Purchase::new();
    let (callback, subject) = match rand::rng().random_range(0..10) {
        0..7 => (Callback::authorization(&purchase), purchase.session.clone()),
        _ => (Callback::notification(&purchase), purchase.order.clone()),
    };
    (signed(callback, &purchase), subject)
}

/// The subject of a callback that the shop took.
fn delivered(seen: &Seen) -> Option<String> {
    let took_it = seen.answered.is_some_and(|status| (200..300).contains(&status));
    let body: serde_json::Value = serde_json::from_slice(&seen.body).ok()?;
    let subject = body.get("session_id").or_else(|| body.get("order_id"))?;
    took_it.then(|| subject.as_str().unwrap_or_default().to_owned())
}

fn well(site: &Site) {
    site.shop.always_for("wc-api", Act::minus_one(200).after(SHOP_TAKES));
}

fn unwell(site: &Site) {
    site.shop.always_for("wc-api", Act::maintenance());
}

fn ledger_bytes(site: &Site) -> u64 {
    let size = |name: &str| std::fs::metadata(site.path(name)).map_or(0, |file| file.len());
    size("kallback.db") + size("kallback.db-wal")
}

fn number(variable: &str) -> Option<f64> {
    std::env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}
