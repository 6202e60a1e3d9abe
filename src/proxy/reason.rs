//! Why a connection or a request was refused. It decides nothing:
//! [`connection`](super::connection), [`listener`](super::listener) and [`rpc`](super::rpc) refuse,
//! and say why with one of these.

use super::http::Refusal;
use rules::authz::Denied;
use rules::{named, serde_by_name};

/// Why a connection was refused before its first request.
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

/// What is remembered as a refusal, from the connection to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The connection was refused before a request.
    Connection(Reason),
    /// The request was refused.
    Request(Refusal),
    /// The RPC policy forbids the call.
    Policy,
    /// It was admitted, and left without a request.
    NoRequest,
}

// The word in log and `/status`.
named!(Cause {
    ..Connection(Reason),
    ..Request(Refusal),
    Policy = "policy",
    NoRequest = "no_request",
});
serde_by_name!(Cause);

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        Self::Connection(reason)
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // The rule's word is the same for both.
            Refusal::Denied(denied) => Self::Connection(Reason::Denied(denied)),
            refusal => Self::Request(refusal),
        }
    }
}
