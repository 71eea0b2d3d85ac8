//! File, environment and flags → checked settings, with every fault at once.
//!
//! Three layers are laid over one another as a `tree`: flag over environment over file. The `sections` ask it for
//! their options; the `reader` notes what is wrong with file, line and column, and goes on. Only then
//! is anything refused. No other module knows TOML, the environment, or the names of options.

mod checks;
mod development;
mod environment;
mod fault;
mod opentelemetry;
mod place;
mod readable;
mod reader;
#[cfg(test)]
mod reference;
mod secrets;
mod section;
mod sections;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod units;

use std::io;
use std::path::{Path, PathBuf};

pub use development::make_key_file;
pub use fault::{Faults, Finding};
pub use place::Source;
pub use readable::toml_text;
pub use sections::shop_address;

use crate::app::Settings;
use crate::config::place::Place;
use crate::config::reader::{Findings, Reader};
use crate::config::section::Section;
use crate::config::tree::Table;
use crate::recognise::Recogniser;
use crate::upstream::Address;

/// Largest config file in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Stands in for a config file where nothing is started: no shop is called and no file made, and none need be there.
const RULES_ONLY: &str = r#"
[shop]
url = "http://127.0.0.1"
[tls]
make_development_certificate = true
[[tls.certificates]]
certificate = "no-certificate.pem"
key = "no-certificate.key"
[token]
make_development_key = true
key_file = "no-token.keys"
"#;

/// Where the sources are, so that they can be read again on SIGHUP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origins {
    /// The config file, if there is one.
    pub file: Option<PathBuf>,
    /// See [`Sources::environment`].
    pub environment: Vec<(String, String)>,
    /// See [`Sources::flags`].
    pub flags: Vec<(String, String)>,
}

/// What the config is read from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// The config file, if there is one.
    pub file: Option<FileText>,
    /// Environment variables; those that do not start with `KALLBACK_` or `OTEL_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Options from the command line: `server.listen` and its value. The last one wins.
    pub flags: Vec<(String, String)>,
}

/// A config file that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileText {
    /// Its path, as messages show it; relative paths in the file start at its folder.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A config without faults.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What all parts are told.
    pub settings: Settings,
    /// What the operator should know.
    pub warnings: Vec<Finding>,
    /// A token key file that is not there and that `token.make_development_key` wants made.
    pub key_file_to_make: Option<PathBuf>,
}

impl Origins {
    /// Reads the file and loads the config.
    ///
    /// # Errors
    ///
    /// As [`load`]; a file that cannot be read is a fault too.
    pub fn load(&self) -> Result<Loaded, Faults> {
        let file = self.file.as_deref().map(read_file).transpose()?;
        load(&Sources { file, environment: self.environment.clone(), flags: self.flags.clone() })
    }

    /// The same for a command that only looks at rules and keys: without a file, what only a start needs may be absent,
    /// and the rules of all platforms are on unless a flag or the environment names some.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_rules(&self) -> Result<Loaded, Faults> {
        if self.file.is_some() {
            return self.load();
        }
        let presets: Vec<&str> = Recogniser::preset_names().collect();
        let text = format!("{RULES_ONLY}[callbacks]\npresets = {presets:?}\n");
        let file = Some(FileText { path: PathBuf::new(), text });
        let loaded = load(&Sources { file, environment: self.environment.clone(), flags: self.flags.clone() })?;
        // They are about these stand-ins.
        Ok(Loaded { warnings: Vec::new(), ..loaded })
    }

    /// The same for a start: a token key for development is made if the config wants one and it is not there.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); a key file that cannot be made is a fault too.
    pub fn load_and_make(&self) -> Result<Loaded, Faults> {
        let loaded = self.load()?;
        let Some(path) = &loaded.key_file_to_make else { return Ok(loaded) };
        match make_key_file(path, 0o600) {
            // Or another process that starts at the same time made it.
            Ok(()) => self.load(),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => self.load(),
            Err(why) => Err(Faults::of_nowhere(format!("cannot make the token key file {}: {why}", path.display()))),
        }
    }
}

fn read_file(path: &Path) -> Result<FileText, Faults> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| Faults::of_nowhere(format!("cannot read the config file {}: {why}", path.display())))?;
    Ok(FileText { path: path.to_owned(), text })
}

/// Reads and checks all sources.
///
/// Besides the sources it looks at the files that options name: secrets are read, certificates and authorities must
/// be there.
///
/// # Errors
///
/// All faults, in the order of their places. Syntax errors of the file come alone, because nothing else can be told.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let reading = read(sources);
    if !reading.findings.faults.is_empty() {
        return Err(Faults::new(reading.findings.faults));
    }
    let mut warnings = reading.findings.warnings;
    warnings.sort();
    Ok(Loaded { settings: reading.settings, warnings, key_file_to_make: reading.key_file_to_make })
}

impl Settings {
    /// The defaults, with a shop at `address`: no certificate, no key, no preset. For tests and for `demo`.
    pub fn for_shop(address: Address) -> Self {
        let mut settings = read(&Sources::default()).settings;
        settings.upstream.address = address;
        settings
    }
}

struct Reading {
    settings: Settings,
    key_file_to_make: Option<PathBuf>,
    findings: Findings,
}

fn read(sources: &Sources) -> Reading {
    let (path, text) = match &sources.file {
        Some(file) => (file.path.as_path(), file.text.as_str()),
        None => (Path::new(""), ""),
    };
    let reader = Reader::new(path.parent().unwrap_or(Path::new("")));
    let mut tree = parse(text, &reader);
    let is_readable = !reader.has_faults();
    environment::overlay_environment(&mut tree, &sources.environment, &reader);
    environment::overlay_flags(&mut tree, &sources.flags, &reader);
    let root = Section::root(&reader, &tree);
    let mut sections = sections::read(&root);
    sections.settings.traces = opentelemetry::read(&sources.environment, &reader);
    root.end();
    let mut findings = reader.finish(&path.to_string_lossy(), text);
    if !is_readable {
        findings.faults.retain(|finding| finding.option.is_empty());
    }
    Reading { settings: sections.settings, key_file_to_make: sections.key_file_to_make, findings }
}

fn parse(text: &str, reader: &Reader) -> Table {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the config file has {} bytes; it may have {FILE_BYTES_MAX}", text.len());
        reader.fault(&Place::Default, message, "");
        return Table::new();
    }
    tree::parse(text).unwrap_or_else(|errors| {
        for (at, message) in errors {
            reader.fault(&at, format!("this is not TOML: {message}"), "");
        }
        Table::new()
    })
}
