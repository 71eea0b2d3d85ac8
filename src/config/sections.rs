//! The sections of the config, in the order of the file. Each part of kallback declares its own settings; here they
//! get their names, defaults and bounds.

mod callbacks;
mod database;
mod front;
mod inside;
mod proof;
mod routes;
mod shop;

use std::path::PathBuf;
use std::time::Duration;

use crate::app::Settings;
use crate::config::checks;
use crate::config::section::Section;

pub(super) use callbacks::{patched, policy_of};
pub use shop::shop_address;

/// What the sections say.
#[derive(Debug)]
pub(super) struct Sections {
    /// The settings; where an option is faulty, with its default.
    pub(super) settings: Settings,
    /// A token key file that is to be made first.
    pub(super) key_file_to_make: Option<PathBuf>,
}

/// Reads all sections. Never fails: faults are noted with the reader.
pub(super) fn read(root: &Section<'_>) -> Sections {
    let server = front::read_server(root);
    let (upstream, seats) = shop::read(root);
    let recognise = callbacks::read(root);
    let (token, key_file_to_make) = proof::read(root, &recognise);
    let forward = inside::read_forward(root, &server);
    let settings = Settings {
        server,
        recognise,
        token,
        limits: inside::read_limits(root, seats),
        upstream,
        forward,
        delivery: inside::read_delivery(root),
        ledger: inside::read_ledger(root),
        admin: inside::read_admin(root),
        log: inside::read_log(root),
        // In no section: the standard's variables say it.
        traces: None,
        life: inside::read_life(root),
    };
    checks::check(root, &settings);
    Sections { settings, key_file_to_make }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}

fn days(count: u64) -> Duration {
    hours(24 * count)
}
