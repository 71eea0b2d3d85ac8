//! The token's 32 bytes: what they mean, how they are made, and how they are checked.
//!
//! The same layout, with examples in other languages and test vectors, stands in `docs/tokens.md`.

use std::array;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Key, Ticket};
use crate::clock::UnixMillis;
use crate::event::{Family, Nonce};

/// The only version of the format so far.
pub const VERSION: u8 = 1;

const TOKEN_BYTES: usize = 32;
const EXPIRY_AT: usize = 2;
const NONCE_AT: usize = 6;
const CODE_AT: usize = 16;

/// What the two uses of a key are told apart by. Both labels have the same length, so that the input of a nonce can
/// never be read as the input of a code. At 17 bytes, label and signed bytes fit into one block of SHA-256.
const NONCE_LABEL: &[u8; 17] = b"kallback-nonce-v1";
const CODE_LABEL: &[u8; 17] = b"kallback-token-v1";

/// A key, ready for use: the two key-dependent blocks of HMAC are computed once.
#[derive(Clone)]
pub(super) struct TokenKey {
    pub(super) id: u8,
    state: Hmac<Sha256>,
}

/// A token as it was read. Nothing in it can be believed before [`super::Guard::verify`] said yes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The API whose URLs it was made for.
    pub family: Family,
    /// The id of the key it says it was made with.
    pub key_id: u8,
    /// When it stops being valid, in seconds since 1970-01-01 UTC.
    pub expiry_seconds: u32,
    /// What makes it unique.
    pub nonce: Nonce,
    code: [u8; TOKEN_BYTES - CODE_AT],
}

/// Why a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotAToken {
    /// Another length, or other characters.
    #[error("a token is 64 lower-case hex characters")]
    Text,
    /// A format that this kallback does not know.
    #[error("the token has format version {0}; only version {VERSION} is known")]
    Version(u8),
    /// A family that this kallback does not know.
    #[error("the token is for a family with the number {0}; there is none")]
    Family(u8),
}

impl TokenKey {
    pub(super) fn new(key: &Key) -> Self {
        Self { id: key.id, state: keyed(key.secret.expose_secret()) }
    }

    /// The token for a ticket. An expiry that four bytes cannot hold becomes the nearest that they can.
    pub(super) fn mint(&self, ticket: &Ticket<'_>) -> Token {
        let seconds = ticket.expires_at.seconds().clamp(0, i64::from(u32::MAX));
        let mut token = Token {
            family: ticket.family,
            key_id: self.id,
            expiry_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            nonce: Nonce::default(),
            code: Default::default(),
        };
        let nonce =
            self.state.clone().chain_update(NONCE_LABEL).chain_update(token.head()).chain_update(ticket.session);
        token.nonce = first_bytes(&nonce.finalize().into_bytes().into());
        token.code = first_bytes(&self.code(&token).finalize().into_bytes().into());
        token
    }

    /// Whether this key made the token. Takes the same time for every wrong code.
    pub(super) fn made(&self, token: &Token) -> bool {
        self.code(token).verify_truncated_left(&token.code).is_ok()
    }

