//! The five promises of the ledger, each with tests that break when it is broken.
//!
//! 1. A notice that kallback itself answered 2xx is on disk before the first byte of that answer.
//! 2. It then ends as settled, dead or left, visibly; accepted = settled + pending + dead + left at any time.
//! 3. The shop never sees two requests of one notice at once, nor a second one after a 2xx within the window.
//! 4. A kill at any instant breaks none of these (`crash.rs`, with the real binary).
//! 5. While the ledger cannot be written, callbacks pass straight through and are joined in memory, loudly, and
//!    kallback answers nothing 2xx on its own.

mod balanced;
mod full_disk;
mod on_disk_first;
mod one_at_once;
mod unwritable;

use std::time::Duration;

use kallback::recognise::{Override, PolicyPatch};
use tokio::task::JoinHandle;

use crate::support::callbacks::Callback;
use crate::support::klarna::{Answered, Unanswered};
use crate::support::ledger_file::LedgerFile;
use crate::support::operator::Operator;
use crate::support::world::World;

type Answering = JoinHandle<Result<Answered, Unanswered>>;

impl World {
    /// Somebody patient calls while the test goes on.
    pub fn calling(&self, callback: &Callback) -> Answering {
        let (somebody, callback) = (self.somebody(), callback.clone());
        tokio::spawn(async move { somebody.call(&callback).await })
    }

    fn books(&self) -> Operator {
        Operator::at(self.admin())
    }

    pub fn ledger_file(&self) -> LedgerFile {
        LedgerFile::at(self.folder().join("ledger.sqlite"))
    }

    async fn pass(&self, total: Duration, step: Duration) {
        self.time.as_ref().expect("time is frozen").pass(total, step).await;
    }
}

/// A rule for all callbacks.
fn policy(policy: PolicyPatch) -> Override {
    Override { preset: None, kind: None, mode: None, policy }
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

const fn minutes(number: u64) -> Duration {
    Duration::from_secs(60 * number)
}
