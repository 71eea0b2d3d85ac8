//! Outcomes, put aside until a group takes them along. Only the first of them wakes the writer, which then waits a
//! little for a claim to share its sync with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::LedgerError;
use crate::ledger::sqlite::closed;
use crate::ledger::sqlite::write::Write;

type Writes = Vec<Box<dyn Write>>;

/// The callers' side. Cheap to clone.
#[derive(Clone)]
pub(super) struct Aside {
    /// None: nobody takes them any more.
    waiting: Arc<Mutex<Option<Writes>>>,
    writes_max: usize,
}

/// The writer's side. Dropping it drops what waits, and whatever comes after that is refused.
pub(super) struct Taker(Aside);

impl Aside {
    pub(super) fn new(writes_max: usize) -> (Self, Taker) {
        let aside = Self { waiting: Arc::new(Mutex::new(Some(Vec::new()))), writes_max };
        (aside.clone(), Taker(aside))
    }

    /// Says whether it is the first: then the writer does not know of it.
    pub(super) fn put(&self, write: Box<dyn Write>) -> Result<bool, LedgerError> {
        let mut waiting = self.lock();
        let waiting = waiting.as_mut().ok_or_else(closed)?;
        if waiting.len() >= self.writes_max {
            return Err(LedgerError::Overloaded);
        }
        waiting.push(write);
        Ok(waiting.len() == 1)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writes>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker {
    /// All that wait.
    pub(super) fn take(&self) -> Writes {
        self.0.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Their callers learn it from that, and may look here at once: not under the lock.
        let left = self.0.lock().take();
        drop(left);
    }
}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aside").finish_non_exhaustive()
    }
}
