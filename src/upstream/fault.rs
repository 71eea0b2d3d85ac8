//! Why a request got no reply, and whether the shop can have seen it.

use std::error::Error;
use std::fmt;
use std::io;

use thiserror::Error;

use super::request_body::RequestFault;

/// Whether the shop can have seen a request that failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reached {
    /// Certainly not: no byte of the request left this machine.
    No,
    /// Nobody can tell: at least one byte was handed to the network and no reply came back.
    Unknown,
}

/// Why a request got no reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendCause {
    /// The shop's host name has no address.
    NameNotFound,
    /// Nobody listens there, or the socket file is missing.
    Refused,
    /// The network does not lead there.
    NoRoute,
    /// No connection stood in time (name, TCP and TLS together).
    ConnectTimeout,
    /// The TLS handshake failed.
    TlsFailed,
    /// Connecting failed for another reason (no file descriptors, no permission).
    ConnectFailed,
    /// The connection ended before the first byte was written.
    ClosedUnsent,
    /// The reply's head did not come in time.
    ReplyTimeout,
    /// The connection ended before the reply's head was complete.
    ConnectionBroken,
    /// What came is no HTTP reply, or its head is too large.
    BadReply,
    /// The caller's own request body failed on the way.
    RequestBody(RequestFault),
}

impl SendCause {
    /// Short name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::NameNotFound => "name_not_found",
            Self::Refused => "refused",
            Self::NoRoute => "no_route",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed => "tls_failed",
            Self::ConnectFailed => "connect_failed",
            Self::ClosedUnsent => "closed_unsent",
            Self::ReplyTimeout => "reply_timeout",
            Self::ConnectionBroken => "connection_broken",
            Self::BadReply => "bad_reply",
            Self::RequestBody(fault) => fault.name(),
        }
    }
}

impl fmt::Display for SendCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameNotFound => "the shop's host name has no address",
            Self::Refused => "the shop refuses connections",
            Self::NoRoute => "no route leads to the shop",
            Self::ConnectTimeout => "connecting to the shop took too long",
            Self::TlsFailed => "the TLS handshake with the shop failed",
            Self::ConnectFailed => "connecting to the shop failed",
            Self::ClosedUnsent => "the shop closed the connection before anything was sent",
            Self::ReplyTimeout => "the shop did not reply in time",
            Self::ConnectionBroken => "the connection to the shop broke before its reply",
            Self::BadReply => "the shop's reply is no valid HTTP",
            Self::RequestBody(fault) => return fault.fmt(f),
        })
    }
}

/// A request without a reply. Its text says nothing about the request itself.
#[derive(Debug, Error)]
#[error("{cause}")]
pub struct SendError {
    /// Whether the shop can have seen the request.
    pub reached: Reached,
    /// What went wrong.
    pub cause: SendCause,
    /// The error below, for the log.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SendError {
    /// A failure before the first byte.
    pub(super) fn unreached(cause: SendCause) -> Self {
        Self { reached: Reached::No, cause, source: None }
    }

    /// A failure after which nobody can tell.
    pub(super) fn unknown(cause: SendCause) -> Self {
        Self { reached: Reached::Unknown, cause, source: None }
    }

    /// The same with the error that caused it.
    pub(super) fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// A failure to connect.
    pub(super) fn connecting(error: io::Error) -> Self {
        let cause = match error.kind() {
            // A socket file that is not there is a shop that is not running.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => SendCause::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => SendCause::NoRoute,
            io::ErrorKind::TimedOut => SendCause::ConnectTimeout,
            _ => SendCause::ConnectFailed,
        };
        Self::unreached(cause).because(error)
    }

    /// A failure that hyper reports once a connection stood. `touched` says whether a write was tried.
    pub(super) fn exchanging(error: hyper::Error, touched: bool) -> Self {
        let body_fault = error.source().and_then(|source| source.downcast_ref::<RequestFault>()).copied();
        let cause = match body_fault {
            Some(fault) => SendCause::RequestBody(fault),
            None if error.is_parse() => SendCause::BadReply,
            None if !touched => SendCause::ClosedUnsent,
            None => SendCause::ConnectionBroken,
        };
        let reached = if touched { Reached::Unknown } else { Reached::No };
        Self { reached, cause, source: Some(error.into()) }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;

    use super::super::ShopBody;
    use super::*;

    #[tokio::test]
    async fn only_an_untouched_connection_means_not_reached() {
        for (touched, reached, cause) in
            [(false, Reached::No, SendCause::ClosedUnsent), (true, Reached::Unknown, SendCause::ConnectionBroken)]
        {
            let (ours, theirs) = tokio::io::duplex(1024);
            let (mut sender, driver) = http1::handshake(TokioIo::new(ours)).await.unwrap();
            drop((driver, theirs));
            let broken = sender.send_request(http::Request::new(ShopBody::Empty)).await.unwrap_err();
            let error = SendError::exchanging(broken, touched);
            assert_eq!((error.reached, error.cause), (reached, cause));
        }
    }
}
