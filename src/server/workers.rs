//! The threads that serve: one runtime per core with a listening socket each, or one runtime for all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::redirect::IsCallback;
use super::{
    BoundSocket, Drain, Front, Handler, Inherited, Settings, Stage, Workers, redirect, serve, serve_behind_tls,
};

/// The sockets of all listeners, one set for each worker.
#[derive(Debug)]
pub struct Listeners {
    sets: Vec<SocketSet>,
    tls: Vec<SocketAddr>,
    plain: Vec<SocketAddr>,
    behind_tls: Vec<SocketAddr>,
}

#[derive(Debug, Default)]
struct SocketSet {
    tls: Vec<BoundSocket>,
    plain: Vec<BoundSocket>,
    behind_tls: Vec<BoundSocket>,
}

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}")]
pub struct CannotListen {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A worker that ended before its time.
#[derive(Debug, Error)]
pub enum WorkerFault {
    /// The operating system gave no thread, no runtime or no socket.
    #[error("worker {worker} cannot start")]
    Start {
        /// Counted from 0.
        worker: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It panicked.
    #[error("worker {worker} panicked")]
    Panicked {
        /// Counted from 0.
        worker: usize,
    },
}

impl Listeners {
    /// Binds every address of the settings, once for each worker. Port 0 becomes the same free port for all of them.
    pub fn bind(settings: &Settings) -> Result<Self, CannotListen> {
        Self::bind_or_inherit(settings, &mut Inherited::default())
    }

    /// The same, but what is inherited is not bound anew: its queue holds callers.
    pub fn bind_or_inherit(settings: &Settings, inherited: &mut Inherited) -> Result<Self, CannotListen> {
        let workers = match settings.workers {
            Workers::Shared(_) => None,
            Workers::PerCore(workers) => Some(workers.max(1)),
        };
        let mut sets: Vec<_> = (0..workers.unwrap_or(1)).map(|_| SocketSet::default()).collect();
        let (mut tls, mut plain, mut behind_tls) = (Vec::new(), Vec::new(), Vec::new());
        for asked in &settings.listen {
            let sockets = Sockets::open(*asked, workers, inherited)?;
            tls.push(sockets.address);
            sockets.deal(&mut sets, |set| &mut set.tls)?;
        }
        for asked in &settings.redirect_from {
            let sockets = Sockets::open(*asked, workers, inherited)?;
            plain.push(sockets.address);
            sockets.deal(&mut sets, |set| &mut set.plain)?;
        }
        for asked in &settings.listen_behind_tls {
            let sockets = Sockets::open(*asked, workers, inherited)?;
            behind_tls.push(sockets.address);
            sockets.deal(&mut sets, |set| &mut set.behind_tls)?;
        }
        Ok(Self { sets, tls, plain, behind_tls })
    }

    /// A second handle of every socket. As long as one is open, no caller in a queue is refused.
    pub fn other_handles(&self) -> io::Result<Vec<BoundSocket>> {
        let sockets = self.sets.iter().flat_map(|set| set.tls.iter().chain(&set.plain).chain(&set.behind_tls));
        sockets.map(BoundSocket::another_handle).collect()
    }

    /// Where TLS is accepted.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Where plain HTTP is redirected.
    pub fn plain_addresses(&self) -> &[SocketAddr] {
        &self.plain
    }

    /// Where plain HTTP is accepted from proxies that end TLS.
    pub fn behind_tls_addresses(&self) -> &[SocketAddr] {
        &self.behind_tls
    }

