//! The contract on a real PostgreSQL, and what only a shared ledger can promise.

#[allow(dead_code, unreachable_pub, reason = "the integration tests use the rest, and see it from elsewhere")]
#[path = "../../../tests/it/support/database.rs"]
mod database;

use tokio::time::timeout;

use self::database::{Database, Server};
use super::*;
use crate::clock::Clock;
use crate::event::{Fingerprint, Kind};
use crate::ledger::State;
use crate::ledger::contract::world::{HOUR, MINUTE, SECOND, bare_notice, failure, notice, reply};
use crate::ledger::contract::{Place, World, contract};
use crate::ledger::flights::{Boarding, Flights};
use crate::metrics::Telemetry;

struct Shared(Database);

impl Shared {
    fn new() -> Self {
        Self(Server::shared().database())
    }

    fn address(&self) -> Address {
        Address::parse(&self.0.url()).unwrap()
    }
}

impl Place for Shared {
    fn open(&self, around: Surroundings, bytes_max: u64) -> Box<dyn Ledger> {
        Box::new(Postgres::open(&self.address(), Options { bytes_max, ..OPTIONS }, around).unwrap())
    }

    fn survives(&self) -> bool {
        true
    }

    fn misses_holders_after(&self) -> Duration {
        OPTIONS.lease
    }
}

const OPTIONS: Options = Options {
    connections: 2,
    queue_max: 1_024,
    bytes_max: 1 << 30,
    lease: Duration::from_secs(75),
    stalled_after: Duration::from_secs(5),
    takes_over_after: Duration::ZERO,
};

contract!(Shared::new());
