//! What the tests share: certificates, the proxy under test, clients, and stand-ins for noded.

#![allow(
    dead_code,
    reason = "a kit for many tests, some of it for those to come"
)]

pub(crate) mod client;
pub(crate) mod der;
pub(crate) mod handing;
pub(crate) mod impostor;
pub(crate) mod lab;
pub(crate) mod manager;
pub(crate) mod piped;
pub(crate) mod pki;
pub(crate) mod proxy;
pub(crate) mod stage;
pub(crate) mod stub;

use std::time::{Duration, Instant};

/// Longest wait for anything that must happen. It bounds a failing test; a good one never waits so
/// long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `what` is true; fails the test if it does not become so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
