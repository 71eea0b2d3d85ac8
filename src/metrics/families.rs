//! Metrics with labels whose series are looked up once, not for every event.
//!
//! A look-up by label values hashes and takes a lock; an event on the request path has no time for that.

use std::sync::OnceLock;

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use prometheus::{IntGaugeVec, Opts, Registry, Result};

use super::labels::OTHER;
use crate::event::Kind;

/// Makes metrics and registers them.
pub(super) struct Maker<'a>(pub(super) &'a Registry);

impl Maker<'_> {
    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.registered(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A counter for each of these values of one label, and one for all other values should they come up.
    pub(super) fn named(&self, name: &str, help: &str, label: &str, values: &[&[&'static str]]) -> Result<Named> {
        let family = self.counters(name, help, &[label])?;
        let values = values.iter().flat_map(|values| values.iter().copied());
        let known = values.map(|value| (value, family.with_label_values(&[value]))).collect();
        Ok(Named { known, family })
    }

    /// A counter for each kind.
    pub(super) fn per_kind(&self, name: &str, help: &str) -> Result<PerKind> {
        let family = self.counters(name, help, &["kind"])?;
        Ok(PerKind(Kind::ALL.map(|kind| family.with_label_values(&[kind.name()]))))
    }

    /// A counter for each kind and each of these values of a second label.
    pub(super) fn per_kind_and(&self, (name, help): (&str, &str), second: &Column) -> Result<PerKindAnd> {
        let family = self.counters(name, help, &["kind", second.label])?;
        Ok(PerKindAnd { values: second.values, cells: Cells::new(Kind::ALL.len() * second.values.len()), family })
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.registered(IntGauge::new(name, help)?)
    }

    pub(super) fn seconds_gauge(&self, name: &str, help: &str) -> Result<Gauge> {
        self.registered(Gauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn seconds_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.registered(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        self.registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    pub(super) fn histograms(
        &self,
        (name, help): (&str, &str),
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec> {
        self.registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    fn registered<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// Counters by one label. All series are there from the start, so that a rate sees the first count.
pub(super) struct Named {
    known: Vec<(&'static str, IntCounter)>,
    family: IntCounterVec,
}

impl Named {
    pub(super) fn count(&self, value: &str) {
        match self.known.iter().find(|(known, _)| *known == value) {
            Some((_, counter)) => counter.inc(),
            None => self.family.with_label_values(&[OTHER]).inc(),
        }
    }
}

/// Counters by kind. All series are there from the start.
pub(super) struct PerKind([IntCounter; Kind::ALL.len()]);

impl PerKind {
    pub(super) fn count(&self, kind: Kind) {
        self.0[kind as usize].inc();
    }
}

/// A label and its values.
pub(super) struct Column {
    pub(super) label: &'static str,
    pub(super) values: &'static [&'static str],
}

/// Counters by kind and a second label. A series is there from its first count on: most shops use few kinds.
pub(super) struct PerKindAnd {
    values: &'static [&'static str],
    cells: Cells<IntCounter>,
    family: IntCounterVec,
}

impl PerKindAnd {
    pub(super) fn count(&self, kind: Kind, value: &str) {
        match self.values.iter().position(|known| *known == value) {
            Some(place) => {
                let make = || self.family.with_label_values(&[kind.name(), value]);
                self.cells.at(kind as usize * self.values.len() + place, make).inc();
            }
            None => self.family.with_label_values(&[kind.name(), OTHER]).inc(),
        }
    }
}

/// Series that are looked up at their first use.
pub(super) struct Cells<M>(Box<[OnceLock<M>]>);

impl<M> Cells<M> {
    pub(super) fn new(number: usize) -> Self {
        Self((0..number).map(|_| OnceLock::new()).collect())
    }

    pub(super) fn at(&self, place: usize, make: impl FnOnce() -> M) -> &M {
        self.0[place].get_or_init(make)
    }
}
