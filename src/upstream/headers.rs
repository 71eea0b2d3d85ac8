//! A request's head as the shop gets it, and a reply's as the caller gets it.
//!
//! What belongs to one connection only is dropped (RFC 9110, 7.6.1), who calls is written down, and what a stranger
//! claims about that is not believed. No `Via` is added: a gateway may leave it out, and web servers switch
//! compression off when they see one.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, request};
use thiserror::Error;

use super::sender::Sender;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
static PROXY: HeaderName = HeaderName::from_static("proxy");
static X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
static X_REWRITE_URL: HeaderName = HeaderName::from_static("x-rewrite-url");

/// Headers with this prefix are ours alone.
const OURS: &str = "kallback-";

/// Beside ours and `x-forwarded-*`, what must not come in with an underscore.
const MISLEADING_IN_CGI: [&str; 6] =
    ["x-real-ip", "x-original-url", "x-rewrite-url", "idempotency-key", "content-length", "transfer-encoding"];

/// Sent when the caller names no program: some security plugins ban an address for good after one POST without.
static OUR_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("kallback/", env!("CARGO_PKG_VERSION")));

/// A request head that is not passed on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum BadHead {
    /// No host, two of them, or one that is none: `400`.
    #[error("the request names no host, more than one, or none that can be")]
    Host,
    /// Its length is said twice, or in a way that we do not know: `400`.
    #[error("the request's length is ambiguous")]
    Framing,
    /// CONNECT: `405`.
    #[error("tunnels to elsewhere are not opened")]
    Connect,
}

/// Makes a caller's head the one that the shop gets: path and query alone as the target, one `Host`, end-to-end
/// headers, and who called. Path, query and all other headers keep their bytes.
///
/// # Errors
/// [`BadHead`]: what could be read in two ways is refused, not repaired.
pub fn for_shop(head: &mut request::Parts, sender: &Sender) -> Result<(), BadHead> {
    if head.method == Method::CONNECT {
        return Err(BadHead::Connect);
    }
    settle_host(head)?;
    let found = Found::in_headers(&head.headers);
    check_framing(&head.headers, found)?;
    drop_hop_by_hop(&mut head.headers, found);
    drop_what_a_caller_must_not_say(&mut head.headers, found);
    if found.has(Found::COOKIE) && head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    sender.write_to(&mut head.headers);
    if head.method == Method::POST && head.headers.get(USER_AGENT).is_none_or(HeaderValue::is_empty) {
        head.headers.insert(USER_AGENT, OUR_USER_AGENT.clone());
    }
    head.version = Version::HTTP_11;
    Ok(())
}

/// Removes from a reply what belongs to the shop's connection only.
pub fn for_caller(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers, Found::in_headers(headers));
}

/// Which headers of interest are there. One walk over the names is cheaper than a look-up for each of them, and
/// most requests have hardly any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found(u16);

impl Found {
    const CONNECTION: u16 = 1;
    const HOP: u16 = 1 << 1;
    const TE: u16 = 1 << 2;
    const TRANSFER_ENCODING: u16 = 1 << 3;
    const CONTENT_LENGTH: u16 = 1 << 4;
    const EXPECT: u16 = 1 << 5;
    const OURS: u16 = 1 << 6;
    const MISLEADING: u16 = 1 << 7;
    const COOKIE: u16 = 1 << 8;
    const UNDERSCORE: u16 = 1 << 9;

    fn in_headers(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |found, name| found | Self::kind_of(name.as_str())))
    }

    fn kind_of(name: &str) -> u16 {
        match name {
            "connection" => Self::CONNECTION,
            "keep-alive" | "proxy-connection" | "upgrade" | "http2-settings" => Self::HOP,
            "te" => Self::TE,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "content-length" => Self::CONTENT_LENGTH,
            "expect" => Self::EXPECT,
            "proxy" | "x-original-url" | "x-rewrite-url" => Self::MISLEADING,
            "cookie" => Self::COOKIE,
            name if name.starts_with(OURS) => Self::OURS,
            name if memchr::memchr(b'_', name.as_bytes()).is_some() => Self::UNDERSCORE,
            _ => 0,
        }
    }

    fn has(self, kind: u16) -> bool {
        self.0 & kind != 0
    }
}

