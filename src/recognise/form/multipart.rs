//! `multipart/form-data`, more generously than PHP takes it apart.
//!
//! Whoever reads boundaries and headers a little differently from PHP can be deceived, so that little is read: any
//! `Content-Disposition:` counts, wherever it stands, every `name=` up to the next empty line counts, and all that
//! follows may be the value. What PHP does that makes this necessary: it joins a header line without `:` to the one
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
    state: State,
    line: Line,
    /// So many bytes of the header's line went by.
    line_bytes: usize,
    /// There was a NUL in this line.
    is_cut: bool,
    key: Vec<u8>,
    name: Name,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a field's value, or nowhere.
    #[default]
    Body,
    /// In the header, anywhere but in the field's name.
    Key,
    /// Behind `name=`, before the first character.
    BeforeName,
    /// In the field's name, and in these quotes.
    InName(Option<u8>),
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
            if self.state == State::Body && self.seen == 0 && fields.is_indifferent() {
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
        self.try_name(fields);
    }

    fn step(&mut self, byte: u8, fields: &mut Fields) {
        fields.value(byte);
        if self.begins_header(byte) {
            self.try_name(fields);
            if self.state == State::Body {
                fields.forget();
            }
            self.line = Line::Running;
            (self.line_bytes, self.is_cut) = (0, false);
            self.expect_key();
            return;
        }
        let line = self.line.after(byte);
        if byte == b'\n' && self.line != Line::Running {
            self.try_name(fields);
            self.state = State::Body;
        }
        self.line = line;
        if self.state != State::Body && !self.is_cut_off(byte, fields) {
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
                self.try_name(fields);
                self.is_cut = true;
            }
            _ => {}
        }
        fields.reached |= self.is_cut && self.line_bytes > CUT_LINE_BYTES_MAX;
        self.is_cut
    }

    fn header_byte(&mut self, byte: u8, fields: &mut Fields) {
        match self.state {
            State::Body => {}
            State::Key => self.key_byte(byte),
            State::BeforeName if is_blank(byte) || byte == b'=' => {}
            State::BeforeName if matches!(byte, b'"' | b'\'') => self.state = State::InName(Some(byte)),
            State::BeforeName => {
                self.state = State::InName(None);
                self.name_byte(byte, None, fields);
            }
            State::InName(quote) => self.name_byte(byte, quote, fields),
        }
    }

    fn key_byte(&mut self, byte: u8) {
        match byte {
            b'\r' | b'\n' => {}
            b'=' if self.key.eq_ignore_ascii_case(KEY) => {
                self.name.clear();
                self.state = State::BeforeName;
            }
            b';' | b'=' | b'"' | b'\'' => self.key.clear(),
            _ if is_blank(byte) => self.key.clear(),
            _ if self.key.len() > KEY.len() => {}
            _ => self.key.push(byte),
        }
    }

    fn name_byte(&mut self, byte: u8, quote: Option<u8>, fields: &mut Fields) {
        match byte {
            // The header may end here, or the line may be joined to the next.
            b'\r' | b'\n' => self.try_name(fields),
            _ if Some(byte) == quote || (quote.is_none() && (byte == b';' || is_blank(byte))) => {
                self.try_name(fields);
                self.expect_key();
            }
            _ => self.name.push(byte, fields.name_bytes_max),
        }
    }

    fn try_name(&self, fields: &mut Fields) {
        if let State::InName(_) = self.state {
            fields.add(self.name.text());
        }
    }

    fn expect_key(&mut self) {
        self.key.clear();
        self.state = State::Key;
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
