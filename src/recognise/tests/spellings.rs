//! The same call in other spellings.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::rows::{ROWS, Row};
use super::*;

#[test]
fn the_known_ways_around_a_prefix_rule_are_closed() {
    let recogniser = with(&["woocommerce"]);
    let plain = recogniser.recognise("/wc-api/KP_WC_AUTHORIZATION").unwrap();
    for target in [
        "/en/wc-api/kp_wc_authorization/",
        "/shop/item/wc-api/KP_WC_AUTHORIZATION",
        "/index.php/wc-api/KP_WC_AUTHORIZATION",
        "//wc-api//KP_WC_AUTHORIZATION//",
        "/wc-api/./KP_WC_AUTHORIZATION",
        "/x/../wc-api/KP_WC_AUTHORIZATION",
        "/wc-api/y/../KP_WC_AUTHORIZATION",
        "/wc%2Dapi/KP_WC_AUTHORIZATION",
        "/wc%2dapi%2FKP_WC_AUTHORIZATION",
        "/%77c-api/%4b%50_WC_AUTHORIZATION",
        "/wc%252Dapi/KP_WC_AUTHORIZATION",
        "/%7%37c-api/KP_WC_AUTHORIZATION",
        "/wc%2%44api/KP_WC_AUTHORIZATION",
        "/wc-api/KP_WC_AUTHORIZATION%20",
        "/wc-api/+KP_WC_AUTHORIZATION",
        "/wc-api/KP_WC_AUTHORIZATION%0A",
        "/wc-api/KP_WC_AUTHORIZATION%7F%2f",
        "/wc%2Dapi/KP_WC_%3Cb%3EAUTHORIZATION",
        "/wc%2Dapi/KP_WC_%3Cscript%3Ex%3C/script%3EAUTHORIZATION",
        "/wc-api/K%2500P_WC_AUTHORIZATION",
        "/?wc-api=KP_WC_AUTHORIZATION",
        "/x?wc-api=k.p_wc_authorization",
        "/?wc-api=K.P_WC_%20Authorization",
        "/?wc-api=kp_wc%C3%28_authorization%FF",
        "/?wc-api=kp/wc\\_authori%3Fzation?",
        "/wc-api/other/?wc-api=kp_wc_authorization",
        "/wc-api/KCO_WC_Push/?wc-api=kp_wc_authorization",
        "/?%20wc-api=KP_WC_AUTHORIZATION",
        "/?+wc-api=KP_WC_AUTHORIZATION",
        "/?wc%2Dapi=KP_WC_AUTHORIZATION",
        "/?%7%37c-api=KP_WC_AUTHORIZATION",
        "/?+%2B%2%30wc%25%32Dapi=KP_WC_AUTHORIZATION",
        "/?wc-api%00z=KP_WC_AUTHORIZATION",
        "/?wc-api=x&wc-api=KP_WC_AUTHORIZATION",
        "/?wc-api=KP_WC_AUTHORIZATION&wc-api=x",
        "/?wc-api=KP_WC_AUTHORIZATION&wc-api[]=x",
        "/?a=1;b&&wc-api=KP_WC_AUTHORIZATION&c",
    ] {
        let found = recogniser.recognise(target).unwrap_or_else(|| panic!("{target}: missed"));
        assert_eq!((&found.route, &found.url), (&plain.route, &plain.url), "{target}");
    }
}

#[test]
fn rest_routes_are_found_under_every_name_of_their_parameter() {
    let recogniser = with(&["woocommerce"]);
    for target in [
        "/index.php?rest_route=/klarna/v1/kec/notifications/",
        "/?rest.route=%2Fklarna%2Fv1%2Fkec%2Fnotifications",
        "/?rest%5Broute=/KLARNA/v1/kec/notifications%0A",
        "/?rest+route=klarna/v1/kec/notifications",
        "/wp%2Djson/klarna/v1/kec/notifications%0a",
        "/wp%2Djson/klarna/v1/kec/notifications%0Ax/y",
        "/api/klarna/v1/kec/notifications",
    ] {
        assert_eq!(recogniser.recognise(target).unwrap().route.kind, Kind::Webhook, "{target}");
    }
}

