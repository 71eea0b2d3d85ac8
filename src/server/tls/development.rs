//! A certificate for development, made when there is none.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::{CertificateFault, CertificateFiles};
use crate::clock::{Clock, UnixMillis};

/// The names it is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Clients of some vendors refuse certificates that live longer than 825 days.
const VALID_FOR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Clocks of test machines are late now and then.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 3600);

/// Makes key and certificate if neither file exists. Says whether it did. If one of them exists, it stays as it is, and
/// reading the other one fails later with a clear fault.
pub(super) fn make_if_absent(files: &CertificateFiles, clock: &Clock) -> Result<bool, CertificateFault> {
    make_for(files, &NAMES, 0o600, clock)
}

/// As at a start, but also good for `name`; the key file gets `key_mode`. False, and nothing is changed, if one of the
/// files exists.
///
/// # Errors
///
/// [`CertificateFault`] if it cannot be made or written.
pub fn make_development_certificate(
    files: &CertificateFiles,
    name: &str,
    key_mode: u32,
    clock: &Clock,
) -> Result<bool, CertificateFault> {
    let others = NAMES.into_iter().filter(|other| *other != name);
    make_for(files, &[name].into_iter().chain(others).collect::<Vec<_>>(), key_mode, clock)
}

fn make_for(files: &CertificateFiles, names: &[&str], key_mode: u32, clock: &Clock) -> Result<bool, CertificateFault> {
    if files.certificate.exists() || files.key.exists() {
        return Ok(false);
    }
    let (certificate, key) = make(names, clock).map_err(|why| CertificateFault::Development(why.to_string()))?;
    // The certificate last: where it is, the key is.
    write_whole(&files.key, key.as_bytes(), key_mode)?;
    write_whole(&files.certificate, certificate.as_bytes(), 0o644)?;
    Ok(true)
}

fn make(names: &[&str], clock: &Clock) -> Result<(String, String), rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "kallback for development");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let day = |moment: UnixMillis| {
        let at = jiff::Timestamp::from_second(moment.seconds()).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(at.year().into(), at.month().unsigned_abs(), at.day().unsigned_abs())
    };
    params.not_before = day(clock.now() - VALID_BEFORE);
    params.not_after = day(clock.now() + VALID_FOR);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Writes a file so that nobody ever sees a part of it, or a key with other rights than it should have.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateFault> {
    let fault = |source| CertificateFault::File { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(fault)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.map_err(fault)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::files;
    use super::*;

    #[test]
    fn it_is_made_once_and_its_key_is_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("certs/tls.crt"),
            key: folder.path().join("certs/tls.key"),
        };
        assert!(make_if_absent(&files, &Clock::system()).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.key), 0o600);
        assert_eq!(fs::read_dir(folder.path().join("certs")).unwrap().count(), 2, "no drafts are left");

        let identity = files::read_all(std::slice::from_ref(&files)).unwrap()[0].identity().unwrap();
        assert_eq!(identity.names, NAMES);
        let now = Clock::system().now().seconds();
        assert!(identity.not_before < now && now < identity.not_after);

        let before = fs::read(&files.key).unwrap();
        assert!(!make_if_absent(&files, &Clock::system()).unwrap());
        fs::remove_file(&files.certificate).unwrap();
        assert!(!make_if_absent(&files, &Clock::system()).unwrap(), "a key that is there is never replaced");
        assert_eq!(fs::read(&files.key).unwrap(), before);
    }
}
