//! From files to a published snapshot: read all, build all, and swap it whole or keep the old one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::files::{self, Found, Stamp};
use super::ssconf::{self, Ssconf};
use super::state::{Remembered, State};
use super::{Snapshot, Store, Tls};
use crate::candidates::{
    Admission, BootstrapPolicy, LastGood, MAX_BYTES, MapFile, Resolved, Server, parse, resolve,
};
use crate::metrics::Metrics;
use crate::tls::{Acceptor, Connector, Credentials, Gate, Profile};

/// Largest `server.pem` that is read, in bytes.
const MAX_PEM: usize = 1 << 20;

/// The files that a [`Reloader`] reads.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The candidate map.
    pub map: PathBuf,
    /// Key and certificate of the cluster.
    pub server_pem: PathBuf,
    /// Ganeti's ssconf directory.
    pub ssconf_dir: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
}

/// Reads the files and publishes what they say. One thread owns it.
pub struct Reloader {
    paths: Paths,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    bootstrap: BootstrapPolicy,
    profile: Profile,
    gate: Gate,
    state: State,
    latch_damaged: bool,
    last_good: Option<LastGood>,
    identity: Option<Identity>,
    ssconf: Ssconf,
    reported: Option<(Admission, Server)>,
    reported_faults: Vec<String>,
}

/// The server identity in force, with the bytes it was made of.
struct Identity {
    pem: Vec<u8>,
    tls: Tls,
}

impl Reloader {
    /// A reloader that has read nothing yet but its own state file.
    pub fn new(
        paths: Paths,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        bootstrap: BootstrapPolicy,
        profile: Profile,
    ) -> Self {
        let mut state = State::new(&paths.state_dir);
        let (last_good, latch_damaged) = match state.load() {
            Remembered::Nothing => (None, false),
            Remembered::Map(good) => (Some(good), false),
            Remembered::Damaged(why) => {
                metrics.reload_failures.with_label_values(&["state"]).inc();
                error!(file = %state.path().display(), why,
                    "the last good candidate map cannot be read back; the bootstrap phase stays closed");
                (None, true)
            }
        };
        let admission = Arc::downgrade(&store);
        let gate: Gate = Arc::new(move |peer| {
            admission
                .upgrade()
                .is_some_and(|store| store.authorise(peer).is_ok())
        });
        Self {
            paths,
            store,
            metrics,
            bootstrap,
            profile,
            gate,
            state,
            latch_damaged,
            last_good,
            identity: None,
            ssconf: Ssconf::default(),
            reported: None,
            reported_faults: Vec::new(),
        }
    }

    /// All files that are read again when they change.
    pub(super) fn watched(&self) -> impl Iterator<Item = PathBuf> {
        let ssconf = ssconf::FILES.map(|name| self.paths.ssconf_dir.join(name));
        let own = [self.paths.map.clone(), self.paths.server_pem.clone()];
        own.into_iter().chain(ssconf)
    }

    /// Stamps of the watched files, to notice changes that no event told.
    pub(super) fn stamps(&self) -> Vec<Option<Stamp>> {
        self.watched().map(|path| Stamp::of(&path)).collect()
    }

    /// Reads everything again and publishes it if it says something new. Returns whether all is well;
    /// if not, reading again after a moment may help (a file caught in the middle of its writing).
    pub fn reload(&mut self) -> bool {
        let mut faults = Vec::new();
        let (server, identity_changed) = self.reload_identity(&mut faults);
        let map = self.read_map();
        let map_state = map.state();
        let found = map.to_string();
        let policy = if self.latch_damaged {
            BootstrapPolicy::Refuse
        } else {
            self.bootstrap
        };
        let resolved = resolve(map, server, self.last_good.take(), policy);
        if resolved.stale {
            faults.push(format!(
                "candidate map {}: {found}",
                self.paths.map.display()
            ));
            self.metrics
                .reload_failures
                .with_label_values(&["candidate_map"])
                .inc();
        }
        let before = faults.len();
        self.ssconf.read(&self.paths.ssconf_dir, &mut faults);
        if faults.len() > before {
            self.metrics
                .reload_failures
                .with_label_values(&["ssconf"])
                .inc();
        }
        self.publish(&resolved, map_state, identity_changed, &faults);
        self.report(&resolved.admission, server, &faults);
        self.remember(resolved, server);
        faults.is_empty()
    }

    fn read_map(&self) -> MapFile {
        match files::read(&self.paths.map, MAX_BYTES) {
            Found::Absent => MapFile::Absent,
            Found::TooLarge => MapFile::TooLarge,
            Found::Unreadable(why) => MapFile::Unreadable(why),
            Found::Content(text) => parse(&text),
        }
    }

