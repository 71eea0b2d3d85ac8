//! The named peer: takes TLS off and passes bytes on. No proxy that sees requests can cost less by much.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use kallback::clock::Clock;
use kallback::metrics::Telemetry;
use kallback::server::tls::{CertificateFiles, Certificates, Settings};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Outcome;

/// Makes this program the relay: then the shop's address, the certificate and its key.
pub(crate) const ARGUMENT: &str = "relay";

/// Prints where it listens, and relays until it is killed.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [shop, certificate, key] = arguments else { return Err("the relay needs three arguments".into()) };
    let shop: SocketAddr = shop.parse()?;
    let settings = Settings {
        certificates: vec![CertificateFiles { certificate: PathBuf::from(certificate), key: PathBuf::from(key) }],
        look_every: std::time::Duration::from_secs(3600),
        make_development_certificate: false,
    };
    let certificates = Certificates::load(settings, Clock::system(), Telemetry::new()?)?;
    let acceptor = TlsAcceptor::from(certificates.server_config());
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let acceptor = Arc::new(acceptor);
        loop {
            let (socket, _) = listener.accept().await?;
            let acceptor = Arc::clone(&acceptor);
            // A connection that fails is missed by the load, which counts its replies.
            tokio::spawn(async move { relay(socket, &acceptor, shop).await });
        }
    })
}

async fn relay(socket: TcpStream, acceptor: &TlsAcceptor, shop: SocketAddr) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut caller = acceptor.accept(socket).await?;
    let mut shop = TcpStream::connect(shop).await?;
    shop.set_nodelay(true)?;
    copy_bidirectional(&mut caller, &mut shop).await.map(drop)
}
