//! One life of kallback: its parts as `app` builds them, on a runtime of its own whose clock stands still until the
//! world moves it. Dropping the runtime is the kill.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kallback::app::Settings;
use kallback::app::parts::{self, Lasting};
use kallback::clock::{Clock, UnixMillis};
use kallback::delivery::Outage;
use kallback::delivery::retry::Redelivery;
use kallback::delivery::schedule::Jitter;
use kallback::gateway::Gateway;
use kallback::ledger::flights::Flights;
use kallback::ledger::memory::Memory;
use kallback::ledger::sqlite::{Hand, OpenError, Options, Sqlite, Vfs};
use kallback::ledger::{Ledger, Surroundings};
use kallback::limits::Seats;
use kallback::metrics::Telemetry;
use kallback::server::{self, Drain, Front};
use kallback::upstream::Address;
use kallback::upstream::dial::Dialler;
use rustls::server::ResolvesServerCertUsingSni;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chance::Chance;
use crate::disk::{self, Disk};
use crate::ledger::{Diary, Watched};
use crate::variant::Variant;
use crate::wire::{Bell, End};

/// The ledger's file on its disk.
pub const FILE: &str = "kallback.db";

/// Most bytes of the ledger.
const LEDGER_BYTES_MAX: u64 = 1 << 30;

/// A running kallback.
pub struct Life {
    // The hand first: what waits for it stays undone.
    hand: Hand,
    runtime: Runtime,
    origin: Instant,
    began_ms: u64,
    doors: Vec<Door>,
    next_door: usize,
    drain: Drain,
    clock: Clock,
    /// What it does.
    pub bell: Bell,
    /// What its ledger was told.
    pub diary: Diary,
}

struct Door {
    front: Arc<Front>,
    gateway: Gateway,
}

/// What a life begins with.
pub struct Birth<'a> {
    /// What it is told.
    pub settings: &'a Settings,
    /// Its disk.
    pub disk: &'a Disk,
    /// The world's time.
    pub now_ms: u64,
    /// Wall time.
    pub wall: UnixMillis,
    /// Its jitter.
    pub chance: Chance,
    /// What is wrong with it.
    pub variant: Option<Variant>,
}

impl Life {
    /// Starts kallback on a disk.
    ///
    /// # Errors
    /// If the ledger cannot be opened.
    pub fn begin(birth: Birth<'_>) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap_or_else(|why| panic!("no runtime: {why}"));
        let entered = runtime.enter();
        let (clock, bell, diary) = (Clock::simulated(birth.wall), Bell::default(), Diary::default());
        let drain = Drain::new();
        let mut settings = birth.settings.clone();
        settings.upstream.address = Address::Dialled(Dialler(Arc::new(bell.clone())));
        let draws = Mutex::new(birth.chance);
        let jitter = Jitter::drawn_by(move || draws.lock().map_or(0.5, |mut draws| draws.share()));
        let make = Make { settings: &settings, clock: &clock, bell: &bell, diary: &diary, drain: &drain, jitter };
        let around = make.surroundings();
        let options = Options::from(&settings.ledger);
        let write_anew = if birth.variant == Some(Variant::HolesInTheWal) { |_: &_| Ok(()) } else { disk::write_anew };
        let vfs = Vfs { name: disk::VFS, write_anew };
        let (sqlite, hand) = Sqlite::by_hand(&birth.disk.name_of(FILE), vfs, options, around.clone())?;
        let mut doors = vec![make.door(Arc::new(sqlite), around, birth.variant)];
        if birth.variant == Some(Variant::NothingJoins) {
            let around = make.surroundings();
            doors.push(make.door(Arc::new(Memory::new(LEDGER_BYTES_MAX, around.clone())), around, None));
        }
        let origin = clock.instant();
        drop(entered);
        Ok(Self { hand, runtime, origin, began_ms: birth.now_ms, doors, next_door: 0, drain, clock, bell, diary })
    }

