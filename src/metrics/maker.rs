//! Makes the handles, and remembers what it made: for the registry, and for the tables in the
//! documentation.
//!
//! What is made is shown from the start, at 0, with each value of a closed label; what only a call
//! can bring (the series of a procedure) comes with the first call. A name that is taken is a fault
//! of the program and never hides the metric that had it first.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, TextEncoder,
};
use rules::Named;

use super::{ByCode, Counters, Family, FloatGauges, Gauges, Histograms, Pairs};

/// Upper bounds of the buckets for durations, in seconds: from the look-up of a digest to an RPC of
/// a day.
const DURATIONS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0,
    3_600.0, 86_400.0,
];

/// What stands in front of each name.
const NAMESPACE: &str = "noded_proxy";

/// One metric, as the documentation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, in order.
    pub labels: Vec<Label>,
    /// Its help text.
    pub help: String,
}

/// One label of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All its values, in the order of the closed list; `None` for an open label.
    pub values: Option<Vec<&'static str>>,
}

impl Label {
    fn open(name: &'static str) -> Self {
        let values = None;
        Self { name, values }
    }

    fn of(name: &'static str, values: &[impl Named]) -> Self {
        let values = values.iter().map(Named::name).collect();
        Self {
            name,
            values: Some(values),
        }
    }

    fn closed<L: Named>(name: &'static str) -> Self {
        Self::of(name, &Vec::from_iter(L::all()))
    }
}

/// Makes handles and remembers them.
#[derive(Default)]
pub(crate) struct Maker {
    rows: Vec<Row>,
    collectors: Vec<Box<dyn Collector>>,
}

impl Maker {
    /// A counter.
    pub(crate) fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        let made = IntCounter::with_opts(opts(name, help));
        self.keep(made, "counter", Vec::new())
    }

    /// A gauge.
    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        let made = IntGauge::with_opts(opts(name, help));
        self.keep(made, "gauge", Vec::new())
    }

    /// A gauge of a time.
    pub(crate) fn float_gauge(&mut self, name: &str, help: &str) -> Gauge {
        let made = Gauge::with_opts(opts(name, help));
        self.keep(made, "gauge", Vec::new())
    }

    /// A histogram of durations.
    pub(crate) fn histogram(&mut self, name: &str, help: &str) -> Histogram {
        let made = Histogram::with_opts(durations(name, help));
        self.keep(made, "histogram", Vec::new())
    }

    /// A counter for each value of `L`.
    pub(crate) fn counters<L: Named>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
    ) -> Counters<L> {
        self.counters_of(name, help, label, &Vec::from_iter(L::all()))
    }

    /// A counter for each of these values, the only ones that it counts.
    pub(crate) fn counters_of<L: Named>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[L],
    ) -> Counters<L> {
        let made = IntCounterVec::new(opts(name, help), &[label]);
        let made = self.keep(made, "counter", vec![Label::of(label, values)]);
        from_the_start(made, values)
    }

    /// A gauge for each value of `L`.
    pub(crate) fn gauges<L: Named>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
    ) -> Gauges<L> {
        let made = IntGaugeVec::new(opts(name, help), &[label]);
        let made = self.keep(made, "gauge", vec![Label::closed::<L>(label)]);
        from_the_start(made, &Vec::from_iter(L::all()))
    }

    /// A gauge for each of these nodes, in their order: those that the master knows, for a file that
    /// outlives this process. Nothing else becomes a label.
    pub(crate) fn gauges_of_nodes(
        &mut self,
        name: &str,
        help: &str,
        nodes: &[&str],
    ) -> Vec<IntGauge> {
        let made = IntGaugeVec::new(opts(name, help), &["node"]);
        let made = self.keep(made, "gauge", vec![Label::open("node")]);
        let nodes = nodes.iter();
        nodes.map(|node| made.with_label_values(&[*node])).collect()
    }

    /// A gauge of a time for each value of `L`.
    pub(crate) fn float_gauges<L: Named>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
    ) -> FloatGauges<L> {
        let made = GaugeVec::new(opts(name, help), &[label]);
        let made = self.keep(made, "gauge", vec![Label::closed::<L>(label)]);
        from_the_start(made, &Vec::from_iter(L::all()))
    }

    /// A counter for each pair of values.
    pub(crate) fn pairs<A: Named, B: Named>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&'static str; 2],
    ) -> Pairs<A, B> {
        let made = IntCounterVec::new(opts(name, help), &labels);
        let labels = vec![Label::closed::<A>(labels[0]), Label::closed::<B>(labels[1])];
        let pairs = Pairs::new(self.keep(made, "counter", labels));
        for first in A::all() {
            B::all().for_each(|second| drop(pairs.of(&first, second)));
        }
        pairs
    }

    /// Counters by a value of `L` and an HTTP status code, each shown once it has counted.
    pub(crate) fn by_code<L: Named>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
    ) -> ByCode<L> {
        let made = IntCounterVec::new(opts(name, help), &[label, "code"]);
        let labels = vec![Label::closed::<L>(label), Label::open("code")];
        ByCode::new(self.keep(made, "counter", labels))
    }

    /// Histograms of durations by a value of `L`, each shown once it has observed something.
    pub(crate) fn histograms<L: Named>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
    ) -> Histograms<L> {
        let made = HistogramVec::new(durations(name, help), &[label]);
        Family::new(self.keep(made, "histogram", vec![Label::closed::<L>(label)]))
    }

    /// A gauge that is always 1, and whose labels say what this program is.
    pub(crate) fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        facts: [(&'static str, &str); N],
    ) {
        let (labels, values) = (facts.map(|(label, _)| label), facts.map(|(_, value)| value));
        let made = IntGaugeVec::new(opts(name, help), &labels);
        let made = self.keep(made, "gauge", labels.map(Label::open).into());
        made.with_label_values(&values).set(1);
    }

    /// All that was made, ready to be shown, with the usual numbers of this process.
    pub(crate) fn finish(mut self) -> Registry {
        self.collectors.push(Box::new(ProcessCollector::for_self()));
        self.finish_for_a_file()
    }

    /// All that was made and nothing else, for a file that outlives this process.
    pub(crate) fn finish_for_a_file(self) -> Registry {
        let registry = prometheus::Registry::new_custom(None, Some(HashMap::new()));
        let registry = registry.unwrap_or_default();
        for collector in self.collectors {
            // Fails only for a name that is used twice, which a test of all metrics finds.
            let _ = registry.register(collector);
        }
        let rows = self.rows;
        Registry { registry, rows }
    }

    fn keep<T: Collector + Clone + 'static>(
        &mut self,
        made: prometheus::Result<T>,
        kind: &'static str,
        labels: Vec<Label>,
    ) -> T {
        // Names and labels are constants of the program; a wrong one fails every test.
        #[allow(clippy::expect_used)]
        let handle = made.expect("metric names are valid");
        let desc = handle.desc();
        let (name, help) = (desc[0].fq_name.clone(), desc[0].help.clone());
        self.rows.push(Row {
            name,
            kind,
            labels,
            help,
        });
        self.collectors.push(Box::new(handle.clone()));
        handle
    }
}

