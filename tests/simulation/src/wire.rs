//! The simulated network: connections whose far end is moved by hand, and the bell that tells of what kallback did.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use kallback::upstream::dial::{Dial, Dialling, Line};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};

/// What one life of kallback does to the world around it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    rung: Notify,
    touched: Mutex<Vec<Touched>>,
    effects: AtomicU64,
    /// After so many effects the process is killed. 0: never.
    killed_after: AtomicU64,
    killed: AtomicBool,
}

/// Something that kallback did to the world.
#[derive(Debug)]
pub enum Touched {
    /// It wants a connection to the shop.
    Dialled(Dialled),
    /// It wrote to a wire, or closed it.
    Wire(u64),
    /// It called its ledger.
    Ledger,
}

/// A connection to the shop on its way.
#[derive(Debug)]
pub struct Dialled(oneshot::Sender<io::Result<Box<dyn Line>>>);

impl Dialled {
    /// It stands.
    pub fn connect(self, end: End) {
        // Whoever dialled may have given up.
        let _ = self.0.send(Ok(Box::new(end)));
    }

    /// Nobody listens there.
    pub fn refuse(self) {
        let _ = self.0.send(Err(io::ErrorKind::ConnectionRefused.into()));
    }

    /// Whoever dialled gave up.
    pub fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

impl Bell {
    /// Kills the process after so many more effects on the network and the ledger.
    pub fn kill_after(&self, effects: u64) {
        let at = self.0.effects.load(Ordering::Relaxed) + effects.max(1);
        self.0.killed_after.store(at, Ordering::Relaxed);
    }

    /// Whether it is dead, by [`kill_after`](Self::kill_after).
    pub fn is_killed(&self) -> bool {
        self.0.killed.load(Ordering::Relaxed)
    }

    /// Whatever happens from now on has no effect.
    pub fn kill(&self) {
        self.0.killed.store(true, Ordering::Relaxed);
        self.0.rung.notify_one();
    }

    /// How much it did.
    pub fn effects(&self) -> u64 {
        self.0.effects.load(Ordering::Relaxed)
    }

    /// Waits until kallback did something.
    pub async fn rung(&self) {
        self.0.rung.notified().await;
    }

    /// Everything that it did since the last call, in an order that depends on nothing else.
    pub fn take(&self) -> Vec<Touched> {
        let mut touched = std::mem::take(&mut *lock(&self.0.touched));
        touched.sort_by_key(|touched| match touched {
            Touched::Ledger => None,
            Touched::Wire(number) => Some(*number),
            Touched::Dialled(_) => Some(u64::MAX),
        });
        touched
    }

    /// Tells of an effect. `false`: the process is dead, and there was none.
    pub fn ring(&self, touched: Touched) -> bool {
        if self.is_killed() {
            return false;
        }
        let effects = self.0.effects.fetch_add(1, Ordering::Relaxed) + 1;
        if effects == self.0.killed_after.load(Ordering::Relaxed) {
            self.kill();
            return false;
        }
        lock(&self.0.touched).push(touched);
        self.0.rung.notify_one();
        true
    }
}

impl Dial for Bell {
    fn dial(&self) -> Dialling {
        let (answer, answered) = oneshot::channel();
        self.ring(Touched::Dialled(Dialled(answer)));
        Box::pin(async move {
            match answered.await {
                Ok(outcome) => outcome,
                // Only a dead process gets no answer.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// A connection, held by its far end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Its number.
    pub number: u64,
    pipe: Arc<Mutex<Pipe>>,
}

#[derive(Debug, Default)]
struct Pipe {
    to_kallback: VecDeque<u8>,
    ended: bool,
    broken: bool,
    reader: Option<Waker>,
    from_kallback: Vec<u8>,
    /// The effect by which the first of these bytes came.
    sent_by: u64,
    /// kallback sends nothing more.
    shut: bool,
    /// The effect by which kallback closed it.
    dropped_by: Option<u64>,
}

/// kallback's end of a connection.
#[derive(Debug)]
pub struct End {
    number: u64,
    pipe: Arc<Mutex<Pipe>>,
    bell: Bell,
}

impl Wire {
    /// A connection, and kallback's end of it.
    pub fn new(number: u64, bell: &Bell) -> (Self, End) {
        let pipe = Arc::<Mutex<Pipe>>::default();
        (Self { number, pipe: pipe.clone() }, End { number, pipe, bell: bell.clone() })
    }

    /// Sends bytes to kallback.
    pub fn send(&self, bytes: &[u8]) {
        let mut pipe = lock(&self.pipe);
        pipe.to_kallback.extend(bytes);
        pipe.wake();
    }

    /// Sends nothing more.
    pub fn end(&self) {
        let mut pipe = lock(&self.pipe);
        pipe.ended = true;
        pipe.wake();
    }

    /// Resets it: what was not read yet is lost.
    pub fn reset(&self) {
        let mut pipe = lock(&self.pipe);
        pipe.broken = true;
        pipe.to_kallback.clear();
        pipe.wake();
    }

    /// Whether kallback closed it before it began to send what waits at `other`.
    pub fn was_closed_before(&self, other: &Self) -> bool {
        let sent_by = lock(&other.pipe).sent_by;
        lock(&self.pipe).dropped_by.is_some_and(|dropped_by| dropped_by < sent_by)
    }

    /// Takes what kallback sent.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.pipe).from_kallback)
    }

    /// kallback closed it, or its sending half.
    pub fn is_closed(&self) -> bool {
        let pipe = lock(&self.pipe);
        pipe.shut || pipe.dropped_by.is_some()
    }
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.pipe);
        if self.bell.is_killed() {
            return Poll::Pending;
        }
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.to_kallback.is_empty() && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = pipe.to_kallback.len().min(into.remaining());
        for byte in pipe.to_kallback.drain(..bytes) {
            into.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.pipe);
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !self.bell.ring(Touched::Wire(self.number)) {
            return Poll::Pending;
        }
        if pipe.from_kallback.is_empty() {
            pipe.sent_by = self.bell.effects();
        }
        pipe.from_kallback.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.pipe);
        if !pipe.shut && self.bell.ring(Touched::Wire(self.number)) {
            pipe.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        if self.bell.ring(Touched::Wire(self.number)) {
            pipe.dropped_by = Some(self.bell.effects());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
