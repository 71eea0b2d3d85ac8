//! Replies that are going to cause trouble although nobody sees it: what support would find out after hours.

use http::StatusCode;
use http::header::LOCATION;
use percent_encoding::percent_decode_str;

use super::readable::readable_start;
use crate::event::Kind;
use crate::message::Reply;

/// What is wrong with the shop's reply, and what to do; usually nothing. `target` is the path and query that the
/// shop was asked for; of the reply's body the beginning is enough. An ordinary success is not looked into.
pub fn warnings(kind: Kind, target: &str, reply: &Reply) -> impl Iterator<Item = &'static str> {
    [without_location(reply), to_the_same_page(target, reply), without_json(kind, reply), nobody_listens(reply)]
        .into_iter()
        .flatten()
}

fn without_location(reply: &Reply) -> Option<&'static str> {
    (is_redirect(reply.status) && !reply.headers.contains_key(LOCATION)).then_some(WITHOUT_LOCATION)
}

fn to_the_same_page(target: &str, reply: &Reply) -> Option<&'static str> {
    if !is_redirect(reply.status) {
        return None;
    }
    let location = std::str::from_utf8(reply.headers.get(LOCATION)?.as_bytes()).ok()?;
    same_page(target, path_and_query(location)?).then_some(TO_THE_SAME_PAGE)
}

fn without_json(kind: Kind, reply: &Reply) -> Option<&'static str> {
    let needs_json =
        matches!(kind, Kind::AddressUpdate | Kind::CountryChange | Kind::ShippingOptionUpdate | Kind::Upsell);
    if !needs_json || !reply.status.is_success() {
        return None;
    }
    let body = readable_start(&reply.headers, &reply.body)?;
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body);
    (text.trim_ascii_start().first() != Some(&b'{')).then_some(WITHOUT_JSON)
}

fn nobody_listens(reply: &Reply) -> Option<&'static str> {
    if reply.status != StatusCode::BAD_REQUEST {
        return None;
    }
    let body = readable_start(&reply.headers, &reply.body)?;
    (body.trim_ascii() == b"-1").then_some(NOBODY_LISTENS)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The part of a `Location` that names the page. `None` for one that is relative to the page.
fn path_and_query(location: &str) -> Option<&str> {
    let location = location.split('#').next()?;
    let scheme = ["https://", "http://", "//"]
        .into_iter()
        .find(|scheme| location.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    match scheme {
        Some(scheme) => {
            let rest = location.get(scheme.len()..)?;
            rest.get(rest.find(['/', '?']).unwrap_or(rest.len())..)
        }
        None => location.starts_with('/').then_some(location),
    }
}

/// Whether the two differ at most in slashes, in a language in front (`/en/`), and in how they are escaped.
fn same_page(one: &str, other: &str) -> bool {
    let ((path, query), (other_path, other_query)) = (split(one), split(other));
    let same = |one, other| percent_decode_str(one).eq(percent_decode_str(other));
    let (mut segments, mut others) = (segments(path), segments(other_path));
    loop {
        match (segments.next(), others.next()) {
            (None, None) => return same(query, other_query),
            (Some(one), Some(other)) if same(one, other) => {}
            _ => return false,
        }
    }
}

fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// The path's segments, less a language in front.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    segments.next_if(|first| is_language(first));
    segments
}

