//! From files to a published snapshot: read all, build all, and swap it whole or keep the old one.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::known::{CaList, Known, Source};
use super::learned::Learned;
use super::paths::{Paths, ReloadSettings, Stamps};
use super::reset::InUse;
use super::sources::Files;
use super::state::{Remembered, State};
use super::{Snapshot, Store, Tls};
use crate::metrics::Metrics;
use crate::node::files::{self, Found};
use crate::node::ssconf::Ssconf;
use crate::tls::{Acceptor, Connector, Credentials, Gate, Issuer, Shown};
use rules::admission::{Admission, BootstrapPolicy, LastGood, Resolved, Server, resolve};
use rules::candidates::{MAX_BYTES, MapFile, parse};

/// Largest `server.pem` that is read, in bytes.
const MAX_PEM: usize = 1 << 20;

/// Reads the files and publishes what they say. One thread owns it.
pub struct Reloader {
    paths: Paths,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    settings: ReloadSettings,
    gate: Gate,
    state: State,
    _in_use: Option<InUse>,
    latch_damaged: bool,
    last_good: Option<LastGood>,
    identity: Option<Identity>,
    files: Files,
    learned: Learned,
    ssconf: Ssconf,
    reported: Option<(Admission, Server)>,
    reported_list: Option<CaList>,
    reported_faults: Vec<String>,
}

/// The server identity in force, with the bytes it was made of.
struct Identity {
    pem: Vec<u8>,
    credentials: Credentials,
    tls: Tls,
}

/// What one reading found, to be published together.
struct Reading {
    map_state: &'static str,
    known: Known,
    faults: Vec<String>,
    /// Map or identity changed.
    rule_changed: bool,
}

impl Reloader {
    /// A reloader that has read nothing yet but its own state.
    pub fn new(
        paths: Paths,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        settings: ReloadSettings,
    ) -> Self {
        let mut state = State::new(&paths.state_dir);
        if !settings.keeps_state {
            state = state.read_only();
        }
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
        let in_use = || InUse::mark(&paths.state_dir).ok();
        Self {
            store,
            metrics,
            settings,
            gate,
            state,
            _in_use: settings.keeps_state.then(in_use).flatten(),
            latch_damaged,
            last_good,
            identity: None,
            files: Files::default(),
            learned: Learned::load(&paths.state_dir, settings.keeps_state),
            ssconf: Ssconf::default(),
            reported: None,
            reported_list: None,
            reported_faults: Vec::new(),
            paths,
        }
    }

