//! A first look that lets almost all traffic go by: which places can this target be at all?
//!
//! A place needs segments of the path and parameters of the query, and no spelling can do without them, save for
//! letter case, percent-encoding and what PHP takes for the same name. A target that shows no place's needs matches no
//! rule, and of the others only the places remain whose needs it shows.

mod path_words;

use std::ops::BitOrAssign;

use memchr::{memchr, memchr2, memchr2_iter};

use super::fold;
use super::names::Names;
use super::pattern::{Condition, Literal, Place};
use super::reading::{CARRIER, Rewrite, name_and_value, path_and_query};
use path_words::PathWords;

/// What a place needs, or what a target shows of it: a set of segments and parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Clues(u128);

/// The needs of all places.
#[derive(Debug)]
pub(super) struct Sieve {
    /// What the places need, by the last clue of each.
    needs: [Vec<Clues>; u128::BITS as usize],
    /// A place without needs: everything has to be looked at.
    open: bool,
    words: PathWords,
    word_clues: Vec<WordClues>,
    names: Names,
    parameters: Vec<Parameter>,
    clues: u32,
}

/// What a segment of the path shows.
#[derive(Debug, Default)]
struct WordClues {
    clues: Clues,
    /// Parameters that a [`Rewrite`] makes of what follows.
    makes: Vec<usize>,
}

/// A parameter that places ask for.
#[derive(Debug, Default)]
struct Parameter {
    clues: Clues,
    /// A value that any of the places wants contains one of these.
    values: Vec<Vec<u8>>,
    any_value: bool,
}

impl Default for Sieve {
    fn default() -> Self {
        let mut sieve = Self {
            needs: [const { Vec::new() }; u128::BITS as usize],
            open: false,
            words: PathWords::default(),
            word_clues: Vec::new(),
            names: Names::default(),
            parameters: Vec::new(),
            clues: 0,
        };
        // Whether or not some place asks for it: it may carry a parameter that one does.
        sieve.parameter(CARRIER);
        sieve
    }
}

impl Sieve {
    /// Adds a place. What it needs.
    pub(super) fn add(&mut self, place: &Place) -> Clues {
        let mut needs = Clues::default();
        for literal in place.literals() {
            needs |= self.segment(literal);
        }
        for condition in &place.conditions {
            needs |= self.condition(condition);
        }
        match needs.numbers().last() {
            Some(last) if self.needs[last].contains(&needs) => {}
            Some(last) => self.needs[last].push(needs),
            None => self.open = true,
        }
        needs
    }

    /// Adds a way in which the path shows parameters. All places have been added.
    pub(super) fn add_rewrite(&mut self, rewrite: &Rewrite) {
        let word = self.word(rewrite.marker.as_bytes(), false);
        if let Some((name, _)) = rewrite.adds {
            let added = self.parameter(name.as_bytes());
            self.word_clues[word].clues |= self.parameters[added].clues;
        }
        for name in rewrite.parameters {
            let made = self.parameter(&fold::name(name.as_bytes()));
            self.word_clues[word].makes.push(made);
        }
    }

    /// What `target` shows; `None` if that is not enough for any place. Never wrong when it says no.
    pub(super) fn look_at(&self, target: &[u8]) -> Option<Clues> {
        let (path, query) = path_and_query(target);
        let mut shown = self.shown_by_path(path, DECODED_MAX);
        self.names.each_candidate(query, |pair| shown |= self.shown_by_pair(pair));
        (self.open || self.are_enough(shown)).then_some(shown)
    }

    fn are_enough(&self, shown: Clues) -> bool {
        shown.numbers().any(|last| self.needs[last].iter().any(|&needs| shown.meet(needs)))
    }

