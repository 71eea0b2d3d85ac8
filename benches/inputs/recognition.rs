//! What recognition is measured with: traffic, which is almost everything, callbacks, the worst targets, and forms.

use kallback::recognise::{Recogniser, Settings, UnknownPreset};

/// All presets.
pub(crate) fn all() -> Vec<&'static str> {
    Recogniser::preset_names().collect()
}

/// Recognition with these presets.
pub(crate) fn recogniser(presets: &[&str]) -> Result<Recogniser, UnknownPreset> {
    let presets = presets.iter().map(|&name| name.to_owned()).collect();
    Recogniser::new(&Settings { presets, ..Settings::default() })
}

/// Targets by what they are: `traffic: …`, `callback: …` and `worst: …`.
pub(crate) fn targets() -> Vec<(&'static str, String)> {
    let uuid = "5f0c6c1e-1111-4222-8333-444455556666";
    vec![
        ("traffic: product", "/shop/kitchen/blue-enamel-mug-with-a-long-name/?attribute_color=blue".into()),
        ("traffic: asset", "/wp-content/plugins/woocommerce/assets/js/frontend/add-to-cart.min.js?ver=9.4.2".into()),
        ("traffic: ajax", "/?wc-ajax=get_refreshed_fragments".into()),
        (
            "traffic: search with escapes",
            "/?s=k%C3%B6ksredskap%20bl%C3%A5&post_type=product&filter%5Bcolor%5D=1".into(),
        ),
        ("traffic: klarna page", "/checkout/order-received/17/?key=wc_order_Xy&payment=klarna_payments".into()),
        ("callback: authorization", format!("/wc-api/KP_WC_AUTHORIZATION?kallback={}", "0a".repeat(32))),
        (
            "callback: push",
            format!("/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={uuid}&kallback={}", "0a".repeat(32)),
        ),
        ("callback: respelled", format!("/%77c-api/x/?wc%252dapi=k.p_wc_authorization&a={uuid}")),
        ("worst: 8 KiB query, nothing in it", format!("/?q={}", "lorem-ipsum+kiosk&wok=".repeat(372))),
        ("worst: 8 KiB query of escapes", format!("/?klarna={}", "%D0%BF".repeat(1365))),
        ("worst: 8 KiB query of parameters", format!("/?klarna&{}", "a=%25&".repeat(1365))),
    ]
}

/// Bodies that PHP reads as forms and that no rule holds for: what, its type, the body.
pub(crate) fn forms() -> Vec<(&'static str, &'static str, String)> {
    let form = "billing_first_name=Test&billing_last_name=Person&".repeat(1300);
    let upload =
        format!("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{}", "\u{1}\u{2}abcdef".repeat(8000));
    vec![
        ("form: 64 KiB urlencoded", "application/x-www-form-urlencoded", form),
        ("form: 64 KiB multipart", "multipart/form-data; boundary=b", upload),
    ]
}
