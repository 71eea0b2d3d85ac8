//! What is refused, what passes, and that cutting the bytes changes neither.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 2_000, lines_max: 20 };

/// What came of some bytes: the heads, how many bytes were let through, and the fault, if any.
#[derive(Debug, PartialEq, Eq, Default)]
struct Verdict {
    heads: Vec<Head>,
    passed: usize,
    skipped: usize,
    fault: Option<Fault>,
}

fn judge_in_pieces(pieces: &[&[u8]]) -> Verdict {
    let mut framing = Framing::new(LIMITS);
    let mut verdict = Verdict::default();
    let mut held = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let taken = match framing.step(&held) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Skip(bytes)) => {
                    verdict.skipped += bytes;
                    bytes
                }
                Ok(Step::Head(head)) => {
                    verdict.heads.push(head);
                    verdict.passed += head.bytes;
                    head.bytes
                }
                Ok(Step::Body(bytes)) => {
                    verdict.passed += bytes;
                    bytes
                }
                Err(fault) => {
                    verdict.fault = Some(fault);
                    return verdict;
                }
            };
            held.drain(..taken);
        }
    }
    verdict
}

fn judge(bytes: impl AsRef<[u8]>) -> Verdict {
    judge_in_pieces(&[bytes.as_ref()])
}

fn fault_of(bytes: impl AsRef<[u8]>) -> Option<Fault> {
    let verdict = judge(bytes.as_ref());
    assert!(verdict.fault.is_none() || verdict.heads.is_empty(), "a byte of a refused head went through");
    verdict.fault
}

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n")
}

