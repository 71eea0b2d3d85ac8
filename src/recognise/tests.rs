//! Recognition as a whole: every row of every platform, every spelling, and what must not be taken for a callback.

mod rows;
mod spellings;

use std::time::Duration;

use rows::ROWS;

use super::*;
use crate::event::{Family, Redelivery};

/// A recogniser with these presets and nothing else.
fn with(presets: &[&str]) -> Recogniser {
    let presets = presets.iter().map(|&name| name.to_owned()).collect();
    Recogniser::new(&Settings { presets, ..Settings::default() }).unwrap()
}

fn everything() -> Recogniser {
    with(&Recogniser::preset_names().collect::<Vec<_>>())
}

#[test]
fn every_row_of_every_platform_is_recognised() {
    for row in ROWS {
        let found = with(&[row.preset]).recognise(&row.target()).unwrap_or_else(|| panic!("{}: missed", row.number));
        let is_signed = matches!(found.route.proof, Proof::Signature(Mode::Enforce));
        assert!(is_signed || found.route.proof == Proof::Token(Mode::Enforce), "{}", row.number);
        assert_eq!(
            (found.route.kind, found.route.family, found.url.subject.as_deref(), found.url.routing.as_str(), is_signed),
            (row.kind, row.family, row.subject, row.routing, row.kind == Kind::Webhook),
            "{}",
            row.number
        );
        assert!(!found.respelled, "{} as the shop writes it", row.number);
        assert!(found.route.name.starts_with(row.preset), "{}", row.number);
    }
}

#[test]
fn every_rule_has_a_row() {
    for preset in ROWS.iter().map(|row| row.preset) {
        let recogniser = with(&[preset]);
        for route in recogniser.routes() {
            let reached = |row: &&rows::Row| {
                row.preset == preset && recogniser.recognise(&row.target()).is_some_and(|found| found.route == route)
            };
            assert!(ROWS.iter().any(|row| reached(&row)), "{}", route.name);
        }
    }
}

