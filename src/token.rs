//! The secret in the callback URL, and the signature of a webhook: what proves a caller.
//!
//! Pure: no I/O, no clock, no state. An [`Authentic`] call can only be made here, and only an authentic call can
//! become a notice or be put to the shop as a question. The URL is looked at before the body is read, so that a
//! stranger cannot make kallback hold megabytes.

mod format;
mod keys;
mod query;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use secrecy::SecretSlice;
use thiserror::Error;

use crate::clock::UnixMillis;
use crate::event::{self, Family, Identity, Kind, Mode, Proof, Route, TokenUse, UrlFacts};
use crate::message::ShopRequest;

pub use format::{NotAToken, Token, VERSION};
pub use keys::{KeyFault, WrongKey, generate, keys_text, parse_keys};
pub use query::{Cut, Found, TooLong, URL_CHARACTERS_MAX, append, cut};

use format::TokenKey;
use signature::Signatures;

/// How long a token is good for at least, if nobody says otherwise. Sessions live 48 h, pushes repeat for 48 h, and
/// a fraud decision comes up to 24 h after that.
pub const TTL_DEFAULT: Duration = Duration::from_secs(72 * 3600);
/// Longest `ttl` that the command line and the admin listener mint for.
pub const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

const DAY_SECONDS: i64 = 24 * 3600;

/// What the token check is told by the config.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the query parameter that carries the token. Default `kallback`.
    pub parameter: String,
    /// Keys that verify; the first one mints.
    pub keys: Vec<Key>,
    /// Signing keys of Klarna Network webhooks.
    pub signing_keys: Vec<SigningKey>,
    /// Most different session or order ids that one token may come with. Default 4.
    pub sessions_per_token: u32,
}

/// A token key: at least 32 bytes, chosen at random.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its number, carried in every token.
    pub id: u8,
    /// The secret.
    pub secret: SecretSlice<u8>,
}

/// A signing key of Klarna Network webhooks.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// What `Klarna-Signing-Key-Id` says.
    pub id: String,
    /// The key's text.
    pub secret: SecretSlice<u8>,
}

/// Why a call is refused. Label of `kallback_token_checks_total`; the caller learns nothing but `403`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum Refusal {
    /// No token in the URL.
    #[error("missing")]
    Missing,
    /// More than one token in the URL.
    #[error("repeated")]
    Repeated,
    /// Not 64 lower-case hex characters of a known format.
    #[error("malformed")]
    Malformed,
    /// Made with a key that kallback does not have.
    #[error("unknown_key")]
    UnknownKey,
    /// The code does not match.
    #[error("forged")]
    Forged,
    /// Too old.
    #[error("expired")]
    Expired,
    /// Minted for URLs of another API.
    #[error("wrong_family")]
    WrongFamily,
    /// Came with more different sessions than it may.
    #[error("overused")]
    Overused,
    /// The webhook's signature is absent or wrong.
    #[error("bad_signature")]
    BadSignature,
    /// The URL hides several callbacks in markup.
    #[error("ambiguous")]
    Ambiguous,
}

impl Refusal {
    /// The refusal's name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::WrongFamily => "wrong_family",
            Self::Overused => "overused",
            Self::BadSignature => "bad_signature",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// Mints and verifies. Built once from checked settings.
#[derive(Debug)]
pub struct Guard {
    parameter: String,
    keys: Vec<TokenKey>,
    signatures: Signatures,
    sessions_per_token: u32,
}

/// A call whose URL has been checked and cut; its body has not been read yet.
#[derive(Debug)]
pub struct Admitted {
    route: Arc<Route>,
    url: UrlFacts,
    target: String,
    token: Option<TokenUse>,
    observed: Option<Refusal>,
}

/// The rest of a call: what follows the URL.
#[derive(Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// End-to-end headers, as the shop is to get them.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A call that proved itself, or came in on a route that does not demand it.
#[derive(Debug)]
pub struct Authentic {
    parts: Parts,
    proven: bool,
    observed: Option<Refusal>,
}

/// What an authentic call consists of.
#[derive(Debug)]
pub struct Parts {
    /// The route it came in on.
    pub route: Arc<Route>,
    /// Who it is about.
    pub identity: Identity,
    /// The token it came with, if it was valid.
    pub token: Option<TokenUse>,
    /// What the shop gets.
    pub request: ShopRequest,
}

/// Why a URL did not get its token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotMinted {
    /// There is no key to mint with.
    #[error("there is no token key")]
    NoKey,
    /// With its token the URL would be too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// What a token is minted from.
#[derive(Clone, Copy, Debug)]
pub struct Ticket<'a> {
    /// The API whose URLs it goes into.
    pub family: Family,
    /// The shop session (or cart, or order) it is for: any bytes. Same bytes, same token.
    pub session: &'a [u8],
    /// When it stops being valid, to the second. See [`expiry_for`].
    pub expires_at: UnixMillis,
}

