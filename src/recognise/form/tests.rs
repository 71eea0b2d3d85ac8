//! Which bodies reach a callback. The cases come from bodies, whole and damaged, that PHP 8.2 was given: whatever it
//! took for a field has to be found.

use proptest::prelude::*;

use super::super::{Recogniser, Settings};
use super::*;

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b";

fn recogniser() -> Recogniser {
    let presets = ["woocommerce", "oxid", "prestashop", "magento2"].map(str::to_owned).to_vec();
    Recogniser::new(&Settings { presets, ..Settings::default() }).unwrap()
}

fn scan(content_type: &str, target: &str) -> FormScan {
    recogniser().form_scan(content_type.as_bytes(), target).unwrap()
}

fn reaches(content_type: &str, target: &str, body: &str) -> bool {
    let mut scan = scan(content_type, target);
    scan.feed(body.as_bytes()) || scan.finish()
}

#[test]
fn only_what_php_takes_for_a_form_is_scanned() {
    let recogniser = recogniser();
    let is_form = |content_type: &str| recogniser.form_scan(content_type.as_bytes(), "/").is_some();
    for form in [
        URLENCODED,
        "Application/X-WWW-Form-Urlencoded; x",
        "application/x-www-form-urlencoded,application/json",
        " application/x-www-form-urlencoded x",
        "MULTIPART/FORM-DATA;boundary=x",
    ] {
        assert!(is_form(form), "{form}");
    }
    for other in ["", "application/json", "text/plain", "multipart/mixed", "x-application/x-www-form-urlencoded"] {
        assert!(!is_form(other), "{other}");
    }
}

#[test]
fn without_a_preset_that_reads_forms_there_is_no_scan() {
    let settings = Settings { presets: vec!["magento2".into(), "opencart".into()], ..Settings::default() };
    assert!(Recogniser::new(&settings).unwrap().form_scan(URLENCODED.as_bytes(), "/").is_none());
}

#[test]
fn a_body_that_is_form_and_json_at_once_is_found() {
    let body = r#"{"session_id":"a","authorization_token":"b","x":"&wc-api=kp_wc_authorization&"}"#;
    assert!(reaches(URLENCODED, "/some/page", body));
}

#[test]
fn every_spelling_of_the_name_is_found() {
    for body in [
        "wc-api=",
        "wc-api",
        "a=1&wc-api=x",
        "%77c-api=x",
        "wc%2Dapi=x",
        "+wc-api=x",
        "%20%20wc-api=x",
        "wc-api%00z=x",
        "WC-API=x",
        "&&wc-api&",
        "%=&wc-api=x",
        "a=%&wc-api=x",
        "a=b=c&wc-api=x",
        "cl=%&wc-api=x",
        "cl=%4&wc-api=x",
    ] {
        assert!(reaches(URLENCODED, "/", body), "{body}");
    }
}

#[test]
fn ordinary_forms_pass() {
    for body in [
        "",
        "&",
        "=",
        "a=wc-api",
        "a=wc-api=x",
        "wc-api[]=x",
        "wc-apis=x",
        "xwc-api=x",
        "%2577c-api=x",
        "a;wc-api=x",
        "cl=basket&fnc=tobasket",
        "cl=Klarna&x=Acknowledge",
        "module=klarnapayment&controller=payment&fc=module",
        "rest_route=/wc/store/v1/cart",
        "billing_first_name=Klarna+Push",
    ] {
        assert!(!reaches(URLENCODED, "/", body), "{body}");
    }
}

#[test]
fn values_and_names_are_looked_at_together_with_the_target() {
    assert!(reaches(URLENCODED, "/", "x=1&cl=KlarnaAcknowledge"));
    assert!(reaches(URLENCODED, "/", "CL=%4blarnavalidate&x"));
    assert!(reaches(URLENCODED, "/", "rest.route=%2Fklarna%2Fv1%2Fkec%2Fnotifications"));
    assert!(reaches(URLENCODED, "/", "fc=module&module=klarnapayment&controller=author-ization"));
    assert!(reaches(URLENCODED, "/?fc=module&module=klarnapayment", "controller=authorization"));
    assert!(reaches(URLENCODED, "/module/other/authorization", "module=klarnapayment"));
    assert!(reaches(URLENCODED, "/?fc=module", "controller=authorization?module=klarnapayment"));
    assert!(!reaches(URLENCODED, "/?fc=module&module=other", "controller=authorization"));
}

#[test]
fn what_the_target_reaches_by_itself_is_not_the_forms_doing() {
    assert!(!reaches(URLENCODED, "/wc-api/KP_WC_AUTHORIZATION", "a=b"));
    assert!(!reaches(URLENCODED, "/?cl=KlarnaAcknowledge", "cl=basket&fc=module"));
    assert!(reaches(URLENCODED, "/wc-api/KCO_WC_Push/", "wc-api=kp_wc_authorization"));
}

#[test]
fn a_hit_is_reported_before_the_name_is_complete_at_the_shop() {
    let mut name = scan(URLENCODED, "/");
    assert!(!name.feed(b"a=1&wc-"));
    assert!(!name.feed(b"api"));
    assert!(name.feed(b"="));
    assert!(name.feed(b"harmless"), "and stays");

    let mut value = scan(URLENCODED, "/");
    assert!(!value.feed(b"cl=KlarnaAcknowledg"));
    assert!(value.feed(b"e"), "the body may end here");
}

