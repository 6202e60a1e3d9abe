//! Makes the handles, and remembers them for the registry and for the table in the README.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::{DURATIONS, Row};

/// Makes handles and remembers them for registry and table.
#[derive(Default)]
pub(super) struct Maker {
    pub(super) rows: Vec<Row>,
    collectors: Vec<Box<dyn Collector>>,
}

impl Maker {
    pub(super) fn keep<T: Collector + Clone + 'static>(
        &mut self,
        made: prometheus::Result<T>,
        kind: &'static str,
    ) -> T {
        // Names and labels are constants of the program; a wrong one fails every test.
        #[allow(clippy::expect_used)]
        let handle = made.expect("metric names are valid");
        let desc = handle.desc();
        let (name, labels) = (desc[0].fq_name.clone(), desc[0].variable_labels.clone());
        self.rows.push(Row {
            name,
            kind,
            labels,
            help: desc[0].help.clone(),
        });
        self.collectors.push(Box::new(handle.clone()));
        handle
    }

    pub(super) fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("noded_proxy")
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::with_opts(Self::opts(name, help)), "counter")
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> IntCounterVec {
        with_values(self.counter_pairs(name, help, &[label]), values)
    }

    pub(super) fn counter_pairs(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> IntCounterVec {
        self.keep(
            IntCounterVec::new(Self::opts(name, help), labels),
            "counter",
        )
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::with_opts(Self::opts(name, help)), "gauge")
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Self::opts(name, help), labels), "gauge")
    }

    pub(super) fn gauge_vec(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> IntGaugeVec {
        with_values(self.gauges(name, help, &[label]), values)
    }

    pub(super) fn float_gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.keep(Gauge::with_opts(Self::opts(name, help)), "gauge")
    }

    pub(super) fn float_gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> GaugeVec {
        let made = self.keep(GaugeVec::new(Self::opts(name, help), &[label]), "gauge");
        for value in values {
            made.with_label_values(&[*value]);
        }
        made
    }

    pub(super) fn histogram_opts(name: &str, help: &str) -> HistogramOpts {
        HistogramOpts {
            common_opts: Self::opts(name, help),
            buckets: DURATIONS.to_vec(),
        }
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str) -> Histogram {
        self.keep(
            Histogram::with_opts(Self::histogram_opts(name, help)),
            "histogram",
        )
    }

    pub(super) fn histograms(&mut self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.keep(
            HistogramVec::new(Self::histogram_opts(name, help), labels),
            "histogram",
        )
    }

    pub(super) fn finish(&mut self) -> Registry {
        let registry = Registry::new_custom(None, Some(HashMap::new())).unwrap_or_default();
        self.collectors.push(Box::new(ProcessCollector::for_self()));
        for collector in self.collectors.drain(..) {
            // Fails only for a name used twice, which the test of the table finds.
            let _ = registry.register(collector);
        }
        registry
    }
}

/// The same metric, shown with each of these values of its label from the start, at 0.
fn with_values<B: MetricVecBuilder>(made: MetricVec<B>, values: &[&str]) -> MetricVec<B> {
    for value in values {
        made.with_label_values(&[*value]);
    }
    made
}
