//! Who a callback is about: the ids in its body and its URL, and the fingerprint made of them.

use std::fmt;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Fingerprint, Identity, Kind, Route, UrlFacts};

/// Says who a callback is about, from its URL and its body.
///
/// If the ids of the kind's fingerprint are missing, the fingerprint is over the whole body and the whole target (path
/// and query less the token). The target, because pushes have no body: on a route that does not know which parameter
/// names the order, those of two orders would otherwise be one notice.
pub fn identify(route: &Route, url: &UrlFacts, target: &str, body: &Bytes) -> Identity {
    let ids = Ids::read(body);
    let by_url = url.subject.as_deref();
    let (key, subject): (Option<Vec<&str>>, Option<&str>) = match route.kind {
        Kind::Authorization => (both(&ids.session_id, &ids.authorization_token), ids.session_id.as_deref().or(by_url)),
        Kind::Push => {
            let order = by_url.or(ids.order_id.as_deref());
            (order.map(|order| vec![order, &url.routing]), order)
        }
        Kind::Notification => {
            let order = ids.order_id.as_deref().or(by_url);
            (order.zip(ids.event_type.as_deref()).map(|(order, event)| vec![order, event]), order)
        }
        Kind::SessionStatus => {
            let session = ids.session_in_session.as_deref().or(by_url);
            // One part or two: no event id can be taken for a session with its status.
            let event = ids.event_id.as_deref().map(|event| vec![event]);
            (event.or_else(|| both(&ids.session_in_session, &ids.status_in_session)), session)
        }
        Kind::Webhook => (ids.event_id_in_metadata.as_deref().map(|event| vec![event]), None),
        _ => (None, ids.order_id.as_deref().or(by_url)),
    };
    let fingerprint = match key {
        Some(parts) => digest(route, "ids", parts.iter().map(|part| part.as_bytes())),
        None => digest(route, "body", [target.as_bytes(), body]),
    };
    let turn = match subject {
        Some(subject) => digest(route, "turn", [subject.as_bytes()]),
        None => fingerprint,
    };
    Identity { fingerprint, subject: subject.map(str::to_owned), turn }
}

fn both<'a>(first: &'a Option<String>, second: &'a Option<String>) -> Option<Vec<&'a str>> {
    Some(vec![first.as_deref()?, second.as_deref()?])
}

/// Lengths go in with the parts, so that no two lists of parts run together to the same bytes.
fn digest<'a>(route: &'a Route, what: &'static str, parts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in [route.kind.name().as_bytes(), route.name.as_bytes(), what.as_bytes()].into_iter().chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Fingerprint(hash.finalize().into())
}

/// The members of a callback's body that say who it is about. A body that is not one JSON object has none of them.
/// What is no text, or an empty one, is as good as absent, and does not make the other members unreadable.
struct Ids {
    session_id: Option<String>,
    authorization_token: Option<String>,
    order_id: Option<String>,
    event_type: Option<String>,
    event_id: Option<String>,
    session_in_session: Option<String>,
    status_in_session: Option<String>,
    event_id_in_metadata: Option<String>,
}

impl Ids {
    fn read(body: &[u8]) -> Self {
        let names = ["session_id", "authorization_token", "order_id", "event_type", "event_id", "session", "metadata"];
        let [session_id, authorization_token, order_id, event_type, event_id, session, metadata] = members(body, names);
        let [session_in_session, status_in_session] = members_of(session, ["session_id", "status"]);
        let [event_id_in_metadata] = members_of(metadata, ["event_id"]);
        Self {
            session_id: text_of(session_id),
            authorization_token: text_of(authorization_token),
            order_id: text_of(order_id),
            event_type: text_of(event_type),
            event_id: text_of(event_id),
            session_in_session: text_of(session_in_session),
            status_in_session: text_of(status_in_session),
            event_id_in_metadata: text_of(event_id_in_metadata),
        }
    }
}

fn text_of(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok().filter(|text: &String| !text.is_empty())
}

/// The values of these members of a JSON object; all absent if it is none. The rest of the body, which may be a
/// megabyte of order lines, is passed over without being kept.
fn members<'a, const N: usize>(json: &'a [u8], names: [&str; N]) -> [Option<&'a RawValue>; N] {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_map(Named(names));
    found.and_then(|found| reader.end().map(|()| found)).unwrap_or([None; N])
}

fn members_of<'a, const N: usize>(json: Option<&'a RawValue>, names: [&str; N]) -> [Option<&'a RawValue>; N] {
    json.map_or([None; N], |json| members(json.get().as_bytes(), names))
}

