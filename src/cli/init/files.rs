//! The files that `init` writes: never over another one, and all of them or none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::answers::{Answers, Certificate};
use super::{InitFault, text};
use crate::clock::Clock;
use crate::config::make_key_file;
use crate::server::tls::{CertificateFiles, make_development_certificate};

/// A folder that hands its group on to what is made in it.
const SET_GROUP_ID: u32 = 0o2000;

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Plan {
    folder: PathBuf,
    /// The config.
    pub(super) config: PathBuf,
    /// The token keys.
    pub(super) token_keys: PathBuf,
    development: CertificateFiles,
}

/// Files that this run made, with what they are.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<(PathBuf, &'static str)>);

impl Plan {
    /// All files go to that folder.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let [config, token_keys, certificate, key] =
            ["kallback.toml", "token.keys", "development.crt", "development.key"].map(|name| folder.join(name));
        Self { folder: folder.to_owned(), config, token_keys, development: CertificateFiles { certificate, key } }
    }

    /// The certificate that the config names.
    pub(super) fn certificate<'a>(&'a self, answers: &'a Answers) -> &'a CertificateFiles {
        match &answers.certificate {
            Certificate::Own(files) => files,
            Certificate::Development => &self.development,
        }
    }

    /// Says which of the files are there already. Those for development count only if they are to be made.
    pub(super) fn refuse_what_exists(&self, with_development: bool) -> Result<(), InitFault> {
        let development = [&self.development.certificate, &self.development.key];
        let development = development.into_iter().filter(|_| with_development);
        let all = [&self.config, &self.token_keys].into_iter().chain(development);
        // A link that leads nowhere is there too.
        let there: Vec<_> = all.filter(|path| path.symlink_metadata().is_ok()).cloned().collect();
        if there.is_empty() { Ok(()) } else { Err(InitFault::Exists(there)) }
    }

    /// Writes everything. After a fault nothing is left of it.
    pub(super) fn write(&self, answers: &Answers, clock: &Clock) -> Result<Written, InitFault> {
        fs::create_dir_all(&self.folder).map_err(|why| fault(&self.folder, why))?;
        let mut written = Written::default();
        match self.write_all(answers, clock, &mut written) {
            Ok(()) => Ok(written),
            Err(fault) => {
                written.undo();
                Err(fault)
            }
        }
    }

    fn write_all(&self, answers: &Answers, clock: &Clock, written: &mut Written) -> Result<(), InitFault> {
        let key_mode = self.key_mode();
        make_key_file(&self.token_keys, key_mode).map_err(|why| fault(&self.token_keys, why))?;
        written.add(&self.token_keys, "the key of the tokens; keep it, and keep it secret");
        if answers.is_trial() {
            let CertificateFiles { certificate, key } = &self.development;
            if !make_development_certificate(&self.development, &answers.name, key_mode, clock)? {
                return Err(InitFault::Exists(vec![certificate.clone(), key.clone()]));
            }
            written.add(certificate, "a certificate for development, which nobody trusts");
            written.add(key, "its private key");
        }
        let text = text::config(answers, &self.as_written(self.certificate(answers)));
        // Others may read it: there is no secret in it.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.config)
            .and_then(|mut file| {
                written.add(&self.config, "the config");
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .map_err(|why| fault(&self.config, why))
    }

    /// Paths in the config's own folder without it, so that the folder can be moved.
    fn as_written(&self, files: &CertificateFiles) -> CertificateFiles {
        let [certificate, key] =
            [&files.certificate, &files.key].map(|path| path.strip_prefix(&self.folder).unwrap_or(path).to_owned());
        CertificateFiles { certificate, key }
    }

    /// For the owner alone; also for the folder's group where the folder hands it on, as /etc/kallback does in the
    /// Debian package: kallback itself does not run as root.
    fn key_mode(&self) -> u32 {
        let hands_on = fs::metadata(&self.folder).is_ok_and(|folder| folder.permissions().mode() & SET_GROUP_ID != 0);
        if hands_on { 0o640 } else { 0o600 }
    }
}

impl Written {
    /// The files, in the order they were made.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        self.0.iter().map(|(path, what)| (path.as_path(), *what))
    }

    /// Takes back what this run made, and nothing else.
    pub(super) fn undo(&self) {
        for (path, _) in &self.0 {
            // What cannot be removed will be named by the next run.
            let _ = fs::remove_file(path);
        }
    }

    fn add(&mut self, path: &Path, what: &'static str) {
        self.0.push((path.to_owned(), what));
    }
}

fn fault(path: &Path, why: io::Error) -> InitFault {
    if why.kind() == io::ErrorKind::AlreadyExists {
        return InitFault::Exists(vec![path.to_owned()]);
    }
    InitFault::File { path: path.to_owned(), why }
}
