//! `kallback healthcheck`: `GET /readyz` at the admin listener, without an HTTP client to go wrong.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

/// Health checks are run every few seconds; one that hangs is an answer too.
const TIMEOUT: Duration = Duration::from_secs(2);

/// As much of the reply as is looked at: the status line.
const REPLY_BYTES_MAX: u64 = 1024;

/// Why kallback is not ready.
#[derive(Debug, Error)]
pub(super) enum NotReady {
    /// The config has none.
    #[error("there is no admin listener to ask (admin.listen is \"off\")")]
    NoListener,
    /// It does not answer.
    #[error("no answer from {address}: {why}")]
    NoAnswer { address: SocketAddr, why: io::Error },
    /// It answers something else than 200.
    #[error("{address} answers {status}")]
    Refused { address: SocketAddr, status: String },
}

/// Asks the admin listener at `address`.
pub(super) fn ask(address: Option<SocketAddr>) -> Result<(), NotReady> {
    let address = reachable(address.ok_or(NotReady::NoListener)?);
    let status = status_of(address).map_err(|why| NotReady::NoAnswer { address, why })?;
    if status == "200" { Ok(()) } else { Err(NotReady::Refused { address, status }) }
}

/// What listens everywhere is asked on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn status_of(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece: whoever reads once has all of it.
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reply = Vec::new();
    let mut stream = stream.take(REPLY_BYTES_MAX);
    // The status line alone counts; whether the rest comes does not.
    let mut chunk = [0; 256];
    while !reply.contains(&b'\n') {
        match stream.read(&mut chunk)? {
            0 => break,
            count => reply.extend_from_slice(&chunk[..count]),
        }
    }
    let line = String::from_utf8_lossy(&reply);
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.map(str::to_owned).ok_or_else(|| io::Error::other("this is not HTTP"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What `ask` says of a listener that answers `reply`.
    fn asked(reply: &'static str) -> Result<(), NotReady> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 512];
            let count = stream.read(&mut head).unwrap();
            assert!(head[..count].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(reply.as_bytes()).unwrap();
        });
        let asked = ask(Some(SocketAddr::from(([0, 0, 0, 0], port))));
        server.join().unwrap();
        asked
    }

    #[test]
    fn only_200_is_ready() {
        assert!(asked("HTTP/1.1 200 OK\r\n\r\n").is_ok());
        let refused = asked("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert!(refused.to_string().ends_with("answers 503"), "{refused}");
        assert!(matches!(asked("SSH-2.0\r\n").unwrap_err(), NotReady::NoAnswer { .. }));
        assert!(matches!(asked("").unwrap_err(), NotReady::NoAnswer { .. }));
        assert!(matches!(ask(None).unwrap_err(), NotReady::NoListener));
    }
}
