//! Shows the demo: a table that changes in place on a terminal, plain lines elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::Options;
use super::scenes::{Answerer, Mood, What};
use super::shop::Visits;
use super::stage::{Answer, Progress, Row, Rows};
use super::traffic::Totals;
use crate::clock::Clock;

/// Where the demo is shown.
pub(super) struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    live: bool,
    clock: Clock,
    /// Lines of the table that is on the terminal now.
    drawn_lines: usize,
    /// Answers and endings of each scene that were printed already.
    printed: Vec<Printed>,
    /// Callbacks of the traffic when it was last printed.
    printed_traffic: u64,
}

#[derive(Clone, Copy, Default)]
struct Printed {
    title: bool,
    answers: usize,
    ended: bool,
}

/// Plain lines tell of the traffic after so many more callbacks.
const TRAFFIC_PRINTED_EVERY: u64 = 20;

// A line that is too long is cut rather than wrapped, so that the lines on the terminal are the lines we count.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";
const CLEAR_BELOW: &str = "\x1b[J";

impl<'a> Screen<'a> {
    /// Says what is to come.
    pub(super) fn open(out: &'a mut (dyn Write + Send), options: &Options) -> io::Result<Self> {
        writeln!(out, "kallback stands in front of a small shop. Klarna calls: it waits 2 s, and tries three times.")?;
        writeln!(
            out,
            "The shop makes an order of every callback that reaches it. Every callback must make one order.\n"
        )?;
        out.flush()?;
        let (live, clock) = (options.live, options.clock.clone());
        Ok(Self { out, live, clock, drawn_lines: 0, printed: Vec::new(), printed_traffic: 0 })
    }

    /// Shows what has happened since the last time.
    pub(super) fn draw(&mut self, rows: &Rows) -> io::Result<()> {
        if self.live { self.redraw(rows) } else { self.print_news(rows) }
    }

    /// Shows how it ended.
    pub(super) fn close(&mut self, rows: &Rows) -> io::Result<()> {
        if self.live {
            self.redraw(rows)?;
        } else {
            self.print_news(rows)?;
            writeln!(self.out, "\n{}", self.table(rows))?;
        }
        writeln!(self.out)?;
        for row in &rows.scenes {
            match &row.progress {
                Progress::Ended(faults) if faults.is_empty() => writeln!(self.out, "  {}", row.scene.shows)?,
                Progress::Ended(faults) => {
                    writeln!(self.out, "  FAILED, {}: {}.", row.scene.name, faults.join("; "))?;
                }
                _ => writeln!(self.out, "  NOT SHOWN to its end: {}.", row.scene.name)?,
            }
        }
        self.out.flush()
    }

    fn redraw(&mut self, rows: &Rows) -> io::Result<()> {
        let text = format!("{}\n{}", self.table(rows), self.now(rows));
        if self.drawn_lines > 0 {
            write!(self.out, "\x1b[{}A\r{CLEAR_BELOW}", self.drawn_lines)?;
        }
        writeln!(self.out, "{WRAP_OFF}{text}{WRAP_ON}")?;
        self.drawn_lines = text.lines().count();
        self.out.flush()
    }

