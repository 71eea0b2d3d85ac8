//! WooCommerce. Everything but the REST routes arrives at `wc-api`, which WordPress takes from the path, the query or
//! a posted form, and whose value it strips of punctuation and letter case. It is served before anything else, and REST
//! routes before any page.

use super::{FormField, Preset, Rule, Turn};
use crate::event::{Family, Kind};
use crate::recognise::reading::Rewrite;
use crate::recognise::wordpress;

pub(super) static WOOCOMMERCE: Preset = Preset {
    name: "woocommerce",
    rewrites: &[
        Rewrite { marker: "wc-api", adds: None, parameters: &["wc-api"], is_obeyed: false },
        Rewrite { marker: "wp-json", adds: None, parameters: &["rest_route"], is_obeyed: false },
    ],
    router: Some(wordpress::routed),
    form_fields: &[FormField { name: "wc-api", any_value: true }, FormField { name: "rest_route", any_value: false }],
    rules: &[
        // Klarna for WooCommerce.
        Rule::payments(Kind::Authorization, "KP_WC_AUTHORIZATION", &["?wc-api~KP_WC_AUTHORIZATION"]),
        Rule::payments(Kind::Notification, "WC_Gateway_Klarna_Payments", &["?wc-api~WC_Gateway_Klarna_Payments"])
            .subject("order_id"),
        Rule::new(
            Family::Network,
            Kind::Webhook,
            "klarna/v1/kec/notifications",
            &["klarna/v1/kec/notifications", "?rest_route=klarna/v1/kec/notifications"],
        )
        .served(Turn::Second),
        // Kustom Checkout, all versions. One handler serves orders and changed subscriptions; `kco-action` and `key`
        // tell them apart.
        Rule::checkout(Kind::Push, "KCO_WC_Push", &["?wc-api~KCO_WC_Push"])
            .subject("kco_wc_order_id")
            .routing(&["kco-action", "key"]),
        Rule::checkout(Kind::Validation, "KCO_WC_Validation", &["?wc-api~KCO_WC_Validation"])
            .subject("kco_wc_order_id")
            .routing(&["kco-action"]),
        Rule::checkout(
            Kind::ShippingOptionUpdate,
            "KCO_WC_Shipping_Option_Update",
            &["?wc-api~KCO_WC_Shipping_Option_Update"],
        )
        .subject("kco_wc_order_id"),
        Rule::checkout(Kind::AddressUpdate, "KCO_WC_Address_Update", &["?wc-api~KCO_WC_Address_Update"])
            .subject("kco_wc_order_id"),
        Rule::checkout(Kind::Notification, "KCO_WC_Notification", &["?wc-api~KCO_WC_Notification"])
            .subject("kco_wc_order_id"),
        Rule::checkout(
            Kind::CountryChange,
            "kcowc/v1/address",
            &["kcowc/v1/address/{id}", "?rest_route=kcowc/v1/address/{id}"],
        )
        .subject("id")
        .served(Turn::Second),
        // The gateway of 2018. Its `sid` is the shopper's session and stays out of what is kept.
        Rule::checkout(Kind::Push, "WC_Gateway_Klarna_Checkout", &["?wc-api~WC_Gateway_Klarna_Checkout"])
            .subject("klarna_order")
            .routing(&["klarna-api", "scountry"]),
        Rule::checkout(
            Kind::Validation,
            "WC_Gateway_Klarna_Order_Validate",
            &["?wc-api~WC_Gateway_Klarna_Order_Validate"],
        ),
        Rule::checkout(Kind::AddressUpdate, "address_update", &["?address_update=yes&sid"]).served(Turn::Last),
    ],
};
