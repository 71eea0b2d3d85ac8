//! `kallback callbacks list|show|replay`: what became of the callbacks, and bringing one to the shop again.

mod details;
pub(super) mod record;
mod replay;
mod selection;
mod table;
pub(super) mod wording;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::record::Callback;
use self::replay::Replay;
use self::selection::Selection;
use super::Failure;
use super::admin_client::{AdminClient, AdminFault};

/// `kallback callbacks …`
#[derive(Clone, Debug, Subcommand)]
pub(super) enum CallbacksCommand {
    /// List callbacks, newest first.
    List(List),
    /// Show one callback: what became of it, who blocked it, and what to do.
    Show(Show),
    /// Bring callbacks to the shop again: by number, or by the same filters as `list`.
    Replay(Replay),
}

/// `kallback callbacks list …`
#[derive(Clone, Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    selection: Selection,
    /// So many at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

/// `kallback callbacks show …`
#[derive(Clone, Debug, Args)]
pub(super) struct Show {
    /// The callback's number.
    number: i64,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(
    command: &CallbacksCommand,
    client: &AdminClient,
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    match command {
        CallbacksCommand::List(list) => list.run(client, out, err),
        CallbacksCommand::Show(show) => show.run(client, out),
        CallbacksCommand::Replay(replay) => replay.run(client, out, err),
    }
}

impl List {
    fn run(
        &self,
        client: &AdminClient,
        out: &mut (dyn Write + Send),
        err: &mut dyn Write,
    ) -> Result<ExitCode, Failure> {
        let listed = self.selection.collect(client, self.limit)?;
        if self.json {
            for callback in &listed.callbacks {
                writeln!(out, "{}", callback.whole)?;
            }
        } else if listed.callbacks.is_empty() {
            writeln!(err, "no callbacks{}", if self.selection.is_all() { "" } else { " that fit" })?;
        } else {
            write!(out, "{}", table::of(&listed.callbacks))?;
        }
        if listed.there_are_more && !self.json {
            writeln!(err, "there are more; say --limit")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    fn run(&self, client: &AdminClient, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let callback = find(client, self.number)?;
        if self.json {
            writeln!(out, "{}", callback.whole)?;
        } else {
            write!(out, "{}", details::of(&callback))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn find(client: &AdminClient, number: i64) -> Result<Callback, Failure> {
    let told = client.get(&format!("/callbacks/{number}")).map_err(|fault| match fault {
        AdminFault::Refused { status: http::StatusCode::NOT_FOUND, .. } => Failure::NoCallback(number),
        other => Failure::Admin(other),
    })?;
    Ok(Callback::read(told).map_err(|why| client.stranger(&why))?)
}
