//! The config: any text is read or refused with faults that can be shown.
#![no_main]

use kallback::config::{FileText, Sources, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // No text may send the fuzzer to a device that never ends.
    if text.contains("/dev") || text.contains("/proc") || text.contains("..") {
        return;
    }
    let file = FileText { path: "/nowhere/kallback.toml".into(), text: text.to_owned() };
    match load(&Sources { file: Some(file), ..Sources::default() }) {
        Ok(loaded) => loaded.warnings.iter().for_each(|warning| assert_shown(&warning.in_one_line())),
        Err(faults) => {
            assert!(!faults.findings().is_empty(), "refused without a fault");
            assert!(!faults.to_string().is_empty());
            faults.findings().iter().for_each(|fault| assert_shown(&fault.in_one_line()));
        }
    }
});

fn assert_shown(line: &str) {
    assert!(!line.is_empty() && !line.contains('\n'), "{line:?} is not one line");
}