/// The expiry that everybody who mints agrees on: `ttl` from now, then on to the next midnight UTC. So a session's
/// token stays the same all day, and with it the URLs that the shop sends; it lives for `ttl` to `ttl` + 24 h.
pub fn expiry_for(now: UnixMillis, ttl: Duration) -> UnixMillis {
    // Whole seconds before rounding up: PHP's time() has no milliseconds, and both must find the same midnight.
    let earliest = (now + ttl).seconds();
    let midnight = earliest.saturating_add(DAY_SECONDS - 1).div_euclid(DAY_SECONDS).saturating_mul(DAY_SECONDS);
    UnixMillis(midnight.saturating_mul(1000))
}

impl Guard {
    /// A guard with these keys. Ids of keys are unique, as [`parse_keys`] checks; of two, the first one counts.
    pub fn new(settings: Settings) -> Self {
        Self {
            keys: settings.keys.iter().map(TokenKey::new).collect(),
            signatures: Signatures::new(&settings.signing_keys),
            parameter: settings.parameter,
            sessions_per_token: settings.sessions_per_token,
        }
    }

    /// Checks the token in `target` (path and query as they came) and cuts it out. On a route that observes, what
    /// would be refused is remembered in [`Admitted::observed`].
    ///
    /// A token is cut out on every route, whatever is demanded there: it is no business of the shop.
    pub fn admit(&self, route: &Arc<Route>, url: UrlFacts, target: &str, now: UnixMillis) -> Result<Admitted, Refusal> {
        let Cut { target, found } = cut(target, &self.parameter);
        let verdict = match route.proof {
            // Before all else: no proof says which of several handlers its URL is for.
            Proof::Token(mode) | Proof::Signature(mode) if url.is_ambiguous => {
                demand(mode, || Err(Refusal::Ambiguous))?
            }
            Proof::Token(mode) => demand(mode, || self.prove(found, route.family, now))?,
            Proof::Signature(_) => Verdict { proof: None, observed: None },
        };
        Ok(Admitted {
            route: Arc::clone(route),
            url,
            target: target.into_owned(),
            token: verdict.proof,
            observed: verdict.observed,
        })
    }

    /// Adds the body: checks a webhook's signature, and says who the call is about.
    pub fn authenticate(&self, admitted: Admitted, received: Received) -> Result<Authentic, Refusal> {
        let Admitted { route, url, target, token, observed } = admitted;
        let Received { method, headers, body } = received;
        let signed = match route.proof {
            Proof::Token(_) => Verdict { proof: None, observed: None },
            Proof::Signature(mode) => demand(mode, || self.signatures.check(&headers, &body))?,
        };
        Ok(Authentic {
            proven: token.is_some() || signed.proof.is_some(),
            observed: observed.or(signed.observed),
            parts: Parts {
                identity: event::identify(&route, &url, &target, &body),
                route,
                token,
                request: ShopRequest { method, target, headers, body },
            },
        })
    }

    /// The token for a ticket, made with the first key. `None` if there is no key.
    pub fn mint(&self, ticket: &Ticket<'_>) -> Option<String> {
        Some(self.keys.first()?.mint(ticket).text())
    }

