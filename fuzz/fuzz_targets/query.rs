//! Query surgery: cutting and appending leave every other byte as it is.
#![no_main]

use kallback::token::{Found, URL_CHARACTERS_MAX, append, cut};
use libfuzzer_sys::fuzz_target;

const PARAMETER: &str = "kallback";

fuzz_target!(|url: &str| {
    // What is behind a `#` never comes in a request: it is put aside before the cut, as the minting does.
    let (url, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let first = cut(url, PARAMETER);
    let again = cut(&first.target, PARAMETER);
    assert_eq!(again.found, Found::Nothing, "a token is left after cutting");
    assert_eq!(again.target, first.target, "cutting twice is not cutting once");
    match first.found {
        Found::Nothing => assert_eq!(first.target, url),
        _ => assert!(is_subsequence(&first.target, url), "a byte that was not there"),
    }

    match append(&format!("{}{fragment}", first.target), PARAMETER, "T") {
        Ok(whole) => {
            assert!(whole.chars().count() <= URL_CHARACTERS_MAX);
            let with_token = whole.strip_suffix(fragment).expect("the fragment stays at the end");
            let back = cut(with_token, PARAMETER);
            assert_eq!(back.found, Found::Once("T"));
            assert_eq!(back.target, first.target, "cutting does not undo appending");
        }
        Err(too_long) => assert!(too_long.characters > URL_CHARACTERS_MAX),
    }
});

fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut whole = whole.bytes();
    part.bytes().all(|byte| whole.any(|other| other == byte))
}
