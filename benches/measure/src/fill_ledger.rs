//! Makes a ledger with so many settled records, through kallback's own ledger: what a gateway opens after days of work.
//!
//!     fill-ledger FILE RECORDS

#[path = "../../inputs/notices.rs"]
mod notices;

use std::path::Path;
use std::sync::Arc;

use kallback::clock::Clock;
use kallback::ledger::flights::{Boarding, Flights};
use kallback::ledger::sqlite::{Checkpoints, Options, Sqlite};
use kallback::ledger::{Admission, Ledger, Notice, Surroundings};
use kallback::metrics::Telemetry;
use notices::Fault;

/// So many wait for one commit.
const CALLERS: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, records] = arguments.as_slice() else { return Err("usage: fill-ledger FILE RECORDS".into()) };
    fill(Path::new(file), records.parse()?).await
}

async fn fill(file: &Path, records: usize) -> Result<(), Fault> {
    let flights = Flights::default();
    let around = Surroundings { clock: Clock::system(), flights: flights.clone(), telemetry: Telemetry::new()? };
    let options = Options { queue_max: 4_096, bytes_max: 1 << 33, checkpoints: Checkpoints::Aside };
    let ledger = Arc::new(Sqlite::open(file, options, around)?);
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let share = records / CALLERS + usize::from(caller < records % CALLERS);
        callers.push(tokio::spawn(settle_all(Arc::clone(&ledger), flights.clone(), notices::made(caller, share)?)));
    }
    for caller in callers {
        caller.await??;
    }
    Ok(ledger.shut_down().await?)
}

async fn settle_all(ledger: Arc<Sqlite>, flights: Flights, notices: Vec<Arc<Notice>>) -> Result<(), Fault> {
    let reply = Arc::new(notices::reply());
    for notice in notices {
        let identity = notice.identity();
        let Boarding::First(flight) = flights.board(identity.fingerprint, identity.turn) else {
            return Err("two notices are the same".into());
        };
        match ledger.admit(notice, flight).await.map_err(|(error, _)| error)? {
            Admission::Fresh(claim) => ledger.settle(claim, Arc::clone(&reply)).await.map_err(|(error, _)| error)?,
            _ => return Err("a notice is not new".into()),
        }
    }
    Ok(())
}
