//! What is handed to the writer's thread: one caller's part of a group.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ledger::LedgerError;
use crate::ledger::sqlite::closed;
use crate::ledger::sqlite::group::Group;

/// What goes to the thread.
pub(super) enum Message {
    Write(Box<dyn Write>),
    /// The first outcome was put aside.
    Outcome,
    /// There are riders, and perhaps no write for them to ride on.
    Nudge,
    Stop(Option<oneshot::Sender<()>>),
}

impl Message {
    pub(super) fn may_wait(&self) -> bool {
        matches!(self, Self::Outcome)
    }
}

/// One caller's part of a group.
pub(super) trait Write: Send {
    /// Whether it has to be done, still.
    fn is_wanted(&self) -> bool;
    /// The runtime on which its caller waits.
    fn home(&self) -> Option<&Handle>;
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
}

/// A closure and whoever waits for its outcome.
pub(super) struct Call<W, T> {
    work: Option<W>,
    done: Option<T>,
    urgency: Urgency,
    home: Option<Handle>,
    caller: oneshot::Sender<Result<T, LedgerError>>,
}

impl<W, T> Call<W, T> {
    pub(super) fn new(work: W, urgency: Urgency, caller: oneshot::Sender<Result<T, LedgerError>>) -> Self {
        Self { work: Some(work), done: None, urgency, home: Handle::try_current().ok(), caller }
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

    fn home(&self) -> Option<&Handle> {
        self.home.as_ref()
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
