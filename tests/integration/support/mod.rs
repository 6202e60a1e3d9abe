//! What the tests share: certificates, the proxy under test, clients, and stand-ins for noded.

#![allow(
    dead_code,
    reason = "a kit for many tests, some of it for those to come"
)]

pub(crate) mod client;
pub(crate) mod commands;
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
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(is_so_in_time(is_so), "waited {PATIENCE:?} in vain: {what}");
}

/// Whether it becomes so.
fn is_so_in_time(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
