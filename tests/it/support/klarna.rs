//! Klarna as the gateway meets it: it calls over TLS, waits two seconds, tries three times, and hangs up.

mod line;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

pub use self::line::Line;
use super::authority::{Authority, client_that_trusts};
use super::callbacks::Callback;
use super::socket::Socket;
use super::wire::{self, Lines, Wire};

/// Somebody who sends callbacks to one address.
#[derive(Clone)]
pub struct Klarna {
    address: SocketAddr,
    host: String,
    limits: Limits,
    protocol: Protocol,
}

/// The sender's patience.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// TCP and TLS must stand within this time.
    pub connect: Duration,
    /// From the first byte of the request to the last byte of the reply.
    pub read: Duration,
    pub attempts: u32,
    /// Pause before the second attempt; it doubles from there.
    pub first_pause: Duration,
}

#[derive(Clone)]
enum Protocol {
    Plain,
    Http11(Arc<ClientConfig>),
    Http2(Arc<ClientConfig>),
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    pub status: u16,
    /// The reason phrase as bytes; empty over HTTP/2, which has none.
    pub reason: Vec<u8>,
    pub headers: Lines,
    pub body: Vec<u8>,
    pub trailers: Lines,
    /// Replies that came before the real one.
    pub informational: Vec<u16>,
    /// From the start of the last attempt's connection to the end of the reply; over a line that was open already,
    /// from the request.
    pub took: Duration,
    pub attempts: u32,
}

/// No answer came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unanswered {
    pub why: Silence,
    pub took: Duration,
    pub attempts: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Silence {
    /// Nobody listens there.
    Refused,
    /// TCP and TLS did not stand in time.
    ConnectTimeout,
    /// The handshake failed.
    Tls(String),
    /// The reply was not there in time.
    ReadTimeout,
    /// The connection ended before the reply did.
    HungUp(String),
}

impl Limits {
    /// What Klarna's documents say of the authorization callback.
    pub const KLARNA: Self = Self {
        connect: Duration::from_secs(2),
        read: Duration::from_secs(2),
        attempts: 3,
        first_pause: Duration::from_secs(1),
    };

    /// Somebody who waits for a minute and tries once.
    pub const PATIENT: Self =
        Self { connect: Duration::from_secs(60), read: Duration::from_secs(60), attempts: 1, ..Self::KLARNA };
}

impl Klarna {
    /// Calls over TLS as HTTP/1.1 and trusts only `authority`.
    pub fn new(address: SocketAddr, host: &str, authority: &Authority) -> Self {
        let protocol = Protocol::Http11(authority.client(&["http/1.1"]));
        Self { address, host: host.to_owned(), limits: Limits::KLARNA, protocol }
    }

    /// Trusts this certificate instead: that of a server which signed it by itself.
    pub fn trusting(mut self, certificate: CertificateDer<'static>) -> Self {
        self.protocol = Protocol::Http11(client_that_trusts(certificate, &["http/1.1"]));
        self
    }

    /// Calls without TLS: for a shop with nothing in front of it.
    pub fn plain(address: SocketAddr) -> Self {
        let host = "shop.example".to_owned();
        Self { address, host, limits: Limits::KLARNA, protocol: Protocol::Plain }
    }

    pub fn over_http2(mut self, authority: &Authority) -> Self {
        self.protocol = Protocol::Http2(authority.client(&["h2"]));
        self
    }

    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Asks for another name, in SNI and `Host`; without TLS it need not be a name.
    pub fn with_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// One attempt.
    pub async fn call(&self, callback: &Callback) -> Result<Answered, Unanswered> {
        match &self.protocol {
            Protocol::Http2(_) => self.call_over_http2(callback).await,
            _ => self.call_with(&callback.bytes(&self.host), &callback.method).await,
        }
    }

    /// One attempt with exactly these bytes, over HTTP/1.1. `method` tells how the reply is framed.
    pub async fn call_with(&self, request: &[u8], method: &str) -> Result<Answered, Unanswered> {
        let start = Instant::now();
        let mut line = self.connect().await?;
        line.write(request).await;
        let answered = line.reply_to(method).await.map_err(|failed| Unanswered { took: start.elapsed(), ..failed })?;
        Ok(Answered { took: start.elapsed(), ..answered })
    }

