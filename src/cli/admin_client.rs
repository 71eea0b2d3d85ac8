//! Asks the admin listener of a running kallback: where it is, who asks, and what went wrong in words.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::healthcheck::reachable;
use super::{ConfigArguments, Failure};

/// The default of `admin.listen`, asked where no config says otherwise.
const USUAL_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// A listing of a full ledger is read in much less; a listener that hangs is an answer too.
const REPLY_WITHIN: Duration = Duration::from_secs(5);

/// A page of a thousand records stays below this size in bytes.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which kallback is asked, and how it knows us.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which kallback")]
pub(super) struct AdminArguments {
    /// Its admin listener; without it, `admin.listen` of the config, and without a config 127.0.0.1:9090.
    #[arg(long, global = true, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// The file with its admin token; without it, the token of the config.
    #[arg(long, global = true, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

/// Why the admin listener gave no answer to work with.
#[derive(Debug, Error)]
pub(super) enum AdminFault {
    /// The config has no listener.
    #[error("there is no admin listener to ask: admin.listen is \"off\" in the config; set it and start again")]
    NoListener,
    /// The token file.
    #[error("cannot read the admin token {}: {why}", .file.display())]
    TokenFile { file: PathBuf, why: io::Error },
    /// A header cannot say it.
    #[error("the admin token holds characters that no header can say; write it anew")]
    TokenText,
    /// Nobody answers there.
    #[error(
        "no answer from {address}: {why}\n  does kallback run, and is that its admin listener? say --admin or --config"
    )]
    NoAnswer { address: SocketAddr, why: io::Error },
    /// Not let in.
    #[error("{address} wants {}: say --admin-token-file, or --config with the config that it runs with",
            if *.given { "another admin token" } else { "an admin token" })]
    Unauthorized { address: SocketAddr, given: bool },
    /// Something else than kallback, or a kallback of another version.
    #[error("{address} does not answer as an admin listener of this version of kallback ({what}); say --admin")]
    Stranger { address: SocketAddr, what: String },
    /// The listener says no. `replay` is what stands in the way of a replay.
    #[error("{what}")]
    Refused { status: StatusCode, what: String, replay: Option<String> },
    /// The system refuses threads or sockets.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Somebody who may ask one admin listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    address: SocketAddr,
    authorization: Option<HeaderValue>,
    runtime: Runtime,
}

impl AdminArguments {
    /// Finds the listener and the token: flags first, then the config, if there is one.
    pub(super) fn client(&self, config: ConfigArguments) -> Result<AdminClient, Failure> {
        let mut token = self.admin_token_file.as_deref().map(read_token).transpose()?;
        let mut address = self.admin;
        let names_config = config.config.is_some();
        let origins = config.origins();
        let is_in_environment = origins.environment.iter().any(|(name, _)| is_option(name));
        let has_config = names_config || !origins.flags.is_empty() || is_in_environment;
        if has_config && (address.is_none() || (token.is_none() && names_config)) {
            let admin = origins.load()?.settings.admin;
            address = address.or(admin.listen);
            token = token.or(admin.token);
        } else if !has_config {
            address = address.or(Some(USUAL_ADDRESS));
        }
        Ok(AdminClient::new(address.ok_or(AdminFault::NoListener)?, token.as_ref())?)
    }
}

/// `KALLBACK_ADMIN__LISTEN` is an option of the config; `KALLBACK_PORT` is what Kubernetes sets for a service.
fn is_option(name: &str) -> bool {
    name.starts_with("KALLBACK_") && name.contains("__")
}

fn read_token(file: &Path) -> Result<SecretString, AdminFault> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|why| AdminFault::TokenFile { file: file.to_owned(), why })?;
    Ok(text.trim().to_owned().into())
}

impl AdminClient {
    pub(super) fn new(address: SocketAddr, token: Option<&SecretString>) -> Result<Self, AdminFault> {
        let bearer = token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.expose_secret())));
        let mut authorization = bearer.transpose().map_err(|_| AdminFault::TokenText)?;
        if let Some(secret) = &mut authorization {
            secret.set_sensitive(true);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address: reachable(address), authorization, runtime })
    }

    /// Where it asks.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What waits on the system besides: signals, pauses.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn get(&self, target: &str) -> Result<Value, AdminFault> {
        self.ask(Method::GET, target, Bytes::new())
    }

    pub(super) fn post(&self, target: &str, order: &Value) -> Result<Value, AdminFault> {
        self.ask(Method::POST, target, order.to_string().into())
    }

    fn ask(&self, method: Method, target: &str, body: Bytes) -> Result<Value, AdminFault> {
        let request = Request::builder().method(method).uri(target).header(HOST, self.address.to_string());
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let mut request = request.map_err(|why| self.no_answer(why))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let exchange = async { tokio::time::timeout(REPLY_WITHIN, exchange(self.address, request)).await };
        let answered = self.runtime.block_on(exchange);
        let answered = answered.map_err(|_| self.no_answer(format!("none within {} s", REPLY_WITHIN.as_secs())))?;
        let (status, body) = answered.map_err(|why| self.no_answer(why))?;
        self.read(status, &body)
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<Value, AdminFault> {
        let address = self.address;
        if status == StatusCode::UNAUTHORIZED {
            return Err(AdminFault::Unauthorized { address, given: self.authorization.is_some() });
        }
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let text = |name: &str| Some(value.as_ref()?.get(name)?.as_str()?.to_owned());
        match (&value, text("error")) {
            (Some(_), None) if status.is_success() => Ok(value.unwrap_or_default()),
            (_, Some(what)) => Err(AdminFault::Refused { status, what, replay: text("replay") }),
            _ => Err(AdminFault::Stranger { address, what: format!("status {}", status.as_u16()) }),
        }
    }

    /// A reply that lacks what it should have.
    pub(super) fn stranger(&self, what: &serde_json::Error) -> AdminFault {
        AdminFault::Stranger { address: self.address, what: what.to_string() }
    }

    fn no_answer(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AdminFault {
        AdminFault::NoAnswer { address: self.address, why: io::Error::other(why) }
    }
}

/// One request on a connection of its own.
async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Broken> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let reply = sender.send_request(request).await?;
        let (head, body) = reply.into_parts();
        Ok((head.status, Limited::new(body, REPLY_BYTES_MAX).collect().await?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(asking);
    tokio::select! {
        biased;
        answered = &mut asking => answered,
        // The connection may end before its last bytes were read; why it did, the asking knows.
        _ = &mut connection => asking.await,
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;
