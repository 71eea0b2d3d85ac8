//! Lines of coloured words that know how wide they are.

use crate::cli::callbacks::wording::RESET;

/// One line of the screen.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    words: Vec<(Paint, String)>,
}

/// How words look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paint {
    Plain,
    Faint,
    Strong,
    Good,
    Waiting,
    Bad,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\x1b[2m",
            Self::Strong => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Waiting => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }

    /// How a state looks.
    pub(super) fn of_state(state: &str) -> Self {
        match state {
            "settled" => Self::Good,
            "pending" => Self::Waiting,
            "dead" => Self::Bad,
            _ => Self::Faint,
        }
    }
}

impl Line {
    /// A line of one look.
    pub(super) fn of(paint: Paint, text: impl Into<String>) -> Self {
        Self::default().with(paint, text)
    }

    /// With more words at its end.
    #[must_use]
    pub(super) fn with(mut self, paint: Paint, text: impl Into<String>) -> Self {
        self.words.push((paint, text.into()));
        self
    }

    /// Cut off after so many columns.
    #[must_use]
    pub(super) fn cut(mut self, columns: usize) -> Self {
        let mut room = columns;
        for (_, text) in &mut self.words {
            *text = cut(text, room);
            room -= width(text);
        }
        self
    }

    /// Its words alone.
    pub(super) fn plain(&self) -> String {
        self.words.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Its words with colours.
    pub(super) fn coloured(&self) -> String {
        let word = |(paint, text): &(Paint, String)| match paint.code() {
            "" => text.clone(),
            code => format!("{code}{text}{RESET}"),
        };
        self.words.iter().map(word).collect()
    }
}

/// At most so many columns of the text; what is cut off leaves a mark.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += columns_of(c);
        if used + 1 > columns {
            break;
        }
        short.push(c);
    }
    if columns > 0 {
        short.push('~');
    }
    short
}

fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// An order id is ASCII; for the rest, one column too many does no harm where one too few would wrap the line.
fn columns_of(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}
