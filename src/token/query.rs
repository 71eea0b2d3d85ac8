//! Query surgery: takes the token's parameter out of a request's target, and puts it into a URL.
//!
//! Nothing is parsed and printed again. Every byte that is not the token's own pair stays as it is, because the shop
//! and the sender have their own ideas of encoding: `{checkout.order.id}` must stay literal, `+` is not `%20`.

use std::borrow::Cow;
use std::iter;

use percent_encoding::percent_decode;
use thiserror::Error;

/// Longest URL that Klarna and Kustom take, in characters.
pub const URL_CHARACTERS_MAX: usize = 2000;

/// A target with every token parameter cut out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut<'a> {
    /// Path and query without it.
    pub target: Cow<'a, str>,
    /// What was there.
    pub found: Found<'a>,
}

/// What a target says about its token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The parameter is absent.
    Nothing,
    /// Its value as it stands, undecoded.
    Once(&'a str),
    /// The parameter is there more than once.
    Repeated,
}

/// The URL would be longer than its receiver takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the URL would have {characters} characters with its token; at most {URL_CHARACTERS_MAX} are allowed")]
pub struct TooLong {
    /// Its length with the token.
    pub characters: usize,
}

/// Cuts the pairs of `parameter`, each with one `&`, out of a target. With its last pair the `?` goes too.
pub fn cut<'a>(target: &'a str, parameter: &str) -> Cut<'a> {
    let untouched = Cut { target: Cow::Borrowed(target), found: Found::Nothing };
    let Some((path, query)) = target.split_once('?') else { return untouched };
    let found = query.split('&').filter_map(|pair| value_of(pair, parameter)).fold(Found::Nothing, Found::and);
    if found == Found::Nothing {
        return untouched;
    }
    let mut rest = String::with_capacity(target.len());
    rest.push_str(path);
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| value_of(pair, parameter).is_none()) {
        rest.push(separator);
        rest.push_str(pair);
        separator = '&';
    }
    Cut { target: Cow::Owned(rest), found }
}

/// Puts a token behind the query of a URL, before its fragment. [`cut`] gives the same URL back.
pub fn append(url: &str, parameter: &str, token: &str) -> Result<String, TooLong> {
    let (front, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let separator = if front.contains('?') { '&' } else { '?' };
    let whole = format!("{front}{separator}{parameter}={token}{fragment}");
    match whole.chars().count() {
        characters if characters > URL_CHARACTERS_MAX => Err(TooLong { characters }),
        _ => Ok(whole),
    }
}

/// The pair's value, if its name is `parameter`.
fn value_of<'a>(pair: &'a str, parameter: &str) -> Option<&'a str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    folded(name).eq(parameter.bytes()).then_some(value)
}

/// A parameter's name as PHP stores it: decoded, leading blanks dropped, ended by a NUL, blanks and dots as `_`.
///
/// One blank is put before every part between two `+`, which makes `+` a blank; the one before the first part is
/// among those that are dropped.
fn folded(name: &str) -> impl Iterator<Item = u8> {
    name.split('+')
        .flat_map(|part| iter::once(b' ').chain(percent_decode(part.as_bytes())))
        .skip_while(|byte| *byte == b' ')
        .take_while(|byte| *byte != 0)
        .map(|byte| if matches!(byte, b' ' | b'.') { b'_' } else { byte })
}

impl<'a> Found<'a> {
    fn and(self, value: &'a str) -> Self {
        match self {
            Self::Nothing => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        }
    }
}

