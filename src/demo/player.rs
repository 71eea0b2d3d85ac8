//! Plays Klarna: sends a callback over TLS with Klarna's limits, and tries again as Klarna does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::letters::Letter;
use crate::clock::Clock;
use crate::message::Reply;

/// Klarna's limit for TCP and TLS together.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Klarna's pause before the second attempt; the next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// More of a reply is not read.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Somebody who sends callbacks to one place. Cheap to clone.
#[derive(Clone)]
pub struct Player {
    address: SocketAddr,
    host: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    clock: Clock,
}

/// A player that cannot be made.
#[derive(Debug, Error)]
pub enum NoPlayer {
    /// The gateway's host is no name that a certificate can be for.
    #[error("`{0}` is no host name")]
    Host(String, #[source] InvalidDnsNameError),
    /// The certificate to trust cannot be used.
    #[error("the certificate authority cannot be trusted")]
    Authority(#[source] rustls::Error),
}

/// How a letter fared.
#[derive(Debug)]
pub struct Played {
    /// What came back at last.
    pub outcome: Result<Reply, Silence>,
    /// How long the last attempt took, from the start of its connection.
    pub took: Duration,
    /// How many attempts there were.
    pub attempts: u32,
}

/// Why no reply came.
#[derive(Debug, Error)]
pub enum Silence {
    /// TCP and TLS did not stand in time.
    #[error("no connection within 2 s")]
    ConnectTimeout,
    /// There was no connection.
    #[error("no connection: {0}")]
    NoConnection(#[source] io::Error),
    /// The reply was not there in time.
    #[error("no answer in time")]
    ReadTimeout,
    /// The connection ended before the reply did.
    #[error("hung up: {0}")]
    HungUp(String),
}

impl Player {
    /// Somebody who calls `host` at `address` and trusts only `authority`.
    pub fn new(
        address: SocketAddr,
        host: &str,
        authority: CertificateDer<'static>,
        clock: Clock,
    ) -> Result<Self, NoPlayer> {
        let name = ServerName::try_from(host.to_owned()).map_err(|why| NoPlayer::Host(host.to_owned(), why))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(NoPlayer::Authority)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address, host: host.to_owned(), name, tls: TlsConnector::from(Arc::new(config)), clock })
    }

    /// Sends the letter: again, after a doubling pause, on any failure or a status other than 2xx, as often as the
    /// letter says.
    pub async fn play(&self, letter: &Letter) -> Played {
        let mut pause = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let start = self.clock.instant();
            let outcome = self.attempt(letter).await;
            let took = self.clock.instant().duration_since(start);
            let satisfied = outcome.as_ref().is_ok_and(|reply| reply.status.is_success());
            if satisfied || attempts >= letter.attempts {
                return Played { outcome, took, attempts };
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn attempt(&self, letter: &Letter) -> Result<Reply, Silence> {
        let connect = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            self.tls.connect(self.name.clone(), tcp).await
        };
        let tls = timeout(CONNECT_WITHIN, connect).await.map_err(|_| Silence::ConnectTimeout)?;
        let tls = tls.map_err(Silence::NoConnection)?;
        timeout(letter.read_within, self.exchange(tls, letter)).await.map_err(|_| Silence::ReadTimeout)?
    }

    async fn exchange(&self, tls: TlsStream<TcpStream>, letter: &Letter) -> Result<Reply, Silence> {
        let hung_up = |why: &dyn ToString| Silence::HungUp(why.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|why| hung_up(&why))?;
        // Dropped with this exchange: when we stop waiting the connection is gone, as Klarna's is.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = self.request(letter).map_err(|why| hung_up(&why))?;
        let (head, body) = sender.send_request(request).await.map_err(|why| hung_up(&why))?.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(|why| hung_up(&why))?;
        let reason = head.extensions.get::<ReasonPhrase>().cloned();
        Ok(Reply { status: head.status, reason, headers: head.headers, body: body.to_bytes() })
    }

    fn request(&self, letter: &Letter) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(&letter.method)
            .uri(&letter.target)
            .header(HOST, &self.host)
            .header(USER_AGENT, "APIs-Klarna");
        if !letter.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(letter.body.clone()))
    }
}