    /// Serves on all of them until everything is drained. `make_handler` is called once per worker, on its runtime.
    ///
    /// With [`Workers::Shared`] the work runs on the runtime that this is called on. A worker that fails begins the
    /// draining of the others, and its fault is returned.
    pub async fn serve<H: Handler>(
        self,
        front: Arc<Front>,
        make_handler: impl Fn() -> H + Clone + Send + 'static,
        is_callback: IsCallback,
        drain: Drain,
    ) -> Result<(), WorkerFault> {
        let worker = Worker { front, make_handler, is_callback, drain };
        if let Workers::Shared(_) = worker.front.settings.workers {
            for set in self.sets {
                worker.clone().run(set).await.map_err(|source| WorkerFault::Start { worker: 0, source })?;
            }
            return Ok(());
        }
        let mut threads = JoinSet::new();
        for (number, set) in self.sets.into_iter().enumerate() {
            let thread = worker.clone().spawn(number, set);
            threads.spawn_blocking(move || join(number, thread));
        }
        let mut outcome = Ok(());
        while let Some(ended) = threads.join_next().await {
            let ended = ended.unwrap_or(Err(WorkerFault::Panicked { worker: 0 }));
            if outcome.is_ok() && ended.is_err() {
                worker.drain.begin();
                outcome = ended;
            }
        }
        outcome
    }
}

/// What one worker needs.
#[derive(Clone)]
struct Worker<M> {
    front: Arc<Front>,
    make_handler: M,
    is_callback: IsCallback,
    drain: Drain,
}

impl<H: Handler, M: Fn() -> H + Clone + Send + 'static> Worker<M> {
    fn spawn(self, number: usize, set: SocketSet) -> io::Result<JoinHandle<io::Result<()>>> {
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(self.run(set))
        })
    }

    /// Returns when all is drained, or the time for that is over.
    async fn run(self, set: SocketSet) -> io::Result<()> {
        let handler = (self.make_handler)();
        let mut accepting = JoinSet::new();
        for socket in set.tls {
            let listener = socket.into_listener()?;
            accepting.spawn(serve(listener, Arc::clone(&self.front), handler.clone(), self.drain.clone()));
        }
        for socket in set.behind_tls {
            let listener = socket.into_listener()?;
            accepting.spawn(serve_behind_tls(listener, Arc::clone(&self.front), handler.clone(), self.drain.clone()));
        }
        for socket in set.plain {
            let (listener, is_callback) = (socket.into_listener()?, Arc::clone(&self.is_callback));
            accepting.spawn(redirect::serve(listener, Arc::clone(&self.front), is_callback, self.drain.clone()));
        }
        accepting.join_all().await;
        let mut stages = self.drain.watch();
        tokio::select! {
            // Of all workers, since a connection may wait for work that runs on another one.
            () = self.drain.finished() => {}
            () = stages.reached(Stage::Ended) => {}
        }
        Ok(())
    }
}

fn join(worker: usize, thread: io::Result<JoinHandle<io::Result<()>>>) -> Result<(), WorkerFault> {
    let ended = thread.map_err(|source| WorkerFault::Start { worker, source })?.join();
    match ended {
        Ok(served) => served.map_err(|source| WorkerFault::Start { worker, source }),
        Err(_) => Err(WorkerFault::Panicked { worker }),
    }
}

/// All sockets of one address.
struct Sockets {
    address: SocketAddr,
    sockets: Vec<BoundSocket>,
}

impl Sockets {
    /// The inherited ones; or new ones, one for each worker.
    fn open(asked: SocketAddr, workers: Option<usize>, inherited: &mut Inherited) -> Result<Self, CannotListen> {
        let sockets = inherited.take(asked);
        if !sockets.is_empty() {
            return Ok(Self { address: asked, sockets });
        }
        Self::bind(asked, workers).map_err(|source| CannotListen { address: asked, source })
    }

    fn bind(asked: SocketAddr, workers: Option<usize>) -> io::Result<Self> {
        if workers.is_some() {
            BoundSocket::fails_if_taken(asked)?;
        }
        let first = BoundSocket::bind(asked, workers.is_some())?;
        let address = first.address()?;
        let mut sockets = vec![first];
        for _ in 1..workers.unwrap_or(1) {
            sockets.push(BoundSocket::bind(address, true)?);
        }
        Ok(Self { address, sockets })
    }

    /// Every worker gets one, and no socket is left over: a queue that nobody empties swallows callers. Where there
    /// are fewer sockets than workers, workers share.
    fn deal(
        self,
        sets: &mut [SocketSet],
        listeners: impl Fn(&mut SocketSet) -> &mut Vec<BoundSocket>,
    ) -> Result<(), CannotListen> {
        let (address, workers, count) = (self.address, sets.len(), self.sockets.len());
        for (worker, set) in sets.iter_mut().enumerate().skip(count) {
            let handle = self.sockets[worker % count].another_handle();
            let handle = handle.map_err(|source| CannotListen { address, source })?;
            listeners(set).push(handle);
        }
        for (number, socket) in self.sockets.into_iter().enumerate() {
            listeners(&mut sets[number % workers]).push(socket);
        }
        Ok(())
    }
}