/// Leaves one `Host`, and a target of path and query alone (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
fn settle_host(head: &mut request::Parts) -> Result<(), BadHead> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let named = hosts.next();
    if hosts.next().is_some() {
        return Err(BadHead::Host);
    }
    match (head.uri.authority(), named) {
        (None, Some(host)) if is_host(host.as_bytes()) => return Ok(()),
        (None, _) => return Err(BadHead::Host),
        (Some(authority), named) => {
            let authority = authority.as_str();
            let agrees = named.is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()));
            if !agrees || !is_host(authority.as_bytes()) {
                return Err(BadHead::Host);
            }
            if named.is_none() {
                let host = HeaderValue::from_str(authority).map_err(|_| BadHead::Host)?;
                head.headers.insert(HOST, host);
            }
        }
    }
    let parts = std::mem::take(&mut head.uri).into_parts();
    // Without a path this is the target of a CONNECT.
    head.uri = Uri::from(parts.path_and_query.ok_or(BadHead::Host)?);
    Ok(())
}

/// A host with or without a port. Everything that could hide a second host, a user or a path is no host.
fn is_host(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

fn check_framing(headers: &HeaderMap, found: Found) -> Result<(), BadHead> {
    let twice = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    let long = found.has(Found::CONTENT_LENGTH);
    if found.has(Found::TRANSFER_ENCODING) {
        let encoding = headers.get(TRANSFER_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        if long || twice(&TRANSFER_ENCODING) || !encoding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(BadHead::Framing);
        }
    } else if long && twice(&CONTENT_LENGTH) {
        return Err(BadHead::Framing);
    }
    Ok(())
}

/// The fields of RFC 9110, 7.6.1, and what `Connection` names. `Trailer` stays, since trailers pass, and a caller
/// that takes trailers (`TE: trailers`) is one that we take them for.
fn drop_hop_by_hop(headers: &mut HeaderMap, found: Found) {
    if found.has(Found::CONNECTION) {
        drop_what_connection_names(headers);
    }
    if found.has(Found::HOP) {
        for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &UPGRADE, &HTTP2_SETTINGS] {
            headers.remove(name);
        }
    }
    if found.has(Found::TRANSFER_ENCODING) {
        headers.remove(TRANSFER_ENCODING);
    }
    if found.has(Found::TE) {
        let takes_trailers = headers.get_all(TE).iter().any(|line| options(line).any(|option| option == "trailers"));
        headers.remove(TE);
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
}

/// Where a message goes and how long it is cannot be for one connection only; a caller that names these headers
/// wants them gone for another reason.
fn drop_what_connection_names(headers: &mut HeaderMap) {
    if names_nothing(headers) {
        headers.remove(CONNECTION);
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for option in lines.iter().flat_map(options) {
        let kept = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, TE];
        if !kept.iter().any(|name| option.eq_ignore_ascii_case(name.as_str())) {
            headers.remove(option);
        }
    }
}

/// What nearly every message says. It is about the connection itself, and names no header.
fn names_nothing(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONNECTION).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    only.is_some_and(|line| {
        [&b"keep-alive"[..], b"close"].iter().any(|word| line.as_bytes().eq_ignore_ascii_case(word))
    })
}

