//! Certificates: load, check, choose by name, reload.

mod by_name;
mod development;
mod files;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ServerSessionMemoryCache;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};
use tokio::time::MissedTickBehavior;

use super::{Drain, Stage};
use crate::clock::Clock;
use crate::metrics::{Event, Telemetry};
use by_name::{ByName, Resolver};
use files::{Contents, Digest, Identity};

pub use development::make_development_certificate;
pub use files::CertificateFault;

/// ALPN's name of HTTP/2.
pub(super) const HTTP2: &[u8] = b"h2";
/// ALPN's name of HTTP/1.1.
const HTTP1: &[u8] = b"http/1.1";
/// TLS 1.2 sessions that are remembered for callers that keep no tickets.
const SESSIONS_MAX: usize = 4_096;
/// A caller that resumes gets a new one each time, so one is enough.
const TICKETS: usize = 1;

/// Certificates and their keys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The first one is for callers that name no host, or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// How often the files are looked at for changes.
    pub look_every: Duration,
    /// Make a certificate for development at the first start if the files are absent.
    pub make_development_certificate: bool,
}

/// One certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// PEM: the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Reads both files and sees whether they belong together and can be used.
    pub fn check(&self) -> Result<(), CertificateFault> {
        files::read_all(std::slice::from_ref(self))?.iter().try_for_each(|contents| contents.identity().map(drop))
    }
}

/// The certificates in use. Cheap to clone; all clones are the same ones.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    look_every: Duration,
    resolver: Arc<Resolver>,
    server_config: Arc<ServerConfig>,
    watched: Mutex<Watched>,
    clock: Clock,
    telemetry: Telemetry,
}

/// The files, and what they were like at the last look.
#[derive(Debug)]
struct Watched {
    files: Vec<CertificateFiles>,
    last_seen: Seen,
}

/// What the files were like at a look.
#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Contents(Digest),
    Unreadable(String),
}

impl Certificates {
    /// Reads and checks all certificates, and makes one for development where the settings say so. Reads files: not for
    /// the inside of a task.
    pub fn load(settings: Settings, clock: Clock, telemetry: Telemetry) -> Result<Self, CertificateFault> {
        if settings.make_development_certificate {
            for files in &settings.certificates {
                if development::make_if_absent(files, &clock)? {
                    let certificate = files.certificate.display();
                    let what = format!("{certificate} was made for development; nobody out there trusts it");
                    telemetry.emit(Event::Warning { what: &what });
                }
            }
        }
        let contents = files::read_all(&settings.certificates)?;
        let identities = contents.iter().map(Contents::identity).collect::<Result<Vec<_>, _>>()?;
        let by_name = ByName::new(&identities).ok_or(CertificateFault::NoneConfigured)?;
        let resolver = Arc::new(Resolver::new(by_name));
        let server_config = server_config(Arc::clone(&resolver)).map_err(CertificateFault::Tls)?;
        let last_seen = Seen::Contents(files::digest(&contents));
        let watched = Mutex::new(Watched { files: settings.certificates, last_seen });
        let shared = Shared { look_every: settings.look_every, resolver, server_config, watched, clock, telemetry };
        shared.report(&identities);
        Ok(Self(Arc::new(shared)))
    }

    /// What the listeners shake hands with; it follows every reload.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.server_config)
    }

    /// Reads these files, changed or not, and watches them from now on. On a fault those in use stay, and those that
    /// were watched. Reads files: not for the inside of a task.
    pub fn reload(&self, files: &[CertificateFiles]) -> Result<(), CertificateFault> {
        // Held from the first read to the swap, so that what is read last is used last.
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, read) = look_at(files);
        self.0.take_over(read)?;
        *watched = Watched { files: files.to_vec(), last_seen: seen };
        Ok(())
    }

    /// Looks for changed files until draining begins. A fault is reported once, and the next change is tried again.
    ///
    /// Contents are compared, not times or events: Kubernetes replaces a link two directories above the file.
    pub async fn watch(self, drain: Drain) {
        let mut ticks = tokio::time::interval(self.0.look_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // They were read a moment ago.
        ticks.reset();
        let mut stages = drain.watch();
        let mut draining = std::pin::pin!(stages.reached(Stage::Draining));
        loop {
            tokio::select! {
                () = &mut draining => return,
                _ = ticks.tick() => {}
            }
            let shared = Arc::clone(&self.0);
            // Faults are reported there.
            let _ = tokio::task::spawn_blocking(move || shared.look_again()).await;
        }
    }
}

