//! Where the callbacks arrive that are measured.

use kallback::event::{Family, Kind, Mode, Proof, Route};

/// `WooCommerce`'s authorization.
pub(crate) fn authorization() -> Route {
    Route {
        name: "woocommerce authorization".into(),
        kind: Kind::Authorization,
        family: Family::Payments,
        proof: Proof::Token(Mode::Enforce),
        policy: Kind::Authorization.defaults(),
        failure_texts: Vec::new(),
    }
}
