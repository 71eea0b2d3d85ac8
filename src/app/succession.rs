//! The old process's side of a restart without a gap: give sockets and ledger to a successor, or go on.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::hand_over::Successor;
use super::{App, Heritage, StartError};
use crate::metrics::Event;
use crate::server::Inherited;

/// Open connections are closed, or have brought their last request, within this time; those that hang in a handshake
/// are not waited for.
const LAST_REQUESTS_WITHIN: Duration = Duration::from_millis(500);
/// Then callbacks have this time to end. Callers wait meanwhile, and Klarna's patience is 2 s for a connection.
const CALLBACKS_END_WITHIN: Duration = Duration::from_millis(500);

/// How an offer to a successor ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Succession {
    /// It serves; we have only to finish what is open.
    Succeeded,
    /// Nothing came of it; everything is as it was.
    Declined,
    /// It went away with the ledger already closed: start again with [`App::start_again`].
    Broken,
}

impl App {
    /// Hands sockets and ledger to a successor.
    pub async fn hand_over(&mut self, mut successor: Successor) -> Succession {
        self.say("a successor asks for sockets and ledger");
        if let Err(why) = self.offer(&mut successor).await {
            self.resume();
            self.warn(&format!("the successor did not take over; this process goes on: {why}"));
            return Succession::Declined;
        }
        self.close_ledger().await;
        let taken = async {
            successor.say_yours().await?;
            successor.has_taken().await
        };
        match taken.await {
            Ok(()) => Succession::Succeeded,
            Err(why) => {
                self.warn(&format!(
                    "the successor failed after the ledger was closed; this process starts again: {why}"
                ));
                Succession::Broken
            }
        }
    }

    /// Serves anew on the sockets that this process has held all the time, after [`Succession::Broken`]. What is open
    /// goes on beside it.
    ///
    /// # Errors
    /// [`StartError`]; nothing is accepted any more then.
    pub async fn start_again(mut self) -> Result<Self, StartError> {
        let sockets = Inherited::new(std::mem::take(&mut self.sockets)).map_err(StartError::Sockets)?;
        let (settings, clock) = (self.settings.clone(), self.lasting.clock.clone());
        let telemetry = self.lasting.telemetry.clone();
        tokio::spawn(self.leave());
        Self::start_with(settings, clock, telemetry, Heritage { sockets, after_another: true, predecessor: None }).await
    }

    /// Ends after [`Succession::Succeeded`]: what is open has `drain_timeout` to finish.
    pub async fn leave(mut self) {
        self.say("the successor serves; finishing what is open");
        self.stop_background.cancel();
        self.sockets.clear();
        self.finish_what_runs().await;
        self.bring_last_spans().await;
    }

    /// Returns when the successor wants the ledger and nothing here needs it any longer.
    async fn offer(&mut self, successor: &mut Successor) -> io::Result<()> {
        successor.give(&self.sockets).await?;
        loop {
            successor.is_ready().await?;
            if self.falls_quiet().await {
                return Ok(());
            }
            self.resume();
            self.say("callbacks are at the shop and do not end; the successor has to wait");
            successor.say_busy().await?;
        }
    }

    /// Lets nobody in and waits until no callback needs the ledger. `false` if that takes longer than callers can wait.
    async fn falls_quiet(&self) -> bool {
        self.drain.pause();
        self.stop_redelivery.cancel();
        // A callback that comes later all the same finds no ledger, and goes straight to the shop.
        let _ = timeout(LAST_REQUESTS_WITHIN, self.drain.last_requests()).await;
        let under_way = &self.lasting.under_way;
        under_way.close();
        let ended = timeout(CALLBACKS_END_WITHIN, under_way.wait()).await;
        under_way.reopen();
        ended.is_ok()
    }

    fn resume(&mut self) {
        if self.stop_redelivery.is_cancelled() {
            self.stop_redelivery = CancellationToken::new();
            self.start_redelivery();
        }
        self.drain.resume();
    }

    fn say(&self, what: &str) {
        self.lasting.telemetry.emit(Event::Life { what });
    }

    fn warn(&self, what: &str) {
        self.lasting.telemetry.emit(Event::Warning { what });
    }
}
