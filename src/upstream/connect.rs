//! Opens connections to the shop, and to the collector of traces. Whatever fails here, they were certainly not reached.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::dial::{Dialler, Line};
use super::fault::{SendCause, SendError};
use super::tls::{ShopTls, TlsFault};
use super::{Address, TlsSettings};
use crate::clock::Clock;

/// Opens connections to the shop.
#[derive(Clone, Debug)]
pub struct Connector {
    target: Target,
    tls: Option<ShopTls>,
    within: Duration,
    clock: Clock,
}

#[derive(Clone, Debug)]
enum Target {
    /// Written as an address: no name to look up.
    Socket(SocketAddr),
    Name {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    Dialled(Dialler),
}

/// A connection to the shop.
#[derive(Debug)]
pub enum Stream {
    /// `http://`
    Tcp(TcpStream),
    /// `https://`
    Tls(Box<TlsStream<TcpStream>>),
    /// `unix:`
    Unix(UnixStream),
    /// In a simulation.
    Dialled(Box<dyn Line>),
}

impl Connector {
    /// Reads the authority's file, if there is one.
    ///
    /// # Errors
    /// [`TlsFault`].
    pub fn new(address: &Address, tls: &TlsSettings, within: Duration, clock: Clock) -> Result<Self, TlsFault> {
        let (target, tls) = match address {
            Address::Http { host, port } => (Target::new(host, *port), None),
            Address::Https { host, port } => (Target::new(host, *port), Some(ShopTls::new(tls, host)?)),
            Address::Unix(path) => (Target::Unix(path.clone()), None),
            Address::Dialled(dialler) => (Target::Dialled(dialler.clone()), None),
        };
        Ok(Self { target, tls, within, clock })
    }

    /// A connection, TLS included, within the time that connecting may take.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn connect(&self) -> Result<Stream, SendError> {
        match timeout(self.within, self.open()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SendError::unreached(SendCause::ConnectTimeout)),
        }
    }

    async fn open(&self) -> Result<Stream, SendError> {
        let tcp = match &self.target {
            Target::Unix(path) => {
                return UnixStream::connect(path).await.map(Stream::Unix).map_err(SendError::connecting);
            }
            Target::Dialled(Dialler(dialler)) => {
                return dialler.dial().await.map(Stream::Dialled).map_err(SendError::connecting);
            }
            Target::Socket(address) => TcpStream::connect(address).await.map_err(SendError::connecting)?,
            Target::Name { host, port } => self.open_by_name(host, *port).await?,
        };
        // A small request must not wait for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(SendError::connecting)?;
        match &self.tls {
            None => Ok(Stream::Tcp(tcp)),
            Some(tls) => {
                let handshake = tls.connector.connect(tls.name.clone(), tcp);
                let secured = handshake.await.map_err(handshake_fault)?;
                Ok(Stream::Tls(Box::new(secured)))
            }
        }
    }

    /// Tries all addresses of the name in turn. Each gets its share of the time that is left, so that one that
    /// swallows packets leaves some for the next.
    async fn open_by_name(&self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let deadline = self.clock.instant() + self.within;
        let not_found = SendError::unreached(SendCause::NameNotFound);
        let addresses: Vec<SocketAddr> = match lookup_host((host, port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(not_found.because(error)),
        };
        let mut last_fault = not_found;
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(self.clock.instant());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            last_fault = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => SendError::connecting(error),
                Err(_) => SendError::unreached(SendCause::ConnectTimeout),
            };
        }
        Err(last_fault)
    }
}

fn handshake_fault(error: io::Error) -> SendError {
    SendError::unreached(SendCause::TlsFailed).because(error)
}

impl Target {
    fn new(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => Self::Socket(SocketAddr::new(address, port)),
            Err(_) => Self::Name { host: host.to_owned(), port },
        }
    }
}

impl Stream {
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Calls the same function of whichever stream it is.
macro_rules! whichever {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $call
            }
            Stream::Unix(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
            Stream::Dialled(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        whichever!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        whichever!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        whichever!(self, inner => inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Dialled(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self, inner => inner.poll_shutdown(cx))
    }
}
