//! Where HTTP/1.1 requests begin and end, judged before the server parses them. Pure: no I/O, no clock.
//!
//! Two parsers that disagree about where a request ends let a stranger hide a second request in the first. hyper is
//! lenient in places (it takes a bare LF as the end of a line, and drops `Content-Length` when `Transfer-Encoding` comes
//! too), and the shop's server may read the same bytes in another way. So every inbound byte goes through
//! [`Framing`] first, and a request that could be read in two ways is refused as a whole: none of its head is handed on.
//!
//! RFC 9112 is the grammar. Stricter than it, on purpose: no absolute-form targets, no chunk extensions, no folded
//! lines, no repeated `Content-Length` even when the values agree.

mod chunked;
mod head;
mod host;
mod target;

use http::{Request, StatusCode};
use thiserror::Error;

use chunked::Chunked;
use head::HeadScan;

pub(crate) use host::is_plausible as is_plausible_host;

/// Bounds on one request head, and on the trailers of one body.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Most bytes, request line and line ends included.
    pub bytes_max: usize,
    /// Most header lines.
    pub lines_max: usize,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Fault {
    /// A line ends with LF alone.
    #[error("a line ends without CR")]
    BareLineFeed,
    /// CR inside a line, NUL or another control byte.
    #[error("a control byte in the head")]
    ControlByte,
    /// Not `METHOD SP target SP HTTP/1.x`.
    #[error("the request line is malformed")]
    RequestLine,
    /// `CONNECT`: this is no forward proxy.
    #[error("CONNECT is not served")]
    Connect,
    /// Not a path that begins with `/`, or with bytes that no URL may have.
    #[error("the request target is malformed")]
    Target,
    /// Not HTTP/1.1 or HTTP/1.0.
    #[error("the version is not HTTP/1.1 or HTTP/1.0")]
    Version,
    /// A header name with a forbidden byte, or a blank before the colon.
    #[error("a header name is malformed")]
    HeaderName,
    /// A header line that continues the one before.
    #[error("a header line is folded")]
    FoldedLine,
    /// No `Host`, two of them, or none that names a host.
    #[error("there is not exactly one well-formed Host")]
    Host,
    /// Two `Content-Length`, a list, or no number.
    #[error("Content-Length is not exactly one number")]
    ContentLength,
    /// Not exactly `chunked`, twice, or in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly `chunked`")]
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding` in one head.
    #[error("Content-Length and Transfer-Encoding together")]
    TwoLengths,
    /// A chunk's size line is not one hexadecimal number.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// A chunk is longer than its size says.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// A trailer that changes the framing.
    #[error("a trailer field is forbidden")]
    Trailer,
    /// The head is larger than the limit.
    #[error("the head has too many bytes")]
    HeadBytes,
    /// The head has more lines than the limit.
    #[error("the head has too many lines")]
    HeadLines,
    /// The head was not complete in time.
    #[error("the head did not come in time")]
    SlowHead,
}

impl Fault {
    /// The status that says so to the caller.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadBytes | Self::HeadLines => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowHead => StatusCode::REQUEST_TIMEOUT,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::HeadBytes | Self::HeadLines => "header_size",
            Self::SlowHead => "slow_head",
            _ => "framing",
        }
    }
}

/// A head without fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its bytes, the empty line included.
    pub bytes: usize,
    /// It asks for another protocol: what follows may not be HTTP.
    pub asks_for_upgrade: bool,
}

/// What the next bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Not decidable yet: keep them and come back with more.
    NeedMore,
    /// That many bytes are an empty line before a request line, to be thrown away (RFC 9112 section 2.2).
    Skip(usize),
    /// They begin with a whole head.
    Head(Head),
    /// That many bytes belong to the body and its framing.
    Body(usize),
}

/// Follows one direction of one HTTP/1.1 connection.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Head(HeadScan),
    Sized { bytes_left: u64 },
    Chunked(Chunked),
    Refused(Fault),
}

impl Framing {
    /// At the start of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, part: Part::Head(HeadScan::default()) }
    }

    /// Whether the next byte belongs to a head.
    pub fn is_between_bodies(&self) -> bool {
        matches!(self.part, Part::Head(_))
    }

    /// Judges the bytes that were not judged yet.
    ///
    /// `bytes` begins after everything that an earlier step returned. A fault is final. How the bytes are cut into calls
    /// makes no difference to what is let through or refused.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        let step = self.judge(bytes);
        match step {
            Ok(Step::Body(_)) if self.part.is_over() => self.part = Part::Head(HeadScan::default()),
            Ok(_) => {}
            Err(fault) => self.part = Part::Refused(fault),
        }
        step
    }

    fn judge(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        let passed = match &mut self.part {
            Part::Refused(fault) => return Err(*fault),
            _ if bytes.is_empty() => return Ok(Step::NeedMore),
            Part::Head(scan) => match scan.read(bytes, self.limits)? {
                head::Found::Nothing => return Ok(Step::NeedMore),
                head::Found::EmptyLine => return Ok(Step::Skip(2)),
                head::Found::Head(head, body) => {
                    self.part = Part::after(body);
                    return Ok(Step::Head(head));
                }
            },
            Part::Sized { bytes_left } => {
                let passed = bytes.len().min(usize::try_from(*bytes_left).unwrap_or(usize::MAX));
                *bytes_left -= passed as u64;
                passed
            }
            Part::Chunked(chunked) => chunked.read(bytes, self.limits)?,
        };
        Ok(if passed == 0 { Step::NeedMore } else { Step::Body(passed) })
    }
}

impl Part {
    fn after(body: head::BodyLength) -> Self {
        match body {
            head::BodyLength::None | head::BodyLength::Sized(0) => Self::Head(HeadScan::default()),
            head::BodyLength::Sized(bytes_left) => Self::Sized { bytes_left },
            head::BodyLength::Chunked => Self::Chunked(Chunked::default()),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Sized { bytes_left } => *bytes_left == 0,
            Self::Chunked(chunked) => chunked.is_over(),
            Self::Head(_) | Self::Refused(_) => false,
        }
    }
}

/// The same rules for an HTTP/2 request, as far as its binary framing leaves room to break them.
///
/// The h2 layer itself refuses `Transfer-Encoding`, other connection headers and a body that is not as long as
/// `Content-Length` says.
pub fn check_http2<B>(request: &Request<B>, lines_max: usize) -> Result<(), Fault> {
    let headers = request.headers();
    if headers.len() > lines_max {
        return Err(Fault::HeadLines);
    }
    if request.method() == http::Method::CONNECT {
        return Err(Fault::Connect);
    }
    let path_and_query = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    target::check(request.method().as_str().as_bytes(), path_and_query.as_bytes())?;
    if headers.get_all(http::header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Fault::ContentLength);
    }
    let mut hosts = headers.get_all(http::header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        _ if hosts.next().is_some() => Err(Fault::Host),
        (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => Err(Fault::Host),
        (Some(name), _) | (None, Some(name)) if host::is_plausible(name) => Ok(()),
        _ => Err(Fault::Host),
    }
}

/// Takes one line off the front: its bytes without CRLF, or nothing while its end is not there.
///
/// `searched` remembers how far an unfinished line was looked through, so that a line that comes byte by byte is not
/// read anew every time. `room` is how long the line may be, with its end.
fn next_line<'a>(bytes: &'a [u8], searched: &mut usize, room: usize) -> Result<Option<&'a [u8]>, Fault> {
    let found = memchr::memchr(b'\n', bytes.get(*searched..).unwrap_or_default()).map(|at| *searched + at);
    // Before anything else: whether a line is too long must not depend on how much of it is there.
    if found.map_or(bytes.len(), |at| at + 1) > room {
        return Err(Fault::HeadBytes);
    }
    *searched = if found.is_some() { 0 } else { bytes.len() };
    match found.map(|at| bytes[..at].split_last()) {
        None => Ok(None),
        Some(Some((b'\r', line))) => Ok(Some(line)),
        Some(_) => Err(Fault::BareLineFeed),
    }
}

/// Bytes that a method or header name is made of: RFC 9110 section 5.6.2, `tchar`.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
