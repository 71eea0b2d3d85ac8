//! What the token check costs for each call: a good token, a forged one, none at all, and the cut alone.

// criterion's macro writes a public function without documentation.
#![allow(missing_docs)]

#[path = "inputs/tokens.rs"]
mod inputs;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use inputs::{NOW, guard, route, target, ticket};
use kallback::event::{Family, UrlFacts};
use kallback::token::cut;

fn verify(criterion: &mut Criterion) {
    let (guard, route) = (guard(), route());
    let ticket = ticket();
    let good = guard.mint(&ticket).unwrap_or_default();
    let forged = format!("{}{}", &good[..62], if good.ends_with("00") { "01" } else { "00" });
    let targets = [("valid", target(Some(&good))), ("forged", target(Some(&forged))), ("missing", target(None))];
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
