//! A request to the shop and a reply from it, whole, in memory and as bytes on disk.
//!
//! On disk a head is what it was on the wire: an HTTP/1.1 head, readable with any SQLite shell and read back by
//! the parser that hyper uses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper::ext::ReasonPhrase;
use thiserror::Error;

/// Most header lines of a stored head; the listeners accept no more than that.
const HEADERS_MAX: usize = 256;

/// A callback's request as the shop gets it: the token is cut out, hop-by-hop headers are gone.
#[derive(Clone, Debug)]
pub struct ShopRequest {
    /// The method the sender used.
    pub method: Method,
    /// Path and query, byte for byte as they came, less the token.
    pub target: String,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A reply of the shop, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// The reason phrase where it is not the usual one; may hold bytes above 0x7f.
    pub reason: Option<ReasonPhrase>,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// The body, decoded from its transfer encoding only.
    pub body: Bytes,
}

/// A stored head that cannot be read back.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("stored {what} cannot be read back: {why}")]
pub struct Unreadable {
    what: &'static str,
    why: String,
}

impl Unreadable {
    fn new(what: &'static str, why: &dyn ToString) -> Self {
        Self { what, why: why.to_string() }
    }
}

impl ShopRequest {
    /// The head as it is stored.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        for part in [self.method.as_str(), " ", &self.target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        write_headers(&mut head, &self.headers);
        head
    }

    /// Reads a stored head and its body.
    pub fn from_stored(head: &[u8], body: Bytes) -> Result<Self, Unreadable> {
        let fault = |why: &dyn ToString| Unreadable::new("request", why);
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut lines);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(fault(&"the head ends early")),
            Err(why) => return Err(fault(&why)),
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(fault(&"no method or target"));
        };
        Ok(Self {
            method: method.parse().map_err(|why: http::method::InvalidMethod| fault(&why))?,
            target: target.to_owned(),
            headers: read_headers(parsed.headers).map_err(|why| fault(&why))?,
            body,
        })
    }
}

impl Reply {
    /// The head as it is stored.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(self.status.as_str().as_bytes());
        head.push(b' ');
        match &self.reason {
            Some(reason) => head.extend_from_slice(reason.as_bytes()),
            None => head.extend_from_slice(self.status.canonical_reason().unwrap_or_default().as_bytes()),
        }
        head.extend_from_slice(b"\r\n");
        write_headers(&mut head, &self.headers);
        head
    }

    /// Reads a stored head and its body.
    pub fn from_stored(head: &[u8], body: Bytes) -> Result<Self, Unreadable> {
        let fault = |why: &dyn ToString| Unreadable::new("reply", why);
        // The parser replaces a reason phrase with obs-text by an empty one, so the line is cut by hand.
        let line_end = memchr::memmem::find(head, b"\r\n").ok_or_else(|| fault(&"no status line"))?;
        let (line, rest) = head.split_at(line_end);
        let code = line.get(9..12).ok_or_else(|| fault(&"the status line is too short"))?;
        let status = StatusCode::from_bytes(code).map_err(|why| fault(&why))?;
        let phrase = line.get(13..).unwrap_or_default();
        let reason = if phrase == status.canonical_reason().unwrap_or_default().as_bytes() {
            None
        } else {
            Some(ReasonPhrase::try_from(phrase).map_err(|_| fault(&"the reason phrase has forbidden bytes"))?)
        };
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let headers = match httparse::parse_headers(rest.get(2..).unwrap_or_default(), &mut lines) {
            Ok(httparse::Status::Complete((_, headers))) => read_headers(headers).map_err(|why| fault(&why))?,
            Ok(httparse::Status::Partial) => return Err(fault(&"the head ends early")),
            Err(why) => return Err(fault(&why)),
        };
        Ok(Self { status, reason, headers, body })
    }
}

fn write_headers(head: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

fn read_headers(lines: &[httparse::Header<'_>]) -> Result<HeaderMap, http::Error> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        headers.append(HeaderName::from_bytes(line.name.as_bytes())?, HeaderValue::from_bytes(line.value)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_as_it_was() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("shop.example"));
        headers.append("x-two", HeaderValue::from_static("a"));
        headers.append("x-two", HeaderValue::from_bytes(b"\xfcber").unwrap());
        let request = ShopRequest {
            method: Method::POST,
            target: "/wc-api/KCO_WC_Push/?id={a}&b=%20+;&".to_owned(),
            headers,
            body: Bytes::from_static(b"{}"),
        };
        let back = ShopRequest::from_stored(&request.head_bytes(), request.body.clone()).unwrap();
        assert_eq!((back.method, back.target), (request.method, request.target));
        assert_eq!((back.headers, back.body), (request.headers, request.body));
    }

    #[test]
    fn a_reply_keeps_a_reason_phrase_outside_ascii() {
        let reply = Reply {
            status: StatusCode::SEE_OTHER,
            reason: Some(ReasonPhrase::try_from(&b"Ung\xfcltig"[..]).unwrap()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let back = Reply::from_stored(&reply.head_bytes(), Bytes::new()).unwrap();
        assert_eq!((back.status, back.reason), (reply.status, reply.reason));
    }

    #[test]
    fn torn_heads_are_errors_and_no_panic() {
        for head in [&b""[..], b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\na"] {
            assert!(Reply::from_stored(head, Bytes::new()).is_err());
            assert!(ShopRequest::from_stored(head, Bytes::new()).is_err());
        }
    }
}
