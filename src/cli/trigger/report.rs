//! What `trigger` says: a line for each attempt, and one verdict.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::aim::Aim;
use super::play::{Attempt, Call, Calls, News, Plan};
use super::shop_count::ShopSaw;
use crate::klarna::Client;
use crate::klarna::habits::{self, Meaning};

/// More attempts get no line of their own.
const LINES_MAX: u32 = 50;

/// Clears what a wait was announced with.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Where people see it.
pub(super) struct Screen<'a> {
    out: Option<&'a mut (dyn Write + Send)>,
    /// A terminal that shows what is waited for.
    waits: Option<&'a mut dyn Write>,
    is_single: bool,
    lines: u32,
}

/// How it ended.
pub(super) struct Verdict {
    /// Callbacks whose sender is content.
    content: usize,
    /// Callbacks that ended, well or not.
    ended: usize,
    planned: u32,
    is_interrupted: bool,
    /// The slowest attempt of those that ended well.
    slowest: Duration,
    budget: Duration,
    /// What the last callback that went badly died of; what the only answer was.
    detail: String,
}

impl<'a> Screen<'a> {
    /// Says what is to come.
    pub(super) fn open(
        aim: &Aim,
        plan: &Plan,
        out: Option<&'a mut (dyn Write + Send)>,
        waits: Option<&'a mut dyn Write>,
    ) -> io::Result<Self> {
        let mut screen = Self { out, waits, is_single: plan.calls() == 1, lines: 0 };
        if let Some(out) = &mut screen.out {
            writeln!(out, "POST {}", aim.url)?;
            let from = aim
                .preset
                .map_or_else(|| "to the URL as given".to_owned(), |preset| format!("as {preset} receives it"));
            writeln!(out, "  {} {from}, {}; {}", aim.kind, aim.proof.text(), patience(aim))?;
            out.flush()?;
        }
        Ok(screen)
    }

    /// An attempt ended.
    pub(super) fn tell(&mut self, news: &News) -> io::Result<()> {
        self.clear_wait()?;
        let Some(out) = &mut self.out else { return Ok(()) };
        self.lines += 1;
        match self.lines {
            line if line <= LINES_MAX => {
                let call = if self.is_single { String::new() } else { format!("call {}, ", news.call) };
                writeln!(out, "  {call}attempt {}: {}", news.number, line_of(&news.attempt))?;
            }
            line if line == LINES_MAX + 1 => writeln!(out, "  …")?,
            _ => {}
        }
        out.flush()?;
        if let (Some(pause), Some(waits)) = (news.pause, &mut self.waits) {
            write!(waits, "  attempt {} in {}", news.number + 1, seconds(pause))?;
            waits.flush()?;
        }
        Ok(())
    }

    /// A round follows after a pause.
    pub(super) fn wait_for_round(&mut self, round: u32, plan: &Plan, pause: Duration) -> io::Result<()> {
        self.clear_wait()?;
        if let Some(waits) = &mut self.waits {
            let what = if plan.is_schedule { "push" } else { "round" };
            write!(waits, "  {what} {round} of {} in {}", plan.rounds(), seconds(pause))?;
            waits.flush()?;
        }
        Ok(())
    }

    /// Says how it ended.
    pub(super) fn close(&mut self, verdict: &Verdict, shop_saw: &ShopSaw) -> io::Result<()> {
        self.clear_wait()?;
        match &mut self.out {
            Some(out) => writeln!(out, "{verdict}; {shop_saw}"),
            None => Ok(()),
        }
    }

    fn clear_wait(&mut self) -> io::Result<()> {
        match &mut self.waits {
            Some(waits) => write!(waits, "{CLEAR_LINE}").and_then(|()| waits.flush()),
            None => Ok(()),
        }
    }
}

fn patience(aim: &Aim) -> String {
    let attempts = aim.letter.pauses.len() + 1;
    let reading = match aim.caller.client {
        Client::Whole => "for the answer",
        Client::Socket => "for each byte of the answer",
    };
    let (connect, read) = (habits::CONNECT_WITHIN.as_millis(), aim.letter.read_within.as_millis());
    format!("waits {connect} ms to connect and {read} ms {reading}, tries {attempts} {}", plural(attempts, "time"))
}

fn line_of(attempt: &Attempt) -> String {
    let status = attempt.status.map_or_else(|| "no answer".to_owned(), |status| status.as_u16().to_string());
    let by = if attempt.is_replay { ", from kallback's record" } else { "" };
    let steps = steps(attempt);
    match &attempt.verdict {
        Ok(meaning) => format!("{status} in {} ms{by}{steps}: {}", attempt.took.as_millis(), meaning_text(*meaning)),
        Err(why) => format!("{status} after {} ms{steps}: {why}", attempt.took.as_millis()),
    }
}