/// What a WooCommerce shop receives there.
fn kind(target: &str) -> Kind {
    static WOOCOMMERCE: LazyLock<Recogniser> = LazyLock::new(|| with(&["woocommerce"]));
    WOOCOMMERCE.recognise(target).unwrap_or_else(|| panic!("{target}: missed")).route.kind
}

#[test]
fn what_the_shop_obeys_decides_among_several_hits() {
    assert_eq!(kind("/wc-api/KP_WC_AUTHORIZATION?wc-api=kco_wc_push"), Kind::Push);
    assert_eq!(kind("/?wc-api=kp_wc_authorization&wc-api=kco_wc_push"), Kind::Push);
    assert_eq!(kind("/?wc-api=kco_wc_push&wc-api=kp_wc_authorization"), Kind::Authorization);
    assert_eq!(kind("/?wc-api=kco_wc_push&wc%252dapi=kp_wc_authorization"), Kind::Push);
    assert_eq!(kind("/wc-api/kco_wc_push/?wc%252dapi=kp_wc_authorization"), Kind::Push);
    let rest = "rest_route=/klarna/v1/kec/notifications";
    assert_eq!(kind(&format!("/wc-api/kp_wc_authorization?{rest}")), Kind::Authorization, "wc-api is served first");
    assert_eq!(kind(&format!("/?{rest}&wc-api=kco_wc_push")), Kind::Push);
    assert_eq!(kind("/?address_update=yes&sid=1&wc-api=kp_wc_authorization"), Kind::Authorization);
}

#[test]
fn of_several_names_that_markup_hides_in_one_value_none_is_believed() {
    let recogniser = with(&["woocommerce"]);
    let found = |value: &str| recogniser.recognise(&format!("/index.php/wc-api/{value}")).unwrap();
    for value in [
        "kco_wc_%3Cpush%3Evalidation",
        "kco_wc_push%3Cvalidation%3E",
        "kco_wc_push%3C%3C!--%3Ekp_wc_authorization",
        "KCO_WC_%41Push%25validation",
    ] {
        assert!(found(value).url.is_ambiguous, "{value}");
    }
    for value in ["kco_wc_%3Cpush", "kco_wc_push%20", "kco_wc_%3Cb%3Epush%3C/b%3E", "kco_wc_push"] {
        assert!(!found(value).url.is_ambiguous, "{value}");
        assert_eq!(found(value).route.kind, Kind::Push, "{value}");
    }
    assert_eq!(
        found("KCO_WC_Validation/%00%00push=").route.kind,
        Kind::Validation,
        "behind the script it ends at a NUL"
    );
    let two_places = recogniser.recognise("/wc-api/kp_wc_authorization/?wc-api=kco_wc_push").unwrap();
    assert!(!two_places.url.is_ambiguous && two_places.route.kind == Kind::Push, "the query outdoes the path");
}

#[test]
fn of_several_handlers_the_one_that_wordpress_comes_to_first_runs() {
    let rest = "rest_route=/klarna/v1/kec/notifications";
    let page = "address_update=yes&sid=1";
    assert_eq!(kind(&format!("/?{page}&{rest}")), Kind::Webhook);
    assert_eq!(kind(&format!("/wp-json/kcowc/v1/address/1?{page}")), Kind::CountryChange);
    assert_eq!(kind(&format!("/wp-json/kcowc/v1/address/1?{rest}")), Kind::Webhook, "the query outdoes the path");
    assert_eq!(kind(&format!("/wp-json/x/wc-api/kco_wc_push?{rest}")), Kind::Webhook, "the first rule that fits wins");
    assert_eq!(kind("/./wc-api/kp_wc_authorization/x/wc-api/kco_wc_push"), Kind::Push);
    assert_eq!(kind("/index.php/wp-json/kcowc/v1/address/1%0A/klarna/v1/kec/notifications"), Kind::CountryChange);
}