    /// As often as Klarna tries: again after a timeout, a hang-up or a status other than 2xx, with doubling pauses.
    /// Gives back how the last attempt ended.
    pub async fn insist(&self, callback: &Callback) -> Result<Answered, Unanswered> {
        let mut pause = self.limits.first_pause;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = self.call(callback).await;
            let satisfied = matches!(&outcome, Ok(answered) if (200..300).contains(&answered.status));
            if satisfied || attempts == self.limits.attempts {
                return match outcome {
                    Ok(answered) => Ok(Answered { attempts, ..answered }),
                    Err(failed) => Err(Unanswered { attempts, ..failed }),
                };
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// The same callback on `number` connections at once.
    pub async fn call_at_once(&self, callback: &Callback, number: usize) -> Vec<Result<Answered, Unanswered>> {
        let mut calls = Vec::new();
        for _ in 0..number {
            let (klarna, callback) = (self.clone(), callback.clone());
            calls.push(tokio::spawn(async move { klarna.call(&callback).await }));
        }
        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(call.await.unwrap());
        }
        outcomes
    }

    /// A connection that the test keeps in hand, to write what it wants and leave when it wants.
    pub async fn connect(&self) -> Result<Line, Unanswered> {
        let start = Instant::now();
        let failed = |why| Unanswered { why, took: start.elapsed(), attempts: 1 };
        let socket = match timeout(self.limits.connect, self.open()).await {
            Ok(opened) => opened.map_err(failed)?,
            Err(_) => return Err(failed(Silence::ConnectTimeout)),
        };
        Ok(Line::new(Wire::new(socket), self.limits.read))
    }

    async fn open(&self) -> Result<Socket, Silence> {
        let tcp = TcpStream::connect(self.address).await.map_err(|why| match why.kind() {
            std::io::ErrorKind::ConnectionRefused => Silence::Refused,
            _ => Silence::HungUp(why.to_string()),
        })?;
        let _ = tcp.set_nodelay(true);
        let config = match &self.protocol {
            Protocol::Plain => return Ok(Socket::Tcp(tcp)),
            Protocol::Http11(config) | Protocol::Http2(config) => config.clone(),
        };
        let name = ServerName::try_from(self.host.clone()).expect("the host is a name");
        let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|why| Silence::Tls(why.to_string()))?;
        Ok(Socket::Tls(Box::new(tls.into())))
    }

    async fn call_over_http2(&self, callback: &Callback) -> Result<Answered, Unanswered> {
        let start = Instant::now();
        let failed = |why| Unanswered { why, took: start.elapsed(), attempts: 1 };
        let socket = self.connect().await?.into_socket();
        let exchange = async {
            let io = TokioIo::new(socket);
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let driver = tokio::spawn(connection);
            let reply = sender.send_request(self.http2_request(callback)).await?;
            let (head, body) = reply.into_parts();
            let body = body.collect().await?;
            driver.abort();
            let trailers = body.trailers().map(as_lines).unwrap_or_default();
            Ok::<_, hyper::Error>((head, body.to_bytes(), trailers))
        };
        let (head, body, trailers) = match timeout(self.limits.read, exchange).await {
            Ok(exchanged) => exchanged.map_err(|why| failed(Silence::HungUp(why.to_string())))?,
            Err(_) => return Err(failed(Silence::ReadTimeout)),
        };
        Ok(Answered {
            status: head.status.as_u16(),
            reason: Vec::new(),
            headers: as_lines(&head.headers),
            body: body.to_vec(),
            trailers,
            informational: Vec::new(),
            took: start.elapsed(),
            attempts: 1,
        })
    }

    fn http2_request(&self, callback: &Callback) -> http::Request<Full<Bytes>> {
        let uri = format!("https://{}{}", self.host, callback.target);
        let mut request = http::Request::builder().method(callback.method.as_str()).uri(uri);
        for (name, value) in &callback.headers {
            request = request.header(name, value);
        }
        request.body(Full::from(callback.body.clone())).expect("the callback fits into HTTP/2")
    }
}

impl fmt::Debug for Klarna {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Klarna, calling {} at {}", self.host, self.address)
    }
}

impl Answered {
    /// A header's only value, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::value(&self.headers, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Klarna is content.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn as_lines(headers: &http::HeaderMap) -> Lines {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
