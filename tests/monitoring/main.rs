//! What ships for Prometheus: it fits the metrics, the documentation and the real programs.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `alerts` | each alert rule has its unit test, its paragraph, and metrics that exist |
//! | `dashboard` | each panel has an answer from a real Prometheus that scrapes running proxies |
//! | `metrics` | the metrics and label values that `docs/metrics.md` has |
//! | `scene` | proxies with traffic, and that Prometheus |
//! | `tools` | Debian's promtool and prometheus, or a loud skip |

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test both are what one wants"
)]

mod alerts;
mod dashboard;
mod metrics;
mod scene;
mod tools;