struct Named<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Named<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// Of two members with one name the last one counts, as for PHP and JavaScript: kallback and the shop must mean
    /// the same session, or a token's binding could be talked around.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = map.next_key::<String>()? {
            match found.iter_mut().zip(self.0).find(|(_, wanted)| *wanted == name) {
                Some((place, _)) => *place = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Family, Mode, Proof};
    use proptest::prelude::*;
    use serde_json::json;

    fn route(kind: Kind) -> Route {
        Route {
            name: format!("test {kind}"),
            kind,
            family: Family::Payments,
            proof: Proof::Token(Mode::Enforce),
            policy: kind.defaults(),
            failure_texts: Vec::new(),
        }
    }

    fn url(subject: &str, routing: &str) -> UrlFacts {
        UrlFacts {
            subject: (!subject.is_empty()).then(|| subject.to_owned()),
            routing: routing.to_owned(),
            ..UrlFacts::default()
        }
    }

    fn of(kind: Kind, url: &UrlFacts, body: impl AsRef<[u8]>) -> Identity {
        at("/p", kind, url, body)
    }

    fn at(target: &str, kind: Kind, url: &UrlFacts, body: impl AsRef<[u8]>) -> Identity {
        identify(&route(kind), url, target, &Bytes::copy_from_slice(body.as_ref()))
    }

    fn bare(kind: Kind, body: impl AsRef<[u8]>) -> Identity {
        of(kind, &UrlFacts::default(), body)
    }

    fn authorization(session: &str, token: &str) -> String {
        json!({ "authorization_token": token, "session_id": session, "merchant_reference1": "r" }).to_string()
    }

    #[test]
    fn an_authorization_is_its_session_and_its_token() {
        let first = bare(Kind::Authorization, authorization("s", "t"));
        assert_eq!(first.subject.as_deref(), Some("s"));
        let respelled = br#" {"new":[{"session_id":"x"}],"session\u005fid":"s","authorization_token":"\u0074"} "#;
        assert_eq!(bare(Kind::Authorization, respelled), first);
        assert_eq!(of(Kind::Authorization, &url("other", "r"), authorization("s", "t")), first);

        let another_token = bare(Kind::Authorization, authorization("s", "u"));
        assert_ne!(another_token.fingerprint, first.fingerprint);
        assert_eq!(another_token.turn, first.turn, "tokens of one session come one after the other");
        let another_session = bare(Kind::Authorization, authorization("z", "t"));
        assert!(another_session.fingerprint != first.fingerprint && another_session.turn != first.turn);
    }

    #[test]
    fn a_push_is_its_order_and_what_it_asks_the_shop_to_do() {
        let first = of(Kind::Push, &url("o", "kco-action=push"), "");
        assert_eq!(first.subject.as_deref(), Some("o"));
        assert_eq!(of(Kind::Push, &url("o", "kco-action=push"), "{}"), first, "the body says nothing");
        assert_eq!(
            of(Kind::Push, &url("o", "kco-action=push"), r#"{"order_id":"p"}"#),
            first,
            "the shop reads the URL"
        );
        let subscription = of(Kind::Push, &url("o", "kco-action=subs"), "");
        assert_ne!(subscription.fingerprint, first.fingerprint);
        assert_eq!(subscription.turn, first.turn);
        assert_ne!(of(Kind::Push, &url("p", "kco-action=push"), "").fingerprint, first.fingerprint);
        let by_body = of(Kind::Push, &url("", "kco-action=push"), r#"{"order_id":"o"}"#);
        assert_eq!(by_body, first);
    }

    #[test]
    fn a_notification_is_its_order_and_its_event() {
        let body = |order: &str, event: &str| json!({ "order_id": order, "event_type": event }).to_string();
        let first = bare(Kind::Notification, body("o", "FRAUD_RISK_ACCEPTED"));
        assert_eq!(first.subject.as_deref(), Some("o"));
        let stopped = bare(Kind::Notification, body("o", "FRAUD_RISK_STOPPED"));
        assert!(stopped.fingerprint != first.fingerprint && stopped.turn == first.turn);
        let by_url = of(Kind::Notification, &url("o", ""), r#"{"event_type":"FRAUD_RISK_ACCEPTED"}"#);
        assert_eq!(by_url, first);
    }

    #[test]
    fn a_session_status_is_its_event_or_else_its_session_and_status() {
        let body = |event: serde_json::Value, session: &str, status: &str| {
            json!({ "event_id": event, "session": { "session_id": session, "status": status } }).to_string()
        };
        let first = bare(Kind::SessionStatus, body("e".into(), "s", "COMPLETED"));
        assert_eq!(first.subject.as_deref(), Some("s"));
        assert_eq!(bare(Kind::SessionStatus, body("e".into(), "s", "WAITING")).fingerprint, first.fingerprint);
        assert_ne!(bare(Kind::SessionStatus, body("f".into(), "s", "COMPLETED")).fingerprint, first.fingerprint);

        let without_event = |status| bare(Kind::SessionStatus, body(serde_json::Value::Null, "s", status));
        assert_eq!(without_event("COMPLETED"), without_event("COMPLETED"));
        assert_ne!(without_event("COMPLETED").fingerprint, without_event("WAITING").fingerprint);
        assert_eq!(without_event("COMPLETED").turn, first.turn);
        let only_status = r#"{"session":{"session_id":"event","status":"e"}}"#;
        assert_ne!(bare(Kind::SessionStatus, only_status).fingerprint, first.fingerprint);
    }

    #[test]
    fn a_webhook_is_its_event_and_about_nobody() {
        let body = |event: &str, live: bool| json!({ "metadata": { "event_id": event, "live": live } }).to_string();
        let first = of(Kind::Webhook, &url("o", "r"), body("e", true));
        assert_eq!((first.subject.clone(), first.turn), (None, first.fingerprint));
        assert_eq!(bare(Kind::Webhook, body("e", false)), first);
        assert_ne!(bare(Kind::Webhook, body("f", true)).fingerprint, first.fingerprint);
        // An event id elsewhere is not the webhook's.
        assert_ne!(bare(Kind::Webhook, r#"{"event_id":"e"}"#).fingerprint, first.fingerprint);
    }

    #[test]
    fn a_question_is_about_an_order_and_never_the_same_as_one_with_another_body() {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.class() == crate::event::Class::Question) {
            let first = of(kind, &url("u", ""), r#"{"order_id":"o","order_amount":1}"#);
            assert_eq!(first.subject.as_deref(), Some("o"));
            let changed = of(kind, &url("u", ""), r#"{"order_id":"o","order_amount":2}"#);
            assert_ne!(changed.fingerprint, first.fingerprint);
            assert_eq!(of(kind, &url("u", ""), r#"{"order_amount":1}"#).subject.as_deref(), Some("u"));
        }
    }

    #[test]
    fn without_ids_the_body_and_the_url_are_the_fingerprint() {
        for kind in Kind::ALL {
            let call = |target: &str, body: &str| at(target, kind, &UrlFacts::default(), body).fingerprint;
            assert_eq!(call("/p?a", "[1]"), call("/p?a", "[1]"), "{kind}");
            assert_ne!(call("/p?a", "[1]"), call("/p?a", "[2]"), "{kind}");
            assert_ne!(call("/p?a", "[1]"), call("/p?b", "[1]"), "{kind}");
        }
    }

    #[test]
    fn pushes_of_two_orders_are_two_notices_even_if_nobody_knows_which_parameter_names_the_order() {
        let push = |target| at(target, Kind::Push, &UrlFacts::default(), "");
        assert_ne!(push("/own/push?order=1").fingerprint, push("/own/push?order=2").fingerprint);
    }

    #[test]
    fn with_ids_the_spelling_of_the_target_does_not_matter() {
        let push = |target| at(target, Kind::Push, &url("o", "r"), "");
        assert_eq!(push("/push?id=o"), push("//push/?%69d=o"));
    }

    #[test]
    fn half_of_the_ids_is_not_enough_for_a_fingerprint_by_ids() {
        let rows = [
            (Kind::Authorization, r#"{"session_id":"s","x":1}"#, r#"{"session_id":"s","x":2}"#),
            (Kind::Authorization, r#"{"authorization_token":"s","x":1}"#, r#"{"authorization_token":"s","x":2}"#),
            (Kind::Notification, r#"{"order_id":"s","x":1}"#, r#"{"order_id":"s","x":2}"#),
            (Kind::Notification, r#"{"event_type":"s","x":1}"#, r#"{"event_type":"s","x":2}"#),
            (Kind::SessionStatus, r#"{"session":{"status":"s"},"x":1}"#, r#"{"session":{"status":"s"},"x":2}"#),
            (Kind::Webhook, r#"{"metadata":{},"x":1}"#, r#"{"metadata":{},"x":2}"#),
        ];
        for (kind, one, two) in rows {
            assert_ne!(bare(kind, one).fingerprint, bare(kind, two).fingerprint, "{one}");
        }
    }

    #[test]
    fn members_of_a_wrong_type_are_absent_and_spoil_no_other() {
        let first = bare(Kind::Authorization, authorization("s", "t"));
        for wrong in ["null", "1", "true", "[]", "{}", r#""x""#, r#"{"session_id":7}"#, r#"[{"session_id":"x"}]"#] {
            let body = format!(
                r#"{{"session":{wrong},"metadata":{wrong},"order_id":{wrong},"session_id":"s","authorization_token":"t"}}"#
            );
            assert_eq!(bare(Kind::Authorization, body), first, "{wrong}");
        }
        for wrong in ["null", "1", "true", "[\"s\"]", "{}", "\"\""] {
            let body = format!(r#"{{"session_id":{wrong},"authorization_token":"t"}}"#);
            assert_eq!(bare(Kind::Authorization, body).subject, None, "{wrong}");
        }
    }

    #[test]
    fn of_two_members_with_one_name_the_last_one_counts() {
        let twice = r#"{"session_id":"x","authorization_token":"t","session_id":"s"}"#;
        assert_eq!(bare(Kind::Authorization, twice), bare(Kind::Authorization, authorization("s", "t")));
        let void = r#"{"session_id":"s","authorization_token":"t","session_id":null}"#;
        assert_eq!(bare(Kind::Authorization, void).subject, None);
    }

    #[test]
    fn a_body_that_is_not_one_json_object_has_no_ids() {
        let good = authorization("s", "t");
        let bad = ["[]", "\"session_id\"", "session_id=s", &format!("{good}{good}"), &format!("[{good}]"), &good[1..]];
        for body in bad {
            assert_eq!(bare(Kind::Authorization, body).subject, None, "{body}");
        }
        let mut deep = vec![b'['; 200_000];
        deep.extend([b']'; 200_000]);
        let deep = [br#"{"x":"#, &deep[..], br#","session_id":"s","authorization_token":"t"}"#].concat();
        assert_eq!(bare(Kind::Authorization, deep), bare(Kind::Authorization, good));
    }

    #[test]
    fn kinds_and_routes_do_not_share_fingerprints() {
        let body = r#"{"order_id":"o","event_type":"e","session_id":"o","authorization_token":"e"}"#;
        let mut seen: Vec<Fingerprint> = Kind::ALL.into_iter().map(|kind| bare(kind, body).fingerprint).collect();
        let other_shop = Route { name: "another shop's push".into(), ..route(Kind::Push) };
        seen.push(identify(&other_shop, &UrlFacts::default(), "/p", &Bytes::from_static(body.as_bytes())).fingerprint);
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    proptest! {
        #[test]
        fn parts_cannot_run_together(whole in "[a-c]{2,12}", one in 1_usize..11, other in 1_usize..11) {
            let (one, other) = (one % whole.len(), other % whole.len());
            let authorized = |place: usize| {
                let (session, token) = whole.split_at(place);
                bare(Kind::Authorization, authorization(session, token)).fingerprint
            };
            let pushed = |place: usize| {
                let (order, routing) = whole.split_at(place);
                of(Kind::Push, &url(order, routing), "").fingerprint
            };
            let unknown = |place: usize| {
                let (target, body) = whole.split_at(place);
                at(target, Kind::Webhook, &UrlFacts::default(), body).fingerprint
            };
            // An empty session is no session, so a cut at the very front is another case.
            prop_assume!(one > 0 && other > 0);
            prop_assert_eq!(authorized(one) == authorized(other), one == other);
            prop_assert_eq!(pushed(one) == pushed(other), one == other);
            prop_assert_eq!(unknown(one) == unknown(other), one == other);
        }

        #[test]
        fn no_body_panics_and_each_is_itself(body in any::<Vec<u8>>(), subject in any::<String>()) {
            for kind in Kind::ALL {
                let facts = url(&subject, "");
                prop_assert_eq!(of(kind, &facts, &body), of(kind, &facts, &body));
            }
        }

        #[test]
        fn ids_survive_any_text(session in ".{1,20}", token in ".{1,20}", other in ".{1,20}") {
            let first = bare(Kind::Authorization, authorization(&session, &token));
            prop_assert_eq!(first.subject.as_deref(), Some(&*session));
            let second = bare(Kind::Authorization, authorization(&session, &other));
            prop_assert_eq!(first.fingerprint == second.fingerprint, token == other);
        }
    }
}
