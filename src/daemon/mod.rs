//! The running daemon: builds the parts, runs them, shows what they know. It decides about no peer.

pub mod admin;
mod admin_port;
mod admin_socket;
mod announce;
mod bounds;
mod ending;
pub mod handover;
pub mod logging;
pub mod metrics;
mod parts;
pub mod report;
pub mod sandbox;
pub mod server;
mod slot_gauges;
mod start_error;
pub mod systemd;
