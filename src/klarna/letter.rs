//! The callbacks that are sent: real shapes, ids made up for each purchase.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request};

use super::habits::{self, Meaning};
use crate::event::{Family, Kind};
use crate::message::Reply;

/// A purchase that nobody made.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// The id of Klarna's session.
    pub session: String,
    /// The id of Klarna's order.
    pub order: String,
    authorization_token: String,
    event: String,
    secret: String,
}

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The callback; none for a page that a customer looks at.
    pub kind: Option<Kind>,
    /// The request. Its URI is path and query.
    pub request: Request<Bytes>,
    /// How long the sender waits for the answer once it is connected.
    pub read_within: Duration,
    /// The pauses before further attempts: as many as there are pauses.
    pub pauses: Vec<Duration>,
}

impl Purchase {
    /// One with ids of its own.
    pub fn made_up() -> Self {
        let secret = id().replace('-', "");
        Self { session: id(), order: id(), authorization_token: id(), event: id(), secret }
    }

    /// The id by which the shop knows what a callback of this kind is about.
    pub fn subject(&self, kind: Kind) -> &str {
        match kind {
            Kind::Authorization | Kind::SessionStatus => &self.session,
            _ => &self.order,
        }
    }

    /// A URL, or a part of one, with this purchase in place of the placeholders: those of our own table, and those
    /// that Klarna and Kustom fill in.
    pub fn fill(&self, url: &str) -> String {
        let fillings: [(&str, &str); 10] = [
            ("{checkout.order.id}", &self.order),
            ("{{session_id}}", &self.session),
            ("{{order_id}}", &self.order),
            ("{{authorization_token}}", &self.authorization_token),
            ("{session.id}", &self.session),
            ("{order.id}", &self.order),
            ("{order}", &self.order),
            ("{session}", &self.session),
            ("{secret}", &self.secret),
            ("{number}", "4711"),
        ];
        fillings.into_iter().fold(url.to_owned(), |url, (name, value)| url.replace(name, value))
    }

    /// The callback of that kind to `target`, a path and query without placeholders.
    ///
    /// # Errors
    /// If the target cannot stand in a request.
    pub fn callback(&self, kind: Kind, target: &str) -> Result<Letter, http::Error> {
        let body = self.body(kind);
        let mut request = Request::builder().method(Method::POST).uri(target).header(USER_AGENT, "APIs-Klarna");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(Letter {
            kind: Some(kind),
            request: request.body(body.into())?,
            read_within: kind.defaults().budget,
            pauses: habits::pauses(kind).to_vec(),
        })
    }

