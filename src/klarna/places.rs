//! Where the plugins of each shop platform receive callbacks: one URL for each platform and kind, as the plugin gives
//! it to Klarna, with the placeholders of `letter.rs`.

use crate::event::{Family, Kind};

/// One place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The preset that recognises it.
    pub preset: &'static str,
    /// What arrives there.
    pub kind: Kind,
    /// The API that the URL is given to.
    pub family: Family,
    /// Path and query, with placeholders.
    pub target: &'static str,
}

/// The place of a kind in a preset.
pub fn place(preset: &str, kind: Kind) -> Option<&'static Place> {
    ALL.iter().find(|place| place.preset == preset && place.kind == kind)
}

/// The kinds that a preset has places for.
pub fn kinds(preset: &str) -> impl Iterator<Item = Kind> {
    ALL.iter().filter(move |place| place.preset == preset).map(|place| place.kind)
}

const fn payments(preset: &'static str, kind: Kind, target: &'static str) -> Place {
    Place { preset, kind, family: Family::Payments, target }
}

const fn checkout(preset: &'static str, kind: Kind, target: &'static str) -> Place {
    Place { preset, kind, family: Family::Checkout, target }
}

const fn network(preset: &'static str, target: &'static str) -> Place {
    Place { preset, kind: Kind::Webhook, family: Family::Network, target }
}

