//! Builds all parts, starts the background work, drains.
//!
//! [`App::start`] is the composition root: everything is made here and handed on, nothing is fetched from a global.

mod fixed;
pub mod hand_over;
mod housekeeping;
mod open;
pub mod parts;
mod succession;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::fixed::Fixed;
use self::hand_over::{HandOverFault, HandOverPoint, Predecessor};
use self::parts::{Background, Built, Lasting};
use crate::admin::{self, Admin, Health};
use crate::clock::Clock;
use crate::delivery::retry::Redelivery;
use crate::delivery::schedule::Jitter;
use crate::delivery::{self, Outage};
use crate::gateway::Rules;
use crate::ledger::flights::Flights;
use crate::ledger::sqlite::OpenError;
use crate::ledger::{self, Surroundings, postgres};
use crate::limits::Seats;
use crate::metrics::{self, Event, Telemetry};
use crate::server::tls::{CertificateFault, Certificates};
use crate::server::workers::{CannotListen, Listeners, WorkerFault};
use crate::server::{self, BoundSocket, Drain, Front, Inherited, Workers};
use crate::{export, forward, limits, recognise, token, upstream};

pub use self::parts::PartsError;
pub use self::succession::Succession;

/// Everything that kallback is told, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listeners.
    pub server: server::Settings,
    /// Which requests are callbacks.
    pub recognise: recognise::Settings,
    /// Token and signature checks.
    pub token: token::Settings,
    /// Rates, sizes, seats.
    pub limits: limits::Settings,
    /// The shop.
    pub upstream: upstream::Settings,
    /// Traffic.
    pub forward: forward::Settings,
    /// Notices.
    pub delivery: delivery::Settings,
    /// The store.
    pub ledger: ledger::Settings,
    /// The admin listener.
    pub admin: admin::Settings,
    /// Logs.
    pub log: metrics::LogSettings,
    /// Traces, if any are made.
    pub traces: Option<export::Settings>,
    /// Stopping.
    pub life: LifeSettings,
}

/// How kallback stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LifeSettings {
    /// After SIGTERM it goes on accepting for this time, so that load balancers notice.
    pub drain_delay: Duration,
    /// What runs then has this time to finish.
    pub drain_timeout: Duration,
    /// The Unix socket where a successor asks for the listening sockets and the ledger.
    pub hand_over_at: Option<PathBuf>,
}

/// What a process finds when it starts.
#[derive(Debug, Default)]
pub struct Heritage {
    /// Listening sockets.
    pub sockets: Inherited,
    /// Another process is about to let go of the ledger, which is waited for.
    pub after_another: bool,
    /// Who has the ledger, and gives it up when asked.
    pub predecessor: Option<Predecessor>,
}

