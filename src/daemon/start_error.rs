//! How a run ends, or why it cannot begin. It never says what was in a file.

use std::io;
use std::net::SocketAddr;

use super::sandbox;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every RPC ended within the drain timeout.
    Drained,
    /// The drain deadline has passed, with this many connections and exchanges left.
    Cut(usize),
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be opened.
    #[error("{key} = {address}: cannot listen there: {source}")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The sandbox cannot be entered.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// A successor does not take over from a process that has read the files in a better state.
    #[error("{0}")]
    Files(String),
    /// Signals cannot be caught, a thread cannot be started, or the like.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}