/// `en`, `pt-br`, `zh_Hans`; not `wc-api`.
fn is_language(segment: &str) -> bool {
    let (language, region) = segment.split_once(['-', '_']).unwrap_or((segment, "xx"));
    let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    language.len() == 2 && letters(language) && matches!(region.len(), 2 | 4) && letters(region)
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const WITHOUT_LOCATION: &str = "a redirect without Location: the sender cannot send the customer anywhere and may let \
     the purchase pass; have the shop name a page";

const TO_THE_SAME_PAGE: &str = "a redirect that changes only scheme, host, slash or language: senders do not follow \
     it, and for a question it refuses the purchase; exempt the callback paths from the shop's redirects, or give the \
     sender the URL as the shop wants it";

const WITHOUT_JSON: &str = "an update was accepted without a JSON object: the checkout shows an error; look for \
     output before the JSON (PHP notices) or a plugin that answered in the shop's place";

const NOBODY_LISTENS: &str = "400 with -1: no plugin listens for this callback; activate the payment plugin";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    const TARGET: &str = "/wc-api/KCO_WC_Validation?kco-action=validation&order=a%20b";

    fn reply(status: u16, location: Option<&str>, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, location.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, reason: None, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn warned(kind: Kind, reply: &Reply) -> Vec<&'static str> {
        warnings(kind, TARGET, reply).collect()
    }

    #[test]
    fn a_redirect_without_location_is_warned_of() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(warned(Kind::Validation, &reply(status, None, "")), [WITHOUT_LOCATION], "{status}");
        }
        assert!(warned(Kind::Validation, &reply(304, None, "")).is_empty());
        assert!(warned(Kind::Validation, &reply(303, Some("https://shop.example/cart?error=1"), "")).is_empty());
    }

    #[test]
    fn a_redirect_to_the_same_page_is_warned_of() {
        for location in [
            "https://shop.example/wc-api/KCO_WC_Validation?kco-action=validation&order=a%20b",
            "HTTPS://www.shop.example/wc-api/KCO_WC_Validation?kco-action=validation&order=a%20b",
            "//shop.example/wc-api/KCO_WC_Validation?kco-action=validation&order=a%20b",
            "/wc-api/KCO_WC_Validation/?kco-action=validation&order=a%20b",
            "/en/wc-api/KCO_WC_Validation?kco-action=validation&order=a%20b#top",
            "/pt-br//wc-api/KCO_WC_Validation/?kco%2Daction=validation&order=a b",
        ] {
            let reply = reply(301, Some(location), "");
            assert_eq!(warned(Kind::Push, &reply), [TO_THE_SAME_PAGE], "{location}");
        }
    }

    #[test]
    fn a_redirect_elsewhere_is_the_shops_answer() {
        for location in [
            "https://shop.example/cart/?error=1",
            "https://shop.example",
            "/wc-api/KCO_WC_Validation?kco-action=other",
            "/wc-api/KCO_WC_Validation",
            "/shop/wc-api/KCO_WC_Validation?kco-action=validation&order=a%20b",
            "/wc-api?kco-action=validation&order=a%20b",
            "cart",
            "?a=b",
            "",
        ] {
            assert!(warned(Kind::Validation, &reply(303, Some(location), "")).is_empty(), "{location}");
        }
    }

    #[test]
    fn languages_are_told_from_other_segments() {
        assert!(["en", "DE", "pt-br", "en_GB", "zh-Hans"].into_iter().all(is_language));
        assert!(!["e", "shop", "wc-api", "en-", "en-g", "12", "e1", ""].into_iter().any(is_language));
    }

    #[test]
    fn an_update_must_be_answered_with_a_json_object() {
        let updates = [Kind::AddressUpdate, Kind::CountryChange, Kind::ShippingOptionUpdate, Kind::Upsell];
        for kind in Kind::ALL {
            for (body, good) in [
                ("{\"order_amount\":1}", true),
                ("\u{feff} \r\n{}", true),
                ("", false),
                ("-1", false),
                ("[]", false),
                ("<br />\n<b>Notice</b>{}", false),
            ] {
                let wanted: &[&str] = if updates.contains(&kind) && !good { &[WITHOUT_JSON] } else { &[] };
                assert_eq!(warned(kind, &reply(200, None, body)), wanted, "{kind} {body:?}");
                assert!(warned(kind, &reply(500, None, body)).is_empty());
            }
        }
    }

    #[test]
    fn minus_one_is_bad_news_only_with_400() {
        assert_eq!(warned(Kind::Push, &reply(400, None, "-1\n")), [NOBODY_LISTENS]);
        assert!(warned(Kind::Push, &reply(200, None, "-1")).is_empty());
        assert!(warned(Kind::Validation, &reply(400, None, "{\"error_type\":\"approval_failed\"}")).is_empty());
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(
            (kind, status) in (prop::sample::select(&Kind::ALL[..]), 200_u16..600),
            (target, location) in (".*", "(https?:)?/{0,3}\\PC*"),
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut reply = reply(status, None, "");
            reply.body = Bytes::from(body);
            if let Ok(location) = http::HeaderValue::from_bytes(location.as_bytes()) {
                reply.headers.insert(LOCATION, location);
            }
            prop_assert!(warnings(kind, &target, &reply).count() <= 2);
        }
    }
}
