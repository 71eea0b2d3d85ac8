//! Options that hold a secret. Each may stand in the config, or in a file of its own that `<option>_file` names.

use std::fs;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use crate::config::readable::{Read, Readable};
use crate::config::section::Section;
use crate::config::tree::Node;

/// Largest secret file in bytes: many times what a key ring needs.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Bits of a file's mode that let strangers at it. A group may read: that is how containers hand secrets over.
const STRANGERS: u32 = 0o027;

impl Readable for SecretString {
    fn read(node: &Node) -> Read<Self> {
        String::read(node).map(Into::into)
    }

    fn show(&self) -> String {
        "\"…\"".to_owned()
    }
}

/// Which of the two ways an option's secret is given.
#[derive(Debug)]
pub(super) enum Given {
    Nowhere,
    Literally,
    InFile,
}

/// Which of `name` and `name_file` holds: the one from the higher source. Both from one source are a fault.
pub(super) fn given(section: &Section<'_>, name: &str, file_name: &str) -> Given {
    match (section.is_set(name), section.is_set(file_name)) {
        (false, false) => Given::Nowhere,
        (true, false) => Given::Literally,
        (false, true) => Given::InFile,
        (true, true) => {
            let (literal, file) = (section.place(name).rank(), section.place(file_name).rank());
            if literal == file {
                let message = format!("both `{name}` and `{file_name}` are set");
                section.fault(name, message, &format!("keep `{file_name}` and take `{name}` out"));
            }
            if literal > file { Given::Literally } else { Given::InFile }
        }
    }
}

/// The secret of `name` or of the file that `name_file` names, if either is set.
pub(super) fn read(section: &Section<'_>, name: &str) -> Option<SecretString> {
    let file_name = format!("{name}_file");
    let literal: Option<SecretString> = section.optional(name);
    let file = section.optional_path(&file_name);
    let (secret, at) = match given(section, name, &file_name) {
        Given::Nowhere => return None,
        Given::Literally => (literal?, name),
        Given::InFile => (read_file(section, &file_name, &file?)?, file_name.as_str()),
    };
    if secret.expose_secret().trim().is_empty() {
        section.fault(at, "the secret is empty", "");
        return None;
    }
    Some(secret)
}

/// The text of a secret file, without the newline at its end. Notes a fault if it cannot be read.
pub(super) fn read_file(section: &Section<'_>, name: &str, path: &Path) -> Option<SecretString> {
    match text_of(path) {
        Ok(text) => {
            warn_if_open(section, name, path);
            Some(text)
        }
        Err(why) => {
            section.fault(name, format!("cannot read {}: {why}", path.display()), &hint_for(&why));
            None
        }
    }
}

fn text_of(path: &Path) -> io::Result<SecretString> {
    let metadata = fs::metadata(path)?;
    // A pipe would hold the start up for ever.
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("wanted is a file of at most {FILE_BYTES_MAX} bytes")));
    }
    let mut text = fs::read_to_string(path)?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text.into())
}

/// Warns if strangers can read or change the file.
pub(super) fn warn_if_open(section: &Section<'_>, name: &str, path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & STRANGERS != 0 {
        let message = format!("{} holds a secret, and others can read or change it (mode {mode:04o})", path.display());
        section.warn(name, message, &format!("chmod 600 {}", path.display()));
    }
}

/// What helps against a file that cannot be read.
pub(super) fn hint_for(why: &io::Error) -> String {
    let hint = match why.kind() {
        io::ErrorKind::NotFound => {
            "a path in the config file is relative to its folder, elsewhere to the working directory"
        }
        io::ErrorKind::PermissionDenied => "the user that kallback runs as must be able to read it",
        io::ErrorKind::InvalidData => "wanted is text in UTF-8",
        _ => "",
    };
    hint.to_owned()
}
