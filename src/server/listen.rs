//! Listening sockets: bound here, or inherited from systemd or from the process before.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel holds for us while we are busy; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// A bound socket that no runtime owns yet, so that it can be bound early and given to any thread.
#[derive(Debug)]
pub struct BoundSocket(std::net::TcpListener);

/// Sockets that were listening before this process began. Each is taken by the address that it is bound to, so that
/// the config needs no other name for it.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SocketAddr, BoundSocket)>);

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
        answers_at_once(&socket)?;
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

    /// A second handle of the same socket: the same queue of connections, which lasts as long as any handle does.
    pub fn another_handle(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Gives it to the runtime that this is called on.
    pub fn into_listener(self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.0)
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl TryFrom<OwnedFd> for BoundSocket {
    type Error = io::Error;

    fn try_from(socket: OwnedFd) -> io::Result<Self> {
        Self::try_from(std::net::TcpListener::from(socket))
    }
}

impl TryFrom<std::net::TcpListener> for BoundSocket {
    type Error = io::Error;

    /// Fails for what is no listening TCP socket.
    fn try_from(socket: std::net::TcpListener) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if !socket.is_listener()? {
            return Err(io::Error::other("the socket does not listen"));
        }
        socket.set_nonblocking(true)?;
        answers_at_once(&socket)?;
        Ok(Self(socket.into()))
    }
}

impl Inherited {
    /// Fails if one of them has no IP address.
    pub fn new(sockets: Vec<BoundSocket>) -> io::Result<Self> {
        let with_address = |socket: BoundSocket| Ok((socket.address()?, socket));
        sockets.into_iter().map(with_address).collect::<io::Result<_>>().map(Self)
    }

    /// All sockets of that address; none if there was nobody before, or it did not listen there.
    pub fn take(&mut self, address: SocketAddr) -> Vec<BoundSocket> {
        self.0.extract_if(.., |(bound, _)| *bound == address).map(|(_, socket)| socket).collect()
    }

    /// The addresses that nobody took.
    pub fn left(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).collect()
    }
}

/// A reply's last piece must not wait for the acknowledgement of the piece before it. Connections have this from the
/// socket that they come from, so that none needs a call to the system for it.
fn answers_at_once(listener: &Socket) -> io::Result<()> {
    listener.set_tcp_nodelay(true)
}

/// Binds a socket for the current runtime.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    BoundSocket::bind(address, reuse_port)?.into_listener()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherited_sockets_are_taken_by_their_address_and_the_rest_is_named() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (one, other) = (BoundSocket::bind(any, false).unwrap(), BoundSocket::bind(any, false).unwrap());
        let (here, there) = (one.address().unwrap(), other.address().unwrap());
        let copy = one.another_handle().unwrap();
        let mut inherited = Inherited::new(vec![one, other, copy]).unwrap();
        assert_eq!(inherited.take(here).len(), 2);
        assert_eq!(inherited.take(here).len(), 0);
        assert_eq!(inherited.left(), [there]);
    }

    #[tokio::test]
    async fn a_connection_answers_at_once_whoever_bound_its_socket() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let inherited = BoundSocket::try_from(std::net::TcpListener::bind(any).unwrap()).unwrap();
        for socket in [BoundSocket::bind(any, false).unwrap(), inherited] {
            let address = socket.address().unwrap();
            let listener = socket.into_listener().unwrap();
            let _caller = std::net::TcpStream::connect(address).unwrap();
            let (connection, _) = listener.accept().await.unwrap();
            assert!(connection.nodelay().unwrap());
        }
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let fault = BoundSocket::try_from(OwnedFd::from(socket)).unwrap_err();
        assert_eq!(fault.to_string(), "the socket does not listen");
    }
}