#[test]
fn ordinary_requests_pass_whole() {
    for request in [
        get(""),
        get("Accept: */*\r\nX-Empty:\r\nX-Tab:\t a \t\r\nx-obs: \u{fc}\r\n"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: [::1]:443\r\n\r\n".to_owned(),
        "PROPFIND /%00%0a?a=[b]&{c}=\"'|^`\\;:@ HTTP/1.1\r\nHOST: a\r\n\r\n".to_owned(),
        "POST /wc-api/x/?a=b HTTP/1.1\r\nHost: a:8443\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
            .to_owned(),
    ] {
        let verdict = judge(&request);
        assert_eq!((verdict.fault, verdict.passed, verdict.heads.len()), (None, request.len(), 1), "{request:?}");
    }
}

#[test]
fn pipelined_requests_are_told_apart() {
    let one = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let two = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\nGET / HTTP/1.1\r\nHost: evil\r\nA: bcd\r\n\r";
    let verdict = judge(format!("{one}\r\n{two}{one}{}", get("Upgrade: websocket\r\n")));
    assert_eq!(verdict.fault, None);
    assert_eq!(verdict.skipped, 2, "one empty line between requests is thrown away");
    assert_eq!(verdict.heads.len(), 4);
    assert_eq!(verdict.heads.iter().map(|head| head.asks_for_upgrade).collect::<Vec<_>>(), [false, false, false, true]);
}

#[test]
fn ambiguous_heads_are_refused_and_nothing_of_them_passes() {
    let with = |first: &str, lines: &str| format!("{first}\r\n{lines}\r\n");
    let cases = [
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), Fault::BareLineFeed),
        (get("A: b\nC: d\r\n"), Fault::BareLineFeed),
        (get("A: b\rC: d\r\n"), Fault::ControlByte),
        (get("A: b\0c\r\n"), Fault::ControlByte),
        (get("A: b\x7f\r\n"), Fault::ControlByte),
        (get("A: b\r\n c\r\n"), Fault::FoldedLine),
        (get("A: b\r\n\tc\r\n"), Fault::FoldedLine),
        (get(" A: b\r\n"), Fault::FoldedLine),
        (get("A : b\r\n"), Fault::HeaderName),
        (get("A\t: b\r\n"), Fault::HeaderName),
        (get(": b\r\n"), Fault::HeaderName),
        (get("no colon\r\n"), Fault::HeaderName),
        (get("\u{fc}: b\r\n"), Fault::HeaderName),
        (get("host: shop.example\r\n"), Fault::Host),
        (get("HOST: other.example\r\n"), Fault::Host),
        (with("GET / HTTP/1.1", ""), Fault::Host),
        (with("GET / HTTP/1.1", "Host:\r\n"), Fault::Host),
        (with("GET / HTTP/1.1", "Host: a, b\r\n"), Fault::Host),
        (with("GET / HTTP/1.1", "Host: a@b\r\n"), Fault::Host),
        (with("GET / HTTP/1.0", "Host: a\r\nHost: a\r\n"), Fault::Host),
        (get("Content-Length: 1\r\nContent-Length: 1\r\n"), Fault::ContentLength),
        (get("Content-Length: 1\r\ncontent-length: 2\r\n"), Fault::ContentLength),
        (get("Content-Length: 1, 1\r\n"), Fault::ContentLength),
        (get("Content-Length: +1\r\n"), Fault::ContentLength),
        (get("Content-Length: -1\r\n"), Fault::ContentLength),
        (get("Content-Length: 0x1\r\n"), Fault::ContentLength),
        (get("Content-Length: 1 1\r\n"), Fault::ContentLength),
        (get("Content-Length:\r\n"), Fault::ContentLength),
        (get("Content-Length: 18446744073709551616\r\n"), Fault::ContentLength),
        (get("Content_Length: 1\r\n"), Fault::ContentLength),
        (get("Transfer-Encoding: gzip\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: gzip, chunked\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: chunked, chunked\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: identity\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding:\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: \"chunked\"\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: xchunked\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Fault::TransferEncoding),
        (get("transfer_encoding: chunked\r\n"), Fault::TransferEncoding),
        (with("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), Fault::TransferEncoding),
        (get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), Fault::TwoLengths),
        (get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Fault::TwoLengths),
    ];
    for (request, fault) in cases {
        assert_eq!(fault_of(&request), Some(fault), "{request:?}");
    }
}

#[test]
fn malformed_request_lines_are_refused() {
    let with = |first: &str, lines: &str| format!("{first}\r\n{lines}\r\n");
    let cases = [
        (with("CONNECT shop.example:443 HTTP/1.1", "Host: a\r\n"), Fault::Connect),
        (with("GET http://shop.example/ HTTP/1.1", "Host: shop.example\r\n"), Fault::Target),
        (with("GET https://evil.example/ HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET index.php HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET * HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET /a#b HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET /\u{fc} HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET /\x7f HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET /\0 HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET /\t HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET  HTTP/1.1", "Host: a\r\n"), Fault::Target),
        (with("GET  / HTTP/1.1", "Host: a\r\n"), Fault::RequestLine),
        (with("GET / HTTP/1.1 ", "Host: a\r\n"), Fault::RequestLine),
        (with("GET /", "Host: a\r\n"), Fault::RequestLine),
        (with("GET", "Host: a\r\n"), Fault::RequestLine),
        (with("G\u{fc}T / HTTP/1.1", "Host: a\r\n"), Fault::RequestLine),
        (with(" GET / HTTP/1.1", "Host: a\r\n"), Fault::RequestLine),
        (with("GET / HTTP/1.2", "Host: a\r\n"), Fault::Version),
        (with("GET / http/1.1", "Host: a\r\n"), Fault::Version),
        (with("GET / HTTP/1.1\r", "Host: a\r\n"), Fault::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Fault::Version),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Fault::RequestLine),
        ("\x16\x03\x01".to_owned(), Fault::RequestLine),
        ("\n".to_owned(), Fault::RequestLine),
    ];
    for (request, fault) in cases {
        assert_eq!(fault_of(&request), Some(fault), "{request:?}");
    }
}

#[test]
fn heads_over_the_limits_are_refused_at_the_limit() {
    let exactly = get(&format!("A: {}\r\n", "x".repeat(LIMITS.bytes_max - get("A: \r\n").len())));
    assert_eq!((exactly.len(), fault_of(&exactly)), (LIMITS.bytes_max, None));
    let one_more = exactly.replace("A: ", "A:  ");
    assert_eq!(fault_of(&one_more), Some(Fault::HeadBytes));
    assert_eq!(fault_of(&one_more[..LIMITS.bytes_max]), None, "it may still end there");
    assert_eq!(fault_of("A".repeat(LIMITS.bytes_max + 1)), Some(Fault::HeadBytes), "without any line end");

    assert_eq!(fault_of(get(&"A: b\r\n".repeat(LIMITS.lines_max - 1))), None);
    assert_eq!(fault_of(get(&"A: b\r\n".repeat(LIMITS.lines_max))), Some(Fault::HeadLines));
}

#[test]
fn chunk_games_are_refused_at_the_first_wrong_byte() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        ("", "\r\n", Fault::ChunkSize),
        ("", ";\r\n", Fault::ChunkSize),
        ("", "+5\r\n", Fault::ChunkSize),
        ("", " 5\r\n", Fault::ChunkSize),
        ("0", "x5\r\n", Fault::ChunkSize),
        ("5", " \r\n", Fault::ChunkSize),
        ("5", ";a=b\r\n", Fault::ChunkSize),
        ("5", "\nabcde", Fault::ChunkSize),
        ("5\r", "\rabcde", Fault::ChunkSize),
        ("fffffffffffffff", "f\r\n", Fault::ChunkSize),
        ("1\r\nx", "y\r\n", Fault::ChunkEnd),
        ("1\r\nx", "\n0\r\n\r\n", Fault::ChunkEnd),
        ("1\r\nx\r", "0\r\n\r\n", Fault::ChunkEnd),
        ("0\r\n", "Content-Length: 5\r\n\r\n", Fault::Trailer),
        ("0\r\n", "Transfer-Encoding: chunked\r\n\r\n", Fault::Trailer),
        ("0\r\n", "Host: b\r\n\r\n", Fault::Trailer),
        ("0\r\n", "A : b\r\n\r\n", Fault::HeaderName),
        ("0\r\nA: b\r\n", " c\r\n\r\n", Fault::FoldedLine),
        ("0\r\n", "A: b\n\r\n", Fault::BareLineFeed),
        ("0\r\n", "\n", Fault::BareLineFeed),
    ];
    for (good, bad, fault) in cases {
        let verdict = judge(format!("{head}{good}{bad}"));
        assert_eq!((verdict.fault, verdict.passed), (Some(fault), head.len() + good.len()), "{good:?}{bad:?}");
    }
    let many = judge(format!("{head}0\r\n{}\r\n", "A: b\r\n".repeat(LIMITS.lines_max + 1)));
    assert_eq!(many.fault, Some(Fault::HeadLines));
    let large = judge(format!("{head}0\r\nA: {}\r\n\r\n", "x".repeat(LIMITS.bytes_max)));
    assert_eq!(large.fault, Some(Fault::HeadBytes));
}

