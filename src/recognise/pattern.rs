//! A place in a shop where callbacks arrive, written like a URL.
//!
//! `checkout/klarna/authorize/**` or `payment/notify/{gateway}?klarna_order_id`. In the path, and in a value with
//! slashes:
//!
//! - `word` — this segment; `word*` — a segment that begins with it; `*` — any segment
//! - `{name}` — any segment, kept under that name
//! - a last `**` — anything; read as names and values in turn, as Magento does
//!
//! In the query, joined by `&` and met in any order:
//!
//! - `name` — is there and not empty; `name=value` — compared by [`Fold::Case`]; `name~value` — by [`Fold::Letters`]

use std::borrow::Cow;

use super::fold::{self, Fold};
use super::reading::{Origin, Parameter, Reading};

/// A path and the conditions on the query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// `None`: any path.
    pub(super) path: Option<Shape>,
    /// All of these have to be met.
    pub(super) conditions: Vec<Condition>,
}

/// A condition on one parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Condition {
    /// The parameter's name, as [`fold::name`] says.
    pub(super) name: Vec<u8>,
    /// The name as the shop writes it.
    pub(super) written_name: String,
    /// What its value must be.
    pub(super) wanted: Wanted,
}

/// What a parameter's value must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Anything but empty.
    Anything,
    /// This text.
    Text(Literal),
    /// This text, punctuation aside.
    Word(Literal),
    /// Something of this shape.
    Shape(Shape, Fold),
}

/// What the segments of a path must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Other segments may stand before these: a language, a store's code, a folder.
    pub(super) anywhere: bool,
    /// The segments.
    pub(super) segments: Vec<Segment>,
    /// Other segments may follow.
    pub(super) open: bool,
}

/// What one segment must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    /// This text.
    Literal(Literal),
    /// Anything.
    Any,
    /// Anything, kept under this name.
    Kept(&'static str),
}

/// A text to compare with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Literal {
    written: Vec<u8>,
    letters: Vec<u8>,
    begins: bool,
}

/// Where and how a [`Place`] was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hit {
    /// Conditions that the query met by itself; the path may meet others.
    pub(super) query_conditions: usize,
    /// Those of them whose parameter has its name's letter case, which counts in PHP.
    pub(super) obeyed_conditions: usize,
    /// Every condition was met by the parameter that wins in PHP.
    pub(super) effective: bool,
    /// Of its parts, the one that is least like what the shop writes.
    pub(super) likeness: Likeness,
}

/// How like a text is to the one that is wanted. The more, the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Likeness {
    /// Tags or escapes have to be deleted so that it remains. Which other texts may remain as well, only the shop knows.
    Disguised,
    /// It is the same after folding.
    Folded,
    /// Nothing had to be folded.
    AsWritten,
}

impl Place {
    /// Reads a place of the rule table. Segments may stand before it.
    pub(super) fn parse(text: &'static str) -> Self {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        Self {
            path: (!path.is_empty()).then(|| Shape::parse(path)),
            conditions: query.split('&').filter(|part| !part.is_empty()).map(Condition::parse).collect(),
        }
    }

    /// Whether the target is this place.
    pub(super) fn hit(&self, reading: &Reading<'_>) -> Option<Hit> {
        let likeness = Likeness::AsWritten;
        let mut hit = Hit { query_conditions: 0, obeyed_conditions: 0, effective: true, likeness };
        if let Some(shape) = &self.path {
            hit.likeness = reading.paths.iter().find_map(|path| {
                let (_, as_written) = shape.in_segments(&path.segments, Fold::Case)?;
                Some(Likeness::of(as_written && path.as_written))
            })?;
            hit.effective = !(reading.is_routed && self.conditions.is_empty());
        }
        for condition in &self.conditions {
            let met = condition.hit(reading)?;
            hit.query_conditions += met.query_conditions;
            hit.obeyed_conditions += met.obeyed_conditions;
            hit.effective &= met.effective;
            hit.likeness = hit.likeness.min(met.likeness);
        }
        // No shop writes half of a place into the path and half into the query.
        let is_in_one_part = hit.query_conditions == 0 || hit.query_conditions == self.conditions.len();
        hit.likeness = hit.likeness.min(Likeness::of(is_in_one_part));
        Some(hit)
    }

    /// The segment kept under `name`, or what stands behind `name` where the shape is open, decoded. The place has
    /// been hit.
    pub(super) fn kept<'r>(&self, reading: &'r Reading<'_>, name: &str) -> Option<Cow<'r, [u8]>> {
        let in_path = self.path.as_ref().and_then(|shape| {
            reading.paths.iter().filter(|_| shape.keeps_some()).find_map(|path| {
                let (start, _) = shape.in_segments(&path.segments, Fold::Case)?;
                if path.decoded > 0 {
                    return shape.kept(&path.segments, start, name);
                }
                let decoded: Vec<_> = path.segments.iter().map(|segment| fold::decoded_path(segment)).collect();
                shape.kept(&decoded, start, name).map(|segment| Cow::Owned(segment.into_owned()))
            })
        });
        in_path.or_else(|| self.conditions.iter().find_map(|condition| condition.kept(reading, name)))
    }

    /// The parameters that it asks for.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().map(|condition| condition.written_name.as_str())
    }

    /// The segments that its path contains.
    pub(super) fn literals(&self) -> impl Iterator<Item = &Literal> {
        self.path.iter().flat_map(Shape::literals)
    }
}

