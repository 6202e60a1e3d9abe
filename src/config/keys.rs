//! All keys of the configuration file, with their defaults; a section with keys of its own is a
//! type of its own.
//!
//! It reads nothing. The sample `config/noded-proxy.toml` says the same to people, and a test holds
//! them equal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::admin::{AdminAddress, AdminSocket};
use super::limits::LimitsConfig;
use super::problem::{Checks, Problem};
use super::sections::{
    AdmissionConfig, ClientCaListConfig, LogConfig, MovesConfig, SandboxMode, TlsConfig,
};
use super::upstream::UpstreamConfig;
use super::value::duration;
use rules::policy;
use rules::verify::Allowed;

/// Everything `noded-proxy run` can be told. `config/noded-proxy.toml` shows each key with its
/// default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses of the public listener.
    pub listen: Vec<SocketAddr>,
    /// Address of the admin listener (`/metrics`, `/healthz`, `/status`): plain HTTP, no
    /// authentication.
    pub admin: SocketAddr,
    /// Its socket in the file system; by default in the runtime directory of the unit, if it has one.
    pub admin_socket: Option<AdminSocket>,
    /// The last `--admin`, which is no key: commands ask there.
    #[serde(skip)]
    pub typed_admin: Option<AdminAddress>,
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
    /// How long running RPCs may go on after SIGTERM, and requests may need to reach noded after a
    /// reload.
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
    /// Disk transfers.
    pub moves: MovesConfig,
    /// What `verify` need not tell.
    pub verify: Allowed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0u16; 8], 1811))],
            admin: SocketAddr::from(([127, 0, 0, 1], 9811)),
            admin_socket: None,
            typed_admin: None,
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
            moves: MovesConfig::default(),
            verify: Allowed::default(),
        }
    }
}

impl Config {
    /// The path of the candidate map.
    pub fn map_path(&self) -> PathBuf {
        let default = || self.ssconf_dir.join("ssconf_master_candidates_certs");
        self.candidate_map.clone().unwrap_or_else(default)
    }

    /// Where a command asks the running proxy: where `--admin` says, else at the socket that the file
    /// names, for only the proxy's user can make it.
    pub fn admin_to_ask(&self) -> AdminAddress {
        match (&self.typed_admin, &self.admin_socket) {
            (Some(typed), _) => typed.clone(),
            (None, Some(AdminSocket::At(path))) => AdminAddress::Socket(path.clone()),
            (None, Some(AdminSocket::Off) | None) => AdminAddress::Tcp(self.admin),
        }
    }

    /// Takes one `--admin` in the place of what the file says.
    pub(super) fn set_admin(&mut self, place: &AdminAddress) {
        self.typed_admin = Some(place.clone());
        match place {
            AdminAddress::Tcp(address) => self.admin = *address,
            AdminAddress::Socket(path) => self.admin_socket = Some(AdminSocket::At(path.clone())),
        }
    }

    /// What is wrong with the values, each in one line.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("");
        let listens = !self.listen.is_empty();
        checks.expect("listen", "[]", listens, "at least one ADDR:PORT");
        for key in &self.verify.allow_ssh_keys {
            let good = key.starts_with("SHA256:");
            checks.expect(
                "verify.allow_ssh_keys",
                key,
                good,
                "SHA256:... of ssh-keygen -l",
            );
        }
        let mut found = checks.done();
        found.extend(self.upstream.problems(&self.listen));
        found.extend(self.limits.problems());
        found
    }
}
