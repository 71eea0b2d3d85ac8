//! Whether a `Host` names a host.

use std::net::Ipv6Addr;

/// Takes a name or address, with or without a port; nothing with user names, lists, blanks or percent signs.
pub(crate) fn is_plausible(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    match host.split_once(':') {
        Some((name, port)) => is_name(name) && is_port(port),
        None => is_name(host),
    }
}

/// Also takes `_`, which is in no host name but in some names of internal services.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // 253 is the longest name that DNS can carry; one dot at the end is the root.
    name.len() <= 254 && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_hosts() {
        for host in [
            "shop.example",
            "SHOP.example:443",
            "localhost",
            "a_b",
            "127.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:443",
            "shop.",
        ] {
            assert!(is_plausible(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn everything_else_is_none() {
        for host in [
            "",
            ".",
            "a..b",
            "a b",
            "a,b",
            "user@shop",
            "shop/",
            "shop\\",
            "shop:",
            "shop:65536",
            "shop:+1",
            "shop:1:2",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[zz]",
            "sh%6fp",
            "shöp",
            "shop\t",
            "<shop>",
        ] {
            assert!(!is_plausible(host.as_bytes()), "{host}");
        }
        assert!(!is_plausible(b"\xff"));
        assert!(!is_plausible("a".repeat(300).as_bytes()));
    }
}
