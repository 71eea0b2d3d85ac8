//! `kallback top`: a running kallback, watched from a terminal; elsewhere, one look at it.

mod picture;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use self::screen::{Heard, Screen, Terminal};
use self::view::View;
use super::Failure;
use super::admin_client::{AdminClient, AdminFault};
use super::callbacks::record::Callback;
use crate::clock::Clock;

/// Callbacks of one look: the newest ones, and as many that the shop never took.
const CALLBACKS_MAX: u32 = 200;

/// Columns of a look that no terminal shows.
const COLUMNS_ELSEWHERE: usize = 120;

/// `kallback top …`
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Top {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Look once and end, as it does where there is no terminal.
    #[arg(long)]
    once: bool,
    /// Look once and print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// How many callbacks there are. See `docs/admin.md`.
#[derive(Clone, Debug, Default, Deserialize)]
struct Counts {
    accepted: u64,
    pending: u64,
    settled: u64,
    dead: u64,
    left: u64,
}

/// What one look found.
#[derive(Clone, Debug, Default)]
struct Look {
    counts: Counts,
    /// Newest first, each once.
    callbacks: Vec<Callback>,
    /// What was told, for programs.
    whole: Value,
}

impl Top {
    pub(super) fn run(&self, client: &AdminClient, out: &mut (dyn Write + Send)) -> Result<ExitCode, Failure> {
        if self.json {
            writeln!(out, "{}", Look::take(client)?.whole)?;
        } else if self.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let mut view = View::new(client.address(), self.every);
            view.saw(Ok(Look::take(client)?));
            for line in view.all_lines(COLUMNS_ELSEWHERE) {
                writeln!(out, "{}", line.coloured().trim_end())?;
            }
        } else {
            // Its first look is taken before the terminal is: a wrong address is an ordinary error.
            let first = Look::take(client)?;
            let mut screen = Screen::open(client.runtime())?;
            let mut view = View::new(client.address(), self.every);
            view.saw(Ok(first));
            watch(&mut view, &mut screen, &Clock::system(), || Look::take(client))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows the view until somebody wants no more of it.
fn watch(
    view: &mut View,
    terminal: &mut impl Terminal,
    clock: &Clock,
    mut look: impl FnMut() -> Result<Look, AdminFault>,
) -> io::Result<()> {
    let mut looked_at = clock.instant();
    loop {
        let (columns, rows) = terminal.size()?;
        terminal.show(&view.lines(columns, rows))?;
        match terminal.listen()? {
            Heard::Stop => return Ok(()),
            Heard::Keys(keys) => {
                if keys.into_iter().any(|key| view.press(key)) {
                    return Ok(());
                }
            }
        }
        let waited = clock.instant().saturating_duration_since(looked_at);
        if view.wants_look(waited) {
            view.saw(look());
            looked_at = clock.instant();
        } else {
            view.waited(waited);
        }
    }
}

impl Look {
    fn take(client: &AdminClient) -> Result<Self, AdminFault> {
        let counts = client.get("/counts")?;
        let mut callbacks = callbacks(client, "")?;
        // The stuck ones may be older than the newest few hundred.
        callbacks.extend(callbacks_not_among(&callbacks, callbacks_undelivered(client)?));
        callbacks.sort_by_key(|callback| std::cmp::Reverse(callback.id));
        let whole: Vec<&Value> = callbacks.iter().map(|callback| &callback.whole).collect();
        let whole = json!({ "counts": counts, "callbacks": whole });
        let counts = serde_json::from_value(counts).map_err(|why| client.stranger(&why))?;
        Ok(Self { counts, callbacks, whole })
    }
}

fn callbacks_undelivered(client: &AdminClient) -> Result<Vec<Callback>, AdminFault> {
    callbacks(client, "&undelivered=true")
}

fn callbacks_not_among(known: &[Callback], others: Vec<Callback>) -> Vec<Callback> {
    let known: std::collections::HashSet<i64> = known.iter().map(|callback| callback.id).collect();
    others.into_iter().filter(|callback| !known.contains(&callback.id)).collect()
}

fn callbacks(client: &AdminClient, filter: &str) -> Result<Vec<Callback>, AdminFault> {
    #[derive(Deserialize)]
    struct Page {
        callbacks: Vec<Value>,
    }
    let told = client.get(&format!("/callbacks?limit={CALLBACKS_MAX}{filter}"))?;
    let page: Page = serde_json::from_value(told).map_err(|why| client.stranger(&why))?;
    page.callbacks.into_iter().map(|record| Callback::read(record).map_err(|why| client.stranger(&why))).collect()
}

/// How often keys and signals are looked for.
const TICK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
