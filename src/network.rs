//! Address ranges, as the config lists them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// An address range: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A range that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no address range; write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")]
pub struct NotANetwork(String);

impl Network {
    /// Whether the address lies in the range. An IPv4 address that comes mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(one)) => {
                same_prefix(u32::from(range).into(), u32::from(one).into(), u32::from(self.prefix), 32)
            }
            (IpAddr::V6(range), IpAddr::V6(one)) => same_prefix(range.into(), one.into(), u32::from(self.prefix), 128),
            _ => false,
        }
    }
}

fn same_prefix(left: u128, right: u128, prefix: u32, width: u32) -> bool {
    prefix == 0 || (left ^ right) >> (width - prefix) == 0
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let fault = || NotANetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.parse().map_err(|_| fault())?,
            None => width,
        };
        if prefix > width {
            return Err(fault());
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_should_and_nothing_else() {
        let holds = |range: &str, one: &str| range.parse::<Network>().unwrap().contains(one.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("0.0.0.0/0", "192.0.2.1"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(holds("::1", "::1"));
        assert!(!holds("::1", "::2"));
    }

    #[test]
    fn what_is_no_range_says_so() {
        for text in ["", "10.0.0.0/33", "::/129", "shop.example", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
