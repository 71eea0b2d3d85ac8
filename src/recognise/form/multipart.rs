//! `multipart/form-data`, more generously than PHP takes it apart.
//!
//! Whoever reads boundaries and headers a little differently from PHP can be deceived, so that little is read: any
//! `Content-Disposition:` counts, wherever it stands, every `name=` up to the next empty line counts, in quotes or in
//! another name too, and all that follows may be the value. What PHP does that makes this necessary: it joins a header line without `:` to the one
//! before, drops the line break between them, ends a line at a NUL, starts a new line in the middle of one that
//! fills its buffer, and takes the first of several such headers, but the last of several names.

use super::Fields;
use crate::recognise::fold::Name;

const HEADER: &[u8] = b"content-disposition:";
const KEY: &[u8] = b"name";

/// PHP forgets what follows a NUL up to the line's end, or up to the end of its buffer of 5 KiB. The latter cannot be
/// followed from here, and nobody who means well writes lines so long with a NUL in them.
const CUT_LINE_BYTES_MAX: usize = 4096;

/// Where in the body the scan stands.
#[derive(Debug, Default)]
pub(super) struct Multipart {
    /// So many characters of [`HEADER`] went by just now.
    seen: usize,
    in_header: bool,
    line: Line,
    /// So many bytes of the header's line went by.
    line_bytes: usize,
    /// There was a NUL in this line.
    is_cut: bool,
    key: Vec<u8>,
    /// What may be the field's name. One begins behind every `name=`; those that get longer than any name that is
    /// looked for are dropped, so that there are never more than a few.
    names: Vec<Candidate>,
}

#[derive(Debug, Default)]
struct Candidate {
    place: Place,
    name: Name,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind `name=`, before the first character.
    #[default]
    Before,
    /// In the name, and in these quotes.
    Inside(Option<u8>),
    /// Behind the name.
    Behind,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    #[default]
    Running,
    Empty,
    EmptyButReturn,
}

impl Multipart {
    /// Takes the next part of the body.
    pub(super) fn feed(&mut self, chunk: &[u8], fields: &mut Fields) {
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            if !self.in_header && self.seen == 0 && fields.is_indifferent() {
                let Some(at) = memchr::memchr2(b'c', b'C', rest) else { return };
                self.seen = 1;
                rest = &rest[at + 1..];
                continue;
            }
            rest = after;
            self.step(byte, fields);
        }
    }

    /// The body ends here.
    pub(super) fn finish(&mut self, fields: &mut Fields) {
        self.try_names(fields);
    }

    fn step(&mut self, byte: u8, fields: &mut Fields) {
        fields.value(byte);
        if self.begins_header(byte) {
            self.try_names(fields);
            if !self.in_header {
                fields.forget();
            }
            self.in_header = true;
            self.line = Line::Running;
            (self.line_bytes, self.is_cut) = (0, false);
            self.key.clear();
            return;
        }
        let line = self.line.after(byte);
        if byte == b'\n' && self.line != Line::Running {
            self.try_names(fields);
            self.names.clear();
            self.in_header = false;
        }
        self.line = line;
        if self.in_header && !self.is_cut_off(byte, fields) {
            self.header_byte(byte, fields);
        }
    }

    fn begins_header(&mut self, byte: u8) -> bool {
        self.seen = match HEADER.get(self.seen) {
            Some(wanted) if byte.eq_ignore_ascii_case(wanted) => self.seen + 1,
            // There is a `c` at the beginning only, so that nothing but a fresh start is possible.
            _ => usize::from(byte.eq_ignore_ascii_case(&HEADER[0])),
        };
        self.seen == HEADER.len()
    }

    fn is_cut_off(&mut self, byte: u8, fields: &mut Fields) -> bool {
        self.line_bytes += 1;
        match byte {
            b'\n' => (self.line_bytes, self.is_cut) = (0, false),
            0 => {
                self.try_names(fields);
                self.is_cut = true;
            }
            _ => {}
        }
        fields.reached |= self.is_cut && self.line_bytes > CUT_LINE_BYTES_MAX;
        self.is_cut
    }

    fn header_byte(&mut self, byte: u8, fields: &mut Fields) {
        self.names.retain_mut(|candidate| candidate.goes_on(byte, fields));
        match byte {
            b'\r' | b'\n' => {}
            b'=' if self.key.eq_ignore_ascii_case(KEY) => {
                self.key.clear();
                self.names.push(Candidate::default());
            }
            b';' | b'=' | b'"' | b'\'' => self.key.clear(),
            _ if is_blank(byte) => self.key.clear(),
            _ if self.key.len() > KEY.len() => {}
            _ => self.key.push(byte),
        }
    }

    fn try_names(&self, fields: &mut Fields) {
        self.names.iter().for_each(|candidate| candidate.try_as_name(fields));
    }
}

impl Candidate {
    /// Takes the next byte. False if this is no name that anybody looks for, or if it is over.
    fn goes_on(&mut self, byte: u8, fields: &mut Fields) -> bool {
        match (self.place, byte) {
            (Place::Before, b'"' | b'\'') => self.place = Place::Inside(Some(byte)),
            (Place::Before, _) if is_blank(byte) || byte == b'=' => {}
            (Place::Before, _) => {
                self.place = Place::Inside(None);
                self.take(byte, None, fields);
            }
            (Place::Inside(quote), _) => self.take(byte, quote, fields),
            (Place::Behind, _) => {}
        }
        self.place != Place::Behind && !self.name.is_too_long(fields.name_bytes_max)
    }

    fn take(&mut self, byte: u8, quote: Option<u8>, fields: &mut Fields) {
        match byte {
            // The header may end here, or the line may be joined to the next.
            b'\r' | b'\n' => self.try_as_name(fields),
            _ if Some(byte) == quote || (quote.is_none() && (byte == b';' || is_blank(byte))) => {
                self.try_as_name(fields);
                self.place = Place::Behind;
            }
            _ => self.name.push(byte, fields.name_bytes_max),
        }
    }

    fn try_as_name(&self, fields: &mut Fields) {
        if let Place::Inside(_) = self.place {
            fields.add(self.name.text());
        }
    }
}

impl Line {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'\n') => Self::Empty,
            (Self::Empty, b'\r') => Self::EmptyButReturn,
            _ => Self::Running,
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\x0b' | b'\x0c')
}
