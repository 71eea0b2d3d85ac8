//! The whole world of a test: a shop, kallback in front of it, Klarna outside, and the ledger's folder.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use kallback::app::{App, LifeSettings, Settings, StartError};
use kallback::clock::{Clock, UnixMillis};
use kallback::event::Family;
use kallback::ledger::{self, Backend};
use kallback::metrics::Telemetry;
use kallback::recognise::Override;
use kallback::server::tls::CertificateFiles;
use kallback::token::{Guard, Key, Ticket};
use kallback::{admin, delivery, event, forward, limits, metrics, recognise, server, token, upstream};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::callbacks::{Callback, Purchase};
use super::klarna::{Klarna, Limits};
use super::shop::Shop;
use super::time::{FrozenTime, patiently};

/// The name under which the world's shop is reached.
pub const HOST: &str = "shop.example";

/// When simulated clocks start: 2026-01-15T10:00:00Z.
const START: UnixMillis = UnixMillis(1_768_471_200_000);

/// A running world. Its parts stop when it is dropped.
pub struct World {
    pub shop: Shop,
    pub authority: Authority,
    pub clock: Clock,
    /// There when the world was built with [`WorldBuilder::with_frozen_time`].
    pub time: Option<FrozenTime>,
    /// The settings that the gateway was started with; [`restart`](Self::restart) uses them again.
    pub settings: Settings,
    folder: TempDir,
    gateway: Option<RunningGateway>,
}

/// What a world is made of. Made by [`World::builder`].
pub struct WorldBuilder {
    shop: Option<Shop>,
    frozen: bool,
    changes: Vec<Change>,
}

type Change = Box<dyn FnOnce(&mut Settings)>;

/// A gateway that runs in this process. Dropping it is the nearest thing to a crash that one process has.
pub struct RunningGateway {
    /// Where TLS is accepted.
    pub address: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Tells it to stop as SIGTERM does.
    pub stop: CancellationToken,
    /// Ends when it has stopped.
    pub running: JoinHandle<()>,
    /// Its metrics.
    pub telemetry: Telemetry,
}

