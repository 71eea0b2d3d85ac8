//! How the shop's certificate is checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;

use super::TlsSettings;

/// TLS to the shop: whom to trust and which name to expect.
#[derive(Clone)]
pub(super) struct ShopTls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

/// TLS settings that cannot be used.
#[derive(Debug, Error)]
pub enum TlsFault {
    /// The file with the authority cannot be read.
    #[error("cannot read the shop's authority from {file}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file with the authority holds no certificate.
    #[error("{file} holds no certificate")]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// The name cannot stand in a certificate.
    #[error("`{name}` is no name that a certificate can hold")]
    BadName {
        /// The name.
        name: String,
    },
    /// rustls refuses.
    #[error("TLS to the shop cannot be set up")]
    Refused(#[from] rustls::Error),
}

impl ShopTls {
    /// Reads the authority's file, so this belongs to the start.
    pub(super) fn new(settings: &TlsSettings, host: &str) -> Result<Self, TlsFault> {
        let roots = match &settings.ca_file {
            Some(file) => authority(file)?,
            None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = settings.name.as_deref().unwrap_or(host);
        let bad_name = || TlsFault::BadName { name: name.to_owned() };
        // An IPv6 address comes in brackets from a URL, and without them in a certificate.
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| bad_name())?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

impl std::fmt::Debug for ShopTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShopTls").field("name", &self.name).finish_non_exhaustive()
    }
}

fn authority(file: &Path) -> Result<RootCertStore, TlsFault> {
    let unreadable = |source| TlsFault::Unreadable { file: file.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?)?;
    }
    if roots.is_empty() {
        return Err(TlsFault::NoCertificate { file: file.to_owned() });
    }
    Ok(roots)
}
