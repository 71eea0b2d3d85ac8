//! What is looked at only when it asked for it.
//!
//! A connection's task waits for several things at once, and each time one of them moves, all are looked at. Nearly
//! always it is a request that moved. The ends of the drain and of a deadline come once in a connection's life, and more
//! bytes of the caller hardly ever come while it waits for a reply; looking for them again and again, through all the
//! layers below, costs more than the looking tells.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tells whether it rang since the last look, and wakes the task when it rings.
#[derive(Debug)]
pub(super) struct Doorbell {
    bell: Arc<Bell>,
    rings: Waker,
    task: Waker,
}

#[derive(Debug)]
struct Bell {
    rang: AtomicBool,
    task: Mutex<Waker>,
}

impl Doorbell {
    /// The first look is always worth it.
    pub(super) fn new() -> Self {
        let task = Waker::noop().clone();
        let bell = Arc::new(Bell { rang: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { rings: Waker::from(Arc::clone(&bell)), bell, task }
    }

    /// Whether it rang since this was asked before. From now on it wakes that task.
    pub(super) fn rang(&mut self, cx: &Context<'_>) -> bool {
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            // Before the look at `rang`: whoever rings meanwhile wakes the right task, or is seen.
            self.bell.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        }
        self.bell.rang.load(Ordering::Relaxed) && self.bell.rang.swap(false, Ordering::AcqRel)
    }

    /// The next look is worth it, whether it rings or not.
    pub(super) fn look_again(&self) {
        self.bell.rang.store(true, Ordering::Release);
    }

    /// To be handed to what is to ring it.
    pub(super) fn waker(&self) -> &Waker {
        &self.rings
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

/// A future behind a doorbell.
pub(super) struct WhenItRings<F> {
    future: F,
    bell: Doorbell,
}

impl<F: Future + Unpin> WhenItRings<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future, bell: Doorbell::new() }
    }

    /// The future, to be changed; it is looked at again afterwards.
    pub(super) fn change(&mut self) -> &mut F {
        self.bell.look_again();
        &mut self.future
    }
}

impl<F: Future + Unpin> Future for WhenItRings<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, bell } = self.get_mut();
        if !bell.rang(cx) {
            return Poll::Pending;
        }
        Pin::new(future).poll(&mut Context::from_waker(bell.waker()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_did_not_ring_is_not_looked_at_and_what_rings_wakes_the_task() {
        let (ring, rang) = oneshot::channel::<()>();
        let mut looks = 0;
        let mut rang = pin!(rang);
        let mut bell = WhenItRings::new(poll_fn(|cx| {
            looks += 1;
            rang.as_mut().poll(cx)
        }));
        for _ in 0..3 {
            assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut bell).poll(cx).is_pending())).await);
        }
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            ring.send(()).unwrap();
        });
        timeout(Duration::from_secs(2), &mut bell).await.unwrap().unwrap();
        assert_eq!(looks, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_was_changed_is_looked_at_again() {
        let start = Instant::now();
        let timer = pin!(sleep(Duration::from_secs(100)));
        let mut bell = WhenItRings::new(timer);
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut bell).poll(cx).is_pending())).await);
        bell.change().as_mut().reset(start + Duration::from_secs(5));
        bell.await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}
