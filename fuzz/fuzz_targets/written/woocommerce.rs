//! A WooCommerce shop and kallback side by side: what the shop routes to a callback, kallback recognises as that callback.

use std::cell::RefCell;
use std::path::Path;
use std::sync::LazyLock;

use kallback::recognise::{Recognised, Recogniser, Settings};
use percent_encoding::percent_decode_str;

use crate::fastcgi::Php;
use crate::target::as_target;

static RECOGNISER: LazyLock<Recogniser> = LazyLock::new(|| {
    let presets = vec!["woocommerce".to_owned()];
    Recogniser::new(&Settings { presets, ..Settings::default() }).expect("the preset exists")
});

thread_local! {
    static PHP: RefCell<Php> = {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("php/shop.php");
        RefCell::new(Php::start(&script))
    };
}

/// Asks both about an input of lines: the target, the content type, and all the rest is the body.
pub fn both_agree(input: &[u8]) {
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let (target, content_type, body) = (lines.next(), lines.next().unwrap_or_default(), lines.next());
    let Some(target) = as_target(target.unwrap_or_default()) else { return };
    let Some(content_type) = as_header_value(content_type) else { return };
    let body = body.unwrap_or_default();

    let path_info = path_info(&target);
    let handler = PHP.with_borrow_mut(|php| php.post(&target, path_info.as_deref(), content_type, body));
    if handler == "-" {
        return;
    }
    let recognised = RECOGNISER.recognise(&target);
    // Such a one is refused, whichever of the callbacks it is.
    let is_right = |recognised: &Recognised| recognised.url.is_ambiguous || is_of(&recognised.route.name, &handler);
    let right = recognised.as_ref().is_some_and(is_right);
    let reached = || {
        let mut scan = RECOGNISER.form_scan(content_type.as_bytes(), &target)?;
        Some(scan.feed(body) || scan.finish())
    };
    assert!(
        right || reached() == Some(true),
        "PHP runs {handler} for {target}, content type {content_type:?}, body {:?}; kallback takes it for {:?}",
        String::from_utf8_lossy(body),
        recognised.map(|recognised| recognised.route.name.clone()),
    );
}

/// A route is called by preset, kind and the handler's name.
fn is_of(route: &str, handler: &str) -> bool {
    let name = route.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase();
    handler.trim_start_matches('/').starts_with(&name)
}

fn as_header_value(bytes: &[u8]) -> Option<&str> {
    http::HeaderValue::from_bytes(bytes).ok()?;
    // hyper and the servers in front of PHP take the blanks around it away.
    Some(std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t']))
}

/// What a web server that splits the path at the script hands on, decoded.
fn path_info(target: &str) -> Option<Vec<u8>> {
    let path = target.split('?').next().unwrap_or_default();
    let info = path.strip_prefix("/index.php").filter(|info| info.starts_with('/'))?;
    Some(percent_decode_str(info).collect())
}