#[test]
fn an_id_may_have_any_character_but_a_slash() {
    for target in [
        "/wp-json/kcowc/v1/address/a%5Cb",
        "/?rest_route=/kcowc/v1/address/a%5Cb",
        "/x/kcowc/v1/address/a\\b",
        "/wp-json/kcowc/v1/address/a\\b/\\",
    ] {
        assert_eq!(kind(target), Kind::CountryChange, "{target}");
    }
    let recogniser = with(&["woocommerce"]);
    for path in ["/wp-json", "/x", "/?rest_route="] {
        let found = recogniser.recognise(&format!("{path}/kcowc/v1/address/%41BC")).unwrap();
        assert_eq!(found.url.subject.as_deref(), Some("ABC"), "{path}");
    }
    let behind_script = "/index.php/wp-json/klarna/v1/kec/notifications";
    assert_eq!(kind(&format!("{behind_script}%3Fx")), Kind::Webhook, "WordPress cuts what stands behind the script");
}

#[test]
fn a_path_that_no_rewrite_rule_fits_leaves_the_query_its_route() {
    let recogniser = with(&["woocommerce"]);
    let kind = |path: &str| {
        let target = format!("{path}?rest_route=/klarna/v1/kec/notifications");
        recogniser.recognise(&target).unwrap().route.kind
    };
    assert_eq!(kind("/index.php/wc-api/kco_wc_push"), Kind::Push);
    assert_eq!(kind("/index.php/wc-api/kco_wc_push%0A"), Kind::Push, "a rule's end may be before a last line break");
    assert_eq!(kind("/index.php/wc-api/kco_wc_push%0Ax"), Kind::Webhook, "what stands behind the script comes decoded");
    assert_eq!(kind("/index.php/x%0A/wc-api/kco_wc_push"), Kind::Webhook);
    assert_eq!(kind("/index.php/x%00/wc-api/kco_wc_push"), Kind::Webhook, "and ends at a NUL");
    assert_eq!(kind("/wc-api/kco%7F_wc_push%0A%00"), Kind::Push, "else the path is looked at as it stands");
    assert_eq!(
        kind("/index.php/wc-api/k%0Dco_wc_not_p_ush%D0"),
        Kind::Webhook,
        "nor does what it hides as it stands outdo the route"
    );
}

#[test]
fn other_platforms_spellings_are_closed_too() {
    for (preset, target, kind) in [
        ("opencart", "/seo/name?r%6Fute=extension%2Fpayment%2Fklarna_checkout%2Fpush", Kind::Push),
        ("opencart", "/?route=Extension//payment/klarna_checkout/pu.sh/rest/", Kind::Push),
        ("prestashop", "/en/module/klarnapayment/author-ization", Kind::Authorization),
        ("prestashop", "/?controller=authorization%3Fx%3D1&module=klarnapayment&fc=module", Kind::Authorization),
        ("prestashop", "/module/other/authorization?module=klarnapayment", Kind::Authorization),
        ("prestashop", "/?fc=module&controller=authorization%3Fmodule%3Dklarnapayment", Kind::Authorization),
        ("oxid", "/any/seo/page.html?CL=klarnaacknowledge", Kind::Push),
        ("magento2", "/index.php/se/KCO/Api/Push/foo/bar/id/1", Kind::Push),
        ("magento2", "/Checkout/klarna/authorize/token/x", Kind::Authorization),
        ("sap_commerce", "/shop/klarna;x=1/payment/auth-callback;jsessionid=1?a", Kind::Authorization),
        ("sap_commerce", "/shop/klarna/payment/Auth-Callback.json", Kind::Authorization),
        ("optimizely", "/klarnacheckout\\cart\\1\\push", Kind::Push),
        ("contao", "/kco/callback/Validate/1", Kind::Validation),
    ] {
        let found = with(&[preset]).recognise(target).unwrap_or_else(|| panic!("{target}: missed"));
        assert_eq!((found.route.kind, found.respelled), (kind, true), "{target}");
    }
}

