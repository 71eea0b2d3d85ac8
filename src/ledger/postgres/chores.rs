//! Puts right what nobody is there to answer for: claims whose callers went on without them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::event::Fingerprint;
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Lanes, Use};
use crate::ledger::rules::WITHDRAWN;

/// What is to be put right. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Chores {
    waiting: Arc<Mutex<VecDeque<Chore>>>,
    bell: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct Chore {
    what: What,
    ticket: i64,
    /// How often it was seen to without finding anything.
    looks: u32,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The caller went on without a record: nobody was promised anything.
    Withdraw(Fingerprint),
    /// A lease that reached nobody.
    Release,
}

/// A claim on its way to its caller. Dropped before it arrived, it is put right.
pub(super) struct Underway {
    chores: Chores,
    chore: Option<Chore>,
}

impl Underway {
    /// It arrived, or never will: nothing has to be put right.
    pub(super) fn arrived(mut self) {
        self.chore = None;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(chore) = self.chore.take() {
            self.chores.put(chore);
        }
    }
}

impl Chores {
    /// A new record with this ticket is on its way.
    pub(super) fn admitting(&self, fingerprint: Fingerprint, ticket: i64) -> Underway {
        self.underway(What::Withdraw(fingerprint), ticket)
    }

    /// Leases with this ticket are on their way.
    pub(super) fn leasing(&self, ticket: i64) -> Underway {
        self.underway(What::Release, ticket)
    }

    fn underway(&self, what: What, ticket: i64) -> Underway {
        Underway { chores: self.clone(), chore: Some(Chore { what, ticket, looks: 0 }) }
    }

    fn put(&self, chore: Chore) {
        let mut waiting = self.lock();
        if waiting.len() >= CHORES_MAX {
            // Its lease runs out, and it is brought as one whose holder vanished.
            waiting.pop_front();
        }
        waiting.push_back(chore);
        drop(waiting);
        self.bell.notify_one();
    }

    /// Sees to them, round by round, until it is aborted.
    pub(super) async fn keep(self, lanes: Lanes, clock: Clock) {
        loop {
            let round = std::mem::take(&mut *self.lock());
            if round.is_empty() {
                self.bell.notified().await;
                continue;
            }
            for chore in round {
                match see_to(chore, &lanes, &clock).await {
                    Ok(true) => {}
                    // The statement that it follows may still be on its way.
                    Ok(false) if chore.looks + 1 < LOOKS => self.put(Chore { looks: chore.looks + 1, ..chore }),
                    Ok(false) => {}
                    Err(_) => self.put(chore),
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Chore>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there was something to put right.
async fn see_to(chore: Chore, lanes: &Lanes, clock: &Clock) -> Result<bool, Fault> {
    let call = lanes.call(Use::Upkeep).await?;
    let rows = match chore.what {
        What::Withdraw(fingerprint) => {
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&&fingerprint.0[..], &chore.ticket, &clock.now().0, &WITHDRAWN, &call.wire.slot];
            call.rows(WITHDRAW, &values).await?
        }
        What::Release => call.rows(RELEASE, &[&chore.ticket, &clock.now().0]).await?,
    };
    Ok(!rows.is_empty())
}

/// Beyond, the oldest is forgotten.
const CHORES_MAX: usize = 10_000;

/// Looks until it is certain that the statement was not carried out: longer than the server's patience.
const LOOKS: u32 = 24;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Not one that somebody follows: that one was told that kallback brings it.
const WITHDRAW: &str = "
with ended as (
  update kallback_notice set state = 3, held = false, free_at = null, ended_at = $3, note = $4
  where id in (select id from kallback_claim where fingerprint = $1)
    and ticket = $2 and epoch = 1 and state = 0 and held and not followed
  returning id
), counted as (
  update kallback_counts set pending = pending - 1, gone = gone + 1 where slot = $5 and exists (select 1 from ended)
)
select id from ended";

/// Nobody began to bring it: as it was before.
const RELEASE: &str = "
update kallback_notice set held = false, free_at = least(accepted_at, $2), attempts = attempts - 1
where ticket = $1 and state = 0 and held returning id";
