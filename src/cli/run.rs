//! `kallback run`: starts, then follows signals until it is told to stop.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::inherit;
use crate::app::hand_over::{HandOverPoint, Successor};
use crate::app::{App, StartError, Succession};
use crate::clock::Clock;
use crate::config::{Finding, Loaded, Origins};
use crate::metrics::{Event, LogError, Telemetry, TelemetryError};
use crate::server::Workers;
use crate::server::workers::WorkerFault;

/// Why kallback does not run, or not any longer.
#[derive(Debug, Error)]
pub(super) enum RunFault {
    /// Something could not be opened, bound or built.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The front door broke.
    #[error(transparent)]
    Door(#[from] WorkerFault),
    /// `--take-over` without a place to ask.
    #[error(
        "--take-over: the config names no socket for it; set life.hand_over_at, and start without --take-over once"
    )]
    NowhereToTakeOver,
    /// There would be no metrics.
    #[error(transparent)]
    Metrics(#[from] TelemetryError),
    /// There would be no logs.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// The system refuses threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// At the end, threads that still hang on something (a name server, a disk) are waited for no longer than this.
const LAST_THREADS_WITHIN: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT, and then until all is finished. A second one ends it at once. `origins` are where
/// `loaded` comes from, and are read again on SIGHUP. With `take_over`, a kallback that runs hands over to this one.
pub(super) fn run(loaded: Loaded, origins: Origins, take_over: bool) -> Result<(), RunFault> {
    let telemetry = Telemetry::new()?;
    let _written_at_the_end = telemetry.install_logs(&loaded.settings.log)?;
    warn(&loaded, &telemetry);
    let runtime = runtime(loaded.settings.server.workers)?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let heritage = match take_over {
            true => inherit::from_predecessor(loaded.settings.life.hand_over_at.as_deref()).await?,
            false => inherit::from_systemd()?,
        };
        let app = App::start_with(loaded.settings, Clock::system(), telemetry.clone(), heritage).await?;
        say_where(&app, &telemetry);
        follow(app, &mut signals, (origins, telemetry)).await
    });
    runtime.shutdown_timeout(LAST_THREADS_WITHIN);
    outcome
}

/// The runtime of what is not bound to a worker; of everything when the workers share one.
fn runtime(workers: Workers) -> io::Result<Runtime> {
    match workers {
        Workers::PerCore(_) => Builder::new_current_thread().enable_all().build(),
        Workers::Shared(threads) => Builder::new_multi_thread().worker_threads(threads.max(1)).enable_all().build(),
    }
}

async fn follow(
    mut app: App,
    signals: &mut Signals,
    (origins, telemetry): (Origins, Telemetry),
) -> Result<(), RunFault> {
    tell_supervisor(&[NotifyState::Ready]);
    loop {
        let point = app.hand_over_point();
        tokio::select! {
            () = signals.terminate.next() => break,
            () = signals.interrupt.next() => break,
            () = signals.reload.next() => reload(&mut app, &origins, &telemetry).await,
            successor = next_of(point.as_deref()) => {
                let succession = tokio::select! {
                    succession = app.hand_over(successor) => succession,
                    () = signals.terminate.next() => break,
                    () = signals.interrupt.next() => break,
                };
                match succession {
                    Succession::Declined => {}
                    Succession::Broken => app = app.start_again().await?,
                    Succession::Succeeded => return until_cut_off(app.cutter(), app.leave(), signals, &telemetry).await,
                }
            }
            fault = app.failed() => return fault.map_or(Ok(()), |fault| Err(fault.into())),
        }
    }
    tell_supervisor(&[NotifyState::Stopping]);
    until_cut_off(app.cutter(), app.drain(), signals, &telemetry).await
}

/// Ends with `finish`, or at the next signal.
async fn until_cut_off(
    cut_off: impl FnOnce(),
    finish: impl Future<Output = ()>,
    signals: &mut Signals,
    telemetry: &Telemetry,
) -> Result<(), RunFault> {
    tokio::select! {
        () = finish => return Ok(()),
        () = signals.terminate.next() => {}
        () = signals.interrupt.next() => {}
    }
    cut_off();
    telemetry.emit(Event::Warning { what: "told twice to stop: what still ran was cut off" });
    Ok(())
}

async fn next_of(point: Option<&HandOverPoint>) -> Successor {
    match point {
        Some(point) => point.next().await,
        None => std::future::pending().await,
    }
}

/// All or nothing: a faulty config changes nothing.
async fn reload(app: &mut App, origins: &Origins, telemetry: &Telemetry) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        // Newer versions of systemd refuse the one without the other.
        tell_supervisor(&[NotifyState::Reloading, now]);
    }
    let origins = origins.clone();
    let read = tokio::task::spawn_blocking(move || origins.load()).await;
    let fault: Option<Box<dyn std::error::Error>> = match read {
        Ok(Ok(loaded)) => {
            warn(&loaded, telemetry);
            app.reload(&loaded.settings).err().map(Into::into)
        }
        Ok(Err(faults)) => Some(faults.in_one_line().into()),
        Err(panicked) => Some(panicked.into()),
    };
    telemetry.emit(Event::Reloaded { what: "config", fault: fault.as_deref() });
    let status = if fault.is_some() { "the new config is faulty; the last good one stays" } else { "" };
    tell_supervisor(&[NotifyState::Ready, NotifyState::Status(status)]);
}

fn warn(loaded: &Loaded, telemetry: &Telemetry) {
    for warning in loaded.warnings.iter().map(Finding::in_one_line) {
        telemetry.emit(Event::Warning { what: &warning });
    }
}

fn say_where(app: &App, telemetry: &Telemetry) {
    let listening = app.tls_addresses().iter().map(|address| format!("https://{address}"));
    let redirecting = app.plain_addresses().iter().map(|address| format!("http://{address} (redirects)"));
    let fronted = app.behind_tls_addresses().iter().map(|address| format!("http://{address} (behind TLS)"));
    let admin = app.admin_address().map(|address| format!("http://{address} (admin)"));
    let all: Vec<String> = listening.chain(redirecting).chain(fronted).chain(admin).collect();
    telemetry.emit(Event::Life { what: &format!("listening on {}", all.join(", ")) });
}

/// Tells systemd, where it is there to be told.
fn tell_supervisor(states: &[NotifyState<'_>]) {
    // Without a supervisor there is nobody to tell, and nothing to be done about one that does not listen.
    let _ = sd_notify::notify(states);
}

struct Signals {
    terminate: Waiting,
    interrupt: Waiting,
    reload: Waiting,
}

struct Waiting(Signal);

impl Signals {
    fn listen() -> io::Result<Self> {
        let waiting = |kind| signal(kind).map(Waiting);
        Ok(Self {
            terminate: waiting(SignalKind::terminate())?,
            interrupt: waiting(SignalKind::interrupt())?,
            reload: waiting(SignalKind::hangup())?,
        })
    }
}

impl Waiting {
    /// The next signal. Never comes when the runtime can deliver none any more.
    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
