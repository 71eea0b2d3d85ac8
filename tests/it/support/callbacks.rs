//! Callbacks as Klarna and Kustom send them: real shapes, invented ids.

use std::sync::atomic::{AtomicU64, Ordering};

use kallback::event::{Family, Kind};

/// One purchase: everything that Klarna calls about it carries these ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Purchase {
    pub session: String,
    pub order: String,
    pub authorization_token: String,
    pub event: String,
}

/// One callback, or another request, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Callback {
    /// Where callbacks of its sort arrive; none for other requests.
    pub place: Option<Place>,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One place where a plugin receives callbacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The preset that recognises it.
    pub preset: &'static str,
    pub kind: Kind,
    pub family: Family,
    /// `{order}` and `{session}` stand for the purchase's ids.
    pub target: &'static str,
}

/// Every purchase of this process is another one.
static PURCHASES: AtomicU64 = AtomicU64::new(1);

impl Purchase {
    pub fn new() -> Self {
        let number = PURCHASES.fetch_add(1, Ordering::Relaxed);
        Self {
            session: format!("a4f3c2d1-77aa-4b52-8d0e-{number:012x}"),
            order: format!("5f0c6c1e-1111-4222-8333-{number:012x}"),
            authorization_token: format!("0f6a5c1e-3b1d-4b4e-9c0a-{number:012x}"),
            event: format!("d6c1b0a2-5c5e-4c0e-8f5e-{number:012x}"),
        }
    }

    /// The customer authorises once more: the same session, another token.
    pub fn authorised_again(&self) -> Self {
        Self { authorization_token: Self::new().authorization_token, ..self.clone() }
    }
}

impl Callback {
    /// The authorization callback of Klarna for WooCommerce.
    pub fn authorization(purchase: &Purchase) -> Self {
        Self::at(&place("woocommerce", Kind::Authorization), purchase)
    }

    /// The push of Kustom Checkout for WooCommerce. Its body is empty.
    pub fn push(purchase: &Purchase) -> Self {
        Self::at(&place("woocommerce", Kind::Push), purchase)
    }

    pub fn notification(purchase: &Purchase) -> Self {
        Self::at(&place("woocommerce", Kind::Notification), purchase)
    }

    /// The question of Checkout 1.x for WooCommerce whether the purchase may be completed.
    pub fn validation(purchase: &Purchase) -> Self {
        Self::at(&place("woocommerce", Kind::Validation), purchase)
    }

    pub fn address_update(purchase: &Purchase) -> Self {
        Self::at(&place("magento2", Kind::AddressUpdate), purchase)
    }

    pub fn shipping_option_update(purchase: &Purchase) -> Self {
        Self::at(&place("magento2", Kind::ShippingOptionUpdate), purchase)
    }

    /// The status of a hosted payment page, as Umbraco Commerce receives it.
    pub fn session_status(purchase: &Purchase) -> Self {
        Self::at(&place("umbraco", Kind::SessionStatus), purchase)
    }

    /// A webhook of the Klarna Network. It has no signature yet.
    pub fn webhook(purchase: &Purchase) -> Self {
        Self::at(&place("woocommerce", Kind::Webhook), purchase)
    }

    /// The callback that arrives at `place` for `purchase`.
    pub fn at(place: &Place, purchase: &Purchase) -> Self {
        let body = body(place.kind, purchase);
        let mut headers = vec![("user-agent".to_owned(), "APIs-Klarna".to_owned())];
        if !body.is_empty() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let target = place.target.replace("{order}", &purchase.order).replace("{session}", &purchase.session);
        Self { place: Some(*place), method: "POST".to_owned(), target, headers, body }
    }

    /// Any other request: a customer looks at a page.
    pub fn page(target: &str) -> Self {
        Self {
            place: None,
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: vec![("user-agent".to_owned(), "Mozilla/5.0".to_owned())],
            body: Vec::new(),
        }
    }