/// Why kallback does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The database of the ledger cannot be used, and waiting does not help.
    #[error("the ledger: {0}")]
    Database(#[from] Arc<postgres::OpenError>),
    /// The folder of the ledger cannot be made.
    #[error("the folder {folder} cannot be made: {why}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// An address is taken, or not allowed.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// The admin listener's address is taken, or not allowed.
    #[error("the admin listener cannot listen on {address}: {why}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        why: io::Error,
    },
    /// See [`PartsError`].
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// See [`HandOverFault`].
    #[error(transparent)]
    HandOver(#[from] HandOverFault),
    /// The listening sockets cannot be held for a successor.
    #[error("the listening sockets cannot be used: {0}")]
    Sockets(io::Error),
    /// Nobody would wait for a successor.
    #[error("life.hand_over_at: cannot listen at {at}: {why}")]
    HandOverPoint {
        /// The socket.
        at: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
}

/// A running kallback.
pub struct App {
    tls: Vec<SocketAddr>,
    plain: Vec<SocketAddr>,
    behind_tls: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    settings: Settings,
    /// Second handles of all listening sockets, if they may be handed over.
    sockets: Vec<BoundSocket>,
    point: Option<Arc<HandOverPoint>>,
    fixed: Fixed,
    health: Arc<Health>,
    drain: Drain,
    stop_redelivery: CancellationToken,
    stop_background: CancellationToken,
    door: JoinHandle<Result<(), WorkerFault>>,
    certificates: Certificates,
    lasting: Lasting,
    rules: Vec<Arc<ArcSwap<Rules>>>,
    background: Arc<ArcSwap<Background>>,
    exporter: Option<open::Exporting>,
}

impl App {
    /// Starts everything and returns when callbacks are accepted.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(settings: Settings, clock: Clock, telemetry: Telemetry) -> Result<Self, StartError> {
        Self::start_with(settings, clock, telemetry, Heritage::default()).await
    }

    /// The same with what others left: sockets that listen already, and a process that has the ledger still.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then, and a predecessor goes on.
    pub async fn start_with(
        settings: Settings,
        clock: Clock,
        telemetry: Telemetry,
        mut heritage: Heritage,
    ) -> Result<Self, StartError> {
        let certificates = Certificates::load(settings.server.tls.clone(), clock.clone(), telemetry.clone())?;
        let listeners = Listeners::bind_or_inherit(&settings.server, &mut heritage.sockets)?;
        let admin_socket = open::admin(&settings.admin, &mut heritage.sockets)?;
        let sockets = open::handles(&settings.life, &listeners, admin_socket.as_ref()).map_err(StartError::Sockets)?;
        let point = open::hand_over_point(&settings.life)?;
        for address in heritage.sockets.left() {
            let what = format!("nobody asked for the inherited socket of {address}: no option names this address");
            telemetry.emit(Event::Warning { what: &what });
        }
        telemetry.keep_history(clock.clone());
        let exporter = open::exporter(settings.traces.as_ref(), &clock, &telemetry);
        let drain = Drain::new();
        let flights = Flights::default();
        let around = Surroundings { clock: clock.clone(), flights: flights.clone(), telemetry: telemetry.clone() };
        let lasting = Lasting {
            ledger: open::ledger_of(&mut heritage, &settings, &around).await?,
            flights,
            seats: Seats::new(settings.limits.seats, clock.clone(), telemetry.clone()),
            outage: Arc::new(Outage::default()),
            jitter: Jitter::random(),
            tasks: drain.tasks(),
            under_way: TaskTracker::new(),
            clock: clock.clone(),
            telemetry: telemetry.clone(),
        };
        let workers = match settings.server.workers {
            Workers::PerCore(workers) => workers.max(1),
            Workers::Shared(_) => 1,
        };
        let Built { workers, background } = parts::build(&settings, &lasting, workers)?;
        let rules: Vec<_> = workers.into_iter().map(|rules| Arc::new(ArcSwap::new(rules))).collect();
        let background = Arc::new(ArcSwap::new(background));
        let (tls, plain) = (listeners.tls_addresses().to_vec(), listeners.plain_addresses().to_vec());
        let behind_tls = listeners.behind_tls_addresses().to_vec();
        let front = Front::new(settings.server.clone(), certificates.server_config(), clock, telemetry);
        // Nothing may fail after the predecessor was told that it may end.
        open::announce(point.as_deref())?;
        if let Some(predecessor) = &mut heritage.predecessor {
            predecessor.say_taken().await?;
        }
        let app = Self {
            exporter: exporter.map(open::Exporting::start),
            tls,
            plain,
            behind_tls,
            admin: admin_socket.as_ref().and_then(|socket| socket.address().ok()),
            sockets,
            point,
            fixed: Fixed::of(&settings),
            health: Arc::new(Health::default()),
            door: open::door(listeners, front, (&rules, &background), &lasting, &drain),
            drain,
            stop_redelivery: CancellationToken::new(),
            stop_background: CancellationToken::new(),
            certificates,
            lasting,
            rules,
            background,
            settings,
        };
        app.start_background(admin_socket);
        app.health.started();
        Ok(app)
    }

    /// Where TLS is accepted.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Where plain HTTP is redirected.
    pub fn plain_addresses(&self) -> &[SocketAddr] {
        &self.plain
    }

    /// Where proxies that end TLS are served.
    pub fn behind_tls_addresses(&self) -> &[SocketAddr] {
        &self.behind_tls
    }

    /// The admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads the certificates again and takes over a new config: routes, tokens, limits, policies, the way to the
    /// shop. What needs a restart (listeners, the ledger's place, seats) stays as it is, and a warning names it.
    ///
    /// # Errors
    /// [`ReloadError`]; everything stays as it was.
    pub fn reload(&mut self, settings: &Settings) -> Result<(), ReloadError> {
        let built = parts::build(settings, &self.lasting, self.rules.len())?;
        self.certificates.reload(&settings.server.tls.certificates)?;
        for (place, rules) in self.rules.iter().zip(built.workers) {
            place.store(rules);
        }
        self.background.store(built.background);
        self.settings = settings.clone();
        self.lasting.outage.ring();
        let waits = self.fixed.changed(settings);
        if !waits.is_empty() {
            let what = format!("changed, and takes effect after a restart: {}", waits.join(", "));
            self.lasting.telemetry.emit(Event::Warning { what: &what });
        }
        Ok(())
    }

    /// Where a successor asks for sockets and ledger, if it may.
    pub fn hand_over_point(&self) -> Option<Arc<HandOverPoint>> {
        self.point.clone()
    }

    /// Cuts off what runs, also while [`drain`](Self::drain) waits for it.
    pub fn cutter(&self) -> impl FnOnce() + use<> {
        let drain = self.drain.clone();
        move || drain.end_now()
    }

    /// Ends when the front door broke, which is no reason to go on.
    pub async fn failed(&mut self) -> Option<WorkerFault> {
        match (&mut self.door).await {
            Ok(outcome) => outcome.err(),
            Err(_) => Some(WorkerFault::Panicked { worker: 0 }),
        }
    }

    /// Stops in order: not ready, still accepting for `drain_delay`; then what runs has `drain_timeout` to finish. What
    /// does not finish is on disk and goes on at the next start.
    pub async fn drain(mut self) {
        self.health.draining();
        self.lasting.telemetry.emit(Event::Life { what: "draining" });
        tokio::time::sleep(self.settings.life.drain_delay).await;
        // Held open, they would let callers wait for nobody.
        self.sockets.clear();
        self.finish_what_runs().await;
        self.stop_background.cancel();
        self.close_ledger().await;
        self.bring_last_spans().await;
    }

    /// Begins nothing new; what runs has `drain_timeout`.
    async fn finish_what_runs(&mut self) {
        self.stop_redelivery.cancel();
        self.drain.begin();
        let finished = async {
            let _ = (&mut self.door).await;
            self.drain.finished().await;
        };
        if tokio::time::timeout(self.settings.life.drain_timeout, finished).await.is_err() {
            self.drain.end_now();
            let what = "what still ran was cut off; stored callbacks go on at the next start";
            self.lasting.telemetry.emit(Event::Warning { what });
        }
    }

    async fn bring_last_spans(&mut self) {
        if let Some(exporter) = self.exporter.take() {
            exporter.end().await;
        }
    }

    async fn close_ledger(&self) {
        if let Err(error) = self.lasting.ledger.shut_down().await {
            self.lasting.telemetry.emit(Event::LedgerFailed { call: "shut_down", error: &error });
        }
    }

    fn start_redelivery(&self) {
        let Lasting { ledger, telemetry, clock, flights, outage, tasks, under_way, .. } = self.lasting.clone();
        let redelivery = Redelivery {
            ledger,
            flights,
            outage,
            concurrency: self.settings.delivery.redelivery_concurrency,
            clock,
            telemetry,
            tasks,
            under_way,
            stop: self.stop_redelivery.clone(),
        };
        let background = self.background.clone();
        tokio::spawn(redelivery.run(move || background.load_full().delivery.clone()));
    }

    fn start_background(&self, admin_socket: Option<BoundSocket>) {
        self.start_redelivery();
        let Lasting { ledger, telemetry, clock, outage, .. } = self.lasting.clone();
        let settings = &self.settings;
        let stop = || self.stop_background.clone();
        let background = self.background.clone();
        let now = move || background.load_full();
        let (retention, every) = (settings.ledger.retention, settings.ledger.sweep_every);
        tokio::spawn(housekeeping::sweep(ledger.clone(), retention, every, stop()));
        tokio::spawn(housekeeping::gauges(ledger.clone(), telemetry.clone(), clock.clone(), stop()));
        let current = now.clone();
        tokio::spawn(housekeeping::tidy(move || current().rates.clone(), stop()));
        tokio::spawn(self.certificates.clone().watch(self.drain.clone()));
        if let Some(Ok(listener)) = admin_socket.map(BoundSocket::into_listener) {
            let admin = Arc::new(Admin {
                settings: settings.admin.clone(),
                health: self.health.clone(),
                telemetry,
                ledger,
                guard: Box::new(move || now().guard.clone()),
                wake: Box::new(move || outage.ring()),
                clock,
            });
            tokio::spawn(admin.serve(listener, stop()));
        }
    }
}

/// Why a reload changed nothing.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// See [`PartsError`].
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
}
