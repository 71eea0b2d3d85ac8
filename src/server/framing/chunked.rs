//! One chunked body, trailers included (RFC 9112 section 7.1).

use super::head::{FramingField, split_header};
use super::{Fault, HeadLimits, next_line};

/// 15 hexadecimal digits stay below 2^60: no server's arithmetic overflows on the way.
const SIZE_DIGITS_MAX: u8 = 15;

/// Follows one chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    at: At,
    trailer_bytes: usize,
    trailer_lines: usize,
    searched: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size { digits: u8, bytes: u64 },
    SizeEnd { bytes: u64 },
    Data { bytes_left: u64 },
    DataReturn,
    DataEnd,
    Trailers,
    Over,
}

impl Default for At {
    fn default() -> Self {
        Self::Size { digits: 0, bytes: 0 }
    }
}

impl Chunked {
    /// Whether the last byte of the body was read.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// How many of the bytes belong to the body and are in order. A fault behind them is reported by the next call, so
    /// that what is let through does not depend on how the bytes are cut.
    pub(super) fn read(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<usize, Fault> {
        let mut passed = 0;
        while passed < bytes.len() && self.at != At::Over {
            let rest = &bytes[passed..];
            let advanced = match self.at {
                At::Trailers => self.trailer_line(rest, limits),
                At::Data { bytes_left } => Ok(self.data(rest, bytes_left)),
                _ => self.framing_byte(rest[0]),
            };
            match advanced {
                Ok(0) => break,
                Ok(bytes) => passed += bytes,
                Err(fault) if passed == 0 => return Err(fault),
                Err(_) => break,
            }
        }
        Ok(passed)
    }

    fn data(&mut self, bytes: &[u8], bytes_left: u64) -> usize {
        let taken = bytes.len().min(usize::try_from(bytes_left).unwrap_or(usize::MAX));
        let bytes_left = bytes_left - taken as u64;
        self.at = if bytes_left == 0 { At::DataReturn } else { At::Data { bytes_left } };
        taken
    }

    fn framing_byte(&mut self, byte: u8) -> Result<usize, Fault> {
        self.at = match (self.at, byte) {
            (At::Size { digits, bytes }, digit) if digit.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                At::Size { digits: digits + 1, bytes: bytes << 4 | u64::from(hex_value(digit)) }
            }
            (At::Size { digits: 1.., bytes }, b'\r') => At::SizeEnd { bytes },
            (At::SizeEnd { bytes: 0 }, b'\n') => At::Trailers,
            (At::SizeEnd { bytes }, b'\n') => At::Data { bytes_left: bytes },
            (At::DataReturn, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => At::default(),
            (At::DataReturn | At::DataEnd, _) => return Err(Fault::ChunkEnd),
            _ => return Err(Fault::ChunkSize),
        };
        Ok(1)
    }

    fn trailer_line(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<usize, Fault> {
        let Some(line) = next_line(bytes, &mut self.searched, limits.bytes_max - self.trailer_bytes)? else {
            return Ok(0);
        };
        let line_bytes = line.len() + 2;
        if line.is_empty() {
            self.at = At::Over;
            return Ok(line_bytes);
        }
        if self.trailer_lines >= limits.lines_max {
            return Err(Fault::HeadLines);
        }
        let (name, _) = split_header(line)?;
        if FramingField::named(name).is_some() {
            return Err(Fault::Trailer);
        }
        self.trailer_bytes += line_bytes;
        self.trailer_lines += 1;
        Ok(line_bytes)
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.to_ascii_uppercase().wrapping_sub(b'A') + 10,
    }
}
