//! The smallest Pingora proxy that does what the other proxies of the comparison do: it ends TLS, speaks HTTP/1.1 and
//! HTTP/2 in front, sets the same headers, and keeps its connections to the shop.
//!
//!     pingora-beside-kallback LISTEN SHOP CERTIFICATE KEY THREADS

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::tls::ssl::{SslOptions, SslVersion};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

type Fault = Box<dyn std::error::Error>;

struct Front {
    shop: SocketAddr,
}

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, shop, certificate, key, threads] = arguments.as_slice() else {
        return Err("usage: pingora-beside-kallback LISTEN SHOP CERTIFICATE KEY THREADS".into());
    };
    let settings = ServerConf {
        threads: threads.parse()?,
        // It stops at once when the comparison is over.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Front { shop: shop.parse()? });
    proxy.add_tls_with_settings(listen, None, tls(certificate, key)?);
    server.add_service(proxy);
    server.run_forever()
}

/// As the others have it: TLS 1.2 and 1.3, HTTP/2 offered first, the suites in kallback's order.
fn tls(certificate: &str, key: &str) -> Result<TlsSettings, Fault> {
    let mut settings = TlsSettings::intermediate(certificate, key)?;
    settings.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    settings.set_ciphersuites("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256")?;
    settings.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
    settings.enable_h2();
    Ok(settings)
}

#[async_trait]
impl ProxyHttp for Front {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.shop, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        let caller =
            session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_string());
        let host = session.req_header().headers.get("host").cloned();
        if let Some(caller) = caller {
            request.insert_header("X-Real-IP", &caller)?;
            request.insert_header("X-Forwarded-For", caller)?;
        }
        if let Some(host) = host {
            request.insert_header("X-Forwarded-Host", host)?;
        }
        request.insert_header("X-Forwarded-Proto", "https")?;
        request.insert_header("X-Forwarded-Port", "443")
    }
}
