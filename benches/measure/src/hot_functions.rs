//! The functions that every request or every callback goes through, with fixed inputs. `benches/instructions` runs one
//! under callgrind with few calls and with many, and takes the difference; `benches/compare` takes their times.
//!
//!     hot-functions                 their names
//!     hot-functions NAME CALLS      calls one of them so often
//!     hot-functions --time          nanoseconds of each, a blank, its name: the median of many batches

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "../../inputs/recognition.rs"]
mod recognition;
#[path = "../../inputs/routes.rs"]
mod routes;
#[path = "../../inputs/tokens.rs"]
mod tokens;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, request};
use kallback::clock::Clock;
use kallback::event::{Family, UrlFacts, identify};
use kallback::recognise::Recogniser;
use kallback::token::cut;
use kallback::upstream::headers::{for_caller, for_shop};
use kallback::upstream::sender::Sender;

type Fault = Box<dyn std::error::Error>;
/// How long one batch takes at least, and how many there are.
const BATCH: Duration = Duration::from_micros(200);
const BATCHES: usize = 301;
/// One call of it.
type Hot = Box<dyn Fn()>;

fn main() -> Result<(), Fault> {
    let functions = functions()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => functions.iter().for_each(|(name, _)| println!("{name}")),
        [time] if time == "--time" => {
            functions.iter().for_each(|(name, hot)| println!("{:.1} {name}", nanoseconds(hot)));
        }
        [name, calls] => {
            let (_, hot) = functions.iter().find(|(known, _)| known == name).ok_or("there is no such function")?;
            let calls: u32 = calls.parse()?;
            (0..calls).for_each(|_| hot());
        }
        _ => return Err("see the head of hot_functions.rs".into()),
    }
    Ok(())
}

/// Batches as long as the clock needs to be exact, and short enough to lie between two turns of other programs.
fn nanoseconds(hot: &Hot) -> f64 {
    let clock = Clock::system();
    let batch = |calls: u32| {
        let began = clock.instant();
        (0..calls).for_each(|_| hot());
        clock.instant() - began
    };
    let mut calls = 1;
    while batch(calls) < BATCH && calls < 1 << 24 {
        calls *= 2;
    }
    let mut times: Vec<_> = (0..BATCHES).map(|_| batch(calls)).collect();
    times.sort_unstable();
    times[BATCHES / 2].as_secs_f64() * 1e9 / f64::from(calls)
}

fn functions() -> Result<Vec<(String, Hot)>, Fault> {
    let mut all = Vec::new();
    for (presets, names) in [("woocommerce", &["woocommerce"][..]), ("all presets", &recognition::all())] {
        let recogniser = Arc::new(recognition::recogniser(names)?);
        for (what, target) in recognition::targets() {
            all.push((format!("recognise, {presets}, {what}"), recognised(&recogniser, target)));
        }
    }
    let recogniser = Arc::new(recognition::recogniser(&["woocommerce"])?);
    for (what, content_type, body) in recognition::forms() {
        all.push((what.to_owned(), scanned(&recogniser, content_type, body)));
    }
    all.extend(token_functions()?);
    all.push(("identify, authorization".to_owned(), identified()));
    all.extend(header_functions()?);
    Ok(all)
}

fn recognised(recogniser: &Arc<Recogniser>, target: String) -> Hot {
    let recogniser = Arc::clone(recogniser);
    Box::new(move || {
        black_box(recogniser.recognise(black_box(&target)));
    })
}

fn scanned(recogniser: &Arc<Recogniser>, content_type: &'static str, body: String) -> Hot {
    let recogniser = Arc::clone(recogniser);
    Box::new(move || {
        let scan = recogniser.form_scan(content_type.as_bytes(), "/checkout/");
        black_box(scan.map(|mut scan| scan.feed(black_box(body.as_bytes())) || scan.finish()));
    })
}

fn token_functions() -> Result<Vec<(String, Hot)>, Fault> {
    let (guard, route) = (Arc::new(tokens::guard()), tokens::route());
    let token = guard.mint(&tokens::ticket()).ok_or("there is no key")?;
    let target = tokens::target(Some(&token));
    let (verifier, cut_target) = (Arc::clone(&guard), target.clone());
    let verify: Hot = Box::new(move || {
        black_box(verifier.verify(black_box(&token), Family::Checkout, tokens::NOW).is_ok());
    });
    let cut: Hot = Box::new(move || {
        black_box(cut(black_box(&cut_target), "kallback"));
    });
    let admit: Hot = Box::new(move || {
        black_box(guard.admit(&route, UrlFacts::default(), black_box(&target), tokens::NOW).is_ok());
    });
    Ok(vec![("token, verify".to_owned(), verify), ("token, cut".to_owned(), cut), ("token, admit".to_owned(), admit)])
}

fn identified() -> Hot {
    let route = routes::authorization();
    let body = Bytes::from_static(
        br#"{"authorization_token":"b4bd3423-24e3-4ac8-9a9a-1d4d2b0a3c55","session_id":"068df369-13a7-4d47-a564-62f8408bb760"}"#,
    );
    Box::new(move || {
        black_box(identify(&route, &UrlFacts::default(), "/wc-api/KP_WC_AUTHORIZATION", black_box(&body)));
    })
}

/// With the copy of the head that each call needs.
fn header_functions() -> Result<Vec<(String, Hot)>, Fault> {
    let head = browser_head()?;
    let sender = Sender::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), true, 443, &[]);
    let reply = shop_headers()?;
    let for_shop: Hot = Box::new(move || {
        let mut head = head.clone();
        black_box(for_shop(black_box(&mut head), &sender).is_ok());
    });
    let for_caller: Hot = Box::new(move || {
        let mut headers = reply.clone();
        for_caller(black_box(&mut headers));
        black_box(headers);
    });
    Ok(vec![("headers, for the shop".to_owned(), for_shop), ("headers, for the caller".to_owned(), for_caller)])
}

fn browser_head() -> Result<request::Parts, Fault> {
    let request = Request::get("/shop/kitchen/blue-enamel-mug/?attribute_color=blue")
        .header("host", "shop.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "de-DE,de;q=0.8,en-US;q=0.5,en;q=0.3")
        .header("accept-encoding", "gzip, deflate, br")
        .header("connection", "keep-alive")
        .header("cookie", "woocommerce_items_in_cart=1; wp_woocommerce_session=3f2a")
        .header("upgrade-insecure-requests", "1")
        .body(())?;
    Ok(request.into_parts().0)
}

fn shop_headers() -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("date", "Sat, 21 Nov 2026 10:00:00 GMT"),
        ("server", "Apache"),
        ("content-type", "text/html; charset=UTF-8"),
        ("content-length", "48213"),
        ("cache-control", "no-store"),
        ("vary", "Accept-Encoding"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5, max=100"),
    ] {
        headers.insert(name, value.parse()?);
    }
    Ok(headers)
}
