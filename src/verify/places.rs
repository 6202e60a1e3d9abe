//! Where things are on the node, by the configuration. Nothing is looked at here.

use std::path::PathBuf;

/// Where things are on the node.
#[derive(Debug, Clone)]
pub struct Places {
    /// Ganeti's data directory.
    pub data: PathBuf,
    /// `server.pem`; `client.pem` is beside it.
    pub server_pem: PathBuf,
    /// The candidate map.
    pub map: PathBuf,
}
