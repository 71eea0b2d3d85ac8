//! The other platforms written in PHP.

use super::{FormField, Preset, Rule};
use crate::event::Kind;
use crate::recognise::reading::Rewrite;

const fn field(name: &'static str) -> FormField {
    FormField { name, any_value: false }
}

// Magento takes what follows the action for parameters, in pairs: hence the open ends.
pub(super) static MAGENTO2: Preset = Preset {
    name: "magento2",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        // Two pushes at once, or a second one after a failure, cancelled good orders in versions before 12.1.
        Rule::checkout(Kind::Push, "kco/api/push", &["kco/api/push/**"]).subject("id").never_redelivered(),
        Rule::checkout(Kind::Validation, "kco/api/validate", &["kco/api/validate/**"]).subject("id"),
        Rule::checkout(Kind::AddressUpdate, "kco/api/addressUpdate", &["kco/api/addressUpdate/**"]).subject("id"),
        Rule::checkout(
            Kind::ShippingOptionUpdate,
            "kco/api/shippingMethodUpdate",
            &["kco/api/shippingMethodUpdate/**"],
        )
        .subject("id"),
        Rule::checkout(Kind::Notification, "kco/api/notification", &["kco/api/notification/**"]).subject("id"),
        Rule::checkout(Kind::Notification, "kco/api/disabled", &["kco/api/disabled/**"]),
        Rule::payments(Kind::Authorization, "checkout/klarna/authorize", &["checkout/klarna/authorize/**"]),
        Rule::payments(Kind::Notification, "klarna/api/disabled", &["klarna/api/disabled/**"]),
    ],
};

pub(super) static MAGENTO1: Preset = Preset {
    name: "magento1",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        // A late push for an order that the shop does not find may cancel it at Klarna.
        Rule::checkout(Kind::Push, "kco/api/push", &["kco/api/push/**"]).subject("id").never_redelivered(),
        Rule::checkout(Kind::Validation, "kco/api/validate", &["kco/api/validate/**"]).subject("id"),
        Rule::checkout(Kind::AddressUpdate, "kco/api/addressUpdate", &["kco/api/addressUpdate/**"]).subject("id"),
        Rule::checkout(
            Kind::ShippingOptionUpdate,
            "kco/api/shippingMethodUpdate",
            &["kco/api/shippingMethodUpdate/**"],
        )
        .subject("id"),
        Rule::checkout(Kind::Notification, "kco/api/notification", &["kco/api/notification/**"]).subject("id"),
        Rule::payments(Kind::Push, "klarna/notification/push", &["klarna/notification/push/**"])
            .subject("id")
            .never_redelivered(),
        Rule::payments(
            Kind::Notification,
            "klarna/notification",
            &["klarna/notification", "klarna/notification/index/**"],
        )
        .subject("id"),
    ],
};

// `cl` chooses the controller on any path, and from a posted form. At the second push without an order of its own,
// OXID cancels the order at Klarna.
pub(super) static OXID: Preset = Preset {
    name: "oxid",
    rewrites: &[],
    router: None,
    form_fields: &[field("cl")],
    rules: &[
        Rule::checkout(Kind::Push, "KlarnaAcknowledge", &["?cl=KlarnaAcknowledge"])
            .subject("klarna_order_id")
            .routing(&["shp"])
            .never_redelivered(),
        Rule::checkout(Kind::Validation, "KlarnaValidate", &["?cl=KlarnaValidate"]).routing(&["shp"]),
        Rule::checkout(Kind::Push, "KustomAcknowledge", &["?cl=KustomAcknowledge"])
            .subject("kustom_order_id")
            .routing(&["shp"])
            .never_redelivered(),
        Rule::checkout(Kind::Validation, "KustomValidate", &["?cl=KustomValidate"]).routing(&["shp"]),
        // The module forgets the `?` in front of `cl`, so that its real URL has all of it in the path.
        Rule::payments(
            Kind::Authorization,
            "KlarnaAuthCallbackEndpoint",
            &["?cl=KlarnaAuthCallbackEndpoint", "cl=KlarnaAuthCallbackEndpoint*"],
        ),
    ],
};