    fn table(&self, rows: &Rows) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["", "scene", "callbacks", "slowest answer", "came from", "asked", "orders"]);
        for row in &rows.scenes {
            let (mark, numbers) = match &row.progress {
                Progress::Waiting => ("", None),
                Progress::Playing(..) => ("...", Some(row.visits)),
                Progress::Ended(faults) if faults.is_empty() => ("ok", Some(row.visits)),
                Progress::Ended(_) => ("NO", Some(row.visits)),
            };
            let number = |one: fn(Visits) -> u32| numbers.map(|visits| one(visits).to_string()).unwrap_or_default();
            let (asked, orders) = (number(|visits| visits.asked), number(|visits| visits.orders));
            let name = row.scene.name.to_owned();
            table.add_row([mark.to_owned(), name, sent(row), slowest(row), sources(row), asked, orders]);
        }
        // Together less than the 80 columns of a small terminal.
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 1));
        });
        table
    }

    /// What is going on at this moment.
    fn now(&self, rows: &Rows) -> String {
        let playing = rows.scenes.iter().find_map(|row| match row.progress {
            Progress::Playing(since, mood) => Some((row, since, mood)),
            _ => None,
        });
        match playing {
            Some((row, since, mood)) => {
                let passed = self.clock.instant().duration_since(since).as_secs_f64();
                format!("{:4.1} s  the shop {}\n        {}", passed, condition(mood), row.scene.shows)
            }
            None => traffic(&rows.traffic),
        }
    }

    fn print_news(&mut self, rows: &Rows) -> io::Result<()> {
        self.printed.resize(rows.scenes.len(), Printed::default());
        for (row, printed) in rows.scenes.iter().zip(&mut self.printed) {
            if row.progress == Progress::Waiting {
                continue;
            }
            if !printed.title {
                writeln!(self.out, "{}: {}", row.scene.name, row.scene.shows)?;
                printed.title = true;
            }
            for answer in row.answers.iter().skip(printed.answers) {
                writeln!(self.out, "    {}", line(answer))?;
            }
            printed.answers = row.answers.len();
            if let (Progress::Ended(faults), false) = (&row.progress, printed.ended) {
                let verdict = if faults.is_empty() { "as it should".to_owned() } else { faults.join("; ") };
                let (asked, orders) = (row.visits.asked, row.visits.orders);
                writeln!(self.out, "    the shop: asked {asked}, orders {orders}; {verdict}")?;
                printed.ended = true;
            }
        }
        if rows.traffic.callbacks >= self.printed_traffic + TRAFFIC_PRINTED_EVERY {
            self.printed_traffic = rows.traffic.callbacks;
            writeln!(self.out, "{}", traffic(&rows.traffic))?;
        }
        self.out.flush()
    }
}

fn sent(row: &Row) -> String {
    let callbacks = row.scene.calls.iter().filter(|call| call.what != What::Page);
    let count: u32 = callbacks.clone().map(|call| call.copies).sum();
    let name = callbacks.map(|call| name_of(call.what)).next().unwrap_or_default();
    if count == 1 { name.to_owned() } else { format!("{count} x {name}") }
}

fn slowest(row: &Row) -> String {
    match row.answers.iter().max_by_key(|answer| answer.took) {
        Some(answer) => format!("{} of {} ms", answer.took.as_millis(), answer.budget.as_millis()),
        None => String::new(),
    }
}

fn sources(row: &Row) -> String {
    let known = [
        (Some(Answerer::Shop), "shop"),
        (Some(Answerer::Kallback), "kallback"),
        (Some(Answerer::Replay), "replay"),
        (None, "nobody"),
    ];
    let present = known.into_iter().filter(|(by, _)| row.answers.iter().any(|answer| answer.by() == *by));
    present.map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

fn line(answer: &Answer) -> String {
    let source = answer.by().map_or("in no words", Answerer::text);
    format!("{}: answered {answer}, {source}; Klarna waits {} ms", name_of(answer.what), answer.budget.as_millis())
}

fn name_of(what: What) -> &'static str {
    match what {
        What::Callback(kind) => kind.name(),
        What::Forgery(_) => "forgery",
        What::Page => "page",
    }
}

fn condition(mood: Mood) -> String {
    let seconds = |time: Duration| time.as_secs_f64();
    match mood {
        Mood::Well => "is well".to_owned(),
        Mood::Slow(time) => format!("takes {} s for a callback", seconds(time)),
        Mood::SlowPages(time) => format!("takes {} s for a page", seconds(time)),
        Mood::Dead => "is dead: connections are refused".to_owned(),
        Mood::Firewalled => "is behind a firewall that answers 403".to_owned(),
    }
}

fn traffic(totals: &Totals) -> String {
    let Totals { callbacks, in_time, once } = totals;
    format!(
        "More callbacks, while the shop is well, slow and dead in turn; Ctrl-C ends it.\n        {callbacks} answered, \
         {in_time} of them in time at the first attempt; {once} have their one order"
    )
}