#[test]
fn routing_cannot_be_confused() {
    let recogniser = with(&["woocommerce"]);
    let routing = |query: &str| recogniser.recognise(&format!("/wc-api/kco_wc_push?{query}")).unwrap().url.routing;
    assert_eq!(routing("key=1&kco-action=push&kallback=ab&utm=1"), "kco-action=push&key=1");
    assert_eq!(routing("kco-action=push%26key%3D1"), "kco-action=push%26key%3D1");
    assert_ne!(routing("kco-action=push%26key%3D1"), routing("kco-action=push&key=1"));
    assert_eq!(routing("key=1&%20key=2"), "key=2", "the last one is what PHP sees");
    assert_eq!(routing("kco-action=a+b"), routing("kco%2Daction=a%20b"));
}

#[test]
fn an_id_that_is_not_text_is_still_an_id() {
    let found = with(&["woocommerce"]).recognise("/wc-api/kco_wc_push?kco_wc_order_id=A%FF").unwrap();
    assert_eq!(found.url.subject.as_deref(), Some("A\u{fffd}"));
}

/// Decisions, taken one after the other; they repeat when they run out.
struct Choices<'a> {
    left: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Choices<'_> {
    fn below(&mut self, end: u8) -> u8 {
        self.left.next().copied().unwrap_or_default() % end
    }
}

/// How far the text at hand may be changed and stay the same.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Freedom {
    /// Once percent-encoded.
    Value,
    /// Also in another letter case.
    FixedOnce,
    /// Also in another letter case, and encoded twice.
    Fixed,
    /// Also with punctuation in between, or without it.
    Letters,
}

impl Freedom {
    /// The freedom of a parameter's name whose value has this one.
    fn of_name(self) -> Self {
        match self {
            Self::Letters => Self::Fixed,
            // PHP does not know it in another letter case, and then another rule holds.
            Self::FixedOnce => Self::Value,
            Self::Value | Self::Fixed => self,
        }
    }
}

fn respelled_text(text: &str, freedom: Freedom, choices: &mut Choices<'_>) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if freedom == Freedom::Letters && !character.is_ascii_alphanumeric() && choices.below(4) == 0 {
            continue;
        }
        match choices.below(10) {
            0 => out.push_str(&format!("%{:02X}", character as u32)),
            1 => out.push_str(&format!("%{:02x}", character as u32)),
            2 if freedom > Freedom::FixedOnce => out.push_str(&format!("%25{:02x}", character as u32)),
            3 if freedom > Freedom::Value => out.push(character.to_ascii_uppercase()),
            4 if freedom > Freedom::Value => out.push(character.to_ascii_lowercase()),
            5 if freedom == Freedom::Letters => {
                out.push(character);
                out.push_str(["!", ".", "%20", "%C3", "~", "%5C", "%3B", "%3F"][usize::from(choices.below(8))]);
            }
            _ => out.push(character),
        }
    }
    out
}

fn respelled_path(path: &str, choices: &mut Choices<'_>) -> String {
    let mut out = String::new();
    let mut after = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // A shop that splits before it decodes takes an encoded dot for the value itself.
        let ways = if segment.starts_with('{') { 6 } else { 7 };
        out.push_str(["/", "/", "//", "/./", "/q/../", "%2F", "/%2e/"][usize::from(choices.below(ways))]);
        let (text, freedom) = match segment.strip_prefix('{') {
            Some(value) => (value.trim_end_matches('}'), Freedom::Value),
            None if after.eq_ignore_ascii_case("wc-api") => (segment, Freedom::Letters),
            // The `&` inside this one is part of a value that ends with it.
            None => (segment.split('{').next().unwrap_or_default(), Freedom::Fixed),
        };
        out.push_str(&respelled_text(text, freedom, choices));
        after = segment;
    }
    out.push_str(["", "/", "//"][usize::from(choices.below(3))]);
    if out.starts_with('/') { out } else { format!("/{out}") }
}

