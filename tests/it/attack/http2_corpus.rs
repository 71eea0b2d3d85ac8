//! Requests over HTTP/2 that mean harm once they are written as HTTP/1.1, and frames that break the protocol.

use super::Fate;
use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, request, setting,
};

/// The stream that every attack of the corpus uses.
pub(super) const STREAM: u32 = 1;

type Field = (&'static [u8], &'static [u8]);

/// One head that means harm. `PATH` in it stands for the attack's own target.
pub(super) struct Head {
    pub(super) name: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) fate: Fate,
}

pub(super) const PATH: &[u8] = b"{t}";

/// Heads that hold what HTTP/2 forbids, or what would mean something else in HTTP/1.1.
pub(super) fn heads() -> Vec<Head> {
    let with =
        |name, field: Field| Head { name, fields: [request(b"GET", PATH), vec![field]].concat(), fate: Fate::Refused };
    let instead = |name, key: &'static [u8], value: &'static [u8]| Head {
        name,
        fields: request(b"GET", PATH).into_iter().map(|(k, v)| if k == key { (k, value) } else { (k, v) }).collect(),
        fate: Fate::Refused,
    };
    let without = |name, key: &'static [u8]| Head {
        name,
        fields: request(b"GET", PATH).into_iter().filter(|(k, _)| *k != key).collect(),
        fate: Fate::Refused,
    };
    let late = |name, field: Field| Head {
        name,
        fields: [request(b"GET", PATH), vec![(b"x-a", b"b"), field]].concat(),
        fate: Fate::Refused,
    };
    let mut heads = vec![
        Head { name: "an ordinary request", fields: request(b"GET", PATH), fate: Fate::Served },
        // The fragment is cut off before anybody looks: kallback and shop see the same path.
        Head { fate: Fate::Served, ..instead("a fragment in the path", b":path", b"/#x") },
        with("Connection", (b"connection", b"close")),
        with("Connection that names the host", (b"connection", b"host")),
        with("Keep-Alive", (b"keep-alive", b"timeout=5")),
        with("Proxy-Connection", (b"proxy-connection", b"keep-alive")),
        with("Transfer-Encoding", (b"transfer-encoding", b"chunked")),
        with("Upgrade", (b"upgrade", b"websocket")),
        with("TE other than trailers", (b"te", b"gzip")),
        with("a length and no body", (b"content-length", b"44")),
        with("a length that is no number", (b"content-length", b"4, 4")),
        with("a line break in a value", (b"x-a", b"b\r\nhost: evil.example")),
        with("a request in a value", (b"x-a", b"b\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.example\r\n\r\n")),
        with("a bare LF in a value", (b"x-a", b"b\nc: d")),
        with("a bare CR in a value", (b"x-a", b"b\rc")),
        with("a NUL in a value", (b"x-a", b"b\0c")),
        with("a line break in a name", (b"x-a: b\r\nx-c", b"d")),
        with("a colon in a name", (b"transfer-encoding: chunked\r\nx", b"y")),
        with("a blank in a name", (b"transfer-encoding ", b"chunked")),
        with("a capital in a name", (b"X-A", b"b")),
        with("an empty name", (b"", b"b")),
        with("a second path", (b":path", b"/smuggled")),
        with("a second method", (b":method", b"POST")),
        with("a second authority", (b":authority", b"evil.example")),
        with("an unknown pseudo-header", (b":x", b"y")),
        with("a status", (b":status", b"200")),
        with("another host beside the authority", (b"host", b"evil.example")),
        late("a pseudo-header behind a header", (b":path", b"/smuggled")),
        without("no method", b":method"),
        without("no path", b":path"),
        without("no scheme", b":scheme"),
        without("neither authority nor host", b":authority"),
        instead("an empty path", b":path", b""),
        instead("a path without slash", b":path", b"x"),
        instead("a star as path", b":path", b"*"),
        instead("a blank in the path", b":path", b"/ HTTP/1.1\r\nhost: evil.example"),
        instead("a request in the path", b":path", b"/ HTTP/1.1\r\nhost: a\r\n\r\nGET /smuggled HTTP/1.1"),
        instead("a NUL in the path", b":path", b"/\0"),
        instead("a URL as path", b":path", b"https://evil.example/"),
        instead("a request as method", b":method", b"GET /smuggled HTTP/1.1\r\nhost: shop.example\r\n\r\nGET"),
        instead("a blank in the method", b":method", b"GET /smuggled"),
        instead("an empty method", b":method", b""),
        instead("CONNECT with a path", b":method", b"CONNECT"),
        instead("a line break in the scheme", b":scheme", b"https\r\nx: y"),
        instead("a line break in the authority", b":authority", b"shop.example\r\nx: y"),
        instead("a user in the authority", b":authority", b"user@shop.example"),
        instead("a path in the authority", b":authority", b"shop.example/smuggled"),
        instead("an empty authority", b":authority", b""),
    ];
    heads.extend(tunnels());
    heads
}

