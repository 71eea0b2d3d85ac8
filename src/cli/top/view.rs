//! What `top` shows: state, keys, and the lines that follow from them. No terminal, no clock, no network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Look;
use super::picture::{Line, Paint, cut};
use super::screen::Key;
use crate::cli::admin_client::AdminFault;
use crate::cli::callbacks::record::Callback;
use crate::cli::callbacks::wording::{age, harmless, time};

/// The state of the view.
pub(super) struct View {
    address: SocketAddr,
    every: Duration,
    look: Look,
    /// Why the last look failed, if it did.
    fault: Option<String>,
    /// Since the last look.
    waited: Duration,
    is_paused: bool,
    wants_look_now: bool,
    only: Only,
    order: Order,
    /// Callbacks above the first one that is shown.
    scrolled: usize,
}

/// Which callbacks are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    All,
    Undelivered,
    Pending,
    Dead,
    Blocked,
}

/// Which callback comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Newest,
    Oldest,
    Slowest,
}

impl View {
    pub(super) fn new(address: SocketAddr, every_seconds: u64) -> Self {
        Self {
            address,
            every: Duration::from_secs(every_seconds),
            look: Look::default(),
            fault: None,
            waited: Duration::ZERO,
            is_paused: false,
            wants_look_now: false,
            only: Only::All,
            order: Order::Newest,
            scrolled: 0,
        }
    }

    /// A look was taken. One that failed leaves what the last one saw.
    pub(super) fn saw(&mut self, look: Result<Look, AdminFault>) {
        self.wants_look_now = false;
        self.waited = Duration::ZERO;
        match look {
            Ok(look) => (self.look, self.fault) = (look, None),
            Err(fault) => self.fault = Some(fault.to_string()),
        }
    }

    /// Whether it is time for another look.
    pub(super) fn wants_look(&self, waited: Duration) -> bool {
        self.wants_look_now || (!self.is_paused && waited >= self.every)
    }

    pub(super) fn waited(&mut self, waited: Duration) {
        self.waited = waited;
    }

    /// Does what a key means. True: somebody wants no more of it.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Letter('q' | 'Q') | Key::Escape | Key::Interrupt => return true,
            Key::Letter('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Letter('r') => self.wants_look_now = true,
            Key::Letter('f') => (self.only, self.scrolled) = (self.only.next(), 0),
            Key::Letter('s') => (self.order, self.scrolled) = (self.order.next(), 0),
            Key::Up | Key::Letter('k') => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down | Key::Letter('j') => self.scrolled = (self.scrolled + 1).min(self.chosen().len().max(1) - 1),
            Key::Letter(_) => {}
        }
        false
    }

    /// At most so many lines of so many columns.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<Line> {
        let mut lines = self.head();
        let room = rows.saturating_sub(lines.len() + 1);
        let chosen = self.chosen();
        lines.extend(chosen.iter().skip(self.scrolled).take(room).map(|callback| line(callback, columns)));
        lines.resize(rows.saturating_sub(1), Line::default());
        lines.push(self.foot(chosen.len()));
        lines.truncate(rows);
        lines.into_iter().map(|line| line.cut(columns)).collect()
    }

    /// Everything, for where nobody scrolls.
    pub(super) fn all_lines(&self, columns: usize) -> Vec<Line> {
        let callbacks = self.chosen().into_iter().map(|callback| line(callback, columns));
        self.head().into_iter().chain(callbacks).map(|line| line.cut(columns)).collect()
    }

    fn head(&self) -> Vec<Line> {
        let counts = &self.look.counts;
        let if_any = |number: u64, paint: Paint| if number > 0 { paint } else { Paint::Plain };
        let oldest = self.look.callbacks.iter().filter(|callback| callback.state == "pending");
        let oldest = oldest.map(|callback| callback.age_seconds).max();
        let oldest = oldest.map_or_else(String::new, |seconds| format!(", the oldest {} old", age(seconds)));
        vec![
            Line::of(Paint::Strong, format!("kallback at {}", self.address))
                .with(Paint::Plain, "   ")
                .with(if self.fault.is_some() { Paint::Bad } else { Paint::Faint }, self.standing()),
            Line::of(if_any(counts.pending, Paint::Waiting), format!("pending {}{oldest}", counts.pending))
                .with(if_any(counts.dead, Paint::Bad), format!("   dead {}", counts.dead))
                .with(Paint::Plain, format!("   left {}   settled {}", counts.left, counts.settled))
                .with(Paint::Plain, format!("   accepted {}", counts.accepted)),
            self.blockers(),
            Line::default(),
            Line::of(Paint::Faint, heading()),
        ]
    }

    fn standing(&self) -> String {
        let every = self.every.as_secs();
        match (&self.fault, self.is_paused) {
            (Some(fault), _) => harmless(fault.lines().next().unwrap_or_default()),
            (None, true) => format!("paused, as of {} ago", age(self.waited.as_secs())),
            (None, false) => format!("every {every} s"),
        }
    }

    /// Who answered in the shop's place, of what the shop has not got.
    fn blockers(&self) -> Line {
        let mut blockers = BTreeMap::new();
        for callback in self.look.callbacks.iter().filter(|callback| is_undelivered(callback)) {
            if let Some(name) = &callback.blocked_by {
                *blockers.entry(name).or_insert(0) += 1;
            }
        }
        if blockers.is_empty() {
            return Line::of(Paint::Plain, "blocked by nobody");
        }
        let blockers: Vec<_> = blockers.iter().map(|(name, count)| format!("{} {count}", harmless(name))).collect();
        Line::of(Paint::Bad, format!("blocked by {}", blockers.join(", ")))
    }

    fn foot(&self, chosen: usize) -> Line {
        let keys = format!(
            "q quit  p {}  r look now  f show: {}  s first: {}",
            if self.is_paused { "go on" } else { "pause" },
            self.only.name(),
            self.order.name()
        );
        let place = if chosen == 0 { "none".to_owned() } else { format!("{}/{chosen}", self.scrolled + 1) };
        Line::of(Paint::Faint, format!("{keys}  {place}"))
    }

    fn chosen(&self) -> Vec<&Callback> {
        let mut chosen: Vec<_> = self.look.callbacks.iter().filter(|callback| self.only.takes(callback)).collect();
        match self.order {
            Order::Newest => {}
            Order::Oldest => chosen.reverse(),
            Order::Slowest => chosen.sort_by_key(|callback| std::cmp::Reverse(tenths_of_budget(callback))),
        }
        chosen
    }
}

