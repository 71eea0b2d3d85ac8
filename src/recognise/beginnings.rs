//! Many words told from a text by the first two bytes of it: two look-ups, however many words there are.

/// Numbered words by the bytes that they may begin with.
#[derive(Debug)]
pub(super) struct Beginnings {
    first: [u64; 256],
    second: [u64; 256],
    words: usize,
}

/// The words that may begin a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidates(u64);

/// Words share the other bits; this one is for texts that two bytes do not decide.
const UNDECIDED: u64 = 1 << SHARED;
const SHARED: usize = 63;

impl Default for Beginnings {
    fn default() -> Self {
        Self { first: [0; 256], second: [UNDECIDED; 256], words: 0 }
    }
}

impl Beginnings {
    /// Adds the next word, known by the bytes that may stand at its position 0 and 1.
    pub(super) fn add(&mut self, may_stand: impl Fn(u8, usize) -> bool) {
        let bit = 1 << (self.words % SHARED);
        self.words += 1;
        for byte in 0..=u8::MAX {
            self.first[usize::from(byte)] |= if may_stand(byte, 0) { bit } else { 0 };
            self.second[usize::from(byte)] |= if may_stand(byte, 1) { bit } else { 0 };
        }
    }

    /// A text that begins with this byte may be any word.
    pub(super) fn leave_open_at_first(&mut self, byte: u8) {
        self.first[usize::from(byte)] = u64::MAX;
    }

    /// A text whose second byte is this one may be any word that begins like it.
    pub(super) fn leave_open_at_second(&mut self, byte: u8) {
        self.second[usize::from(byte)] = u64::MAX;
    }

    /// The words that may begin so.
    pub(super) fn candidates(&self, first: u8, second: u8) -> Candidates {
        Candidates(self.first[usize::from(first)] & self.second[usize::from(second)])
    }

    /// Their numbers.
    pub(super) fn numbers(&self, candidates: Candidates) -> impl Iterator<Item = usize> + use<> {
        let words = self.words;
        let mut left = candidates.0 & !UNDECIDED;
        let bits = std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(bit)
        });
        bits.flat_map(move |bit| (bit..words).step_by(SHARED))
    }
}

impl Candidates {
    /// No word begins so.
    pub(super) fn are_none(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beyond_the_bits_are_found_too() {
        let mut beginnings = Beginnings::default();
        for number in 0..200 {
            beginnings.add(|byte, position| position == 1 || usize::from(byte) == number);
        }
        let numbers: Vec<_> = beginnings.numbers(beginnings.candidates(150, b'x')).collect();
        assert!(numbers.contains(&150));
        assert!(beginnings.candidates(201, b'x').are_none());
    }
}
