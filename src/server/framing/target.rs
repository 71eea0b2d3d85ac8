//! What stands between method and version.

use super::Fault;

/// Takes a path that begins with `/`, and `*` for `OPTIONS`.
///
/// The absolute form (`http://host/path`) is for forward proxies; here it would be a second place that names the host.
/// A `#` never belongs on the wire, and servers differ in whether they cut there.
pub(super) fn check(method: &[u8], target: &[u8]) -> Result<(), Fault> {
    if target == b"*" && method == b"OPTIONS" {
        return Ok(());
    }
    let in_order = target.first() == Some(&b'/') && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    if in_order { Ok(()) } else { Err(Fault::Target) }
}