#[test]
fn the_names_of_multipart_fields_are_found() {
    for header in [
        "Content-Disposition: form-data; name=\"wc-api\"",
        "content-disposition:form-data;name=wc-api",
        "CONTENT-DISPOSITION: form-data; NAME='wc-api'",
        "Content-Type: text/plain\r\nContent-Disposition: form-data; name=wc-api",
        "Content-Disposition: form-data;\r\n name=\"wc-api\"",
        "Content-Disposition: form-data; name=\r\n\t\"wc-api\"",
        "Content-Disposition: form-data; x=\"; y\"; name=\"wc-api\"; filename=\"z\"",
        "Content-Disposition: name=wc-api",
        "Content-Disposition: form-data; name=a; name=wc-api",
        "Content-Disposition: form-data; name=\" wc-api\"",
        "Content-Disposition: form-data; name=\"wc-api\0z\"",
        "Content-Disposition: form-data; name=\"wc-api",
        "Content-Disposition: form-data; na\r\nme=wc-\r\napi",
        "Content-Disposition: form-data\r\n\r; name=wc-api",
        "Content-Disposition: form-data; name=wc-api\r\nContent-Type: text/plain",
        "Content-Disposition: form-data; name==wc-api",
        "Content-Disposition: form-data; na\0x\r\nme=wc-\0x\r\napi",
        // Found by fuzzing against PHP: a header, or another name, in the quotes of a name.
        "Content-Disposition: x; name=\"aContent-Disposition: y; name=\"b; name=\"wc-api\"",
        "Content-Disposition: x; name=\"Content-Disposition:\"; name=\"wc-api\"",
        "Content-Disposition: x; name=\"; name='\"; name=wc-api",
    ] {
        let body = format!("--b\r\n{header}\r\n\r\nvalue\r\n--b--\r\n");
        assert!(reaches(MULTIPART, "/", &body), "{header:?}");
        assert!(reaches(MULTIPART, "/", &body.replace("\r\n", "\n")), "{header:?} with bare line feeds");
    }
}

#[test]
fn multipart_values_are_found_whatever_stands_between() {
    let part = |name: &str, value: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: text/plain; name=x\r\n\r\n{value}\r\n"
        )
    };
    assert!(reaches(MULTIPART, "/", &part("cl", "KlarnaAcknowledge")));
    assert!(!reaches(MULTIPART, "/", &(part("cl", "basket") + &part("text", "KlarnaAcknowledge"))));
    assert!(reaches(
        MULTIPART,
        "/?fc=module",
        &(part("a", "b") + &part("controller", "pushkco") + &part("module", "klarnaofficial"))
    ));
}

#[test]
fn the_first_of_several_headers_keeps_its_value() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"cl\"\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\
                KlarnaAcknowledge\r\n--b--";
    assert!(reaches(MULTIPART, "/", body));
}

#[test]
fn ordinary_uploads_pass() {
    for body in [
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"wc-api\"\r\n\r\nwc-api=x\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"html\"\r\n\r\n<input name=\"wc-api\">\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"wc-api[]\"\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; filename=wc-api; xname=wc-api\r\n\r\nx\r\n--b--",
        "the content-disposition of name=wc-api",
    ] {
        assert!(!reaches(MULTIPART, "/", body), "{body}");
    }
}

#[test]
fn a_padded_header_hides_nothing() {
    let body = format!("--b\r\nContent-Disposition: form-data; x=\"{}\"; name=wc-api\r\n\r\n1", "A".repeat(20_000));
    assert!(reaches(MULTIPART, "/", &body));
    let cut = format!("--b\r\nContent-Disposition: form-data; {}\0x=1; name=wc-api\r\n\r\n1", "A".repeat(5000));
    assert!(reaches(MULTIPART, "/", &cut), "where PHP's buffer ends is not known here");
}

#[test]
fn a_long_body_leaves_nothing_behind() {
    let mut scan = scan(URLENCODED, "/");
    for _ in 0..100 {
        assert!(!scan.feed(&[b'a'; 4096]));
    }
    assert!(!scan.feed(b"=1&cl="));
    for _ in 0..100 {
        assert!(!scan.feed(&[b'b'; 4096]));
    }
    assert!(scan.fields.recent.len() <= 64);
    assert!(matches!(&scan.format, Format::Urlencoded(body) if format!("{body:?}").len() < 400));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_verdict_does_not_depend_on_how_the_body_is_cut(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "wc-api", "wc-", "api", "%2d", "%", "=", "&", "+", "\0", "cl", "Klarna", "Acknowledge", "fc", "module",
                "klarnapayment", "controller", "authorization", "\r\n", "\n", "\r", "Content-Disposition", ":", ";",
                "form-data", "name", "\"", "'", " ", "--b", "x", "[", ".",
            ]),
            0..40,
        ),
        cuts in prop::collection::vec(1..9_usize, 1..40),
        is_multipart in any::<bool>(),
    ) {
        let content_type = if is_multipart { MULTIPART } else { URLENCODED };
        let body = parts.concat();
        let whole = reaches(content_type, "/", &body);
        let mut cut = scan(content_type, "/");
        let mut rest = body.as_bytes();
        for length in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*length).min(rest.len()));
            cut.feed(chunk);
            rest = after;
        }
        prop_assert_eq!(cut.finish(), whole, "{:?}", body);
    }
}
