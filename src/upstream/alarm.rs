//! A limit that is set for every request of a connection and hardly ever reached.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all requests of a connection. It is not moved with every deadline, which would cost more than the
/// rest of the waiting: it stays where it was set, and only when it rings is it set to the deadline of the time.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at the deadline.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_deadline_is_kept_wherever_the_timer_was_set_for_the_one_before() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        for (set_for, rings_at) in
            [(60, None), (70, Some(70)), (90, None), (75, Some(75)), (75, Some(75)), (80, Some(80))]
        {
            let deadline = start + Duration::from_secs(set_for);
            match rings_at {
                None => assert!(poll_fn(|cx| Poll::Ready(alarm.poll(deadline, cx).is_pending())).await),
                Some(at) => {
                    poll_fn(|cx| alarm.poll(deadline, cx)).await;
                    assert_eq!(start.elapsed().as_secs(), at);
                }
            }
        }
    }
}
