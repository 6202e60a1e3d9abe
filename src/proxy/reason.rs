//! Why a connection was refused before its first request. It decides nothing:
//! [`connection`](super::connection) and [`listener`](super::listener) refuse, and say why with one
//! of these.

use rules::authz::Denied;
use rules::{named, serde_by_name};

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The rule refuses the peer.
    Denied(Denied),
    /// The client sent no certificate.
    NoCertificate,
    /// The client's certificate is not well formed.
    MalformedCertificate,
    /// The TLS library cannot do with the client's certificate: the kind or usage of its key, or its
    /// size.
    UnusableCertificate,
    /// The handshake failed for another reason (versions, ciphers, not TLS, bad signature).
    ProtocolError,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The client went away in the middle of the handshake.
    PeerClosed,
    /// Too many connections, or too many unfinished handshakes.
    OverLimit,
    /// There is no `server.pem` and the port is held by the service manager.
    NotInCluster,
}

// The label of `noded_proxy_rejected_connections_total`, and the word in log and `/status`.
named!(Reason {
    ..Denied(Denied),
    NoCertificate = "no_certificate",
    MalformedCertificate = "malformed_certificate",
    UnusableCertificate = "unusable_certificate",
    ProtocolError = "protocol_error",
    HandshakeTimeout = "handshake_timeout",
    PeerClosed = "peer_closed",
    OverLimit = "over_limit",
    NotInCluster = "not_in_cluster",
});
serde_by_name!(Reason);
