//! What the shops' platforms take for the same text, byte by byte.
//!
//! Everything here works on bytes: text that is not UTF-8 after decoding must not slip past a comparison.

use std::borrow::Cow;

/// How much two texts may differ and still be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fold {
    /// By letter case, and by blanks and control characters at the ends.
    Case,
    /// By everything that is neither letter nor digit: WordPress, OpenCart and PrestaShop delete punctuation.
    Letters,
}

/// Undoes percent-encoding as PHP does: `%` without two hex digits behind it stays as it is.
#[derive(Debug, Default)]
pub(super) struct Unescape {
    /// `%`, or `%` and one digit, that may still become a character.
    pending: [u8; 2],
    pending_len: usize,
}

impl Unescape {
    /// Takes the next byte; what is certain by then goes to `out`.
    pub(super) fn push(&mut self, byte: u8, out: &mut impl FnMut(u8)) {
        match self.pending_len {
            1 if byte.is_ascii_hexdigit() => self.hold(byte),
            2 if byte.is_ascii_hexdigit() => {
                self.pending_len = 0;
                out(hex_value(self.pending[1]) << 4 | hex_value(byte));
            }
            _ => {
                self.flush(out);
                if byte == b'%' { self.hold(byte) } else { out(byte) }
            }
        }
    }

    /// The text ends here: what is left was no escape.
    pub(super) fn flush(&mut self, out: &mut impl FnMut(u8)) {
        self.pending[..self.pending_len].iter().copied().for_each(out);
        self.pending_len = 0;
    }

    fn hold(&mut self, byte: u8) {
        self.pending[self.pending_len] = byte;
        self.pending_len += 1;
    }
}

/// `path` without its percent-encoding; a `+` stays.
pub(super) fn decoded_path(path: &[u8]) -> Cow<'_, [u8]> {
    decoded(path, false)
}

/// A name or value of a query or form without its encoding; `+` is a blank.
pub(super) fn decoded_form(text: &[u8]) -> Cow<'_, [u8]> {
    decoded(text, true)
}

fn decoded(text: &[u8], plus_is_blank: bool) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', if plus_is_blank { b'+' } else { b'%' }, text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut unescape = Unescape::default();
    for &byte in text {
        let byte = if byte == b'+' && plus_is_blank { b' ' } else { byte };
        unescape.push(byte, &mut |byte| plain.push(byte));
    }
    unescape.flush(&mut |byte| plain.push(byte));
    Cow::Owned(plain)
}

/// A parameter's name as PHP files it, byte by byte: leading blanks go, it ends at a NUL, and what cannot stand in a
/// variable's name becomes `_`. In lower case.
#[derive(Debug, Default)]
pub(super) struct Name {
    text: Vec<u8>,
    ended: bool,
}

impl Name {
    /// Takes the next decoded byte; more than `bytes_max` are not kept, only noticed.
    pub(super) fn push(&mut self, byte: u8, bytes_max: usize) {
        match byte {
            _ if self.ended || self.is_too_long(bytes_max) => {}
            0 => self.ended = true,
            b' ' if self.text.is_empty() => {}
            b' ' | b'.' | b'[' => self.text.push(b'_'),
            _ => self.text.push(byte.to_ascii_lowercase()),
        }
    }

    /// Longer than any name of `bytes_max`: the rest does not matter.
    pub(super) fn is_too_long(&self, bytes_max: usize) -> bool {
        self.text.len() > bytes_max
    }

    /// What the name is so far.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Starts the next name.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ended = false;
    }
}

/// The whole of a decoded name, folded like [`Name`].
pub(super) fn name(decoded: &[u8]) -> Vec<u8> {
    lower(filed_name(decoded)).collect()
}

/// Whether [`name`] makes `wanted` of `decoded`.
pub(super) fn is_name(decoded: &[u8], wanted: &[u8]) -> bool {
    lower(filed_name(decoded)).eq(wanted.iter().copied())
}

/// Whether PHP files both decoded names alike. Letter case counts.
pub(super) fn is_same_name(one: &[u8], other: &[u8]) -> bool {
    filed_name(one).eq(filed_name(other))
}

fn filed_name(decoded: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let kept = decoded.iter().skip_while(|byte| **byte == b' ').take_while(|byte| **byte != 0);
    kept.map(|byte| if b" .[".contains(byte) { b'_' } else { *byte })
}

/// The letters and digits of `text`, in lower case.
pub(super) fn letters(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    lower(text.iter().copied().filter(u8::is_ascii_alphanumeric))
}

fn lower(text: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
    text.map(|byte| byte.to_ascii_lowercase())
}

/// `text` without blanks and control characters at its ends: a regular expression's `$` also matches before a last
/// line break, and a name may be cut at a NUL.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte <= b' ';
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// `text` without slashes at its end, as WordPress looks at a REST route.
pub(super) fn without_trailing_slashes(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !matches!(byte, b'/' | b'\\')).map_or(0, |last| last + 1);
    &text[..end]
}

/// Whether deleting characters from `text` can leave exactly `wanted` (lower-case letters and digits).
pub(super) fn deletes_to(text: &[u8], wanted: &[u8]) -> bool {
    let mut rest = wanted.iter();
    let mut next = rest.next();
    for byte in letters(text) {
        if next == Some(&byte) {
            next = rest.next();
        }
    }
    next.is_none()
}

/// The byte whose two hex digits come first in `digits`.
pub(super) fn escaped_byte(digits: &[u8]) -> Option<u8> {
    match digits {
        [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Some(hex_value(*high) << 4 | hex_value(*low))
        }
        _ => None,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What PHP 8.2's parse_str makes of these names was looked at, not guessed.
    #[test]
    fn names_are_filed_as_php_files_them() {
        for (written, filed) in [
            ("%20wc-api", "wc-api"),
            ("+wc-api", "wc-api"),
            ("wc-api%00z", "wc-api"),
            ("%00wc-api", ""),
            ("wc-api%20", "wc-api_"),
            ("rest.route", "rest_route"),
            ("rest+route", "rest_route"),
            ("rest%5Broute", "rest_route"),
            ("%77c%2Dapi", "wc-api"),
            ("%2577c-api", "%77c-api"),
            ("%4%77c", "%4wc"),
            ("%zz%41%", "%zza%"),
        ] {
            let decoded = decoded_form(written.as_bytes());
            assert_eq!(name(&decoded), filed.as_bytes(), "{written}");
            let mut piecemeal = Name::default();
            decoded.iter().for_each(|&byte| piecemeal.push(byte, usize::MAX));
            assert_eq!(piecemeal.text(), filed.as_bytes(), "{written}");
        }
    }

    #[test]
    fn a_path_keeps_its_plus_and_loses_its_escapes() {
        assert_eq!(*decoded_path(b"/a+b%2fc%FF"), *b"/a+b/c\xff");
    }

    #[test]
    fn a_name_is_what_is_left_after_deleting() {
        assert!(deletes_to(b"kp_wc_<script>x</script>authorization", b"kpwcauthorization"));
        assert!(!deletes_to(b"kp_wc_authorizatio", b"kpwcauthorization"));
    }

    #[test]
    fn blanks_and_controls_go_from_the_ends_only() {
        assert_eq!(trimmed(b" \0a b\n"), b"a b");
        assert_eq!(trimmed(b" \n"), b"");
    }
}