    fn body(&self, kind: Kind) -> String {
        let Self { session, order, authorization_token, event, .. } = self;
        match kind {
            Kind::Authorization => {
                format!(r#"{{"authorization_token":"{authorization_token}","session_id":"{session}"}}"#)
            }
            // Klarna sends pushes without a body.
            Kind::Push => String::new(),
            Kind::Notification => format!(r#"{{"order_id":"{order}","event_type":"FRAUD_RISK_ACCEPTED"}}"#),
            Kind::SessionStatus => format!(
                r#"{{"event_id":"{event}","session":{{"session_id":"{session}","status":"COMPLETED","authorization_token":"{authorization_token}","updated_at":"2026-01-15T10:00:00.000Z","expires_at":"2026-01-17T10:00:00.000Z"}}}}"#
            ),
            Kind::Webhook => format!(
                r#"{{"metadata":{{"event_type":"payment.request.state-change.completed","event_id":"{event}","event_version":"v2","occurred_at":"2026-01-15T10:00:00Z","live":false}},"payload":{{"payment_request_id":"krn:payment:eu1:request:{event}","state":"COMPLETED"}}}}"#
            ),
            Kind::Validation | Kind::Upsell | Kind::UpsellValidation => {
                format!(r#"{{"order_id":"{order}","status":"checkout_incomplete","purchase_country":"SE",{CART}}}"#)
            }
            // No order id: these are about an order that only the URL names.
            Kind::AddressUpdate | Kind::CountryChange => format!("{{{CART}}}"),
            Kind::ShippingOptionUpdate => format!("{{{CART},{SHIPPING}}}"),
        }
    }
}

impl Letter {
    /// A customer looks at the shop, and waits as long as browsers do.
    pub fn page() -> Self {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = http::Uri::from_static("/shop/mugs/");
        Self { kind: None, request, read_within: Duration::from_secs(60), pauses: Vec::new() }
    }

    /// Whether the sender is content with that answer.
    pub fn contents(&self, reply: &Reply) -> bool {
        match self.kind {
            Some(kind) => !matches!(habits::meaning(kind, reply), Meaning::Failed(_)),
            None => reply.status.is_success(),
        }
    }
}

/// Which API the URL of a kind is usually given to.
pub fn family(kind: Kind) -> Family {
    match kind {
        Kind::Authorization | Kind::Notification => Family::Payments,
        Kind::SessionStatus => Family::HostedPage,
        Kind::Webhook => Family::Network,
        _ => Family::Checkout,
    }
}

/// A random id in the shape of a UUID of version 4 (RFC 9562, 5.4).
fn id() -> String {
    let random = rand::random::<u128>() & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
    let hex = format!("{random:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

const CART: &str = r#""purchase_currency":"SEK","locale":"sv-SE","order_amount":29900,"order_tax_amount":5980,"order_lines":[{"type":"physical","reference":"MUG-1","name":"Mug","quantity":1,"unit_price":29900,"tax_rate":2500,"total_amount":29900,"total_tax_amount":5980}],"shipping_address":{"given_name":"Test","family_name":"Person","email":"t@example.org","street_address":"Gatan 1","postal_code":"11122","city":"Stockholm","country":"se"}"#;
const SHIPPING: &str =
    r#""selected_shipping_option":{"id":"post","name":"Post","price":4900,"tax_amount":980,"tax_rate":2500}"#;

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn ids_have_the_shape_of_a_random_uuid_and_differ() {
        let one = id();
        let dashes: Vec<_> = one.match_indices('-').map(|(place, _)| place).collect();
        assert_eq!((one.len(), dashes), (36, vec![8, 13, 18, 23]));
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert_ne!(one, id());
    }

    #[test]
    fn callbacks_carry_their_ids_where_the_plugins_look() {
        let purchase = Purchase::made_up();
        for kind in [Kind::Authorization, Kind::Push, Kind::Notification, Kind::Validation, Kind::AddressUpdate] {
            let target = purchase.fill(places::place("woocommerce", kind).unwrap().target);
            let letter = purchase.callback(kind, &target).unwrap();
            let body = letter.request.body();
            let whole = format!("{target}{}", String::from_utf8_lossy(body));
            assert!(whole.contains(purchase.subject(kind)), "{kind}");
        }
    }

    #[test]
    fn every_body_is_json_with_a_content_type_except_a_pushs() {
        for kind in Kind::ALL {
            let request = Purchase::made_up().callback(kind, "/").unwrap().request;
            let is_json = serde_json::from_slice::<serde_json::Value>(request.body()).is_ok();
            assert_eq!(
                (is_json, request.headers().contains_key(CONTENT_TYPE)),
                (kind != Kind::Push, kind != Kind::Push)
            );
        }
    }

    #[test]
    fn klarna_waits_two_seconds_for_an_authorization_and_tries_three_times() {
        let letter = Purchase::made_up().callback(Kind::Authorization, "/").unwrap();
        let pauses = [1, 2].map(Duration::from_secs);
        assert_eq!((letter.read_within, &letter.pauses[..]), (Duration::from_secs(2), &pauses[..]));
    }

    #[test]
    fn the_senders_placeholders_are_filled_in() {
        let purchase = Purchase { order: "O".into(), session: "S".into(), ..Purchase::made_up() };
        let filled = purchase.fill("/a/{checkout.order.id}?b={order.id}&c={session.id}&d={{session_id}}&e={f}");
        assert_eq!(filled, "/a/O?b=O&c=S&d=S&e={f}");
    }
}
