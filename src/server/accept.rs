//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::connection::{Doorway, Visitor};
use super::{Handler, Stage};
use crate::metrics::Event;

/// After an accept that failed for want of something (files, memory), the first wait before the next try.
const AGAIN_AFTER: Duration = Duration::from_millis(5);
/// The longest such wait.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(super) trait Source: Send {
    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Source for TcpListener {
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        self.accept()
    }
}

/// Takes connections, each into a task of its own, until draining begins. No error ends it: a listener that gives up
/// for a moment's want of file descriptors looks to everybody outside like a dead host.
pub(super) async fn accept<H: Handler>(source: impl Source, doorway: Doorway<H>) {
    let mut stages = doorway.drain.watch();
    let mut draining = pin!(stages.reached(Stage::Draining));
    let mut pauses = doorway.drain.watch();
    let mut again_after = AGAIN_AFTER;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut draining => return,
            () = pauses.reached(Stage::Paused) => {
                pauses.unpaused().await;
                continue;
            }
            accepted = source.next() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                again_after = AGAIN_AFTER;
                admit(&doorway, socket, peer);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                let what = format!("cannot accept connections, trying again: {error}");
                doorway.front.telemetry.emit(Event::Warning { what: &what });
                tokio::select! {
                    () = &mut draining => return,
                    () = tokio::time::sleep(again_after) => {}
                }
                again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
            }
        }
    }
}

fn admit<H: Handler>(doorway: &Doorway<H>, socket: TcpStream, peer: SocketAddr) {
    let accepted = doorway.front.clock.instant();
    match doorway.front.limit.take() {
        Ok(place) => {
            let visitor = Visitor { socket, peer, place, accepted };
            let asking = doorway.drain.asking();
            doorway.drain.spawn(doorway.clone().receive(visitor, asking));
        }
        Err(full) => {
            let client = peer.ip().to_canonical();
            doorway.front.telemetry.emit(Event::ConnectionRefused { why: full.name(), client });
        }
    }
}

/// Linux reports what went wrong with a connection before it was accepted as an error of the accept.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::server::connection::tests::doorway;

    /// Fails always, and counts.
    struct Broken {
        error: fn() -> io::Error,
        tries: Arc<AtomicUsize>,
    }

    impl Source for Broken {
        async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
            tokio::task::yield_now().await;
            self.tries.fetch_add(1, Ordering::Relaxed);
            Err((self.error)())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_file_descriptors_it_tries_again_ever_more_slowly() {
        const EMFILE: i32 = 24;
        let (doorway, tries) = (doorway(), Arc::new(AtomicUsize::new(0)));
        let source = Broken { error: || io::Error::from_raw_os_error(EMFILE), tries: Arc::clone(&tries) };
        let drain = doorway.drain.clone();
        let accepting = tokio::spawn(accept(source, doorway));
        tokio::time::sleep(Duration::from_secs(60)).await;
        // 5 ms doubled up to 1 s takes 8 tries and 1.3 s; then one a second.
        let tries = tries.load(Ordering::Relaxed);
        assert!((60..=70).contains(&tries), "{tries}");
        drain.begin();
        accepting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_broke_before_it_was_accepted_costs_no_time() {
        let (doorway, tries) = (doorway(), Arc::new(AtomicUsize::new(0)));
        let source = Broken { error: || io::ErrorKind::ConnectionAborted.into(), tries: Arc::clone(&tries) };
        let drain = doorway.drain.clone();
        let accepting = tokio::spawn(accept(source, doorway));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(tries.load(Ordering::Relaxed) > 50);
        drain.begin();
        accepting.await.unwrap();
    }
}
