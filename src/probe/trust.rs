//! Whose certificates are believed, and what was shown even where none is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Fault, Origin, TlsFacts};

/// Whose certificates are believed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    believes_all: bool,
    versions: Vec<&'static SupportedProtocolVersion>,
}

/// Authorities that cannot be believed.
#[derive(Debug, Error)]
pub enum TrustFault {
    /// The file cannot be read.
    #[error("cannot read certificates from {0}: {1}")]
    Unreadable(PathBuf, #[source] pem::Error),
    /// The file holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// A certificate cannot stand for an authority.
    #[error("the certificate cannot be used as an authority: {0}")]
    Unusable(#[source] rustls::Error),
    /// The authorities as a whole cannot be used.
    #[error("the authorities cannot be used: {0}")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
}

impl Trust {
    /// The authorities that browsers believe, and those in a PEM file if there is one.
    ///
    /// # Errors
    /// If the file cannot be read or holds no usable certificate.
    pub fn public_and(file: Option<&Path>) -> Result<Self, TrustFault> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(file) = file {
            let unreadable = |why| TrustFault::Unreadable(file.to_owned(), why);
            let before = roots.len();
            for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?).map_err(TrustFault::Unusable)?;
            }
            if roots.len() == before {
                return Err(TrustFault::Empty(file.to_owned()));
            }
        }
        Self::new(roots)
    }

    /// This authority and no other.
    ///
    /// # Errors
    /// If the certificate cannot be used as one.
    pub fn only(authority: CertificateDer<'static>) -> Result<Self, TrustFault> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(TrustFault::Unusable)?;
        Self::new(roots)
    }

    fn new(roots: RootCertStore) -> Result<Self, TrustFault> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = builder.build().map_err(TrustFault::Verifier)?;
        Ok(Self { verifier, provider, believes_all: false, versions: rustls::ALL_VERSIONS.to_vec() })
    }

    /// Goes on whatever the certificate is; [`TlsFacts::fault`] still says what is wrong with it. For diagnosis only.
    #[must_use]
    pub fn believing_all(self) -> Self {
        Self { believes_all: true, ..self }
    }

    /// Speaks only these versions of TLS.
    #[must_use]
    pub fn speaking(self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self { versions: versions.to_vec(), ..self }
    }

    /// The handshake, and what it showed: also when it failed.
    pub(super) async fn handshake(
        &self,
        origin: &Origin,
        tcp: TcpStream,
    ) -> Result<(io::Result<TlsStream<TcpStream>>, TlsFacts), Fault> {
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| Fault::Name(origin.host.clone()))?;
        let witness = Arc::new(Witness {
            verifier: self.verifier.clone(),
            believes_all: self.believes_all,
            shown: Mutex::default(),
        });
        // A config of its own for each call: nothing is resumed from the call before, as with a client that is new.
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(Fault::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let outcome = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let Shown { chain, fault } = witness.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let agreed = outcome.as_ref().ok().map(|tls| tls.get_ref().1);
        let version = agreed.and_then(|agreed| agreed.protocol_version());
        let alpn = agreed.and_then(|agreed| agreed.alpn_protocol()).map(<[u8]>::to_vec);
        Ok((outcome, TlsFacts { version, alpn, chain, fault }))
    }
}

/// Checks a certificate as everybody does, and remembers it with what came of that.
struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    believes_all: bool,
    shown: Mutex<Shown>,
}

#[derive(Clone, Default)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    fault: Option<rustls::Error>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let chain = std::iter::once(end_entity).chain(intermediates).map(|one| one.clone().into_owned()).collect();
        let fault = verdict.as_ref().err().cloned();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { chain, fault };
        if self.believes_all { Ok(ServerCertVerified::assertion()) } else { verdict }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("believes_all", &self.believes_all).finish_non_exhaustive()
    }
}