impl Shared {
    /// Takes over what changed since the last look.
    fn look_again(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, read) = look_at(&watched.files);
        if watched.last_seen != seen {
            watched.last_seen = seen;
            // Certificate and key are two files: between two writes they do not match. That is a fault like any other,
            // and over at the next look.
            let _ = self.take_over(read);
        }
    }

    fn take_over(&self, read: Result<Vec<Contents>, CertificateFault>) -> Result<(), CertificateFault> {
        let outcome = read.and_then(|contents| self.swap(&contents));
        let fault = outcome.as_ref().err().map(|fault| fault as &(dyn std::error::Error + '_));
        // In this order: it forgets the names that were served before.
        self.telemetry.emit(Event::Reloaded { what: "certificates", fault });
        self.report(&outcome?);
        Ok(())
    }

    fn swap(&self, contents: &[Contents]) -> Result<Vec<Identity>, CertificateFault> {
        let identities = contents.iter().map(Contents::identity).collect::<Result<Vec<_>, _>>()?;
        self.resolver.swap(ByName::new(&identities).ok_or(CertificateFault::NoneConfigured)?);
        Ok(identities)
    }

    fn report(&self, identities: &[Identity]) {
        let now = self.clock.now().seconds();
        for Identity { names, not_before, not_after, .. } in identities {
            let name = names.first().map_or("(no name)", String::as_str);
            self.telemetry.emit(Event::Certificate { name, not_after: *not_after });
            let trouble = match () {
                () if *not_after <= now => "has expired",
                () if *not_before > now => "is not valid yet",
                () => continue,
            };
            self.telemetry.emit(Event::Warning { what: &format!("the certificate for {name} {trouble}") });
        }
    }
}

fn look_at(files: &[CertificateFiles]) -> (Seen, Result<Vec<Contents>, CertificateFault>) {
    let read = files::read_all(files);
    let seen = match &read {
        Ok(contents) => Seen::Contents(files::digest(contents)),
        Err(fault) => Seen::Unreadable(format!("{fault:?}")),
    };
    (seen, read)
}

fn server_config(resolver: Arc<Resolver>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.ignore_client_order = true;
    config.send_tls13_tickets = TICKETS;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// The usual suites, those with SHA-384 last. A handshake consists of hashing more than of anything else, and processors
/// have instructions for SHA-256 but hardly for SHA-384: it took an eighth of the time of a fresh connection.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(hashes_slowly);
    provider
}

fn hashes_slowly(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;

    #[tokio::test]
    async fn metrics_know_the_certificates_in_use_after_every_reload() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            CertificateFiles { certificate: folder.path().join("certificate.pem"), key: folder.path().join("key.pem") };
        let settings = Settings {
            certificates: vec![files.clone()],
            look_every: Duration::from_secs(1),
            make_development_certificate: true,
        };
        let telemetry = Telemetry::new().unwrap();
        let clock = Clock::simulated(UnixMillis(1_763_700_000_000));
        let certificates = Certificates::load(settings, clock, telemetry.clone()).unwrap();
        let known = || telemetry.render().matches("\nkallback_certificate_not_after_seconds{").count();
        let good = || telemetry.render().contains("\nkallback_certificates_last_reload_successful 1");
        assert_eq!((known(), good()), (1, true));
        certificates.reload(std::slice::from_ref(&files)).unwrap();
        assert_eq!((known(), good()), (1, true));
        std::fs::write(&files.certificate, "no certificate").unwrap();
        certificates.reload(std::slice::from_ref(&files)).unwrap_err();
        assert_eq!((known(), good()), (1, false));
    }
}
