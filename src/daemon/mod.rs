//! The running daemon: builds the parts, runs them, shows what they know. It decides about no peer.

pub mod admin;
mod admin_port;
mod announce;
mod bounds;
pub mod handover;
pub mod logging;
pub mod metrics;
pub mod report;
pub mod sandbox;
pub mod server;
pub mod systemd;
