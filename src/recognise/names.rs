//! The parameters that rules ask for, found in a query by their first two bytes.

use super::beginnings::Beginnings;
use super::fold;
use super::pieces::each_piece;

/// Numbered names of parameters, as [`fold::name`] says.
#[derive(Debug)]
pub(super) struct Names {
    texts: Vec<Vec<u8>>,
    beginnings: Beginnings,
}

impl Default for Names {
    fn default() -> Self {
        let mut beginnings = Beginnings::default();
        for byte in *b"%+ " {
            beginnings.leave_open_at_first(byte);
        }
        beginnings.leave_open_at_second(b'%');
        Self { texts: Vec::new(), beginnings }
    }
}

impl Names {
    /// Adds a folded name, unless it is known. Its number.
    pub(super) fn add(&mut self, name: &[u8]) -> usize {
        if let Some(known) = self.texts.iter().position(|text| text == name) {
            return known;
        }
        self.beginnings.add(|byte, position| may_stand(byte, name, position));
        self.texts.push(name.to_vec());
        self.texts.len() - 1
    }

    /// The name with that number.
    pub(super) fn text(&self, number: usize) -> &[u8] {
        &self.texts[number]
    }

    /// The number of a name that was decoded but not folded.
    pub(super) fn find(&self, decoded: &[u8]) -> Option<usize> {
        let start = decoded.iter().position(|&byte| byte != b' ').unwrap_or(decoded.len());
        let at = |index: usize| decoded.get(start + index).copied().unwrap_or(END);
        let candidates = self.beginnings.candidates(at(0), at(1));
        self.beginnings.numbers(candidates).find(|&number| fold::is_name(decoded, &self.texts[number]))
    }

    /// Hands on the pairs of `query` whose name may be one of these, in their order. All others are none of these.
    pub(super) fn each_candidate<'a>(&self, query: &'a [u8], mut visit: impl FnMut(&'a [u8])) {
        each_piece(query, [b'&'], |rest| {
            let [first, second] = rest.first_chunk().copied().unwrap_or([rest.first().copied().unwrap_or(END), END]);
            if !self.beginnings.candidates(first, second).are_none() {
                self.look_closer(rest, &mut visit);
            }
        });
    }

    /// Apart, so that the loop over a query's parameters stays short.
    #[inline(never)]
    fn look_closer<'a>(&self, rest: &'a [u8], visit: &mut impl FnMut(&'a [u8])) {
        if self.may_begin_decoded(rest) {
            visit(&rest[..memchr::memchr(b'&', rest).unwrap_or(rest.len())]);
        }
    }

    /// PHP drops leading blanks. What is left of an escape may be one again: then the whole name has to be looked at.
    fn may_begin_decoded(&self, rest: &[u8]) -> bool {
        let (mut first, mut rest) = next_decoded(rest);
        while matches!(first, b' ' | b'+') {
            (first, rest) = next_decoded(rest);
        }
        let (second, _) = next_decoded(rest);
        first == b'%' || second == b'%' || !self.beginnings.candidates(first, second).are_none()
    }
}

/// What a text is followed by where it ends.
const END: u8 = b'&';

/// Whether `byte` may stand for the character of `name` at `position`, or for the name's end.
fn may_stand(byte: u8, name: &[u8], position: usize) -> bool {
    match name.get(position) {
        Some(b'_') => matches!(byte, b'_' | b'.' | b'[' | b' ' | b'+'),
        Some(&wanted) => byte.to_ascii_lowercase() == wanted,
        None => position > name.len() || matches!(byte, b'=' | END | 0),
    }
}

fn next_decoded(text: &[u8]) -> (u8, &[u8]) {
    match text {
        [b'%', rest @ ..] => fold::escaped_byte(rest).map_or((b'%', rest), |byte| (byte, &rest[2..])),
        [byte, rest @ ..] => (*byte, rest),
        [] => (END, text),
    }
}
