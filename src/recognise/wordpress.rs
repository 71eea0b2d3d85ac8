//! Which parameter WordPress makes of a path.
//!
//! Every reading of a path is looked at in any case; this one says which of several WordPress obeys. Its steps are those
//! of `WP::parse_request`: what it asks for, then its rewrite rules in their order, each tried on that as it stands and
//! decoded. The first that fits wins, whatever the others would say.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::fold;
use super::reading::Routed;

/// The parameter that `path`, as it came, sets.
pub(super) fn routed(path: &[u8]) -> Option<Routed<'_>> {
    let as_it_stands = requested(path);
    let decoded = match fold::decoded_form(&as_it_stands) {
        Cow::Owned(decoded) => Some(Cow::Owned(decoded)),
        Cow::Borrowed(_) => None,
    };
    let texts = [Some(as_it_stands), decoded];
    RULES.iter().find_map(|(name, fits)| {
        let (text, value) = texts.iter().flatten().find_map(|text| Some((text, fits(text)?)))?;
        let value = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[value]),
            Cow::Owned(text) => Cow::Owned(text[value].to_vec()),
        };
        Some(Routed { name, value })
    })
}

/// A parameter, and where in the text its value stands if the rule fits.
type Rule = (&'static str, fn(&[u8]) -> Option<Range<usize>>);

/// Those that lead to callbacks. WooCommerce's stands once for the root and once for all that may come before it.
const RULES: [Rule; 4] = [
    ("rest_route", rest_route),
    ("wc-api", endpoint_at_root),
    ("wc-api", endpoint_behind_anything),
    // WordPress takes its folder's name off the path first. We do not know it, and for `wc-api` need not.
    ("rest_route", rest_route_in_a_folder),
];

/// `^wp-json/?$` and `^wp-json/(.*)?`, also behind `index.php/`. Nothing is asked of what follows a line's end.
fn rest_route(text: &[u8]) -> Option<Range<usize>> {
    let start = if text.starts_with(SCRIPT) { SCRIPT.len() } else { 0 };
    rest_route_at(text, start)
}

fn rest_route_in_a_folder(text: &[u8]) -> Option<Range<usize>> {
    memmem::find_iter(text, b"/wp-json").find_map(|at| rest_route_at(text, at + 1))
}

fn rest_route_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    let marker = b"wp-json";
    let value = start + marker.len();
    match text[start..].strip_prefix(marker)? {
        [] | b"\n" => Some(value..value),
        [b'/', rest @ ..] => Some(value + 1..value + 1 + memchr::memchr(b'\n', rest).unwrap_or(rest.len())),
        _ => None,
    }
}

/// `^wc-api(/(.*))?/?$`
fn endpoint_at_root(text: &[u8]) -> Option<Range<usize>> {
    endpoint_at(text, 0)
}

/// `^(.?.+?)/wc-api(/(.*))?/?$`: as few characters as possible come before it, but two at least; or else one.
fn endpoint_behind_anything(text: &[u8]) -> Option<Range<usize>> {
    let marker = b"/wc-api";
    let behind_two = memmem::find_iter(text.get(2..)?, marker).map(|at| at + 2);
    let behind_one = text[1..].starts_with(marker).then_some(1);
    behind_two.chain(behind_one).find_map(|at| endpoint_at(text, at + 1))
}

/// No part of these rules stands for a line break, but their end does for a last one.
fn endpoint_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let marker = b"wc-api";
    let value = start + marker.len();
    let is_one_line = || memchr::memchr(b'\n', line).is_none();
    match line.get(start..)?.strip_prefix(marker)? {
        [] => is_one_line().then_some(value..value),
        [b'/', ..] => is_one_line().then_some(value + 1..line.len()),
        _ => None,
    }
}

/// What WordPress looks up: what stands behind the script, if anything does, else the path.
fn requested(path: &[u8]) -> Cow<'_, [u8]> {
    let Some(info) = path.strip_prefix(b"/index.php").filter(|info| info.starts_with(b"/")) else {
        return Cow::Borrowed(without_slashes(path));
    };
    // It comes decoded, as a text that ends at a NUL, and WordPress cuts it like a URL.
    let decoded = fold::decoded_path(info);
    let info = match &decoded {
        Cow::Borrowed(info) => Cow::Borrowed(*info),
        Cow::Owned(info) => Cow::Owned(replaced(before_any(b"?\0", info), b"%", b"%25")),
    };
    let behind = without_slashes(&info);
    if behind.is_empty() || names_script(behind) {
        let rest = replaced(path, &info, b"");
        let rest = without_slashes(&rest);
        return Cow::Owned(if rest == b"index.php" { Vec::new() } else { rest.to_vec() });
    }
    match info {
        Cow::Borrowed(info) => Cow::Borrowed(without_slashes(info)),
        Cow::Owned(_) => Cow::Owned(behind.to_vec()),
    }
}

