//! Tokens: what was minted is good, what was changed is not, and what is read prints as it was.
//!
//! An input is three bytes for family, place and change, a line with the session, and a text that may be a token or URL.
#![no_main]

use std::sync::LazyLock;

use kallback::clock::UnixMillis;
use kallback::event::Family;
use kallback::token::{Guard, Key, Refusal, Settings, Ticket, Token, URL_CHARACTERS_MAX};
use libfuzzer_sys::fuzz_target;

const NOW: UnixMillis = UnixMillis(1_763_700_000_000);
const EXPIRES: UnixMillis = UnixMillis(1_764_028_800_000);

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let key = |id| Key { id, secret: vec![id; 32].into() };
    let keys = vec![key(1), key(200)];
    Guard::new(Settings { parameter: "kallback".into(), keys, signing_keys: Vec::new(), sessions_per_token: 4 })
});

fuzz_target!(|input: &[u8]| {
    let [family, place, change, rest @ ..] = input else { return };
    let (session, text) = rest.split_at(rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    let Ok(text) = std::str::from_utf8(text.get(1..).unwrap_or_default()) else { return };
    reads_and_prints(text);
    for family in Family::ALL {
        assert!(GUARD.verify(text, family, NOW).is_err(), "nobody minted {text}");
    }

    let family = Family::ALL[usize::from(*family) % Family::ALL.len()];
    let ticket = Ticket { family, session, expires_at: EXPIRES };
    let minted = GUARD.mint(&ticket).expect("there is a key");
    assert!(GUARD.verify(&minted, family, NOW).is_ok());
    reads_and_prints(&minted);
    assert_eq!(GUARD.verify(&changed(&minted, *place, *change), family, NOW).is_ok(), change % 128 == 0);

    if let Ok(url) = GUARD.mint_into(text, &ticket, NOW) {
        assert!(url.chars().count() <= URL_CHARACTERS_MAX || url == text);
        assert_eq!(GUARD.mint_into(&url, &ticket, NOW).as_ref(), Ok(&url), "a second token");
    }
});

fn reads_and_prints(text: &str) {
    if let Ok(token) = Token::read(text) {
        assert_eq!(token.text(), text);
        let verdict = GUARD.verify(text, token.family, NOW);
        assert_ne!(verdict, Err(Refusal::Malformed), "it was read");
    }
}

/// `token` with one character changed; the same one if `change` is a multiple of 128.
fn changed(token: &str, place: u8, change: u8) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = usize::from(place) % bytes.len();
    bytes[at] ^= change & 0x7f;
    String::from_utf8(bytes).expect("the upper bit was left alone")
}
