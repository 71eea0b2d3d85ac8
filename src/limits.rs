//! What is refused before it can reach the shop: rates, sizes, and who may take a seat there.

mod body;
pub mod rates;
pub mod seats;

use std::net::IpAddr;
use std::time::Duration;

pub use self::body::{BodyFault, read_body};
pub use self::rates::Rates;
pub use self::seats::{NoSeat, Seat, Seats};

/// Bounds on callers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest callback body in bytes. Default 2 MiB: an order of 1000 lines with URLs is 1 MB.
    pub callback_body_bytes_max: u64,
    /// Largest body of other traffic in bytes; 0 for no limit (default).
    pub traffic_body_bytes_max: u64,
    /// A callback's whole body must be there within this time.
    pub callback_body_within: Duration,
    /// Refused tokens per minute that one client address may send; above it `429` without a look.
    pub refused_per_minute: u32,
    /// Callbacks per second without a valid token (routes that observe or are off) from one client address.
    pub unproven_per_second: u32,
    /// Callbacks per second with a valid token, all addresses together.
    pub proven_per_second: u32,
    /// Client addresses remembered at most; when full, the shared bucket of strangers is used.
    pub addresses_max: usize,
    /// Seats at the shop.
    pub seats: SeatSettings,
}

/// How many requests may be at the shop at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeatSettings {
    /// Requests at the shop at once, a little below the number of its workers.
    pub max_in_flight: usize,
    /// Of these, seats that only callbacks may take.
    pub reserved_for_callbacks: usize,
    /// Other requests that may wait for a seat.
    pub waiting_traffic_max: usize,
    /// How long other traffic waits for a seat before `503`.
    pub traffic_waits_at_most: Duration,
}

/// A client as limits see it: an IPv4 address, or the /64 of an IPv6 one.
pub fn limit_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        },
    }
}
