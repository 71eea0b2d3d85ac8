//! Callbacks as a table, one line each.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::record::Callback;
use super::wording::{RESET, age, colour, harmless, time};

/// The table with its heading; every line ends with a line feed.
pub(super) fn of(callbacks: &[Callback]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["NUMBER", "KIND", "STATE", "AGE", "TOOK", "ATTEMPTS", "SHOP", "ABOUT", "LAST ATTEMPT"]);
    for callback in callbacks {
        table.add_row(row(callback));
    }
    let text = table.to_string();
    let (heading, rows) = text.split_once('\n').unwrap_or((&text, ""));
    let rows = rows.lines().zip(callbacks).map(|(line, callback)| coloured(line, &callback.state));
    std::iter::once(format!("{}\n", heading.trim_end())).chain(rows).collect()
}

fn row(callback: &Callback) -> [String; 9] {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        callback.id.to_string(),
        harmless(&callback.kind),
        harmless(&callback.state),
        age(callback.age_seconds),
        or_nothing(callback.took_ms.map(time)),
        callback.attempts.to_string(),
        or_nothing(callback.status.map(|status| status.to_string())),
        or_nothing(callback.subject.as_deref().map(harmless)),
        or_nothing(callback.note.as_deref().map(harmless)),
    ]
}

/// The state stands before everything that comes from outside, so that its first place in the line is the right one.
fn coloured(line: &str, state: &str) -> String {
    let plain = format!(" {state} ");
    format!("{}\n", line.trim_end().replacen(&plain, &format!(" {}{state}{RESET} ", colour(state)), 1))
}
