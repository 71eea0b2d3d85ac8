//! A form body that reaches a callback on somebody else's path.
//!
//! PHP files a posted form's fields beside the query's parameters, and WordPress, OXID and PrestaShop take the
//! parameters that choose the handler from there too. A body may be a form and valid JSON at once, so that a
//! handler that reads JSON can be reached from any path. The scanner looks at the body while it streams by, keeps no
//! more of it than the longest name and value it looks for, and never takes back what it found.

mod multipart;
mod urlencoded;

use std::sync::Arc;

use multipart::Multipart;
use urlencoded::Urlencoded;

use super::fold;
use super::pattern::{Place, Wanted};
use super::presets::Preset;
use super::reading::{CARRIER, Reading};

/// What the enabled presets look for in forms.
#[derive(Debug, Default)]
pub(super) struct FormRules {
    wishes: Vec<Wish>,
    /// A callback is reached when all of these wishes are met.
    places: Vec<Vec<usize>>,
}

/// A field with a value that a place asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wish {
    name: Vec<u8>,
    /// Letters and digits of the value; empty if the name is enough.
    letters: Vec<u8>,
}

/// Looks at one body. See [`Recogniser::form_scan`](super::Recogniser::form_scan).
#[derive(Debug)]
pub struct FormScan {
    fields: Fields,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Urlencoded(Urlencoded),
    Multipart(Multipart),
}

/// What is known about the fields so far.
#[derive(Debug)]
struct Fields {
    rules: Arc<FormRules>,
    met: Vec<bool>,
    /// The wishes that the field now passing by may meet.
    current: Vec<usize>,
    /// The last letters and digits of that field's value.
    recent: Vec<u8>,
    name_bytes_max: usize,
    reached: bool,
}

impl FormRules {
    /// Adds what `preset` takes from forms.
    pub(super) fn add(&mut self, preset: &Preset) {
        for place in preset.rules.iter().flat_map(|rule| rule.places).map(|text| Place::parse(text)) {
            let field = |name: &[u8]| preset.form_fields.iter().find(|field| field.name.as_bytes() == name);
            if !place.conditions.iter().any(|condition| field(&condition.name).is_some()) {
                continue;
            }
            let wishes = place.conditions.iter().map(|condition| Wish {
                name: condition.name.clone(),
                letters: match &condition.wanted {
                    _ if field(&condition.name).is_some_and(|field| field.any_value) => Vec::new(),
                    Wanted::Shape(shape, _) => shape.letters(),
                    Wanted::Word(text) | Wanted::Text(text) => text.letters().to_vec(),
                    Wanted::Anything => Vec::new(),
                },
            });
            let wishes = wishes.collect::<Vec<_>>().into_iter().map(|wish| self.index(wish)).collect();
            if !self.places.contains(&wishes) {
                self.places.push(wishes);
            }
        }
    }

    fn index(&mut self, wish: Wish) -> usize {
        self.wishes.iter().position(|known| *known == wish).unwrap_or_else(|| {
            self.wishes.push(wish);
            self.wishes.len() - 1
        })
    }
}

impl FormScan {
    /// A scan for a body of that type, posted to a target that reads so. `None` if PHP makes no fields of it, or if
    /// no rule looks for any.
    pub(super) fn new<'a>(
        rules: &Arc<FormRules>,
        content_type: &[u8],
        read_target: impl FnOnce() -> Reading<'a>,
    ) -> Option<Self> {
        let format = Format::of(content_type).filter(|_| !rules.places.is_empty())?;
        let target = read_target();
        let met = |wish: &Wish| {
            let named = target.parameters.iter().filter(|parameter| parameter.name == wish.name);
            named.map(|parameter| fold::letters(&parameter.value).collect::<Vec<_>>()).any(|value| wish.is_in(&value))
        };
        let fields = Fields {
            rules: rules.clone(),
            met: rules.wishes.iter().map(met).collect(),
            current: Vec::new(),
            recent: Vec::new(),
            name_bytes_max: rules.wishes.iter().map(|wish| wish.name.len()).max().unwrap_or_default(),
            reached: false,
        };
        Some(Self { fields, format })
    }

    /// Takes the next part of the body, before it is passed on. True if by now a callback is reached: then this part
    /// must not be passed on.
    pub fn feed(&mut self, chunk: &[u8]) -> bool {
        if !self.fields.reached {
            match &mut self.format {
                Format::Urlencoded(body) => body.feed(chunk, &mut self.fields),
                Format::Multipart(body) => body.feed(chunk, &mut self.fields),
            }
        }
        self.fields.reached
    }

    /// The body ends here. True if a callback is reached.
    pub fn finish(&mut self) -> bool {
        match &mut self.format {
            Format::Urlencoded(body) => body.finish(&mut self.fields),
            Format::Multipart(body) => body.finish(&mut self.fields),
        }
        self.fields.reached
    }
}

impl Format {
    /// PHP takes the type up to the first `;`, `,` or blank, in any case.
    fn of(content_type: &[u8]) -> Option<Self> {
        let text = content_type.trim_ascii_start();
        let end = text.iter().position(|byte| matches!(byte, b';' | b',' | b' ' | b'\t')).unwrap_or(text.len());
        let is = |name: &[u8]| text[..end].eq_ignore_ascii_case(name);
        match () {
            () if is(b"application/x-www-form-urlencoded") => Some(Self::Urlencoded(Urlencoded::default())),
            () if is(b"multipart/form-data") => Some(Self::Multipart(Multipart::default())),
            () => None,
        }
    }
}

impl Wish {
    /// A field that carries other parameters in its value may meet their wishes too.
    fn may_be_met_by(&self, name: &[u8]) -> bool {
        self.name == name || (name == CARRIER && !self.letters.is_empty())
    }

    fn is_in(&self, letters: &[u8]) -> bool {
        memchr::memmem::find(letters, &self.letters).is_some()
    }
}

impl Fields {
    /// The field that passed by has ended.
    fn forget(&mut self) {
        self.current.clear();
        self.recent.clear();
    }

    /// A field of this name may begin here.
    fn add(&mut self, name: &[u8]) {
        let rules = self.rules.clone();
        for (index, wish) in rules.wishes.iter().enumerate().filter(|(_, wish)| wish.may_be_met_by(name)) {
            match wish.letters.is_empty() {
                true => self.meet(index),
                false if self.current.contains(&index) => {}
                false => self.current.push(index),
            }
        }
    }

    /// Nobody asks for the value that now passes by.
    fn is_indifferent(&self) -> bool {
        self.current.is_empty()
    }

    /// The next byte of the value. Counts from the moment the wanted text is in it: what still follows in a later
    /// part of the body cannot be waited for.
    fn value(&mut self, byte: u8) {
        if self.is_indifferent() || !byte.is_ascii_alphanumeric() {
            return;
        }
        self.recent.push(byte.to_ascii_lowercase());
        let rules = self.rules.clone();
        let mut longest = 0;
        for index in self.current.clone() {
            let letters = &rules.wishes[index].letters;
            longest = longest.max(letters.len());
            if self.recent.ends_with(letters) {
                self.meet(index);
            }
        }
        if self.recent.len() > longest {
            self.recent.remove(0);
        }
    }

    /// A place counts only if a field of the form met one of its wishes: what the target meets alone was recognised
    /// without the form.
    fn meet(&mut self, index: usize) {
        self.met[index] = true;
        let reached = |place: &Vec<usize>| place.contains(&index) && place.iter().all(|&wish| self.met[wish]);
        self.reached |= self.rules.places.iter().any(reached);
    }
}

#[cfg(test)]
mod tests;
