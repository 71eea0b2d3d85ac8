//! All the ways in which a shop may read one request target.
//!
//! Front servers, PHP and the shop's router each decode, collapse and cut on their own. Which of them does what is not
//! known from outside, so that every reading is made and a rule holds if it holds for any of them.

use std::borrow::Cow;

use super::fold;
use super::names::Names;

/// A rewrite of the shop that turns part of the path into parameters: `…/wc-api/X` is `?wc-api=X`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    /// The segment behind which the parameters' values stand.
    pub(super) marker: &'static str,
    /// A parameter that the rewrite adds, with its value.
    pub(super) adds: Option<(&'static str, &'static str)>,
    /// The parameters that the following segments become; the last one gets all that is left.
    pub(super) parameters: &'static [&'static str],
    /// The shop obeys what follows any marker in its own letter case. Else its [`Router`] says what it obeys.
    pub(super) is_obeyed: bool,
}

/// Says what a platform makes of a path, as it came.
pub(super) type Router = fn(&[u8]) -> Option<Routed<'_>>;

/// A parameter that the shop makes of the path.
#[derive(Debug)]
pub(super) struct Routed<'a> {
    /// Its name.
    pub(super) name: &'static str,
    /// Its value; borrowed if it stands so in the path.
    pub(super) value: Cow<'a, [u8]>,
}

/// What the enabled rules want to know of a target.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// Rewrites of the enabled platforms.
    pub(super) rewrites: Vec<Rewrite>,
    /// Routers of the enabled platforms.
    pub(super) routers: Vec<Router>,
    names: Names,
    /// The same in their own letter case, by number.
    written: Vec<String>,
}

/// One target, read in every way.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The path: as it stands, decoded once, decoded twice, and each of these without dot segments, without what follows
    /// a line break, and with `\` as a letter.
    pub(super) paths: Vec<Path<'a>>,
    /// Those that the path becomes by a [`Rewrite`], then the query's in their order: with PHP the last of a name
    /// wins. Only those that some rule asks for.
    pub(super) parameters: Vec<Parameter<'a>>,
    /// A router made a parameter of the path, which then is no place of its own.
    pub(super) is_routed: bool,
}

/// The path in one reading.
#[derive(Debug)]
pub(super) struct Path<'a> {
    /// What stands between the slashes, without empty ones.
    pub(super) segments: Vec<Cow<'a, [u8]>>,
    /// How often it was decoded.
    pub(super) decoded: usize,
    /// Nothing was folded to get here.
    pub(super) as_written: bool,
}

/// A parameter in one reading.
#[derive(Debug)]
pub(super) struct Parameter<'a> {
    /// Its name, as [`fold::name`] says.
    pub(super) name: &'a [u8],
    /// Its value: decoded, or borrowed as it came.
    pub(super) value: Cow<'a, [u8]>,
    /// Its name before decoding; empty if the name is no one's writing.
    pub(super) written_name: &'a [u8],
    /// PHP takes it for the parameter that a rule asks for: letter case counts there, and nothing is decoded twice.
    pub(super) is_obeyed: bool,
    /// Where it stands.
    pub(super) origin: Origin,
}

/// Where a parameter was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// In the path, by a [`Rewrite`].
    Path,
    /// In the query, as PHP decodes it.
    Query,
    /// In the query, decoded once more than PHP does it.
    DecodedTwice,
}

impl<'a> Reading<'a> {
    /// Reads `target` (path and query as they came).
    pub(super) fn of(target: &'a [u8], vocabulary: &'a Vocabulary) -> Self {
        let (path, query) = path_and_query(target);
        let paths = readings_of_path(path);
        let mut parameters = Vec::with_capacity(4);
        let is_as_written = paths.iter().any(|path| path.as_written);
        let routed = vocabulary.routers.iter().find_map(|router| router(path));
        let routed = routed.map(|routed| routed.parameter(is_as_written));
        for path in &paths {
            let mut add = |parameter: Parameter<'a>| {
                if !routed.as_ref().is_some_and(|routed| routed.is_same(&parameter)) {
                    parameters.push(parameter);
                }
            };
            vocabulary.rewrites.iter().for_each(|rewrite| rewrite.apply(path, &mut add));
        }
        let is_routed = routed.is_some();
        parameters.extend(routed);
        vocabulary.names.each_candidate(query, |pair| vocabulary.read_pair(pair, &mut parameters));
        Self { paths, parameters, is_routed }
    }

    /// The value that the shop sees under `name`, which is in the form of [`fold::name`].
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let seen = |parameter: &&Parameter<'_>| parameter.origin == Origin::Query && parameter.name == name;
        self.parameters.iter().rev().find(seen).map(|parameter| &*parameter.value)
    }
}

