//! The sections that few need to touch: `[ledger]`, `[delivery]`, `[limits]`, `[forward]`, `[admin]`, `[log]`, `[life]`.

use std::net::SocketAddr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::app::LifeSettings;
use crate::config::readable::{Bytes, Complaint, Read, Readable, Store};
use crate::config::secrets;
use crate::config::section::Section;
use crate::config::sections::database;
use crate::config::sections::{GIB, KIB, MIB, days, hours, millis, minutes, seconds};
use crate::config::tree::{Node, Value};
use crate::limits::SeatSettings;
use crate::metrics::{LogFormat, LogSettings};
use crate::network::Network;
use crate::{admin, delivery, forward, ledger, limits, server};

/// Pauses before the second, third, … attempt, in seconds.
const SCHEDULE_SECONDS: [u64; 7] = [1, 2, 5, 10, 30, 60, 120];

/// Most pauses in the schedule; the last one repeats anyway.
const PAUSES_MAX: usize = 64;

/// Reads `[ledger]`.
pub(super) fn read_ledger(root: &Section<'_>) -> ledger::Settings {
    let section = root.section("ledger");
    let store = section.option("store", Store::File);
    let file = section.path("file", "/var/lib/kallback/kallback.db");
    let database = database::read(&section);
    if store == Store::Memory {
        let message = "notices are kept in memory: a stop or a crash loses what the shop has not got yet";
        section.warn("store", message, "store = \"file\" keeps them");
    }
    let settings = ledger::Settings {
        backend: database.unwrap_or_else(|| store.backend(file)),
        admit_within: section.bounded("admit_within", millis(500), millis(10)..=seconds(10)),
        queue_max: section.bounded("queue_max", 4096, 16..=1_000_000),
        bytes_max: section.bounded("bytes_max", Bytes(GIB), Bytes(MIB)..=Bytes(1024 * GIB)).0,
        retention: ledger::Retention {
            keep_bodies_for: section.bounded("keep_bodies_for", hours(24), Duration::ZERO..=days(365)),
            keep_records_for: section.bounded("keep_records_for", hours(72), minutes(1)..=days(365)),
            keep_dead_for: section.bounded("keep_dead_for", days(30), minutes(1)..=days(365)),
            slice: section.bounded("sweep_slice", 500, 1..=100_000),
        },
        sweep_every: section.bounded("sweep_every", minutes(1), seconds(1)..=hours(24)),
    };
    let ledger::Retention { keep_bodies_for, keep_records_for, .. } = settings.retention;
    if keep_bodies_for > keep_records_for {
        let message = "bodies cannot be kept longer than their records";
        section.fault("keep_bodies_for", message, &format!("at most {}", keep_records_for.show()));
    }
    section.end();
    settings
}

/// Reads `[delivery]`.
pub(super) fn read_delivery(root: &Section<'_>) -> delivery::Settings {
    let section = root.section("delivery");
    let settings = delivery::Settings {
        attempt_timeout: section.bounded("attempt_timeout", seconds(60), seconds(1)..=minutes(30)),
        redelivery_concurrency: section.bounded("redelivery_concurrency", 4, 1..=1000),
        schedule: section.option("schedule", SCHEDULE_SECONDS.map(seconds).to_vec()),
        retry_after_at_most: section.bounded("retry_after_at_most", minutes(5), Duration::ZERO..=hours(24)),
        recorded_body_bytes_max: section.bytes("recorded_body_bytes_max", 64 * KIB, 0..=16 * MIB),
        reply_body_bytes_max: section.bytes("reply_body_bytes_max", MIB, KIB..=64 * MIB),
    };
    let pauses = &settings.schedule;
    if pauses.is_empty() || pauses.len() > PAUSES_MAX {
        let hint = format!("list 1 to {PAUSES_MAX} pauses: [\"1 s\", \"10 s\", \"2 min\"]; the last one repeats");
        section.fault("schedule", format!("the schedule has {} pauses", pauses.len()), &hint);
    }
    if pauses.iter().any(|pause| *pause < millis(100) || *pause > hours(24)) {
        section.fault("schedule", "a pause is out of bounds", "from \"100 ms\" to \"24 h\"");
    }
    if settings.recorded_body_bytes_max > settings.reply_body_bytes_max {
        let message = "a reply cannot be recorded that is not read";
        section.fault("recorded_body_bytes_max", message, "at most `reply_body_bytes_max`");
    }
    section.end();
    settings
}