fn options(line: &HeaderValue) -> impl Iterator<Item = &str> {
    line.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// `Expect` is answered by us, where the body is read. `kallback-*` is said by us alone. `Proxy` turns into the
/// variable `HTTP_PROXY` in a CGI program. And the two `X-…-Url` headers replace the path in old Zend and Symfony
/// shops: with them a stranger would reach a callback under a path that looks like any other.
fn drop_what_a_caller_must_not_say(headers: &mut HeaderMap, found: Found) {
    if found.has(Found::EXPECT) {
        headers.remove(EXPECT);
    }
    if found.has(Found::MISLEADING) {
        for name in [&PROXY, &X_ORIGINAL_URL, &X_REWRITE_URL] {
            headers.remove(name);
        }
    }
    if found.has(Found::UNDERSCORE) {
        drop_lookalikes(headers);
    }
    if found.has(Found::OURS) {
        while let Some(name) = headers.keys().find(|name| name.as_str().starts_with(OURS)).cloned() {
            headers.remove(name);
        }
    }
}

/// A CGI program cannot tell `x_real_ip` from `x-real-ip`, so a header that only looks unlike one that we set or drop
/// would undo that.
fn drop_lookalikes(headers: &mut HeaderMap) {
    let is_lookalike = |name: &HeaderName| {
        let meant = name.as_str().replace('_', "-");
        meant != name.as_str()
            && (meant.starts_with(OURS) || meant.starts_with("x-forwarded-") || MISLEADING_IN_CGI.contains(&&*meant))
    };
    let lookalikes: Vec<HeaderName> = headers.keys().filter(|name| is_lookalike(name)).cloned().collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

/// HTTP/2 callers may send one cookie a line; HTTP/1.1 knows only one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE);
    if lines.iter().nth(1).is_none() {
        return;
    }
    let mut joined = Vec::new();
    for line in lines {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn prepared(request: http::request::Builder) -> Result<request::Parts, BadHead> {
        let sender = Sender::new(std::net::IpAddr::from([192, 0, 2, 1]), true, 443, &[]);
        let mut head = request.body(()).unwrap().into_parts().0;
        for_shop(&mut head, &sender).map(|()| head)
    }

    fn h2(uri: &str) -> http::request::Builder {
        Request::get(uri).version(Version::HTTP_2)
    }

    #[test]
    fn the_authority_of_http2_becomes_the_host_and_must_agree_with_one_that_is_there() {
        let head = prepared(h2("https://shop.example/a?b={c}")).unwrap();
        assert_eq!(
            (head.headers["host"].as_bytes(), head.uri.to_string().as_str()),
            (&b"shop.example"[..], "/a?b={c}")
        );
        assert_eq!(head.version, Version::HTTP_11);
        assert!(prepared(h2("https://shop.example/").header("host", "Shop.Example")).is_ok());
        assert_eq!(prepared(h2("https://shop.example/").header("host", "b.example")).unwrap_err(), BadHead::Host);
        assert_eq!(prepared(h2("https://user@shop.example/")).unwrap_err(), BadHead::Host);
        assert_eq!(prepared(h2("/")).unwrap_err(), BadHead::Host);
        assert_eq!(prepared(Request::options("*").header("host", "a")).unwrap().uri, "*");
    }

    #[test]
    fn tunnels_to_elsewhere_and_two_lengths_are_refused() {
        assert_eq!(prepared(Request::connect("shop.example:443")).unwrap_err(), BadHead::Connect);
        let post = || Request::post("/").header("host", "a");
        let two = post().header("content-length", "2").header("content-length", "2");
        assert_eq!(prepared(two).unwrap_err(), BadHead::Framing);
        let both = post().header("content-length", "2").header("transfer-encoding", "chunked");
        assert_eq!(prepared(both).unwrap_err(), BadHead::Framing);
        assert!(prepared(post().header("transfer-encoding", "Chunked")).is_ok());
    }

    #[test]
    fn cookies_that_http2_split_come_as_one_line() {
        let split = h2("https://shop.example/").header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
        let head = prepared(split).unwrap();
        let cookies: Vec<_> = head.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_connection_header_that_names_nothing_goes_alone() {
        for word in ["keep-alive", "Close"] {
            let mut headers = HeaderMap::new();
            headers.insert("connection", HeaderValue::from_static(word));
            headers.insert("x-a", HeaderValue::from_static("1"));
            for_caller(&mut headers);
            assert!(headers.contains_key("x-a") && headers.len() == 1, "{headers:?}");
        }
    }

    #[test]
    fn what_connection_names_goes_but_never_what_frames_the_message() {
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static("x-a, Host"));
        headers.append("connection", HeaderValue::from_static("X-B,content-length,,close"));
        for name in ["x-a", "x-b", "x-c", "host", "content-length"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        for_caller(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-c"]);
    }

    #[test]
    fn a_user_agent_is_made_up_for_a_post_only() {
        let agent = |request: http::request::Builder| {
            prepared(request.header("host", "a")).unwrap().headers.get("user-agent").cloned()
        };
        assert_eq!(agent(Request::get("/")), None);
        assert_eq!(agent(Request::post("/")).unwrap(), OUR_USER_AGENT);
        assert_eq!(agent(Request::post("/").header("user-agent", "")).unwrap(), OUR_USER_AGENT);
        assert_eq!(agent(Request::post("/").header("user-agent", "Klarna/1")).unwrap(), "Klarna/1");
    }
}
