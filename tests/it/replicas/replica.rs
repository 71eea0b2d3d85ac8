//! A fleet of kallbacks, each with ways to the database and to the shop that can be cut.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::support::database::Database;
use crate::support::klarna::{Klarna, Limits};
use crate::support::operator::{Books, Operator};
use crate::support::process::Process;
use crate::support::relay::{End, Relay, Way};
use crate::support::shop::reusable_socket;
use crate::support::site::Site;
use crate::support::world::HOST;

/// Replicas in front of one shop.
pub struct Fleet {
    pub site: Arc<Site>,
    pub replicas: Vec<Replica>,
    database: Database,
}

/// One of them. Cheap to clone.
#[derive(Clone)]
pub struct Replica {
    site: Arc<Site>,
    database: Database,
    address: SocketAddr,
    admin: SocketAddr,
    life: Arc<Mutex<Option<Life>>>,
    suffered: Arc<Mutex<HashMap<Torment, usize>>>,
    woken: Arc<Mutex<Vec<Woken>>>,
    /// Keep the ports ours while nobody listens there.
    _keepers: Arc<[socket2::Socket; 2]>,
}

/// A process that went on after it had stood still for longer than a lease.
#[derive(Clone, Copy, Debug)]
pub struct Woken {
    /// The door by which the shop knows it.
    pub door: u16,
    pub at: Instant,
}

/// A running process, and its ways.
struct Life {
    process: Process,
    door: u16,
    to_database: Relay,
    to_shop: Relay,
}

/// What happens to a replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Torment {
    Killed,
    Paused,
    CutFromDatabase,
    SilentDatabase,
    CutFromShop,
}

impl Torment {
    pub fn any(dice: &mut StdRng) -> Self {
        match dice.random_range(0..10) {
            0..4 => Self::Killed,
            4..6 => Self::Paused,
            6..8 => Self::CutFromDatabase,
            8 => Self::SilentDatabase,
            _ => Self::CutFromShop,
        }
    }

    /// Often shorter than a lease, sometimes longer, at most a minute.
    pub fn lasts(self, dice: &mut StdRng) -> Duration {
        let seconds = match dice.random_range(0..10) {
            0..6 => dice.random_range(0.1..3.0),
            6..9 => dice.random_range(3.0..15.0),
            _ => dice.random_range(30.0..60.0),
        };
        Duration::from_secs_f64(if self == Self::Killed { seconds / 6.0 } else { seconds })
    }
}

impl Fleet {
    pub async fn new(database: Database, replicas: usize) -> Self {
        let site = Site::new().await;
        site.edit("file = \"kallback.db\"\n", "");
        let site = Arc::new(site);
        let replicas = (0..replicas).map(|_| Replica::of(&site, &database)).collect::<Vec<_>>();
        for replica in &replicas {
            replica.start().await;
        }
        Self { site, replicas, database }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.address).collect()
    }

    /// A patient caller at one of them.
    pub fn somebody(&self, place: usize) -> Klarna {
        Klarna::new(self.replicas[place].address, HOST, &self.site.authority).with_limits(Limits::PATIENT)
    }

    pub fn operator(&self, place: usize) -> Operator {
        Operator::at(self.replicas[place].admin)
    }

    /// How the newest record of each subject ended.
    pub fn ends(&self) -> HashMap<String, String> {
        let rows = self.database.sql("select subject, state from kallback_notices order by id");
        rows.lines().filter_map(|row| row.split_once('|')).map(|(id, end)| (id.to_owned(), end.to_owned())).collect()
    }

    /// The records counted one by one.
    pub fn recounted(&self) -> Books {
        let count = |state: &str| {
            let told = self.database.sql(&format!("select count(*) from kallback_notices where {state}"));
            told.parse().unwrap()
        };
        Books {
            accepted: count("true"),
            settled: count("state = 'settled'"),
            pending: count("state = 'pending'"),
            dead: count("state = 'dead'"),
            left: count("state = 'left'"),
        }
    }

    /// Who stood still for longer than a lease.
    pub async fn woken(&self) -> Vec<Woken> {
        let mut all = Vec::new();
        for replica in &self.replicas {
            all.extend(replica.woken.lock().await.iter().copied());
        }
        all
    }

    /// How often what happened.
    pub async fn torments(&self) -> HashMap<Torment, usize> {
        let mut all = HashMap::new();
        for replica in &self.replicas {
            for (torment, times) in &*replica.suffered.lock().await {
                *all.entry(*torment).or_default() += times;
            }
        }
        all
    }
}