impl Likeness {
    fn of(as_written: bool) -> Self {
        if as_written { Self::AsWritten } else { Self::Folded }
    }
}

impl Condition {
    /// A parameter `name` with exactly this value, letter case aside.
    pub(super) fn text(name: &str, value: &str) -> Self {
        let wanted = Wanted::Text(Literal::new(value.as_bytes()));
        Self { name: fold::name(name.as_bytes()), written_name: name.into(), wanted }
    }

    fn parse(text: &'static str) -> Self {
        let (name, wanted) = match text.split_once(['=', '~']) {
            None => (text, Wanted::Anything),
            Some((name, value)) => {
                let wanted = match (text.contains('~'), value.contains('/')) {
                    (true, false) => Wanted::Word(Literal::new(value.as_bytes())),
                    (true, true) => Wanted::Shape(Shape::parse(value), Fold::Letters),
                    (false, _) => Wanted::Shape(Shape::parse(value), Fold::Case),
                };
                (name, wanted)
            }
        };
        Self { name: fold::name(name.as_bytes()), written_name: name.into(), wanted }
    }

    /// Any parameter of that name will do: which of several wins is the platform's business. The path is read in several
    /// ways, but is one parameter.
    fn hit(&self, reading: &Reading<'_>) -> Option<Hit> {
        let (mut wins, mut best) = (true, None);
        for parameter in reading.parameters.iter().rev().filter(|parameter| parameter.name == self.name) {
            let in_query = parameter.origin == Origin::Query;
            if let Some(likeness) = self.wanted.is_met_by(&parameter.value) {
                let has_its_name = parameter.written_name == self.written_name.as_bytes();
                let hit = Hit {
                    query_conditions: usize::from(in_query),
                    obeyed_conditions: usize::from(in_query && parameter.is_obeyed),
                    effective: wins && parameter.is_obeyed,
                    likeness: likeness.min(Likeness::of(has_its_name)),
                };
                let rank = (parameter.is_obeyed, hit.effective, likeness);
                if best.is_none_or(|(known, _)| rank > known) {
                    best = Some((rank, hit));
                }
            }
            wins &= !(in_query && parameter.is_obeyed);
        }
        best.map(|(_, hit)| hit)
    }

    fn kept<'r>(&self, reading: &'r Reading<'_>, name: &str) -> Option<Cow<'r, [u8]>> {
        let Wanted::Shape(shape, fold) = &self.wanted else { return None };
        let values = reading.parameters.iter().rev().filter(|parameter| parameter.name == self.name);
        let kept = |parameter: &Parameter<'_>| {
            let segment = splits(&parameter.value, *fold).find_map(|segments| {
                let (start, _) = shape.in_segments(&segments, *fold)?;
                shape.kept(&segments, start, name).map(Cow::into_owned)
            })?;
            // What stands in the path as it came is not decoded yet.
            let is_decoded = matches!(parameter.value, Cow::Owned(_));
            Some(Cow::Owned(if is_decoded { segment } else { fold::decoded_path(&segment).into_owned() }))
        };
        values.into_iter().find_map(kept)
    }
}

impl Wanted {
    /// Whether `value` is wanted, and then how like it is.
    fn is_met_by(&self, value: &[u8]) -> Option<Likeness> {
        match self {
            Self::Anything => (!value.is_empty()).then_some(Likeness::AsWritten),
            Self::Text(text) => text.is(value, Fold::Case).map(Likeness::of),
            Self::Word(text) => text.left_of(value),
            Self::Shape(shape, fold) => {
                let found = splits(value, *fold).find_map(|segments| shape.in_segments(&segments, *fold));
                found.map(|(_, as_written)| Likeness::of(as_written))
            }
        }
    }

    /// A text that every such value contains, letter case and escapes aside. No blank or slash is in it: those are
    /// written in many ways.
    pub(super) fn word(&self) -> Option<Vec<u8>> {
        let literals: Vec<&Literal> = match self {
            Self::Text(text) => vec![text],
            Self::Shape(shape, Fold::Case) => shape.literals().collect(),
            Self::Word(_) | Self::Shape(_, Fold::Letters) | Self::Anything => vec![],
        };
        let parts = literals.into_iter().flat_map(|literal| literal.written.split(|byte| b" +/\\".contains(byte)));
        parts.max_by_key(|part| part.len()).filter(|part| !part.is_empty()).map(<[u8]>::to_ascii_lowercase)
    }
}