impl std::fmt::Debug for Found<'_> {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Once(_) => "Once(…)",
            Self::Repeated => "Repeated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(target: &str) -> Found<'_> {
        cut(target, "kallback").found
    }

    #[test]
    fn a_token_is_cut_from_every_place_and_nothing_else_changes() {
        let rows = [
            ("/p?kallback=T", "/p"),
            ("/p?kallback=T&a=1", "/p?a=1"),
            ("/p?a=1&kallback=T&b=2", "/p?a=1&b=2"),
            ("/p?a=1&kallback=T", "/p?a=1"),
            ("/p?&kallback=T", "/p?"),
            ("/p?kallback=T&", "/p?"),
            ("/p?a=1&&kallback=T&&b", "/p?a=1&&&b"),
            ("/p?a=1&kallback=T&&", "/p?a=1&&"),
            ("/p?a+b=%20+;x&kallback=T&e=&f", "/p?a+b=%20+;x&e=&f"),
            ("/p?id={checkout.order.id}&kallback=T&q=a?b", "/p?id={checkout.order.id}&q=a?b"),
            ("/kallback=T?x&kallback=T", "/kallback=T?x"),
            ("?kallback=T", ""),
        ];
        for (target, rest) in rows {
            assert_eq!(cut(target, "kallback"), Cut { target: rest.into(), found: Found::Once("T") }, "{target}");
        }
    }

    #[test]
    fn a_target_without_the_token_is_not_copied() {
        let targets = [
            "",
            "/",
            "/p?",
            "/p?&&",
            "/kallback=T",
            "/p?x=kallback=T",
            "/p?a;kallback=T",
            "/p?Kallback=T",
            "/p?kallback[]=T",
        ];
        for target in targets {
            let cut = cut(target, "kallback");
            assert!(matches!(cut.target, Cow::Borrowed(same) if same == target), "{target}");
            assert_eq!(cut.found, Found::Nothing, "{target}");
        }
    }

    #[test]
    fn a_name_counts_in_every_spelling_that_php_takes_for_it() {
        for name in ["%6Ballback", "k%61llbac%6b", "+kallback", "%20+%20kallback", "kallback%00x", "++kallback%00%00"] {
            let target = format!("/p?a=1&{name}=T");
            assert_eq!(cut(&target, "kallback"), Cut { target: "/p?a=1".into(), found: Found::Once("T") }, "{name}");
        }
        for name in
            ["kallback+", "kallback%20", "k+allback", "%2Bkallback", "%00kallback", "%256Ballback", "%0Akallback"]
        {
            assert_eq!(found(&format!("/p?{name}=T")), Found::Nothing, "{name}");
        }
        assert_eq!(cut("/p?our.token=T&our+token=U", "our_token").found, Found::Repeated);
    }

    #[test]
    fn values_come_as_they_stand_and_a_name_alone_has_an_empty_one() {
        assert_eq!(found("/p?kallback"), Found::Once(""));
        assert_eq!(found("/p?kallback="), Found::Once(""));
        assert_eq!(found("/p?kallback=a%20=b+c?d"), Found::Once("a%20=b+c?d"));
    }

    #[test]
    fn of_several_tokens_none_is_left() {
        let rows =
            ["/p?kallback=T&kallback=T", "/p?kallback=T&a=1&%6ballback=U", "/p?a=1&kallback&+kallback=T&kallback%00=V"];
        for target in rows {
            let cut = cut(target, "kallback");
            assert_eq!(cut.found, Found::Repeated, "{target}");
            assert!(!cut.target.contains("allback"), "{target}");
        }
        assert_eq!(cut("/p?kallback=T&kallback=T", "kallback").target, "/p");
    }

    #[test]
    fn appending_leaves_placeholders_and_fragments_alone() {
        let rows = [
            ("https://shop.example/p", "https://shop.example/p?kallback=T"),
            ("https://shop.example/p?", "https://shop.example/p?&kallback=T"),
            ("https://shop.example/p?a=%C3%BC+x&", "https://shop.example/p?a=%C3%BC+x&&kallback=T"),
            ("https://shop.example/p#f?g", "https://shop.example/p?kallback=T#f?g"),
            ("https://shop.example/{checkout.order.id}?a#f", "https://shop.example/{checkout.order.id}?a&kallback=T#f"),
        ];
        for (url, with_token) in rows {
            assert_eq!(append(url, "kallback", "T").as_deref(), Ok(with_token));
        }
    }

    #[test]
    fn a_url_may_have_2000_characters_with_its_token_and_no_more() {
        let room = URL_CHARACTERS_MAX - "?kallback=T".len();
        // Characters, not bytes: JSON schemas count these.
        assert!(append(&"ü".repeat(room), "kallback", "T").is_ok());
        assert_eq!(append(&"u".repeat(room + 1), "kallback", "T"), Err(TooLong { characters: 2001 }));
    }

    #[test]
    fn what_was_found_does_not_print_the_token() {
        assert!(!format!("{:?}", cut("/p?a=1&kallback=secret", "kallback")).contains("secret"));
    }

    proptest! {
        #[test]
        fn cutting_what_was_appended_gives_every_byte_back(url in "[^#]{0,60}") {
            prop_assume!(found(&url) == Found::Nothing);
            let whole = append(&url, "kallback", "T").unwrap();
            prop_assert_eq!(cut(&whole, "kallback"), Cut { target: url.into(), found: Found::Once("T") });
        }

        #[test]
        fn cutting_removes_pairs_and_changes_no_other(
            pairs in prop::collection::vec("(kallback=T|%6ballback|[ -%'-~é]{0,6}|a=[+;%=?]{0,4})", 0..8),
        ) {
            let target = format!("/p?{}", pairs.join("&"));
            let ours = |pair: &&String| pair.starts_with("kallback=") || *pair == "%6ballback";
            let kept: Vec<_> = pairs.iter().filter(|pair| !ours(pair)).cloned().collect();
            let cut = cut(&target, "kallback");
            let query = cut.target.strip_prefix("/p").unwrap();
            prop_assert_eq!(query.is_empty(), !pairs.is_empty() && kept.is_empty());
            if !kept.is_empty() {
                prop_assert_eq!(query, format!("?{}", kept.join("&")));
            }
        }

        #[test]
        fn cutting_never_panics_and_does_nothing_twice(target in any::<String>(), parameter in "[a-z_]{1,3}") {
            let once = cut(&target, &parameter).target;
            prop_assert_eq!(cut(&once, &parameter), Cut { target: Cow::Borrowed(&*once), found: Found::Nothing });
        }
    }
}