impl Replica {
    fn of(site: &Arc<Site>, database: &Database) -> Self {
        let keeper = || reusable_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let keepers = [keeper(), keeper()];
        let [address, admin] = [0, 1].map(|place: usize| keepers[place].local_addr().unwrap().as_socket().unwrap());
        Self {
            site: site.clone(),
            database: database.clone(),
            address,
            admin,
            life: Arc::default(),
            suffered: Arc::default(),
            woken: Arc::default(),
            _keepers: Arc::new(keepers),
        }
    }

    async fn start(&self) {
        let to_database = Relay::to(End::Unix(self.database.socket())).await;
        // A door of its own for every life, so that the shop can tell them apart.
        let door = self.site.shop.side_door();
        let to_shop = Relay::to(End::Tcp(door)).await;
        let process = Process::start(self.site.command(&[
            &format!("server.listen={}", self.address),
            &format!("admin.listen={}", self.admin),
            &format!("ledger.url={}", self.database.url_by(to_database.address.port())),
            &format!("shop.url=http://{}", to_shop.address),
            "server.connections_per_address_max=10000",
            "limits.proven_per_second=100000",
            "shop.max_in_flight=64",
            "callbacks.kinds.authorization.answer_within=1 s",
            "callbacks.kinds.push.answer_within=1 s",
            "callbacks.kinds.notification.answer_within=1 s",
            "delivery.attempt_timeout=5 s",
            "delivery.redelivery_concurrency=16",
            "delivery.schedule=[\"100 ms\", \"200 ms\"]",
            "delivery.retry_after_at_most=100 ms",
            "ledger.admit_within=500 ms",
        ]))
        .await;
        *self.life.lock().await = Some(Life { process, door: door.port(), to_database, to_shop });
    }

    /// As a power cut would.
    pub async fn kill(&self) {
        if let Some(life) = self.life.lock().await.take() {
            life.process.kill().await;
        }
    }

    pub async fn set_database(&self, way: Way) {
        if let Some(life) = &*self.life.lock().await {
            life.to_database.set(way);
        }
    }

    async fn set_shop(&self, way: Way) {
        if let Some(life) = &*self.life.lock().await {
            life.to_shop.set(way);
        }
    }

    async fn pause(&self) {
        if let Some(life) = &*self.life.lock().await {
            life.process.pause();
        }
    }

    async fn wake_after(&self, stood_still: Duration) {
        if let Some(life) = &*self.life.lock().await {
            if stood_still >= LEASE_AT_LEAST {
                self.woken.lock().await.push(Woken { door: life.door, at: Instant::now() });
            }
            life.process.resume();
        }
    }

    /// It happens, lasts, and is over.
    pub async fn suffer(&self, torment: Torment, lasts: Duration) {
        *self.suffered.lock().await.entry(torment).or_default() += 1;
        match torment {
            Torment::Killed => self.kill().await,
            Torment::Paused => self.pause().await,
            Torment::CutFromDatabase => self.set_database(Way::Cut).await,
            Torment::SilentDatabase => self.set_database(Way::Silent).await,
            Torment::CutFromShop => self.set_shop(Way::Cut).await,
        }
        tokio::time::sleep(lasts).await;
        match torment {
            Torment::Killed => self.start().await,
            Torment::Paused => self.wake_after(lasts).await,
            Torment::CutFromDatabase | Torment::SilentDatabase => self.set_database(Way::Open).await,
            Torment::CutFromShop => self.set_shop(Way::Open).await,
        }
    }
}

/// A claim cannot be taken over sooner: an attempt's time above, and the ledger's margin of 15 s.
const LEASE_AT_LEAST: Duration = Duration::from_secs(20);
