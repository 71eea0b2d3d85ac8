//! `kallback init`: the smallest config that works for one shop, with the keys that it names.

mod answers;
mod files;
mod text;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use thiserror::Error;

use self::answers::{Answers, Certificate};
use self::files::{Plan, Written};
use crate::clock::Clock;
use crate::config::{Faults, Origins};
use crate::recognise::Recogniser;
use crate::server::tls::CertificateFault;

pub(super) use self::answers::People;

/// `kallback init …`. What no flag says is asked, on a terminal.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct InitArguments {
    /// Where the shop is, as kallback reaches it, as in `http://127.0.0.1:8080`, `https://shop.internal` or `unix:/path`.
    #[arg(long, value_name = "URL", value_parser = answers::shop)]
    shop: Option<String>,
    /// The platform that the shop runs on.
    #[arg(long, visible_alias = "preset", value_name = "NAME", value_parser = PossibleValuesParser::new(Recogniser::preset_names()))]
    platform: Option<String>,
    /// The name under which customers and Klarna reach the shop: shop.example
    #[arg(long, value_name = "HOST", value_parser = answers::name)]
    name: Option<String>,
    /// PEM file of the certificate for that name, with its chain.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Make a certificate that nobody trusts, for a trial on this machine: kallback then listens on 127.0.0.1:8443 and
    /// keeps its ledger beside the config.
    #[arg(long, conflicts_with = "certificate")]
    development_certificate: bool,
    /// The folder that the files go to.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Why there is no config.
#[derive(Debug, Error)]
pub(super) enum InitFault {
    /// No flag says it, and there is nobody to ask.
    #[error("not said: {}; this is no terminal to ask at", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// What was typed is not understood, however often.
    #[error("that was no answer; say it with {0}")]
    NoAnswer(&'static str),
    /// A file is there that would be written.
    #[error(
        "{} there already and nothing was changed; move {} away, or take another folder with --folder",
        in_words(.0), if .0.len() == 1 { "it" } else { "them" }
    )]
    Exists(Vec<PathBuf>),
    /// A file cannot be written.
    #[error("cannot write {path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// The certificate cannot be used, or not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// What was answered does not go together. All that was written is gone again.
    #[error("these answers make no config that works:\n{0}")]
    Unsound(#[from] Faults),
    /// Nobody can be asked or told.
    #[error("cannot ask: {0}")]
    Terminal(#[from] io::Error),
}

/// Asks `people` for what the flags leave open, writes the files, and says what comes next. `None`: there is nobody to
/// ask.
pub(super) fn run(
    arguments: InitArguments,
    people: Option<People<'_>>,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), InitFault> {
    let (folder, as_json) = (std::path::absolute(&arguments.folder)?, arguments.json);
    let plan = Plan::in_folder(&folder);
    // Before the questions, so that nobody answers them in vain.
    plan.refuse_what_exists(arguments.development_certificate)?;
    let answers = Answers::gather(arguments, people)?;
    plan.refuse_what_exists(answers.is_trial())?;
    let written = plan.write(&answers, clock)?;
    let check = Origins { file: Some(plan.config.clone()), ..Origins::default() };
    if let Err(faults) = check.load() {
        written.undo();
        return Err(faults.into());
    }
    let next = next_things(&answers, &plan);
    match as_json {
        true => writeln!(out, "{}", summary(&answers, &plan, &next))?,
        false => tell(&written, &next, out)?,
    }
    Ok(())
}

fn tell(written: &Written, next: &[String; 3], out: &mut dyn Write) -> io::Result<()> {
    for (path, what) in written.files() {
        writeln!(out, "wrote {}: {what}", path.display())?;
    }
    writeln!(out, "\nNext:")?;
    (1..).zip(next).try_for_each(|(number, thing)| writeln!(out, "{number}. {thing}"))
}

fn summary(answers: &Answers, plan: &Plan, next: &[String; 3]) -> serde_json::Value {
    let pair = plan.certificate(answers);
    let shown = |path: &PathBuf| path.display().to_string();
    json!({
        "config": shown(&plan.config),
        "token_keys": shown(&plan.token_keys),
        "certificate": shown(&pair.certificate),
        "key": shown(&pair.key),
        "development_certificate": answers.is_trial(),
        "shop": answers.shop,
        "platform": answers.platform,
        "name": answers.name,
        "next": next,
    })
}

fn next_things(answers: &Answers, plan: &Plan) -> [String; 3] {
    let (name, config) = (&answers.name, plan.config.display());
    let start = format!("kallback run --config {config}");
    match &answers.certificate {
        Certificate::Development => [
            format!("Start it: {start}"),
            format!(
                "See the way to the shop: kallback doctor https://{name}:8443 --connect-to 127.0.0.1:8443 \
                 --ca {} --config {config}",
                plan.certificate(answers).certificate.display()
            ),
            format!("With a certificate for {name}: kallback init --folder … --certificate … --key …"),
        ],
        Certificate::Own(_) => [
            "Have the shop put tokens into its callback URLs (docs/tokens.md). Until all that are in use have one, \
             set mode = \"observe\" in the config: URLs of the last three days have none."
                .to_owned(),
            format!("Start it: {start} (or, from the Debian package: systemctl enable --now kallback)"),
            format!(
                "Have {name} lead to this machine, and see the way there: kallback doctor https://{name} --config {config}"
            ),
        ],
    }
}

fn in_words(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests;
