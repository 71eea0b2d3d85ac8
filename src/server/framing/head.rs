//! One request head, line by line.

use super::{Fault, Head, HeadLimits, host, is_token_byte, next_line, target};

/// Reads one head, however it is cut.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Bytes of the lines that were read.
    read: usize,
    /// Bytes after `read` that hold no line end.
    searched: usize,
    skipped_empty_line: bool,
    lines: usize,
    facts: Facts,
}

/// What came of more bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// The head is not complete.
    Nothing,
    /// An empty line before the request line.
    EmptyLine,
    /// The whole head.
    Head(Head, BodyLength),
}

/// How the end of the body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyLength {
    /// There is none.
    None,
    /// By `Content-Length`.
    Sized(u64),
    /// By its own framing.
    Chunked,
}

#[derive(Debug, Default)]
struct Facts {
    version: Option<Version>,
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    asks_for_upgrade: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    Http10,
    Http11,
}

impl HeadScan {
    /// `bytes` begins with the head's first byte and is not empty.
    pub(super) fn read(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Found, Fault> {
        // Something else than HTTP is known by its first byte and need not wait for a line end.
        if !bytes.first().is_some_and(|first| is_token_byte(*first) || *first == b'\r') {
            return Err(Fault::RequestLine);
        }
        while let Some(line) = next_line(&bytes[self.read..], &mut self.searched, limits.bytes_max - self.read)? {
            if self.read == 0 && line.is_empty() {
                return self.skip_empty_line();
            }
            self.read += line.len() + 2;
            if line.is_empty() {
                let body = self.facts.body()?;
                return Ok(Found::Head(Head { bytes: self.read, asks_for_upgrade: self.facts.asks_for_upgrade }, body));
            }
            if self.facts.version.is_none() {
                self.facts.request_line(line)?;
                continue;
            }
            self.lines += 1;
            if self.lines > limits.lines_max {
                return Err(Fault::HeadLines);
            }
            self.facts.header_line(line)?;
        }
        Ok(Found::Nothing)
    }

    fn skip_empty_line(&mut self) -> Result<Found, Fault> {
        if std::mem::replace(&mut self.skipped_empty_line, true) {
            return Err(Fault::RequestLine);
        }
        Ok(Found::EmptyLine)
    }
}

impl Facts {
    fn request_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Fault::RequestLine);
        };
        if method.is_empty() || !method.iter().copied().all(is_token_byte) {
            return Err(Fault::RequestLine);
        }
        self.version = Some(match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            _ => return Err(Fault::Version),
        });
        if method == b"CONNECT" {
            return Err(Fault::Connect);
        }
        target::check(method, target)
    }

    fn header_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (name, value) = split_header(line)?;
        match FramingField::named(name) {
            Some(FramingField::Host) => {
                self.hosts += 1;
                if self.hosts > 1 || !host::is_plausible(value) {
                    return Err(Fault::Host);
                }
            }
            Some(FramingField::ContentLength) => {
                if self.content_length.is_some() {
                    return Err(Fault::ContentLength);
                }
                self.content_length = Some(content_length(value)?);
            }
            Some(FramingField::TransferEncoding) => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::TransferEncoding);
                }
                self.chunked = true;
            }
            Some(FramingField::Disguised(fault)) => return Err(fault),
            None => self.asks_for_upgrade |= name.eq_ignore_ascii_case(b"upgrade"),
        }
        Ok(())
    }

    fn body(&self) -> Result<BodyLength, Fault> {
        if self.version == Some(Version::Http11) && self.hosts == 0 {
            return Err(Fault::Host);
        }
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(Fault::TwoLengths),
            // HTTP/1.0 has no chunks, so that its servers would take them for the body itself.
            (true, None) if self.version == Some(Version::Http10) => Err(Fault::TransferEncoding),
            (true, None) => Ok(BodyLength::Chunked),
            (false, Some(bytes)) => Ok(BodyLength::Sized(bytes)),
            (false, None) => Ok(BodyLength::None),
        }
    }
}

/// The fields that say where a request ends and whom it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FramingField {
    Host,
    ContentLength,
    TransferEncoding,
    /// `Content_Length` and the like: servers that turn names into environment variables take it for the real one.
    Disguised(Fault),
}

impl FramingField {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let is = |other: &str| {
            name.len() == other.len()
                && name.iter().zip(other.bytes()).all(|(byte, other)| match byte {
                    b'_' => other == b'-',
                    byte => byte.eq_ignore_ascii_case(&other),
                })
        };
        let disguised = name.contains(&b'_');
        match name.len() {
            4 if is("host") => Some(Self::Host),
            14 if is("content-length") && disguised => Some(Self::Disguised(Fault::ContentLength)),
            14 if is("content-length") => Some(Self::ContentLength),
            17 if is("transfer-encoding") && disguised => Some(Self::Disguised(Fault::TransferEncoding)),
            17 if is("transfer-encoding") => Some(Self::TransferEncoding),
            _ => None,
        }
    }
}

/// Name and value without the blanks around it. Used for trailers too.
pub(super) fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Fault::FoldedLine);
    }
    // Everything from HTAB and SP upwards but DEL; bytes above 0x7f are old, and legal. All of the line is looked at,
    // even behind a fault, because then many bytes are looked at together.
    if line.iter().fold(false, |found, byte| found | (byte.is_ascii_control() & (*byte != b'\t'))) {
        return Err(Fault::ControlByte);
    }
    let colon = memchr::memchr(b':', line).ok_or(Fault::HeaderName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err(Fault::HeaderName);
    }
    Ok((name, value.trim_ascii()))
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let digits = std::str::from_utf8(value).map_err(|_| Fault::ContentLength)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::ContentLength);
    }
    // More than 18 digits is more than any disk holds, and near the end of 64 bits parsers differ.
    if digits.len() > 18 {
        return Err(Fault::ContentLength);
    }
    digits.parse().map_err(|_| Fault::ContentLength)
}
