//! `application/x-www-form-urlencoded`, as PHP takes it apart.

use super::Fields;
use crate::recognise::fold::{Name, Unescape};

/// Where in the body the scan stands.
#[derive(Debug, Default)]
pub(super) struct Urlencoded {
    in_value: bool,
    name: Name,
    unescape: Unescape,
}

impl Urlencoded {
    /// Takes the next part of the body.
    pub(super) fn feed(&mut self, chunk: &[u8], fields: &mut Fields) {
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'&' => self.end_pair(fields),
                b'=' if !self.in_value => self.end_name(fields),
                _ if self.in_value && fields.is_indifferent() => {
                    rest = memchr::memchr(b'&', rest).map_or(&[][..], |at| &rest[at..]);
                }
                _ if !self.in_value && self.name.is_too_long(fields.name_bytes_max) => {
                    rest = memchr::memchr2(b'=', b'&', rest).map_or(&[][..], |at| &rest[at..]);
                }
                _ => self.push(if byte == b'+' { b' ' } else { byte }, fields),
            }
        }
    }

    /// The body ends here.
    pub(super) fn finish(&mut self, fields: &mut Fields) {
        self.end_pair(fields);
    }

    fn push(&mut self, byte: u8, fields: &mut Fields) {
        let Self { in_value, name, unescape } = self;
        unescape.push(byte, &mut |byte| {
            if *in_value { fields.value(byte) } else { name.push(byte, fields.name_bytes_max) }
        });
    }

    fn end_name(&mut self, fields: &mut Fields) {
        let Self { name, unescape, .. } = self;
        unescape.flush(&mut |byte| name.push(byte, fields.name_bytes_max));
        fields.forget();
        fields.add(name.text());
        name.clear();
        self.in_value = true;
    }

    fn end_pair(&mut self, fields: &mut Fields) {
        if !self.in_value {
            self.end_name(fields);
        }
        self.unescape.flush(&mut |byte| fields.value(byte));
        self.in_value = false;
    }
}