fn respelled_pair(pair: &str, choices: &mut Choices<'_>) -> String {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let is_fixed = !value.contains('{') || name == "rest_route";
    let freedom = match name {
        "wc-api" | "route" | "controller" => Freedom::Letters,
        // Drupal would not see it, and then another rule holds.
        "callback" => Freedom::FixedOnce,
        _ if is_fixed => Freedom::Fixed,
        _ => Freedom::Value,
    };
    let name_freedom = if is_fixed { freedom.of_name() } else { Freedom::Value };
    let mut out = ["", "", "+", "%20", "%20+"][usize::from(choices.below(5))].to_owned();
    for part in name.split_inclusive('_') {
        let stem = part.trim_end_matches('_');
        // A name that only PHP has to find is not encoded twice: PHP does not decode twice either.
        out.push_str(&respelled_text(stem, name_freedom, choices));
        if part.ends_with('_') {
            out.push_str(["_", ".", "+", "%20", "%5B", "["][usize::from(choices.below(6))]);
        }
    }
    out.push_str(["", "", "", "%00", "%00rest"][usize::from(choices.below(5))]);
    out.push('=');
    match name {
        // Slashes stay: what stands between them is compared piece by piece.
        "route" | "rest_route" => {
            let spell = |part: &str| {
                let freedom = if part.contains('{') { Freedom::Value } else { freedom };
                respelled_text(part.trim_matches(['{', '}']), freedom, choices)
            };
            out.push_str(&value.split('/').map(spell).collect::<Vec<_>>().join("/"));
        }
        _ => out.push_str(&respelled_text(value.trim_matches(['{', '}']), freedom, choices)),
    }
    out
}

fn respelled(row: &Row, choices: &mut Choices<'_>) -> String {
    let (path, query) = row.template().split_once('?').unwrap_or((row.template(), ""));
    let prefix = ["", "", "/de", "/index.php", "/a/b%20c"][usize::from(choices.below(5))];
    let mut pairs: Vec<String> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| respelled_pair(pair, choices)).collect();
    if !pairs.is_empty() {
        let turn = usize::from(choices.below(8)) % pairs.len();
        pairs.rotate_left(turn);
        if choices.below(3) == 0 {
            pairs.push(pairs[0].clone());
        }
    }
    for extra in ["utm_source=x", "", "kallback=00ff", "a[]=%zz&b", "x=%"] {
        if choices.below(4) == 0 {
            pairs.insert(usize::from(choices.below(8)) % (pairs.len() + 1), extra.to_owned());
        }
    }
    format!("{prefix}{}?{}", respelled_path(path, choices), pairs.join("&"))
}

/// The same rules without the first look.
fn without_sieve(settings: &Settings) -> Recogniser {
    let mut recogniser = Recogniser::new(settings).unwrap();
    recogniser.sieve = Sieve::default();
    recogniser.sieve.add(&Place { path: None, conditions: vec![] });
    let rules = recogniser.own.iter_mut().chain(&mut recogniser.presets);
    rules.flat_map(|rule| &mut rule.places).for_each(|(_, needs)| *needs = Clues::default());
    recogniser
}