impl Only {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Undelivered => "undelivered",
            Self::Pending => "pending",
            Self::Dead => "dead",
            Self::Blocked => "blocked",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::All => Self::Undelivered,
            Self::Undelivered => Self::Pending,
            Self::Pending => Self::Dead,
            Self::Dead => Self::Blocked,
            Self::Blocked => Self::All,
        }
    }

    fn takes(self, callback: &Callback) -> bool {
        match self {
            Self::All => true,
            Self::Undelivered => is_undelivered(callback),
            Self::Pending => callback.state == "pending",
            Self::Dead => callback.state == "dead",
            Self::Blocked => callback.blocked_by.is_some() && is_undelivered(callback),
        }
    }
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Slowest => "slowest",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Newest => Self::Oldest,
            Self::Oldest => Self::Slowest,
            Self::Slowest => Self::Newest,
        }
    }
}

fn is_undelivered(callback: &Callback) -> bool {
    callback.state != "settled" && callback.replay != "superseded"
}

/// How much of the sender's time it took: 10 is all of it.
fn tenths_of_budget(callback: &Callback) -> u64 {
    callback.time_ms().saturating_mul(10) / callback.budget_ms.max(1)
}

fn heading() -> String {
    format!(
        "{:>7} {:<14} {:<7} {:>6} {:>7} {:<12} {:>3} {}",
        "NUMBER", "KIND", "STATE", "AGE", "TOOK", "OF BUDGET", "TRY", "WHAT"
    )
}

fn line(callback: &Callback, columns: usize) -> Line {
    let tenths = tenths_of_budget(callback);
    let filled = usize::try_from(tenths.min(10)).unwrap_or(10);
    let bar = format!("[{}{}]", "#".repeat(filled), ".".repeat(10 - filled));
    let what = what(callback);
    let state = harmless(&callback.state);
    let took = if callback.took_ms.is_some() { time(callback.time_ms()) } else { "-".to_owned() };
    Line::of(Paint::Plain, format!("{:>7} {:<14} ", callback.id, cut(&harmless(&callback.kind), 14)))
        .with(Paint::of_state(&state), format!("{state:<7}"))
        .with(Paint::Plain, format!(" {:>6} {took:>7} ", age(callback.age_seconds)))
        .with(if tenths >= 10 { Paint::Bad } else { Paint::Good }, bar)
        .with(Paint::Plain, format!(" {:>3} {what}", callback.attempts))
        .cut(columns)
}

/// What went wrong comes first, since a narrow terminal cuts the end off.
fn what(callback: &Callback) -> String {
    let due = match callback.due_in_seconds {
        Some(seconds) => format!("again in {}", age(seconds)),
        None if callback.state == "pending" => "at the shop".to_owned(),
        None => String::new(),
    };
    let parts = [callback.note.as_deref().map(harmless), Some(due), callback.subject.as_deref().map(harmless)];
    let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}
