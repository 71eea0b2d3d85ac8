//! The attacks on HTTP/1, byte for byte.
//!
//! `{t}` is the attack's own target, `{next}` a request that nobody may ever see, `{n}` its length. Behind every attack
//! that is to be refused that request follows as well.

use super::Fate;

/// One request that means harm.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) head: &'static [u8],
    pub(super) fate: Fate,
}

impl Attack {
    /// What goes over the wire.
    pub(super) fn bytes(&self, target: &str, smuggled: &str) -> Vec<u8> {
        let next = format!("GET {smuggled} HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        let bytes = fill(self.head, b"{t}", target.as_bytes());
        let bytes = fill(&bytes, b"{n}", next.len().to_string().as_bytes());
        let bytes = fill(&bytes, b"{next}", next.as_bytes());
        match self.fate {
            Fate::Refused => [bytes.as_slice(), next.as_bytes()].concat(),
            Fate::Served => bytes,
        }
    }
}

fn fill(bytes: &[u8], gap: &[u8], with: &[u8]) -> Vec<u8> {
    match bytes.windows(gap.len()).position(|window| window == gap) {
        Some(at) => [&bytes[..at], with, &bytes[at + gap.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

const fn refused(name: &'static str, head: &'static [u8]) -> Attack {
    Attack { name, head, fate: Fate::Refused }
}

const fn served(name: &'static str, head: &'static [u8]) -> Attack {
    Attack { name, head, fate: Fate::Served }
}

pub(super) const CORPUS: &[Attack] = &[
    // ── Two lengths ──
    refused("Content-Length and Transfer-Encoding", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding and Content-Length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    refused("two lengths that differ", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\ncontent-length: 0\r\n\r\nhello"),
    refused("two lengths that agree", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
    refused("a list of lengths", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5, 5\r\n\r\nhello"),
    refused("a length with a plus", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: +5\r\n\r\nhello"),
    refused("a negative length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: -5\r\n\r\nhello"),
    refused("a negative zero", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: -0\r\n\r\n"),
    refused("a hexadecimal length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 0x5\r\n\r\nhello"),
    refused("a length with an exponent", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5e0\r\n\r\nhello"),
    refused("a fraction as length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5.0\r\n\r\nhello"),
    refused("an empty length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: \r\n\r\nhello"),
    refused("a blank inside the length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 1 0\r\n\r\nhelloworld"),
    refused("a length beyond 64 bits", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 18446744073709551621\r\n\r\nhello"),
    refused("a length of forty digits", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 1000000000000000000000000000000000000005\r\n\r\nhello"),
    refused("a length with a control byte", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: \x0b5\r\n\r\nhello"),
    refused("a length in full-width digits", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: \xef\xbc\x95\r\n\r\nhello"),
    refused("a blank before the length's colon", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length : 5\r\n\r\nhello"),
    refused("a length in a folded line", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\r\n content-length: 5\r\n\r\nhello"),
    refused("a second length behind a bare LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\ncontent-length: 5\r\n\r\nhello"),
    refused("a second length behind a bare CR", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\rcontent-length: 5\r\n\r\nhello"),
    // ── Transfer-Encoding in all shapes ──
    refused("Transfer-Encoding: identity", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: chunked, then identity", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: identity, then chunked", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: gzip, then chunked", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: chunked twice", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: a coding that only looks like it", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: a coding with a tail", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunkedx\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: a control byte before it", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: a control byte after it", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\x0b\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: a NUL before it", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: \x00chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: in quotes", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: with a parameter", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: with an empty second one", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked,\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: with an empty first one", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: empty", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: \r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding: a wide blank inside", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chun\xa0ked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding twice", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("Transfer-Encoding and another", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\ntransfer-encoding: cow\r\n\r\n0\r\n\r\n"),
    refused("a blank before its colon", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
    refused("a tab before its colon", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    refused("its value on a folded line", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    refused("its name on a folded line", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("behind a bare LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("behind a bare CR", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("chunked in HTTP/1.0", b"POST {t} HTTP/1.0\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    served("its name in capitals", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n"),
    // ── Chunks ──
    served("an ordinary chunk", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    refused("a chunk with an extension", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n"),
    served("a size in capitals with zeros", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0005\r\nhello\r\n0\r\n\r\n"),
    refused("a size beyond 64 bits", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"),
    refused("a negative size", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
    refused("a size with a plus", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    refused("a size with 0x", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    refused("an empty size", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    refused("a size that is no number", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n"),
    refused("a blank before the size", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"),
    refused("a size line that ends with LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    refused("a size line that ends with CR", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n"),
    refused("an extension with a bare LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n"),
    refused("an extension with a bare CR", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n"),
    refused("an extension with a NUL", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5;a\x00\r\nhello\r\n0\r\n\r\n"),
    refused("data longer than its size", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n"),
    refused("data that ends with LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    refused("data without an end of line", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    refused("a last chunk that ends with LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\n"),
    refused("a trailer that sets a length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 5\r\n\r\n"),
    refused("a trailer that sets an encoding", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntransfer-encoding: chunked\r\n\r\n"),
    refused("a trailer that sets a host", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\nhost: evil.example\r\n\r\n"),
    refused("a trailer with a bare LF", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-a: b\n\r\n\r\n"),
    refused("a trailer that is folded", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-a: b\r\n c\r\n\r\n"),
    refused("a trailer without a colon", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx\r\n\r\n"),
    // ── Header lines ──
    refused("a NUL in a value", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\x00c\r\n\r\n"),
    refused("a NUL in a name", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-\x00a: b\r\n\r\n"),
    refused("a bare CR in a value", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\rc\r\n\r\n"),
    refused("a bare LF at the end of a line", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\n\r\n"),
    refused("a folded line", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\r\n c\r\n\r\n"),
    refused("a line folded by a tab", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: b\r\n\tc\r\n\r\n"),
    refused("no name", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\n: b\r\n\r\n"),
    refused("no colon", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a\r\n\r\n"),
    refused("a blank in a name", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx a: b\r\n\r\n"),
    refused("a blank before the colon", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a : b\r\n\r\n"),
    refused("a bracket in a name", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx(a): b\r\n\r\n"),
    refused("a name in Latin-1", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-\xe4: b\r\n\r\n"),
    refused("an escape in a value", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: \x1b[31m\r\n\r\n"),
    refused("a DEL in a value", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nx-a: \x7f\r\n\r\n"),
    refused("a folded line before the first", b"GET {t} HTTP/1.1\r\n x-a: b\r\nhost: shop.example\r\n\r\n"),
    refused("all lines end with LF", b"GET {t} HTTP/1.1\nhost: shop.example\n\n"),
    refused("the empty line is LF alone", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\n\n"),
    refused("the empty line is CR alone", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\n\r{next}"),
    // ── The request line ──
    refused("request line: two blanks", b"GET  {t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a tab", b"GET\t{t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a blank behind it", b"GET {t} HTTP/1.1 \r\nhost: shop.example\r\n\r\n"),
    refused("request line: a blank before it", b" GET {t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a blank in the target", b"GET {t} /x HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: no version", b"GET {t}\r\nhost: shop.example\r\n\r\n"),
    refused("request line: HTTP/0.9", b"GET {t} HTTP/0.9\r\nhost: shop.example\r\n\r\n"),
    refused("request line: HTTP/1.2", b"GET {t} HTTP/1.2\r\nhost: shop.example\r\n\r\n"),
    refused("request line: HTTP/2.0", b"GET {t} HTTP/2.0\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a version of one digit", b"GET {t} HTTP/1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a long version", b"GET {t} HTTP/1.10\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a version in small letters", b"GET {t} http/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: another protocol", b"GET {t} ICY/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a method with a colon", b"G:T {t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a method with a NUL", b"GE\x00T {t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: no method", b"{t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a NUL in the target", b"GET {t}\x00 HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: raw UTF-8 in the target", b"GET {t}\xc3\xa4 HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a control byte in the target", b"GET {t}\x01 HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a fragment", b"GET {t}#x HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a target without slash", b"GET x{t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a star", b"GET * HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: an authority", b"GET shop.example:443 HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: CONNECT", b"CONNECT shop.example:443 HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: CONNECT with a path", b"CONNECT {t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: absolute form", b"GET https://shop.example{t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: absolute form for another host", b"GET https://evil.example{t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: absolute form with a user", b"GET https://shop.example@evil.example{t} HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("request line: a bare CR in the target", b"GET {t}\rx HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    served("an upgrade to h2c", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"),
    served("an escaped line break in the target", b"GET {t}?a=%0d%0ahost:%20evil.example HTTP/1.1\r\nhost: shop.example\r\n\r\n"),
    // ── Host ──
    refused("Host: none", b"GET {t} HTTP/1.1\r\n\r\n"),
    refused("Host: two", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nhost: evil.example\r\n\r\n"),
    refused("Host: two that agree", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nhost: shop.example\r\n\r\n"),
    refused("Host: empty", b"GET {t} HTTP/1.1\r\nhost:\r\n\r\n"),
    refused("Host: a blank inside", b"GET {t} HTTP/1.1\r\nhost: shop.example evil.example\r\n\r\n"),
    refused("Host: a list", b"GET {t} HTTP/1.1\r\nhost: shop.example, evil.example\r\n\r\n"),
    refused("Host: a user", b"GET {t} HTTP/1.1\r\nhost: user@shop.example\r\n\r\n"),
    refused("Host: a path", b"GET {t} HTTP/1.1\r\nhost: shop.example/x\r\n\r\n"),
    refused("Host: a query", b"GET {t} HTTP/1.1\r\nhost: shop.example?x\r\n\r\n"),
    refused("Host: a fragment", b"GET {t} HTTP/1.1\r\nhost: shop.example#x\r\n\r\n"),
    refused("Host: a port that is no number", b"GET {t} HTTP/1.1\r\nhost: shop.example:x\r\n\r\n"),
    refused("Host: a port too large", b"GET {t} HTTP/1.1\r\nhost: shop.example:65536\r\n\r\n"),
    refused("Host: a NUL", b"GET {t} HTTP/1.1\r\nhost: shop.example\x00.evil.example\r\n\r\n"),
    refused("Host: a bare CR", b"GET {t} HTTP/1.1\r\nhost: shop.example\rx\r\n\r\n"),
    refused("Host: a folded one", b"GET {t} HTTP/1.1\r\nhost:\r\n shop.example\r\n\r\n"),
    refused("Host: a blank before the colon", b"GET {t} HTTP/1.1\r\nhost : shop.example\r\n\r\n"),
    // ── Bodies where none is expected ──
    served("a GET with a body", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\n\r\nhello"),
    served("a HEAD with a body", b"HEAD {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\n\r\nhello"),
    served("a body that looks like a request", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {n}\r\n\r\n{next}"),
    served("Connection names the length", b"POST {t} HTTP/1.1\r\nhost: shop.example\r\nconnection: content-length\r\ncontent-length: {n}\r\n\r\n{next}"),
    served("Connection names the host", b"GET {t} HTTP/1.1\r\nhost: shop.example\r\nconnection: host\r\n\r\n"),
];
