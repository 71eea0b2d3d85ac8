//! HTTP/1.1 as bytes on a connection, for both ends of the tests. Strict: what is no HTTP is an error.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::Socket;

/// Header lines as they stood there: name as written, value in bytes.
pub type Lines = Vec<(String, Vec<u8>)>;

const HEADERS_MAX: usize = 256;

/// A connection and what was read from it ahead of need.
#[derive(Debug)]
pub struct Wire {
    pub socket: Socket,
    pub ahead: BytesMut,
}

/// How a message says where its body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Nothing,
    Length(usize),
    Chunked,
    UntilClose,
}

/// The first line of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub lines: Lines,
}

/// The head of a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub status: u16,
    pub reason: Vec<u8>,
    pub lines: Lines,
}

impl Wire {
    pub fn new(socket: Socket) -> Self {
        Self { socket, ahead: BytesMut::new() }
    }

    /// Reads more; `false` at the end of the stream. Nothing is lost if this is cancelled.
    pub async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.socket.read_buf(&mut self.ahead).await? > 0)
    }

    /// The bytes of a head with its blank line; `None` if the peer hung up before the first byte of it.
    pub async fn head(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.ahead, b"\r\n\r\n") {
                return Ok(Some(self.ahead.split_to(end + 4).freeze()));
            }
            if !self.fill().await? {
                return if self.ahead.is_empty() { Ok(None) } else { Err(torn("a head")) };
            }
        }
    }

    /// Reads a body and hands on its bytes as they come; gives back the trailers.
    pub async fn body(&mut self, framing: Framing, mut each: impl FnMut(&[u8])) -> io::Result<Lines> {
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => self.exactly(length, &mut each).await?,
            Framing::UntilClose => loop {
                each(&self.ahead);
                self.ahead.clear();
                if !self.fill().await? {
                    break;
                }
            },
            Framing::Chunked => return self.chunks(&mut each).await,
        }
        Ok(Lines::new())
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    async fn exactly(&mut self, length: usize, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let piece = self.ahead.split_to(left.min(self.ahead.len()));
            left -= piece.len();
            if piece.is_empty() {
                if !self.fill().await? {
                    return Err(torn("a body"));
                }
            } else {
                each(&piece);
            }
        }
        Ok(())
    }

    async fn chunks(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<Lines> {
        loop {
            let size = self.line().await?;
            let size = std::str::from_utf8(&size).ok().and_then(|text| text.split(';').next());
            let size = size.and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
            match size.ok_or_else(|| nonsense("a chunk's size"))? {
                0 => break,
                size => self.exactly(size, each).await?,
            }
            if !self.line().await?.is_empty() {
                return Err(nonsense("a chunk's end"));
            }
        }
        let mut trailers = BytesMut::new();
        loop {
            let line = self.line().await?;
            trailers.extend_from_slice(&line);
            trailers.extend_from_slice(b"\r\n");
            if line.is_empty() {
                break;
            }
        }
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        match httparse::parse_headers(&trailers, &mut lines) {
            Ok(httparse::Status::Complete((_, lines))) => Ok(owned(lines)),
            _ => Err(nonsense("trailers")),
        }
    }

    async fn line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.ahead, b"\r\n") {
                let line = self.ahead.split_to(end).freeze();
                let _ = self.ahead.split_to(2);
                return Ok(line);
            }
            if !self.fill().await? {
                return Err(torn("a line"));
            }
        }
    }
}

impl Asked {
    pub fn read(head: &[u8]) -> io::Result<Self> {
        // The parser forgives a line that ends in LF alone; what kallback sends must not need that.
        if memchr::memchr_iter(b'\n', head).count() != memchr::memmem::find_iter(head, b"\r\n").count() {
            return Err(nonsense("a line's end in a request's head"));
        }
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut lines);
        match (parsed.parse(head), parsed.method, parsed.path) {
            (Ok(httparse::Status::Complete(_)), Some(method), Some(target)) => {
                Ok(Self { method: method.to_owned(), target: target.to_owned(), lines: owned(parsed.headers) })
            }
            _ => Err(nonsense("a request's head")),
        }
    }

    /// Where the body ends. Two answers to that, or half of one, are an error.
    pub fn framing(&self) -> io::Result<Framing> {
        Ok(framing(&self.lines)?.unwrap_or(Framing::Nothing))
    }
}

impl Told {
    pub fn read(head: &[u8]) -> io::Result<Self> {
        // By hand, because the parser drops a reason phrase that is not ASCII.
        let end = memchr::memmem::find(head, b"\r\n").ok_or_else(|| nonsense("a status line"))?;
        let (line, rest) = head.split_at(end);
        let status = line.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let status = status.filter(|_| line.starts_with(b"HTTP/1.")).ok_or_else(|| nonsense("a status line"))?;
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        match httparse::parse_headers(&rest[2..], &mut lines) {
            Ok(httparse::Status::Complete((_, lines))) => {
                Ok(Self { status, reason: line.get(13..).unwrap_or_default().to_vec(), lines: owned(lines) })
            }
            _ => Err(nonsense("a reply's head")),
        }
    }

    /// Where the body ends, for a reply to `method`.
    pub fn framing(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || self.status < 200 || [204, 304].contains(&self.status) {
            return Ok(Framing::Nothing);
        }
        Ok(framing(&self.lines)?.unwrap_or(Framing::UntilClose))
    }
}

/// All values of a header, whatever its case.
pub fn values<'a>(lines: &'a Lines, name: &str) -> Vec<&'a [u8]> {
    lines.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice()).collect()
}

/// The only value of a header as text. Fails the test if the header came twice or is no text.
pub fn value<'a>(lines: &'a Lines, name: &str) -> Option<&'a str> {
    match values(lines, name).as_slice() {
        [] => None,
        [one] => Some(std::str::from_utf8(one).unwrap_or_else(|_| panic!("`{name}` is no text"))),
        _ => panic!("`{name}` came more than once"),
    }
}

fn framing(lines: &Lines) -> io::Result<Option<Framing>> {
    match (values(lines, "transfer-encoding").as_slice(), values(lines, "content-length").as_slice()) {
        ([], []) => Ok(None),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        ([], [digits]) => {
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            length.map(|length| Some(Framing::Length(length))).ok_or_else(|| nonsense("a length"))
        }
        _ => Err(nonsense("a body's framing")),
    }
}

fn owned(lines: &[httparse::Header<'_>]) -> Lines {
    lines.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect()
}

fn torn(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the peer hung up within {what}"))
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is no HTTP/1.1"))
}
