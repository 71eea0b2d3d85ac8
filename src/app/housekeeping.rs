//! What happens now and then: old records are swept out, gauges are set, strangers' buckets are tidied.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ledger::{Ledger, Retention};
use crate::limits::Rates;
use crate::metrics::{Event, LedgerCounts, Telemetry};

/// How often the ledger's gauges are set: well below a scrape interval.
const GAUGES_EVERY: Duration = Duration::from_secs(2);
/// How often the buckets of callers that went away are dropped.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The pause between two slices of a sweep: claims go first.
const BETWEEN_SLICES: Duration = Duration::from_millis(20);

/// Sweeps out old records until `stop`.
pub(super) async fn sweep(ledger: Arc<dyn Ledger>, retention: Retention, every: Duration, stop: CancellationToken) {
    while pause(every, &stop).await {
        // A failure is reported by the ledger itself; the next round tries again.
        while let Ok(swept) = ledger.sweep(retention).await {
            let a_full_slice = swept.bodies + swept.records >= u64::from(retention.slice);
            if !a_full_slice || !pause(BETWEEN_SLICES, &stop).await {
                break;
            }
        }
    }
}

/// Sets the ledger's gauges until `stop`.
pub(super) async fn gauges(ledger: Arc<dyn Ledger>, telemetry: Telemetry, clock: Clock, stop: CancellationToken) {
    loop {
        match ledger.counts().await {
            Ok(counts) => telemetry.set_ledger_counts(&LedgerCounts {
                accepted: counts.accepted,
                pending: counts.pending,
                settled: counts.settled,
                dead: counts.dead,
                left: counts.left,
                oldest_pending_age: counts.oldest_pending.map(|at| clock.now().since(at)).unwrap_or_default(),
            }),
            Err(error) => telemetry.emit(Event::LedgerFailed { call: "counts", error: &error }),
        }
        if !pause(GAUGES_EVERY, &stop).await {
            return;
        }
    }
}

/// Drops the buckets of callers that went away until `stop`.
pub(super) async fn tidy(rates: impl Fn() -> Rates, stop: CancellationToken) {
    while pause(TIDY_EVERY, &stop).await {
        rates().tidy();
    }
}

/// `false` when it is time to stop.
async fn pause(how_long: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        // In order, so that nothing here depends on chance.
        biased;
        () = tokio::time::sleep(how_long) => true,
        () = stop.cancelled() => false,
    }
}
