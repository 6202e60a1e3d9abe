//! Section `[limits]`: bounds on what clients can take. It does not know how many files the process
//! may open.

use std::time::Duration;

use serde::Deserialize;

use super::problem::{Checks, Problem};
use super::value::{duration, size};

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Open client connections.
    pub connections: usize,
    /// TLS handshakes at a time.
    pub handshakes: usize,
    /// TLS handshakes at a time for each source: an IPv4 address, or the first 64 bits of an IPv6
    /// address.
    pub handshakes_per_source: usize,
    /// Of connections and handshakes, kept for candidates' addresses; by default a quarter, at most
    /// 64.
    pub reserved: Option<usize>,
    /// Time for a TLS handshake.
    #[serde(deserialize_with = "duration")]
    pub handshake_timeout: Duration,
    /// Time for the head of a request, from the handshake or the previous answer on.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// Largest request body, in bytes.
    #[serde(deserialize_with = "size")]
    pub body: u64,
    /// Request bodies up to this wait in memory, longer ones in a file in the state directory.
    #[serde(deserialize_with = "size")]
    pub body_in_memory: u64,
    /// Slowest sender of a body, bytes a second, after a grace of 10 s.
    #[serde(deserialize_with = "size")]
    pub body_rate: u64,
    /// Disk for long request bodies of all connections together.
    #[serde(deserialize_with = "size")]
    pub spool: u64,
    /// Memory for request and reply bodies of all connections together.
    #[serde(deserialize_with = "size")]
    pub memory: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 512,
            handshakes_per_source: 64,
            reserved: None,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body: 128 << 20,
            body_in_memory: 1 << 20,
            body_rate: 16 << 10,
            spool: 4 << 30,
            memory: 256 << 20,
        }
    }
}

impl LimitsConfig {
    /// Of connections and handshakes, how many are kept for candidates' addresses.
    pub fn reserved(&self) -> usize {
        let quarter = self.connections.min(self.handshakes) / 4;
        let default = quarter.min(64);
        self.reserved.unwrap_or(default)
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("limits.");
        checks.at_least_1("connections", self.connections);
        checks.at_least_1("handshakes", self.handshakes);
        checks.at_least_1("handshakes_per_source", self.handshakes_per_source);
        let (reserved, of) = (self.reserved(), self.connections.min(self.handshakes));
        let expected = "less than limits.connections and limits.handshakes";
        checks.expect("reserved", reserved, reserved < of.max(1), expected);
        checks.time_limit("handshake_timeout", self.handshake_timeout);
        checks.time_limit("header_timeout", self.header_timeout);
        checks.expect("body", self.body, self.body >= 1 << 20, "at least 1 MiB");
        let whole = self.body_in_memory;
        let good = (64 << 10..=self.body).contains(&whole);
        let expected = "at least 64 KiB, at most limits.body";
        checks.expect("body_in_memory", whole, good, expected);
        let (rate, expected) = (self.body_rate, "at least 1 byte a second");
        checks.expect("body_rate", rate, rate >= 1, expected);
        let good = (whole.saturating_mul(8)..=1 << 40).contains(&self.memory);
        let expected = "at least 8 times limits.body_in_memory, at most 1 TiB";
        checks.expect("memory", self.memory, good, expected);
        let good = (self.body.saturating_mul(2)..=1 << 50).contains(&self.spool);
        let expected = "at least 2 times limits.body, at most 1024 TiB";
        checks.expect("spool", self.spool, good, expected);
        checks.done()
    }
}
