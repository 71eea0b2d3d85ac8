//! The PROXY header that some load balancers send before TLS: who the client really is.
//!
//! [`parse`] is pure and never asks for a byte beyond the header, so that what follows stays in the socket for TLS.
//! Versions 1 and 2 of <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Section 2.1: a line of version 1 is at most that long, CRLF included.
const LINE_BYTES_MAX: usize = 107;
/// Section 2.2: what version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// Far above addresses and the vendors' extra fields; the field itself could say 65535.
const EXTRA_BYTES_MAX: usize = 4_096;

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The connection is relayed for this client.
    Client(SocketAddr),
    /// The load balancer speaks for itself (health checks), or cannot say for whom.
    Itself,
}

/// What came of the bytes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// At least that many more bytes belong to the header.
    NeedMore(usize),
    /// It is complete.
    Complete(Origin),
}

/// Why a header is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Malformed {
    /// Neither version.
    #[error("no PROXY header")]
    Missing,
    /// A line of version 1 with something wrong in it.
    #[error("malformed PROXY header, version 1")]
    Line,
    /// A block of version 2 with something wrong in it.
    #[error("malformed PROXY header, version 2")]
    Block,
    /// Longer than any honest one.
    #[error("PROXY header too long")]
    TooLong,
}

/// A header that could not be read.
#[derive(Debug, Error)]
pub enum Failed {
    /// What came is no header.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The connection ended or broke.
    #[error("the connection ended within the PROXY header")]
    Ended(#[from] std::io::Error),
}

/// Reads one header off the front of a connection, and not one byte more.
pub async fn read(connection: &mut (impl AsyncRead + Unpin)) -> Result<Origin, Failed> {
    let mut header = Vec::with_capacity(LINE_BYTES_MAX);
    loop {
        match parse(&header)? {
            Parsed::Complete(origin) => return Ok(origin),
            Parsed::NeedMore(bytes) => {
                let start = header.len();
                header.resize(start + bytes, 0);
                connection.read_exact(&mut header[start..]).await?;
            }
        }
    }
}

/// Judges the front of a connection.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let agreed = SIGNATURE.len().min(bytes.len());
    if bytes[..agreed] == SIGNATURE[..agreed] && !bytes.is_empty() {
        return parse_block(bytes);
    }
    let agreed = b"PROXY ".len().min(bytes.len());
    if bytes[..agreed] == b"PROXY "[..agreed] {
        return parse_line(bytes);
    }
    Err(Malformed::Missing)
}

fn parse_line(bytes: &[u8]) -> Result<Parsed, Malformed> {
    // The shortest line: "PROXY UNKNOWN\r\n".
    const SHORTEST: usize = 15;
    if bytes.len() < SHORTEST {
        return Ok(Parsed::NeedMore(SHORTEST - bytes.len()));
    }
    match memchr::memchr(b'\n', bytes) {
        None if bytes.len() >= LINE_BYTES_MAX => Err(Malformed::TooLong),
        // After CR only LF can be missing, otherwise both.
        None if bytes.ends_with(b"\r") => Ok(Parsed::NeedMore(1)),
        None => Ok(Parsed::NeedMore(if bytes.len() + 1 == LINE_BYTES_MAX { 1 } else { 2 })),
        Some(at) if at >= LINE_BYTES_MAX => Err(Malformed::TooLong),
        Some(at) if at + 1 != bytes.len() => Err(Malformed::Line),
        Some(at) => {
            let line = bytes[..at].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
            line.and_then(origin_of_line).map(Parsed::Complete).ok_or(Malformed::Line)
        }
    }
}

fn origin_of_line(line: &str) -> Option<Origin> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        // Section 2.1: whatever follows UNKNOWN is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Some(Origin::Itself),
        ["PROXY", "TCP4", source, destination, source_port, destination_port] => {
            let source: Ipv4Addr = source.parse().ok()?;
            let _: Ipv4Addr = destination.parse().ok()?;
            port(destination_port)?;
            Some(Origin::Client((source, port(source_port)?).into()))
        }
        ["PROXY", "TCP6", source, destination, source_port, destination_port] => {
            let source: Ipv6Addr = source.parse().ok()?;
            let _: Ipv6Addr = destination.parse().ok()?;
            port(destination_port)?;
            Some(Origin::Client(canonical(source.into(), port(source_port)?)))
        }
        _ => None,
    }
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