impl Rewrite {
    fn apply<'a>(&self, path: &Path<'a>, found: &mut impl FnMut(Parameter<'a>)) {
        for (at, segment) in path.segments.iter().enumerate() {
            if !segment.eq_ignore_ascii_case(self.marker.as_bytes()) {
                continue;
            }
            // A rewrite rule is a regular expression, in which letter case counts.
            let has_its_case = **segment == *self.marker.as_bytes() && path.decoded < 2;
            let is_obeyed = has_its_case && self.is_obeyed;
            let as_written = path.as_written && is_obeyed;
            let mut add = |name: &'static str, value| {
                let written_name = if as_written { name.as_bytes() } else { b"" };
                let name = name.as_bytes();
                found(Parameter { name, value, written_name, is_obeyed, origin: Origin::Path });
            };
            if let Some((name, value)) = self.adds {
                add(name, Cow::Borrowed(value.as_bytes()));
            }
            let mut rest = &path.segments[at + 1..];
            for (index, &name) in self.parameters.iter().enumerate() {
                let taken = if index + 1 == self.parameters.len() { rest.len() } else { rest.len().min(1) };
                let (value, after) = rest.split_at(taken);
                rest = after;
                add(name, joined(value));
            }
        }
    }
}

impl Parameter<'_> {
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl<'a> Routed<'a> {
    fn parameter(self, path_is_as_written: bool) -> Parameter<'a> {
        let as_written = path_is_as_written && matches!(self.value, Cow::Borrowed(_));
        let written_name = if as_written { self.name.as_bytes() } else { b"" };
        let (name, value) = (self.name.as_bytes(), self.value);
        Parameter { name, value, written_name, is_obeyed: true, origin: Origin::Path }
    }
}

fn readings_of_path(path: &[u8]) -> Vec<Path<'_>> {
    let mut paths = Vec::with_capacity(1);
    let mut current = Cow::Borrowed(path);
    // Twice at most: a front server that decodes, and the shop that decodes what it gets.
    for decoded in 0..3 {
        if decoded > 0 {
            let Cow::Owned(path) = fold::decoded_path(&current) else { break };
            current = Cow::Owned(path);
        }
        let segments: Vec<Cow<'_, [u8]>> = match &current {
            Cow::Borrowed(path) => split(path).map(Cow::Borrowed).collect(),
            Cow::Owned(path) => owned(split(path)),
        };
        if current.contains(&b'\\') {
            paths.push(Path { segments: owned(segments_of(&current, b"/")), decoded, as_written: false });
        }
        paths.extend(cut_at_breaks(&current, decoded));
        let has_dots = segments.iter().any(|segment| is_dots(segment));
        if has_dots {
            paths.push(Path { segments: without_dots(&segments), decoded, as_written: false });
        }
        let as_written = decoded == 0 && !has_dots && is_tidy(path);
        paths.push(Path { segments, decoded, as_written });
    }
    paths
}

/// A regular expression that does not look at the end, as WordPress's for `wp-json`, stops at a line's end, and PHP is
/// handed the path behind the script as a text that ends at a NUL.
fn cut_at_breaks<'a>(path: &[u8], decoded: usize) -> impl Iterator<Item = Path<'a>> {
    [b'\n', END_OF_TEXT].into_iter().filter_map(move |cut| {
        let before = &path[..memchr::memchr(cut, path)?];
        Some(Path { segments: owned(split(before)), decoded, as_written: false })
    })
}

/// `\` separates like `/`: Windows servers take it so.
fn split(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    segments_of(path, br"/\")
}

fn segments_of<'p>(path: &'p [u8], separators: &[u8]) -> impl Iterator<Item = &'p [u8]> {
    path.split(|byte| separators.contains(byte)).filter(|segment| !segment.is_empty())
}

fn owned<'a, 's>(segments: impl Iterator<Item = &'s [u8]>) -> Vec<Cow<'a, [u8]>> {
    segments.map(|segment| Cow::Owned(segment.to_vec())).collect()
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

fn without_dots<'a>(segments: &[Cow<'a, [u8]>]) -> Vec<Cow<'a, [u8]>> {
    let mut kept: Vec<Cow<'a, [u8]>> = Vec::with_capacity(segments.len());
    for segment in segments {
        match &**segment {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment.clone()),
        }
    }
    kept
}

fn is_tidy(path: &[u8]) -> bool {
    !path.contains(&b'\\') && !path.windows(2).any(|pair| pair == b"//")
}

fn joined<'a>(segments: &[Cow<'a, [u8]>]) -> Cow<'a, [u8]> {
    match segments {
        [one] => one.clone(),
        _ => Cow::Owned(segments.join(&b'/')),
    }
}