/// Requests for a tunnel to somewhere.
fn tunnels() -> [Head; 2] {
    let connect: Vec<Field> = vec![(b":method", b"CONNECT"), (b":authority", b"shop.example:443")];
    let extended: Vec<Field> = vec![(b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", PATH)];
    [
        Head { name: "CONNECT", fields: connect.clone(), fate: Fate::Refused },
        Head { name: "extended CONNECT", fields: [connect, extended].concat(), fate: Fate::Refused },
    ]
}

/// Frames that break the protocol or the length that was said. The shop may see the start of a request, and never one
/// that looks whole.
pub(super) fn broken_frames(path: &[u8]) -> Vec<(&'static str, Vec<Frame>)> {
    let get = Frame::head(STREAM, &request(b"GET", path));
    let said = |length: &[u8]| {
        let fields = [request(b"POST", path), vec![(b"content-length".as_slice(), length)]].concat();
        Frame::new(HEADERS, END_HEADERS, STREAM, block(&fields))
    };
    let post = Frame::new(HEADERS, END_HEADERS, STREAM, block(&request(b"POST", path)));
    let data = |flags, bytes: &[u8]| Frame::new(DATA, flags, STREAM, bytes);
    let trailers = |fields: &[Field]| Frame::new(HEADERS, END_HEADERS | END_STREAM, STREAM, block(fields));
    vec![
        ("more data than its length", vec![said(b"3"), data(END_STREAM, b"hello")]),
        ("less data than its length", vec![said(b"9"), data(END_STREAM, b"hello")]),
        ("a request behind the end of its body", vec![said(b"0"), data(END_STREAM, b"GET /smuggled HTTP/1.1\r\n\r\n")]),
        ("a line break in the trailers", vec![post.clone(), data(0, b"a"), trailers(&[(b"x", b"a\r\nb: c")])]),
        (
            "trailers that do not end the stream",
            vec![post.clone(), Frame::new(HEADERS, END_HEADERS, STREAM, block(&[(b"x-a", b"b")]))],
        ),
        ("data on stream 0", vec![Frame::new(DATA, 0, 0, *b"x")]),
        ("data on a stream that was never opened", vec![Frame::new(DATA, 0, 9, *b"x")]),
        ("a head on stream 0", vec![Frame { stream: 0, ..get.clone() }]),
        ("a head on a stream of the server's", vec![Frame { stream: 2, ..get.clone() }]),
        ("a reset of a stream that was never opened", vec![Frame::new(RST_STREAM, 0, 9, [0; 4])]),
        ("a reset of the wrong length", vec![post.clone(), Frame::new(RST_STREAM, 0, STREAM, [0; 3])]),
        ("a continuation of nothing", vec![Frame::new(CONTINUATION, END_HEADERS, STREAM, *b"")]),
        (
            "a head that is cut by another frame",
            vec![
                Frame::new(HEADERS, END_STREAM, STREAM, block(&request(b"GET", path))),
                Frame::new(PING, 0, 0, [0; 8]),
            ],
        ),
        (
            "a head continued on another stream",
            vec![
                Frame::new(HEADERS, END_STREAM, STREAM, block(&request(b"GET", path))),
                Frame::new(CONTINUATION, END_HEADERS, 3, *b""),
            ],
        ),
        ("a header block that is cut off", vec![Frame::new(HEADERS, END_HEADERS | END_STREAM, STREAM, [0x00, 0x7f])]),
        (
            "an index that does not exist",
            vec![Frame::new(HEADERS, END_HEADERS | END_STREAM, STREAM, [0xff, 0x80, 0x01])],
        ),
        ("a table larger than agreed", vec![Frame::new(HEADERS, END_HEADERS, STREAM, [0x3f, 0xe1, 0xff, 0xff, 0x07])]),
        ("more padding than payload", vec![Frame::new(HEADERS, END_HEADERS | PADDED, STREAM, [200, 0, 0])]),
        ("settings of the wrong length", vec![Frame::new(SETTINGS, 0, 0, [0; 5])]),
        ("settings on a stream", vec![Frame::new(SETTINGS, 0, STREAM, *b"")]),
        ("an acknowledgement with settings", vec![Frame::new(SETTINGS, ACK, 0, setting(3, 1))]),
        ("a window beyond its bound", vec![Frame::new(SETTINGS, 0, 0, setting(4, 0x8000_0000))]),
        ("frames beyond their bound", vec![Frame::new(SETTINGS, 0, 0, setting(5, 1))]),
        ("push that is neither on nor off", vec![Frame::new(SETTINGS, 0, 0, setting(2, 2))]),
        ("a push", vec![post.clone(), Frame::new(PUSH_PROMISE, END_HEADERS, STREAM, [0, 0, 0, 2])]),
        ("a ping of the wrong length", vec![Frame::new(PING, 0, 0, [0; 7])]),
        ("a ping on a stream", vec![Frame::new(PING, 0, STREAM, [0; 8])]),
        ("a farewell on a stream", vec![Frame::new(GOAWAY, 0, STREAM, [0; 8])]),
        ("a window that does not grow", vec![Frame::new(WINDOW_UPDATE, 0, 0, [0; 4])]),
        ("a window that grows beyond its bound", vec![Frame::new(WINDOW_UPDATE, 0, 0, 0x7fff_ffff_u32.to_be_bytes())]),
        ("a window of the wrong length", vec![Frame::new(WINDOW_UPDATE, 0, 0, [1; 3])]),
        (
            "a stream that depends on itself",
            vec![Frame::new(PRIORITY, 0, STREAM, [0, 0, 0, 1, 0]), Frame::new(PRIORITY, 0, 0, [0; 5])],
        ),
        ("a frame larger than agreed", vec![Frame::new(DATA, 0, STREAM, vec![0; 16_385])]),
    ]
}
