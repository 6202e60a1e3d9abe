//! How noded is reached. Only values: `daemon` fills them from the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

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
    /// Longest wait for a slot.
    pub queue_timeout: Duration,
    /// Open connections in advance while RPCs arrive.
    pub warm: bool,
    /// Cancelled when connections are no longer to be opened in advance.
    pub closing: CancellationToken,
}
