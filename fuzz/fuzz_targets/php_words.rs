//! Recognition against PHP itself, with requests of the words that matter there: each byte of an input is one of them, so
//! that odd orders of them are met far sooner than by bytes. See `written/woocommerce.rs`.
#![no_main]

#[path = "written/fastcgi.rs"]
mod fastcgi;
#[path = "written/target.rs"]
mod target;
#[path = "written/woocommerce.rs"]
mod woocommerce;

const WORDS: [&[u8]; 64] = [
    b"/",
    b"/",
    b"?",
    b"&",
    b"&",
    b"=",
    b"%",
    b"25",
    b"%2F",
    b"%00",
    b"%0A",
    b"%0D",
    b"%09",
    b"%20",
    b"+",
    b"\n",
    b"\n",
    b"%3C",
    b"%3E",
    b"%3Cb%3E",
    b"%3Cscript%3E",
    b"%3C/script%3E",
    b"%253C",
    b"%41",
    b"%2541",
    b"%5B",
    b"[]",
    b"]",
    b"[",
    b".",
    b"..",
    b"//",
    b"\\",
    b";",
    b"_",
    b"-",
    b"a",
    b"%FF",
    b"%C3%A9",
    b"%3F",
    b"%26",
    b"%3D",
    b"/index.php/",
    b"index.php",
    b"/wp-json/",
    b"wp-json",
    b"WP-JSON",
    b"/wc-api/",
    b"/wc-api/",
    b"wc-api=",
    b"wc-api=",
    b"wc-api",
    b"WC-API",
    b"%77c-api",
    b"wc%252Dapi",
    b"rest_route=",
    b"rest_route",
    b"klarna/v1/kec/notifications",
    b"kcowc/v1/address/",
    b"KCO_WC_Push",
    b"kco_wc_validation",
    b"kp_wc_authorization",
    b"application/x-www-form-urlencoded",
    b"address_update=yes&sid=1",
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let words = input.iter().map(|&byte| WORDS[usize::from(byte) % WORDS.len()]);
    woocommerce::both_agree(&words.collect::<Vec<_>>().concat());
});