    /// Puts the ticket's token into a callback URL. A URL whose token is good `now` stays as it is, so that doing it
    /// twice changes nothing; a token that would be refused makes room for the new one.
    pub fn mint_into(&self, url: &str, ticket: &Ticket<'_>, now: UnixMillis) -> Result<String, NotMinted> {
        let (front, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
        let Cut { target, found } = cut(front, &self.parameter);
        if self.prove(found, ticket.family, now).is_ok() {
            return Ok(url.to_owned());
        }
        let token = self.mint(ticket).ok_or(NotMinted::NoKey)?;
        Ok(append(&format!("{target}{fragment}"), &self.parameter, &token)?)
    }

    /// The headers by which Klarna Network would sign a webhook with this body, made with the first signing key; for
    /// commands that play Klarna. `None` if there is no key.
    pub fn sign(&self, body: &[u8]) -> Option<[(&'static str, String); 2]> {
        self.signatures.sign(body)
    }

    /// The id of the key that made a token, whatever id the token itself names. `None`: none of these keys.
    pub fn maker(&self, token: &Token) -> Option<u8> {
        self.keys.iter().find(|key| key.made(token)).map(|key| key.id)
    }

    /// Whether a token's text is good on a route of this family.
    pub fn verify(&self, text: &str, family: Family, now: UnixMillis) -> Result<TokenUse, Refusal> {
        let token = Token::read(text).map_err(|_| Refusal::Malformed)?;
        let key = self.keys.iter().find(|key| key.id == token.key_id).ok_or(Refusal::UnknownKey)?;
        // The code comes first: what a stranger wrote into the other fields is not worth a word in the metrics.
        if !key.made(&token) {
            return Err(Refusal::Forged);
        }
        if token.family != family {
            return Err(Refusal::WrongFamily);
        }
        if now >= token.expires_at() {
            return Err(Refusal::Expired);
        }
        Ok(TokenUse { nonce: token.nonce, sessions_max: self.sessions_per_token })
    }

    fn prove(&self, found: Found<'_>, family: Family, now: UnixMillis) -> Result<TokenUse, Refusal> {
        match found {
            Found::Nothing => Err(Refusal::Missing),
            Found::Repeated => Err(Refusal::Repeated),
            Found::Once(text) => self.verify(text, family, now),
        }
    }
}

/// What came of a check, in the light of the route's mode.
struct Verdict<T> {
    proof: Option<T>,
    observed: Option<Refusal>,
}

fn demand<T>(mode: Mode, check: impl FnOnce() -> Result<T, Refusal>) -> Result<Verdict<T>, Refusal> {
    if mode == Mode::Off {
        return Ok(Verdict { proof: None, observed: None });
    }
    match check() {
        Ok(proof) => Ok(Verdict { proof: Some(proof), observed: None }),
        Err(refusal) if mode == Mode::Observe => Ok(Verdict { proof: None, observed: Some(refusal) }),
        Err(refusal) => Err(refusal),
    }
}

impl Admitted {
    /// The route it came in on.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What its URL says.
    pub fn url(&self) -> &UrlFacts {
        &self.url
    }

    /// Path and query as they came, less the token: what the shop gets.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What would have been refused, were the route not observing. Of a webhook nothing is known yet.
    pub fn observed(&self) -> Option<Refusal> {
        self.observed
    }

    /// Whether the caller proved itself by a valid token. A webhook cannot before its body is there.
    pub fn proven(&self) -> bool {
        self.token.is_some()
    }
}

impl Authentic {
    /// The call's kind.
    pub fn kind(&self) -> Kind {
        self.parts.route.kind
    }

    /// The route it came in on.
    pub fn route(&self) -> &Arc<Route> {
        &self.parts.route
    }

    /// Who it is about.
    pub fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    /// The token it came with, if it was valid.
    pub fn token(&self) -> Option<TokenUse> {
        self.parts.token
    }

    /// What the shop gets.
    pub fn request(&self) -> &ShopRequest {
        &self.parts.request
    }

    /// What would have been refused, were the route not observing.
    pub fn observed(&self) -> Option<Refusal> {
        self.observed
    }

    /// Whether the caller proved itself, by a valid token or a valid signature.
    pub fn proven(&self) -> bool {
        self.proven
    }

    /// Takes the call apart.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_763_700_000_000);
    const EXPIRES: UnixMillis = UnixMillis(1_764_028_800_000);

    fn key(id: u8) -> Key {
        Key { id, secret: vec![id; 32].into() }
    }

    fn guard_with(ids: &[u8]) -> Guard {
        Guard::new(Settings {
            parameter: "kallback".into(),
            keys: ids.iter().map(|id| key(*id)).collect(),
            signing_keys: vec![SigningKey { id: "k1".into(), secret: b"demo-signing-key-0001".to_vec().into() }],
            sessions_per_token: 4,
        })
    }

    fn guard() -> Guard {
        guard_with(&[1])
    }

    fn route(proof: Proof) -> Arc<Route> {
        let kind = Kind::Push;
        Arc::new(Route {
            name: "test".into(),
            kind,
            family: Family::Checkout,
            proof,
            policy: kind.defaults(),
            failure_texts: Vec::new(),
        })
    }

    fn ticket(session: &str) -> Ticket<'_> {
        Ticket { family: Family::Checkout, session: session.as_bytes(), expires_at: EXPIRES }
    }

    fn admit(guard: &Guard, mode: Mode, target: &str) -> Result<Admitted, Refusal> {
        guard.admit(&route(Proof::Token(mode)), UrlFacts::default(), target, NOW)
    }

    fn received(headers: &[(&'static str, &str)], body: &str) -> Received {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Received { method: Method::POST, headers: map, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn a_right_token_is_admitted_and_cut_out() {
        let token = guard().mint(&ticket("s")).unwrap();
        let admitted = admit(&guard(), Mode::Enforce, &format!("/push?id=%7Bx&kallback={token}&z=+")).unwrap();
        assert_eq!(admitted.target(), "/push?id=%7Bx&z=+");
        assert!(admitted.proven() && admitted.observed().is_none());
        let authentic = guard().authenticate(admitted, received(&[], "{}")).unwrap();
        assert!(authentic.proven() && authentic.observed().is_none());
        assert_eq!(authentic.token().unwrap().sessions_max, 4);
        assert_eq!(authentic.request().target, "/push?id=%7Bx&z=+");
    }

    #[test]
    fn every_wrong_token_is_refused_with_its_reason() {
        let good = guard().mint(&ticket("s")).unwrap();
        let mint = |ids: &[u8], ticket: Ticket<'_>| guard_with(ids).mint(&ticket).unwrap();
        let forged = format!("{}{}", &good[..63], if good.ends_with('0') { '1' } else { '0' });
        let rows = [
            ("/p".to_owned(), Refusal::Missing),
            (format!("/p?kallbac={good}"), Refusal::Missing),
            (format!("/p?kallback={good}&kallback={good}"), Refusal::Repeated),
            (format!("/p?kallback={good}&%6Ballback={good}"), Refusal::Repeated),
            ("/p?kallback".to_owned(), Refusal::Malformed),
            (format!("/p?kallback={}", good.to_uppercase()), Refusal::Malformed),
            (format!("/p?kallback=%31{}", &good[1..]), Refusal::Malformed),
            (format!("/p?kallback=2{}", &good[1..]), Refusal::Malformed),
            (format!("/p?kallback={}", mint(&[2], ticket("s"))), Refusal::UnknownKey),
            (format!("/p?kallback={forged}"), Refusal::Forged),
            (
                format!("/p?kallback={}", mint(&[1], Ticket { family: Family::Payments, ..ticket("s") })),
                Refusal::WrongFamily,
            ),
            (format!("/p?kallback={}", mint(&[1], Ticket { expires_at: NOW, ..ticket("s") })), Refusal::Expired),
        ];
        for (target, refusal) in rows {
            assert_eq!(admit(&guard(), Mode::Enforce, &target).err(), Some(refusal), "{target}");
        }
    }

    #[test]
    fn a_forged_token_is_forged_whatever_else_is_wrong_with_it() {
        let other = Guard::new(Settings {
            parameter: String::new(),
            keys: vec![Key { id: 1, secret: vec![8; 32].into() }],
            signing_keys: Vec::new(),
            sessions_per_token: 4,
        });
        let old = Ticket { family: Family::Payments, expires_at: UnixMillis(0), session: b"s" };
        let token = other.mint(&old).unwrap();
        assert_eq!(guard().verify(&token, Family::Checkout, NOW), Err(Refusal::Forged));
    }

    #[test]
    fn a_token_is_good_until_the_millisecond_before_its_expiry() {
        let token = guard().mint(&ticket("s")).unwrap();
        assert!(guard().verify(&token, Family::Checkout, UnixMillis(EXPIRES.0 - 1)).is_ok());
        assert_eq!(guard().verify(&token, Family::Checkout, EXPIRES), Err(Refusal::Expired));
    }

    #[test]
    fn the_nonce_follows_the_session_so_that_another_session_can_be_told_apart() {
        let nonce = |session: &str| {
            let token = guard().mint(&ticket(session)).unwrap();
            guard().verify(&token, Family::Checkout, NOW).unwrap().nonce
        };
        assert_eq!(nonce("a"), nonce("a"));
        assert_ne!(nonce("a"), nonce("b"));
    }

    #[test]
    fn while_keys_are_rotated_old_and_new_tokens_are_good() {
        let before = guard_with(&[1]).mint(&ticket("s")).unwrap();
        let after = guard_with(&[2, 1]).mint(&ticket("s")).unwrap();
        assert_eq!(guard_with(&[1, 2]).mint(&ticket("s")), Some(before.clone()));
        assert_ne!(before, after);
        for token in [&before, &after] {
            for ids in [[1, 2], [2, 1]] {
                assert!(guard_with(&ids).verify(token, Family::Checkout, NOW).is_ok());
            }
        }
        assert_eq!(guard_with(&[2]).verify(&before, Family::Checkout, NOW), Err(Refusal::UnknownKey));
    }

    #[test]
    fn a_route_that_observes_remembers_and_one_that_is_off_does_not_look() {
        for (target, refusal) in [
            ("/p?a=1", Refusal::Missing),
            ("/p?a=1&kallback=x", Refusal::Malformed),
            ("/p?kallback=x&a=1&kallback=x", Refusal::Repeated),
        ] {
            let observed = admit(&guard(), Mode::Observe, target).unwrap();
            assert_eq!((observed.observed(), observed.proven()), (Some(refusal), false));
            assert_eq!(observed.target(), "/p?a=1");
            let authentic = guard().authenticate(observed, received(&[], "")).unwrap();
            assert_eq!((authentic.observed(), authentic.proven(), authentic.token()), (Some(refusal), false, None));

            let off = admit(&guard(), Mode::Off, target).unwrap();
            assert_eq!((off.observed(), off.proven(), off.target()), (None, false, "/p?a=1"));
        }
        let good = format!("/p?kallback={}", guard().mint(&ticket("s")).unwrap());
        assert!(admit(&guard(), Mode::Observe, &good).unwrap().proven());
        assert!(!admit(&guard(), Mode::Off, &good).unwrap().proven());
    }

    fn webhook(mode: Mode, signature: &str, body: &str) -> Result<Authentic, Refusal> {
        let target = "/hook?a=1&kallback=leftover";
        let admitted = guard().admit(&route(Proof::Signature(mode)), UrlFacts::default(), target, NOW)?;
        assert_eq!((admitted.target(), admitted.observed(), admitted.proven()), ("/hook?a=1", None, false));
        let headers = [("klarna-signature", signature), ("klarna-signing-key-id", "k1")];
        guard().authenticate(admitted, received(&headers, body))
    }

    #[test]
    fn no_proof_is_worth_anything_on_an_ambiguous_url() {
        let target = format!("/p?kallback={}", guard().mint(&ticket("s")).unwrap());
        let admit = |proof| {
            let url = UrlFacts { is_ambiguous: true, ..UrlFacts::default() };
            guard().admit(&route(proof), url, &target, NOW)
        };
        for proof in [Proof::Token, Proof::Signature] {
            assert_eq!(admit(proof(Mode::Enforce)).err(), Some(Refusal::Ambiguous));
            assert_eq!(admit(proof(Mode::Off)).unwrap().observed(), None);
            let observed = admit(proof(Mode::Observe)).unwrap();
            assert_eq!((observed.observed(), observed.proven()), (Some(Refusal::Ambiguous), false));
            let authentic = guard().authenticate(observed, received(&[], "")).unwrap();
            assert_eq!((authentic.observed(), authentic.proven()), (Some(Refusal::Ambiguous), false));
        }
    }

    #[test]
    fn a_webhook_needs_no_token_but_its_signature() {
        // printf '{"a": 1}' | openssl dgst -sha256 -hmac demo-signing-key-0001
        let signed = "52dc3bf98060e5f4da4b7a55a96c0dfa9c7e41c452ff570344b998290883b5ba";
        let right = webhook(Mode::Enforce, signed, r#"{"a": 1}"#).unwrap();
        assert!(right.proven() && right.observed().is_none() && right.token().is_none());
        assert_eq!(webhook(Mode::Enforce, signed, r#"{"a":1}"#).err(), Some(Refusal::BadSignature));
        let observed = webhook(Mode::Observe, signed, r#"{"a":1}"#).unwrap();
        assert_eq!((observed.observed(), observed.proven()), (Some(Refusal::BadSignature), false));
        let off = webhook(Mode::Off, signed, r#"{"a":1}"#).unwrap();
        assert_eq!((off.observed(), off.proven()), (None, false));
    }

    #[test]
    fn another_token_in_the_url_does_not_make_a_push_another_notice() {
        let known = UrlFacts { subject: Some("order-1".into()), routing: "push".into(), is_ambiguous: false };
        let fingerprint = |url: &UrlFacts, session: &str| {
            let target = format!("/push?id=order-1&kallback={}", guard().mint(&ticket(session)).unwrap());
            let admitted = guard().admit(&route(Proof::Token(Mode::Enforce)), url.clone(), &target, NOW).unwrap();
            guard().authenticate(admitted, received(&[], "")).unwrap().identity().fingerprint
        };
        for url in [known, UrlFacts::default()] {
            assert_eq!(fingerprint(&url, "a"), fingerprint(&url, "b"));
        }
    }

    #[test]
    fn minting_into_a_url_twice_changes_nothing_and_a_stale_token_makes_room() {
        let (guard, url) = (guard(), "https://shop.example/push/{checkout.order.id}?a=1#top");
        let once = guard.mint_into(url, &ticket("s"), NOW).unwrap();
        let token = guard.mint(&ticket("s")).unwrap();
        assert_eq!(once, format!("https://shop.example/push/{{checkout.order.id}}?a=1&kallback={token}#top"));
        assert_eq!(guard.mint_into(&once, &ticket("s"), NOW).as_ref(), Ok(&once));
        // Even for another session: the URL that Klarna has must not change while its token is good.
        assert_eq!(guard.mint_into(&once, &ticket("t"), NOW).as_ref(), Ok(&once));

        let later = Ticket { expires_at: EXPIRES + TTL_DEFAULT, ..ticket("s") };
        let renewed = guard.mint_into(&once, &later, EXPIRES).unwrap();
        assert_eq!(renewed, once.replace(&token, &guard.mint(&later).unwrap()));
        assert_eq!(guard.mint_into(&"u".repeat(1990), &later, NOW), Err(TooLong { characters: 2064 }.into()));
        assert_eq!(guard_with(&[]).mint_into(url, &later, NOW), Err(NotMinted::NoKey));
    }

    #[test]
    fn a_guard_does_not_print_its_keys() {
        let settings = Settings {
            parameter: "kallback".into(),
            keys: vec![Key { id: 1, secret: b"swordfish-swordfish-swordfish-00".to_vec().into() }],
            signing_keys: vec![SigningKey { id: "k1".into(), secret: b"swordfish".to_vec().into() }],
            sessions_per_token: 4,
        };
        let printed = format!("{settings:?} {:?}", Guard::new(settings.clone()));
        assert!(!printed.contains("swordfish") && !printed.contains("115, 119, 111"), "{printed}");
    }

    proptest! {
        #[test]
        fn no_target_panics_and_none_gets_in_by_chance(target in any::<String>()) {
            for mode in [Mode::Enforce, Mode::Observe, Mode::Off] {
                prop_assert!(!admit(&guard(), mode, &target).is_ok_and(|admitted| admitted.proven()));
            }
        }

        #[test]
        fn a_minted_token_proves_its_family_and_no_other(session in any::<Vec<u8>>(), family in 0_usize..4) {
            let family = Family::ALL[family];
            let token = guard().mint(&Ticket { family, session: &session, expires_at: EXPIRES }).unwrap();
            for other in Family::ALL {
                let refusal = guard().verify(&token, other, NOW).err();
                prop_assert_eq!(refusal, (other != family).then_some(Refusal::WrongFamily));
            }
        }

        #[test]
        fn an_expiry_is_the_first_midnight_that_is_late_enough(now in 0_i64..4_000_000_000_000, ttl in 0_u64..40_000_000) {
            let expiry = expiry_for(UnixMillis(now), Duration::from_secs(ttl)).seconds();
            let earliest = now / 1000 + i64::try_from(ttl).unwrap();
            prop_assert_eq!(expiry % 86_400, 0);
            prop_assert!((earliest..earliest + 86_400).contains(&expiry));
        }
    }
}
