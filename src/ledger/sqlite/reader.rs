//! Reads for people, metrics and the redelivery loop: on a thread and a connection that cannot write.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use crate::ledger::LedgerError;
use crate::ledger::sqlite::file::LedgerFile;
use crate::ledger::sqlite::writer::tell;
use crate::ledger::sqlite::{closed, unavailable};

/// The reader as its callers see it. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Reader {
    queue: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// Works on the connection, if it could be opened, and says whether it is worth keeping.
pub(super) type Read = Box<dyn FnOnce(rusqlite::Result<&mut Connection>) -> Worth + Send>;

pub(super) enum Message {
    Read(Read),
    Stop(Option<oneshot::Sender<()>>),
}

#[derive(PartialEq, Eq)]
pub(super) enum Worth {
    Keeping,
    Nothing,
}

impl Reader {
    pub(super) fn start(file: Arc<LedgerFile>, queue_max: usize) -> std::io::Result<Self> {
        let (mut reader, desk, messages) = Self::with_desk(file, queue_max);
        let thread = thread::Builder::new().name("ledger-reader".into()).spawn(move || desk.serve(&messages))?;
        reader.thread = Some(thread);
        Ok(reader)
    }

    /// The reader, and what its thread would do.
    pub(super) fn with_desk(file: Arc<LedgerFile>, queue_max: usize) -> (Self, Desk, Receiver<Message>) {
        let (queue, messages) = sync_channel(queue_max.max(1));
        (Self { queue, thread: None }, Desk { file, connection: None }, messages)
    }

    /// Runs `work` in a transaction of its own, on one state of the ledger.
    pub(super) async fn read<T, W>(&self, work: W) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let read = move |connection: rusqlite::Result<&mut Connection>| {
            let outcome = connection.and_then(|connection| work(&connection.transaction()?));
            let worth = if outcome.is_ok() { Worth::Keeping } else { Worth::Nothing };
            // A caller that is gone wants no answer.
            let _ = caller.send(outcome.map_err(|error| unavailable(&error)));
            worth
        };
        match self.queue.try_send(Message::Read(Box::new(read))) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(closed())),
            Err(TrySendError::Full(_)) => Err(LedgerError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
        }
    }

    /// Ends the thread after the reads that wait.
    pub(super) async fn stop(&self) {
        let (stopped, answer) = oneshot::channel();
        let mut message = Message::Stop(Some(stopped));
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            message = back;
            tokio::task::yield_now().await;
        }
        let _ = answer.await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Fails when it was stopped before.
        let _ = self.queue.send(Message::Stop(None));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own things.
pub(super) struct Desk {
    file: Arc<LedgerFile>,
    connection: Option<Connection>,
}

impl Desk {
    fn serve(mut self, messages: &Receiver<Message>) {
        let mut stop = None;
        while let Ok(message) = messages.recv() {
            stop = self.turn(message);
            if stop.is_some() {
                break;
            }
        }
        drop(self);
        tell(stop.flatten());
    }

    /// Does one read. A message to stop is given back, with whoever wants to know when it is done.
    pub(super) fn turn(&mut self, message: Message) -> Option<Option<oneshot::Sender<()>>> {
        match message {
            Message::Stop(stopped) => return Some(stopped),
            Message::Read(read) => {
                if read(self.opened()) == Worth::Nothing {
                    self.connection = None;
                }
            }
        }
        None
    }

    fn opened(&mut self) -> rusqlite::Result<&mut Connection> {
        match &mut self.connection {
            Some(open) => Ok(open),
            none => Ok(none.insert(self.file.open_reader()?)),
        }
    }
}
