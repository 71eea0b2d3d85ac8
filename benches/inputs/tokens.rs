//! What the token check is measured with.

use std::sync::Arc;

use kallback::clock::UnixMillis;
use kallback::event::{Family, Kind, Mode, Proof, Route};
use kallback::token::{Guard, Key, Settings, Ticket};

/// The time of the check.
pub(crate) const NOW: UnixMillis = UnixMillis(1_763_700_000_000);
const EXPIRES: UnixMillis = UnixMillis(1_764_028_800_000);

/// Two keys, the newer one first.
pub(crate) fn guard() -> Guard {
    let key = |id| Key { id, secret: vec![id; 32].into() };
    Guard::new(Settings {
        parameter: "kallback".into(),
        keys: vec![key(2), key(1)],
        signing_keys: Vec::new(),
        sessions_per_token: 4,
    })
}

/// A route that asks for a token.
pub(crate) fn route() -> Arc<Route> {
    Arc::new(Route {
        name: "woocommerce push".into(),
        kind: Kind::Push,
        family: Family::Checkout,
        proof: Proof::Token(Mode::Enforce),
        policy: Kind::Push.defaults(),
        failure_texts: Vec::new(),
    })
}

/// The ticket of every token here.
pub(crate) fn ticket() -> Ticket<'static> {
    Ticket { family: Family::Checkout, session: b"wc-session-1f0c", expires_at: EXPIRES }
}

/// A push with this token, or with none.
pub(crate) fn target(token: Option<&str>) -> String {
    let bare = "/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id=5f0c6c1e-1111-4222-8333-444455556666";
    token.map_or_else(|| bare.to_owned(), |token| format!("{bare}&kallback={token}"))
}
