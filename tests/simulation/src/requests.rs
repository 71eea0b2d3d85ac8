//! What Klarna sends: real shapes, invented ids, and the tokens that belong to them.

use std::sync::LazyLock;
use std::time::Duration;

use kallback::app::Settings;
use kallback::event::{Family, Kind, Mode};
use kallback::recognise::{Override, PolicyPatch};
use kallback::token::{self, Guard, Ticket};
use kallback::upstream::Address;

use crate::ledger::KEY;
use crate::world::WALL_AT_START;

/// A callback that is sent, perhaps more than once.
#[derive(Clone, Debug)]
pub struct Purpose {
    /// Its kind.
    pub kind: Kind,
    /// The request, byte for byte.
    pub bytes: Vec<u8>,
}

/// kallback's settings: the defaults, WooCommerce and Umbraco, tokens enforced.
pub fn settings() -> Settings {
    SETTINGS.clone()
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let mut settings = Settings::for_shop(Address::Http { host: "127.0.0.1".to_owned(), port: 1 });
    settings.recognise.presets = vec!["woocommerce".to_owned(), "umbraco".to_owned()];
    // Klarna's signatures are a matter of bytes, not of time, network or disk.
    let unsigned =
        Override { preset: None, kind: Some(Kind::Webhook), mode: Some(Mode::Off), policy: PolicyPatch::default() };
    settings.recognise.overrides.push(unsigned);
    let keys = token::parse_keys("1 6b616c6c6261636b206b616c6c6261636b206b616c6c6261636b206b616c6c62");
    settings.token.keys = keys.unwrap_or_else(|why| panic!("{why}"));
    settings
});

impl Purpose {
    /// The callback of a kind about a session, as the notice with that key.
    pub fn new(kind: Kind, session: usize, key: usize) -> Self {
        let ids = Ids { session: format!("a4f3c2d1-77aa-4b52-8d0e-{session:012x}"), key };
        let target = ids.target(kind);
        let joint = if target.contains('?') { '&' } else { '?' };
        let target = match family(kind) {
            None => target,
            Some(family) => format!("{target}{joint}kallback={}", token(family, &ids.session)),
        };
        let body = ids.body(kind);
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: shop.example\r\nuser-agent: APIs-Klarna\r\n{KEY}: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { kind, bytes: [head.into_bytes(), body.into_bytes()].concat() }
    }
}

struct Ids {
    session: String,
    key: usize,
}

impl Ids {
    fn target(&self, kind: Kind) -> String {
        let Self { session, .. } = self;
        match kind {
            Kind::Authorization => "/wc-api/KP_WC_AUTHORIZATION".to_owned(),
            Kind::Push => format!("/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={session}"),
            Kind::Notification => format!("/wc-api/WC_Gateway_Klarna_Payments/?order_id={session}"),
            Kind::SessionStatus => {
                format!("/umbraco/commerce/payment/api/v1/callback/klarna/7/ORDER-7/4b4e?sid={session}&token=9c0a")
            }
            Kind::Webhook => "/wp-json/klarna/v1/kec/notifications".to_owned(),
            _ => format!("/wc-api/KCO_WC_Validation/?kco-action=validation&kco_wc_order_id={session}"),
        }
    }

    fn body(&self, kind: Kind) -> String {
        let Self { session, key } = self;
        match kind {
            Kind::Authorization => {
                format!(r#"{{"authorization_token":"0f6a5c1e-{key:012x}","session_id":"{session}"}}"#)
            }
            Kind::Push => String::new(),
            Kind::Notification => format!(r#"{{"order_id":"{session}","event_type":"FRAUD_RISK_ACCEPTED"}}"#),
            Kind::SessionStatus => format!(
                r#"{{"event_id":"d6c1b0a2-{key:012x}","session":{{"session_id":"{session}","status":"COMPLETED"}}}}"#
            ),
            Kind::Webhook => format!(r#"{{"metadata":{{"event_id":"d6c1b0a2-{key:012x}"}},"payload":{{}}}}"#),
            _ => format!(r#"{{"order_id":"{session}","status":"checkout_incomplete"}}"#),
        }
    }
}

fn family(kind: Kind) -> Option<Family> {
    match kind {
        Kind::Authorization | Kind::Notification => Some(Family::Payments),
        Kind::SessionStatus => Some(Family::HostedPage),
        Kind::Webhook => None,
        _ => Some(Family::Checkout),
    }
}

fn token(family: Family, session: &str) -> String {
    let expires_at = WALL_AT_START + Duration::from_secs(72 * 3_600);
    let ticket = Ticket { family, session: session.as_bytes(), expires_at };
    Guard::new(SETTINGS.token.clone()).mint(&ticket).unwrap_or_else(|| panic!("no key to mint with"))
}
