//! Section `[limits]`: bounds on what clients can take. It does not know how many files the process
//! may open.

use std::time::Duration;

use serde::Deserialize;

use super::problem::{Checks, Problem};
use super::value::{duration, size, some_size};

/// Least memory for bodies.
const LEAST_MEMORY: u64 = 512 << 10;

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
    /// Request bodies up to this wait in memory, longer ones in a file in the state directory; by
    /// default 16 MiB, but no more than `body` and an eighth of `memory`.
    #[serde(deserialize_with = "some_size")]
    pub body_in_memory: Option<u64>,
    /// Slowest sender of a body, bytes a second, after a grace of 10 s.
    #[serde(deserialize_with = "size")]
    pub body_rate: u64,
    /// Disk for long request bodies of all connections together; by default 4 GiB, or twice `body`
    /// if that is more.
    #[serde(deserialize_with = "some_size")]
    pub spool: Option<u64>,
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
            body_in_memory: None,
            body_rate: 16 << 10,
            spool: None,
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

    /// Request bodies up to this wait in memory.
    pub fn body_in_memory(&self) -> u64 {
        let default = self.body.min(self.memory / 8).min(16 << 20);
        self.body_in_memory.unwrap_or(default)
    }

    /// Disk for long request bodies.
    pub fn spool(&self) -> u64 {
        let default = self.body.saturating_mul(2).max(4 << 30);
        self.spool.unwrap_or(default)
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
        let whole = self.body_in_memory();
        let good = self.memory < LEAST_MEMORY || (64 << 10..=self.body).contains(&whole);
        let expected = "at least 64 KiB, at most limits.body";
        checks.expect("body_in_memory", whole, good, expected);
        let (rate, expected) = (self.body_rate, "at least 1 byte a second");
        checks.expect("body_rate", rate, rate >= 1, expected);
        let least = whole.saturating_mul(8).max(LEAST_MEMORY);
        let good = (least..=1 << 40).contains(&self.memory);
        let expected = "at least 512 KiB and 8 times limits.body_in_memory, at most 1 TiB";
        checks.expect("memory", self.memory, good, expected);
        let spool = self.spool();
        let good = (self.body.saturating_mul(2)..=1 << 50).contains(&spool);
        let expected = "at least 2 times limits.body, at most 1024 TiB";
        checks.expect("spool", spool, good, expected);
        checks.done()
    }
}