/// Starts the gateway in this process and waits until it accepts. Ports in `settings` are 0.
async fn start_gateway(settings: &Settings, clock: &Clock) -> Result<RunningGateway, StartError> {
    let telemetry = Telemetry::new().expect("metrics can be registered");
    let app = App::start(settings.clone(), clock.clone(), telemetry.clone()).await?;
    let address = app.tls_addresses()[0];
    let admin = app.admin_address().expect("the world has an admin listener");
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move {
        stopped.cancelled().await;
        app.drain().await;
    });
    Ok(RunningGateway { address, admin, stop, running, telemetry })
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl World {
    /// A WooCommerce shop behind kallback, tokens enforced, ledger on disk, the machine's own clock.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> WorldBuilder {
        WorldBuilder { shop: None, frozen: false, changes: Vec::new() }
    }

    /// Time stands still, and the ledger, in memory, keeps up with it.
    pub fn frozen() -> WorldBuilder {
        Self::builder().with_frozen_time().with_ledger_in_memory()
    }

    /// Klarna, calling the gateway with its real limits.
    pub fn klarna(&self) -> Klarna {
        Klarna::new(self.address(), HOST, &self.authority)
    }

    /// A customer or a stranger: the same calls, with a minute of patience and one attempt.
    pub fn somebody(&self) -> Klarna {
        self.klarna().with_limits(Limits::PATIENT)
    }

    /// Where the gateway accepts TLS.
    pub fn address(&self) -> SocketAddr {
        self.gateway.as_ref().expect("the gateway runs").address
    }

    /// The gateway's admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.gateway.as_ref().expect("the gateway runs").admin
    }

    /// What the gateway counts.
    pub fn telemetry(&self) -> &Telemetry {
        &self.gateway.as_ref().expect("the gateway runs").telemetry
    }

    /// The value of one series of the metrics, named as in their text; 0 for one that is not there.
    #[track_caller]
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.telemetry().render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{series} is {value}")))
    }

    /// The token that the shop puts into the URLs of this purchase.
    pub fn token(&self, family: Family, purchase: &Purchase) -> String {
        let expires_at = self.clock.now() + Duration::from_secs(72 * 3600);
        let ticket = Ticket { family, session: purchase.session.as_bytes(), expires_at };
        Guard::new(self.settings.token.clone()).mint(&ticket).expect("there is a key to mint with")
    }

    /// A callback with its token in the URL.
    pub fn signed(&self, callback: Callback, purchase: &Purchase) -> Callback {
        let place = callback.place.expect("a callback, and no page");
        let token = self.token(place.family, purchase);
        callback.with_token(&token)
    }

    /// Stops the gateway as SIGTERM does.
    pub async fn stop_gateway(&mut self) {
        if let Some(mut gateway) = self.gateway.take() {
            gateway.stop.cancel();
            patiently("the gateway's end", &mut gateway.running).await.expect("the gateway stopped in order");
        }
    }

    /// Sends SIGTERM, so to speak, and does not wait for what follows.
    pub fn tell_gateway_to_stop(&self) {
        self.gateway.as_ref().expect("the gateway runs").stop.cancel();
    }

    /// Takes the gateway away without a word.
    pub fn crash_gateway(&mut self) {
        drop(self.gateway.take());
    }

    /// Starts the gateway again over the same ledger, at another port.
    pub async fn start_gateway_again(&mut self) {
        assert!(self.gateway.is_none(), "the gateway still runs");
        self.gateway = Some(start_gateway(&self.settings, &self.clock).await.expect("the gateway starts"));
    }

    /// The folder with the ledger and the certificates.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl WorldBuilder {
    pub fn with_shop(mut self, shop: Shop) -> Self {
        self.shop = Some(shop);
        self
    }

    /// The clock is simulated and stands still; see [`FrozenTime`]. The gateway must run on the test's runtime.
    pub fn with_frozen_time(mut self) -> Self {
        self.frozen = true;
        self
    }

    pub fn with_ledger_in_memory(self) -> Self {
        self.with_settings(|settings| settings.ledger.backend = Backend::Memory)
    }

    /// What the config's `overrides` change.
    pub fn with_override(self, change: Override) -> Self {
        self.with_settings(|settings| settings.recognise.overrides.push(change))
    }

    /// How strictly every route demands its proof.
    pub fn with_mode(self, mode: event::Mode) -> Self {
        self.with_override(Override { preset: None, kind: None, mode: Some(mode), policy: Default::default() })
    }

    /// Changes any setting.
    pub fn with_settings(mut self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    pub async fn start(self) -> World {
        let shop = match self.shop {
            Some(shop) => shop,
            None => Shop::woocommerce().await,
        };
        let folder = TempDir::new().unwrap();
        let authority = Authority::new();
        let mut settings = settings(&folder, &authority, &shop);
        if self.frozen {
            // Simulated seconds can pass while the ledger's thread, which lives in real time, waits for a core.
            settings.ledger.admit_within = Duration::from_secs(3600);
        }
        for change in self.changes {
            change(&mut settings);
        }
        // The ledger's writer is a thread of its own and needs real time to keep up.
        let time = self.frozen.then(|| FrozenTime::begin().breathing(Duration::from_millis(1)));
        let clock = if self.frozen { Clock::simulated(START) } else { Clock::system() };
        let gateway = Some(start_gateway(&settings, &clock).await.expect("the gateway starts"));
        World { shop, authority, clock, time, settings, folder, gateway }
    }
}

