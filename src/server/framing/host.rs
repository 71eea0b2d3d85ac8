//! Whether a `Host` names a host.

use std::net::Ipv6Addr;

/// Takes a name or address, with or without a port; nothing with user names, lists, blanks or percent signs.
pub(crate) fn is_plausible(host: &[u8]) -> bool {
    if let Some(rest) = host.strip_prefix(b"[") {
        let Ok(rest) = std::str::from_utf8(rest) else { return false };
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| is_port(port.as_bytes())))
        });
    }
    match memchr::memchr(b':', host) {
        Some(colon) => is_name(&host[..colon]) && is_port(&host[colon + 1..]),
        None => is_name(host),
    }
}

/// Also takes `_`, which is in no host name but in some names of internal services.
fn is_name(name: &[u8]) -> bool {
    let may_stand = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &[u8]| !label.is_empty() && label.iter().all(may_stand);
    // 253 is the longest name that DNS can carry; one dot at the end is the root.
    name.len() <= 254 && name.strip_suffix(b".").unwrap_or(name).split(|byte| *byte == b'.').all(is_label)
}

fn is_port(digits: &[u8]) -> bool {
    let value = digits.iter().try_fold(0_u16, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    });
    !digits.is_empty() && value.is_some()
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
