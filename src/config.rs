//! What was configured: defaults, then the file, then the flags, to a [`Config`] that cannot be wrong.
//!
//! No IO beyond reading the file. Every problem is one line that names the key, the value and what was
//! expected, and all problems of the values are reported together.

mod file;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tracing::warn;

use crate::authz::{BindPeer, Mode, Policy};
use crate::candidates::BootstrapPolicy;
use crate::cli::RunArgs;
use crate::overload::Bounds;
use crate::policy;
use crate::sandbox;
use crate::trust::WhenIncomplete;
use value::{duration, size};

pub use file::Problem;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_equals_the_defaults() {
        let sample = include_str!("../config/noded-proxy.toml");
        assert_eq!(file::parse(sample, "sample").unwrap(), Config::default());
        // and with every key uncommented it still does
        let keys: Vec<String> = sample
            .lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| line.strip_prefix('#').unwrap_or(line).to_owned())
            .collect();
        let mut all = file::parse(&keys.join("\n"), "sample").unwrap();
        assert_eq!(all.candidate_map.take(), Some(Config::default().map_path()));
        assert_eq!(
            all.candidate_certs.take(),
            Some("/etc/noded-proxy/candidates".into())
        );
        assert_eq!(
            all.candidate_bundle.take(),
            Some("/etc/noded-proxy/candidates.pem".into())
        );
        assert_eq!(
            all.upstream.fast_slots.take(),
            Some(Config::default().upstream.fast_slots())
        );
        assert_eq!(
            all.limits.reserved.take(),
            Some(Config::default().limits.reserved())
        );
        assert_eq!(all, Config::default());
    }

    #[test]
    fn connections_leave_files_for_everything_else() {
        let limits = Limits::default();
        for (files, connections, reserved) in [
            (u64::MAX, 4096, 64),
            (65_536, 4096, 64),
            (1024, 940, 64),
            (64, 16, 4),
            (1, 1, 0),
        ] {
            let bounds = limits.bounds(files, 20);
            let found = (bounds.connections, bounds.reserved);
            assert_eq!(found, (connections, reserved), "{files}");
        }
    }

    #[test]
    fn the_sample_file_names_every_key() {
        let sample = include_str!("../config/noded-proxy.toml");
        let source = include_str!("config.rs");
        let keys = source.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c == '_')
                .then_some(name)
        });
        let missing: Vec<&str> = keys
            .filter(|key| {
                let sections = [
                    "admission",
                    "client_ca_list",
                    "policy",
                    "upstream",
                    "limits",
                    "log",
                ];
                !sections.contains(key)
            })
            .filter(|key| {
                !sample
                    .lines()
                    .any(|l| l.trim_start_matches('#').starts_with(&format!("{key} =")))
            })
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn problems_name_key_value_and_expectation() {
        let table = [
            (
                "listen = []",
                r#"listen = []: expected at least one ADDR:PORT"#,
            ),
            (
                "upstream.address = '[::]:1811'",
                "upstream.address = [::]:1811: expected another address than listen's own",
            ),
            (
                "upstream.max_clients = 0",
                "upstream.max_clients = 0: expected 1 to 10000",
            ),
            (
                "upstream.fast_slots = 20",
                "upstream.fast_slots = 20: expected less than upstream.max_clients",
            ),
            (
                "limits.reserved = 512",
                "limits.reserved = 512: expected less than limits.connections and limits.handshakes",
            ),
            (
                "limits.header_timeout = '0s'",
                "limits.header_timeout = 0s: expected 1ms to 1day",
            ),
        ];
        for (text, expected) in table {
            let config = file::parse(text, "test").unwrap();
            let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
            assert_eq!(problems, [expected], "{text}");
        }
    }

    #[test]
    fn a_wrong_file_is_one_line_that_names_the_key() {
        let table = [
            ("lisen = 1", "lisen"),
            ("drain_timeout = 'soon'", "drain_timeout"),
            ("drain_timeout = 5", "drain_timeout"),
            ("limits.body = 'much'", "limits.body"),
            ("admin = 'localhost'", "admin"),
            ("log.level = 'loud'", "log.level"),
            ("policy.deny = ['*']", "policy.deny"),
            ("x = [", "line 1"),
        ];
        for (text, key) in table {
            let problem = file::parse(text, "test").unwrap_err().to_string();
            assert!(
                problem.contains(key) && !problem.contains('\n'),
                "{text}: {problem}"
            );
        }
    }
}
