//! One HTTP/1.1 call on a fresh connection, made as Klarna's own client would, with the time of every step.
//!
//! For the commands that try a gateway or a shop from outside; the gateway itself never calls this. No redirect is
//! followed and nothing is tried twice: what to make of an answer is the caller's business.

mod dial;
mod exchange;
mod origin;
mod trust;
mod watched;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, StatusCode};
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

pub use self::origin::{NotAUrl, Origin};
pub use self::trust::{Trust, TrustFault};

use crate::clock::Clock;
use crate::message::Reply;

/// How calls are made. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How long each part may take.
    pub limits: Limits,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Go to this address, whatever the origin's name says; SNI and `Host` stay the origin's.
    pub connect_to: Option<SocketAddr>,
    /// Time.
    pub clock: Clock,
}

/// How long each part of a call may take, and how much of an answer is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Name look-up, TCP and TLS together.
    pub connect_within: Duration,
    /// The answer, once the connection stands.
    pub answer: AnswerLimit,
    /// Bytes of the body that are read; what follows is left unread.
    pub body_bytes_max: usize,
}

/// What "no answer in time" means to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerLimit {
    /// The last byte is there within this time.
    Whole(Duration),
    /// No pause before a byte is longer than `pause`, as a socket's read timeout has it; the last byte is there
    /// within `whole`.
    Silence {
        /// Longest pause.
        pause: Duration,
        /// Longest time for all of it.
        whole: Duration,
    },
}

/// A part of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Step {
    /// The addresses of the name.
    #[default]
    LookUp,
    /// TCP.
    Connect,
    /// TLS.
    Handshake,
    /// Request sent, no whole head of an answer yet.
    Answer,
    /// Head there, body not.
    Body,
}

/// What was learnt on the way, whether or not an answer came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How far it came.
    pub step: Step,
    /// Time that the look-up took; absent if there was nothing to look up.
    pub look_up: Option<Duration>,
    /// Time that TCP took, over all addresses that were tried.
    pub connect: Option<Duration>,
    /// Time that TLS took.
    pub handshake: Option<Duration>,
    /// From the request to the answer's first byte.
    pub first_byte: Option<Duration>,
    /// From the request to the end of the answer's head.
    pub head: Option<Duration>,
    /// From the request to the end of the answer, or of what was read of it.
    pub answer: Option<Duration>,
    /// All addresses of the name, in the order of the look-up.
    pub addresses: Vec<SocketAddr>,
    /// The addresses that were tried, the last one with success if `connect` is there.
    pub tried: Vec<Tried>,
    /// What TLS showed.
    pub tls: Option<TlsFacts>,
    /// The answer's status, once its head was there.
    pub status: Option<StatusCode>,
}

/// One address that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// The address.
    pub address: SocketAddr,
    /// Why there was no connection, if there was none.
    pub fault: Option<String>,
}

/// What the other side showed during the TLS handshake.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The version that was agreed on, once it was.
    pub version: Option<ProtocolVersion>,
    /// The application protocol that was agreed on.
    pub alpn: Option<Vec<u8>>,
    /// The certificates, the server's own first, as DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// What is wrong with them; absent if nothing is, or if none came.
    pub fault: Option<rustls::Error>,
}

/// An answer, and the way to it.
#[derive(Debug)]
pub struct Answered {
    /// The answer; its body may be cut.
    pub reply: Reply,
    /// There was more of the body than was read.
    pub is_cut: bool,
    /// Time of everything, from the look-up on.
    pub took: Duration,
    /// The way.
    pub seen: Seen,
}

/// No answer came.
#[derive(Debug)]
pub struct Unanswered {
    /// Why.
    pub fault: Fault,
    /// How long after the start.
    pub took: Duration,
    /// The way until then; [`Seen::step`] says where it ended.
    pub seen: Seen,
}

/// Why no answer came.
#[derive(Debug, Error)]
pub enum Fault {
    /// The request cannot be written as HTTP.
    #[error("the request cannot be sent: {0}")]
    Request(#[source] http::Error),
    /// The origin's name can be in no certificate.
    #[error("`{0}` is no name that a certificate can be for")]
    Name(String),
    /// The name has no address.
    #[error("the name is not found")]
    NoAddress,
    /// The system, or the other side, says no.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// This client cannot do TLS so.
    #[error("TLS: {0}")]
    Tls(#[source] rustls::Error),
    /// The step was not over in time.
    #[error("not within {} ms", .0.as_millis())]
    TooSlow(Duration),
    /// The connection ended before the answer did, or it was no HTTP.
    #[error("{}", with_causes(.0))]
    Broken(#[source] hyper::Error),
}

/// A connection, TLS or not.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Probe {
    /// Sends the request, whose URI is path and query, to the origin. `Host` is added if the request has none.
    ///
    /// # Errors
    /// If no whole answer came, and then where it ended, after how long, and what was learnt until then.
    pub async fn call(&self, origin: &Origin, request: Request<Bytes>) -> Result<Answered, Box<Unanswered>> {
        let start = self.clock.instant();
        let mut seen = Seen::default();
        let outcome = self.talk(origin, request, &mut seen).await;
        let took = self.clock.instant().duration_since(start);
        match outcome {
            Ok((reply, is_cut)) => Ok(Answered { reply, is_cut, took, seen }),
            Err(fault) => Err(Box::new(Unanswered { fault, took, seen })),
        }
    }

    async fn talk(&self, origin: &Origin, request: Request<Bytes>, seen: &mut Seen) -> Result<(Reply, bool), Fault> {
        let mut request = request;
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(&origin.authority()).map_err(|why| Fault::Request(why.into()))?;
            request.headers_mut().insert(HOST, host);
        }
        let within = self.limits.connect_within;
        let stream = timeout(within, self.connect(origin, seen)).await.map_err(|_| Fault::TooSlow(within))??;
        seen.step = Step::Answer;
        self.exchange(stream, request, seen).await
    }

    async fn connect(&self, origin: &Origin, seen: &mut Seen) -> Result<Box<dyn Duplex>, Fault> {
        let tcp = self.dial(origin, seen).await?;
        if !origin.is_tls {
            return Ok(Box::new(tcp));
        }
        seen.step = Step::Handshake;
        let start = self.clock.instant();
        let (outcome, facts) = self.trust.handshake(origin, tcp).await?;
        seen.tls = Some(facts);
        let tls = outcome.map_err(Fault::Io)?;
        seen.handshake = Some(self.clock.instant().duration_since(start));
        Ok(Box::new(tls))
    }
}

impl Step {
    /// For people, after "no answer:".
    pub fn text(self) -> &'static str {
        match self {
            Self::LookUp => "name look-up",
            Self::Connect => "connection",
            Self::Handshake => "TLS handshake",
            Self::Answer => "answer",
            Self::Body => "end of the answer",
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            fault @ Fault::TooSlow(_) => write!(f, "{} {fault}", self.seen.step.text()),
            fault => write!(f, "{} failed after {} ms: {fault}", self.seen.step.text(), self.took.as_millis()),
        }
    }
}

impl Error for Unanswered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// hyper's own text says only that something went wrong; what it was stands in its causes.
fn with_causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
