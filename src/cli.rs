//! The command tree. Each command loads the config, does one thing, and says how it went.
//!
//! Exit codes: 0 when all went well, 1 when it did not, 2 when the command line itself is wrong.

mod admin_client;
mod callbacks;
mod check;
mod demo;
mod doctor;
mod explain;
mod healthcheck;
mod inherit;
mod init;
mod papers;
mod run;
pub mod token;
mod top;
mod trigger;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{Faults, Origins};
use crate::metrics::Causes;

/// Exit code of a command line that makes no sense.
const MISUSED: u8 = 2;

/// Makes sure that every Klarna and Kustom callback reaches the shop once, in time, and only from somebody who knows
/// the session's secret.
#[derive(Clone, Debug, Parser)]
#[command(name = "kallback", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Stand in front of the shop until told to stop.
    Run {
        /// Take the listening sockets and the ledger over from the kallback that runs (life.hand_over_at), so that no
        /// caller is refused. If none runs, this one just starts.
        #[arg(long)]
        take_over: bool,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Report every fault of a config at once, and start nothing.
    Check {
        /// Print one JSON object, for programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// List what became of callbacks, show one, or bring one to the shop again.
    Callbacks {
        #[command(flatten)]
        admin: admin_client::AdminArguments,
        #[command(flatten)]
        config: ConfigArguments,
        #[command(subcommand)]
        command: callbacks::CallbacksCommand,
    },
    /// Mint or inspect the secret of a callback URL.
    Token {
        #[command(flatten)]
        config: ConfigArguments,
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Write the smallest config that works for a shop, with keys; asks for what no flag says.
    Init(init::InitArguments),
    /// Show what kallback does: a gateway, a sample shop and made-up Klarna traffic, without any set-up.
    Demo {
        /// End after this many seconds; without it, at Ctrl-C.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
    },
    /// Say what kallback would do with a request, and why, without sending anything.
    Explain {
        #[command(flatten)]
        explain: Box<explain::Arguments>,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Play Klarna: send a made-up callback to a gateway or to a bare shop, and say how it was answered.
    Trigger {
        #[command(flatten)]
        trigger: Box<trigger::Arguments>,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Look at the way from Klarna to the shop: which layer fails, and what to do. Exit code 1 if one does.
    Doctor {
        #[command(flatten)]
        arguments: doctor::DoctorArguments,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Ask a running kallback whether it is ready; exit code 0 if it is. For container health checks.
    Healthcheck {
        /// Its admin listener; without it, `admin.listen` of the config.
        #[arg(long, value_name = "IP:PORT")]
        address: Option<SocketAddr>,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Watch a running kallback: callbacks by state, their time against their budget, what is stuck.
    Top {
        #[command(flatten)]
        top: top::Top,
        #[command(flatten)]
        admin: admin_client::AdminArguments,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Write the man pages into a folder. For packages.
    #[command(hide = true)]
    Man {
        /// The folder.
        folder: PathBuf,
    },
    /// Print what a shell needs to complete command lines. For packages.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where the config comes from. A flag goes before an environment variable, and that before the file.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Config")]
struct ConfigArguments {
    /// The config file. Without one, environment and flags must say it all.
    #[arg(short, long, global = true, value_name = "FILE", env = "KALLBACK_CONFIG")]
    config: Option<PathBuf>,
    /// Set any option of the config: --set server.threads=4. May be repeated.
    #[arg(long, global = true, value_name = "SECTION.OPTION=VALUE", value_parser = option_and_value)]
    set: Vec<(String, String)>,
    /// Addresses that speak TLS, parted by commas (server.listen).
    #[arg(long, global = true, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where the shop is (shop.url).
    #[arg(long, global = true, value_name = "URL")]
    shop: Option<String>,
    /// The shop platforms whose rules are on, parted by commas (callbacks.presets).
    #[arg(long, global = true, value_name = "NAME")]
    presets: Option<String>,
    /// Where health and metrics are served, or `off` (admin.listen).
    #[arg(long, global = true, value_name = "IP:PORT")]
    admin_listen: Option<String>,
    /// `json` or `text` (log.format).
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: `info`, `kallback=debug` (log.filter).
    #[arg(long, global = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

/// Why a command failed.
#[derive(Debug, Error)]
enum Failure {
    /// Says "error" by itself, once for each fault.
    #[error(transparent)]
    Config(#[from] Faults),
    #[error("error: {0}")]
    Run(#[from] run::RunFault),
    #[error("error: {0}")]
    Token(#[from] token::TokenFault),
    #[error("error: not ready: {0}")]
    Unhealthy(#[from] healthcheck::NotReady),
    #[error("error: {0}")]
    Demo(#[from] demo::DemoFault),
    #[error("error: {0}")]
    Admin(#[from] admin_client::AdminFault),
    #[error("error: there is no callback {0} (any more); `kallback callbacks list` shows which there are")]
    NoCallback(i64),
    #[error("error: nobody is there to be asked; say --yes, or --dry-run to see what would happen")]
    Unconfirmed,
    #[error("error: {0}")]
    Explain(#[from] explain::ExplainFault),
    #[error("error: {0}")]
    Trigger(#[from] trigger::TriggerFault),
    #[error("error: {0}")]
    Init(#[from] init::InitFault),
    #[error("error: {0}")]
    Doctor(#[from] doctor::DoctorFault),
    #[error("error: {0}")]
    Papers(#[from] papers::PapersFault),
    #[error("error: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            // The command line says too little.
            Self::Init(init::InitFault::Missing(_))
            | Self::Doctor(doctor::DoctorFault::NoPreset | doctor::DoctorFault::Url(_)) => ExitCode::from(MISUSED),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs the command that `arguments` name; the first one is the program's name.
pub fn execute(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> ExitCode {
    let command = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line.command,
        Err(misuse) => return tell_misuse(&misuse, out, err),
    };
    match perform(command, out, err) {
        Ok(code) => code,
        Err(failure) => {
            // Where nobody can be told there is nothing left to do but to fail.
            let _ = writeln!(err, "{}", Causes(&failure));
            failure.code()
        }
    }
}

fn perform(command: Command, out: &mut (dyn Write + Send), err: &mut dyn Write) -> Result<ExitCode, Failure> {
    match command {
        Command::Run { take_over, config } => {
            let origins = config.origins();
            run::run(origins.load_and_make()?, origins, take_over)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { config, json: false } => Ok(check::for_people(&config.origins(), out, err)?),
        Command::Check { config, json: true } => Ok(check::for_programs(&config.origins(), out)?),
        Command::Callbacks { admin, config, command } => callbacks::run(&command, &admin.client(config)?, out, err),
        Command::Token { config, command } => {
            let settings = config.origins().load()?.settings;
            Ok(token::run(&command, &settings.token, &Clock::system(), out)?)
        }
        Command::Init(arguments) => {
            initialise(arguments, out, err)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { seconds } => Ok(if demo::run(seconds, out)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Explain { explain, config } => {
            let loaded = config.with_key_file(explain.key_file.as_deref()).origins().load_rules()?;
            Ok(explain::run(&explain, &loaded.settings, &Clock::system(), out)?)
        }
        Command::Trigger { trigger, config } => {
            let loaded = config.with_key_file(trigger.key_file.as_deref()).origins().load_rules()?;
            Ok(trigger::run(&trigger, &loaded.settings, out, err)?)
        }
        Command::Doctor { arguments, config } => {
            // Without a config there is still the way from outside to look at.
            let loaded = if config.config.is_some() { Some(config.origins().load()?) } else { None };
            Ok(doctor::run(&arguments, loaded.as_ref(), Clock::system(), out)?)
        }
        Command::Man { folder } => {
            papers::man(CommandLine::command(), &folder)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            papers::completions(CommandLine::command(), shell, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck { config, address } => {
            let address = match address {
                Some(address) => Some(address),
                None => config.origins().load()?.settings.admin.listen,
            };
            healthcheck::ask(address)?;
            writeln!(out, "ready")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Top { top, admin, config } => top.run(&admin.client(config)?, out),
    }
}

/// Questions go to the errors: the output may be for programs.
fn initialise(arguments: init::InitArguments, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), init::InitFault> {
    let stdin = io::stdin();
    let mut input = stdin.lock();
    let is_terminal = input.is_terminal();
    let people = is_terminal.then_some(init::People { input: &mut input, output: err });
    init::run(arguments, people, &Clock::system(), out)
}

/// Help and version go to the output and are no failure; what was written wrongly goes to the errors.
fn tell_misuse(misuse: &clap::Error, out: &mut (dyn Write + Send), err: &mut dyn Write) -> ExitCode {
    let text = misuse.render();
    let (told, code) = if misuse.use_stderr() {
        (write!(err, "{}", text.ansi()), ExitCode::from(MISUSED))
    } else {
        (write!(out, "{}", text.ansi()), ExitCode::SUCCESS)
    };
    if told.is_ok() { code } else { ExitCode::FAILURE }
}

impl ConfigArguments {
    /// The same with `token.key_file` set, to a file that must be there.
    fn with_key_file(mut self, file: Option<&Path>) -> Self {
        if let Some(file) = file {
            let file = file.to_string_lossy().into_owned();
            let options = [("token.key_file", file), ("token.make_development_key", "false".to_owned())];
            self.set.extend(options.map(|(option, value)| (option.to_owned(), value)));
        }
        self
    }

    fn origins(self) -> Origins {
        let named = [
            ("server.listen", self.listen),
            ("shop.url", self.shop),
            ("callbacks.presets", self.presets),
            ("admin.listen", self.admin_listen),
            ("log.format", self.log_format),
            ("log.filter", self.log_filter),
        ];
        let named = named.into_iter().filter_map(|(option, value)| Some((option.to_owned(), value?)));
        Origins { file: self.config, environment: environment(), flags: named.chain(self.set).collect() }
    }
}

/// All environment variables that are text.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn option_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((option, value)) if !option.trim().is_empty() => Ok((option.trim().to_owned(), value.to_owned())),
        _ => Err("write --set section.option=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute_with(arguments: &[&str]) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = std::iter::once("kallback").chain(arguments.iter().copied()).map(OsString::from);
        let code = execute(arguments, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_command_tree_is_sound() {
        CommandLine::command().debug_assert();
    }

    /// The command lines of all papers: what stands in blocks of `sh`, less comments and redirections.
    fn lines_of_the_papers() -> Vec<String> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let papers = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let texts = papers.chain([root.join("README.md")]).filter_map(|paper| std::fs::read_to_string(paper).ok());
        let blocks = texts.flat_map(|text| {
            let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
            blocks.collect::<Vec<_>>()
        });
        let lines = blocks.flat_map(|block| {
            let block = block.replace("\\\n", " ");
            block.lines().map(|line| line.split(['#', '>', '|']).next().unwrap().trim().to_owned()).collect::<Vec<_>>()
        });
        lines.filter(|line| line.starts_with("kallback ")).collect()
    }

    #[test]
    fn every_command_of_the_papers_is_understood() {
        let lines = lines_of_the_papers();
        assert!(lines.len() > 5, "{lines:?}");
        for line in lines {
            let words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            let understood = CommandLine::try_parse_from(words);
            assert!(understood.is_ok(), "{line}: {}", understood.unwrap_err());
        }
    }

    #[test]
    fn help_is_no_failure_and_misuse_is_another_one_than_a_fault() {
        let (code, out, err) = execute_with(&["--help"]);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        for command in
            ["run", "check", "callbacks", "token", "init", "demo", "explain", "trigger", "doctor", "healthcheck", "top"]
        {
            assert!(out.contains(command), "{out}");
        }
        let (code, out, err) = execute_with(&["chekc"]);
        assert_eq!((code, out.as_str()), (ExitCode::from(MISUSED), ""));
        assert!(err.contains("check"), "{err}");
        let (code, _, err) = execute_with(&["run", "--set", "nothing"]);
        assert_eq!(code, ExitCode::from(MISUSED));
        assert!(err.contains("section.option=value"), "{err}");
    }

    #[test]
    fn a_config_that_is_not_there_is_a_fault() {
        for command in ["check", "run"] {
            let (code, out, err) = execute_with(&[command, "--config", "/nowhere/k.toml"]);
            assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
            assert!(err.contains("cannot read the config file /nowhere/k.toml"), "{err}");
        }
    }

    #[test]
    fn the_example_is_checked_and_flags_reach_the_config() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
        let (code, out, err) = execute_with(&["check", "--config", example, "--listen", "127.0.0.1:7777"]);
        assert_eq!(code, ExitCode::SUCCESS, "{err}");
        assert!(out.starts_with("ok: ") && out.contains("127.0.0.1:7777"), "{out}");
        assert!(err.contains("warning: ") && err.contains("development"), "{err}");
        let (code, out, err) = execute_with(&["check", "--config", example, "--set", "server.lisen=x"]);
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
        assert!(err.contains("did you mean `server.listen`?"), "{err}");
    }

    #[test]
    fn programs_get_json_for_faults_and_for_a_sound_config() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
        let (code, out, err) = execute_with(&["check", "--json", "--config", example]);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["ok"], true);
        assert_eq!(told["warnings"][0]["option"], "tls.make_development_certificate");
        let (code, out, _) = execute_with(&["check", "--json", "--config", example, "--shop", "nowhere"]);
        assert_eq!(code, ExitCode::FAILURE);
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["faults"][0]["source"], "flag");
        assert_eq!(told["faults"][0]["option"], "shop.url");
    }
}
