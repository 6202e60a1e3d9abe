//! What was counted, and how much of it a second. Pure: it reads the text of `/metrics`, whose names
//! are an interface.

use std::time::Duration;

/// What a proxy has counted since its start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Counts {
    rpcs: f64,
    failed: f64,
    connections: f64,
    refused: f64,
}

/// So many a second.
pub(super) type Rates = Counts;

impl Counts {
    /// What the metrics say.
    pub(super) fn of(metrics: &str) -> Self {
        let rpcs = total(metrics, "noded_proxy_rpcs_total", "");
        Self {
            rpcs,
            failed: rpcs - total(metrics, "noded_proxy_rpcs_total", "code=\"2"),
            connections: total(metrics, "noded_proxy_connections_total", ""),
            refused: total(metrics, "noded_proxy_rejected_connections_total", ""),
        }
    }

    /// From one look to the next. A proxy that was restarted begins at 0 again.
    pub(super) fn between(old: Self, new: Self, time: Duration) -> Rates {
        let seconds = time.as_secs_f64().max(0.001);
        let rate = |of: fn(&Self) -> f64| match of(&new) - of(&old) {
            less if less < 0.0 => of(&new) / seconds,
            more => more / seconds,
        };
        Rates {
            rpcs: rate(|counts| counts.rpcs),
            failed: rate(|counts| counts.failed),
            connections: rate(|counts| counts.connections),
            refused: rate(|counts| counts.refused),
        }
    }

    /// RPCs, and those without a good answer.
    pub(super) fn rpcs(&self) -> [f64; 2] {
        [self.rpcs, self.failed]
    }

    /// Connections, and those that were refused.
    pub(super) fn connections(&self) -> [f64; 2] {
        [self.connections, self.refused]
    }
}

/// The sum of all samples of a metric with these labels.
fn total(metrics: &str, name: &str, label: &str) -> f64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
    let values = samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(0.0, |sum, value| sum + value) // the empty sum() is -0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE noded_proxy_rpcs_total counter
noded_proxy_rpcs_total{code=\"200\",procedure=\"version\"} 30
noded_proxy_rpcs_total{code=\"502\",procedure=\"other\"} 4
noded_proxy_connections_total{result=\"admitted\"} 7
noded_proxy_connections_total{result=\"rejected\"} 3
noded_proxy_connections_open 99
noded_proxy_rejected_connections_total{reason=\"unknown_digest\"} 3
";

    #[test]
    fn counts_are_sums_over_the_labels() {
        let counts = Counts::of(METRICS);
        assert_eq!(
            (counts.rpcs(), counts.connections()),
            ([34.0, 4.0], [10.0, 3.0])
        );
        assert_eq!(Counts::of(""), Counts::default());
    }

    #[test]
    fn rates_are_differences_and_a_restart_is_no_minus() {
        let (old, new) = (Counts::default(), Counts::of(METRICS));
        let two = Duration::from_secs(2);
        assert_eq!(Rates::between(old, new, two).rpcs(), [17.0, 2.0]);
        assert_eq!(Rates::between(new, new, two).connections(), [0.0, 0.0]);
        let restarted = Counts { rpcs: 6.0, ..old };
        assert_eq!(Rates::between(new, restarted, two).rpcs(), [3.0, 0.0]);
    }
}