impl Shape {
    /// Reads a path of the rule table.
    pub(super) fn parse(text: &'static str) -> Self {
        let mut shape = Self { anywhere: true, segments: Vec::new(), open: false };
        for segment in text.split('/') {
            match segment {
                "**" => shape.open = true,
                "*" => shape.segments.push(Segment::Any),
                _ => shape.segments.push(match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(name) => Segment::Kept(name),
                    None => Segment::Literal(Literal::parse(segment)),
                }),
            }
        }
        shape
    }

    /// Whether `segments` are so: the first one that counts, and whether nothing had to be folded.
    fn in_segments(&self, segments: &[Cow<'_, [u8]>], fold: Fold) -> Option<(usize, bool)> {
        let spare = segments.len().checked_sub(self.segments.len())?;
        let starts = match (self.anywhere, self.open) {
            (true, true) => 0..=spare,
            (true, false) => spare..=spare,
            (false, true) => 0..=0,
            (false, false) if spare == 0 => 0..=0,
            (false, false) => return None,
        };
        starts.into_iter().find_map(|start| Some((start, self.at(&segments[start..], fold)?)))
    }

    fn at(&self, segments: &[Cow<'_, [u8]>], fold: Fold) -> Option<bool> {
        let mut as_written = true;
        for (wanted, segment) in self.segments.iter().zip(segments) {
            if let Segment::Literal(text) = wanted {
                as_written &= text.is(segment, fold)?;
            }
        }
        Some(as_written)
    }

    fn kept<'s>(&self, segments: &'s [Cow<'_, [u8]>], start: usize, name: &str) -> Option<Cow<'s, [u8]>> {
        let is_kept = |segment: &Segment| matches!(segment, Segment::Kept(kept) if *kept == name);
        if let Some(at) = self.segments.iter().position(is_kept) {
            return segments.get(start + at).map(|segment| Cow::Borrowed(&**segment));
        }
        let tail = segments.get(start + self.segments.len()..).filter(|_| self.open)?;
        let is_named = |segment: &[u8]| fold::decoded_path(segment).eq_ignore_ascii_case(name.as_bytes());
        let pair = tail.chunks_exact(2).rfind(|pair| is_named(&pair[0]))?;
        Some(Cow::Borrowed(&*pair[1]))
    }

    fn keeps_some(&self) -> bool {
        self.open || self.segments.iter().any(|segment| matches!(segment, Segment::Kept(_)))
    }

    /// Letters and digits of all literals together.
    pub(super) fn letters(&self) -> Vec<u8> {
        self.literals().flat_map(|literal| literal.letters.iter().copied()).collect()
    }

    fn literals(&self) -> impl Iterator<Item = &Literal> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(text) => Some(text),
            Segment::Any | Segment::Kept(_) => None,
        })
    }
}

impl Literal {
    /// Exactly this text.
    pub(super) fn new(text: &[u8]) -> Self {
        Self { written: text.to_vec(), letters: fold::letters(text).collect(), begins: false }
    }

    fn parse(text: &str) -> Self {
        let stem = text.strip_suffix('*');
        Self { begins: stem.is_some(), ..Self::new(stem.unwrap_or(text).as_bytes()) }
    }

    /// Whether `text` is this, and then whether it is so as it stands.
    fn is(&self, text: &[u8], fold: Fold) -> Option<bool> {
        let same = match fold {
            Fold::Letters => fold::letters(text).eq(self.letters.iter().copied()),
            Fold::Case if self.begins => {
                let stem = text.get(..self.written.len());
                stem.is_some_and(|stem| stem.eq_ignore_ascii_case(&self.written))
            }
            Fold::Case if text.len() <= self.written.len() => text.eq_ignore_ascii_case(&self.written),
            Fold::Case => {
                let text = fold::trimmed(text);
                // Java servers take `;…` off a segment.
                let stem = memchr::memchr(b';', text).map_or(text, |at| &text[..at]);
                text.eq_ignore_ascii_case(&self.written) || stem.eq_ignore_ascii_case(&self.written)
            }
        };
        same.then(|| if self.begins { text.starts_with(&self.written) } else { text == self.written })
    }

