//! Where the pieces of a target begin: a path's segments, a query's parameters, the digits of escapes.
//!
//! Looks at eight bytes at once. Pieces are a few bytes long, and a call of `memchr` for each costs more than that.

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;

/// Hands `text` from the beginning of each piece on to `visit`. Pieces end at any of `separators`; the first one begins
/// where `text` does.
pub(super) fn each_piece<'a, const N: usize>(text: &'a [u8], separators: [u8; N], mut visit: impl FnMut(&'a [u8])) {
    visit(text);
    each_after(text, separators, visit);
}

/// Hands on what stands behind each of `separators`.
pub(super) fn each_after<'a, const N: usize>(text: &'a [u8], separators: [u8; N], mut visit: impl FnMut(&'a [u8])) {
    let mut hand_on = |eight: &'a [u8; 8], rest: &'a [u8], wanted: u64| {
        let mut found = positions(u64::from_le_bytes(*eight), separators) & wanted;
        while found != 0 {
            visit(&rest[found.trailing_zeros() as usize / 8 + 1..]);
            found &= found - 1;
        }
    };
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        hand_on(eight, rest, u64::MAX);
        rest = after;
    }
    match (text.last_chunk(), rest.len()) {
        (_, 0) => {}
        // The last eight once more, without those that have been looked at.
        (Some(eight), new) => hand_on(eight, &text[text.len() - 8..], u64::MAX << (8 * (8 - new))),
        (None, _) => {
            let ends = (1..=rest.len()).filter(|&end| separators.contains(&rest[end - 1]));
            ends.for_each(|end| visit(&rest[end..]));
        }
    }
}

/// The highest bit of each byte that is one of `separators`.
fn positions<const N: usize>(eight: u64, separators: [u8; N]) -> u64 {
    separators.iter().fold(0, |found, &separator| {
        let differs = eight ^ (EVERY_BYTE * u64::from(separator));
        found | !(((differs & LOW) + LOW) | differs | LOW)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_those_of_split(text in prop::collection::vec(prop::sample::select(&b"/\\%a\xaf\xdc\x2e\x00"[..]), 0..60)) {
            let mut found = Vec::new();
            each_piece(&text, [b'/', b'\\'], |rest| found.push(rest.len()));
            let mut left = text.len() + 1;
            let pieces = text.split(|byte| matches!(byte, b'/' | b'\\')).map(|piece| {
                let rest = left - 1;
                left -= piece.len() + 1;
                rest
            });
            prop_assert_eq!(found, pieces.collect::<Vec<_>>());
        }
    }
}