/// All presets, and routes of the config's own with texts that no preset has; then the same without the first look.
static WITH_AND_WITHOUT_SIEVE: LazyLock<[Recogniser; 2]> = LazyLock::new(|| {
    let routes = vec![
        own("/hooks/*/caf\u{e9}", &[], None),
        own("**/a", &[("b", "C d/e"), ("_", "")], Some("controller")),
        own("**/100%25", &[("", "x"), ("%x[y", "?")], None),
        own("**/ k;l", &[("x y", "1+1")], None),
        own("**/module", &[("a=", "%")], None),
    ];
    let presets = Recogniser::preset_names().map(str::to_owned).collect();
    let settings = Settings { presets, routes, overrides: vec![] };
    [Recogniser::new(&settings).unwrap(), without_sieve(&settings)]
});

/// What rules and readers of targets look for, with blanks in between.
const FRAGMENTS: &str = "/ / // \\ ? ? & & & = = % %2 %25 %2F %5c %00 %ff %20 %0a %09 \
    %37 %7 %3f %3d %26 %2B %5F %32 + . .. < > [ \
    ] ; _ wc-api wc-api= KP_WC_AUTHORIZATION kco api push id module fc=module module= klarnapayment \
    controller= authorization cl= KlarnaValidate route= payment notify klarna checkout authorize \
    klarna_checkout \u{e9} caf\u{e9} caf%C3%A9 hooks rest_route= rest.route= v1 kec notifications kcowc \
    address address_update=yes sid=1 callback=validation klarna_order_id=1 commerce_order=2 a b b=C+d/e _= \
    100%25 x 1%2b1 push.json cl=KlarnaAuthCallbackEndpoint callbacks";

fn fragment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(FRAGMENTS.split(' ').chain([" ", "\u{0}", "\n", " k;l"]).collect::<Vec<_>>())
}

/// `target` with some of [`FRAGMENTS`] put in.
fn disturbed(target: &str, fragments: &[(usize, &str)]) -> String {
    let mut target = target.to_owned();
    for (at, fragment) in fragments {
        let at = (0..=at % (target.len() + 1)).rfind(|&at| target.is_char_boundary(at)).unwrap_or_default();
        target.insert_str(at, fragment);
    }
    target
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn no_respelling_escapes(row in 0..ROWS.len(), choices in prop::collection::vec(any::<u8>(), 1..200)) {
        let row = &ROWS[row];
        let recogniser = with(&[row.preset]);
        let plain = recogniser.recognise(&row.target()).unwrap();
        let target = respelled(row, &mut Choices { left: choices.iter().cycle() });
        let found = recogniser.recognise(&target);
        prop_assert!(found.is_some(), "{} missed as {target}", row.number);
        let found = found.unwrap();
        prop_assert_eq!(&found.route, &plain.route, "{}", &target);
        prop_assert_eq!(&found.url, &plain.url, "{}", &target);
    }

    #[test]
    fn the_first_look_changes_nothing(
        row in 0..ROWS.len(),
        is_plain in any::<bool>(),
        choices in prop::collection::vec(any::<u8>(), 1..200),
        fragments in prop::collection::vec((any::<usize>(), fragment()), 0..4),
    ) {
        // A target full of escapes is looked at closely in any case: half of them have only those put in.
        let spelled = match is_plain {
            true => ROWS[row].target(),
            false => respelled(&ROWS[row], &mut Choices { left: choices.iter().cycle() }),
        };
        let target = disturbed(&spelled, &fragments);
        let [with, without] = &*WITH_AND_WITHOUT_SIEVE;
        prop_assert_eq!(with.recognise(&target), without.recognise(&target), "{:?}", target);
    }

    #[test]
    fn the_first_look_hides_nothing(fragments in prop::collection::vec(fragment(), 0..20)) {
        let target = fragments.concat();
        let [with, without] = &*WITH_AND_WITHOUT_SIEVE;
        prop_assert_eq!(with.recognise(&target), without.recognise(&target), "{:?}", target);
    }

    #[test]
    fn any_text_is_read_without_harm(target in "\\PC*") {
        let _ = everything().recognise(&target);
    }
}