    /// The files to watch.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(super) fn stamps(&self) -> Stamps {
        self.paths.stamps()
    }

    /// Learns a certificate whose holder proved possession; returns whether that is news, for which the next
    /// [`Reloader::reload`] makes a new client CA list.
    pub(super) fn learn(&mut self, der: &[u8]) -> bool {
        self.learned.learn(der, &self.store.current().admission)
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
            self.settings.bootstrap
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
        let known = self.gather_known(&resolved.admission, &mut faults);
        let before = faults.len();
        self.ssconf.read(&self.paths.ssconf_dir, &mut faults);
        let failures = (faults.len() - before) as u64;
        let counter = self.metrics.reload_failures.with_label_values(&["ssconf"]);
        counter.inc_by(failures);
        self.renew_client_cas(&resolved.admission, &known, &mut faults);
        let reading = Reading {
            map_state,
            known,
            rule_changed: identity_changed || self.store.current().admission != resolved.admission,
            faults,
        };
        self.count(&resolved, &reading);
        self.report(&resolved.admission, server, &reading.faults);
        let all_well = reading.faults.is_empty();
        self.publish(&resolved.admission, reading);
        self.remember(resolved, server);
        all_well
    }

    /// The certificates of the candidates in the map: files first, then what was learned.
    fn gather_known(&mut self, admission: &Admission, faults: &mut Vec<String>) -> Known {
        let before = faults.len();
        self.learned.retain(admission);
        let files = self.files.read(&self.paths.sources, faults);
        let all = files.iter().chain(self.learned.iter()).map(Arc::clone);
        let (known, collisions) = Known::gather(all, admission);
        faults.extend(collisions);
        let failures = (faults.len() - before) as u64;
        let counter = &self.metrics.reload_failures;
        counter
            .with_label_values(&["candidate_certificates"])
            .inc_by(failures);
        known
    }

    /// Puts the client CA list of the moment into the acceptor.
    fn renew_client_cas(&mut self, admission: &Admission, known: &Known, faults: &mut Vec<String>) {
        let Some(identity) = &mut self.identity else {
            return;
        };
        let tls = &mut identity.tls;
        let list = CaList::new(admission, known, &tls.server, self.settings.when_incomplete);
        if list.names == tls.client_cas.names {
            tls.client_cas = list; // what is sent stays the same
            return;
        }
        let gate = Arc::clone(&self.gate);
        match Acceptor::new(
            &identity.credentials,
            self.settings.profile,
            gate,
            &list.names,
        ) {
            Ok(acceptor) => {
                tls.acceptor = acceptor;
                tls.client_cas = list;
            }
            Err(error) => faults.push(format!("client CA list: {error}")),
        }
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
            Found::Content(pem) => match self.build(pem) {
                Ok(identity) => {
                    self.identity = Some(identity);
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

    fn build(&self, pem: Vec<u8>) -> Result<Identity, crate::tls::CredentialsError> {
        let mut credentials = Credentials::from_pem(&pem)?;
        let shown = self.add_leaf(&mut credentials);
        let (profile, gate) = (self.settings.profile, Arc::clone(&self.gate));
        let tls = Tls {
            acceptor: Acceptor::new(&credentials, profile, gate, &[])?,
            connector: Connector::new(&credentials, profile)?,
            shown,
            server: credentials.info(),
            issuer: Issuer::new(&credentials)?,
            client_cas: CaList::before_the_first(),
        };
        Ok(Identity {
            pem,
            credentials,
            tls,
        })
    }

    /// Adds the certificate that clients are shown to the server's own, if there is to be one.
    fn add_leaf(&self, credentials: &mut Credentials) -> Shown {
        if self.settings.shown == Shown::ServerPem {
            return Shown::ServerPem;
        }
        let host = rustix::system::uname();
        match credentials.add_leaf(&host.nodename().to_string_lossy()) {
            Ok(()) => Shown::Ecdsa,
            Err(why) => {
                info!(%why, "clients are shown server.pem, not an ECDSA certificate signed by it");
                Shown::ServerPem
            }
        }
    }

    /// The numbers of a reading.
    fn count(&self, resolved: &Resolved, reading: &Reading) {
        let metrics = &self.metrics;
        for state in MapFile::STATES {
            let now = i64::from(state == reading.map_state);
            metrics.map_state.with_label_values(&[state]).set(now);
        }
        metrics.map_stale.set(i64::from(resolved.stale));
        metrics.map_entries.set(resolved.admission.entries() as i64);
        for source in Source::NAMES {
            let all = reading.known.iter();
            let count = all.filter(|known| known.source.name() == source).count();
            let gauge = metrics.known_certificates.with_label_values(&[source]);
            gauge.set(count as i64);
        }
        let tls = self.identity.as_ref().map(|identity| &identity.tls);
        let list = tls.map(|tls| &tls.client_cas);
        for state in CaList::STATES {
            let now = i64::from(list.is_some_and(|list| list.state == state));
            metrics.client_ca_state.with_label_values(&[state]).set(now);
        }
        let (names, missing) = list.map_or((0, 0), |list| (list.names.len(), list.missing));
        metrics.client_ca_names.set(names as i64);
        metrics.unknown_certificates.set(missing as i64);
        let not_after = tls.map_or(0, |tls| tls.server.not_after);
        metrics
            .not_after
            .with_label_values(&["server_pem"])
            .set(not_after as f64);
        if reading.rule_changed {
            metrics.reloads.inc();
        }
    }

    /// Publishes a reading if it says something new: Ganeti rewrites the map on almost every change of its
    /// configuration.
    fn publish(&self, admission: &Admission, reading: Reading) {
        let old = self.store.snapshot();
        let map_loaded = match reading.map_state {
            "listed" => Some(SystemTime::now()),
            _ => old.map_loaded,
        };
        let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        if let Some(since) = map_loaded.and_then(unix) {
            self.metrics.map_last_good.set(since.as_secs_f64());
        }
        let tls = self.identity.as_ref().map(|i| i.tls.clone());
        let list = |tls: &Option<Tls>| tls.as_ref().map(|tls| tls.client_cas.clone());
        let same = !reading.rule_changed
            && old.generation > 0
            && old.faults == reading.faults
            && old.map_state == reading.map_state
            && *old.known == reading.known
            && old.says_of_the_nodes(&self.ssconf)
            && list(&old.tls) == list(&tls);
        if same {
            return;
        }
        self.store.publish(Snapshot {
            generation: 0, // set by the store
            admission: admission.clone(),
            known: Arc::new(reading.known),
            tls,
            map_state: reading.map_state,
            map_loaded,
            candidate_addresses: Arc::clone(&self.ssconf.candidate_addresses),
            primary_addresses: Arc::clone(&self.ssconf.primary_addresses),
            master_node: self.ssconf.master_node.clone(),
            faults: reading.faults,
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
        let list = self.identity.as_ref().map(|i| &i.tls.client_cas);
        if self.reported_list.as_ref() != list {
            if let Some(list) = list {
                info!(
                    names = list.names.len(),
                    state = list.state,
                    certificates_not_known = list.missing,
                    "client CA list"
                );
            }
            self.reported_list = list.cloned();
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
