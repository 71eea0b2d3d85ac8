//! A plain TLS terminator: what stands in front of a shop that has no kallback. It passes everything on and promises
//! nothing; tests of the test world, and comparisons, use it in the gateway's place.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;

/// A running terminator. It stops when it is dropped.
#[derive(Debug)]
pub struct Terminator {
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Terminator {
    /// Serves `host` over TLS, HTTP/1.1 and HTTP/2, in front of `shop`.
    pub async fn start(authority: &Authority, host: &str, shop: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(accept(listener, authority.server(&[host], &["h2", "http/1.1"]), shop));
        Self { address, running }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(listener: TcpListener, config: Arc<ServerConfig>, shop: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(config.clone());
        connections.spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(mut tls) = acceptor.accept(tcp).await else { return };
            if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                let translate = service_fn(|request| translate(request, shop));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(tls), translate).await;
            } else if let Ok(mut shop) = TcpStream::connect(shop).await {
                let _ = shop.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut shop).await;
            }
        });
    }
}

/// One HTTP/2 request to the shop as HTTP/1.1; `502` where that fails.
async fn translate(request: Request<Incoming>, shop: SocketAddr) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let bad_gateway = || {
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = StatusCode::BAD_GATEWAY;
        reply
    };
    let Ok(tcp) = TcpStream::connect(shop).await else { return Ok(bad_gateway()) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    let (head, body) = request.into_parts();
    let body = Full::new(body.collect().await?.to_bytes());
    let mut onward = Request::builder().method(head.method).uri(head.uri.path_and_query().unwrap().as_str());
    if let Some(headers) = onward.headers_mut() {
        *headers = head.headers;
        headers.insert("host", head.uri.authority().unwrap().as_str().parse().unwrap());
    }
    let Ok(reply) = sender.send_request(onward.body(body).unwrap()).await else { return Ok(bad_gateway()) };
    let (mut head, body) = reply.into_parts();
    remove_connection_headers(&mut head.headers);
    Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
}

/// HTTP/2 has none of these (RFC 9113, 8.2.2).
fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}
