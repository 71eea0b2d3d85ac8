//! Where the database is and how it is reached: the URL of the config, and TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Where the database is, whole: also with its password, which it never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    config: tokio_postgres::Config,
    ca_file: Option<PathBuf>,
}

/// Why a text is no address. None of the reasons quotes it, because it may hold a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AddressFault {
    /// Another scheme, or none.
    #[error("it does not begin with postgres://")]
    Scheme,
    /// The rest cannot be read.
    #[error("it cannot be read as the URL of a PostgreSQL database")]
    Unreadable,
    /// No host to connect to, or no user to be.
    #[error("it names no host or no user")]
    Incomplete,
    /// A TLS mode that a man in the middle can switch off.
    #[error("sslmode is `verify-full`, which is the default, or `disable`")]
    TlsMode,
}

/// Why TLS to the database cannot be set up.
#[derive(Debug, Error)]
pub enum TlsFault {
    /// The authority's file cannot be read, or holds no certificate.
    #[error("cannot read a certificate authority from {}", .0.display())]
    Authority(PathBuf),
    /// rustls refuses.
    #[error("TLS to the database cannot be set up: {0}")]
    Refused(#[from] rustls::Error),
}

impl Address {
    /// Reads a URL. `sslmode` may stand in it: `verify-full` (the default; `require` and `verify-ca` mean the same here)
    /// or `disable`.
    ///
    /// # Errors
    /// [`AddressFault`].
    pub fn parse(url: &str) -> Result<Self, AddressFault> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(AddressFault::Scheme);
        }
        let (bare, mode) = without_tls_mode(url);
        let mut config: tokio_postgres::Config = bare.parse().map_err(|_| AddressFault::Unreadable)?;
        let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let uses_tls = match mode.as_deref() {
            Some("disable") => false,
            Some("verify-full" | "verify-ca" | "require") | None => !is_local,
            Some(_) => return Err(AddressFault::TlsMode),
        };
        if config.get_hosts().is_empty() || config.get_user().is_none() {
            return Err(AddressFault::Incomplete);
        }
        config.ssl_mode(if uses_tls { SslMode::Require } else { SslMode::Disable });
        // A server that fell back to reading only, or was demoted, is no ledger: the next host may be one.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.application_name("kallback");
        config.connect_timeout(CONNECT_WITHIN);
        config.tcp_user_timeout(UNACKNOWLEDGED_AT_MOST);
        config.keepalives_idle(UNACKNOWLEDGED_AT_MOST);
        config.keepalives_interval(CONNECT_WITHIN);
        Ok(Self { config, ca_file: None })
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// The same, trusting the authorities in this file instead of the public ones.
    #[must_use]
    pub fn trusting(mut self, ca_file: Option<PathBuf>) -> Self {
        self.ca_file = ca_file;
        self
    }

    /// Whether the way there is encrypted.
    pub fn uses_tls(&self) -> bool {
        self.config.get_ssl_mode() != SslMode::Disable
    }

    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The TLS client, if the way is encrypted. Reads the authority's file.
    pub(super) fn tls(&self) -> Result<Option<ClientConfig>, TlsFault> {
        if !self.uses_tls() {
            return Ok(None);
        }
        let roots = match &self.ca_file {
            Some(file) => authority(file)?,
            None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(client))
    }
}

fn authority(file: &Path) -> Result<RootCertStore, TlsFault> {
    let unreadable = || TlsFault::Authority(file.to_owned());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|_| unreadable())? {
        roots.add(certificate.map_err(|_| unreadable())?)?;
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(roots) }
}

/// The URL without `sslmode`, which the driver knows only in part, and its value.
fn without_tls_mode(url: &str) -> (String, Option<String>) {
    let Some((place, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut mode = None;
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(value) => mode = Some(value.to_owned()),
            None => rest.push(pair),
        }
    }
    let bare = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    (bare, mode)
}

impl fmt::Display for Address {
    /// User, hosts and database: what an operator has to recognise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.config.get_user().unwrap_or_default())?;
        let ports = self.config.get_ports();
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A connection that is not there within this time is tried again; also the pause between two probes of a silent one.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// What the other side has not acknowledged for this long is lost, and so is the connection.
const UNACKNOWLEDGED_AT_MOST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_everything_but_its_password() {
        let address = Address::parse("postgres://kallback:geheim@db.internal:6432/shop?options=-csearch_path%3Done");
        let address = address.unwrap();
        assert_eq!(address.to_string(), "postgres://kallback@db.internal:6432/shop");
        let with_another = address.clone().with_password("auch geheim");
        assert!(!format!("{address:?} {with_another:?}").contains("geheim"));
        assert_ne!(address, with_another);
    }

    #[test]
    fn the_way_is_encrypted_and_verified_unless_the_url_says_otherwise() {
        let uses_tls = |query: &str| Address::parse(&format!("postgres://k@db/shop{query}")).map(|at| at.uses_tls());
        for query in ["", "?sslmode=require", "?sslmode=verify-full", "?sslmode=verify-ca&connect_timeout=2"] {
            assert_eq!(uses_tls(query), Ok(true), "{query}");
        }
        assert_eq!(uses_tls("?sslmode=disable"), Ok(false));
        assert_eq!(uses_tls("?sslmode=prefer"), Err(AddressFault::TlsMode));
        assert_eq!(Address::parse("postgres://k@%2Frun%2Fpostgresql/shop").map(|at| at.uses_tls()), Ok(false));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_quoted() {
        for (url, fault) in [
            ("mysql://k:geheim@db/shop", AddressFault::Scheme),
            ("postgres://k:geheim@db:porto/shop", AddressFault::Unreadable),
            ("postgres://db/shop", AddressFault::Incomplete),
        ] {
            let found = Address::parse(url).unwrap_err();
            assert_eq!(found, fault, "{url}");
            assert!(!found.to_string().contains("geheim"));
        }
    }
}