    fn code(&self, token: &Token) -> Hmac<Sha256> {
        self.state.clone().chain_update(CODE_LABEL).chain_update(token.head()).chain_update(token.nonce)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Token {
    /// Reads a token's text.
    pub fn read(text: &str) -> Result<Self, NotAToken> {
        let bytes: [u8; TOKEN_BYTES] = decode_hex(text).ok_or(NotAToken::Text)?;
        let [mark, key_id, ..] = bytes;
        if mark >> 4 != VERSION {
            return Err(NotAToken::Version(mark >> 4));
        }
        Ok(Self {
            family: family_of_number(mark & 0x0f).ok_or(NotAToken::Family(mark & 0x0f))?,
            key_id,
            expiry_seconds: u32::from_be_bytes(array::from_fn(|i| bytes[EXPIRY_AT + i])),
            nonce: array::from_fn(|i| bytes[NONCE_AT + i]),
            code: array::from_fn(|i| bytes[CODE_AT + i]),
        })
    }

    /// The text that goes into a URL. It is a secret.
    pub fn text(&self) -> String {
        encode_hex(&[&self.head()[..], &self.nonce, &self.code].concat())
    }

    /// The first moment at which it is not valid any more.
    pub fn expires_at(&self) -> UnixMillis {
        UnixMillis(i64::from(self.expiry_seconds) * 1000)
    }

    fn head(&self) -> [u8; NONCE_AT] {
        let [e0, e1, e2, e3] = self.expiry_seconds.to_be_bytes();
        [VERSION << 4 | number_of_family(self.family), self.key_id, e0, e1, e2, e3]
    }
}

impl fmt::Debug for Token {
    /// Without the code: a token that can be read in a log can be used.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("family", &self.family)
            .field("key_id", &self.key_id)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// HMAC-SHA256 with a key of any length (RFC 2104: a key longer than a block is hashed, a shorter one padded).
pub(super) fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    if secret.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        block[..secret.len()].copy_from_slice(secret);
    }
    Hmac::new((&*block).into())
}

/// Reads exactly `N` bytes of lower-case hex.
pub(super) fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Lower-case hex.
pub(super) fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn first_bytes<const N: usize>(code: &[u8; 32]) -> [u8; N] {
    array::from_fn(|i| code[i])
}

/// Zero is nobody's number, so that a token of zeroes is for nothing.
fn number_of_family(family: Family) -> u8 {
    match family {
        Family::Payments => 1,
        Family::Checkout => 2,
        Family::HostedPage => 3,
        Family::Network => 4,
    }
}

fn family_of_number(number: u8) -> Option<Family> {
    Family::ALL.into_iter().find(|family| number_of_family(*family) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::parse_keys;
    use proptest::prelude::*;
    use std::time::Duration;

    const VECTORS: &str = include_str!("../../tests/vectors/tokens.json");
    const DOCUMENT: &str = include_str!("../../docs/tokens.md");

    fn vectors() -> serde_json::Value {
        serde_json::from_str(VECTORS).unwrap()
    }

    fn vector_key(id: u64) -> TokenKey {
        let keys = vectors();
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap();
        TokenKey::new(&parse_keys(&format!("{id} {}", key["secret"].as_str().unwrap())).unwrap()[0])
    }

    fn key() -> TokenKey {
        TokenKey::new(&Key { id: 7, secret: vec![9; 32].into() })
    }

    fn families() -> impl Strategy<Value = Family> {
        prop::sample::select(Family::ALL.to_vec())
    }

    #[test]
    fn the_published_vectors_are_what_this_code_mints() {
        let vectors = vectors();
        let tokens = vectors["tokens"].as_array().unwrap();
        assert!(tokens.len() >= 9);
        for vector in tokens {
            let name = vector["family"].as_str().unwrap();
            let ticket = Ticket {
                family: Family::ALL.into_iter().find(|family| family.name() == name).unwrap(),
                session: vector["session"].as_str().unwrap().as_bytes(),
                expires_at: UnixMillis(vector["expires_at"].as_i64().unwrap() * 1000),
            };
            let token = vector_key(vector["key"].as_u64().unwrap()).mint(&ticket).text();
            assert_eq!(token, vector["token"], "{vector}");
        }
    }

    #[test]
    fn the_published_expiries_are_what_this_code_computes() {
        for vector in vectors()["expiries"].as_array().unwrap() {
            let ttl = Duration::from_secs(vector["ttl_seconds"].as_u64().unwrap());
            let now = vector["now"].as_i64().unwrap();
            for now in [UnixMillis(now * 1000), UnixMillis(now * 1000 + 999)] {
                let expiry = crate::token::expiry_for(now, ttl);
                assert_eq!(Some(expiry.seconds()), vector["expires_at"].as_i64(), "{vector}");
            }
        }
    }

    #[test]
    fn every_vector_stands_in_the_document_too() {
        for vector in vectors()["tokens"].as_array().unwrap() {
            assert!(DOCUMENT.contains(vector["token"].as_str().unwrap()), "{vector}");
        }
    }

    #[test]
    fn each_part_of_a_ticket_changes_the_nonce_and_the_code() {
        let ticket = Ticket { family: Family::Payments, session: b"s", expires_at: UnixMillis(86_400_000) };
        let others = [
            Ticket { family: Family::Checkout, ..ticket },
            Ticket { session: b"t", ..ticket },
            Ticket { expires_at: UnixMillis(86_401_000), ..ticket },
        ];
        let token = key().mint(&ticket);
        for other in others {
            let other = key().mint(&other);
            assert!(other.nonce != token.nonce && other.code != token.code, "{other:?}");
        }
    }

    #[test]
    fn a_newer_version_an_unknown_family_and_upper_case_are_no_tokens() {
        let token = key().mint(&Ticket { family: Family::Payments, session: b"s", expires_at: UnixMillis(0) }).text();
        let with_mark = |mark: &str| Token::read(&format!("{mark}{}", &token[2..]));
        assert!(with_mark("11").is_ok());
        assert_eq!(with_mark("21"), Err(NotAToken::Version(2)));
        assert_eq!(with_mark("01"), Err(NotAToken::Version(0)));
        assert_eq!(with_mark("10"), Err(NotAToken::Family(0)));
        assert_eq!(with_mark("15"), Err(NotAToken::Family(5)));
        assert_eq!(Token::read(&token.to_uppercase()), Err(NotAToken::Text));
        assert_eq!(Token::read(&token[1..]), Err(NotAToken::Text));
        assert_eq!(Token::read(&format!("{token}0")), Err(NotAToken::Text));
        assert_eq!(Token::read(&"é".repeat(32)), Err(NotAToken::Text));
    }

    #[test]
    fn an_expiry_that_does_not_fit_becomes_the_nearest_one() {
        let ticket = |expires_at| Ticket { family: Family::Payments, session: b"s", expires_at };
        assert_eq!(key().mint(&ticket(UnixMillis(-5_000))).expiry_seconds, 0);
        assert_eq!(key().mint(&ticket(UnixMillis(i64::MAX))).expiry_seconds, u32::MAX);
    }

    #[test]
    fn keys_longer_than_a_block_are_hashed_first_as_rfc_4231_case_6_says() {
        let code = keyed(&[0xaa; 131]).chain_update(b"Test Using Larger Than Block-Size Key - Hash Key First");
        let code = encode_hex(&code.finalize().into_bytes());
        assert_eq!(code, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn neither_a_key_nor_a_token_prints_its_secret() {
        let token = key().mint(&Ticket { family: Family::Payments, session: b"s", expires_at: UnixMillis(0) });
        assert_eq!(format!("{:?}", key()), "TokenKey { id: 7, .. }");
        let printed = format!("{token:?}");
        assert!(!printed.contains(&token.text()[32..40]) && !printed.contains(&format!("{:?}", token.code)));
    }

    proptest! {
        #[test]
        fn what_is_minted_reads_back(
            family in families(),
            session in prop::collection::vec(any::<u8>(), 0..80),
            expiry in any::<u32>(),
        ) {
            let expires_at = UnixMillis(i64::from(expiry) * 1000);
            let minted = key().mint(&Ticket { family, session: &session, expires_at });
            let read = Token::read(&minted.text()).unwrap();
            prop_assert_eq!(read, minted);
            prop_assert_eq!((read.family, read.key_id, read.expires_at()), (family, 7, expires_at));
            prop_assert!(key().made(&read));
        }

        #[test]
        fn a_token_with_one_flipped_bit_was_made_by_nobody(family in families(), bit in 0_usize..256) {
            let minted = key().mint(&Ticket { family, session: b"s", expires_at: UnixMillis(1_000) });
            let mut bytes: [u8; TOKEN_BYTES] = decode_hex(&minted.text()).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!Token::read(&encode_hex(&bytes)).is_ok_and(|token| key().made(&token)));
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = Token::read(&text);
        }
    }
}
