//! What the road of an RPC can be told. `config` fills it; nothing here knows a key, a flag or a
//! default.

use std::path::PathBuf;
use std::time::Duration;

use crate::proxy::http::BodyLimits;
use crate::proxy::rpc::LoggedRpcs;

/// Times and sizes that a client is held to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for the head of a request, from the handshake or the previous answer on.
    pub header_timeout: Duration,
    /// Bounds of a request body.
    pub body: BodyLimits,
    /// Memory for request and reply bodies of all connections together, in bytes.
    pub memory: u64,
    /// Disk for long request bodies of all connections together, in bytes.
    pub spool: u64,
    /// Where these are.
    pub spool_directory: PathBuf,
    /// Which RPCs have a log line.
    pub logged: LoggedRpcs,
}
