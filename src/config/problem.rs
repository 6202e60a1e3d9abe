//! What is wrong with the configuration, one line for each problem, and the checks that find it in
//! values.
//!
//! A section checks its own keys, beside their names and defaults. Nothing here knows a key.

use std::fmt::Display;
use std::time::Duration;

/// One thing that is wrong with the configuration, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub(super) String);

/// Looks at the values of one section, and keeps every problem that it finds.
pub(super) struct Checks {
    /// What stands in front of a key's name: `"upstream."`, or nothing for the keys in front of the
    /// sections.
    prefix: &'static str,
    found: Vec<Problem>,
}

impl Checks {
    /// Checks for the section whose keys begin with `prefix`.
    pub(super) fn of(prefix: &'static str) -> Self {
        let found = Vec::new();
        Self { prefix, found }
    }

    /// A key whose value must be `good`.
    pub(super) fn expect(&mut self, key: &str, value: impl Display, good: bool, expected: &str) {
        if !good {
            let line = format!("{}{key} = {value}: expected {expected}", self.prefix);
            self.found.push(Problem(line));
        }
    }

    /// A number that must not be 0.
    pub(super) fn at_least_1(&mut self, key: &str, value: usize) {
        self.expect(key, value, value >= 1, "at least 1");
    }

    /// A time limit: 0 would refuse everything, and a very long one overflows the clock.
    pub(super) fn time_limit(&mut self, key: &str, value: Duration) {
        let bounds = Duration::from_millis(1)..=Duration::from_secs(86_400);
        let shown = humantime::format_duration(value);
        self.expect(key, shown, bounds.contains(&value), "1ms to 1day");
    }

    /// All that was found.
    pub(super) fn done(self) -> Vec<Problem> {
        self.found
    }
}
