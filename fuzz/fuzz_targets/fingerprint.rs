//! Whom a callback is about: every body has one answer, and the way its JSON is written does not change it.
//!
//! An input is lines: the kind, the URL's id (or none), what it asks for, and all the rest is the body.
#![no_main]

use bytes::Bytes;
use kallback::event::{Family, Kind, Mode, Proof, Route, UrlFacts, identify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(4, |&byte| byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).ok();
    let (Some(kind), Some(subject), Some(routing)) = (text(), text(), text()) else { return };
    let body = lines.next().unwrap_or_default();
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) else { return };
    let subject = Some(subject).filter(|subject| !subject.is_empty());
    let route = Route {
        name: "fuzz".into(),
        kind,
        family: Family::Checkout,
        proof: Proof::Token(Mode::Enforce),
        policy: kind.defaults(),
        failure_texts: Vec::new(),
    };
    let url = UrlFacts { subject: subject.map(str::to_owned), routing: routing.to_owned(), is_ambiguous: false };
    let of = |target: &str, body: &[u8]| identify(&route, &url, target, &Bytes::copy_from_slice(body));

    let first = of("/p", body);
    assert_eq!(of("/p", body), first);
    // Ids alone make the fingerprint, or else the body does: then the target is in it too.
    let by_ids = of("/q", body).fingerprint == first.fingerprint;
    assert_eq!(of("/q", body).subject, first.subject);

    // Another writing of the same JSON: sorted members, no blanks, other escapes.
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        let reprinted = of("/p", value.to_string().as_bytes());
        assert_eq!(reprinted.subject, first.subject, "the subject follows the writing");
        assert!(!by_ids || reprinted.fingerprint == first.fingerprint, "the fingerprint follows the writing");
    }
});