    /// Puts the token into the URL as shops do: appended, nothing else touched.
    pub fn with_token(self, token: &str) -> Self {
        self.with_parameter("kallback", token)
    }

    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        let joint = if self.target.contains('?') { '&' } else { '?' };
        self.target = format!("{}{joint}{name}={value}", self.target);
        self
    }

    pub fn with_target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub fn with_method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request as HTTP/1.1 for `host`. Framed by `content-length`, unless its headers say how.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let framing = ["content-length", "transfer-encoding"];
        let framed = self.headers.iter().any(|(name, _)| framing.contains(&name.to_lowercase().as_str()));
        if !framed && (self.method != "GET" || !self.body.is_empty()) {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// The first place of that kind in a preset.
pub fn place(preset: &str, kind: Kind) -> Place {
    let found = PLACES.iter().find(|place| place.preset == preset && place.kind == kind);
    *found.unwrap_or_else(|| panic!("{preset} has no {kind}"))
}

fn body(kind: Kind, purchase: &Purchase) -> Vec<u8> {
    let Purchase { session, order, authorization_token, event } = purchase;
    let cart = r#""order_amount":29900,"order_tax_amount":5980,"purchase_currency":"SEK","locale":"sv-SE","order_lines":[{"type":"physical","reference":"MUG-1","name":"Mug","quantity":1,"unit_price":29900,"tax_rate":2500,"total_amount":29900,"total_tax_amount":5980}],"shipping_address":{"given_name":"Test","family_name":"Person","email":"t@example.org","street_address":"Gatan 1","postal_code":"11122","city":"Stockholm","country":"se"}"#;
    let text = match kind {
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
            r#"{{"metadata":{{"event_type":"payment.request.state-change.completed","event_id":"{event}","event_version":"v2","occurred_at":"2026-01-15T10:00:00Z","live":false}},"payload":{{"payment_request_id":"krn:payment:eu1:request:demo-1","state":"COMPLETED"}}}}"#
        ),
        Kind::Validation | Kind::Upsell | Kind::UpsellValidation => {
            format!(r#"{{"order_id":"{order}","status":"checkout_incomplete","purchase_country":"SE",{cart}}}"#)
        }
        // No order id: these are about an order that only the URL names.
        Kind::AddressUpdate | Kind::CountryChange => format!("{{{cart}}}"),
        Kind::ShippingOptionUpdate => format!(
            r#"{{{cart},"selected_shipping_option":{{"id":"post","name":"Post","price":4900,"tax_amount":980,"tax_rate":2500}}}}"#
        ),
    };
    text.into_bytes()
}

const fn kustom(preset: &'static str, kind: Kind, target: &'static str) -> Place {
    Place { preset, kind, family: Family::Checkout, target }
}

const fn klarna(preset: &'static str, kind: Kind, target: &'static str) -> Place {
    Place { preset, kind, family: Family::Payments, target }
}

/// Where plugins of real shops receive callbacks.
pub const PLACES: &[Place] = &[
    klarna("woocommerce", Kind::Authorization, "/wc-api/KP_WC_AUTHORIZATION"),
    klarna("woocommerce", Kind::Notification, "/wc-api/WC_Gateway_Klarna_Payments/?order_id={order}"),
    kustom("woocommerce", Kind::Push, "/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={order}"),
    kustom(
        "woocommerce",
        Kind::Push,
        "/wc-api/KCO_WC_Push/?kco-action=subs-payment-changed&kco_wc_order_id={order}&key=4711",
    ),
    kustom(
        "woocommerce",
        Kind::Push,
        "/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={order}&kco_session_id=t_0123456789",
    ),
    kustom(
        "woocommerce",
        Kind::Validation,
        "/wc-api/KCO_WC_Validation/?kco-action=validation&kco_wc_order_id={order}&kco_session_id=t_0123456789",
    ),
    kustom("woocommerce", Kind::ShippingOptionUpdate, "/wc-api/KCO_WC_Shipping_Option_Update/"),
    kustom("woocommerce", Kind::AddressUpdate, "/wc-api/KCO_WC_Address_Update/?kco_wc_order_id={order}"),
    kustom("woocommerce", Kind::Notification, "/wc-api/KCO_WC_Notification/?kco_wc_order_id={order}"),
    Place {
        preset: "woocommerce",
        kind: Kind::Webhook,
        family: Family::Network,
        target: "/wp-json/klarna/v1/kec/notifications",
    },
    kustom("magento2", Kind::Push, "/kco/api/push/id/{order}"),
    kustom("magento2", Kind::Validation, "/kco/api/validate/id/{order}"),
    kustom("magento2", Kind::AddressUpdate, "/kco/api/addressUpdate/id/{order}"),
    kustom("magento2", Kind::ShippingOptionUpdate, "/kco/api/shippingMethodUpdate/id/{order}"),
    kustom("magento2", Kind::Notification, "/kco/api/notification/id/{order}"),
    klarna("magento2", Kind::Authorization, "/checkout/klarna/authorize?token=6b1f7c116a2f6f0a"),
    kustom("oxid", Kind::Push, "/?cl=KlarnaAcknowledge&klarna_order_id={order}"),
    kustom("oxid", Kind::Validation, "/?cl=KlarnaValidate&s=8f5e9a3a1f6f"),
    klarna("prestashop", Kind::Authorization, "/module/klarnapayment/authorization?security_token=5c5e&cart_id=12"),
    kustom("prestashop", Kind::Push, "/module/klarnaofficial/pushkco?sid=12&klarna_order_id={order}"),
    klarna("shopware", Kind::Authorization, "/klarna/callback/authorization/5a4d2f1e7b90"),
    klarna("shopware", Kind::Notification, "/klarna/callback/notification/{order}"),
    kustom("opencart", Kind::Push, "/index.php?route=extension/payment/klarna_checkout/push&klarna_order_id={order}"),
    klarna("sap", Kind::Authorization, "/shop/klarna/payment/auth-callback"),
    kustom("contao", Kind::CountryChange, "/kco/callback/country_change/{order}"),
    Place {
        preset: "umbraco",
        kind: Kind::SessionStatus,
        family: Family::HostedPage,
        target: "/umbraco/commerce/payment/api/v1/callback/klarna/7/ORDER-7/4b4e?sid={session}&token=9c0a",
    },
];