fn parse_block(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Parsed::NeedMore(FIXED_BYTES - bytes.len()));
    };
    let [.., version_and_command, family, length_high, length_low] = *fixed;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if length > EXTRA_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    if rest.len() < length {
        return Ok(Parsed::NeedMore(length - rest.len()));
    }
    if rest.len() > length {
        return Err(Malformed::Block);
    }
    let origin = match (version_and_command, family) {
        (0x20, _) => Some(Origin::Itself),
        // 0x00: unspecified; 0x31: a stream over a Unix socket. Neither names an address.
        (0x21, 0x00 | 0x31) => Some(Origin::Itself),
        (0x21, 0x11) => rest.first_chunk::<12>().map(|block| {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *block;
            Origin::Client((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
        }),
        (0x21, 0x21) => rest.first_chunk::<36>().and_then(|block| {
            let address: [u8; 16] = *block.first_chunk()?;
            Some(Origin::Client(canonical(address.into(), u16::from_be_bytes([block[32], block[33]]))))
        }),
        _ => None,
    };
    origin.map(Parsed::Complete).ok_or(Malformed::Block)
}

fn canonical(address: IpAddr, port: u16) -> SocketAddr {
    (address.to_canonical(), port).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn origin(bytes: &[u8]) -> Result<Origin, Malformed> {
        match parse(bytes)? {
            Parsed::Complete(origin) => Ok(origin),
            Parsed::NeedMore(_) => panic!("not complete: {bytes:?}"),
        }
    }

    fn client(text: &str) -> Result<Origin, Malformed> {
        Ok(Origin::Client(text.parse().unwrap()))
    }

    #[test]
    fn lines_name_the_client() {
        assert_eq!(origin(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n"), client("192.0.2.7:56324"));
        assert_eq!(origin(b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n"), client("[2001:db8::7]:1"));
        assert_eq!(origin(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), client("192.0.2.7:1"));
        assert_eq!(origin(b"PROXY UNKNOWN\r\n"), Ok(Origin::Itself));
        assert_eq!(origin(b"PROXY UNKNOWN what ever\r\n"), Ok(Origin::Itself));
    }

    #[test]
    fn blocks_name_the_client_and_may_carry_more() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb];
        assert_eq!(origin(&block(0x21, 0x11, &four)), client("192.0.2.7:56324"));
        assert_eq!(origin(&block(0x21, 0x11, &[&four[..], &[3, 0, 1, 9]].concat())), client("192.0.2.7:56324"));
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[33] = 9;
        assert_eq!(origin(&block(0x21, 0x21, &six)), client("[2001:db8::7]:9"));
        assert_eq!(origin(&block(0x20, 0x00, &[])), Ok(Origin::Itself));
        assert_eq!(origin(&block(0x20, 0x11, &four)), Ok(Origin::Itself));
        assert_eq!(origin(&block(0x21, 0x31, &[0; 216])), Ok(Origin::Itself));
    }

    #[test]
    fn malformed_headers_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.7  10.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 ::1 ::1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 056 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +56 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n",
            "PROXY TCP6 192.0.2.7 ::1 56324 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 56324 443\r\n",
            "PROXY  UNKNOWN\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line:?}");
        }
        for not_one in ["GET / HTTP/1.1\r\n", "proxy TCP4 ", "\x16\x03\x01", "\r\n\r\n\0\r\nQUIZ"] {
            assert_eq!(parse(not_one.as_bytes()), Err(Malformed::Missing), "{not_one:?}");
        }
        assert_eq!(parse(format!("PROXY UNKNOWN {}", "x".repeat(93)).as_bytes()), Err(Malformed::TooLong));
        // Whether or not its end is there.
        let line = |filling| format!("PROXY UNKNOWN {}\r\n", "x".repeat(filling));
        assert_eq!(origin(line(91).as_bytes()), Ok(Origin::Itself));
        assert_eq!(parse(line(92).as_bytes()), Err(Malformed::TooLong));
        for bad in [
            block(0x11, 0x11, &[0; 12]),
            block(0x22, 0x11, &[0; 12]),
            block(0x21, 0x12, &[0; 12]),
            block(0x21, 0x11, &[0; 11]),
            block(0x21, 0x21, &[0; 35]),
        ] {
            assert_eq!(parse(&bad), Err(Malformed::Block), "{bad:?}");
        }
        assert_eq!(parse(&block(0x20, 0, &[0; EXTRA_BYTES_MAX + 1])), Err(Malformed::TooLong));
    }

    #[tokio::test]
    async fn not_one_byte_beyond_the_header_is_taken() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb];
        for header in [b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n".to_vec(), block(0x21, 0x11, &four)] {
            let sent = [header, b"hello".to_vec()].concat();
            let mut connection = sent.as_slice();
            read(&mut connection).await.unwrap();
            assert_eq!(connection, b"hello");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_an_error() {
        assert!(matches!(read(&mut &b"PROXY TCP4 1.1"[..]).await, Err(Failed::Ended(_))));
    }

    proptest! {
        #[test]
        fn every_client_is_read_back(address in any::<IpAddr>(), port in any::<u16>(), other in any::<u16>()) {
            let (family, here, length) = if address.is_ipv4() { ("TCP4", "127.0.0.1", 12) } else { ("TCP6", "::1", 36) };
            let expected = Ok(Origin::Client((address.to_canonical(), port).into()));
            prop_assert_eq!(origin(format!("PROXY {family} {address} {here} {port} {other}\r\n").as_bytes()), expected);
            let mut payload = vec![0; length];
            match address {
                IpAddr::V4(v4) => payload[..4].copy_from_slice(&v4.octets()),
                IpAddr::V6(v6) => payload[..16].copy_from_slice(&v6.octets()),
            }
            payload[length - 4..length - 2].copy_from_slice(&port.to_be_bytes());
            prop_assert_eq!(origin(&block(0x21, if length == 12 { 0x11 } else { 0x21 }, &payload)), expected);
        }

        #[test]
        fn no_front_makes_it_panic_or_ask_for_too_much(
            start in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]), Just(&SIGNATURE[..])],
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &rest].concat();
            if let Ok(Parsed::NeedMore(more)) = parse(&bytes) {
                prop_assert!(more > 0 && bytes.len() + more <= FIXED_BYTES + EXTRA_BYTES_MAX);
                let whole_line = !bytes.starts_with(b"PROXY") || bytes.len() + more <= LINE_BYTES_MAX;
                prop_assert!(whole_line);
            }
        }
    }
}
