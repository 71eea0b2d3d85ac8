//! One connection of any sort, and the rude ways to end it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connection.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Socket {
    /// Ends the connection with RST instead of FIN. A Unix socket has no RST; its peer sees a broken pipe.
    pub fn reset(self) {
        let tcp = match &self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
            Self::Unix(_) => return,
        };
        let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }

    /// Waits until the peer sent something, without reading it. `false` if it hung up instead. TLS hides what is
    /// there, so that a TLS connection is always taken for one with something to read.
    pub async fn something_came(&self) -> io::Result<bool> {
        let mut byte = [MaybeUninit::uninit()];
        let came = match self {
            Self::Tcp(tcp) => tcp.async_io(Interest::READABLE, || SockRef::from(tcp).peek(&mut byte)).await?,
            Self::Unix(unix) => unix.async_io(Interest::READABLE, || SockRef::from(unix).peek(&mut byte)).await?,
            Self::Tls(_) => 1,
        };
        Ok(came > 0)
    }
}

/// Calls the same method on whatever the socket is.
macro_rules! on_inner {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($inner) => $call,
            Socket::Tls($inner) => $call,
            Socket::Unix($inner) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, inner => Pin::new(inner).poll_read(cx, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_inner!(self, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