    /// Takes a new `server.pem` into force, or says what is wrong with it and keeps the old one.
    /// Returns what is known of it, and whether the identity in force changed.
    fn reload_identity(&mut self, faults: &mut Vec<String>) -> (Server, bool) {
        let known = |identity: &Option<Identity>| match identity {
            Some(identity) => Server::Known(identity.tls.server.digest),
            None => Server::Faulty,
        };
        let fault = match files::read(&self.paths.server_pem, MAX_PEM) {
            Found::Absent => return (Server::Absent, self.identity.take().is_some()),
            Found::Content(pem) if self.identity.as_ref().is_some_and(|i| i.pem == pem) => {
                return (known(&self.identity), false);
            }
            Found::Content(pem) => match self.build(&pem) {
                Ok(tls) => {
                    self.identity = Some(Identity { pem, tls });
                    return (known(&self.identity), true);
                }
                Err(error) => error.to_string(),
            },
            Found::TooLarge => format!("the file has more than {MAX_PEM} bytes"),
            Found::Unreadable(why) => format!("the file cannot be read: {why}"),
        };
        faults.push(format!(
            "server.pem {}: {fault}",
            self.paths.server_pem.display()
        ));
        self.metrics
            .reload_failures
            .with_label_values(&["server_pem"])
            .inc();
        (known(&self.identity), false)
    }

    fn build(&self, pem: &[u8]) -> Result<Tls, crate::tls::CredentialsError> {
        let credentials = Credentials::from_pem(pem)?;
        Ok(Tls {
            acceptor: Acceptor::new(&credentials, self.profile, Arc::clone(&self.gate))?,
            connector: Connector::new(&credentials, self.profile)?,
            server: credentials.info(),
        })
    }

    fn publish(
        &self,
        resolved: &Resolved,
        map_state: &'static str,
        identity_changed: bool,
        faults: &[String],
    ) {
        let old = self.store.snapshot();
        let same_rule = old.admission == resolved.admission && !identity_changed;
        let told = Ssconf {
            candidate_addresses: Arc::clone(&old.candidate_addresses),
            primary_addresses: Arc::clone(&old.primary_addresses),
            master_node: old.master_node.clone(),
        };
        let same_words = old.faults == faults && old.map_state == map_state && told == self.ssconf;
        let metrics = &self.metrics;
        for state in MapFile::STATES {
            let now = i64::from(state == map_state);
            metrics.map_state.with_label_values(&[state]).set(now);
        }
        metrics.map_stale.set(i64::from(resolved.stale));
        metrics.map_entries.set(resolved.admission.entries() as i64);
        let map_loaded = match map_state {
            "listed" => Some(SystemTime::now()),
            _ => old.map_loaded,
        };
        let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        if let Some(since) = map_loaded.and_then(unix) {
            metrics.map_last_good.set(since.as_secs_f64());
        }
        if same_rule && same_words && old.generation > 0 {
            return; // Ganeti rewrites the map on almost every change of its configuration
        }
        let tls = self.identity.as_ref().map(|i| i.tls.clone());
        let not_after = tls.as_ref().map_or(0, |tls| tls.server.not_after);
        metrics
            .not_after
            .with_label_values(&["server_pem"])
            .set(not_after as f64);
        if !same_rule {
            metrics.reloads.inc();
        }
        self.store.publish(Snapshot {
            generation: 0, // set by the store
            admission: resolved.admission.clone(),
            tls,
            map_state,
            map_loaded,
            candidate_addresses: Arc::clone(&self.ssconf.candidate_addresses),
            primary_addresses: Arc::clone(&self.ssconf.primary_addresses),
            master_node: self.ssconf.master_node.clone(),
            faults: faults.to_vec(),
        });
    }

    /// One log line for each change, none for what was told already.
    fn report(&mut self, admission: &Admission, server: Server, faults: &[String]) {
        let news = Some((admission.clone(), server));
        if self.reported != news {
            let server = match server {
                Server::Known(digest) => digest.to_string(),
                Server::Absent | Server::Faulty => "none".into(),
            };
            match admission {
                Admission::Listed(map) => {
                    info!(entries = map.entries(), server, "candidate map in force");
                }
                Admission::Bootstrap(_) => warn!(
                    server,
                    "no candidate map: bootstrap phase, the certificate of server.pem is admitted"
                ),
                Admission::Nobody(why) => info!(server, %why, "nobody is admitted"),
            }
            self.reported = news;
        }
        if self.reported_faults != faults {
            for fault in faults {
                error!(fault, "file refused, what was in force stays in force");
            }
            if faults.is_empty() {
                info!("all files are good again");
            }
            self.reported_faults = faults.to_vec();
        }
    }

    /// Keeps the last good map in memory and in the state directory.
    fn remember(&mut self, resolved: Resolved, server: Server) {
        self.last_good = resolved.last_good;
        let kept = match (self.latch_damaged, server) {
            // A damaged file still says that there once was a map; it counts until there is a new one.
            (true, Server::Known(_) | Server::Faulty) if self.last_good.is_none() => return,
            (true, _) => self
                .state
                .forget()
                .and_then(|()| self.state.keep(self.last_good.as_ref())),
            (false, _) => self.state.keep(self.last_good.as_ref()),
        };
        self.latch_damaged = false;
        if let Err(error) = kept {
            self.metrics
                .reload_failures
                .with_label_values(&["state"])
                .inc();
            warn!(file = %self.state.path().display(), %error,
                "the last good candidate map could not be kept; it holds until this process ends");
        }
    }
}
