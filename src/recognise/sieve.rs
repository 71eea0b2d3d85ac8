//! A first look that lets almost all traffic go by: can this target be a callback at all?
//!
//! Every place contains some word that no spelling can do without, save for letter case and percent-encoding. A
//! target with none of these words, and without an escape that could hide one, matches no rule.

use memchr::{memchr_iter, memchr2_iter};

use super::fold;

/// Words that stand in many places, best first. Few and rare words make the look short.
const PREFERRED: [&[u8]; 5] = [b"klarna", b"kco", b"wc-api", b"kustom", b"notify"];

/// Letters of European shops' URLs, the most common first.
const BY_FREQUENCY: &[u8] = b"etaoins-rhldcumfpg0123wybv456789kxj_qz";

/// The words of all rules.
#[derive(Debug)]
pub(super) struct Sieve {
    words: Vec<Word>,
    /// Which characters, written as an escape, could hide a word; and `%`, which hides escapes.
    hiding: [bool; 256],
    /// A place without any word: everything has to be looked at.
    open: bool,
}

#[derive(Debug)]
struct Word {
    text: Vec<u8>,
    rarest_at: usize,
}

impl Default for Sieve {
    fn default() -> Self {
        Self { words: Vec::new(), hiding: [false; 256], open: false }
    }
}

impl Sieve {
    /// Adds a place, known by the words that all of its spellings contain.
    pub(super) fn add(&mut self, words: &[Vec<u8>]) {
        let contains = |word: &[u8]| words.iter().any(|whole| memchr::memmem::find(whole, word).is_some());
        if self.words.iter().any(|known| contains(&known.text)) {
            return;
        }
        let preferred = PREFERRED.into_iter().find(|word| contains(word));
        match preferred.or_else(|| words.iter().map(Vec::as_slice).max_by_key(|word| word.len())) {
            Some(word) => self.watch_for(word),
            None => self.open = true,
        }
    }

    /// Whether `target` could match a rule. Never wrong when it says no.
    pub(super) fn lets_through(&self, target: &[u8]) -> bool {
        self.open
            || self.words.iter().any(|word| word.is_in(target))
            || memchr_iter(b'%', target).any(|at| self.hides(&target[at + 1..]))
    }

    fn watch_for(&mut self, word: &[u8]) {
        let rarity = |byte: u8| BY_FREQUENCY.iter().position(|&known| known == byte).unwrap_or(BY_FREQUENCY.len());
        let rarest_at = (0..word.len()).max_by_key(|&at| rarity(word[at])).unwrap_or_default();
        self.words.push(Word { text: word.to_vec(), rarest_at });
        for byte in word {
            self.hiding[usize::from(byte.to_ascii_lowercase())] = true;
            self.hiding[usize::from(byte.to_ascii_uppercase())] = true;
        }
        self.hiding[usize::from(b'%')] = true;
    }

    /// Whether the escape whose digits come first in `rest` could be part of a word.
    fn hides(&self, rest: &[u8]) -> bool {
        fold::escaped_byte(rest).is_some_and(|byte| self.hiding[usize::from(byte)])
    }
}

impl Word {
    fn is_in(&self, target: &[u8]) -> bool {
        let Some(&rarest) = self.text.get(self.rarest_at) else { return true };
        memchr2_iter(rarest.to_ascii_lowercase(), rarest.to_ascii_uppercase(), target).any(|at| {
            let start = at.wrapping_sub(self.rarest_at);
            let there = target.get(start..start.wrapping_add(self.text.len()));
            there.is_some_and(|there| there.eq_ignore_ascii_case(&self.text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sieve() -> Sieve {
        let mut sieve = Sieve::default();
        sieve.add(&[b"api".to_vec(), b"callbacks".to_vec()]);
        sieve.add(&[b"klarnacheckout".to_vec()]);
        sieve.add(&[b"checkout".to_vec(), b"klarna".to_vec()]);
        sieve
    }

    #[test]
    fn traffic_goes_by() {
        for target in ["/", "/shop/blue-mug?page=2", "/s?q=%C3%A4%20b%2Fc%5B%5D", "/callback", "/x?%", "/x?%6"] {
            assert!(!sieve().lets_through(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn a_word_is_seen_in_any_case_and_behind_any_escape() {
        for target in ["/API/CallBacks/x", "/klarna", "/?a=KLARNA", "/k%6carna", "/%4blarna", "/x%256b", "callbacks"] {
            assert!(sieve().lets_through(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn one_word_serves_all_places_that_contain_it() {
        assert_eq!(sieve().words.len(), 2);
    }

    #[test]
    fn a_place_without_words_opens_the_sieve() {
        let mut sieve = sieve();
        sieve.add(&[]);
        assert!(sieve.lets_through(b"/"));
    }
}
