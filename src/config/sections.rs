//! The sections of the configuration, each with its defaults.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tracing::warn;

use super::OTHER_FILES;
use super::value::{duration, size};
use crate::proxy::overload::Bounds;
use crate::tls::ServerCertificate;
use crate::trust::WhenIncomplete;
use rules::admission::BootstrapPolicy;
use rules::authz::{BindPeer, Mode};

/// Section `[admission]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Which rule decides.
    pub mode: Mode,
    /// Whether a peer's address must fit its certificate.
    pub bind_peer: BindPeer,
    /// Whether an absent or empty map opens the bootstrap phase, as noded has it.
    pub bootstrap: BootstrapPolicy,
    /// Refuse certificates outside their validity.
    pub reject_expired: bool,
}

/// Section `[client_ca_list]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCaListConfig {
    /// What is sent while some candidate's certificate is not known.
    pub when_incomplete: WhenIncomplete,
}

/// Section `[upstream]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Address of noded.
    pub address: SocketAddr,
    /// Speak TLS to noded: show `server.pem` and accept only `server.pem`.
    pub tls: bool,
    /// Connections to noded at a time; noded's own `--max-clients`.
    pub max_clients: usize,
    /// Of these, kept for procedures whose client waits a minute at most; by default a fifth.
    pub fast_slots: Option<usize>,
    /// Open connections to noded in advance while RPCs arrive.
    pub warm: Warm,
    /// Requests that may wait for a slot.
    pub queue_length: usize,
    /// Longest wait for a slot; the client's own time limit for the procedure bounds it too.
    #[serde(deserialize_with = "duration")]
    pub queue_timeout: Duration,
    /// Time for the TCP connection (and TLS handshake) to noded.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// Time without progress while a request is sent to noded.
    #[serde(deserialize_with = "duration")]
    pub send_timeout: Duration,
}

/// Whether connections to noded are opened in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Warm {
    /// As many as the recent rate of RPCs is worth, none when it is quiet.
    #[default]
    Auto,
    /// None.
    Off,
}

impl UpstreamConfig {
    /// Slots that are kept for the fast lane.
    pub fn fast_slots(&self) -> usize {
        self.fast_slots.unwrap_or(self.max_clients / 5)
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 11811)),
            tls: false,
            max_clients: 20,
            fast_slots: None,
            warm: Warm::Auto,
            queue_length: 1024,
            queue_timeout: Duration::from_secs(900),
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(60),
        }
    }
}

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open client connections.
    pub connections: usize,
    /// TLS handshakes at a time.
    pub handshakes: usize,
    /// TLS handshakes at a time for each source: an IPv4 address, or the first 64 bits of an IPv6 address.
    pub handshakes_per_source: usize,
    /// Of connections and handshakes, kept for candidates' addresses; by default a quarter, at most 64.
    pub reserved: Option<usize>,
    /// Time for a TLS handshake.
    #[serde(deserialize_with = "duration")]
    pub handshake_timeout: Duration,
    /// Time for the head of a request, from the handshake or the previous answer on.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// Largest request body, in bytes.
    #[serde(deserialize_with = "size")]
    pub body: u64,
    /// Request bodies up to this are gathered whole before noded sees any of it.
    #[serde(deserialize_with = "size")]
    pub body_in_memory: u64,
    /// Slowest sender of a body, bytes a second, after a grace of 10 s.
    #[serde(deserialize_with = "size")]
    pub body_rate: u64,
    /// Memory for request and reply bodies of all connections together.
    #[serde(deserialize_with = "size")]
    pub memory: u64,
}

impl Limits {
    /// Of connections and handshakes, how many are kept for candidates' addresses.
    pub fn reserved(&self) -> usize {
        let quarter = self.connections.min(self.handshakes) / 4;
        let default = quarter.min(64);
        self.reserved.unwrap_or(default)
    }

    /// The bounds for a process that may open `files` files and has `upstream` connections to noded.
    pub fn bounds(&self, files: u64, upstream: usize) -> Bounds {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        // A connection that is accepted and cannot be served helps nobody.
        let left = files.saturating_sub(upstream + OTHER_FILES).max(files / 4);
        let connections = self.connections.min(left).max(1);
        if connections < self.connections {
            warn!(
                connections,
                configured = self.connections,
                files,
                "limits.connections is lowered to what the limit on open files allows (LimitNOFILE=)"
            );
        }
        Bounds {
            connections,
            handshakes: self.handshakes,
            handshakes_per_source: self.handshakes_per_source,
            reserved: match connections < self.connections {
                true => self.reserved().min(connections / 4),
                false => self.reserved(),
            },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 512,
            handshakes_per_source: 64,
            reserved: None,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body: 128 << 20,
            body_in_memory: 1 << 20,
            body_rate: 16 << 10,
            memory: 256 << 20,
        }
    }
}

/// Section `[tls]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Also speak to nodes that cannot be upgraded: TLS 1.0, RSA key exchange, 1024-bit keys, SHA-1.
    pub legacy: bool,
    /// Which certificate clients are shown.
    pub certificate: ServerCertificate,
}

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Where to and in what form.
    pub format: LogFormat,
    /// Least important level that is written.
    pub level: LogLevel,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text on standard error.
    #[default]
    Text,
    /// One JSON object a line on standard error.
    Json,
    /// systemd's journal, with fields.
    Journald,
}

/// Level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only our own faults.
    Error,
    /// Also failed reloads and other trouble.
    Warn,
    /// Also each RPC and each refusal.
    #[default]
    Info,
    /// Also peers that vanish.
    Debug,
    /// Everything.
    Trace,
}
