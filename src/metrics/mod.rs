//! The maker of metrics: counters, gauges and histograms, and the text in which they are shown.
//!
//! Each folder that counts has a `Metrics` struct of its own beside the code that counts, made here
//! by one `Maker`; `daemon::metrics` owns them all. This folder knows what a metric is, never
//! which metrics there are. It is the only one that names the `prometheus` crate.
//!
//! There are no globals. A label never holds an address, a digest, a path or anything else that a
//! peer chose: its values are those of a closed list ([`Named`](rules::Named)), or an HTTP status
//! code.

mod family;
mod maker;

pub use family::{ByCode, Counters, Family, FloatGauges, Gauges, Histograms, Pairs};
pub use maker::{Label, Registry, Row};
pub use prometheus::{Gauge as FloatGauge, Histogram, IntCounter as Counter, IntGauge as Gauge};

pub(crate) use maker::Maker;
