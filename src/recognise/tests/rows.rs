//! The table of `docs/platforms.md`, row by row, with made-up ids.

use crate::event::{Family, Kind};

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number in the documentation.
    pub(super) number: &'static str,
    pub(super) preset: &'static str,
    /// The target; what stands in braces is a value, everything else is fixed by the shop's plugin.
    template: &'static str,
    pub(super) kind: Kind,
    pub(super) family: Family,
    pub(super) subject: Option<&'static str>,
    pub(super) routing: &'static str,
}

impl Row {
    pub(super) fn template(&self) -> &'static str {
        self.template
    }

    pub(super) fn target(&self) -> String {
        self.template.replace(['{', '}'], "")
    }
}

macro_rules! rows {
    ($($number:literal $preset:literal $template:literal => $family:ident $kind:ident $subject:expr, $routing:literal;)*) => {
        &[$(Row {
            number: $number,
            preset: $preset,
            template: $template,
            kind: Kind::$kind,
            family: Family::$family,
            subject: $subject,
            routing: $routing,
        }),*]
    };
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = rows! {
    "W1" "woocommerce" "/wc-api/KCO_WC_Push/?kco-action={push}&kco_wc_order_id={A-1}" => Checkout Push Some("A-1"), "kco-action=push";
    "W2" "woocommerce" "/wc-api/KCO_WC_Push/?kco-action={subs-payment-changed}&kco_wc_order_id={A-1}&key={17}" => Checkout Push Some("A-1"), "kco-action=subs-payment-changed&key=17";
    "W3" "woocommerce" "/wc-api/KCO_WC_Address_Update/?kco_wc_order_id={A-1}" => Checkout AddressUpdate Some("A-1"), "";
    "W4" "woocommerce" "/wc-api/KCO_WC_Push/?kco-action={push}&kco_wc_order_id={A-1}&kco_session_id={s3}" => Checkout Push Some("A-1"), "kco-action=push";
    "W5" "woocommerce" "/wc-api/KCO_WC_Validation/?kco-action={validation}&kco_wc_order_id={A-1}&kco_session_id={s3}" => Checkout Validation Some("A-1"), "kco-action=validation";
    "W6" "woocommerce" "/wc-api/KCO_WC_Shipping_Option_Update/" => Checkout ShippingOptionUpdate None, "";
    "W7" "woocommerce" "/wc-api/KCO_WC_Notification/?kco_wc_order_id={A-1}" => Checkout Notification Some("A-1"), "";
    "W8" "woocommerce" "/wp-json/kcowc/v1/address/{A-1}" => Checkout CountryChange Some("A-1"), "";
    "W8 by query" "woocommerce" "/?rest_route=/kcowc/v1/address/{A-1}" => Checkout CountryChange Some("A-1"), "";
    "W9" "woocommerce" "/wc-api/KP_WC_AUTHORIZATION" => Payments Authorization None, "";
    "W9 by query" "woocommerce" "/?wc-api=KP_WC_AUTHORIZATION" => Payments Authorization None, "";
    "W10" "woocommerce" "/wc-api/WC_Gateway_Klarna_Payments/?order_id={A-1}" => Payments Notification Some("A-1"), "";
    "W11" "woocommerce" "/wp-json/klarna/v1/kec/notifications" => Network Webhook None, "";
    "W11 by query" "woocommerce" "/?rest_route=/klarna/v1/kec/notifications" => Network Webhook None, "";
    "W12" "woocommerce" "/wc-api/WC_Gateway_Klarna_Checkout/?sid={s3}&scountry={se}&klarna_order={A-1}&wc-api=WC_Gateway_Klarna_Checkout&klarna-api={rest}" => Checkout Push Some("A-1"), "klarna-api=rest&scountry=se";
    "W13" "woocommerce" "/wc-api/WC_Gateway_Klarna_Order_Validate/" => Checkout Validation None, "";
    "W14" "woocommerce" "/checkout/?address_update=yes&sid={s3}" => Checkout AddressUpdate None, "";

    "M1" "magento2" "/kco/api/push/id/{A-1}" => Checkout Push Some("A-1"), "";
    "M1 by query" "magento2" "/kco/api/push?id={A-1}" => Checkout Push Some("A-1"), "";
    "M2" "magento2" "/kco/api/validate/id/{A-1}" => Checkout Validation Some("A-1"), "";
    "M3" "magento2" "/kco/api/addressUpdate/id/{A-1}" => Checkout AddressUpdate Some("A-1"), "";
    "M4" "magento2" "/kco/api/shippingMethodUpdate/id/{A-1}" => Checkout ShippingOptionUpdate Some("A-1"), "";
    "M5" "magento2" "/kco/api/notification/id/{A-1}" => Checkout Notification Some("A-1"), "";
    "M6" "magento2" "/kco/api/disabled" => Checkout Notification None, "";
    "M7" "magento2" "/checkout/klarna/authorize?token={t0ken}" => Payments Authorization None, "";
    "M8" "magento2" "/klarna/api/disabled" => Payments Notification None, "";
    "M9 push" "magento1" "/kco/api/push/id/{A-1}" => Checkout Push Some("A-1"), "";
    "M9 notification" "magento1" "/kco/api/notification/id/{A-1}" => Checkout Notification Some("A-1"), "";
    "M9 address" "magento1" "/kco/api/addressUpdate/id/{A-1}" => Checkout AddressUpdate Some("A-1"), "";
    "M9 validation" "magento1" "/kco/api/validate/id/{A-1}" => Checkout Validation Some("A-1"), "";
    "M9 shipping" "magento1" "/kco/api/shippingMethodUpdate/id/{A-1}" => Checkout ShippingOptionUpdate Some("A-1"), "";
    "M10 notification" "magento1" "/klarna/notification" => Payments Notification None, "";
    "M10 push" "magento1" "/klarna/notification/push/id/{A-1}" => Payments Push Some("A-1"), "";

    "O1" "oxid" "/?cl=KlarnaAcknowledge&klarna_order_id={A-1}" => Checkout Push Some("A-1"), "";
    "O1 in a shop" "oxid" "/index.php?cl=KlarnaAcknowledge&klarna_order_id={A-1}&shp={2}" => Checkout Push Some("A-1"), "shp=2";
    "O2" "oxid" "/?cl=KlarnaValidate&s={s3}" => Checkout Validation None, "";
    "O3 push" "oxid" "/?cl=KustomAcknowledge&kustom_order_id={A-1}" => Checkout Push Some("A-1"), "";
    "O3 validation" "oxid" "/?cl=KustomValidate&s={s3}" => Checkout Validation None, "";
    "O4" "oxid" "/cl=KlarnaAuthCallbackEndpoint&secret={u5er}" => Payments Authorization None, "";
    "O4 as meant" "oxid" "/?cl=KlarnaAuthCallbackEndpoint&secret={u5er}" => Payments Authorization None, "";

    "P1" "prestashop" "/module/klarnapayment/authorization?security_token={t0ken}&cart_id={9}" => Payments Authorization Some("9"), "";
    "P1 by query" "prestashop" "/index.php?fc=module&module=klarnapayment&controller=authorization&security_token={t0ken}&cart_id={9}" => Payments Authorization Some("9"), "";
    "P2" "prestashop" "/module/klarnaofficial/pushkco?sid={s3}&klarna_order_id={A-1}" => Checkout Push Some("A-1"), "";
    "P3" "prestashop" "/module/klarnaofficial/callbackvalidation?v3={1}" => Checkout Validation None, "v3=1";
    "P4 country" "prestashop" "/module/klarnaofficial/changeaddress" => Checkout CountryChange None, "";
    "P4 shipping" "prestashop" "/module/klarnaofficial/changecarrier" => Checkout ShippingOptionUpdate None, "";
    "P4 notification" "prestashop" "/module/klarnaofficial/notification" => Checkout Notification None, "";

    "S1" "shopware6" "/klarna/callback/authorization/{c4rt}" => Payments Authorization None, "";
    "S2" "shopware6" "/klarna/callback/notification/{A-1}" => Payments Notification Some("A-1"), "";

    "C1 push" "opencart" "/index.php?route=extension/payment/klarna_checkout/push&klarna_order_id={A-1}" => Checkout Push Some("A-1"), "";
    "C1 validation" "opencart" "/index.php?route=extension/payment/klarna_checkout/validation&klarna_order_id={A-1}" => Checkout Validation Some("A-1"), "";
    "C1 address" "opencart" "/index.php?route=extension/payment/klarna_checkout/addressUpdate&klarna_order_id={A-1}" => Checkout AddressUpdate Some("A-1"), "";
    "C1 notification" "opencart" "/index.php?route=extension/payment/klarna_checkout/notification&klarna_order_id={A-1}" => Checkout Notification Some("A-1"), "";
    "C1 in 2.0" "opencart" "/index.php?route=payment/klarna_checkout/push&klarna_order_id={A-1}&language={sv}" => Checkout Push Some("A-1"), "";

    "Y1" "sylius" "/klarna-checkout/push?klarna_order_id={A-1}&token_value={t0ken}" => Checkout Push Some("A-1"), "";
    "Y2" "sylius_payum" "/payment/notify/{t0ken}" => Payments Authorization None, "";

    "D1" "drupal" "/commerce_klarna_payments/{4}/{kp}/push?klarna_order_id={A-1}" => Payments Push Some("A-1"), "order=4&gateway=kp";
    "D2" "drupal" "/payment/notify/{kp}?commerce_order={4}" => Payments Notification Some("4"), "gateway=kp";
    "D3 push" "drupal" "/payment/notify/{kco}?klarna_order_id={A-1}" => Checkout Push Some("A-1"), "gateway=kco";
    "D3 validation" "drupal" "/payment/notify/{kco}?callback=validation&klarna_order_id={A-1}" => Checkout Validation Some("A-1"), "gateway=kco";

    "X1" "contao" "/kco/push/{A-1}" => Checkout Push Some("A-1"), "";
    "X2 address" "contao" "/kco/callback/address_update/{A-1}" => Checkout AddressUpdate Some("A-1"), "";
    "X2 country" "contao" "/kco/callback/country_change/{A-1}" => Checkout CountryChange Some("A-1"), "";
    "X2 shipping" "contao" "/kco/callback/shipping_option_update/{A-1}" => Checkout ShippingOptionUpdate Some("A-1"), "";
    "X2 validation" "contao" "/kco/callback/validate" => Checkout Validation None, "";

    "R1 notification" "solidus" "/klarna/api/callbacks/notification" => Payments Notification None, "";
    "R1 push" "solidus" "/klarna/api/callbacks/push" => Payments Push None, "";
    "R1 old" "solidus" "/klarna/callbacks/push" => Payments Push None, "";
    "R1 with format" "solidus" "/klarna/callbacks/notification.json" => Payments Notification None, "";

    "G1" "optimizely" "/klarnacheckout/cart/{8}/push?klarna_order_id={A-1}" => Checkout Push Some("A-1"), "cart=8";
    "G2 address" "optimizely" "/klarnacheckout/cart/{8}/addressupdate" => Checkout AddressUpdate None, "cart=8";
    "G2 shipping" "optimizely" "/klarnacheckout/cart/{8}/shippingoptionupdate" => Checkout ShippingOptionUpdate None, "cart=8";
    "G2 validation" "optimizely" "/klarnacheckout/cart/{8}/ordervalidation" => Checkout Validation None, "cart=8";
    "G3 fraud" "optimizely" "/klarnacheckout/fraud" => Checkout Notification None, "";
    "G3 push" "optimizely" "/klarnaapi/push?klarna_order_id={A-1}" => Payments Push Some("A-1"), "";
    "G3 payments fraud" "optimizely" "/klarnaapi/fraud" => Payments Notification None, "";

    "U1" "umbraco" "/umbraco/commerce/payment/api/v1/callback/{hpp}/{o1}/{n1}/{h4sh}?sid={A-1}&token={t0ken}" => HostedPage SessionStatus Some("A-1"), "alias=hpp&order=o1";

    "H1" "sap_commerce" "/se/klarna/payment/auth-callback" => Payments Authorization None, "";
    "H1 express" "sap_commerce" "/se/klarna/express-checkout/authorize-callback" => Payments Authorization None, "";
    "H2" "sap_commerce" "/klarna/payment/checkout/pending-update?kid={A-1}" => Payments Notification Some("A-1"), "";

    "F1 bank transfer" "salesforce" "/on/x/KlarnaPayments-BankTransferCallback?klarna_country={SE}" => Payments Authorization None, "klarna_country=SE";
    "F1 notification" "salesforce" "/on/x/KlarnaPayments-Notification?klarna_country={SE}" => Payments Notification None, "klarna_country=SE";
    "F1 webhook" "salesforce" "/on/x/KlarnaPayments-WebhookNotification" => Network Webhook None, "";
    "F2 push" "salesforce" "/on/x/KlarnaCheckoutServices-Push?klarna_country={SE}&klarna_order_id={A-1}" => Checkout Push Some("A-1"), "klarna_country=SE";
    "F2 validation" "salesforce" "/on/x/KlarnaCheckoutServices-Validation" => Checkout Validation None, "";
    "F2 update" "salesforce" "/on/x/KlarnaCheckoutServices-Update" => Checkout AddressUpdate None, "";
    "F2 notification" "salesforce" "/on/x/KlarnaCheckoutServices-Notification?klarna_country={SE}" => Checkout Notification None, "klarna_country=SE";

    "L1" "saleor" "/api/webhooks/klarna/authorization?transactionId={A-1}&channelId={c1}&saleorApiUrl={x}" => Payments Authorization Some("A-1"), "channelId=c1&saleorApiUrl=x";

    "E1 push" "medusa" "/klarna/push" => Checkout Push None, "";
    "E1 shipping" "medusa" "/klarna/shipping" => Checkout ShippingOptionUpdate None, "";
    "E1 address" "medusa" "/klarna/address" => Checkout AddressUpdate None, "";
};
