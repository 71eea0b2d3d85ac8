//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel holds for us while we are busy; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// A bound socket that no runtime owns yet, so that it can be bound early and given to any thread.
#[derive(Debug)]
pub struct BoundSocket(std::net::TcpListener);

impl BoundSocket {
    /// Binds and listens. With `reuse_port` several sockets may share the address, and the kernel spreads connections
    /// over them.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the process before it.
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self(socket.into()))
    }

    /// Fails where somebody else listens. With `reuse_port` the kernel would let us in beside another process of our
    /// own user, and take half of the connections away from it.
    pub fn fails_if_taken(address: SocketAddr) -> io::Result<()> {
        Self::bind(address, false).map(drop)
    }

    /// Where it listens: the real port where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Gives it to the runtime that this is called on.
    pub fn into_listener(self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.0)
    }
}

/// Binds a socket for the current runtime.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    BoundSocket::bind(address, reuse_port)?.into_listener()
}
