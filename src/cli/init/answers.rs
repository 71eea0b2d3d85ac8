//! What `init` must know, from flags or from the people at the terminal.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::DnsName;

use super::{InitArguments, InitFault};
use crate::config::shop_address;
use crate::recognise::Recogniser;
use crate::server::tls::CertificateFiles;

/// How often one question is asked until it counts as not answered.
const TRIES_MAX: usize = 3;

/// Longest line that is read as an answer, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// Everything that the config follows from.
#[derive(Debug)]
pub(super) struct Answers {
    /// As `shop.url` has it.
    pub(super) shop: String,
    /// The name of a preset.
    pub(super) platform: String,
    /// The public name.
    pub(super) name: String,
    /// What kallback shows to callers.
    pub(super) certificate: Certificate,
}

/// Which certificate kallback shows.
#[derive(Debug)]
pub(super) enum Certificate {
    /// One that is there.
    Own(CertificateFiles),
    /// One that is made, for a trial.
    Development,
}

/// Whoever sits at the terminal.
pub(in crate::cli) struct People<'a> {
    /// What they type.
    pub(in crate::cli) input: &'a mut dyn BufRead,
    /// Where they are asked.
    pub(in crate::cli) output: &'a mut dyn Write,
}

/// What was said so far.
struct Said {
    shop: Option<String>,
    platform: Option<String>,
    name: Option<String>,
    certificate: Option<Certificate>,
}

impl Answers {
    /// Takes the flags, and asks for the rest where there is somebody.
    pub(super) fn gather(arguments: InitArguments, people: Option<People<'_>>) -> Result<Self, InitFault> {
        let InitArguments { shop, platform, name, certificate, key, development_certificate, .. } = arguments;
        let certificate = match certificate.zip(key) {
            Some((certificate, key)) => Some(Certificate::Own(pair(certificate, key)?)),
            None => development_certificate.then_some(Certificate::Development),
        };
        let said = Said { shop, platform, name, certificate };
        match people {
            Some(people) => said.asking(people),
            None => said.alone(),
        }
    }

    /// Whether the config is for a trial on this machine alone.
    pub(super) fn is_trial(&self) -> bool {
        matches!(self.certificate, Certificate::Development)
    }
}

impl Said {
    fn alone(self) -> Result<Answers, InitFault> {
        let missing = self.missing();
        match self {
            Self { shop: Some(shop), platform: Some(platform), name: Some(name), certificate: Some(certificate) } => {
                Ok(Answers { shop, platform, name, certificate })
            }
            _ => Err(InitFault::Missing(missing)),
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        let flags = [
            (self.shop.is_none(), "--shop"),
            (self.platform.is_none(), "--platform"),
            (self.name.is_none(), "--name"),
            (self.certificate.is_none(), "--certificate with --key (or --development-certificate)"),
        ];
        flags.into_iter().filter_map(|(is_missing, flag)| is_missing.then_some(flag)).collect()
    }

    fn asking(self, mut people: People<'_>) -> Result<Answers, InitFault> {
        let platforms = || Recogniser::preset_names().collect::<Vec<_>>().join(", ");
        let shop = self.shop.map_or_else(
            || people.answer("Where is the shop, as kallback reaches it? (http://127.0.0.1:8080)", "--shop", shop),
            Ok,
        )?;
        let platform = self.platform.map_or_else(
            || people.answer(&format!("Which platform does it run on? ({})", platforms()), "--platform", platform),
            Ok,
        )?;
        let name = self.name.map_or_else(
            || people.answer("Under which name do Klarna and the customers reach it? (shop.example)", "--name", name),
            Ok,
        )?;
        let certificate = self.certificate.map_or_else(|| people.certificate(), Ok)?;
        Ok(Answers { shop, platform, name, certificate })
    }
}

impl People<'_> {
    /// Asks until the answer can be read, a few times.
    fn answer<T>(
        &mut self,
        question: &str,
        flag: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, InitFault> {
        for _ in 0..TRIES_MAX {
            write!(self.output, "{question}: ")?;
            self.output.flush()?;
            let Some(line) = self.line()? else { break };
            match read(line.trim()) {
                Ok(answer) => return Ok(answer),
                Err(why) => writeln!(self.output, "  {why}")?,
            }
        }
        Err(InitFault::NoAnswer(flag))
    }

    /// `None` at the end of the input.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let length = io::Read::take(&mut *self.input, LINE_BYTES_MAX).read_line(&mut line)?;
        Ok((length > 0).then_some(line))
    }

    fn certificate(&mut self) -> Result<Certificate, InitFault> {
        let question = "Where is its certificate, a PEM file with the chain? (empty: make one for a trial)";
        let Some(certificate) = self.answer(question, "--certificate", file_or_nothing)? else {
            return Ok(Certificate::Development);
        };
        let key = self.answer("Where is the certificate's private key, a PEM file?", "--key", file)?;
        Ok(Certificate::Own(pair(certificate, key)?))
    }
}

/// Both files, seen to belong together.
fn pair(certificate: PathBuf, key: PathBuf) -> Result<CertificateFiles, InitFault> {
    let files = CertificateFiles { certificate: std::path::absolute(certificate)?, key: std::path::absolute(key)? };
    files.check()?;
    Ok(files)
}

/// A shop's address, as it was written.
pub(super) fn shop(text: &str) -> Result<String, String> {
    shop_address(text).map(|_| text.trim().to_owned())
}

fn platform(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    match Recogniser::preset_names().any(|name| name == text) {
        true => Ok(text),
        false => Err("one of the names in brackets is wanted".to_owned()),
    }
}

/// The shop's name in the world, in lower case.
pub(super) fn name(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    if text.parse::<IpAddr>().is_ok() || DnsName::try_from(text.as_str()).is_err() {
        return Err("wanted is a host name alone, as in shop.example; no https://, no port, no address".to_owned());
    }
    Ok(text)
}

fn file(text: &str) -> Result<PathBuf, String> {
    match Path::new(text) {
        path if path.is_file() => Ok(path.to_owned()),
        path => Err(format!("there is no file {}", path.display())),
    }
}

fn file_or_nothing(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() { Ok(None) } else { file(text).map(Some) }
}
