//! Durations and sizes as people write them: `1.5 s`, `60 min`, `2 MiB`.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;

/// Units of size, the longest names first.
const SIZES: [(&str, u64); 8] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("bytes", 1),
    ("b", 1),
];

/// Units of time as they are printed, the longest first.
const TIMES: [(&str, u128); 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration with a unit. A bare number is none: nobody could tell seconds from milliseconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    static PARSER: SpanParser = SpanParser::new();
    PARSER.parse_unsigned_duration(text.trim()).ok()
}

/// The duration in the largest unit that needs no fraction.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let fits = |(_, unit): &&(&str, u128)| millis > 0 && millis.is_multiple_of(*unit);
    match TIMES.iter().find(fits) {
        Some((name, unit)) => format!("{} {name}", millis / unit),
        None => "0 s".to_owned(),
    }
}

/// Reads a size in bytes: a number with a unit, or a bare number of bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = SIZES
        .iter()
        .find_map(|(name, unit)| lower.strip_suffix(name).map(|number| (number.trim_end(), *unit)))
        .unwrap_or((lower.as_str(), 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let whole: u64 = whole.replace('_', "").parse().ok()?;
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(fraction.checked_mul(unit)? / scale)
}

/// The size in the largest binary unit that needs no fraction.
pub(super) fn show_bytes(bytes: u64) -> String {
    match SIZES[..3]
        .iter()
        .zip(["KiB", "MiB", "GiB"])
        .rev()
        .find(|((_, unit), _)| bytes > 0 && bytes.is_multiple_of(*unit))
    {
        Some(((_, unit), name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis = |text| duration(text).map(|read| read.as_millis());
        for (text, expected) in [
            ("1.5s", 1_500),
            ("1.5 s", 1_500),
            ("500 ms", 500),
            ("60 min", 3_600_000),
            ("48 h", 172_800_000),
            ("1 h 30 min", 5_400_000),
            ("0 s", 0),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in ["", "10", "-1 s", "s", "1 fortnight", "1 s 1 s", "99999999999999999999 h"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in
            [("2 MiB", 2 << 20), ("64KiB", 64 << 10), ("1.5 GiB", 3 << 29), ("10 kB", 10_000), ("17", 17), ("17 B", 17)]
        {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "MiB", "-1", "1..5 KiB", "2 MB/s", "99999999999 GiB", "1.1234567 KiB", ".5 KiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for millis in [0_u64, 1, 500, 1_500, 60_000, 90_000, 3_600_000, 172_800_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Some(value));
        }
        for value in [0_u64, 1, 1023, 1024, 2 << 20, 3 << 29] {
            assert_eq!(bytes(&show_bytes(value)), Some(value));
        }
    }
}