    /// Whether deleting characters from `value` leaves this text: WordPress deletes all punctuation, and it takes tags
    /// and left-over escapes out of a name; whatever it can turn into the wanted name contains that name's letters in
    /// their order. PrestaShop takes what follows a `?` for further parameters.
    fn left_of(&self, value: &[u8]) -> Option<Likeness> {
        if self.written == value {
            return Some(Likeness::AsWritten);
        }
        let is_all = |text: &[u8]| fold::letters(text).eq(self.letters.iter().copied());
        if is_all(value) || memchr::memchr(b'?', value).is_some_and(|end| is_all(&value[..end])) {
            return Some(Likeness::Folded);
        }
        let has_markup = memchr::memchr2(b'<', b'%', value).is_some();
        (has_markup && fold::deletes_to(value, &self.letters)).then_some(Likeness::Disguised)
    }

    /// Its letters and digits, in lower case.
    pub(super) fn letters(&self) -> &[u8] {
        &self.letters
    }

    /// The text in lower case, and whether it only has to be the beginning.
    pub(super) fn lower(&self) -> (Vec<u8>, bool) {
        (self.written.to_ascii_lowercase(), self.begins)
    }
}

/// All ways to split a value into segments.
fn splits(value: &[u8], fold: Fold) -> impl Iterator<Item = Vec<Cow<'_, [u8]>>> {
    let is_text = move |segment: &&[u8]| match fold {
        Fold::Case => !segment.is_empty(),
        Fold::Letters => fold::letters(segment).next().is_some(),
    };
    let value = fold::without_trailing_slashes(value);
    let split = move |separators: &[u8]| {
        let segments = value.split(|byte| separators.contains(byte)).filter(is_text);
        segments.map(Cow::Borrowed).collect()
    };
    // `\` is punctuation for those who delete that, and for the others what it is in a path.
    let may_separate = fold == Fold::Case && memchr::memchr(b'\\', value).is_some();
    [may_separate.then(|| split(b"/\\")), Some(split(b"/"))].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::reading::Vocabulary;
    use super::*;

    fn vocabulary(place: &Place) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        place.names().for_each(|name| vocabulary.add(name));
        vocabulary
    }

    fn hit(place: &'static str, target: &str) -> Option<Hit> {
        let place = Place::parse(place);
        place.hit(&Reading::of(target.as_bytes(), &vocabulary(&place)))
    }

    fn kept(place: &'static str, target: &str, name: &str) -> Option<String> {
        let place = Place::parse(place);
        let vocabulary = vocabulary(&place);
        let reading = Reading::of(target.as_bytes(), &vocabulary);
        let kept = place.kept(&reading, name)?;
        Some(String::from_utf8_lossy(&kept).into_owned())
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary() {
        assert!(hit("kco/push", "/de/shop/kco/push/").is_some());
        assert!(hit("kco/push", "/dekco/push").is_none());
        assert!(hit("kco/push", "/kco/push/more").is_none());
    }

    #[test]
    fn an_open_end_is_read_as_names_and_values() {
        assert_eq!(kept("api/push/**", "/x/api/push/a/b/ID/7", "id").as_deref(), Some("7"));
        assert_eq!(kept("api/push/**", "/api/push", "id"), None);
    }

    #[test]
    fn a_segment_of_a_value_can_be_kept() {
        assert_eq!(kept("?r=v1/address/{id}", "/?r=/v1/address/A%2Db", "id").as_deref(), Some("A-b"));
    }

    #[test]
    fn conditions_are_met_in_any_order_and_by_any_duplicate() {
        let hit = hit("?a=x&b", "/?b=1&a=X&a=y").unwrap();
        assert_eq!(
            hit,
            Hit { query_conditions: 2, obeyed_conditions: 2, effective: false, likeness: Likeness::Folded }
        );
    }

    #[test]
    fn only_where_punctuation_is_deleted_it_may_be_missing() {
        assert!(hit("?r~a_b/c/**", "/?r=/A.b//c/d").is_some());
        assert!(hit("?r=a_b/c/**", "/?r=/A.b//c/d").is_none());
        assert!(hit("?r~a_b", "/?r=a%253Cx%253E_b").is_some(), "tags are taken out");
        assert!(hit("?r~a_b", "/?r=/a%5C?/b").is_some(), "and so are slashes");
    }

    #[test]
    fn as_written_means_that_nothing_was_folded() {
        assert_eq!(hit("aB/c?d=E", "/x/aB/c/?d=E").unwrap().likeness, Likeness::AsWritten);
        for respelled in ["/ab/c?d=E", "/aB//c?d=E", "/aB/%63?d=E", "/aB/c?d=e", "/aB/c?%64=E", "/x/../aB/c?d=E"] {
            assert_eq!(hit("aB/c?d=E", respelled).unwrap().likeness, Likeness::Folded, "{respelled}");
        }
    }

    #[test]
    fn what_a_java_server_cuts_off_a_segment_does_not_count() {
        assert!(hit("pay/back", "/pay;x=1/back;jsessionid=2").is_some());
    }
}
