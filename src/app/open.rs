//! Opens what kallback stands on: the ledger, the admin listener, the front door, the place for a successor.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::hand_over::HandOverPoint;
use super::parts::{Background, Lasting};
use super::{Heritage, LifeSettings, Settings, StartError};
use crate::clock::Clock;
use crate::export::Exporter;
use crate::gateway::{Gateway, Rules};
use crate::ledger::memory::Memory;
use crate::ledger::postgres::{self, Postgres};
use crate::ledger::sqlite::{OpenError, Sqlite};
use crate::ledger::{Backend, Ledger, Surroundings};
use crate::metrics::{Causes, Event, Telemetry};
use crate::server::workers::{Listeners, WorkerFault};
use crate::server::{BoundSocket, Drain, Front, Inherited};
use crate::{admin, export};

/// A process that closed the ledger lets go of its lock a moment later.
const LET_GO_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Opens the ledger as soon as whoever has it lets go of it.
pub(super) async fn ledger_of(
    heritage: &mut Heritage,
    settings: &Settings,
    around: &Surroundings,
) -> Result<Arc<dyn Ledger>, StartError> {
    if let Some(predecessor) = &mut heritage.predecessor {
        predecessor.frees_the_ledger().await?;
    }
    let waits = heritage.after_another || heritage.predecessor.is_some();
    let until = around.clock.instant() + LET_GO_WITHIN;
    loop {
        match ledger(settings, around.clone()).await {
            Err(StartError::Ledger(OpenError::InUse(_))) if waits && around.clock.instant() < until => {
                sleep(LOOK_EVERY).await;
            }
            opened => return opened,
        }
    }
}

/// The way to the collector of traces, if there is to be one. One that cannot be used is no reason not to start.
pub(super) fn exporter(settings: Option<&export::Settings>, clock: &Clock, telemetry: &Telemetry) -> Option<Exporter> {
    match Exporter::new(settings?.clone(), clock.clone(), telemetry.clone()) {
        Ok(exporter) => Some(exporter),
        Err(fault) => {
            let what = format!("no spans are made; the collector's certificate authority: {}", Causes(&fault));
            telemetry.emit(Event::Warning { what: &what });
            None
        }
    }
}

/// An exporter at work.
pub(super) struct Exporting {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Exporting {
    pub(super) fn start(exporter: Exporter) -> Self {
        let stop = CancellationToken::new();
        let running = tokio::spawn(exporter.run(stop.clone()));
        Self { stop, running }
    }

    /// Brings what is left, within the exporter's own bound.
    pub(super) async fn end(self) {
        self.stop.cancel();
        // If it panicked, its spans are lost and nothing else.
        drop(self.running.await);
    }
}

/// Opens the ledger, and makes its folder if it is not there. A shared one is waited for only until its database was
/// asked once: kallback serves without it, too, and goes on trying.
async fn ledger(settings: &Settings, around: Surroundings) -> Result<Arc<dyn Ledger>, StartError> {
    let (settings, attempt_timeout) = (&settings.ledger, settings.delivery.attempt_timeout);
    match &settings.backend {
        Backend::Postgres(address, connections) => {
            let options = postgres::Options::new(settings, *connections, attempt_timeout);
            let ledger = Postgres::open(address, options, around).map_err(Arc::new)?;
            match ledger.first_contact().await {
                Err(why) if why.is_lasting() => Err(why.into()),
                _ => Ok(Arc::new(ledger)),
            }
        }
        Backend::Memory => Ok(Arc::new(Memory::new(settings.bytes_max, around))),
        Backend::File(path) => {
            let folder = path.parent().unwrap_or(Path::new("."));
            make_private_folder(folder).map_err(|why| StartError::Folder { folder: folder.to_owned(), why })?;
            Ok(Arc::new(Sqlite::open(path, settings.into(), around)?))
        }
    }
}

/// Customers' data lies there: nobody else may look.
fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Binds the admin listener or inherits it, if there is to be one.
pub(super) fn admin(settings: &admin::Settings, inherited: &mut Inherited) -> Result<Option<BoundSocket>, StartError> {
    let Some(address) = settings.listen else { return Ok(None) };
    if let Some(socket) = inherited.take(address).pop() {
        return Ok(Some(socket));
    }
    BoundSocket::bind(address, false).map(Some).map_err(|why| StartError::Admin { address, why })
}

/// Handles of all listening sockets, if a successor may ask for them.
pub(super) fn handles(
    life: &LifeSettings,
    listeners: &Listeners,
    admin: Option<&BoundSocket>,
) -> io::Result<Vec<BoundSocket>> {
    if life.hand_over_at.is_none() {
        return Ok(Vec::new());
    }
    let mut handles = listeners.other_handles()?;
    if let Some(socket) = admin {
        handles.push(socket.another_handle()?);
    }
    Ok(handles)
}

/// A place for a successor, if one may come. Made early, because whatever can fail must fail while a predecessor serves.
pub(super) fn hand_over_point(life: &LifeSettings) -> Result<Option<Arc<HandOverPoint>>, StartError> {
    let Some(at) = &life.hand_over_at else { return Ok(None) };
    match HandOverPoint::open(at) {
        Ok(point) => Ok(Some(Arc::new(point))),
        Err(why) => Err(StartError::HandOverPoint { at: at.clone(), why }),
    }
}

/// From now on successors come here.
pub(super) fn announce(point: Option<&HandOverPoint>) -> Result<(), StartError> {
    let Some(point) = point else { return Ok(()) };
    point.announce().map_err(|why| StartError::HandOverPoint { at: point.path().to_owned(), why })
}

/// Serves the front door until it is drained: each worker by rules of its own.
pub(super) fn door(
    listeners: Listeners,
    front: Arc<Front>,
    (rules, background): (&[Arc<ArcSwap<Rules>>], &Arc<ArcSwap<Background>>),
    lasting: &Lasting,
    drain: &Drain,
) -> JoinHandle<Result<(), WorkerFault>> {
    let gateways: Vec<_> = rules
        .iter()
        .map(|rules| Gateway::new(rules.clone(), lasting.clock.clone(), lasting.telemetry.clone()))
        .collect();
    let next = Arc::new(AtomicUsize::new(0));
    let make_handler = move || {
        let worker = next.fetch_add(1, Ordering::Relaxed) % gateways.len();
        gateways[worker].clone()
    };
    let background = background.clone();
    let is_callback = Arc::new(move |target: &str| background.load().recogniser.recognise(target).is_some());
    tokio::spawn(listeners.serve(front, make_handler, is_callback, drain.clone()))
}