#[test]
fn names_of_routes_differ_within_a_preset() {
    for preset in ROWS.iter().map(|row| row.preset) {
        let mut names: Vec<String> = with(&[preset]).routes().iter().map(|route| route.name.clone()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{preset}");
    }
}

#[test]
fn an_unknown_preset_is_an_error() {
    let settings = Settings { presets: vec!["woo".into()], ..Settings::default() };
    assert_eq!(Recogniser::new(&settings).unwrap_err(), UnknownPreset("woo".into()));
    let change = Override { preset: Some("oxyd".into()), kind: None, mode: None, policy: PolicyPatch::default() };
    let settings = Settings { overrides: vec![change], ..Settings::default() };
    assert_eq!(Recogniser::new(&settings).unwrap_err(), UnknownPreset("oxyd".into()));
}

#[test]
fn pages_for_the_shopper_are_no_callbacks() {
    // Payum's preset takes every payment provider's notices.
    let presets: Vec<&str> = Recogniser::preset_names().filter(|name| *name != "sylius_payum").collect();
    let others = with(&presets);
    for target in [
        "/",
        "/*",
        "",
        "/?kco_confirm=yes&kco_order_id=17",
        "/checkout/order-received/17/?key=wc_order_1&kco_confirm=yes",
        "/checkout/",
        "/checkout/klarna/confirmation/id/17",
        "/checkout/klarna/validateFailed/?id=1&message=x",
        "/checkout/klarna/authorizationTokenUpdate",
        "/klarna/authorization-completed",
        "/?wc-ajax=kco_wc_iframe_shipping_address_change",
        "/?wc-ajax=kp_wc_place_order",
        "/wc-ajax/kco_wc_change_cart",
        "/wp-json/wc/store/v1/checkout",
        "/wp-json/kco/v1/order/validate",
        "/wc-api/wc_gateway_paypal",
        "/?wc-api=WC_Gateway_Stripe",
        "/wc-api/kp_wc_authorization/more",
        "/notes-about-wc-api/kp_wc_authorization",
        "/blog/kp_wc_authorization",
        "/search?q=wc-api%2Fkp_wc_authorization",
        "/?cl=basket&klarnaInvalid=1",
        "/index.php?route=extension/payment/klarna_checkout/main",
        "/module/klarnapayment/payment",
        "/?address_update=yes",
        "/klarna",
        "/klarnacheckout/cart/1",
        "/kco/api",
        "/payment/notify/paypal?order=1",
    ] {
        assert_eq!(others.recognise(target), None, "{target}");
    }
    assert!(everything().recognise("/payment/notify/anything").is_some(), "only where Payum's preset is on");
}

#[test]
fn pushes_that_can_cancel_orders_are_never_redelivered() {
    for (preset, target) in [
        ("oxid", "/?cl=KlarnaAcknowledge&klarna_order_id=1"),
        ("oxid", "/?cl=KustomAcknowledge&kustom_order_id=1"),
        ("magento2", "/kco/api/push/id/1"),
        ("magento1", "/kco/api/push/id/1"),
        ("magento1", "/klarna/notification/push/id/1"),
    ] {
        let found = with(&[preset]).recognise(target).unwrap();
        assert_eq!(found.route.policy.redelivery, Redelivery::Never, "{preset} {target}");
    }
    let push = with(&["woocommerce"]).recognise("/wc-api/KCO_WC_Push/").unwrap();
    assert_eq!(push.route.policy, Kind::Push.defaults());
}

#[test]
fn failures_in_disguise_are_known() {
    let texts = |preset: &str, target: &str| with(&[preset]).recognise(target).unwrap().route.failure_texts.clone();
    assert_eq!(texts("sap_commerce", "/se/klarna/payment/auth-callback"), ["failure"]);
    assert_eq!(texts("prestashop", "/module/klarnaofficial/pushkco?klarna_order_id=1"), ["missing parameters"]);
    assert!(texts("woocommerce", "/wc-api/kco_wc_push").is_empty());
}

#[test]
fn a_later_override_wins_and_touches_only_what_it_names() {
    let change = |preset: Option<&str>, kind, mode, budget_ms: Option<u64>| Override {
        preset: preset.map(str::to_owned),
        kind,
        mode,
        policy: PolicyPatch { budget: budget_ms.map(Duration::from_millis), ..PolicyPatch::default() },
    };
    let settings = Settings {
        presets: vec!["woocommerce".into(), "oxid".into()],
        routes: vec![],
        overrides: vec![
            change(None, None, Some(Mode::Observe), None),
            change(Some("oxid"), Some(Kind::Push), Some(Mode::Off), Some(7)),
        ],
    };
    let recogniser = Recogniser::new(&settings).unwrap();
    let route = |target: &str| recogniser.recognise(target).unwrap().route;

    let oxid_push = route("/?cl=KlarnaAcknowledge");
    assert_eq!((oxid_push.proof, oxid_push.policy.budget), (Proof::Token(Mode::Off), Duration::from_millis(7)));
    assert_eq!(oxid_push.policy.redelivery, Redelivery::Never, "what the preset says stays");
    let validation = route("/?cl=KlarnaValidate");
    assert_eq!((validation.proof, validation.policy), (Proof::Token(Mode::Observe), Kind::Validation.defaults()));
    assert_eq!(route("/wp-json/klarna/v1/kec/notifications").proof, Proof::Signature(Mode::Observe));
}

fn own(path: &str, query: &[(&str, &str)], subject_parameter: Option<&str>) -> OwnRoute {
    OwnRoute {
        path: path.into(),
        query: query.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
        subject_parameter: subject_parameter.map(str::to_owned),
        route: Route {
            name: path.into(),
            kind: Kind::Upsell,
            family: Family::Checkout,
            proof: Proof::Token(Mode::Enforce),
            policy: Kind::Upsell.defaults(),
            failure_texts: vec![],
        },
    }
}

fn with_own(routes: Vec<OwnRoute>, presets: &[&str]) -> Recogniser {
    let presets = presets.iter().map(|&name| name.to_owned()).collect();
    Recogniser::new(&Settings { presets, routes, overrides: vec![] }).unwrap()
}

#[test]
fn a_route_of_the_config_is_matched_as_it_says() {
    let recogniser = with_own(
        vec![
            own("/hooks/Upsell/*", &[], None),
            own("**/caf\u{e9}/ask", &[("do", "Up.sell")], Some("order")),
            own("/", &[("hook", "x")], None),
        ],
        &[],
    );
    let subject = |target: &str| recogniser.recognise(target).map(|found| found.url.subject);
    assert_eq!(subject("/hooks/upsell/A%2D1/"), Some(Some("A-1".into())));
    assert_eq!(subject("/hooks/upsell"), None);
    assert_eq!(subject("/de/hooks/upsell/1"), None, "no prefix was asked for");
    assert_eq!(subject("/x/y/caf%C3%A9/ASK?order=7&do=up%2Esell"), Some(Some("7".into())));
    assert_eq!(subject("/caf%C3%A9/ask?do=upsell"), None, "punctuation counts here");
    assert_eq!(subject("/?hook=x"), Some(None));
    assert_eq!(subject("/a?hook=x"), None);
}

#[test]
fn own_routes_come_first_unless_the_query_asks_for_more() {
    let recogniser = with_own(vec![own("/wc-api/KCO_WC_Push", &[], None), own("/pay", &[], None)], &["woocommerce"]);
    let name = |target: &str| recogniser.recognise(target).unwrap().route.name.clone();
    assert_eq!(name("/wc-api/KCO_WC_Push/"), "/wc-api/KCO_WC_Push");
    assert_eq!(name("/pay"), "/pay");
    assert_eq!(
        name("/pay?wc-api=kp_wc_authorization"),
        "woocommerce authorization KP_WC_AUTHORIZATION",
        "WordPress obeys the parameter, so that another rule must not stand in for it"
    );
}

/// All presets named, with one kind that is not looked at.
fn lenient_with(presets: &[&str], kind: Kind) -> Recogniser {
    let change = Override { preset: None, kind: Some(kind), mode: Some(Mode::Off), policy: PolicyPatch::default() };
    let presets = presets.iter().map(|&name| name.to_owned()).collect();
    Recogniser::new(&Settings { presets, routes: vec![], overrides: vec![change] }).unwrap()
}

#[test]
fn a_target_that_is_two_places_in_odd_writing_has_to_prove_itself_for_the_stricter_one() {
    let recogniser = lenient_with(&["woocommerce"], Kind::Push);
    for target in [
        // Not so by PHP, but who writes it like that?
        "/wc-api/KCO_WC_Push/?WC-API=kp_wc_authorization",
        "/wc-api/kp_wc_authorization/?WC-API=KCO_WC_Push",
        "/wc-api/kp_wc_authorization/?wc%2Dapi=KCO_WC_Push",
        "/?wc-api=kp_wc_authorization&wc-api=KCO.WC.Push",
        // So by PHP.
        "/wc-api/KCO_WC_Push/?wc-api=KP_WC_AUTHORIZATION",
    ] {
        let route = recogniser.recognise(target).unwrap().route;
        assert_eq!((route.kind, route.proof), (Kind::Authorization, Proof::Token(Mode::Enforce)), "{target}");
    }
    let rest = "/wc-api//KCO_WC_Push/?rest_route=/klarna/v1/kec/notifications";
    let rest = recogniser.recognise(rest).unwrap().route;
    assert_eq!(rest.proof, Proof::Signature(Mode::Enforce), "a rule that yields gives no proof away");
    let several = "/wc-api/kco_wc_push%3Cnotificationvalidation%3E";
    let several = recogniser.recognise(several).unwrap().route;
    assert_eq!(several.kind, Kind::Validation, "the first of those that are as strict");
    let by_php = recogniser.recognise("/wc-api/KP_WC_AUTHORIZATION/?wc-api=KCO_WC_Push").unwrap().route;
    assert_eq!((by_php.kind, by_php.proof), (Kind::Push, Proof::Token(Mode::Off)));
}

#[test]
fn a_kind_that_need_not_prove_itself_is_so_wherever_it_arrives() {
    for row in ROWS {
        let route = lenient_with(&[row.preset], row.kind).recognise(&row.target()).unwrap().route;
        assert!(matches!(route.proof, Proof::Token(Mode::Off) | Proof::Signature(Mode::Off)), "{}", row.number);
    }
}

/// PHP knows no `WC-API`. Found by fuzzing.
#[test]
fn a_parameter_in_the_wrong_letter_case_does_not_outdo_the_path() {
    let recogniser = with(&["woocommerce"]);
    let name = |target: &str| recogniser.recognise(target).unwrap().route.name.clone();
    assert_eq!(name("/wc-api/KCO_WC_Push/?WC-API%00x=WC_Gateway_Klarna_Checkout"), "woocommerce push KCO_WC_Push");
    assert_eq!(
        name("/wc-api/KCO_WC_Push/?wc%2Dapi=WC_Gateway_Klarna_Checkout"),
        "woocommerce push WC_Gateway_Klarna_Checkout"
    );
    for marker in ["WC-API", "wc%252Dapi"] {
        let rest = format!("/{marker}/KCO_WC_Push/?rest_route=/klarna/v1/kec/notifications");
        assert!(name(&rest).contains("notifications"), "{rest} is no rewrite, and there is nothing to yield to");
    }
    let both = "/wc-api/KCO_WC_Push/?WC-API=kp_wc_authorization+kco_wc_push";
    assert_eq!(name(both), "woocommerce push KCO_WC_Push", "what PHP does not know stands in nobody's way");
    assert_eq!(name("/?WC-API=KCO_WC_Push"), "woocommerce push KCO_WC_Push", "other shops than PHP's may take it so");
}

/// Found by fuzzing: as it stood, the other rule was closer to the letter.
#[test]
fn which_rule_counts_does_not_hang_on_the_path_being_escaped() {
    let recogniser = with(&["drupal"]);
    for path in ["/payment/notify/x", "/%70ayment/notify/x"] {
        for value in ["validation", "VALIDATION", "validation%00"] {
            let target = format!("{path}?callback={value}&klarna_order_id=1");
            assert_eq!(recogniser.recognise(&target).unwrap().route.kind, Kind::Validation, "{target}");
        }
    }
}

#[test]
fn nothing_is_recognised_where_nothing_is_configured() {
    assert_eq!(Recogniser::default().recognise("/wc-api/KP_WC_AUTHORIZATION"), None);
}
