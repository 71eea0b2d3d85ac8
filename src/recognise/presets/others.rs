//! The platforms that are not written in PHP.

use super::{Preset, Rule};
use crate::event::{Family, Kind};

// Rails takes a `.format` at the end. The engine may be mounted anywhere, and an older one had no `api/`.
pub(super) static SOLIDUS: Preset = Preset {
    name: "solidus",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::payments(
            Kind::Notification,
            "callbacks/notification",
            &["callbacks/notification", "callbacks/notification.*"],
        ),
        Rule::payments(Kind::Push, "callbacks/push", &["callbacks/push", "callbacks/push.*"]),
    ],
};

pub(super) static OPTIMIZELY: Preset = Preset {
    name: "optimizely",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::checkout(Kind::Push, "klarnacheckout/cart/push", &["klarnacheckout/cart/{cart}/push"])
            .subject("klarna_order_id")
            .routing(&["cart"]),
        Rule::checkout(
            Kind::AddressUpdate,
            "klarnacheckout/cart/addressupdate",
            &["klarnacheckout/cart/{cart}/addressupdate"],
        )
        .routing(&["cart"]),
        Rule::checkout(
            Kind::ShippingOptionUpdate,
            "klarnacheckout/cart/shippingoptionupdate",
            &["klarnacheckout/cart/{cart}/shippingoptionupdate"],
        )
        .routing(&["cart"]),
        Rule::checkout(
            Kind::Validation,
            "klarnacheckout/cart/ordervalidation",
            &["klarnacheckout/cart/{cart}/ordervalidation"],
        )
        .routing(&["cart"]),
        Rule::checkout(Kind::Notification, "klarnacheckout/fraud", &["klarnacheckout/fraud"]),
        Rule::payments(Kind::Push, "klarnaapi/push", &["klarnaapi/push"]).subject("klarna_order_id"),
        Rule::payments(Kind::Notification, "klarnaapi/fraud", &["klarnaapi/fraud"]),
    ],
};

// The last segment is a secret of the plugin, and so is `token`; neither is kept.
pub(super) static UMBRACO: Preset = Preset {
    name: "umbraco",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[Rule::new(
        Family::HostedPage,
        Kind::SessionStatus,
        "payment/callback",
        &["umbraco/commerce/payment/api/v1/callback/{alias}/{order}/*/*"],
    )
    .subject("sid")
    .routing(&["alias", "order"])],
};

// Says `200 failure` when it failed. Older Spring versions take any suffix behind a dot for the same page.
pub(super) static SAP_COMMERCE: Preset = Preset {
    name: "sap_commerce",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::payments(
            Kind::Authorization,
            "payment/auth-callback",
            &["klarna/payment/auth-callback", "klarna/payment/auth-callback.*"],
        )
        .failing_with(&["failure"]),
        Rule::payments(
            Kind::Authorization,
            "express-checkout/authorize-callback",
            &["klarna/express-checkout/authorize-callback", "klarna/express-checkout/authorize-callback.*"],
        )
        .failing_with(&["failure"]),
        Rule::payments(
            Kind::Notification,
            "checkout/pending-update",
            &["klarna/payment/checkout/pending-update", "klarna/payment/checkout/pending-update.*"],
        )
        .subject("kid"),
    ],
};

// Salesforce hosts its shops, so that kallback can only stand in front of a proxy of one's own.
pub(super) static SALESFORCE: Preset = Preset {
    name: "salesforce",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::payments(
            Kind::Authorization,
            "KlarnaPayments-BankTransferCallback",
            &["KlarnaPayments-BankTransferCallback"],
        )
        .routing(&["klarna_country"]),
        Rule::payments(Kind::Notification, "KlarnaPayments-Notification", &["KlarnaPayments-Notification"])
            .routing(&["klarna_country"]),
        Rule::new(
            Family::Network,
            Kind::Webhook,
            "KlarnaPayments-WebhookNotification",
            &["KlarnaPayments-WebhookNotification"],
        ),
        Rule::checkout(Kind::Push, "KlarnaCheckoutServices-Push", &["KlarnaCheckoutServices-Push"])
            .subject("klarna_order_id")
            .routing(&["klarna_country"]),
        Rule::checkout(Kind::Validation, "KlarnaCheckoutServices-Validation", &["KlarnaCheckoutServices-Validation"]),
        // One URL for address and shipping updates; both are questions, so that nothing depends on the difference.
        Rule::checkout(Kind::AddressUpdate, "KlarnaCheckoutServices-Update", &["KlarnaCheckoutServices-Update"]),
        Rule::checkout(
            Kind::Notification,
            "KlarnaCheckoutServices-Notification",
            &["KlarnaCheckoutServices-Notification"],
        )
        .routing(&["klarna_country"]),
    ],
};

pub(super) static SALEOR: Preset = Preset {
    name: "saleor",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[Rule::payments(
        Kind::Authorization,
        "webhooks/klarna/authorization",
        &["api/webhooks/klarna/authorization"],
    )
    .subject("transactionId")
    .routing(&["channelId", "saleorApiUrl"])],
};

pub(super) static MEDUSA: Preset = Preset {
    name: "medusa",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::checkout(Kind::Push, "klarna/push", &["klarna/push"]),
        Rule::checkout(Kind::ShippingOptionUpdate, "klarna/shipping", &["klarna/shipping"]),
        Rule::checkout(Kind::AddressUpdate, "klarna/address", &["klarna/address"]),
    ],
};
