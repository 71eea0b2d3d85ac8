//! `kallback demo`: everything that the demo needs, in a folder of its own that is gone afterwards.

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Settings, StartError};
use crate::clock::Clock;
use crate::demo::shop::SampleShop;
use crate::demo::{self, DemoError, Gateway, Mint, Options};
use crate::event::Family;
use crate::ledger::Backend;
use crate::metrics::{Telemetry, TelemetryError};
use crate::server::tls::CertificateFiles;
use crate::token::{self, Guard, Key, Ticket, expiry_for};
use crate::upstream::Address;

/// The name in the development certificate.
const HOST: &str = "localhost";

/// Why there is no demo.
#[derive(Debug, Error)]
pub(super) enum DemoFault {
    /// The gateway does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The demo itself.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// There would be no metrics.
    #[error(transparent)]
    Metrics(#[from] TelemetryError),
    /// The development certificate cannot be read back.
    #[error("the development certificate cannot be read: {0}")]
    Certificate(String),
    /// The system refuses threads, signals or a folder.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Plays the demo. True if every scene ended as it should.
pub(super) fn run(seconds: Option<u64>, out: &mut (dyn Write + Send)) -> Result<bool, DemoFault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = Folder::make()?;
    runtime.block_on(play(seconds, &folder.0, out))
}

async fn play(seconds: Option<u64>, folder: &Path, out: &mut (dyn Write + Send)) -> Result<bool, DemoFault> {
    let clock = Clock::system();
    let shop = SampleShop::open().await?;
    let settings = settings(shop.address(), folder);
    let guard = Arc::new(Guard::new(settings.token.clone()));
    let certificate = settings.server.tls.certificates[0].certificate.clone();
    let app = App::start(settings, clock.clone(), Telemetry::new()?).await?;
    let authority =
        CertificateDer::from_pem_file(certificate).map_err(|why| DemoFault::Certificate(why.to_string()))?;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gateway = Gateway {
        address: app.tls_addresses().first().copied().unwrap_or(nowhere),
        host: HOST.to_owned(),
        authority,
        admin: app.admin_address().unwrap_or(nowhere),
        mint: mint(guard, clock.clone()),
    };
    let stop = CancellationToken::new();
    let options = Options {
        seconds: seconds.map(Duration::from_secs),
        live: io::stdout().is_terminal(),
        stop: stop.clone(),
        clock,
    };
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let well = demo::run(options, gateway, shop, out).await;
    app.drain().await;
    Ok(well?)
}

/// The defaults that everybody gets, at free ports, in front of the sample shop.
fn settings(shop: SocketAddr, folder: &Path) -> Settings {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut settings = Settings::for_shop(Address::Http { host: shop.ip().to_string(), port: shop.port() });
    settings.server.listen = vec![any_port];
    settings.server.tls.certificates =
        vec![CertificateFiles { certificate: folder.join("demo.crt"), key: folder.join("demo.key") }];
    settings.server.tls.make_development_certificate = true;
    settings.admin.listen = Some(any_port);
    settings.ledger.backend = Backend::File(folder.join("kallback.db"));
    settings.token.keys = vec![Key { id: 1, secret: token::generate() }];
    settings.recognise.presets = vec!["woocommerce".to_owned()];
    settings.life.drain_delay = Duration::ZERO;
    demo::tune(&mut settings);
    settings
}

fn mint(guard: Arc<Guard>, clock: Clock) -> Mint {
    Box::new(move |family: Family, session: &str| {
        let expires_at = expiry_for(clock.now(), token::TTL_DEFAULT);
        guard.mint(&Ticket { family, session: session.as_bytes(), expires_at })
    })
}

/// A folder that only we may look into; removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("kallback-demo-{}-{:08x}", std::process::id(), rand::random::<u32>()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the system's folder for such things is no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