    /// What `path` shows as it stands, and what it hides, decoded so often at most.
    fn shown_by_path(&self, path: &[u8], decode: u8) -> Clues {
        let mut shown = Clues::default();
        let hides = self.words.each_in(path, |word, rest| shown |= self.shown_by_word(word, rest));
        if hides && decode > 0 {
            shown |= self.shown_by_path(&fold::decoded_path(path), decode - 1);
        }
        shown
    }

    fn shown_by_word(&self, word: usize, rest: &[u8]) -> Clues {
        let WordClues { clues, makes } = &self.word_clues[word];
        let mut shown = *clues;
        for made in makes.iter().map(|&made| &self.parameters[made]).filter(|made| made.may_be_in(rest)) {
            shown |= made.clues;
        }
        shown
    }

    fn shown_by_pair(&self, pair: &[u8]) -> Clues {
        let (written_name, value) = name_and_value(pair);
        let name = fold::decoded_form(written_name);
        let mut shown = self.shown_by_parameter(&name, value);
        if memchr(b'%', &name).is_some() {
            shown |= self.shown_by_parameter(&fold::decoded_form(&name), value);
        }
        shown
    }

    fn shown_by_parameter(&self, name: &[u8], value: &[u8]) -> Clues {
        match self.names.find(name) {
            Some(number) if self.names.text(number) == CARRIER && memchr2(b'?', b'%', value).is_some() => Clues::ALL,
            Some(number) if self.parameters[number].may_be_in(value) => self.parameters[number].clues,
            _ => Clues::default(),
        }
    }

    fn segment(&mut self, literal: &Literal) -> Clues {
        let (text, begins) = literal.lower();
        if text.is_empty() {
            return Clues::default();
        }
        let word = self.word(&text, begins);
        if self.word_clues[word].clues == Clues::default() {
            self.word_clues[word].clues = self.next_clue();
        }
        self.word_clues[word].clues
    }

    fn word(&mut self, text: &[u8], begins: bool) -> usize {
        let word = self.words.add(text, begins);
        self.word_clues.resize_with(self.word_clues.len().max(word + 1), WordClues::default);
        word
    }

    fn condition(&mut self, condition: &Condition) -> Clues {
        let number = self.parameter(&condition.name);
        let parameter = &mut self.parameters[number];
        match condition.wanted.word() {
            Some(word) if parameter.values.contains(&word) => {}
            Some(word) => parameter.values.push(word),
            None => parameter.any_value = true,
        }
        parameter.clues
    }

    fn parameter(&mut self, name: &[u8]) -> usize {
        let number = self.names.add(name);
        if number == self.parameters.len() {
            let clues = self.next_clue();
            self.parameters.push(Parameter { clues, ..Parameter::default() });
        }
        number
    }

    /// Where there are more than bits, some share one: then the first look is less sharp, and not wrong.
    fn next_clue(&mut self) -> Clues {
        self.clues += 1;
        Clues(1 << (self.clues % u128::BITS))
    }
}

impl Clues {
    const ALL: Self = Self(u128::MAX);

    /// Whether they are enough for a place with these needs.
    pub(super) fn meet(self, needs: Self) -> bool {
        needs.0 & !self.0 == 0
    }

    fn numbers(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let number = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(number)
        })
    }
}

impl BitOrAssign for Clues {
    fn bitor_assign(&mut self, more: Self) {
        self.0 |= more.0;
    }
}

impl Parameter {
    /// Whether `written` (a value, or a path with values in it) may have what a place wants.
    fn may_be_in(&self, written: &[u8]) -> bool {
        self.any_value || memchr(b'%', written).is_some() || self.values.iter().any(|value| contains(written, value))
    }
}

/// As often as a [`Reading`](super::reading::Reading) decodes a path.
const DECODED_MAX: u8 = 2;

/// Whether `text` contains `word` (in lower case), letter case aside.
fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some(&first) = word.first() else { return true };
    memchr2_iter(first, first.to_ascii_uppercase(), text).any(|at| {
        let there = text.get(at..at + word.len());
        there.is_some_and(|there| there.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests;
