//! Token keys as text: one line for each, `<id> <64 hex characters>`. The first line mints, every line verifies.
//!
//! Empty lines and lines that start with `#` are passed over. No error repeats what stands in the file.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use thiserror::Error;

use super::Key;
use super::format::decode_hex;

const SECRET_BYTES: usize = 32;

/// A key file that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {why}")]
pub struct KeyFault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: WrongKey,
}

/// What is wrong with a line of a key file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WrongKey {
    /// Not two words.
    #[error("a key is `<id> <64 hex characters>`; this line has {words} word(s)")]
    Words {
        /// How many words it has.
        words: usize,
    },
    /// The first word is no id.
    #[error("a key's id is a number from 0 to 255")]
    Id,
    /// The second word is no secret.
    #[error("a key's secret is 64 lower-case hex characters (32 bytes); this one has {characters} character(s)")]
    Secret {
        /// How many characters it has.
        characters: usize,
    },
    /// The id is taken.
    #[error("key id {id} stands in line {first_line} already")]
    Repeated {
        /// The id.
        id: u8,
        /// Where it stood first.
        first_line: usize,
    },
    /// The file ends without any key.
    #[error("the file ends and there was no key in it")]
    NoKey,
}

/// Reads a key file.
pub fn parse_keys(text: &str) -> Result<Vec<Key>, KeyFault> {
    let mut found: Vec<(usize, Key)> = Vec::new();
    let mut last_line = 1;
    for (line, content) in (1..).zip(text.lines()) {
        last_line = line;
        if content.trim().is_empty() || content.trim_start().starts_with('#') {
            continue;
        }
        let key = parse_key(content).map_err(|why| KeyFault { line, why })?;
        if let Some((first_line, Key { id, .. })) = found.iter().find(|(_, earlier)| earlier.id == key.id) {
            return Err(KeyFault { line, why: WrongKey::Repeated { id: *id, first_line: *first_line } });
        }
        found.push((line, key));
    }
    if found.is_empty() {
        return Err(KeyFault { line: last_line, why: WrongKey::NoKey });
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// A new secret for a key: 32 bytes from the operating system's generator, by way of the thread's own.
pub fn generate() -> SecretSlice<u8> {
    let mut secret = vec![0; SECRET_BYTES];
    rand::fill(&mut secret[..]);
    secret.into()
}

/// The text of a key file. [`parse_keys`] reads it back.
pub fn keys_text(keys: &[Key]) -> SecretString {
    // One allocation that is large enough: a string that grows leaves copies of the secret behind.
    let bytes = keys.iter().map(|key| "255 \n".len() + 2 * key.secret.expose_secret().len()).sum();
    let mut text = String::with_capacity(bytes);
    for key in keys {
        // Writing to a string cannot fail.
        let _ = write!(text, "{} ", key.id);
        for byte in key.secret.expose_secret() {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text.into()
}

fn parse_key(line: &str) -> Result<Key, WrongKey> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, secret] = words[..] else { return Err(WrongKey::Words { words: words.len() }) };
    let id = if id.bytes().all(|byte| byte.is_ascii_digit()) { id.parse().ok() } else { None };
    let id = id.ok_or(WrongKey::Id)?;
    let bytes: [u8; SECRET_BYTES] =
        decode_hex(secret).ok_or(WrongKey::Secret { characters: secret.chars().count() })?;
    Ok(Key { id, secret: bytes.to_vec().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "22222222222222222222222222222222222222222222222222222222222222ff";

    fn fault(text: &str) -> KeyFault {
        parse_keys(text).unwrap_err()
    }

    #[test]
    fn keys_are_read_in_the_order_of_the_file() {
        let keys = parse_keys(&format!("# since May\r\n\n  9\t{TWO}  \r\n0 {ONE}")).unwrap();
        assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [9, 0]);
        assert_eq!(keys[0].secret.expose_secret()[30..], [0x22, 0xff]);
        assert_eq!(keys[1].secret.expose_secret(), [0x11; 32]);
    }

    #[test]
    fn a_fault_names_its_line_and_what_is_wrong() {
        let rows = [
            (ONE.to_owned(), 1, WrongKey::Words { words: 1 }),
            (format!("\n1 {ONE} x"), 2, WrongKey::Words { words: 3 }),
            (format!("256 {ONE}"), 1, WrongKey::Id),
            (format!("+1 {ONE}"), 1, WrongKey::Id),
            (format!("x {ONE}"), 1, WrongKey::Id),
            (format!("1 {}", &ONE[1..]), 1, WrongKey::Secret { characters: 63 }),
            (format!("1 {}", TWO.to_uppercase()), 1, WrongKey::Secret { characters: 64 }),
            (format!("1 {ONE}\n#\n01 {TWO}"), 3, WrongKey::Repeated { id: 1, first_line: 1 }),
            (String::new(), 1, WrongKey::NoKey),
            ("# one\n# two\n".to_owned(), 2, WrongKey::NoKey),
        ];
        for (text, line, why) in rows {
            assert_eq!(fault(&text), KeyFault { line, why }, "{text}");
        }
    }

    #[test]
    fn no_fault_repeats_the_file() {
        for text in ["1 deadbeef", "deadbeef 1", "deadbeef", "1 2 deadbeef"] {
            let fault = fault(text);
            assert!(!format!("{fault} {fault:?}").contains("deadbeef"));
        }
    }

    #[test]
    fn generated_keys_differ_and_survive_the_way_through_a_file() {
        let keys = [Key { id: 255, secret: generate() }, Key { id: 3, secret: generate() }];
        assert_ne!(keys[0].secret.expose_secret(), keys[1].secret.expose_secret());
        let back = parse_keys(keys_text(&keys).expose_secret()).unwrap();
        for (key, back) in keys.iter().zip(back) {
            assert_eq!((key.id, key.secret.expose_secret()), (back.id, back.secret.expose_secret()));
        }
    }
}
