//! The small sections of the configuration, whose values cannot be wrong once they are read.
//!
//! A section with bounds to check has a file of its own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::proxy::rpc::LoggedRpcs;
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

/// Section `[tls]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Also speak to nodes that cannot be upgraded: TLS 1.0, RSA key exchange, 1024-bit keys,
    /// SHA-1.
    pub legacy: bool,
    /// Which certificate clients are shown.
    pub certificate: ServerCertificate,
}

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Where to and in what form; by default the journal if standard error leads there, else text.
    pub format: Option<LogFormat>,
    /// Least important level that is written.
    pub level: LogLevel,
    /// Which RPCs have a line.
    pub rpcs: LoggedRpcs,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text for each event, on standard error
    Text,
    /// One JSON object for each event, on standard error
    Json,
    /// systemd's journal, with fields
    Journald,
}

/// Level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only our own faults
    Error,
    /// Also failed reloads and other trouble
    Warn,
    /// Also each RPC and each refusal
    #[default]
    Info,
    /// Also peers that vanish
    Debug,
    /// Everything
    Trace,
}

/// Key `sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// As much as the kernel can.
    #[default]
    Auto,
    /// All layers, or no start.
    Require,
    /// None.
    Off,
}

/// Section `[moves]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MovesConfig {
    /// Where the numbers of disk transfers are written.
    pub metrics: MovesMetrics,
}

/// Key `moves.metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MovesMetrics {
    /// In this file, if its directory exists.
    At(PathBuf),
    /// Nowhere.
    Off,
}

impl Default for MovesMetrics {
    fn default() -> Self {
        // Where Debian's node_exporter looks.
        Self::At("/var/lib/prometheus/node-exporter/noded-proxy-moves.prom".into())
    }
}

impl<'de> Deserialize<'de> for MovesMetrics {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let path = Path::new(&text);
        match text.as_str() {
            "off" => Ok(Self::Off),
            _ if path.is_absolute() && path.extension().is_some_and(|end| end == "prom") => {
                Ok(Self::At(path.into()))
            }
            _ => Err(serde::de::Error::custom(
                "expected an absolute path that ends with .prom, or \"off\"",
            )),
        }
    }
}
