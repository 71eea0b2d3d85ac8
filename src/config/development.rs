//! Makes what a trial needs and the config asks for, where it is not there yet.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use secrecy::ExposeSecret as _;

use crate::token::{Key, generate, keys_text};

/// Writes a file with one new token key, with these rights. Its folder is made if need be, for nobody but the owner.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] for a file that is there already: it stays. Whatever else the system says.
pub fn make_key_file(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        // The ledger may lie there too, with customers' data in it.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let text = keys_text(&[Key { id: 1, secret: generate() }]);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.expose_secret().as_bytes())?;
    file.sync_all()
}