    /// Lets it run until that time, or until it does something. Returns the time then.
    pub fn run_until(&mut self, until_ms: u64) -> u64 {
        let until = self.origin + Duration::from_millis(until_ms - self.began_ms);
        let (bell, clock, origin) = (self.bell.clone(), self.clock.clone(), self.origin);
        let elapsed = self.runtime.block_on(async move {
            tokio::select! {
                biased;
                () = bell.rung() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            come_to_rest(&bell).await;
            clock.instant() - origin
        });
        self.began_ms + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// A caller connects.
    pub fn accept(&mut self, end: End) {
        let door = &self.doors[self.next_door % self.doors.len()];
        self.next_door += 1;
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 40_000);
        let (front, gateway, drain) = (door.front.clone(), door.gateway.clone(), self.drain.clone());
        self.runtime.spawn(server::receive(end, peer, front, gateway, drain));
    }

    /// Turns its ledger's threads, on its own clock.
    pub fn ledger<T>(&mut self, turn: impl FnOnce(&mut Hand) -> T) -> T {
        let _entered = self.runtime.enter();
        turn(&mut self.hand)
    }

    /// Moves its wall clock at once.
    pub fn jump(&self, millis: i64) {
        self.clock.jump(millis);
    }
}

/// Lets everything happen that happens at this instant. Whom tokio wakes first of several that wait for the same word is
/// left to a chance of its own; what all of them did until they rest is not.
async fn come_to_rest(bell: &Bell) {
    const TURNS_WITHOUT_EFFECT: u32 = 4;
    let (mut effects, mut turns) = (bell.effects(), 0);
    while turns < TURNS_WITHOUT_EFFECT {
        tokio::task::yield_now().await;
        turns = if bell.effects() == effects { turns + 1 } else { 0 };
        effects = bell.effects();
    }
}

struct Make<'a> {
    settings: &'a Settings,
    clock: &'a Clock,
    bell: &'a Bell,
    diary: &'a Diary,
    drain: &'a Drain,
    jitter: Jitter,
}

impl Make<'_> {
    fn surroundings(&self) -> Surroundings {
        Surroundings { clock: self.clock.clone(), flights: Flights::default(), telemetry: telemetry() }
    }

    /// What `App` builds and starts, less listeners, certificates, the admin listener, and what sweeps and measures.
    fn door(&self, ledger: Arc<dyn Ledger>, around: Surroundings, variant: Option<Variant>) -> Door {
        let (clock, telemetry) = (self.clock.clone(), telemetry());
        let watched = Watched::new(ledger, around.clone(), (self.bell.clone(), self.diary.clone()), variant);
        let ledger: Arc<dyn Ledger> = Arc::new(watched);
        let lasting = Lasting {
            ledger: ledger.clone(),
            flights: around.flights.clone(),
            seats: Seats::new(self.settings.limits.seats, clock.clone(), telemetry.clone()),
            outage: Arc::new(Outage::default()),
            jitter: self.jitter.clone(),
            tasks: self.drain.tasks(),
            under_way: TaskTracker::new(),
            clock: clock.clone(),
            telemetry: telemetry.clone(),
        };
        let built = parts::build(self.settings, &lasting, 1).unwrap_or_else(|why| panic!("{why}"));
        let redelivery = Redelivery {
            ledger,
            flights: around.flights,
            outage: lasting.outage.clone(),
            concurrency: self.settings.delivery.redelivery_concurrency,
            clock: clock.clone(),
            telemetry: telemetry.clone(),
            tasks: lasting.tasks.clone(),
            under_way: lasting.under_way.clone(),
            stop: CancellationToken::new(),
        };
        let delivery = built.background.delivery.clone();
        if variant != Some(Variant::NobodyRedelivers) {
            tokio::spawn(redelivery.run(move || delivery.clone()));
        }
        let rules = Arc::new(arc_swap::ArcSwap::new(built.workers[0].clone()));
        let gateway = Gateway::new(rules, clock.clone(), telemetry.clone());
        Door { front: Front::new(self.settings.server.clone(), no_certificates(), clock, telemetry), gateway }
    }
}

thread_local! {
    static TELEMETRY: Telemetry = Telemetry::new().unwrap_or_else(|why| panic!("{why}"));
}

/// One for each thread: nothing that is measured flows back into what happens.
fn telemetry() -> Telemetry {
    TELEMETRY.with(Clone::clone)
}

/// The simulated callers speak no TLS.
fn no_certificates() -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|why| panic!("{why}"))
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    Arc::new(config)
}
