//! The segments that rules ask for, found in a path by their first two bytes.

use crate::recognise::beginnings::{Beginnings, Candidates};
use crate::recognise::fold;
use crate::recognise::pieces::{each_after, each_piece};

/// Numbered segments, in lower case.
#[derive(Debug)]
pub(super) struct PathWords {
    words: Vec<Word>,
    beginnings: Beginnings,
    /// Which characters, written as an escape, could hide a word, the beginning of one, or another escape.
    hiding: [bool; 256],
}

#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: Vec<u8>,
    /// A segment only has to begin so.
    begins: bool,
}

impl Default for PathWords {
    fn default() -> Self {
        let mut beginnings = Beginnings::default();
        // Blanks go from a segment's ends, and an escape may be one.
        (0..=b' ').chain([b'%']).for_each(|byte| beginnings.leave_open_at_first(byte));
        let mut hiding = [false; 256];
        for byte in (0..=u8::MAX).filter(|byte| byte.is_ascii_hexdigit() || b"%/\\".contains(byte)) {
            hiding[usize::from(byte)] = true;
        }
        Self { words: Vec::new(), beginnings, hiding }
    }
}

impl PathWords {
    /// Adds a segment, unless it is known. Its number.
    pub(super) fn add(&mut self, text: &[u8], begins: bool) -> usize {
        let word = Word { text: text.to_ascii_lowercase(), begins };
        if let Some(known) = self.words.iter().position(|known| *known == word) {
            return known;
        }
        for &byte in &word.text {
            self.hiding[usize::from(byte)] = true;
            self.hiding[usize::from(byte.to_ascii_uppercase())] = true;
        }
        self.beginnings.add(|byte, position| {
            word.text.get(position).is_none_or(|&wanted| byte.to_ascii_lowercase() == wanted)
                // The escape itself is judged as such.
                || (position == 1 && byte == b'%')
        });
        self.words.push(word);
        self.words.len() - 1
    }

    /// Hands on the words that stand in `path`, each with what follows it. True if escapes may hide others.
    pub(super) fn each_in(&self, path: &[u8], mut visit: impl FnMut(usize, &[u8])) -> bool {
        let mut hides = false;
        each_piece(path, [b'/', b'\\'], |rest| {
            if self.candidates(rest).are_none() {
                return;
            }
            let text = without_blanks(rest);
            hides |= begins_with_escaped_blank(text);
            self.each_at(rest, &mut visit);
            if text.len() < rest.len() {
                self.each_at(text, &mut visit);
            }
        });
        hides || self.hides_in(path)
    }

    fn each_at(&self, rest: &[u8], visit: &mut impl FnMut(usize, &[u8])) {
        for number in self.beginnings.numbers(self.candidates(rest)) {
            if let Some(after) = self.words[number].before(rest) {
                visit(number, after);
            }
        }
    }

    fn candidates(&self, rest: &[u8]) -> Candidates {
        let at = |index: usize| rest.get(index).copied().unwrap_or(b'/');
        self.beginnings.candidates(at(0), at(1))
    }

    fn hides_in(&self, path: &[u8]) -> bool {
        let Some(at) = memchr::memchr(b'%', path) else { return false };
        let mut hides = false;
        each_after(&path[at..], [b'%'], |digits| {
            hides |= fold::escaped_byte(digits).is_some_and(|byte| self.hiding[usize::from(byte)]);
        });
        hides
    }
}

impl Word {
    /// What follows this word if `rest` begins with it, and if the segment may end there.
    fn before<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (start, after) = rest.split_at_checked(self.text.len())?;
        // Blanks, and what Java servers take off behind a `;`, do not count.
        let may_end = |next: &u8| *next <= b' ' || b"/\\;%".contains(next);
        (start.eq_ignore_ascii_case(&self.text) && (self.begins || after.first().is_none_or(may_end))).then_some(after)
    }
}

fn begins_with_escaped_blank(segment: &[u8]) -> bool {
    let digits = segment.strip_prefix(b"%");
    digits.and_then(fold::escaped_byte).is_some_and(|byte| byte <= b' ')
}

fn without_blanks(segment: &[u8]) -> &[u8] {
    let start = segment.iter().position(|byte| *byte > b' ').unwrap_or(segment.len());
    &segment[start..]
}
