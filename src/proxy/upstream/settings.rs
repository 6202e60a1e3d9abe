//! How noded is reached. Only values: `config` fills them, and nothing here acts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the guard of noded's port is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardWatch {
    /// None is needed: noded speaks TLS.
    NotNeeded,
    /// Nobody looks.
    Off,
    /// This file is what the guard says of itself.
    Says(PathBuf),
}

/// How noded is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// noded's address.
    pub address: SocketAddr,
    /// Speak TLS to it.
    pub tls: bool,
    /// Time for connection and TLS handshake.
    pub connect_timeout: Duration,
    /// Time without progress while a request is sent.
    pub send_timeout: Duration,
    /// Connections to noded at a time.
    pub slots: usize,
    /// Of these, kept for procedures whose client waits a minute at most.
    pub fast_slots: usize,
    /// Requests that may wait for a slot.
    pub queue_length: usize,
    /// Longest wait for a slot.
    pub queue_timeout: Duration,
    /// How the guard of noded's port is watched.
    pub guard: GuardWatch,
    /// Open connections in advance while RPCs arrive.
    pub warm: bool,
}
