//! Ages, times and states as people read them.

/// The colour of a state, as a terminal takes it; [`RESET`] ends it.
pub(in crate::cli) fn colour(state: &str) -> &'static str {
    match state {
        "settled" => "\x1b[32m",
        "pending" => "\x1b[33m",
        "dead" => "\x1b[31m",
        _ => "\x1b[2m",
    }
}

/// Ends a colour.
pub(in crate::cli) const RESET: &str = "\x1b[0m";

/// `12 s`, `4 min`, `3 h`, `2 d`: rounded down, one unit.
pub(in crate::cli) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `41 ms`, `1.5 s`, and from a minute on as [`age`].
pub(in crate::cli) fn time(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => age(millis / 1_000),
    }
}

/// Text from outside without what a terminal would obey: an order id may hold escape sequences.
pub(in crate::cli) fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// Neither a control character nor one that turns the direction of writing.
fn is_harmless(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times_have_one_unit() {
        assert_eq!([0, 59, 60, 3_599, 3_600, 172_800].map(age), ["0 s", "59 s", "1 min", "59 min", "1 h", "2 d"]);
        assert_eq!([41, 1_560, 59_999, 60_000].map(time), ["41 ms", "1.5 s", "59.9 s", "1 min"]);
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(harmless("a\x1b[2Jb\u{9b}c\r\u{202e}é"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}é");
    }
}