#[test]
fn a_fault_is_final() {
    let mut framing = Framing::new(LIMITS);
    assert_eq!(framing.step(b"GET / HTTP/3\r\n"), Err(Fault::Version));
    assert_eq!(framing.step(get("").as_bytes()), Err(Fault::Version));
}

#[test]
fn http2_requests_obey_the_same_rules() {
    let check = |uri: &str, headers: &[(&str, &str)]| {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_http2(&request.body(()).unwrap(), 3)
    };
    assert_eq!(check("https://shop.example/a?b", &[]), Ok(()));
    assert_eq!(check("https://shop.example/a?b", &[("host", "SHOP.example")]), Ok(()));
    assert_eq!(check("/a", &[("host", "shop.example")]), Ok(()));
    assert_eq!(check("/a", &[]), Err(Fault::Host));
    assert_eq!(check("https://shop.example/", &[("host", "other.example")]), Err(Fault::Host));
    assert_eq!(check("https://user@shop.example/", &[]), Err(Fault::Host));
    assert_eq!(check("/", &[("host", "a"), ("host", "a")]), Err(Fault::Host));
    assert_eq!(check("https://a/", &[("content-length", "1"), ("content-length", "1")]), Err(Fault::ContentLength));
    assert_eq!(check("https://a/", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]), Err(Fault::HeadLines));
    let connect = http::Request::connect("shop.example:443").body(()).unwrap();
    assert_eq!(check_http2(&connect, 3), Err(Fault::Connect));
}

/// Pieces of requests, whole and broken, so that random texts reach every state.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        Just(get("").into_bytes()),
        Just(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n1234567".to_vec()),
        Just(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"0\r\nA: b\r\n\r\n".to_vec()),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"A: b\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(vec![b'x'; 1_500]),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(fragment, 0..8).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_changes_nothing(bytes in fragments(), mut cuts in prop::collection::vec(0usize..4_000, 0..40)) {
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(judge_in_pieces(&pieces), judge(&bytes));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(judge_in_pieces(&single), judge(&bytes));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let verdict = judge(&bytes);
        prop_assert!(verdict.passed + verdict.skipped <= bytes.len());
    }

    /// What passes as a head, the parser behind us must read in the same way.
    #[test]
    fn a_head_that_passes_is_one_that_the_parser_takes_whole(bytes in fragments()) {
        let mut framing = Framing::new(LIMITS);
        if let Ok(Step::Head(head)) = framing.step(&bytes) {
            let mut lines = [httparse::EMPTY_HEADER; 32];
            let parsed = httparse::Request::new(&mut lines).parse(&bytes);
            prop_assert_eq!(parsed, Ok(httparse::Status::Complete(head.bytes)));
        }
    }
}
