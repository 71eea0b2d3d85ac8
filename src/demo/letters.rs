//! The callbacks that the player sends: real shapes, ids made up for each purchase.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::event::{Family, Kind};

/// A purchase that nobody made.
#[derive(Clone, Debug)]
pub struct Purchase {
    session: String,
    order: String,
    authorization_token: String,
}

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The body; JSON unless empty.
    pub body: Bytes,
    /// How long the sender waits for the answer once it is connected.
    pub read_within: Duration,
    /// How often it tries in all.
    pub attempts: u32,
}

impl Purchase {
    /// One with ids of its own.
    pub fn made_up() -> Self {
        Self { session: id(), order: id(), authorization_token: id() }
    }

    /// The id by which the shop knows what a callback of this kind is about.
    pub fn subject(&self, kind: Kind) -> &str {
        match kind {
            Kind::Authorization | Kind::SessionStatus => &self.session,
            _ => &self.order,
        }
    }

    /// The shop session that its tokens are minted for.
    pub fn shop_session(&self) -> &str {
        &self.session
    }

    /// The callback of that kind as it is sent to a WooCommerce shop, if there is one of its kind.
    ///
    /// Every kind waits as long as its budget says. Klarna tries an authorization three times and sends nothing else
    /// twice within seconds.
    pub fn callback(&self, kind: Kind, token: Option<&str>) -> Option<Letter> {
        let Self { session, order, authorization_token } = self;
        let (path, body) = match kind {
            Kind::Authorization => (
                "/wc-api/KP_WC_AUTHORIZATION".to_owned(),
                format!(r#"{{"authorization_token":"{authorization_token}","session_id":"{session}"}}"#),
            ),
            // Klarna sends pushes without a body.
            Kind::Push => (format!("/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={order}"), String::new()),
            Kind::Notification => (
                format!("/wc-api/WC_Gateway_Klarna_Payments/?order_id={order}"),
                format!(r#"{{"order_id":"{order}","event_type":"FRAUD_RISK_ACCEPTED"}}"#),
            ),
            Kind::Validation => (
                format!("/wc-api/KCO_WC_Validation/?kco-action=validation&kco_wc_order_id={order}"),
                format!(r#"{{"order_id":"{order}","status":"checkout_incomplete",{CART}}}"#),
            ),
            Kind::ShippingOptionUpdate => ("/wc-api/KCO_WC_Shipping_Option_Update/".to_owned(), format!("{{{CART}}}")),
            _ => return None,
        };
        let joint = if path.contains('?') { '&' } else { '?' };
        let target = token.map(|token| format!("{path}{joint}kallback={token}")).unwrap_or(path);
        let attempts = if kind == Kind::Authorization { 3 } else { 1 };
        let read_within = kind.defaults().budget;
        Some(Letter { method: Method::POST, target, body: body.into(), read_within, attempts })
    }
}

impl Letter {
    /// A customer looks at the shop, and waits as long as browsers do.
    pub fn page() -> Self {
        let (target, read_within) = ("/shop/mugs/".to_owned(), Duration::from_secs(60));
        Self { method: Method::GET, target, body: Bytes::new(), read_within, attempts: 1 }
    }
}

/// Which API the URL of a kind was given to.
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

const CART: &str = r#""purchase_country":"SE","purchase_currency":"SEK","locale":"sv-SE","order_amount":29900,"order_tax_amount":5980,"order_lines":[{"type":"physical","reference":"MUG-1","name":"Mug","quantity":1,"unit_price":29900,"tax_rate":2500,"total_amount":29900,"total_tax_amount":5980}]"#;

#[cfg(test)]
mod tests {
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
    fn callbacks_carry_the_token_in_the_url_and_their_ids_where_the_plugins_look() {
        let purchase = Purchase::made_up();
        for kind in [Kind::Authorization, Kind::Push, Kind::Notification, Kind::Validation] {
            let letter = purchase.callback(kind, Some("00ff")).unwrap();
            assert!(letter.target.ends_with("?kallback=00ff") || letter.target.ends_with("&kallback=00ff"));
            let whole = format!("{}{}", letter.target, String::from_utf8_lossy(&letter.body));
            assert!(whole.contains(purchase.subject(kind)), "{kind}");
            assert!(letter.body.is_empty() || serde_json::from_slice::<serde_json::Value>(&letter.body).is_ok());
        }
        assert!(!purchase.callback(Kind::Push, None).unwrap().target.contains("kallback"));
        assert!(purchase.callback(Kind::Upsell, None).is_none());
    }

    #[test]
    fn klarna_waits_two_seconds_for_an_authorization_and_tries_three_times() {
        let letter = Purchase::made_up().callback(Kind::Authorization, None).unwrap();
        assert_eq!((letter.read_within, letter.attempts), (Duration::from_secs(2), 3));
    }
}
