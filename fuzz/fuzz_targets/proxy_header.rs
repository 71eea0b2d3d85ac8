//! The PROXY header: whatever comes, it is read to its end and not one byte further, or refused.
#![no_main]

use kallback::server::proxy_protocol::{Parsed, parse};
use libfuzzer_sys::fuzz_target;

/// Above every header that is taken: the longest is 16 bytes and 4096 of extra fields.
const HEADER_BYTES_MAX: usize = 16 + 4096;

/// Every prefix of an input is tried up to here.
const PREFIX_BYTES_MAX: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let read = reader(bytes);
    let prefixes = 0..=bytes.len().min(PREFIX_BYTES_MAX);
    let complete_at = prefixes.into_iter().find(|&end| matches!(parse(&bytes[..end]), Ok(Parsed::Complete(_))));
    if complete_at.is_some() {
        assert_eq!(read, complete_at, "the reader passes by the header's end");
    }
});

/// As the connection's reader does it: asks for no more than what belongs to the header. Where the header ended.
fn reader(bytes: &[u8]) -> Option<usize> {
    let mut taken = 0;
    loop {
        match parse(&bytes[..taken]) {
            Ok(Parsed::NeedMore(more)) => {
                assert!(more > 0, "it waits for nothing");
                assert!(taken + more <= HEADER_BYTES_MAX, "a header without end");
                if taken + more > bytes.len() {
                    return None;
                }
                taken += more;
            }
            Ok(Parsed::Complete(_)) => return Some(taken),
            Err(_) => return None,
        }
    }
}
