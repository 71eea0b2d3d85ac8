//! The signature of a Klarna Network webhook: HMAC-SHA256 over the raw bytes of its body, in lower-case hex.
//!
//! There is no time in it, so it never grows old; what keeps a recorded webhook from being played again is its event
//! id in the ledger.

use std::fmt;

use hmac::{Hmac, Mac};
use http::HeaderMap;
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::format::{decode_hex, encode_hex, keyed};
use super::{Refusal, SigningKey};

const SIGNATURE: &str = "klarna-signature";
const KEY_ID: &str = "klarna-signing-key-id";

/// The signing keys, ready for use.
#[derive(Debug)]
pub(super) struct Signatures {
    keys: Vec<PreparedKey>,
}

struct PreparedKey {
    id: String,
    state: Hmac<Sha256>,
}

impl Signatures {
    pub(super) fn new(keys: &[SigningKey]) -> Self {
        let prepare = |key: &SigningKey| PreparedKey { id: key.id.clone(), state: keyed(key.secret.expose_secret()) };
        Self { keys: keys.iter().map(prepare).collect() }
    }

    /// Checks a webhook. Two keys may be active at once; the header says which one signed.
    pub(super) fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let signature = the_only(headers, SIGNATURE).and_then(decode_hex::<32>).ok_or(Refusal::BadSignature)?;
        let id = the_only(headers, KEY_ID).ok_or(Refusal::BadSignature)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(Refusal::UnknownKey)?;
        key.state.clone().chain_update(body).verify_slice(&signature).map_err(|_| Refusal::BadSignature)
    }

    /// Signs a webhook with the first key, as Klarna would: the headers and their values.
    pub(super) fn sign(&self, body: &[u8]) -> Option<[(&'static str, String); 2]> {
        let key = self.keys.first()?;
        let signature = encode_hex(&key.state.clone().chain_update(body).finalize().into_bytes());
        Some([(SIGNATURE, signature), (KEY_ID, key.id.clone())])
    }
}

impl fmt::Debug for PreparedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A header's value if it is there once. Of two, the shop might look at the other one.
fn the_only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const KEY: &str = "demo-signing-key-0001";
    const BODY: &str = concat!(
        r#"{"metadata":{"event_type":"payment.request.state-change.completed","#,
        r#""event_id":"6a2f6f0a-4a1c-4f0e-9f0a-2d1e6b1f7c11","event_version":"v2","#,
        r#""occurred_at":"2026-01-15T10:00:00Z","live":false},"#,
        r#""payload":{"payment_request_id":"krn:payment:eu1:request:demo-1","state":"COMPLETED"}}"#
    );
    const SIGNED: &str = "293d3c6d25ab9f4f44906cf5902bc941bd7e415a2b2b8c973621245a7d811a0f";

    fn signatures() -> Signatures {
        let key = |id: &str, secret: &str| SigningKey { id: id.into(), secret: secret.as_bytes().to_vec().into() };
        Signatures::new(&[key("old", "another"), key("new", KEY)])
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn check(lines: &[(&'static str, &str)], body: &str) -> Result<(), Refusal> {
        signatures().check(&headers(lines), body.as_bytes())
    }

    #[test]
    fn the_known_vector_passes() {
        assert_eq!(BODY.len(), 275);
        assert_eq!(check(&[(SIGNATURE, SIGNED), (KEY_ID, "new")], BODY), Ok(()));
    }

    #[test]
    fn what_is_signed_here_is_what_klarna_signs() {
        let keys = [SigningKey { id: "new".into(), secret: KEY.as_bytes().to_vec().into() }];
        let signed = Signatures::new(&keys).sign(BODY.as_bytes()).unwrap();
        assert_eq!(signed, [(SIGNATURE, SIGNED.to_owned()), (KEY_ID, "new".to_owned())]);
        assert_eq!(Signatures::new(&[]).sign(BODY.as_bytes()), None);
    }

    #[test]
    fn a_changed_byte_or_the_same_json_written_again_fails() {
        let again = serde_json::from_str::<serde_json::Value>(BODY).unwrap().to_string();
        assert_ne!(again, BODY);
        for body in [again, BODY.replace("COMPLETED", "COMPLETEd"), format!("{BODY}\n"), String::new()] {
            assert_eq!(check(&[(SIGNATURE, SIGNED), (KEY_ID, "new")], &body), Err(Refusal::BadSignature));
        }
    }

    #[test]
    fn the_key_is_the_one_that_the_header_names() {
        assert_eq!(check(&[(SIGNATURE, SIGNED), (KEY_ID, "old")], BODY), Err(Refusal::BadSignature));
        assert_eq!(check(&[(SIGNATURE, SIGNED), (KEY_ID, "gone")], BODY), Err(Refusal::UnknownKey));
        assert_eq!(check(&[(SIGNATURE, SIGNED)], BODY), Err(Refusal::BadSignature));
    }

    #[test]
    fn every_character_of_the_signature_counts() {
        for at in 0..SIGNED.len() {
            let mut wrong = SIGNED.to_owned();
            wrong.replace_range(at..=at, if &SIGNED[at..=at] == "0" { "1" } else { "0" });
            assert_eq!(check(&[(SIGNATURE, &wrong), (KEY_ID, "new")], BODY), Err(Refusal::BadSignature), "{wrong}");
        }
    }

    #[test]
    fn absent_repeated_or_respelled_signatures_fail() {
        let refused: &[&[(&'static str, &str)]] = &[
            &[(KEY_ID, "new")],
            &[(SIGNATURE, SIGNED), (SIGNATURE, SIGNED), (KEY_ID, "new")],
            &[(SIGNATURE, SIGNED), (KEY_ID, "new"), (KEY_ID, "new")],
            &[(SIGNATURE, &SIGNED.to_uppercase()), (KEY_ID, "new")],
            &[(SIGNATURE, &SIGNED[..32]), (KEY_ID, "new")],
            &[(SIGNATURE, ""), (KEY_ID, "new")],
            &[(SIGNATURE, "\u{fc}"), (KEY_ID, "new")],
        ];
        for lines in refused {
            assert_eq!(check(lines, BODY), Err(Refusal::BadSignature), "{lines:?}");
        }
    }

    #[test]
    fn signing_keys_do_not_print_themselves() {
        let printed = format!("{:?}", signatures());
        assert_eq!(printed, r#"Signatures { keys: [PreparedKey { id: "old", .. }, PreparedKey { id: "new", .. }] }"#);
    }
}
