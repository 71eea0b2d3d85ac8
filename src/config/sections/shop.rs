//! `[shop]`: where the shop is, how it is reached, and how many requests it can take.

use std::path::PathBuf;

use http::Uri;
use http::uri::{Parts, Scheme};

use crate::config::readable::{Complaint, Read, Readable, quoted};
use crate::config::secrets::hint_for;
use crate::config::section::Section;
use crate::config::sections::{KIB, MIB, hours, millis, minutes, seconds};
use crate::config::tree::Node;
use crate::limits::SeatSettings;
use crate::upstream::{Address, Settings, TlsSettings};

/// Where the shop is assumed while its address is faulty.
const FALLBACK: (&str, u16) = ("127.0.0.1", 8080);

const URL_HINT: &str = "write url = \"http://127.0.0.1:8080\", \"https://shop.internal\" or \"unix:/run/shop.sock\"";

/// Reads the section.
pub(super) fn read(root: &Section<'_>) -> (Settings, SeatSettings) {
    let section = root.section("shop");
    let address = section.required("url", URL_HINT);
    let address = address.unwrap_or_else(|| Address::Http { host: FALLBACK.0.to_owned(), port: FALLBACK.1 });
    let settings = Settings {
        tls: read_tls(&section, &address),
        address,
        connect_within: section.bounded("connect_within", seconds(2), millis(10)..=minutes(1)),
        idle_connections_max: section.bounded("idle_connections_max", 32, 0..=10_000),
        idle_for_at_most: section.bounded("idle_for_at_most", seconds(4), millis(100)..=hours(1)),
        reply_within: section.bounded("reply_within", minutes(2), seconds(1)..=hours(24)),
        body_idle_at_most: section.bounded("body_idle_at_most", minutes(1), seconds(1)..=hours(24)),
        head_bytes_max: section.bytes("head_bytes_max", 64 * KIB, 8 * KIB..=MIB),
    };
    let seats = read_seats(&section);
    section.end();
    (settings, seats)
}

fn read_tls(section: &Section<'_>, address: &Address) -> TlsSettings {
    let ca_file = section.optional_path("ca_file");
    let name: Option<String> = section.optional("tls_name");
    for option in ["ca_file", "tls_name"] {
        if section.is_set(option) && !matches!(address, Address::Https { .. }) {
            section.warn(option, format!("`{option}` has no effect: the shop is not reached by https"), "");
        }
    }
    if let Some(path) = &ca_file
        && let Err(why) = std::fs::File::open(path)
    {
        section.fault("ca_file", format!("cannot read {}: {why}", path.display()), &hint_for(&why));
    }
    TlsSettings { ca_file, name }
}

fn read_seats(section: &Section<'_>) -> SeatSettings {
    let seats = SeatSettings {
        max_in_flight: section.bounded("max_in_flight", 16, 1..=100_000),
        reserved_for_callbacks: section.bounded("reserved_for_callbacks", 4, 0..=100_000),
        waiting_traffic_max: section.bounded("waiting_traffic_max", 1_000, 0..=1_000_000),
        traffic_waits_at_most: section.bounded("traffic_waits_at_most", seconds(10), millis(10)..=minutes(10)),
    };
    let (all, reserved) = (seats.max_in_flight, seats.reserved_for_callbacks);
    if reserved >= all {
        let name = if section.is_set("reserved_for_callbacks") { "reserved_for_callbacks" } else { "max_in_flight" };
        let message = format!("{reserved} of {all} seats at the shop are reserved for callbacks: traffic gets none");
        section.fault(name, message, "`reserved_for_callbacks` must be less than `max_in_flight`");
    }
    seats
}

impl Readable for Address {
    fn read(node: &Node) -> Read<Self> {
        let text = String::read(node)?;
        parse_address(text.trim())
    }

    fn show(&self) -> String {
        match self {
            Self::Http { host, port } => format!("http://{host}:{port}"),
            Self::Https { host, port } => format!("https://{host}:{port}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Dialled(_) => "handed in".to_owned(),
        }
        .show()
    }
}

/// Reads an address of a shop as `shop.url` has it.
///
/// # Errors
///
/// What is wrong with it and what is wanted, in one line.
pub fn shop_address(text: &str) -> Result<Address, String> {
    parse_address(text.trim()).map_err(|complaints| {
        let told = complaints.into_iter().map(|one| match one.hint {
            Some(hint) => format!("{}; {hint}", one.message),
            None => one.message,
        });
        told.collect::<Vec<_>>().join("; ")
    })
}

fn parse_address(text: &str) -> Read<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        let absolute = path.is_absolute();
        return if absolute {
            Ok(Address::Unix(path))
        } else {
            Err(not_an_address(text, "unix: wants an absolute path"))
        };
    }
    let Parts { scheme, authority, path_and_query, .. } =
        text.parse::<Uri>().map_err(|_| not_an_address(text, URL_HINT))?.into_parts();
    let (Some(scheme), Some(authority)) = (scheme, authority) else { return Err(not_an_address(text, URL_HINT)) };
    if path_and_query.is_some_and(|rest| !matches!(rest.as_str(), "" | "/")) {
        return Err(not_an_address(text, "leave path and query out: requests keep their own"));
    }
    if authority.as_str().contains('@') {
        // The text may hold a password, so that it is not repeated.
        return Err(Complaint::new("the address has user information", "leave `user:password@` out"));
    }
    let (host, port) = (authority.host(), &authority.as_str()[authority.host().len()..]);
    let port = match port.strip_prefix(':').map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(not_an_address(text, "a port is a number from 1 to 65535")),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(not_an_address(text, URL_HINT));
    }
    match scheme {
        scheme if scheme == Scheme::HTTP => Ok(Address::Http { host, port: port.unwrap_or(80) }),
        scheme if scheme == Scheme::HTTPS => Ok(Address::Https { host, port: port.unwrap_or(443) }),
        _ => Err(not_an_address(text, URL_HINT)),
    }
}

fn not_an_address(text: &str, hint: &str) -> Vec<Complaint> {
    let shown = if text.contains('@') { "this".to_owned() } else { quoted(text) };
    Complaint::new(format!("{shown} is not an address of a shop"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_is_read() {
        let http = |host: &str, port| Address::Http { host: host.to_owned(), port };
        let https = |host: &str, port| Address::Https { host: host.to_owned(), port };
        for (text, expected) in [
            ("http://127.0.0.1:8080", http("127.0.0.1", 8080)),
            ("http://shop.internal/", http("shop.internal", 80)),
            ("HTTPS://shop.internal", https("shop.internal", 443)),
            ("http://[::1]:81", http("::1", 81)),
            ("unix:/run/shop.sock", Address::Unix("/run/shop.sock".into())),
            ("unix:///run/shop.sock", Address::Unix("/run/shop.sock".into())),
        ] {
            assert_eq!(parse_address(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for text in [
            "",
            "shop",
            "shop:80",
            "ftp://shop",
            "http://",
            "http://shop/path",
            "http://shop?x",
            "http://shop:99999",
            "http://shop:0",
            "http://shop:",
            "http://u:geheim@shop",
            "x://u:geheim@shop",
            "unix:run/shop.sock",
        ] {
            let complaints = parse_address(text).unwrap_err();
            assert!(!format!("{complaints:?}").contains("geheim"), "{text}");
        }
    }
}
