//! Request targets out of any bytes.

use std::fmt::Write as _;

/// Path and query as the HTTP parser hands them on; bytes that no target may have are escaped. `None` if it is none.
pub fn as_target(bytes: &[u8]) -> Option<String> {
    let mut target = String::from("/");
    for &byte in bytes.strip_prefix(b"/").unwrap_or(bytes) {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`') => target.push(char::from(byte)),
            _ => escape(byte, &mut target),
        }
    }
    let parsed: http::uri::PathAndQuery = target.parse().ok()?;
    Some(parsed.as_str().to_owned())
}

/// The same target with the letters of its path escaped. Escapes in it stay as they are.
#[allow(dead_code)] // Not every target that includes this file needs it.
pub fn respelled(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut written = String::new();
    let mut escaped = 0;
    for byte in path.bytes() {
        // An escape's own digits stay.
        escaped = if byte == b'%' { 3 } else { escaped - i32::from(escaped > 0) };
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' if escaped == 0 => escape(byte, &mut written),
            _ => written.push(char::from(byte)),
        }
    }
    written + query
}

fn escape(byte: u8, text: &mut String) {
    let _ = write!(text, "%{byte:02X}");
}
