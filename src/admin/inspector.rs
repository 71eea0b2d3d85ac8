//! The inspector: a page for people, served from the binary.
//!
//! The page and its files hold nothing but themselves and are the same for everybody; what they show they ask the
//! guarded routes for, with the admin token that a person typed in. The token stays in the page's memory: a cookie
//! on loopback would go to every other port of the machine as well, and would have to be guarded against other sites.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};

use super::routes::{Reply, reply};

/// Whatever got into the page could neither run, nor load, nor send anything anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// Name, type, content. The page itself has no name.
const FILES: &[(&str, &str, &str)] = &[
    ("", HTML, include_str!("inspector/page.html")),
    ("style.css", STYLE, include_str!("inspector/style.css")),
    ("icon.svg", PICTURE, include_str!("inspector/icon.svg")),
    ("main.js", SCRIPT, include_str!("inspector/main.js")),
    ("gateway.js", SCRIPT, include_str!("inspector/gateway.js")),
    ("list.js", SCRIPT, include_str!("inspector/list.js")),
    ("detail.js", SCRIPT, include_str!("inspector/detail.js")),
    ("day.js", SCRIPT, include_str!("inspector/day.js")),
    ("pictures.js", SCRIPT, include_str!("inspector/pictures.js")),
    ("words.js", SCRIPT, include_str!("inspector/words.js")),
    ("htm-preact-standalone.js", SCRIPT, include_str!("inspector/vendor/htm-preact-standalone.js")),
];

/// The page (no name) or one of its files.
pub(super) fn file(name: &str) -> Option<Reply> {
    let (_, kind, content) = FILES.iter().find(|(known, ..)| *known == name)?;
    let mut reply = reply(http::StatusCode::OK, kind, *content);
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    reply.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the policy forbids would fail silently in the browser.
    #[test]
    fn the_page_holds_no_script_or_style_of_its_own_and_names_no_other_place() {
        for (name, _, content) in FILES.iter().filter(|(name, ..)| *name != "htm-preact-standalone.js") {
            for forbidden in
                ["<script>", "<style", " style=", " onclick=", "javascript:", "https://", "//cdn", "innerHTML"]
            {
                assert!(!content.contains(forbidden), "{name} has {forbidden}");
            }
        }
    }

    #[test]
    fn everything_that_the_page_and_its_scripts_name_is_there() {
        for (name, _, content) in FILES {
            for after in content.split("\"/inspector/").chain(content.split("\"./")).skip(1) {
                let named = after.split('"').next().unwrap();
                let is_file = named.ends_with(".js") || named.ends_with(".css") || named.ends_with(".svg");
                assert!(!is_file || file(named).is_some(), "{name} names {named}");
            }
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_what_was_recorded() {
        use sha2::{Digest, Sha256};
        let library = include_bytes!("inspector/vendor/htm-preact-standalone.js");
        let sum: String = Sha256::digest(library).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(include_str!("inspector/vendor/README.md").contains(&sum), "{sum}");
    }
}
