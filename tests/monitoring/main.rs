//! What ships for Prometheus: it fits the metrics, the documentation and the real programs.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `alerts` | each alert rule has its unit test, its paragraph, and metrics that exist |
//! | `metrics` | the metrics and label values that `docs/metrics.md` has |
//! | `tools` | Debian's promtool, or a loud skip |

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test both are what one wants"
)]

mod alerts;
mod metrics;
mod tools;
