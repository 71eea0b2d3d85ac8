//! How long recognition takes: for traffic, which is almost everything, for callbacks, and for the worst targets.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "inputs/recognition.rs"]
mod inputs;

use criterion::{Criterion, criterion_group, criterion_main};
use inputs::{all, forms, recogniser, targets};
use std::hint::black_box;

fn recognise(criterion: &mut Criterion) {
    for (name, presets) in [("woocommerce", &["woocommerce"][..]), ("all presets", &all())] {
        let recogniser = recogniser(presets).unwrap();
        let mut group = criterion.benchmark_group(name);
        for (label, target) in targets() {
            group.bench_function(label, |bencher| bencher.iter(|| recogniser.recognise(black_box(&target))));
        }
        group.finish();
    }
}

fn scan_form(criterion: &mut Criterion) {
    let recogniser = recogniser(&["woocommerce"]).unwrap();
    for (label, content_type, body) in forms() {
        criterion.bench_function(label, |bencher| {
            bencher.iter(|| {
                let mut scan = recogniser.form_scan(content_type.as_bytes(), "/checkout/").unwrap();
                scan.feed(black_box(body.as_bytes())) || scan.finish()
            });
        });
    }
}

criterion_group!(benches, recognise, scan_form);
criterion_main!(benches);