impl Vocabulary {
    /// Some rule asks for this parameter.
    pub(super) fn add(&mut self, name: &str) {
        let number = self.names.add(&fold::name(name.as_bytes()));
        if number == self.written.len() {
            self.written.push(name.to_owned());
        }
    }

    fn read_pair<'a>(&'a self, pair: &'a [u8], parameters: &mut Vec<Parameter<'a>>) {
        let (written_name, written_value) = name_and_value(pair);
        let once = fold::decoded_form(written_name);
        if memchr::memchr(b'%', &once).is_some() {
            let value = fold::decoded_form(written_value);
            self.push_decoded_twice(&fold::decoded_form(&once), &value, parameters);
        }
        let Some(number) = self.names.find(&once) else { return };
        let name = self.names.text(number);
        let is_obeyed = fold::is_same_name(&once, self.written[number].as_bytes());
        let value = fold::decoded_form(written_value);
        if memchr::memchr(b'%', &value).is_some() {
            self.push_decoded_twice(&once, &value, parameters);
        }
        if let Some(at) = memchr::memchr(b'?', &value).filter(|_| name == CARRIER) {
            let (name, value) = name_and_value(&value[at + 1..]);
            if let Some(name) = self.known(name) {
                let value = Cow::Owned(value.to_vec());
                let origin = Origin::Query;
                parameters.push(Parameter { name, value, written_name: b"", is_obeyed: true, origin });
            }
        }
        parameters.push(Parameter { name, value, written_name, is_obeyed, origin: Origin::Query });
    }

    fn push_decoded_twice<'a>(&'a self, name: &[u8], value: &[u8], parameters: &mut Vec<Parameter<'a>>) {
        if let Some(name) = self.known(name) {
            let value = Cow::Owned(fold::decoded_form(value).into_owned());
            let origin = Origin::DecodedTwice;
            parameters.push(Parameter { name, value, written_name: b"", is_obeyed: false, origin });
        }
    }

    /// The name that this decoded one is folded to, if some rule asks for it.
    fn known(&self, decoded: &[u8]) -> Option<&[u8]> {
        self.names.find(decoded).map(|number| self.names.text(number))
    }
}

/// `target` before and behind its first `?`.
pub(super) fn path_and_query(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[]),
    }
}

/// `pair` before and behind its first `=`.
pub(super) fn name_and_value(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[]),
    }
}

const END_OF_TEXT: u8 = 0;

/// PrestaShop reads `controller=a?b=c` as `controller=a&b=c`.
pub(super) const CARRIER: &[u8] = b"controller";

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(names: &[&str], rewrites: Vec<Rewrite>) -> Vocabulary {
        let mut vocabulary = Vocabulary { rewrites, ..Vocabulary::default() };
        names.iter().for_each(|name| vocabulary.add(name));
        vocabulary
    }

    fn paths(target: &str) -> Vec<String> {
        let text = |path: &Path<'_>| String::from_utf8_lossy(&path.segments.join(&b'/')).into_owned();
        let vocabulary = Vocabulary::default();
        Reading::of(target.as_bytes(), &vocabulary).paths.iter().map(text).collect()
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        assert_eq!(paths("/a/b/?c=d"), ["a/b"]);
    }

    #[test]
    fn every_depth_of_decoding_is_a_reading_of_its_own() {
        assert_eq!(paths("/a%252Fb"), ["a%252Fb", "a%2Fb", "a/b"]);
    }

    #[test]
    fn dot_segments_are_read_both_ways() {
        assert_eq!(paths("//a/./x/..//b"), ["a/b", "a/./x/../b"]);
    }

    #[test]
    fn the_last_parameter_of_a_name_is_what_the_shop_sees() {
        let vocabulary = vocabulary(&["a", "c"], vec![]);
        let reading = Reading::of(b"/?a=1&%20a=2&b=3", &vocabulary);
        assert_eq!(reading.value(b"a"), Some(&b"2"[..]));
        assert_eq!(reading.value(b"c"), None);
    }

    #[test]
    fn a_rewrite_makes_parameters_of_the_path() {
        let rewrite = Rewrite {
            marker: "module",
            adds: Some(("fc", "module")),
            parameters: &["module", "controller"],
            is_obeyed: true,
        };
        let vocabulary = vocabulary(&["x"], vec![rewrite]);
        let reading = Reading::of(b"/en/Module/m/c/d?y=2&x=1", &vocabulary);
        let found: Vec<_> = reading.parameters.iter().map(|p| (p.name, &*p.value, p.origin == Origin::Path)).collect();
        let expected: [(&[u8], &[u8], bool); 4] =
            [(b"fc", b"module", true), (b"module", b"m", true), (b"controller", b"c/d", true), (b"x", b"1", false)];
        assert_eq!(found, expected);
    }
}
