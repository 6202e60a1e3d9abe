//! The flags that override keys of the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rules::Named;
use rules::authz::Mode;

use super::{LogFormat, LogLevel, Warm};

/// Options of `run`. Each overrides the key of the same name in the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Configuration file [default: /etc/noded-proxy/noded-proxy.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Public listener; may be repeated
    #[arg(
        long,
        value_name = "ADDR:PORT",
        help = "Public listener; may be repeated [default: [::]:1811, IPv4 included]"
    )]
    pub listen: Vec<SocketAddr>,
    /// The local node daemon [default: 127.0.0.1:11811]
    #[arg(long, value_name = "ADDR:PORT")]
    pub upstream: Option<SocketAddr>,
    /// Speak TLS to the node daemon, with server.pem on both sides
    #[arg(long)]
    pub upstream_tls: bool,
    /// Key and certificate of the cluster [default: /var/lib/ganeti/server.pem]
    #[arg(long, value_name = "FILE")]
    pub server_pem: Option<PathBuf>,
    /// Ganeti's ssconf directory [default: /var/lib/ganeti]
    #[arg(long, value_name = "DIR")]
    pub ssconf_dir: Option<PathBuf>,
    /// Candidate map [default: ssconf_master_candidates_certs in the ssconf directory]
    #[arg(long, value_name = "FILE")]
    pub candidate_map: Option<PathBuf>,
    /// Directory of PEM files with candidate certificates
    #[arg(long, value_name = "DIR")]
    pub candidate_certs: Option<PathBuf>,
    /// PEM file with candidate certificates
    #[arg(long, value_name = "FILE")]
    pub candidate_bundle: Option<PathBuf>,
    /// Which rule decides: audit admits every certificate of the cluster and tells what enforce would refuse
    /// [default: enforce]
    #[arg(long, value_name = "MODE", value_parser = mode())]
    pub mode: Option<Mode>,
    /// Where the last good candidate map and learned certificates are kept [default: /var/lib/noded-proxy]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Admin listener: /metrics, /healthz, /status [default: 127.0.0.1:9811]
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,
    /// Connections to the node daemon at a time [default: 20]
    #[arg(long, value_name = "N")]
    pub max_clients: Option<usize>,
    /// Open connections to the node daemon in advance while RPCs arrive [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub warm: Option<Warm>,
    /// Form of the log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Least important level that is logged [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
}

/// `--mode`, by the names that the file takes; `rules` knows no command line.
fn mode() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::all().map(|mode| mode.name()))
        .map(|name| Mode::from_name(&name).unwrap_or_default())
}