/// All metrics that one maker made.
#[derive(Debug)]
pub struct Registry {
    registry: prometheus::Registry,
    rows: Vec<Row>,
}

impl Registry {
    /// All metrics of our own, for the documentation.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The text that `/metrics` answers with (Prometheus text format 0.0.4).
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn durations(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts {
        common_opts: opts(name, help),
        buckets: DURATIONS.to_vec(),
    }
}

/// The same series, shown with each of these values from the start, at 0.
fn from_the_start<L: Named, B: MetricVecBuilder>(
    series: MetricVec<B>,
    values: &[L],
) -> Family<L, MetricVec<B>> {
    let family = Family::new(series);
    for value in values {
        family.of(value);
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Colour {
        Red,
        Green,
    }
    rules::named!(Colour {
        Red = "red",
        Green = "green",
    });

    #[derive(Debug, Clone, Copy)]
    enum Size {
        Small,
        Large,
    }
    rules::named!(Size {
        Small = "small",
        Large = "large",
    });

    /// The samples of the registry, without those of the process.
    fn samples(registry: &Registry) -> Vec<String> {
        let text = registry.render();
        let ours = text.lines().filter(|line| line.starts_with(NAMESPACE));
        ours.map(str::to_owned).collect()
    }

    #[test]
    fn each_value_of_a_closed_label_is_shown_from_the_start() {
        let mut make = Maker::default();
        let counters = make.counters::<Colour>("a_total", "A", "colour");
        let gauges = make.gauges::<Colour>("b", "B", "colour");
        make.float_gauges::<Colour>("c", "C", "colour");
        make.pairs::<Colour, Size>("d_total", "D", ["colour", "size"]);
        make.counters_of("e_total", "E", "colour", &[Colour::Green]);
        let registry = make.finish();
        counters.of(Colour::Red).inc();
        gauges.only(Some(Colour::Green));
        let expected = [
            "noded_proxy_a_total{colour=\"green\"} 0",
            "noded_proxy_a_total{colour=\"red\"} 1",
            "noded_proxy_b{colour=\"green\"} 1",
            "noded_proxy_b{colour=\"red\"} 0",
            "noded_proxy_c{colour=\"green\"} 0",
            "noded_proxy_c{colour=\"red\"} 0",
            "noded_proxy_d_total{colour=\"green\",size=\"large\"} 0",
            "noded_proxy_d_total{colour=\"green\",size=\"small\"} 0",
            "noded_proxy_d_total{colour=\"red\",size=\"large\"} 0",
            "noded_proxy_d_total{colour=\"red\",size=\"small\"} 0",
            "noded_proxy_e_total{colour=\"green\"} 0",
        ];
        assert_eq!(samples(&registry), expected);
        gauges.only(None);
        assert!(samples(&registry).contains(&"noded_proxy_b{colour=\"green\"} 0".into()));
    }

    #[test]
    fn what_only_a_call_brings_comes_with_the_first_one() {
        let mut make = Maker::default();
        let counters = make.by_code::<Size>("a_total", "A", "size");
        let histograms = make.histograms::<Size>("b_seconds", "B", "size");
        let registry = make.finish();
        assert!(samples(&registry).is_empty());
        counters.of(Size::Small, 404).inc();
        histograms.of(Size::Large).observe(0.2);
        let shown = samples(&registry);
        assert_eq!(
            shown[0],
            "noded_proxy_a_total{code=\"404\",size=\"small\"} 1"
        );
        let last = "noded_proxy_b_seconds_count{size=\"large\"} 1";
        assert_eq!(shown.last().map(String::as_str), Some(last));
    }

    #[test]
    fn a_row_says_what_was_made() {
        let mut make = Maker::default();
        make.counters::<Colour>("a_total", "A", "colour");
        make.info("b_info", "B", [("version", "1")]);
        let registry = make.finish();
        let [counters, info] = registry.rows() else {
            panic!("{:?}", registry.rows())
        };
        assert_eq!((counters.kind, &*counters.help), ("counter", "A"));
        assert_eq!(counters.name, "noded_proxy_a_total");
        assert_eq!(counters.labels[0].values, Some(vec!["red", "green"]));
        assert_eq!(info.labels, [Label::open("version")]);
        let shown = "noded_proxy_b_info{version=\"1\"} 1";
        assert!(samples(&registry).contains(&shown.into()));
    }
}