/// Settings of a gateway in front of `shop`: the documented defaults, ports of the system's choice.
pub fn settings(folder: &TempDir, authority: &Authority, shop: &Shop) -> Settings {
    Settings {
        server: server_settings(folder, authority),
        recognise: recognise::Settings {
            presets: vec!["woocommerce".to_owned(), "magento2".to_owned()],
            ..Default::default()
        },
        token: token::Settings {
            parameter: "kallback".to_owned(),
            keys: vec![Key { id: 1, secret: b"a key that only the tests know..".to_vec().into() }],
            signing_keys: Vec::new(),
            sessions_per_token: 4,
        },
        limits: limit_settings(),
        upstream: upstream::Settings {
            address: shop.address(),
            tls: upstream::TlsSettings { ca_file: Some(authority.write(folder.path())), name: Some(HOST.to_owned()) },
            connect_within: Duration::from_secs(1),
            idle_connections_max: 32,
            idle_for_at_most: Duration::from_secs(4),
            reply_within: Duration::from_secs(60),
            body_idle_at_most: Duration::from_secs(30),
            head_bytes_max: 64 << 10,
        },
        forward: forward::Settings {
            trusted_proxies: Vec::new(),
            request_body_idle_at_most: Duration::from_secs(30),
            tunnel_idle_at_most: Duration::from_secs(300),
            scan_forms: true,
            public_port: 443,
        },
        delivery: delivery::Settings {
            attempt_timeout: Duration::from_secs(60),
            redelivery_concurrency: 4,
            schedule: [1, 2, 5, 10, 30, 60, 120].map(Duration::from_secs).to_vec(),
            retry_after_at_most: Duration::from_secs(600),
            recorded_body_bytes_max: 64 << 10,
            reply_body_bytes_max: 1 << 20,
        },
        ledger: ledger_settings(folder),
        admin: admin::Settings { listen: Some(any_port()), token: None, page_records_max: 100 },
        log: metrics::LogSettings { format: metrics::LogFormat::Text, filter: "info".to_owned() },
        traces: None,
        life: LifeSettings { drain_delay: Duration::ZERO, drain_timeout: Duration::from_secs(10), hand_over_at: None },
    }
}

fn server_settings(folder: &TempDir, authority: &Authority) -> server::Settings {
    let (certificate, key) = authority.signs(&[HOST]).write(folder.path(), HOST);
    server::Settings {
        listen: vec![any_port()],
        redirect_from: Vec::new(),
        listen_behind_tls: Vec::new(),
        public_port: 443,
        tls: server::tls::Settings {
            certificates: vec![CertificateFiles { certificate, key }],
            look_every: Duration::from_secs(10),
            make_development_certificate: false,
        },
        proxy_protocol_from: Vec::new(),
        connections_max: 1000,
        connections_per_address_max: 1000,
        handshake_within: Duration::from_secs(5),
        head_within: Duration::from_secs(5),
        idle_for_at_most: Duration::from_secs(60),
        write_stall_at_most: Duration::from_secs(30),
        head_bytes_max: 32 << 10,
        headers_max: 100,
        h2_streams_max: 100,
        h2_resets_max: 100,
        workers: server::Workers::Shared(0),
    }
}

fn limit_settings() -> limits::Settings {
    limits::Settings {
        callback_body_bytes_max: 2 << 20,
        traffic_body_bytes_max: 0,
        callback_body_within: Duration::from_secs(5),
        refused_per_minute: 1000,
        unproven_per_second: 1000,
        proven_per_second: 1000,
        addresses_max: 1000,
        seats: limits::SeatSettings {
            max_in_flight: 32,
            reserved_for_callbacks: 8,
            waiting_traffic_max: 1000,
            traffic_waits_at_most: Duration::from_secs(30),
        },
    }
}

fn ledger_settings(folder: &TempDir) -> ledger::Settings {
    ledger::Settings {
        backend: Backend::File(folder.path().join("ledger.sqlite")),
        admit_within: Duration::from_secs(1),
        queue_max: 1024,
        bytes_max: 256 << 20,
        retention: ledger::Retention {
            keep_bodies_for: Duration::from_secs(24 * 3600),
            keep_records_for: Duration::from_secs(72 * 3600),
            keep_dead_for: Duration::from_secs(30 * 24 * 3600),
            slice: 1000,
        },
        sweep_every: Duration::from_secs(60),
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}
