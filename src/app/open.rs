//! Opens what kallback stands on: the ledger, the admin listener, the front door.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::StartError;
use super::parts::{Background, Lasting};
use crate::admin;
use crate::gateway::{Gateway, Rules};
use crate::ledger::memory::Memory;
use crate::ledger::postgres::{self, Postgres};
use crate::ledger::sqlite::Sqlite;
use crate::ledger::{Backend, Ledger, Surroundings};
use crate::server::workers::{Listeners, WorkerFault};
use crate::server::{Drain, Front};

/// Opens the ledger, and makes its folder if it is not there. A shared one is waited for only until its database was
/// asked once: kallback serves without it, too, and goes on trying.
pub(super) async fn ledger(settings: &super::Settings, around: Surroundings) -> Result<Arc<dyn Ledger>, StartError> {
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

/// Binds the admin listener, if there is to be one.
pub(super) async fn admin(settings: &admin::Settings) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = settings.listen else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(why) => Err(StartError::Admin { address, why }),
    }
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