fn steps(attempt: &Attempt) -> String {
    let seen = &attempt.seen;
    let known = [
        ("look-up", seen.look_up),
        ("connect", seen.connect),
        ("TLS", seen.handshake),
        ("first byte", seen.first_byte),
    ];
    let known: Vec<String> =
        known.into_iter().filter_map(|(name, time)| Some(format!("{name} {}", time?.as_millis()))).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

fn meaning_text(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Received => "received",
        Meaning::Approved => "approved",
        Meaning::Refused => "refused, in a way that Kustom understands",
        Meaning::Failed(why) => why,
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn plural(number: usize, word: &str) -> String {
    if number == 1 { word.to_owned() } else { format!("{word}s") }
}

impl Verdict {
    pub(super) fn of(aim: &Aim, plan: &Plan, calls: &Calls) -> Self {
        let is_over = |call: &&Call| call.is_content() || call.attempts.len() > aim.letter.pauses.len();
        let ended: Vec<&Call> = calls.calls.iter().filter(is_over).collect();
        let content = || ended.iter().filter(|call| call.is_content());
        let slowest = content().filter_map(|call| call.attempts.last()).map(answer_time).max().unwrap_or_default();
        let detail = match ended.iter().rev().find(|call| !call.is_content()) {
            Some(call) => failure(aim, call),
            None => content().filter_map(|call| call.attempts.last()).next_back().map(success).unwrap_or_default(),
        };
        Self {
            content: content().count(),
            ended: ended.len(),
            planned: plan.calls(),
            is_interrupted: calls.is_interrupted,
            slowest,
            budget: aim.letter.read_within,
            detail,
        }
    }

    /// Something was sent, and its sender is content with all of it.
    pub(super) fn is_content(&self) -> bool {
        self.ended > 0 && self.content == self.ended
    }
}

/// What counts against the sender's limit: connecting has one of its own.
fn answer_time(attempt: &Attempt) -> Duration {
    attempt.seen.answer.unwrap_or(attempt.took)
}

fn success(attempt: &Attempt) -> String {
    match (attempt.status, &attempt.verdict) {
        (Some(status), Ok(Meaning::Refused)) => format!("{} (refused)", status.as_u16()),
        (Some(status), _) => status.as_u16().to_string(),
        (None, _) => String::new(),
    }
}

fn failure(aim: &Aim, call: &Call) -> String {
    let tries = call.attempts.len();
    let times = format!("after {tries} {}", plural(tries, "attempt"));
    match call.attempts.last() {
        Some(Attempt { verdict: Ok(meaning), status: Some(status), .. }) => {
            format!("{} {times}: {}", status.as_u16(), meaning_text(*meaning))
        }
        Some(Attempt { verdict: Err(why), .. }) => {
            format!("{why} {times}: {}", habits::silence(aim.kind, aim.is_indispensable))
        }
        _ => times,
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, ended, planned, is_interrupted, slowest, budget, detail } = self;
        let (slowest, budget) = (slowest.as_millis(), budget.as_millis());
        if *is_interrupted {
            write!(f, "stopped by Ctrl-C: ")?;
        }
        match (*planned, *content == *ended) {
            (_, true) if *ended == 0 => write!(f, "nothing was answered yet"),
            (1, true) => write!(f, "answered {detail} in {slowest} ms of {budget}"),
            (1, false) => write!(f, "NOT answered as it should be: {detail}"),
            (_, true) => write!(f, "{content} of {planned} answered, slowest in {slowest} ms of {budget}"),
            (_, false) => write!(
                f,
                "{content} of {planned} answered as they should be, NOT the others; the last of these: {detail}"
            ),
        }
    }
}

impl fmt::Display for ShopSaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(1) => write!(f, "shop saw 1 request"),
            Self::Requests(number) => write!(f, "shop saw {number} requests"),
            Self::Tries(1, states) => write!(f, "kallback tried the shop once ({states})"),
            Self::Tries(number, states) => write!(f, "kallback tried the shop {number} times ({states})"),
            Self::Unknown(why) => write!(f, "shop saw: unknown ({why})"),
        }
    }
}

/// The same for programs.
pub(super) fn as_json(aim: &Aim, plan: &Plan, calls: &Calls, verdict: &Verdict, shop_saw: &ShopSaw) -> Value {
    let (saw, tries, unknown) = match shop_saw {
        ShopSaw::Requests(number) => (Some(number), None, None),
        ShopSaw::Tries(number, _) => (None, Some(number), None),
        ShopSaw::Unknown(why) => (None, None, Some(why)),
    };
    json!({
        "ok": verdict.is_content(),
        "verdict": format!("{verdict}; {shop_saw}"),
        "kind": aim.kind.name(),
        "url": aim.url,
        "preset": aim.preset,
        "proof": aim.proof.text(),
        "budget_ms": millis(aim.letter.read_within),
        "planned": plan.calls(),
        "answered": verdict.content,
        "interrupted": verdict.is_interrupted,
        "shop_saw": saw,
        "shop_tries": tries,
        "shop_unknown": unknown,
        "calls": calls.calls.iter().map(|call| json!({
            "call": call.number,
            "attempts": call.attempts.iter().map(attempt_as_json).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn attempt_as_json(attempt: &Attempt) -> Value {
    let seen = &attempt.seen;
    let (meaning, error) = match &attempt.verdict {
        Ok(meaning) => (Some(meaning_text(*meaning)), None),
        Err(why) => (None, Some(why)),
    };
    json!({
        "status": attempt.status.map(|status| status.as_u16()),
        "ok": attempt.is_content(),
        "meaning": meaning,
        "error": error,
        "replayed": attempt.is_replay,
        "took_ms": millis(attempt.took),
        "look_up_ms": seen.look_up.map(millis),
        "connect_ms": seen.connect.map(millis),
        "handshake_ms": seen.handshake.map(millis),
        "first_byte_ms": seen.first_byte.map(millis),
        "answer_ms": seen.answer.map(millis),
        "addresses": seen.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
