//! What can go wrong between us and noded, and what the client is told of it.
//!
//! An error names whose fault it is: noded's or ours. It is never retried: noded may have begun to
//! work.

use std::time::Duration;

use hyper::StatusCode;

use rules::named;

/// Why noded gave no whole answer. The words follow "noded at ADDR:PORT: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue in front of the slots is full.
    #[error("busy: {in_use} RPCs running, {waiting} waiting, the queue is full for this caller")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
        /// Slots in use.
        in_use: usize,
    },
    /// No slot became free in time.
    #[error("busy: no slot came free in time ({in_use} RPCs running, {waiting} waiting)")]
    QueueTimeout {
        /// Requests that wait.
        waiting: usize,
        /// Slots in use.
        in_use: usize,
    },
    /// The connection was refused or failed.
    #[error(
        "cannot be reached: {0}: does ganeti-noded run, with the port of upstream.address in \
         NODED_ARGS?"
    )]
    Connect(String),
    /// noded did not accept the connection in time.
    #[error("did not accept the connection within {} s", .0.as_secs_f64())]
    ConnectTimeout(Duration),
    /// Somebody else listens on noded's port, or holds the other end of the connection.
    #[error(
        "impersonated: a process of uid {0} listens there, which is neither root's nor the \
             proxy's: nothing was sent"
    )]
    Impersonated(u32),
    /// It cannot be told who listens on noded's port.
    #[error("cannot tell whose the connection is: {0}: nothing was sent")]
    OwnerUnknown(String),
    /// The TLS handshake with noded failed, or there is no `server.pem` for it.
    #[error(
        "TLS: {0} (upstream.tls = true is for a noded that speaks TLS, shows this server.pem and \
         takes it from its clients: not for one with --no-ssl in NODED_ARGS, nor for one with a \
         candidate map, which needs --no-ssl and upstream.tls = false)"
    )]
    Tls(String),
    /// noded speaks TLS, and it is spoken to without.
    #[error(
        "speaks TLS: it was started without --no-ssl: add it to NODED_ARGS in \
         /etc/default/ganeti and restart ganeti-noded, or set upstream.tls = true"
    )]
    SpeaksTls,
    /// The request could not be sent whole.
    #[error("the request could not be sent: {0}")]
    Send(String),
    /// noded took no more of the request for `send_timeout`.
    #[error("did not read the request in time")]
    SendTimeout,
    /// noded closed without a byte of an answer, as it does for unknown procedures.
    #[error("closed the connection without an answer ({0}); it does so for unknown procedures")]
    EmptyReply(String),
    /// noded closed in the middle of its answer.
    #[error("closed the connection in the middle of its answer ({0})")]
    CutReply(String),
    /// The answer is not what noded sends.
    #[error("its answer is not understood: {0}")]
    BadReply(String),
    /// The caller left the candidate map, or its role changed, while there was no connection yet.
    #[error("was not asked: the caller has left the candidate map, or is in another role now")]
    Withdrawn,
    /// This process was replaced, and noded has nothing of the request yet.
    #[error("was not asked: a new process of the proxy serves since: call again")]
    Superseded,
    /// Our own fault.
    #[error("internal error: {0}")]
    Internal(String),
}

// The kind's name, as in the label of `noded_proxy_upstream_errors_total`.
named!(Error {
    QueueFull { waiting: 0, in_use: 0 } = "queue_full",
    QueueTimeout { waiting: 0, in_use: 0 } = "queue_timeout",
    Connect(String::new()) = "connect",
    ConnectTimeout(Duration::ZERO) = "connect_timeout",
    Impersonated(0) = "impersonated",
    OwnerUnknown(String::new()) = "owner_unknown",
    Tls(String::new()) = "tls",
    SpeaksTls = "speaks_tls",
    Send(String::new()) = "send",
    SendTimeout = "send_timeout",
    EmptyReply(String::new()) = "empty_reply",
    CutReply(String::new()) = "cut_reply",
    BadReply(String::new()) = "bad_reply",
    Withdrawn = "withdrawn",
    Superseded = "superseded",
    Internal(String::new()) = "internal",
});

impl Error {
    /// Whether noded cannot be reached at all.
    pub(super) fn is_down(&self) -> bool {
        matches!(
            self,
            Self::Connect(..)
                | Self::ConnectTimeout(..)
                | Self::Tls(..)
                | Self::SpeaksTls
                | Self::Impersonated(_)
                | Self::OwnerUnknown(_)
        )
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::QueueFull { .. } | Self::QueueTimeout { .. } | Self::Superseded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Connect(..) | Self::Tls(..) | Self::Send(_) => StatusCode::BAD_GATEWAY,
            Self::Impersonated(_) | Self::OwnerUnknown(_) => StatusCode::BAD_GATEWAY,
            Self::SpeaksTls => StatusCode::BAD_GATEWAY,
            Self::Withdrawn => StatusCode::FORBIDDEN,
            Self::EmptyReply(_) | Self::CutReply(_) | Self::BadReply(_) => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout(..) | Self::SendTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
