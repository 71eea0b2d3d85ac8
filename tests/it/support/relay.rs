//! A way between two places that a test can cut: connections break, and nobody gets through until it is mended.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Where a relay leads.
#[derive(Clone, Debug)]
pub enum End {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// How the way is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Open,
    /// Connections break, and new ones break at once.
    Cut,
    /// Connections stay, and nothing comes through; afterwards they break.
    Silent,
}

/// A running relay. It closes when it is dropped.
#[derive(Debug)]
pub struct Relay {
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    running: JoinHandle<()>,
}

impl Relay {
    /// A new loopback address that leads to `end`.
    pub async fn to(end: End) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = watch::channel(Way::Open).0;
        let running = tokio::spawn(accept(listener, end, way.subscribe()));
        Self { address, way, running }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(listener: TcpListener, end: End, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((here, _)) = listener.accept().await {
        let (end, way) = (end.clone(), way.clone());
        connections.spawn(async move {
            let _ = here.set_nodelay(true);
            match end {
                End::Tcp(address) => carry(here, TcpStream::connect(address), way).await,
                End::Unix(path) => carry(here, UnixStream::connect(path), way).await,
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    mut here: TcpStream,
    connecting: impl Future<Output = std::io::Result<S>>,
    mut way: watch::Receiver<Way>,
) {
    let mut there = None;
    let mut connecting = Box::pin(connecting);
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Cut => return,
            Way::Silent => {
                // What was under way may be lost, so that a connection is of no use afterwards.
                if way.changed().await.is_err() || there.is_some() {
                    return;
                }
                continue;
            }
            Way::Open if there.is_none() => match connecting.as_mut().await {
                Ok(connected) => there = Some(connected),
                Err(_) => return,
            },
            Way::Open => {}
        }
        let Some(there) = &mut there else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut here, there) => return,
            changed = way.changed() => if changed.is_err() { return },
        }
    }
}
