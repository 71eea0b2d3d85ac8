//! Idle connections to the shop, the one used last on top.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use crate::clock::Clock;

/// Idle connections of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    connections_max: usize,
    idle_for_at_most: Duration,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    idle: Vec<Idle>,
    /// A task is under way that closes what grows too old.
    reaping: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(super) fn new(connections_max: usize, idle_for_at_most: Duration, clock: Clock) -> Self {
        Self { state: Mutex::default(), connections_max, idle_for_at_most, clock }
    }

    /// The connection that was used last, if that is less than `within` ago. Whether it is alive shows when it is used.
    pub(super) fn take(&self, within: Duration) -> Option<Connection> {
        let mut state = self.lock();
        let idle_for = self.clock.instant().saturating_duration_since(state.idle.last()?.since);
        if idle_for < within.min(self.idle_for_at_most) {
            return state.idle.pop().map(|idle| idle.connection);
        }
        if idle_for >= self.idle_for_at_most {
            // Everything below is older still.
            state.idle.clear();
        }
        None
    }

    /// Keeps a connection for later. Call it inside a runtime.
    ///
    /// One that is still busy, since the shop replied before it had the whole request, is not kept.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        if !connection.is_ready() {
            return connection.finish_in_background();
        }
        connection.rest();
        let since = self.clock.instant();
        let mut state = self.lock();
        if state.idle.len() >= self.connections_max {
            return;
        }
        state.idle.push(Idle { connection, since });
        if !std::mem::replace(&mut state.reaping, true) {
            tokio::spawn(reap(Arc::downgrade(self), self.idle_for_at_most));
        }
    }

    /// Closes what is too old or dead; false when nothing is left to watch over.
    fn close_old(&self) -> bool {
        let now = self.clock.instant();
        let mut state = self.lock();
        state.idle.retain_mut(|idle| {
            now.saturating_duration_since(idle.since) < self.idle_for_at_most && idle.connection.is_alive()
        });
        state.reaping = !state.idle.is_empty();
        state.reaping
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after a pool until it is empty or gone. Without it the last connections of a busy hour would stay open
/// until the shop closes them.
async fn reap(pool: Weak<Pool>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match pool.upgrade() {
            Some(pool) if pool.close_old() => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use tokio::io::DuplexStream;
    use tokio::time::advance;

    use super::*;
    use crate::clock::UnixMillis;

    const LIMIT: Duration = Duration::from_secs(4);

    fn pool(connections_max: usize) -> Arc<Pool> {
        Arc::new(Pool::new(connections_max, LIMIT, Clock::simulated(UnixMillis(0))))
    }

    /// An idle connection and the shop's end of it.
    async fn connection() -> (Connection, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let mut connection = Connection::new(&http1::Builder::new(), ours, Arc::default()).await.unwrap();
        assert!(connection.is_alive());
        (connection, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_handed_out_until_it_is_too_old_even_before_it_is_swept_up() {
        let pool = pool(8);
        let (first, _first_end) = connection().await;
        pool.put(first);
        advance(LIMIT / 2).await;
        let (second, _second_end) = connection().await;
        pool.put(second);
        advance(LIMIT - Duration::from_millis(1)).await;
        let second = pool.take(LIMIT).expect("young enough");
        assert!(pool.take(LIMIT).is_none(), "the first is too old");
        pool.put(second);
        advance(LIMIT).await;
        assert!(pool.take(LIMIT).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_one_that_was_just_used_leaves_an_older_one_to_others() {
        const JUST: Duration = Duration::from_secs(1);
        let pool = pool(8);
        let (connection, _end) = connection().await;
        pool.put(connection);
        advance(JUST - Duration::from_millis(1)).await;
        pool.put(pool.take(JUST).expect("just used"));
        advance(JUST).await;
        assert!(pool.take(JUST).is_none());
        assert!(pool.take(LIMIT).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_allowed_and_the_last_used_comes_first() {
        let pool = pool(2);
        let mut ends = Vec::new();
        for _ in 0..3 {
            let (connection, end) = connection().await;
            pool.put(connection);
            ends.push(end);
            advance(Duration::from_millis(1)).await;
        }
        let last_first: Vec<_> = pool.lock().idle.iter().map(|idle| idle.since).collect();
        assert!(last_first.is_sorted());
        assert!(pool.take(LIMIT).is_some() && pool.take(LIMIT).is_some());
        assert!(pool.take(LIMIT).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_died_is_swept_up_before_it_is_too_old() {
        let pool = pool(8);
        let (dying, end) = connection().await;
        pool.put(dying);
        let (living, _end) = connection().await;
        pool.put(living);
        drop(end);
        assert!(pool.close_old());
        assert_eq!(pool.lock().idle.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_closed() {
        let pool = pool(8);
        let (idle, mut end) = connection().await;
        pool.put(idle);
        let started = pool.clock.instant();
        assert_eq!(tokio::io::AsyncReadExt::read(&mut end, &mut [0]).await.unwrap(), 0);
        assert_eq!(pool.clock.instant() - started, LIMIT);
    }
}