pub(super) static PRESTASHOP: Preset = Preset {
    name: "prestashop",
    rewrites: &[Rewrite {
        marker: "module",
        adds: Some(("fc", "module")),
        parameters: &["module", "controller"],
        is_obeyed: true,
    }],
    router: None,
    form_fields: &[field("fc"), field("module"), field("controller")],
    rules: &[
        Rule::payments(
            Kind::Authorization,
            "klarnapayment/authorization",
            &["?fc=module&module=klarnapayment&controller~authorization"],
        )
        .subject("cart_id"),
        Rule::checkout(Kind::Push, "klarnaofficial/pushkco", &["?fc=module&module=klarnaofficial&controller~pushkco"])
            .subject("klarna_order_id")
            .failing_with(&["missing parameters"]),
        Rule::checkout(
            Kind::Validation,
            "klarnaofficial/callbackvalidation",
            &["?fc=module&module=klarnaofficial&controller~callbackvalidation"],
        )
        .routing(&["v3"]),
        Rule::checkout(
            Kind::CountryChange,
            "klarnaofficial/changeaddress",
            &["?fc=module&module=klarnaofficial&controller~changeaddress"],
        )
        .routing(&["v3"]),
        Rule::checkout(
            Kind::ShippingOptionUpdate,
            "klarnaofficial/changecarrier",
            &["?fc=module&module=klarnaofficial&controller~changecarrier"],
        )
        .routing(&["v3"]),
        Rule::checkout(
            Kind::Notification,
            "klarnaofficial/notification",
            &["?fc=module&module=klarnaofficial&controller~notification"],
        ),
    ],
};

pub(super) static SHOPWARE6: Preset = Preset {
    name: "shopware6",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        // The segment is the cart's own secret and therefore not kept.
        Rule::payments(Kind::Authorization, "klarna/callback/authorization", &["klarna/callback/authorization/*"]),
        Rule::payments(Kind::Notification, "klarna/callback/notification", &["klarna/callback/notification/{id}"])
            .subject("id"),
    ],
};

// OpenCart deletes punctuation from `route`, and ignores what follows the method.
pub(super) static OPENCART: Preset = Preset {
    name: "opencart",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::checkout(Kind::Push, "klarna_checkout/push", &["?route~payment/klarna_checkout/push/**"])
            .subject("klarna_order_id"),
        Rule::checkout(
            Kind::Validation,
            "klarna_checkout/validation",
            &["?route~payment/klarna_checkout/validation/**"],
        )
        .subject("klarna_order_id"),
        Rule::checkout(
            Kind::AddressUpdate,
            "klarna_checkout/addressUpdate",
            &["?route~payment/klarna_checkout/addressUpdate/**"],
        )
        .subject("klarna_order_id"),
        Rule::checkout(
            Kind::Notification,
            "klarna_checkout/notification",
            &["?route~payment/klarna_checkout/notification/**"],
        )
        .subject("klarna_order_id"),
    ],
};

pub(super) static SYLIUS: Preset = Preset {
    name: "sylius",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[Rule::checkout(Kind::Push, "klarna-checkout/push", &["klarna-checkout/push"]).subject("klarna_order_id")],
};

// A preset of its own: Payum's notify URL is the same for every payment provider, and only a shop whose other
// providers do not use it can ask for tokens there.
pub(super) static SYLIUS_PAYUM: Preset = Preset {
    name: "sylius_payum",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[Rule::payments(Kind::Authorization, "payment/notify", &["payment/notify/*"])],
};

pub(super) static DRUPAL: Preset = Preset {
    name: "drupal",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::payments(Kind::Push, "commerce_klarna_payments", &["commerce_klarna_payments/{order}/{gateway}/push"])
            .subject("klarna_order_id")
            .routing(&["order", "gateway"]),
        // The notify path serves every payment provider; the parameter says that it is Klarna's turn.
        Rule::checkout(Kind::Validation, "payment/notify", &["payment/notify/{gateway}?callback=validation"])
            .subject("klarna_order_id")
            .routing(&["gateway"]),
        Rule::checkout(Kind::Push, "payment/notify", &["payment/notify/{gateway}?klarna_order_id"])
            .subject("klarna_order_id")
            .routing(&["gateway"]),
        Rule::payments(Kind::Notification, "payment/notify", &["payment/notify/{gateway}?commerce_order"])
            .subject("commerce_order")
            .routing(&["gateway"]),
    ],
};

pub(super) static CONTAO: Preset = Preset {
    name: "contao",
    rewrites: &[],
    router: None,
    form_fields: &[],
    rules: &[
        Rule::checkout(Kind::Push, "kco/push", &["kco/push/{id}"]).subject("id"),
        Rule::checkout(
            Kind::AddressUpdate,
            "kco/callback/address_update",
            &["kco/callback/address_update/{id}", "kco/callback/address_update"],
        )
        .subject("id"),
        Rule::checkout(
            Kind::CountryChange,
            "kco/callback/country_change",
            &["kco/callback/country_change/{id}", "kco/callback/country_change"],
        )
        .subject("id"),
        Rule::checkout(
            Kind::ShippingOptionUpdate,
            "kco/callback/shipping_option_update",
            &["kco/callback/shipping_option_update/{id}", "kco/callback/shipping_option_update"],
        )
        .subject("id"),
        Rule::checkout(
            Kind::Validation,
            "kco/callback/validate",
            &["kco/callback/validate", "kco/callback/validate/{id}"],
        )
        .subject("id"),
    ],
};