/// Reads `[limits]`.
pub(super) fn read_limits(root: &Section<'_>, seats: SeatSettings) -> limits::Settings {
    let section = root.section("limits");
    let body_bounds = Bytes(KIB)..=Bytes(64 * MIB);
    let settings = limits::Settings {
        callback_body_bytes_max: section.bounded("callback_body_bytes_max", Bytes(2 * MIB), body_bounds).0,
        traffic_body_bytes_max: section.option("traffic_body_bytes_max", Bytes(0)).0,
        callback_body_within: section.bounded("callback_body_within", seconds(5), millis(100)..=minutes(5)),
        refused_per_minute: section.bounded("refused_per_minute", 120, 1..=1_000_000),
        unproven_per_second: section.bounded("unproven_per_second", 20, 1..=1_000_000),
        proven_per_second: section.bounded("proven_per_second", 500, 1..=1_000_000),
        addresses_max: section.bounded("addresses_max", 65_536, 16..=10_000_000),
        seats,
    };
    section.end();
    settings
}

/// Reads `[forward]`.
pub(super) fn read_forward(root: &Section<'_>, server: &server::Settings) -> forward::Settings {
    let section = root.section("forward");
    let trusted_proxies: Vec<Network> = section.option("trusted_proxies", Vec::new());
    let everybody = |range: &Network| range.to_string().ends_with("/0");
    if trusted_proxies.iter().any(everybody) {
        let message = "everybody is a trusted proxy: any caller can claim any address";
        section.warn("trusted_proxies", message, "list the addresses of your load balancer");
    }
    if trusted_proxies.is_empty() && !server.listen_behind_tls.is_empty() {
        let message = "no proxy is trusted, so that server.listen_behind_tls would refuse everybody";
        section.fault("trusted_proxies", message, "list the addresses of the proxies that end TLS: [\"10.0.0.0/8\"]");
    }
    let settings = forward::Settings {
        trusted_proxies,
        request_body_idle_at_most: section.bounded("request_body_idle_at_most", seconds(30), seconds(1)..=hours(1)),
        tunnel_idle_at_most: section.bounded("tunnel_idle_at_most", minutes(10), seconds(1)..=days(1)),
        scan_forms: section.option("scan_forms", true),
        public_port: server.public_port,
    };
    section.end();
    settings
}

/// Reads `[admin]`.
pub(super) fn read_admin(root: &Section<'_>) -> admin::Settings {
    let section = root.section("admin");
    let listen = section.option("listen", MaybeAddress(Some(SocketAddr::from(([127, 0, 0, 1], 9090))))).0;
    let token = secrets::read(&section, "token");
    let page_records_max = section.bounded("page_records_max", 100, 1..=10_000);
    let token_is_set = section.is_set("token") || section.is_set("token_file");
    if let Some(address) = listen
        && !address.ip().is_loopback()
        && !token_is_set
    {
        let message = format!("the admin listener is open to the network ({address}) without a token");
        section.fault("listen", message, "set admin.token_file, or listen on 127.0.0.1");
    }
    section.end();
    admin::Settings { listen, token, page_records_max }
}

/// Reads `[log]`.
pub(super) fn read_log(root: &Section<'_>) -> LogSettings {
    let section = root.section("log");
    let format = section.option("format", LogFormat::Json);
    let filter = section.option("filter", "info".to_owned());
    if let Err(why) = EnvFilter::builder().parse(&filter) {
        let hint = "write a level (\"info\", \"debug\") or \"warn,kallback=debug\"";
        section.fault("filter", format!("the filter cannot be read: {why}"), hint);
    }
    section.end();
    LogSettings { format, filter }
}

/// Reads `[life]`.
pub(super) fn read_life(root: &Section<'_>) -> LifeSettings {
    let section = root.section("life");
    let settings = LifeSettings {
        drain_delay: section.bounded("drain_delay", seconds(5), Duration::ZERO..=minutes(10)),
        hand_over_at: section.optional_path("hand_over_at"),
        drain_timeout: section.bounded("drain_timeout", seconds(20), Duration::ZERO..=hours(1)),
    };
    section.end();
    settings
}

/// An address, or `off`.
#[derive(Clone, Copy)]
struct MaybeAddress(Option<SocketAddr>);

impl Readable for MaybeAddress {
    fn read(node: &Node) -> Read<Self> {
        match &node.value {
            Value::Text(text) | Value::Raw(text) if text.trim() == "off" => Ok(Self(None)),
            _ => SocketAddr::read(node).map(|address| Self(Some(address))).map_err(|complaints| {
                let hint = Some("write \"127.0.0.1:9090\", or \"off\"".to_owned());
                complaints.into_iter().map(|one| Complaint { hint: hint.clone(), ..one }).collect()
            }),
        }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "\"off\"".to_owned(), |address| address.show())
    }
}
