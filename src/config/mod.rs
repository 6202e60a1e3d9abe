//! What was configured: defaults, then the file, then the flags, to a [`Config`] that cannot be wrong.
//!
//! No IO beyond reading the file. Every problem is one line that names the key, the value and what was
//! expected, and all problems of the values are reported together.

mod file;
mod flags;
mod sections;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::daemon::sandbox;
use rules::authz::Policy;
use rules::policy;
use value::duration;

pub use file::Problem;
pub use flags::RunArgs;
pub use sections::{
    AdmissionConfig, ClientCaListConfig, Limits, LogConfig, LogFormat, LogLevel, TlsConfig,
    UpstreamConfig, Warm,
};

/// Where the configuration is looked for when `--config` is not given. It may be absent.
pub const DEFAULT_FILE: &str = "/etc/noded-proxy/noded-proxy.toml";

/// Files that are open beside connections: listeners, watches, runtime, log, admin clients.
const OTHER_FILES: usize = 64;

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
    pub sandbox: sandbox::Mode,
    /// Who is admitted.
    pub admission: AdmissionConfig,
    /// The names that clients are told to choose their certificate by.
    pub client_ca_list: ClientCaListConfig,
    /// Which procedures may be called.
    pub policy: policy::Policy,
    /// The local node daemon.
    pub upstream: UpstreamConfig,
    /// Bounds on what clients can take.
    pub limits: Limits,
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
            sandbox: sandbox::Mode::Auto,
            admission: AdmissionConfig::default(),
            client_ca_list: ClientCaListConfig::default(),
            policy: policy::Policy::default(),
            upstream: UpstreamConfig::default(),
            limits: Limits::default(),
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

    /// The part of the configuration that the access rule sees.
    pub fn access(&self) -> Policy {
        Policy {
            reject_expired: self.admission.reject_expired,
            bind_peer: self.admission.bind_peer,
            mode: self.admission.mode,
        }
    }

    /// Defaults, file and flags together, with all values checked.
    pub fn load(args: &RunArgs) -> Result<Self, Vec<Problem>> {
        let mut config = match &args.config {
            Some(path) => file::read(path)?,
            None => file::read_if_present(DEFAULT_FILE.as_ref())?,
        };
        config.apply(args);
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    /// Flags win over the file.
    fn apply(&mut self, args: &RunArgs) {
        fn set<T: Clone>(key: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *key = value.clone();
            }
        }
        if !args.listen.is_empty() {
            self.listen.clone_from(&args.listen);
        }
        set(&mut self.admin, &args.admin);
        set(&mut self.server_pem, &args.server_pem);
        set(&mut self.ssconf_dir, &args.ssconf_dir);
        set(&mut self.state_dir, &args.state_dir);
        set(&mut self.upstream.address, &args.upstream);
        set(&mut self.upstream.max_clients, &args.max_clients);
        set(&mut self.upstream.warm, &args.warm);
        set(&mut self.admission.mode, &args.mode);
        set(&mut self.log.format, &args.log_format);
        set(&mut self.log.level, &args.log_level);
        self.upstream.tls |= args.upstream_tls;
        let file = self.candidate_map.take();
        self.candidate_map = args.candidate_map.clone().or(file);
        let file = self.candidate_bundle.take();
        self.candidate_bundle = args.candidate_bundle.clone().or(file);
        let file = self.candidate_certs.take();
        self.candidate_certs = args.candidate_certs.clone().or(file);
    }

    /// What is wrong with the values, each in one line.
    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut check = |good: bool, key: &str, value: &dyn std::fmt::Display, expected: &str| {
            if !good {
                found.push(Problem::value(key, value, expected));
            }
        };
        let (up, lim) = (&self.upstream, &self.limits);
        check(
            !self.listen.is_empty(),
            "listen",
            &"[]",
            "at least one ADDR:PORT",
        );
        let public = self
            .listen
            .iter()
            .any(|l| l.port() != 0 && *l == up.address);
        check(
            !public,
            "upstream.address",
            &up.address,
            "another address than listen's own",
        );
        check(
            up.address.port() != 0,
            "upstream.address",
            &up.address,
            "a port other than 0",
        );
        let clients = 1..=10_000;
        check(
            clients.contains(&up.max_clients),
            "upstream.max_clients",
            &up.max_clients,
            "1 to 10000",
        );
        let fast = self.upstream.fast_slots();
        check(
            fast < up.max_clients.max(1),
            "upstream.fast_slots",
            &fast,
            "less than upstream.max_clients",
        );
        check(
            up.queue_length >= 1,
            "upstream.queue_length",
            &up.queue_length,
            "at least 1",
        );
        check(
            lim.connections >= 1,
            "limits.connections",
            &lim.connections,
            "at least 1",
        );
        check(
            lim.handshakes >= 1,
            "limits.handshakes",
            &lim.handshakes,
            "at least 1",
        );
        check(
            lim.handshakes_per_source >= 1,
            "limits.handshakes_per_source",
            &lim.handshakes_per_source,
            "at least 1",
        );
        check(
            lim.reserved() < lim.connections.min(lim.handshakes).max(1),
            "limits.reserved",
            &lim.reserved(),
            "less than limits.connections and limits.handshakes",
        );
        check(
            lim.body >= 1 << 20,
            "limits.body",
            &lim.body,
            "at least 1 MiB",
        );
        let expected = "at least 64 KiB, at most limits.body";
        let in_memory = (64 << 10..=lim.body).contains(&lim.body_in_memory);
        check(
            in_memory,
            "limits.body_in_memory",
            &lim.body_in_memory,
            expected,
        );
        let expected = "at least 8 times limits.body_in_memory, at most 1 TiB";
        let memory = (lim.body_in_memory.saturating_mul(8)..=1 << 40).contains(&lim.memory);
        check(memory, "limits.memory", &lim.memory, expected);
        check(
            lim.body_rate >= 1,
            "limits.body_rate",
            &lim.body_rate,
            "at least 1 byte a second",
        );
        for (key, value) in [
            ("upstream.connect_timeout", up.connect_timeout),
            ("upstream.send_timeout", up.send_timeout),
            ("upstream.queue_timeout", up.queue_timeout),
            ("limits.handshake_timeout", lim.handshake_timeout),
            ("limits.header_timeout", lim.header_timeout),
        ] {
            let good = (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&value);
            check(good, key, &humantime::format_duration(value), "1ms to 1day");
        }
        found
    }
}

#[cfg(test)]
mod tests;
