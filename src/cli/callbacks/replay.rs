//! `kallback callbacks replay`: say what would happen, ask, do it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::details::obstacle_in_words;
use super::find;
use super::record::Callback;
use super::selection::Selection;
use super::wording::{age, harmless};
use crate::cli::Failure;
use crate::cli::admin_client::{AdminClient, AdminFault};

/// `kallback callbacks replay …`
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true)
    .args(["numbers", "undelivered", "state", "kind", "subject", "older_than", "younger_than"])))]
pub(in crate::cli) struct Replay {
    /// The callbacks' numbers.
    #[arg(value_name = "NUMBER",
          conflicts_with_all = ["undelivered", "state", "kind", "subject", "older_than", "younger_than"])]
    numbers: Vec<i64>,
    #[command(flatten)]
    selection: Selection,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also what is older than callbacks of its kind may become: an authorization token is void by then, and a late
    /// push can undo what people did by hand.
    #[arg(long)]
    even_if_old: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Of those that the filters find, so many at most, the newest.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object per callback, for programs.
    #[arg(long)]
    json: bool,
}

/// What became of one callback, or would.
struct Step {
    callback: Callback,
    /// Why it is not brought.
    obstacle: Option<String>,
}

impl Replay {
    pub(super) fn run(
        &self,
        client: &AdminClient,
        out: &mut (dyn Write + Send),
        err: &mut dyn Write,
    ) -> Result<ExitCode, Failure> {
        let callbacks = self.callbacks(client, err)?;
        let mut steps = Vec::new();
        for callback in callbacks {
            steps.push(self.order(client, callback, true)?);
        }
        let possible = steps.iter().filter(|step| step.obstacle.is_none()).count();
        if self.dry_run || possible == 0 {
            self.tell(&steps, out)?;
        } else if self.is_wanted(possible, &steps, err)? {
            for step in steps.iter_mut().filter(|step| step.obstacle.is_none()) {
                *step = self.order(client, step.callback.clone(), false)?;
            }
            self.tell(&steps, out)?;
        } else {
            writeln!(err, "nothing was changed")?;
            return Ok(ExitCode::FAILURE);
        }
        // Whoever names a callback means that one; filters mean what can be brought.
        let is_missed = !self.numbers.is_empty() && steps.iter().any(|step| step.obstacle.is_some());
        Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn callbacks(&self, client: &AdminClient, err: &mut dyn Write) -> Result<Vec<Callback>, Failure> {
        if !self.numbers.is_empty() {
            return self.numbers.iter().map(|number| find(client, *number)).collect();
        }
        let listed = self.selection.collect(client, self.limit)?;
        if listed.there_are_more {
            writeln!(err, "more callbacks fit than --limit allows; these are the newest {}", self.limit)?;
        }
        if listed.callbacks.is_empty() {
            writeln!(err, "no callbacks that fit")?;
        }
        Ok(listed.callbacks)
    }

    /// Tells the listener, which has the last word on what is possible.
    fn order(&self, client: &AdminClient, callback: Callback, dry_run: bool) -> Result<Step, AdminFault> {
        let order = json!({ "dry_run": dry_run, "even_if_old": self.even_if_old });
        match client.post(&format!("/callbacks/{}/replay", callback.id), &order) {
            Ok(_) => Ok(Step { callback, obstacle: None }),
            Err(AdminFault::Refused { what, replay, status }) if status.is_client_error() => {
                Ok(Step { callback, obstacle: Some(replay.unwrap_or(what)) })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Only somebody at a terminal can be asked.
    fn is_wanted(&self, possible: usize, steps: &[Step], err: &mut dyn Write) -> Result<bool, Failure> {
        if self.yes {
            return Ok(true);
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::Unconfirmed);
        }
        for step in steps {
            writeln!(err, "{}", self.line(step, "to bring"))?;
        }
        let what = if possible == 1 { "this callback".to_owned() } else { format!("{possible} callbacks") };
        write!(err, "Bring {what} to the shop again? [y/N] ")?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn tell(&self, steps: &[Step], out: &mut dyn Write) -> io::Result<()> {
        let done = if self.dry_run { "would be brought" } else { "is brought" };
        for step in steps {
            if self.json {
                let replayed = step.obstacle.is_none() && !self.dry_run;
                let (id, dry_run, obstacle) = (step.callback.id, self.dry_run, &step.obstacle);
                writeln!(
                    out,
                    "{}",
                    json!({ "id": id, "replayed": replayed, "dry_run": dry_run, "obstacle": obstacle })
                )?;
            } else {
                writeln!(out, "{}", self.line(step, done))?;
            }
        }
        Ok(())
    }

    fn line(&self, step: &Step, done: &str) -> String {
        let callback = &step.callback;
        let about = callback.subject.as_deref().map(|subject| format!(", {}", harmless(subject))).unwrap_or_default();
        let fate = match &step.obstacle {
            None if callback.replay == "old" => format!("{done}, old as it is"),
            None => done.to_owned(),
            Some(obstacle) => format!("not brought: {}", harmless(obstacle_in_words(obstacle))),
        };
        let (kind, state) = (harmless(&callback.kind), harmless(&callback.state));
        format!("{} ({kind}{about}, {state}, {} old): {fate}", callback.id, age(callback.age_seconds))
    }
}
