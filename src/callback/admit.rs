//! What the ledger says of a notice, by the time the notice may go to the shop.

use std::sync::Arc;

use thiserror::Error;
use tokio::time::timeout;

use super::Callbacks;
use crate::ledger::flights::Flight;
use crate::ledger::{Admission, Notice, PendingAdmission};
use crate::metrics::Event;

/// What the ledger says.
pub(super) enum Said<'a> {
    /// What it found, or wrote.
    Yes(Admission),
    /// It cannot be used: the notice goes to the shop without a record.
    No(Flight),
    /// Nothing in time: the notice goes without a record, and what the ledger is about to say is still to come.
    NotYet(PendingAdmission<'a>),
}

impl Callbacks {
    /// Asks the ledger, and waits for [`admit_within`](Self::admit_within) at most.
    ///
    /// A ledger that fails holds no notice up. But one that waits for its turn is held up all the same, by another
    /// notice of its session, and for a minute perhaps: what the ledger says meanwhile counts, and one that failed is
    /// asked once more when the turn has come. Else the shop would get what the ledger knows that it has.
    pub(super) async fn admit(&self, notice: &Arc<Notice>, mut flight: Flight) -> Said<'_> {
        loop {
            let course = flight.course();
            let has_to_wait = !course.is_my_turn();
            let mut admission = self.ledger.admit(notice.clone(), flight);
            let said = match timeout(self.admit_within, &mut admission).await {
                Ok(said) => said,
                Err(_) => {
                    self.telemetry.emit(Event::LedgerFailed { call: "admit", error: &TooSlow });
                    tokio::select! {
                        biased;
                        said = &mut admission => said,
                        () = course.my_turn() => return Said::NotYet(admission),
                    }
                }
            };
            match said {
                Ok(admission) => return Said::Yes(admission),
                Err((error, back)) => {
                    self.telemetry.emit(Event::LedgerFailed { call: "admit", error: &error });
                    if !has_to_wait {
                        return Said::No(back);
                    }
                    course.my_turn().await;
                    flight = back;
                }
            }
        }
    }
}

/// What the ledger did when it did not answer in time.
#[derive(Debug, Error)]
#[error("the ledger did not take a claim in time")]
struct TooSlow;
