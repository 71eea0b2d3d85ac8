//! Where a value of the config came from, and how that place is shown to people.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Longest piece of a line that is shown.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// Words in the name of an option that holds a secret.
const SECRET_WORDS: [&str; 4] = ["secret", "token", "key", "password"];

/// A run of hex digits this long may be a key, wherever it stands.
const HEX_RUN_MAX: usize = 24;

/// Where a value was set. The order is the precedence: what comes later wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Nowhere: it is a default, or it is missing.
    Default,
    /// Bytes of the config file.
    File(Range<usize>),
    /// An environment variable.
    Environment(Arc<str>),
    /// A flag of the command line.
    Flag(Arc<str>),
}

impl Place {
    /// Rank in the precedence.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

/// A place as it is shown: with line and column, and the line itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// No place: something is missing.
    Nowhere,
    /// The config file.
    File {
        /// Its name.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The line, with secrets and control characters covered.
        excerpt: String,
        /// How many characters of it are meant.
        width: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A flag, without its value.
    Flag(String),
}

impl Source {
    /// Finds line and column of `place` in the text of `file`.
    pub(super) fn of(place: &Place, file: &str, text: &str) -> Self {
        match place {
            Place::Default => Self::Nowhere,
            Place::Environment(name) => Self::Environment(name.to_string()),
            Place::Flag(name) => Self::Flag(name.to_string()),
            Place::File(span) => Self::in_file(span, file, text),
        }
    }

    fn in_file(span: &Range<usize>, file: &str, text: &str) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = floor(text, span.end).clamp(start, line_end);
        let line = text[line_start..line_end].trim_end_matches('\r');
        Self::File {
            file: file.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            excerpt: showable(line),
            width: text[start..end].trim_end_matches('\r').chars().count().max(1),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("config"),
            Self::File { file, line, column, .. } => write!(f, "{file}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The largest character boundary that is not beyond `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line as it may be shown: no secret, no control characters, not too long. Columns stay where they are, up to
/// the first covered secret.
fn showable(line: &str) -> String {
    let visible = match secret_starts_at(line) {
        Some(at) => &line[..at],
        None => line,
    };
    let mut shown: String =
        visible.chars().map(|one| if one.is_control() { ' ' } else { one }).take(SHOWN_CHARACTERS_MAX).collect();
    if visible.len() < line.len() || shown.chars().count() < visible.chars().count() {
        shown.push('…');
    }
    shown
}

/// Where a secret may begin in the line: after the `=` of an option that is named like one, at a long run of hex,
/// or in a URL.
fn secret_starts_at(line: &str) -> Option<usize> {
    let assigned = line.match_indices('=').find_map(|(at, _)| names_a_secret(&line[..at]).then_some(at + 1));
    // A URL with user and password.
    let signed_in = line.find("://").filter(|at| line[*at..].contains('@')).map(|at| at + "://".len());
    [assigned, signed_in, hex_run(line)].into_iter().flatten().min()
}

/// Whether the text ends with the name of an option that holds a secret. Names of files are none.
fn names_a_secret(before_equals: &str) -> bool {
    let name = before_equals
        .trim_end()
        .rsplit(|one: char| !(one.is_alphanumeric() || "_-.'\"".contains(one)))
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let name = name.trim_matches(['\'', '"']);
    !name.ends_with("_file") && SECRET_WORDS.iter().any(|word| name.contains(word)) && !HARMLESS.contains(&name)
}

/// Options that are named like secrets and hold none.
const HARMLESS: [&str; 4] = ["key", "sessions_per_token", "make_development_key", "key_id"];

fn hex_run(line: &str) -> Option<usize> {
    let mut start = 0;
    for (at, one) in line.char_indices() {
        if !one.is_ascii_hexdigit() {
            start = at + one.len_utf8();
        } else if at - start >= HEX_RUN_MAX {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_shows_a_secret() {
        for line in [
            r#"token = "geheim""#,
            r#"admin = { listen = "x", token = "geheim" }"#,
            r#"  "secret"="geheim""#,
            r#"toekn_secret = 'geheim'"#,
            r#"keys = ["1 geheim"]"#,
            r#"url = "https://user:geheim@shop""#,
            r#"signing_keys = [{ id = "a", secret = "geheim" }]"#,
        ] {
            assert!(!showable(line).contains("geheim"), "{line} -> {}", showable(line));
        }
        let hex = "a".repeat(64);
        assert!(!showable(&format!("  \"1 {hex}\",")).contains(&hex[..30]));
    }

    #[test]
    fn a_harmless_line_is_shown_whole() {
        for line in [r#"key_file = "/run/keys""#, r#"listen = "0.0.0.0:443" # 48 h"#, r#"key = "certs/dev.key""#] {
            assert_eq!(showable(line), line);
        }
        assert_eq!(showable("a\u{1b}[31mb"), "a [31mb");
    }

    #[test]
    fn line_and_column_count_characters_from_one() {
        let text = "a = 1\r\nöü = 2\r\n";
        let at = text.find('2').unwrap();
        match Source::of(&Place::File(at..at + 1), "k.toml", text) {
            Source::File { line, column, excerpt, width, .. } => {
                assert_eq!((line, column, excerpt.as_str(), width), (2, 6, "öü = 2", 1));
            }
            other => panic!("{other:?}"),
        }
    }
}