/// All of them, in the order of the presets.
#[rustfmt::skip]
pub const ALL: &[Place] = &[
    payments("woocommerce", Kind::Authorization, "/wc-api/KP_WC_AUTHORIZATION"),
    payments("woocommerce", Kind::Notification, "/wc-api/WC_Gateway_Klarna_Payments/?order_id={order}"),
    network("woocommerce", "/wp-json/klarna/v1/kec/notifications"),
    checkout("woocommerce", Kind::Push, "/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={order}"),
    checkout("woocommerce", Kind::Validation, "/wc-api/KCO_WC_Validation/?kco-action=validation&kco_wc_order_id={order}"),
    checkout("woocommerce", Kind::ShippingOptionUpdate, "/wc-api/KCO_WC_Shipping_Option_Update/"),
    checkout("woocommerce", Kind::AddressUpdate, "/wc-api/KCO_WC_Address_Update/?kco_wc_order_id={order}"),
    checkout("woocommerce", Kind::CountryChange, "/wp-json/kcowc/v1/address/{order}"),
    checkout("magento2", Kind::Push, "/kco/api/push/id/{order}"),
    checkout("magento2", Kind::Validation, "/kco/api/validate/id/{order}"),
    checkout("magento2", Kind::AddressUpdate, "/kco/api/addressUpdate/id/{order}"),
    checkout("magento2", Kind::ShippingOptionUpdate, "/kco/api/shippingMethodUpdate/id/{order}"),
    checkout("magento2", Kind::Notification, "/kco/api/notification/id/{order}"),
    payments("magento2", Kind::Authorization, "/checkout/klarna/authorize?token={secret}"),
    checkout("magento1", Kind::Push, "/kco/api/push/id/{order}"),
    checkout("magento1", Kind::Validation, "/kco/api/validate/id/{order}"),
    checkout("magento1", Kind::AddressUpdate, "/kco/api/addressUpdate/id/{order}"),
    checkout("magento1", Kind::ShippingOptionUpdate, "/kco/api/shippingMethodUpdate/id/{order}"),
    checkout("magento1", Kind::Notification, "/kco/api/notification/id/{order}"),
    checkout("oxid", Kind::Push, "/?cl=KlarnaAcknowledge&klarna_order_id={order}"),
    checkout("oxid", Kind::Validation, "/?cl=KlarnaValidate&s={secret}"),
    payments("oxid", Kind::Authorization, "/cl=KlarnaAuthCallbackEndpoint&secret={secret}"),
    payments("prestashop", Kind::Authorization, "/module/klarnapayment/authorization?security_token={secret}&cart_id={number}"),
    checkout("prestashop", Kind::Push, "/module/klarnaofficial/pushkco?sid={number}&klarna_order_id={order}"),
    checkout("prestashop", Kind::Validation, "/module/klarnaofficial/callbackvalidation?v3=1"),
    checkout("prestashop", Kind::CountryChange, "/module/klarnaofficial/changeaddress?v3=1"),
    checkout("prestashop", Kind::ShippingOptionUpdate, "/module/klarnaofficial/changecarrier?v3=1"),
    checkout("prestashop", Kind::Notification, "/module/klarnaofficial/notification"),
    payments("shopware6", Kind::Authorization, "/klarna/callback/authorization/{secret}"),
    payments("shopware6", Kind::Notification, "/klarna/callback/notification/{order}"),
    checkout("opencart", Kind::Push, "/index.php?route=extension/payment/klarna_checkout/push&klarna_order_id={order}"),
    checkout("opencart", Kind::Validation, "/index.php?route=extension/payment/klarna_checkout/validation&klarna_order_id={order}"),
    checkout("opencart", Kind::AddressUpdate, "/index.php?route=extension/payment/klarna_checkout/addressUpdate&klarna_order_id={order}"),
    checkout("opencart", Kind::Notification, "/index.php?route=extension/payment/klarna_checkout/notification&klarna_order_id={order}"),
    checkout("sylius", Kind::Push, "/klarna-checkout/push?klarna_order_id={order}&token_value={secret}"),
    payments("sylius_payum", Kind::Authorization, "/payment/notify/{secret}"),
    payments("drupal", Kind::Push, "/commerce_klarna_payments/{number}/klarna/push?klarna_order_id={order}"),
    checkout("drupal", Kind::Validation, "/payment/notify/klarna?callback=validation&klarna_order_id={order}"),
    payments("drupal", Kind::Notification, "/payment/notify/klarna?commerce_order={number}"),
    checkout("contao", Kind::Push, "/kco/push/{order}"),
    checkout("contao", Kind::AddressUpdate, "/kco/callback/address_update/{order}"),
    checkout("contao", Kind::CountryChange, "/kco/callback/country_change/{order}"),
    checkout("contao", Kind::ShippingOptionUpdate, "/kco/callback/shipping_option_update/{order}"),
    checkout("contao", Kind::Validation, "/kco/callback/validate"),
    payments("solidus", Kind::Notification, "/api/callbacks/notification"),
    payments("solidus", Kind::Push, "/api/callbacks/push"),
    checkout("optimizely", Kind::Push, "/klarnacheckout/cart/{number}/push?klarna_order_id={order}"),
    checkout("optimizely", Kind::AddressUpdate, "/klarnacheckout/cart/{number}/addressupdate"),
    checkout("optimizely", Kind::ShippingOptionUpdate, "/klarnacheckout/cart/{number}/shippingoptionupdate"),
    checkout("optimizely", Kind::Validation, "/klarnacheckout/cart/{number}/ordervalidation"),
    checkout("optimizely", Kind::Notification, "/klarnacheckout/fraud"),
    Place {
        preset: "umbraco",
        kind: Kind::SessionStatus,
        family: Family::HostedPage,
        target: "/umbraco/commerce/payment/api/v1/callback/klarna/{number}/ORDER-{number}/{secret}?sid={session}&token={secret}",
    },
    payments("sap_commerce", Kind::Authorization, "/klarna/payment/auth-callback"),
    payments("sap_commerce", Kind::Notification, "/klarna/payment/checkout/pending-update?kid={order}"),
    payments("salesforce", Kind::Authorization, "/KlarnaPayments-BankTransferCallback?klarna_country=SE"),
    payments("salesforce", Kind::Notification, "/KlarnaPayments-Notification?klarna_country=SE"),
    network("salesforce", "/KlarnaPayments-WebhookNotification"),
    checkout("salesforce", Kind::Push, "/KlarnaCheckoutServices-Push?klarna_country=SE&klarna_order_id={order}"),
    checkout("salesforce", Kind::Validation, "/KlarnaCheckoutServices-Validation"),
    checkout("salesforce", Kind::AddressUpdate, "/KlarnaCheckoutServices-Update"),
    payments("saleor", Kind::Authorization, "/api/webhooks/klarna/authorization?transactionId={number}&channelId=1&saleorApiUrl=https%3A%2F%2Fsaleor.example%2Fgraphql%2F"),
    checkout("medusa", Kind::Push, "/klarna/push"),
    checkout("medusa", Kind::ShippingOptionUpdate, "/klarna/shipping"),
    checkout("medusa", Kind::AddressUpdate, "/klarna/address"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::letter::Purchase;
    use super::*;
    use crate::recognise::{Recogniser, Settings};

    fn recogniser(preset: &str) -> Recogniser {
        Recogniser::new(&Settings { presets: vec![preset.to_owned()], ..Settings::default() }).unwrap()
    }

    #[test]
    fn every_place_is_recognised_by_its_preset_as_written() {
        let purchase = Purchase::made_up();
        for place in ALL {
            let target = purchase.fill(place.target);
            let found = recogniser(place.preset).recognise(&target);
            let found = found.unwrap_or_else(|| panic!("{} does not recognise {target}", place.preset));
            let route = (found.route.kind, found.route.family);
            assert_eq!(route, (place.kind, place.family), "{target}: {}", found.route.name);
            assert!(!found.respelled, "{target}");
        }
    }

    #[test]
    fn there_is_one_place_for_each_kind_of_each_preset() {
        for preset in Recogniser::preset_names() {
            let known: BTreeSet<Kind> = recogniser(preset).routes().iter().map(|route| route.kind).collect();
            let sent: Vec<Kind> = kinds(preset).collect();
            assert_eq!(sent.iter().copied().collect::<BTreeSet<_>>(), known, "{preset}");
            assert_eq!(sent.len(), known.len(), "{preset} has a place twice");
        }
    }
}