/// `^.*index\.php$`
fn names_script(info: &[u8]) -> bool {
    let line = info.strip_suffix(b"\n").unwrap_or(info);
    line.ends_with(b"index.php") && memchr::memchr(b'\n', line).is_none()
}

fn before_any<'a>(ends: &[u8; 2], text: &'a [u8]) -> &'a [u8] {
    memchr::memchr2(ends[0], ends[1], text).map_or(text, |end| &text[..end])
}

fn without_slashes(text: &[u8]) -> &[u8] {
    let is_slash = |byte: &&u8| **byte == b'/';
    let start = text.iter().take_while(is_slash).count();
    let end = text[start..].iter().rev().take_while(is_slash).count();
    &text[start..text.len() - end]
}

fn replaced(text: &[u8], wanted: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for at in memmem::find_iter(text, wanted) {
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(by);
        done = at + wanted.len();
    }
    out.extend_from_slice(&text[done..]);
    out
}

const SCRIPT: &[u8] = b"index.php/";

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<(&'static str, String)> {
        let Routed { name, value } = routed(path.as_bytes())?;
        Some((name, String::from_utf8_lossy(&value).into_owned()))
    }

    // What PHP 8.2 makes of these by `fuzz/php/shop.php` was looked at; there the shop is in no folder.
    #[test]
    fn a_path_sets_what_the_first_rule_that_fits_says() {
        for (path, name, value) in [
            ("/wc-api/a", "wc-api", "a"),
            ("/wc-api/a/b/", "wc-api", "a/b"),
            ("/wc-api", "wc-api", ""),
            ("/en/wc-api/a", "wc-api", "a"),
            ("/wc-api/a/wc-api/b", "wc-api", "a/wc-api/b"),
            ("/xy/wc-api/a/wc-api/b", "wc-api", "a/wc-api/b"),
            ("/x/wc-api/a/wc-api/b", "wc-api", "b"),
            ("/x/wc-api/a", "wc-api", "a"),
            ("/x/wc-apis/wc-api/a", "wc-api", "a"),
            ("/wc-api/a%41", "wc-api", "a%41"),
            ("/wc%2Dapi/a%41+", "wc-api", "aA "),
            ("/wc-api/a%0Ab", "wc-api", "a%0Ab"),
            ("/wc%2Dapi/a%0A", "wc-api", "a"),
            ("/wp-json", "rest_route", ""),
            ("/wp-json/a/wc-api/b", "rest_route", "a/wc-api/b"),
            ("/wp%2Djson/a%0Ab", "rest_route", "a"),
            ("/wc-api/a/wp-json/b", "wc-api", "a/wp-json/b"),
            ("/shop/wp-json/a", "rest_route", "a"),
            ("/shop/wp-json/wc-api/a", "wc-api", "a"),
            ("/index.php/wc-api/a%41", "wc-api", "aA"),
            ("/index.php//wp-json/a%2541%3Fb", "rest_route", "a%2541"),
            ("/index.php/x/wc-api/a%00b", "wc-api", "a"),
            ("/index.php/wc-api/a%2Findex.php", "wc-api", "a%2Findex.php"),
            ("/index.php/index.php%00/wc-api/a", "wc-api", "a"),
            ("/a/index.php/wc-api/b", "wc-api", "b"),
        ] {
            assert_eq!(route(path), Some((name, value.to_owned())), "{path}");
        }
    }

    #[test]
    fn a_path_that_no_rule_fits_sets_nothing() {
        for path in [
            "",
            "/",
            "//",
            "/a",
            "/wc-apis/a",
            "/xwc-api/a",
            "/WC-API/a",
            "/wp-jsons/a",
            "/wc%2Dapi/a%0Ab",
            "/a%0A/wc%2Dapi/b",
            "/index.php",
            "/index.php/",
            "/index.php/index.php",
            "/index.php/wc-api/index.php",
            "/index.php/%00/wc-api/a",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
