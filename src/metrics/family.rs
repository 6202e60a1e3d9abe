//! Metrics with labels, one handle for each value of a closed list: what is not in the list does
//! not compile.
//!
//! Only here a name becomes a label value. Nothing here makes a series that is not in the list,
//! except for the HTTP status code, which is a number.

use std::borrow::Borrow;
use std::marker::PhantomData;

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};
use rules::Named;

/// A metric whose label has the names of `L` as its values.
#[derive(Debug)]
pub struct Family<L, V> {
    series: V,
    label: PhantomData<fn(L)>,
}

/// Counters by `L`.
pub type Counters<L> = Family<L, IntCounterVec>;
/// Gauges by `L`.
pub type Gauges<L> = Family<L, IntGaugeVec>;
/// Gauges of times by `L`.
pub type FloatGauges<L> = Family<L, GaugeVec>;
/// Histograms by `L`.
pub type Histograms<L> = Family<L, HistogramVec>;

impl<L: Named, B: MetricVecBuilder> Family<L, MetricVec<B>> {
    pub(super) fn new(series: MetricVec<B>) -> Self {
        let label = PhantomData;
        Self { series, label }
    }

    /// The series of this value.
    pub fn of(&self, value: impl Borrow<L>) -> B::M {
        self.series.with_label_values(&[value.borrow().name()])
    }
}

impl<L: Named> Gauges<L> {
    /// 1 for this value and 0 for all others; 0 for all if there is none.
    pub fn only(&self, now: Option<L>) {
        let now = now.map(|value| value.name());
        for value in L::all() {
            let is_now = Some(value.name()) == now;
            self.of(value).set(i64::from(is_now));
        }
    }
}

/// Counters by two closed lists.
#[derive(Debug)]
pub struct Pairs<A, B> {
    series: IntCounterVec,
    labels: PhantomData<fn(A, B)>,
}

impl<A: Named, B: Named> Pairs<A, B> {
    pub(super) fn new(series: IntCounterVec) -> Self {
        let labels = PhantomData;
        Self { series, labels }
    }

    /// The counter of this pair.
    pub fn of(&self, first: impl Borrow<A>, second: impl Borrow<B>) -> IntCounter {
        let names = [first.borrow().name(), second.borrow().name()];
        self.series.with_label_values(&names)
    }
}

/// Counters by a closed list and an HTTP status code.
#[derive(Debug)]
pub struct ByCode<L> {
    series: IntCounterVec,
    label: PhantomData<fn(L)>,
}

impl<L: Named> ByCode<L> {
    pub(super) fn new(series: IntCounterVec) -> Self {
        let label = PhantomData;
        Self { series, label }
    }

    /// The counter of this value and this code.
    pub fn of(&self, value: impl Borrow<L>, code: u16) -> IntCounter {
        let name = value.borrow().name();
        self.series.with_label_values(&[name, &code.to_string()])
    }
}
