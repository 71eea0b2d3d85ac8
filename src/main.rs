//! Hands the command line to [`kallback::cli`] and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    kallback::cli::execute(std::env::args_os(), &mut anstream::stdout(), &mut anstream::stderr())
}
