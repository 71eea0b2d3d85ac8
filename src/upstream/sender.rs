//! Who calls, and how the shop is told.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::network::Network;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// WooCommerce believes this one before `X-Forwarded-For`.
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The other end of a connection: its address, and how a header writes it. Made once for each connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    written: HeaderValue,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, written: text(address.to_string()) }
    }
}

impl Peer {
    /// Its address; an IPv4 one as such, however the socket says it.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// The other end of a connection as the rules of the time see it. Cheap to make.
#[derive(Clone, Debug)]
pub struct Sender {
    peer: Peer,
    /// One of the proxies whose word is believed.
    trusted: bool,
    proto: HeaderValue,
    port: HeaderValue,
}

impl Sender {
    /// The peer of a connection: its TCP address, or the one that a PROXY protocol header gave.
    pub fn new(
        peer: impl Into<Peer>,
        https: bool,
        public_port: impl Into<HeaderValue>,
        trusted_proxies: &[Network],
    ) -> Self {
        let peer = peer.into();
        Self {
            trusted: trusted_proxies.iter().any(|network| network.contains(peer.address)),
            proto: HeaderValue::from_static(if https { "https" } else { "http" }),
            port: public_port.into(),
            peer,
        }
    }

    /// The address that limits and logs go by: the peer, or behind trusted proxies the last address in
    /// `X-Forwarded-For` that is none of theirs.
    pub fn client(&self, headers: &HeaderMap, trusted_proxies: &[Network]) -> IpAddr {
        if !self.trusted {
            return self.peer.address;
        }
        let lines: Vec<&str> = headers.get_all(&X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
        let mut believed = self.peer.address;
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            // What is no address was not written by a proxy that knows what it does; nothing before it counts.
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            believed = address.to_canonical();
            if !trusted_proxies.iter().any(|network| network.contains(believed)) {
                break;
            }
        }
        believed
    }

    /// Tells the shop who calls and how. What the peer itself says about that stays only if it is trusted.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        if self.trusted {
            self.add_to(headers);
            return;
        }
        headers.insert(&X_FORWARDED_FOR, self.peer.written.clone());
        headers.insert(&X_REAL_IP, self.peer.written.clone());
        headers.insert(&X_FORWARDED_PROTO, self.proto.clone());
        headers.insert(&X_FORWARDED_PORT, self.port.clone());
        if let Some(host) = headers.get(HOST).cloned() {
            headers.insert(&X_FORWARDED_HOST, host);
        }
        headers.remove(FORWARDED);
    }

    fn add_to(&self, headers: &mut HeaderMap) {
        match joined(headers, &X_FORWARDED_FOR) {
            None => {
                headers.entry(&X_REAL_IP).or_insert_with(|| self.peer.written.clone());
                headers.insert(&X_FORWARDED_FOR, self.peer.written.clone());
            }
            Some(hops) => {
                headers.insert(&X_FORWARDED_FOR, text(format!("{hops}, {}", self.peer.address)));
            }
        }
        headers.entry(&X_FORWARDED_PROTO).or_insert_with(|| self.proto.clone());
        headers.entry(&X_FORWARDED_PORT).or_insert_with(|| self.port.clone());
        if let Some(host) = headers.get(HOST).cloned() {
            headers.entry(&X_FORWARDED_HOST).or_insert(host);
        }
        if let Some(hops) = joined(headers, &FORWARDED) {
            let node = match self.peer.address {
                IpAddr::V4(peer) => peer.to_string(),
                IpAddr::V6(peer) => format!("\"[{peer}]\""),
            };
            headers.insert(FORWARDED, text(format!("{hops}, for={node}")));
        }
    }
}

/// All lines of a list header as one, since not every shop reads more than one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let first = lines.next()?.to_owned();
    Some(lines.fold(first, |all, line| all + ", " + line))
}

/// Only ever called with visible ASCII.
fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 2] = ["10.0.0.0/8", "2001:db8::/32"];

    fn proxies() -> Vec<Network> {
        PROXIES.iter().map(|range| range.parse().unwrap()).collect()
    }

    fn caller(peer: &str) -> Sender {
        Sender::new(peer.parse::<IpAddr>().unwrap(), true, 8443, &proxies())
    }

    fn written(peer: &str, headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert("host", HeaderValue::from_static("shop.example"));
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        caller(peer).write_to(&mut map);
        map
    }

    #[test]
    fn what_a_stranger_claims_is_replaced() {
        let lies =
            ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host", "forwarded"];
        let headers = written("::ffff:192.0.2.7", &lies.map(|name| (name, "for=203.0.113.9")));
        assert!(headers.values().all(|value| !value.as_bytes().ends_with(b"113.9")), "{headers:?}");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-real-ip"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-port"], "8443");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let headers = written(
            "10.1.2.3",
            &[
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-for", "10.9.9.9"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "www.shop.example"),
                ("forwarded", "for=203.0.113.9"),
            ],
        );
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9, 10.9.9.9, 10.1.2.3");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-port"]),
            (&"http".parse().unwrap(), &"8443".parse().unwrap())
        );
        assert_eq!(headers["x-forwarded-host"], "www.shop.example");
        assert_eq!(headers["forwarded"], "for=203.0.113.9, for=10.1.2.3");
        assert!(!headers.contains_key("x-real-ip"));

        let first = written("2001:db8::1", &[("forwarded", "for=a")]);
        assert_eq!(
            (&first["x-forwarded-for"], &first["x-real-ip"]),
            (&"2001:db8::1".parse().unwrap(), &"2001:db8::1".parse().unwrap())
        );
        assert_eq!(first["forwarded"], "for=a, for=\"[2001:db8::1]\"");
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let client = |peer: &str, hops: &'static str| {
            let headers = HeaderMap::from_iter([(X_FORWARDED_FOR.clone(), HeaderValue::from_static(hops))]);
            caller(peer).client(&headers, &proxies()).to_string()
        };
        assert_eq!(client("192.0.2.7", "203.0.113.9"), "192.0.2.7");
        assert_eq!(client("10.1.2.3", "203.0.113.66, 203.0.113.9, 10.9.9.9"), "203.0.113.9");
        assert_eq!(client("10.1.2.3", "10.9.9.9"), "10.9.9.9");
        assert_eq!(client("10.1.2.3", "203.0.113.66, unknown, 10.9.9.9"), "10.9.9.9");
        assert_eq!(client("10.1.2.3", "nonsense"), "10.1.2.3");
    }
}
