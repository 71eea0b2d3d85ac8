//! W3C Trace Context, levels 1 and 2: what a caller says about its trace, read strictly.
//!
//! What cannot be read counts as not said. It never makes a request fail.

use http::{HeaderMap, HeaderValue};

use super::{SpanId, TRACEPARENT, TRACESTATE, TraceId};

pub(super) const SAMPLED: u8 = 0b01;
pub(super) const RANDOM: u8 = 0b10;

/// Bytes of a `traceparent` of version 00; later versions begin with the same.
const LENGTH: usize = 55;
/// Most members of a `tracestate`, over all its lines.
const MEMBERS_MAX: usize = 32;
/// Most bytes of a member's name, and of its value.
const NAME_BYTES_MAX: usize = 256;

/// The span that a request was sent from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// The caller may have recorded it.
    pub sampled: bool,
    /// The trace id was made by chance.
    pub random: bool,
}

impl Parent {
    /// The parent that the headers name: exactly one line, and one that can be read.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next()?;
        if lines.next().is_some() { None } else { Self::read(line.as_bytes()) }
    }

    /// Reads the value of a `traceparent`.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let [version] = hex(&known[..2])?;
        // A later version may say more, after another dash. Version 255 is none.
        let is_whole = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
        let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if version == 0xff || !is_whole || !has_dashes {
            return None;
        }
        let (trace, span, [flags]) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..55])?);
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        let is_set = |flag| flags & flag != 0;
        Some(Self { trace: TraceId(trace), span: SpanId(span), sampled: is_set(SAMPLED), random: is_set(RANDOM) })
    }
}

/// Lower-case digits only: anything else is invalid by the standard.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

/// Removes a `tracestate` that breaks the standard's form or limits. A good one keeps its bytes.
pub fn drop_bad_tracestate(headers: &mut HeaderMap) {
    let lines = headers.get_all(TRACESTATE);
    let members = || lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let named = || members().filter(|member| !member.is_empty());
    let is_good = named().count() <= MEMBERS_MAX && named().all(is_member) && lines.iter().all(has_no_control);
    if !is_good {
        headers.remove(TRACESTATE);
    }
}

fn has_no_control(line: &HeaderValue) -> bool {
    line.as_bytes().iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

fn is_member(member: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', member) else { return false };
    let (name, value) = (&member[..equals], &member[equals + 1..]);
    let in_name = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let starts_well = name.first().is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let in_value = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    starts_well
        && name.iter().all(in_name)
        && name.len() <= NAME_BYTES_MAX
        && (1..=NAME_BYTES_MAX).contains(&value.len())
        && value.iter().all(in_value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(text: &str) -> Option<Parent> {
        Parent::read(text.as_bytes())
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let parent = read(GOOD).unwrap();
        assert_eq!(parent.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span.to_string(), "b7ad6b7169203331");
        assert!(parent.sampled && !parent.random);
        let quiet = read(&GOOD.replace("-01", "-02")).unwrap();
        assert!(!quiet.sampled && quiet.random);
        // Flags that nobody has given a meaning yet.
        assert!(read(&GOOD.replace("-01", "-ff")).unwrap().sampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for text in ["cc-", "01-", "fe-"].map(|version| GOOD.replacen("00-", version, 1)) {
            assert!(read(&text).is_some(), "{text}");
            assert!(read(&format!("{text}-what-the-future-will-be-like")).is_some(), "{text}");
            assert!(read(&format!("{text}.")).is_none(), "{text}");
        }
    }

    #[test]
    fn what_breaks_the_standard_is_not_read() {
        let replaced = [
            ("00-", "ff-"),
            ("00-", "0-"),
            ("00-", "0g-"),
            ("00-", " 00-"),
            ("0af7", "0AF7"),
            ("0af7", "0af "),
            ("b7ad", "B7AD"),
            ("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            ("b7ad6b7169203331", "0000000000000000"),
            ("-01", "-1"),
            ("-01", "-0x"),
            ("-01", "_01"),
            ("-01", "-01-"),
            ("-01", "-01-what"),
            ("-01", "-01 "),
            ("-b7", ".b7"),
        ];
        for text in replaced.map(|(from, to)| GOOD.replacen(from, to, 1)) {
            assert_eq!(read(&text), None, "{text}");
        }
        for text in ["", "00", "00-", &GOOD[..54], "ä".repeat(28).as_str()] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn two_lines_of_traceparent_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(Parent::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Parent::of(&headers), None);
    }

    fn kept(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(TRACESTATE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        drop_bad_tracestate(&mut headers);
        headers.get_all(TRACESTATE).iter().map(|line| String::from_utf8(line.as_bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_good_tracestate_keeps_its_bytes_and_a_bad_one_goes() {
        let (most, too_many) = (["a=1"; 32].join(","), ["a=1"; 33].join(","));
        let (long, too_long) = (format!("a={}", "x".repeat(256)), format!("a={}", "x".repeat(257)));
        for good in ["rojo=00f067aa0ba902b7", "a=1 , ,b@c=x y", "", "0a*/_-=1", "a=1,\t b=2", &most, &long] {
            assert_eq!(kept(&[good]), [good]);
        }
        for bad in ["a", "=1", "a=", "A=1", "a=b=c", "a=1;b=2,é", "-a=1", "a =1", &too_many, &too_long] {
            assert_eq!(kept(&[bad]), Vec::<String>::new(), "{bad}");
        }
        assert_eq!(kept(&["a=1", "b=2"]), ["a=1", "b=2"]);
        assert_eq!(kept(&[&most, "b=2"]), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_be_looked_at(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let parent = Parent::read(&text);
            prop_assert!(parent.is_none() || text.len() >= LENGTH);
        }

        #[test]
        fn what_is_read_is_what_was_written(
            trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>(), version in 0_u8..=254,
        ) {
            let text = format!("{version:02x}-{}-{}-{flags:02x}", TraceId(trace), SpanId(span));
            let parent = read(&text);
            prop_assert_eq!(parent.is_some(), trace != [0; 16] && span != [0; 8]);
            if let Some(parent) = parent {
                prop_assert_eq!((parent.trace.0, parent.span.0), (trace, span));
                prop_assert_eq!((parent.sampled, parent.random), (flags & 1 == 1, flags & 2 == 2));
            }
        }

        #[test]
        fn one_wrong_byte_makes_it_another_or_none(at in 0_usize..55, byte in any::<u8>()) {
            let mut text = GOOD.as_bytes().to_vec();
            text[at] = byte;
            let fits = match at {
                2 | 35 | 52 => byte == b'-',
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            };
            prop_assert_eq!(Parent::read(&text).is_some(), fits);
        }
    }
}
