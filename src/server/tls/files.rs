//! PEM files: read, checked, and understood.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::CertificateFiles;

/// A chain of many certificates is some 10 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A certificate that cannot be used.
#[derive(Debug, Error)]
pub enum CertificateFault {
    /// There is no certificate in the settings.
    #[error("no certificate is configured")]
    NoneConfigured,
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should. Says no more: it may be the key.
    #[error("{path} holds no {what} in PEM form")]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The certificate is not X.509.
    #[error("{path} cannot be understood: {why}")]
    NotUnderstood {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The two files do not belong together.
    #[error("{key} is not the key of {certificate}")]
    OtherKey {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key is of a kind that TLS cannot use.
    #[error("{path} cannot be used: {source}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A certificate for development was asked for and could not be made.
    #[error("cannot make a certificate for development: {0}")]
    Development(String),
    /// TLS itself cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
}

/// What makes the contents of all files different from others.
pub(super) type Digest = [u8; 32];

/// The contents of one certificate's files.
pub(super) struct Contents {
    files: CertificateFiles,
    certificate: Vec<u8>,
    key: SecretSlice<u8>,
}

/// A certificate that can be used.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// Host names and addresses.
    pub(super) names: Vec<String>,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
}

/// Reads all files. Links are followed anew each time.
pub(super) fn read_all(certificates: &[CertificateFiles]) -> Result<Vec<Contents>, CertificateFault> {
    let read = |files: &CertificateFiles| {
        let (certificate, key) = (read_bounded(&files.certificate)?, read_bounded(&files.key)?.into());
        Ok(Contents { files: files.clone(), certificate, key })
    };
    certificates.iter().map(read).collect()
}

/// What makes these contents different from others.
pub(super) fn digest(contents: &[Contents]) -> Digest {
    let mut hash = Sha256::new();
    for Contents { certificate, key, .. } in contents {
        for part in [certificate, key.expose_secret()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

impl Contents {
    /// Checks that certificate and key can be used and belong together, and reads names and dates.
    pub(super) fn identity(&self) -> Result<Identity, CertificateFault> {
        let CertificateFiles { certificate: certificate_path, key: key_path } = &self.files;
        let not_pem = |path: &Path, what| CertificateFault::NotPem { path: path.to_owned(), what };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| not_pem(certificate_path, "certificate"))?;
        let Some(end_entity) = chain.first() else { return Err(not_pem(certificate_path, "certificate")) };
        let (names, not_before, not_after) = facts(end_entity)
            .map_err(|why| CertificateFault::NotUnderstood { path: certificate_path.clone(), why: why.to_string() })?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret());
        let key = key.map_err(|_| not_pem(key_path, "private key"))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|why| match why {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateFault::OtherKey { certificate: certificate_path.clone(), key: key_path.clone() }
            }
            source => CertificateFault::Unusable { path: key_path.clone(), source },
        })?;
        Ok(Identity { key: Arc::new(key), names, not_before, not_after })
    }
}

type Facts = (Vec<String>, i64, i64);

fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, x509_parser::error::X509Error> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| match error {
        x509_parser::nom::Err::Error(why) | x509_parser::nom::Err::Failure(why) => why,
        x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::InvalidCertificate,
    })?;
    let mut names: Vec<String> = match certificate.subject_alternative_name()? {
        Some(alternatives) => alternatives.value.general_names.iter().filter_map(name).collect(),
        None => Vec::new(),
    };
    if names.is_empty() {
        // Old certificates name their host there only.
        names.extend(certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned));
    }
    let validity = certificate.validity();
    Ok((names, validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CertificateFault> {
    let fault = |source| CertificateFault::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(fault)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB")));
    }
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn identity_for(names: &[&str]) -> Identity {
        let (certificate, key) = pair(names);
        contents(certificate.into_bytes(), key.into_bytes()).identity().unwrap()
    }

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn contents(certificate: Vec<u8>, key: Vec<u8>) -> Contents {
        let files = CertificateFiles { certificate: "c.pem".into(), key: "k.pem".into() };
        Contents { files, certificate, key: key.into() }
    }

    #[test]
    fn names_and_addresses_are_read_from_the_certificate() {
        let identity = identity_for(&["shop.example", "*.shop.example", "127.0.0.1", "::1"]);
        assert_eq!(identity.names, ["shop.example", "*.shop.example", "127.0.0.1", "::1"]);
        assert!(identity.not_before < identity.not_after);
    }

    #[test]
    fn files_that_do_not_fit_are_named_and_nothing_of_a_key_is_told() {
        let ((one, one_key), (_, other_key)) = (pair(&["a.example"]), pair(&["a.example"]));
        let fault = |certificate: &str, key: &str| {
            let fault = contents(certificate.into(), key.into()).identity().unwrap_err();
            for text in [fault.to_string(), format!("{fault:?}")] {
                assert!(key.lines().all(|line| line.is_empty() || !text.contains(line)), "{text}");
            }
            fault.to_string()
        };
        assert_eq!(fault(&one, &other_key), "k.pem is not the key of c.pem");
        assert_eq!(fault("", &one_key), "c.pem holds no certificate in PEM form");
        assert_eq!(fault(&one_key, &one_key), "c.pem holds no certificate in PEM form");
        assert_eq!(fault(&one, "secret"), "k.pem holds no private key in PEM form");
        let cut = &one_key[..one_key.len() / 2];
        assert_eq!(fault(&one, cut), "k.pem holds no private key in PEM form");
    }

    #[test]
    fn the_digest_tells_where_one_file_ends() {
        let digest = |certificate: &str, key: &str| digest(&[contents(certificate.into(), key.into())]);
        assert_eq!(digest("ab", "c"), digest("ab", "c"));
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
