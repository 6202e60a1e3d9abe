//! What was configured: defaults, then the file, then the flags, to a [`Config`] that cannot be wrong, and from
//! there to the settings of each part ([`Config::proxy_settings`] and its neighbours).
//!
//! It reads the configuration file and does nothing else: no other file, no socket, no log line. Only `daemon`
//! and `commands` name it; the parts below have settings of their own and know no key. Every problem is one line
//! that names the key, the value and what was expected, and all problems of the values are reported together.

mod file;
mod flags;
mod limits;
mod problem;
mod sections;
mod settings;
mod upstream;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use problem::Checks;
use rules::policy;
use value::duration;

pub use flags::{
    AdminArgs, BundleArgs, FileArgs, ListenArgs, ModeArgs, Overrides, ServiceArgs, StateArgs,
    TrustArgs, UpstreamArgs,
};
pub use limits::LimitsConfig;
pub use problem::Problem;
pub use sections::{
    AdmissionConfig, ClientCaListConfig, LogConfig, LogFormat, LogLevel, SandboxMode, TlsConfig,
};
pub use upstream::{UpstreamConfig, Warm};

/// Where the configuration is looked for when `--config` is not given. It may be absent.
pub const DEFAULT_FILE: &str = "/etc/noded-proxy/noded-proxy.toml";

/// Everything `noded-proxy run` can be told. `config/noded-proxy.toml` shows each key with its default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses of the public listener.
    pub listen: Vec<SocketAddr>,
    /// Address of the admin listener (`/metrics`, `/healthz`, `/status`): plain HTTP, no authentication.
    pub admin: SocketAddr,
    /// Key and certificate of the cluster, as Ganeti keeps them.
    pub server_pem: PathBuf,
    /// Directory of Ganeti's ssconf files.
    pub ssconf_dir: PathBuf,
    /// The candidate map; by default `ssconf_master_candidates_certs` in `ssconf_dir`.
    pub candidate_map: Option<PathBuf>,
    /// Directory of PEM files with candidate certificates.
    pub candidate_certs: Option<PathBuf>,
    /// PEM bundle with candidate certificates.
    pub candidate_bundle: Option<PathBuf>,
    /// Where the last good map and learned certificates are kept.
    pub state_dir: PathBuf,
    /// How long running RPCs may go on after SIGTERM.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
    /// Landlock and `no_new_privs` for this process.
    pub sandbox: SandboxMode,
    /// Who is admitted.
    pub admission: AdmissionConfig,
    /// The names that clients are told to choose their certificate by.
    pub client_ca_list: ClientCaListConfig,
    /// Which procedures may be called.
    pub policy: policy::Policy,
    /// The local node daemon.
    pub upstream: UpstreamConfig,
    /// Bounds on what clients can take.
    pub limits: LimitsConfig,
    /// The TLS side of the listener.
    pub tls: TlsConfig,
    /// Logging.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0u16; 8], 1811))],
            admin: SocketAddr::from(([127, 0, 0, 1], 9811)),
            server_pem: "/var/lib/ganeti/server.pem".into(),
            ssconf_dir: "/var/lib/ganeti".into(),
            candidate_map: None,
            candidate_certs: None,
            candidate_bundle: None,
            state_dir: "/var/lib/noded-proxy".into(),
            drain_timeout: Duration::from_secs(60),
            sandbox: SandboxMode::Auto,
            admission: AdmissionConfig::default(),
            client_ca_list: ClientCaListConfig::default(),
            policy: policy::Policy::default(),
            upstream: UpstreamConfig::default(),
            limits: LimitsConfig::default(),
            tls: TlsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// The path of the candidate map.
    pub fn map_path(&self) -> PathBuf {
        let default = || self.ssconf_dir.join("ssconf_master_candidates_certs");
        self.candidate_map.clone().unwrap_or_else(default)
    }

    /// Defaults, file and flags together, with all values checked.
    pub fn load(file: &FileArgs, flags: &[&dyn Overrides]) -> Result<Self, Vec<Problem>> {
        let mut config = match &file.config {
            Some(path) => file::read(path)?,
            None => file::read_if_present(DEFAULT_FILE.as_ref())?,
        };
        flags.iter().for_each(|group| group.apply(&mut config));
        let problems = config.problems();
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }

    /// What is wrong with the values, each in one line.
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("");
        let listens = !self.listen.is_empty();
        checks.expect("listen", "[]", listens, "at least one ADDR:PORT");
        let mut found = checks.done();
        found.extend(self.upstream.problems(&self.listen));
        found.extend(self.limits.problems());
        found
    }
}

#[cfg(test)]
mod tests;
