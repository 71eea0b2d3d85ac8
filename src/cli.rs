//! The command tree. Each command loads the config, does one thing, and says how it went.
//!
//! Exit codes: 0 when all went well, 1 when it did not, 2 when the command line itself is wrong.

mod check;
mod demo;
mod healthcheck;
mod inherit;
mod run;
pub mod token;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
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
    /// Mint or inspect the secret of a callback URL.
    Token {
        #[command(flatten)]
        config: ConfigArguments,
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Show what kallback does: a gateway, a sample shop and made-up Klarna traffic, without any set-up.
    Demo {
        /// End after this many seconds; without it, at Ctrl-C.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
    },
    /// Ask a running kallback whether it is ready; exit code 0 if it is. For container health checks.
    Healthcheck {
        /// Its admin listener; without it, `admin.listen` of the config.
        #[arg(long, value_name = "IP:PORT")]
        address: Option<SocketAddr>,
        #[command(flatten)]
        config: ConfigArguments,
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
    Output(#[from] io::Error),
}

/// Runs the command that `arguments` name; the first one is the program's name.
pub fn execute(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> ExitCode {
    let command = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line.command,
        Err(misuse) => return explain(&misuse, out, err),
    };
    match perform(command, out, err) {
        Ok(code) => code,
        Err(failure) => {
            // Where nobody can be told there is nothing left to do but to fail.
            let _ = writeln!(err, "{}", Causes(&failure));
            ExitCode::FAILURE
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
        Command::Token { config, command } => {
            let settings = config.origins().load()?.settings;
            Ok(token::run(&command, &settings.token, &Clock::system(), out)?)
        }
        Command::Demo { seconds } => Ok(if demo::run(seconds, out)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Healthcheck { config, address } => {
            let address = match address {
                Some(address) => Some(address),
                None => config.origins().load()?.settings.admin.listen,
            };
            healthcheck::ask(address)?;
            writeln!(out, "ready")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Help and version go to the output and are no failure; what was written wrongly goes to the errors.
fn explain(misuse: &clap::Error, out: &mut (dyn Write + Send), err: &mut dyn Write) -> ExitCode {
    let text = misuse.render();
    let (told, code) = if misuse.use_stderr() {
        (write!(err, "{}", text.ansi()), ExitCode::from(MISUSED))
    } else {
        (write!(out, "{}", text.ansi()), ExitCode::SUCCESS)
    };
    if told.is_ok() { code } else { ExitCode::FAILURE }
}

impl ConfigArguments {
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
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn help_is_no_failure_and_misuse_is_another_one_than_a_fault() {
        let (code, out, err) = execute_with(&["--help"]);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        for command in ["run", "check", "token", "demo", "healthcheck"] {
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
