//! What the token check costs for each call: a good token, a forged one, none at all, and the cut alone.

// criterion's macro writes a public function without documentation.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use kallback::clock::UnixMillis;
use kallback::event::{Family, Kind, Mode, Proof, Route, UrlFacts};
use kallback::token::{Guard, Key, Settings, Ticket, cut};

const NOW: UnixMillis = UnixMillis(1_763_700_000_000);
const EXPIRES: UnixMillis = UnixMillis(1_764_028_800_000);

fn guard() -> Guard {
    let key = |id| Key { id, secret: vec![id; 32].into() };
    Guard::new(Settings {
        parameter: "kallback".into(),
        keys: vec![key(2), key(1)],
        signing_keys: Vec::new(),
        sessions_per_token: 4,
    })
}

fn route() -> Arc<Route> {
    Arc::new(Route {
        name: "woocommerce push".into(),
        kind: Kind::Push,
        family: Family::Checkout,
        proof: Proof::Token(Mode::Enforce),
        policy: Kind::Push.defaults(),
        failure_texts: Vec::new(),
    })
}

fn verify(criterion: &mut Criterion) {
    let (guard, route) = (guard(), route());
    let ticket = Ticket { family: Family::Checkout, session: b"wc-session-1f0c", expires_at: EXPIRES };
    let good = guard.mint(&ticket).unwrap_or_default();
    let forged = format!("{}{}", &good[..62], if good.ends_with("00") { "01" } else { "00" });
    let bare = "/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id=5f0c6c1e-1111-4222-8333-444455556666";
    let targets = [
        ("valid", format!("{bare}&kallback={good}")),
        ("forged", format!("{bare}&kallback={forged}")),
        ("missing", bare.to_owned()),
    ];
    for (name, target) in &targets {
        let admitted = guard.admit(&route, UrlFacts::default(), target, NOW);
        assert_eq!(admitted.is_ok(), *name == "valid");
        criterion.bench_function(&format!("admit/{name}"), |bencher| {
            bencher.iter(|| guard.admit(&route, UrlFacts::default(), black_box(target), NOW));
        });
    }
    criterion.bench_function("verify/valid", |bencher| {
        bencher.iter(|| guard.verify(black_box(&good), Family::Checkout, NOW));
    });
    criterion.bench_function("mint", |bencher| bencher.iter(|| guard.mint(black_box(&ticket))));
    for (name, target) in &targets {
        criterion.bench_function(&format!("cut/{name}"), |bencher| bencher.iter(|| cut(black_box(target), "kallback")));
    }
}

criterion_group!(benches, verify);
criterion_main!(benches);
