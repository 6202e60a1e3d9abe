//! The flags that override keys of the configuration file, in groups: a command takes the groups
//! that it uses.
//!
//! A flag has the name and the meaning of its key. A group copies what was typed over what the file
//! says; it checks nothing, because `Config::load` checks the result.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rules::Named;
use rules::authz::Mode;

use super::admin::AdminAddress;
use super::keys::Config;
use super::sections::{LogFormat, LogLevel};
use super::upstream::{Guard, Warm};

/// Flags that were typed, and that win over the file.
pub trait Overrides {
    /// Puts what was typed in the place of what the file says.
    fn apply(&self, config: &mut Config);
}

fn set<T: Clone>(key: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        *key = value.clone();
    }
}

fn set_optional<T: Clone>(key: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        key.clone_from(flag);
    }
}

/// Where the configuration file is.
#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// Configuration file [default: /etc/noded-proxy/noded-proxy.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where the public listener is.
#[derive(Debug, Clone, Default, Args)]
pub struct ListenArgs {
    /// Address of the public listener; may be repeated
    #[arg(
        long,
        value_name = "ADDR:PORT",
        help = "Address of the public listener; may be repeated [default: [::]:1811, IPv4 included]"
    )]
    pub listen: Vec<SocketAddr>,
}

/// Where the node daemon is, and how much of it is used.
#[derive(Debug, Clone, Default, Args)]
pub struct UpstreamArgs {
    /// Address of the local node daemon [default: 127.0.0.1:298]
    #[arg(long, value_name = "ADDR:PORT")]
    pub upstream: Option<SocketAddr>,
    /// Speak TLS to the node daemon, with server.pem on both sides
    #[arg(long)]
    pub upstream_tls: bool,
    /// What the guard of noded's port says of itself, or "off"
    /// [default: /run/noded-proxy-guard/state]
    #[arg(long, value_name = "FILE")]
    pub guard: Option<Guard>,
    /// Most connections to the node daemon at a time [default: 20]
    #[arg(long, value_name = "N")]
    pub max_clients: Option<usize>,
}

/// Ganeti's files, and those with candidate certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct TrustArgs {
    /// Key and certificate of the cluster [default: /var/lib/ganeti/server.pem]
    #[arg(long, value_name = "FILE")]
    pub server_pem: Option<PathBuf>,
    /// Directory of Ganeti's ssconf files [default: /var/lib/ganeti]
    #[arg(long, value_name = "DIR")]
    pub ssconf_dir: Option<PathBuf>,
    /// Candidate map [default: ssconf_master_candidates_certs in the ssconf directory]
    #[arg(long, value_name = "FILE")]
    pub candidate_map: Option<PathBuf>,
    /// Directory of PEM files with candidate certificates
    #[arg(long, value_name = "DIR")]
    pub candidate_certs: Option<PathBuf>,
}

/// The one file with candidate certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BundleArgs {
    /// PEM file with candidate certificates
    #[arg(long, value_name = "FILE")]
    pub candidate_bundle: Option<PathBuf>,
}

/// Where the state directory is.
#[derive(Debug, Clone, Default, Args)]
pub struct StateArgs {
    /// Directory of the last good candidate map and the learned certificates
    /// [default: /var/lib/noded-proxy]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Which rule decides.
#[derive(Debug, Clone, Default, Args)]
pub struct ModeArgs {
    /// Which rule decides: audit admits every certificate of the cluster, and counts and logs what
    /// enforce would refuse [default: enforce]
    #[arg(long, value_name = "MODE", value_parser = mode())]
    pub mode: Option<Mode>,
}

/// Where the admin listener is.
#[derive(Debug, Clone, Default, Args)]
pub struct AdminArgs {
    /// Address of the admin listener (/metrics, /healthz, /status), or unix:PATH for its socket; may
    /// be given for both [default: 127.0.0.1:9811]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Vec<AdminAddress>,
}

/// What only a running proxy uses.
#[derive(Debug, Clone, Default, Args)]
pub struct ServiceArgs {
    /// Whether to open connections to the node daemon in advance while RPCs arrive [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub warm: Option<Warm>,
    /// Form of the log [default: journald if standard error is systemd's journal, else text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Least important level that is logged [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
}

impl Overrides for ListenArgs {
    fn apply(&self, config: &mut Config) {
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
    }
}

impl Overrides for UpstreamArgs {
    fn apply(&self, config: &mut Config) {
        set(&mut config.upstream.address, &self.upstream);
        set(&mut config.upstream.guard, &self.guard);
        set(&mut config.upstream.max_clients, &self.max_clients);
        config.upstream.tls |= self.upstream_tls;
    }
}

impl Overrides for TrustArgs {
    fn apply(&self, config: &mut Config) {
        set(&mut config.server_pem, &self.server_pem);
        set(&mut config.ssconf_dir, &self.ssconf_dir);
        set_optional(&mut config.candidate_map, &self.candidate_map);
        set_optional(&mut config.candidate_certs, &self.candidate_certs);
    }
}

impl Overrides for BundleArgs {
    fn apply(&self, config: &mut Config) {
        set_optional(&mut config.candidate_bundle, &self.candidate_bundle);
    }
}

impl Overrides for StateArgs {
    fn apply(&self, config: &mut Config) {
        set(&mut config.state_dir, &self.state_dir);
    }
}

impl Overrides for ModeArgs {
    fn apply(&self, config: &mut Config) {
        set(&mut config.admission.mode, &self.mode);
    }
}

impl Overrides for AdminArgs {
    fn apply(&self, config: &mut Config) {
        self.admin.iter().for_each(|place| config.set_admin(place));
    }
}

impl Overrides for ServiceArgs {
    fn apply(&self, config: &mut Config) {
        set(&mut config.upstream.warm, &self.warm);
        set_optional(&mut config.log.format, &self.log_format);
        set(&mut config.log.level, &self.log_level);
    }
}

/// `--mode`, by the names that the file takes; `rules` knows no command line.
fn mode() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::all().map(|mode| mode.name()))
        .map(|name| Mode::from_name(&name).unwrap_or_default())
}
