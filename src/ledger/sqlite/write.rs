//! What is handed to the writer's thread: one caller's part of a group.

use tokio::sync::oneshot;

use crate::ledger::LedgerError;
use crate::ledger::sqlite::closed;
use crate::ledger::sqlite::group::Group;

/// What goes to the thread.
pub(super) enum Message {
    Write(Box<dyn Write>),
    /// There are riders, and perhaps no write for them to ride on.
    Nudge,
    Stop(Option<oneshot::Sender<()>>),
}

impl Message {
    pub(super) fn may_wait(&self) -> bool {
        matches!(self, Self::Write(write) if write.may_wait())
    }
}

/// One caller's part of a group.
pub(super) trait Write: Send {
    /// Whether it has to be done, still.
    fn is_wanted(&self) -> bool;
    /// Whether it is worth no sync of its own, for a while.
    fn may_wait(&self) -> bool;
    fn run(&mut self, group: &mut Group<'_>) -> rusqlite::Result<()>;
    /// Called after the commit, or after the failure.
    fn answer(self: Box<Self>, outcome: Result<(), LedgerError>);
}

/// When a write is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    AtOnce,
    /// At once, or not at all if nobody waits for it any more.
    IfAwaited,
    /// With the next group, or after a few milliseconds.
    Soon,
}

/// A closure and whoever waits for its outcome.
pub(super) struct Call<W, T> {
    work: Option<W>,
    done: Option<T>,
    urgency: Urgency,
    caller: oneshot::Sender<Result<T, LedgerError>>,
}

impl<W, T> Call<W, T> {
    pub(super) fn new(work: W, urgency: Urgency, caller: oneshot::Sender<Result<T, LedgerError>>) -> Self {
        Self { work: Some(work), done: None, urgency, caller }
    }
}

impl<W, T> Write for Call<W, T>
where
    T: Send,
    W: FnOnce(&mut Group<'_>) -> rusqlite::Result<T> + Send,
{
    fn is_wanted(&self) -> bool {
        !(self.urgency == Urgency::IfAwaited && self.caller.is_closed())
    }

    fn may_wait(&self) -> bool {
        self.urgency == Urgency::Soon
    }

    fn run(&mut self, group: &mut Group<'_>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.done = Some(work(group)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), LedgerError>) {
        let Self { done, caller, .. } = *self;
        // A caller that is gone wants no answer.
        let _ = caller.send(outcome.and_then(|()| done.ok_or_else(closed)));
    }
}
