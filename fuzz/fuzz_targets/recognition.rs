//! Recognition with every preset on: a callback stays one however its path is written, and a form's verdict does not
//! hang on how its body is cut into parts.
//!
//! An input is a byte for the content type, one for the cut, a line with the target, and the body.
#![no_main]

#[path = "written/target.rs"]
mod target;

use std::sync::LazyLock;

use kallback::recognise::{Recogniser, Settings};
use libfuzzer_sys::fuzz_target;
use target::{as_target, respelled};

static RECOGNISER: LazyLock<Recogniser> = LazyLock::new(|| {
    let presets = Recogniser::preset_names().map(str::to_owned).collect();
    Recogniser::new(&Settings { presets, ..Settings::default() }).expect("these presets exist")
});

const CONTENT_TYPES: [&[u8]; 3] =
    [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=b", b"multipart/form-data"];

fuzz_target!(|input: &[u8]| {
    let [content_type, cut_at, rest @ ..] = input else { return };
    let (target, body) = rest.split_at(rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    let body = body.get(1..).unwrap_or_default();
    let Some(target) = as_target(target) else { return };
    let recognised = RECOGNISER.recognise(&target);
    assert_eq!(recognised, RECOGNISER.recognise(&target));
    // An escape that is there already may be one that the shop deletes; escaped once more it is another text.
    let is_plain = !target.split('?').next().unwrap_or_default().contains('%');
    if let Some(recognised) = recognised.filter(|_| is_plain) {
        let again = RECOGNISER.recognise(&respelled(&target)).map(|again| again.route.kind);
        assert_eq!(again, Some(recognised.route.kind), "{target} is overlooked when its letters are escaped");
    }

    let content_type = CONTENT_TYPES[usize::from(*content_type) % CONTENT_TYPES.len()];
    let verdict = |parts: &[&[u8]]| {
        let mut scan = RECOGNISER.form_scan(content_type, &target)?;
        let reached = parts.iter().any(|part| scan.feed(part));
        Some(reached || scan.finish())
    };
    let whole = verdict(&[body]);
    let (front, back) = body.split_at(usize::from(*cut_at).min(body.len()));
    assert_eq!(verdict(&[front, back]), whole, "cut at {}", front.len());
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(verdict(&bytes), whole, "byte by byte");
});
