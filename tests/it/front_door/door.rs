//! A front door with nothing behind it, and callers that trust it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kallback::caller_body::CallerBody;
use kallback::clock::Clock;
use kallback::metrics::Telemetry;
use kallback::server::tls::{CertificateFiles, Certificates};
use kallback::server::{Caller, Drain, Front, Handler, Settings, Workers, bind, redirect, serve, tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Far longer than anything here takes; a test that hangs ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Says who asked for what: `METHOD host path client`.
#[derive(Clone)]
pub(crate) struct Mirror;

impl Handler for Mirror {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<CallerBody>, caller: Caller) -> Response<Full<Bytes>> {
        let host = request.headers().get("host").map_or("-", |host| host.to_str().unwrap()).to_owned();
        let text = format!("{} {host} {} {}", request.method(), request.uri().path(), caller.peer.address());
        if request.uri().path() == "/whole-body" {
            let _ = request.into_body().collect().await;
        } else if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        Response::new(Full::new(text.into()))
    }
}

/// An authority that callers here trust, and a folder for what it issues.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate for these names as `name.crt` and `name.key`, over what was there.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> CertificateFiles {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files =
            CertificateFiles { certificate: self.path(&format!("{name}.crt")), key: self.path(&format!("{name}.key")) };
        std::fs::create_dir_all(files.certificate.parent().unwrap()).unwrap();
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    pub(crate) fn caller(&self) -> CallerConfig {
        CallerConfig { roots: self.roots(), versions: rustls::ALL_VERSIONS, protocols: vec![b"http/1.1".to_vec()] }
    }
}

/// How a caller shakes hands.
pub(crate) struct CallerConfig {
    pub(crate) roots: RootCertStore,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) protocols: Vec<Vec<u8>>,
}

impl CallerConfig {
    pub(crate) fn connector(self) -> TlsConnector {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(self.roots)
            .with_no_client_auth();
        config.alpn_protocols = self.protocols;
        config.resumption = Resumption::in_memory_sessions(8);
        TlsConnector::from(Arc::new(config))
    }
}

/// A door that is open until it is dropped.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) plain_address: SocketAddr,
    pub(crate) certificates: Certificates,
    pub(crate) front: Arc<Front>,
    pub(crate) drain: Drain,
}

impl Door {
    pub(crate) fn open(settings: Settings) -> Self {
        let certificates =
            Certificates::load(settings.tls.clone(), Clock::system(), Telemetry::new().unwrap()).unwrap();
        let front = Front::new(settings, certificates.server_config(), Clock::system(), Telemetry::new().unwrap());
        let (tls, plain) = (bind(any_port(), false).unwrap(), bind(any_port(), false).unwrap());
        let (address, plain_address) = (tls.local_addr().unwrap(), plain.local_addr().unwrap());
        let drain = Drain::new();
        let is_callback: redirect::IsCallback = Arc::new(|target| target.contains("/wc-api/"));
        tokio::spawn(serve(tls, Arc::clone(&front), Mirror, drain.clone()));
        tokio::spawn(redirect::serve(plain, Arc::clone(&front), is_callback, drain.clone()));
        tokio::spawn(certificates.clone().watch(drain.clone()));
        Self { address, plain_address, certificates, front, drain }
    }

    pub(crate) async fn connect(&self, connector: &TlsConnector, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        connector.connect(ServerName::try_from(host.to_owned()).unwrap(), socket).await
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.drain.end_now();
    }
}

pub(crate) fn any_port() -> SocketAddr {
    (IpAddr::from([127, 0, 0, 1]), 0).into()
}

pub(crate) fn settings(certificates: Vec<CertificateFiles>) -> Settings {
    let long = PATIENCE * 2;
    Settings {
        listen: vec![any_port()],
        redirect_from: vec![any_port()],
        listen_behind_tls: Vec::new(),
        public_port: 8443,
        tls: tls::Settings { certificates, look_every: Duration::from_millis(20), make_development_certificate: false },
        proxy_protocol_from: Vec::new(),
        connections_max: 100,
        connections_per_address_max: 100,
        handshake_within: long,
        head_within: long,
        idle_for_at_most: long,
        write_stall_at_most: long,
        head_bytes_max: 16 * 1024,
        headers_max: 100,
        h2_streams_max: 100,
        h2_resets_max: 20,
        workers: Workers::Shared(2),
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
}

/// Sends a request and reads all that comes until the other end closes.
pub(crate) async fn ask(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    request: &str,
) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    until_closed(stream).await
}

pub(crate) async fn until_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await.expect("it is not closed");
    if let Err(error) = read {
        // Closing without TLS's farewell is an error of its own; a reset would be one of ours.
        assert_ne!(error.kind(), std::io::ErrorKind::ConnectionReset, "{}", String::from_utf8_lossy(&reply));
    }
    String::from_utf8(reply).unwrap()
}
