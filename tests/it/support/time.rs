//! Time in tests: patience that is bounded in real seconds, and time that stands still until a test lets it pass.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a test waits for what must happen, in real time: far above what any of it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How exact the times in a story are.
const STEP: Duration = Duration::from_millis(10);

const LONGEST_STORY: Duration = Duration::from_secs(600);

/// Turns of the runtime after which everything on loopback sockets has come to rest. A turn looks at all sockets
/// once, and a call through a proxy with two handshakes takes about twenty.
const TURNS_TO_REST: usize = 64;

/// Waits for an event and fails the test if it does not come. Measured by a thread of its own, because tokio's
/// clock may stand still.
pub async fn patiently<T>(what: &str, event: impl Future<Output = T>) -> T {
    within(PATIENCE, what, event).await
}

/// The same with another bound, in real time too.
pub async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    let (alarm, mut rings) = oneshot::channel();
    let (done, watch) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let _ = alarm.send(());
        }
    });
    tokio::select! {
        output = event => {
            drop(done);
            output
        }
        Ok(()) = &mut rings => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Tokio's clock, standing still. It moves only by [`pass`](Self::pass) and [`run`](Self::run), never by itself:
/// a paused clock alone would jump to the next timer whenever a test waits for a socket.
///
/// Needs a current-thread runtime, and holds only for what runs on it. Start servers and open connections that do
/// not matter before you freeze time. Real threads (a ledger's writer) go on in real time; where one takes part in a
/// story, let it [`breathe`](Self::breathing).
#[derive(Debug)]
pub struct FrozenTime {
    _holder: mpsc::Sender<()>,
    breath: Duration,
}

impl FrozenTime {
    pub fn begin() -> Self {
        tokio::time::pause();
        let (holder, held) = mpsc::channel::<()>();
        // While a blocking task runs, tokio does not advance a paused clock.
        tokio::task::spawn_blocking(move || {
            let _ = held.recv();
        });
        Self { _holder: holder, breath: Duration::ZERO }
    }

    /// Stands still for this long in real time after every step, so that other threads can keep up.
    pub fn breathing(self, breath: Duration) -> Self {
        Self { breath, ..self }
    }

    /// Lets `total` pass in steps, coming to rest after each. A timer that is set by what a step woke starts at that
    /// step, so `step` is how inexact such chains may be.
    pub async fn pass(&self, total: Duration, step: Duration) {
        let mut left = total;
        self.rest().await;
        while !left.is_zero() {
            let now = left.min(step);
            tokio::time::advance(now).await;
            self.rest().await;
            left -= now;
        }
    }

    /// Runs `story` while time passes in small steps, until it ends; fails the test if it never does.
    pub async fn run<T>(&self, story: impl Future<Output = T>) -> T {
        let mut story = pin!(story);
        let mut passed = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                output = &mut story => return output,
                () = self.pass(STEP, STEP) => passed += STEP,
            }
            assert!(passed <= LONGEST_STORY, "the story was not over after {LONGEST_STORY:?}");
        }
    }

    /// Lets everything on this runtime come to rest while time stands still.
    pub async fn rest(&self) {
        if !self.breath.is_zero() {
            std::thread::sleep(self.breath);
        }
        for _ in 0..TURNS_TO_REST {
            tokio::task::yield_now().await;
        }
    }
}
