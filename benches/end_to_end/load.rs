//! The load: a fixed number of requests over a fixed number of connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::Outcome;
use super::world::{Door, World, connect};

/// One kind of load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Traffic { connections: usize, requests: usize },
    Fresh { connections: usize, requests: usize },
    Unique { connections: usize, requests: usize },
    Repeated { connections: usize, requests: usize },
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu_per_request: Duration,
    pub(crate) requests_per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What one connection sends, one request after the other.
type Letters = Vec<Arc<[u8]>>;

const PAGE: &[u8] = b"GET /page?number=1 HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";

impl Load {
    /// Sends all of it through that door.
    ///
    /// # Errors
    /// If any reply is missing or says anything but `200`.
    pub(crate) async fn run(self, world: &mut World, door: Door) -> Outcome<Sample> {
        let (connections, requests, keeps_alive) = match self {
            Self::Fresh { connections, requests } => (connections, requests, false),
            Self::Traffic { connections, requests }
            | Self::Unique { connections, requests }
            | Self::Repeated { connections, requests } => (connections, requests, true),
        };
        let piles = self.piles(world, connections, requests / connections)?;
        let (address, tls) = (world.address(door), world.tls());
        let (cpu_before, began) = (world.cpu(door)?, now());
        let mut callers = JoinSet::new();
        for letters in piles {
            let tls = tls.clone();
            callers.spawn(async move { Caller { address, tls, keeps_alive }.send(letters).await });
        }
        let mut times = Vec::with_capacity(requests);
        for caller in callers.join_all().await {
            times.extend(caller?);
        }
        let (took, cpu) = (began.elapsed(), world.cpu(door)? - cpu_before);
        times.sort_unstable();
        let quantile = |permille: usize| times.get(times.len() * permille / 1000).copied().unwrap_or_default();
        Ok(Sample {
            cpu_per_request: cpu / u32::try_from(times.len())?,
            requests_per_second: times.len() as f64 / took.as_secs_f64(),
            p50: quantile(500),
            p99: quantile(990),
        })
    }

    fn piles(self, world: &mut World, connections: usize, each: usize) -> Outcome<Vec<Letters>> {
        let page: Arc<[u8]> = PAGE.into();
        let known = world.known_callbacks()?;
        let mut letter = |number: usize| match self {
            Self::Unique { .. } => world.callback().map(Into::into),
            // Neighbours are far apart in it, so that hardly ever two connections send the same one at once.
            Self::Repeated { .. } => Ok(Arc::clone(&known[number % known.len()])),
            Self::Traffic { .. } | Self::Fresh { .. } => Ok(Arc::clone(&page)),
        };
        (0..connections).map(|pile| (0..each).map(|place| letter(pile * each + place)).collect()).collect()
    }
}

struct Caller {
    address: std::net::SocketAddr,
    tls: TlsConnector,
    keeps_alive: bool,
}

impl Caller {
    /// Sends them one after the other; gives back how long each took, its connection included where it had its own.
    async fn send(self, letters: Letters) -> Outcome<Vec<Duration>> {
        let mut times = Vec::with_capacity(letters.len());
        let mut open = if self.keeps_alive { Some(connect(self.address, &self.tls).await?) } else { None };
        for letter in letters {
            let began = now();
            let mut wire = match open.take() {
                Some(wire) => wire,
                None => connect(self.address, &self.tls).await?,
            };
            wire.send(&letter).await?;
            let status = wire.receive().await?.unwrap_or_default();
            if !status.starts_with("HTTP/1.1 200 ") {
                return Err(format!("the reply was `{status}`").into());
            }
            times.push(began.elapsed());
            open = self.keeps_alive.then_some(wire);
        }
        Ok(times)
    }
}

fn now() -> Instant {
    kallback::clock::Clock::system().instant()
}
