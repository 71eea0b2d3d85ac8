//! `[server]` and `[tls]`: where callers arrive.

use std::net::SocketAddr;
use std::num::NonZero;

use crate::config::readable::Spread;
use crate::config::secrets::{hint_for, warn_if_open};
use crate::config::section::Section;
use crate::config::sections::{KIB, MIB, hours, millis, minutes, seconds};
use crate::server::tls::{self, CertificateFiles};
use crate::server::{Settings, Workers};

/// Most header lines: stored heads are read back with room for that many.
const HEADERS_MAX: usize = 256;

/// Reads both sections.
pub(super) fn read_server(root: &Section<'_>) -> Settings {
    let section = root.section("server");
    let settings = Settings {
        listen: section.option("listen", vec![SocketAddr::from(([0, 0, 0, 0], 443))]),
        redirect_from: section.option("redirect_from", Vec::new()),
        listen_behind_tls: section.option("listen_behind_tls", Vec::new()),
        public_port: section.bounded("public_port", 443, 1..=u16::MAX),
        tls: read_tls(root),
        proxy_protocol_from: section.option("proxy_protocol_from", Vec::new()),
        connections_max: section.bounded("connections_max", 10_000, 1..=1_000_000),
        connections_per_address_max: section.bounded("connections_per_address_max", 256, 1..=1_000_000),
        handshake_within: section.bounded("handshake_within", seconds(10), millis(100)..=minutes(5)),
        head_within: section.bounded("head_within", seconds(10), millis(100)..=minutes(5)),
        idle_for_at_most: section.bounded("idle_for_at_most", seconds(60), seconds(1)..=hours(1)),
        write_stall_at_most: section.bounded("write_stall_at_most", seconds(30), seconds(1)..=hours(1)),
        head_bytes_max: section.bytes("head_bytes_max", 64 * KIB, 8 * KIB..=MIB),
        headers_max: section.bounded("headers_max", 100, 16..=HEADERS_MAX),
        h2_streams_max: section.bounded("h2_streams_max", 100, 1..=10_000),
        h2_resets_max: section.bounded("h2_resets_max", 100, 1..=10_000),
        workers: read_workers(&section),
    };
    if settings.listen.is_empty() {
        section.fault("listen", "there is no address to listen on", "write listen = [\"0.0.0.0:443\"]");
    }
    section.end();
    settings
}

fn read_workers(section: &Section<'_>) -> Workers {
    let spread = section.option("workers", Spread::PerCore);
    let threads = match section.bounded("threads", 0, 0..=1024) {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        count => count,
    };
    match spread {
        Spread::PerCore => Workers::PerCore(threads),
        Spread::Shared => Workers::Shared(threads),
    }
}

fn read_tls(root: &Section<'_>) -> tls::Settings {
    let section = root.section("tls");
    let make_development_certificate = section.option("make_development_certificate", false);
    if make_development_certificate {
        let message = "a certificate made for development is trusted by nobody: Klarna cannot call this address";
        section.warn("make_development_certificate", message, "");
    }
    read_pair(&section.blank("certificates"), true);
    let items = section.sections("certificates");
    if items.is_empty() {
        let hint = "write [[tls.certificates]] with `certificate` and `key`, each a PEM file";
        section.fault("certificates", "there is no TLS certificate", hint);
    }
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| {
            let pair = read_pair(&item, make_development_certificate);
            item.end();
            pair
        })
        .collect();
    let look_every = section.bounded("look_every", seconds(30), seconds(1)..=hours(24));
    section.end();
    tls::Settings { certificates, look_every, make_development_certificate }
}

/// One certificate with its key. Files that are to be made need not be there, but then both are absent.
fn read_pair(item: &Section<'_>, may_be_absent: bool) -> Option<CertificateFiles> {
    let certificate = item.optional_path("certificate");
    let key = item.optional_path("key");
    if item.is_present() {
        for (name, set) in [("certificate", item.is_set("certificate")), ("key", item.is_set("key"))] {
            if !set {
                item.fault(
                    name,
                    format!("`{name}` is missing"),
                    "a certificate needs its PEM file and that of its key",
                );
            }
        }
    }
    let files = CertificateFiles { certificate: certificate?, key: key? };
    let to_be_made = may_be_absent && !files.certificate.exists() && !files.key.exists();
    if !to_be_made {
        check_pair(item, &files);
    }
    Some(files)
}

fn check_pair(item: &Section<'_>, files: &CertificateFiles) {
    let is_readable = [("certificate", &files.certificate), ("key", &files.key)].map(|(name, path)| {
        let opened = std::fs::File::open(path);
        if let Err(why) = &opened {
            item.fault(name, format!("cannot read {}: {why}", path.display()), &hint_for(why));
        }
        opened.is_ok()
    });
    if is_readable == [true, true] {
        warn_if_open(item, "key", &files.key);
        if let Err(why) = files.check() {
            item.fault("certificate", why.to_string(), "wanted is a PEM file with the chain, and one with its key");
        }
    }
}
