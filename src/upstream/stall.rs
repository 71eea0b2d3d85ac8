//! Notices when a body pauses for too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Runs only while a body keeps its reader waiting. A body that is always there in time, which is nearly every
/// one, never touches a timer.
#[derive(Debug)]
pub(super) struct Stall {
    at_most: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Stall {
    pub(super) fn new(at_most: Duration) -> Self {
        Self { at_most, timer: None, waiting: false }
    }

    /// The body had something: the pause is over.
    ///
    /// The timer must not run on here. While the other side does not take what it was given, nobody polls the
    /// body, and that time is not the body's pause.
    pub(super) fn over(&mut self) {
        self.waiting = false;
    }

    /// The body has nothing yet: ready once it paused for too long.
    pub(super) fn poll_too_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = match &mut self.timer {
            Some(timer) if self.waiting => timer,
            Some(timer) => {
                timer.set(sleep(self.at_most));
                timer
            }
            none => none.insert(Box::pin(sleep(self.at_most))),
        };
        self.waiting = true;
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, advance};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn is_too_long(stall: &mut Stall) -> bool {
        poll_fn(|cx| Poll::Ready(stall.poll_too_long(cx).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_at_its_limit_however_often_one_looks() {
        let started = Instant::now();
        let mut stall = Stall::new(LIMIT);
        assert!(!is_too_long(&mut stall).await);
        advance(LIMIT / 2).await;
        poll_fn(|cx| stall.poll_too_long(cx)).await;
        assert_eq!(started.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asked_for_more_is_no_pause() {
        let mut stall = Stall::new(LIMIT);
        assert!(!is_too_long(&mut stall).await);
        stall.over();
        advance(2 * LIMIT).await;
        assert!(!is_too_long(&mut stall).await);
        advance(LIMIT - Duration::from_secs(1)).await;
        assert!(!is_too_long(&mut stall).await);
    }
}
