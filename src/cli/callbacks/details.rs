//! One callback with all that is known of it, and what to do.

use std::fmt::Write;

use super::record::{Callback, Moment};
use super::wording::{RESET, age, colour, harmless, time};

/// The lines of `callbacks show`.
pub(super) fn of(callback: &Callback) -> String {
    let mut text = String::new();
    for (name, value) in lines(callback) {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{name:<13} {value}");
    }
    for (number, moment) in callback.history.iter().filter_map(in_words).enumerate() {
        let name = if number == 0 { "what happened" } else { "" };
        let _ = writeln!(text, "{name:<13} {moment}");
    }
    text
}

fn in_words(moment: &Moment) -> Option<String> {
    Some(match moment {
        Moment::Attempt { began_at, attempt, outcome, status, took_ms, note } => {
            let took = time(*took_ms);
            let status = status.map_or(String::new(), |status| format!(", the shop said {status}"));
            let note = if note.is_empty() { String::new() } else { format!(": {}", harmless(note)) };
            format!("{began_at}  attempt {attempt}: {} after {took}{status}{note}", harmless(outcome))
        }
        Moment::Joined { at } => format!("{at}  it came again, and joined"),
        Moment::Answered { at, by, status, took_ms } => {
            format!("{at}  its sender was answered {status} ({}) after {}", harmless(by), time(*took_ms))
        }
        Moment::ReplayOrdered { at } => format!("{at}  somebody had it brought again"),
        Moment::Unknown => return None,
    })
}

fn lines(callback: &Callback) -> Vec<(&'static str, String)> {
    let state = harmless(&callback.state);
    let mut lines = vec![
        ("number", callback.id.to_string()),
        ("state", format!("{}{state}{RESET}", colour(&state))),
        ("kind", format!("{}, by the rule `{}`", harmless(&callback.kind), harmless(&callback.route))),
        ("about", callback.subject.as_deref().map_or("no session or order id".to_owned(), harmless)),
        ("came", format!("{}, {} ago", callback.accepted_at, age(callback.age_seconds))),
        ("ended", ended(callback)),
        ("attempts", attempts(callback)),
        ("shop said", callback.status.map_or("nothing".to_owned(), |status| status.to_string())),
    ];
    lines.extend(callback.note.as_deref().map(|note| ("last attempt", harmless(note))));
    lines.extend(callback.blocked_by.as_deref().map(|name| ("blocked by", harmless(name))));
    if callback.repeats > 0 {
        lines.push(("came before", format!("{} times, each with a record of its own", callback.repeats)));
    }
    lines.push(("too old from", callback.expires_at.clone()));
    lines.push(("fingerprint", callback.fingerprint.clone()));
    lines.extend(callback.advice.as_deref().map(|advice| ("what to do", harmless(advice))));
    lines.push(("replay", replay(callback)));
    lines
}

fn ended(callback: &Callback) -> String {
    let budget = time(callback.budget_ms);
    match (&callback.ended_at, callback.took_ms) {
        (Some(at), Some(took)) => format!("{at}, after {}; the sender waits {budget}", time(took)),
        _ => format!("not yet; the sender waits {budget}"),
    }
}

fn attempts(callback: &Callback) -> String {
    match (callback.state.as_str(), callback.due_in_seconds) {
        ("pending", None) => format!("{}, the last one is at the shop now", callback.attempts),
        (_, Some(0)) => format!("{}, the next one is due now", callback.attempts),
        (_, Some(seconds)) => format!("{}, the next one in {}", callback.attempts, age(seconds)),
        _ => callback.attempts.to_string(),
    }
}

fn replay(callback: &Callback) -> String {
    let number = callback.id;
    match callback.replay.as_str() {
        "ready" if callback.state == "settled" => {
            format!("the shop has it; to bring it once more: kallback callbacks replay {number}")
        }
        "ready" => format!("kallback callbacks replay {number}"),
        "old" => format!("too old to be of use; all the same: kallback callbacks replay {number} --even-if-old"),
        obstacle => format!("not possible: {}", obstacle_in_words(obstacle)),
    }
}

/// Why a replay is not possible.
pub(super) fn obstacle_in_words(obstacle: &str) -> &str {
    match obstacle {
        "pending" => "kallback brings it by itself",
        "superseded" => "the same callback came again later, with a record of its own",
        "swept" => "its request is not stored any more (ledger.keep_bodies_for)",
        "old" => "it is older than its kind may become; --even-if-old brings it all the same",
        other => other,
    }
}
