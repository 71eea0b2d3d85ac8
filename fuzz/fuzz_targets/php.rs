//! Recognition against PHP itself, with any bytes: see `written/woocommerce.rs`.
#![no_main]

#[path = "written/fastcgi.rs"]
mod fastcgi;
#[path = "written/target.rs"]
mod target;
#[path = "written/woocommerce.rs"]
mod woocommerce;

libfuzzer_sys::fuzz_target!(|input: &[u8]| woocommerce::both_agree(input));
