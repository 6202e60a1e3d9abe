//! From files to a published snapshot: reads all, builds all, and publishes the whole or keeps the
//! old one. A faulty file never changes who is admitted.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::fault::Fault;
use super::known::{CaList, Known, Source};
use super::learned::Learned;
use super::metrics::{Certificate, File, Metrics};
use super::paths::{Paths, ReloadSettings, Stamps};
use super::reset::InUse;
use super::seat::{Leadership, SeatFile};
use super::server_pem::{Identity, IdentityBuilder};
use super::sources::Files;
use super::state::{SavedMap, State};
use super::{Snapshot, Store, Tls};
use crate::metrics::Maker;
use crate::node::files::{self, FileContent};
use crate::node::flaw::Flaw;
use crate::node::ssconf::Ssconf;
use rules::Named;
use rules::admission::{Admission, BootstrapPolicy, LastGood, Resolved, ServerPem, resolve};
use rules::authz::Policy;
use rules::candidates::{MAX_BYTES, MapFile, MapState, parse};

/// Largest `server.pem` that is read, in bytes.
const MAX_PEM: usize = 1 << 20;

/// Reads the files and publishes what they say. One thread owns it.
pub struct Reloader {
    paths: Paths,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    settings: ReloadSettings,
    identities: IdentityBuilder,
    state: State,
    _in_use: Option<InUse>,
    latch_damaged: bool,
    last_good: Option<LastGood>,
    identity: Option<Identity>,
    files: Files,
    learned: Learned,
    ssconf: Ssconf,
    seats: SeatFile,
    reported: Option<(Admission, ServerPem)>,
    reported_list: Option<CaList>,
    reported_faults: Vec<Fault>,
}

/// What one reload found, to be published together.
struct Reading {
    map_state: MapState,
    known: Known,
    faults: Vec<Fault>,
    leadership: Leadership,
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
            SavedMap::Nothing => (None, false),
            SavedMap::Map(good) => (Some(good), false),
            SavedMap::Damaged(why) => {
                metrics.reload_failures.of(File::State).inc();
                error!(file = %state.path().display(), why,
                    "the last good candidate map cannot be read back; the bootstrap phase stays closed");
                (None, true)
            }
        };
        let in_use = || InUse::mark(&paths.state_dir).ok();
        Self {
            identities: IdentityBuilder::new(&store, settings.profile, settings.shown),
            store,
            metrics,
            settings,
            state,
            _in_use: settings.keeps_state.then(in_use).flatten(),
            latch_damaged,
            last_good,
            identity: None,
            files: Files::default(),
            learned: Learned::load(&paths.state_dir, settings.keeps_state),
            ssconf: Ssconf::default(),
            seats: SeatFile::new(&paths.state_dir, settings.keeps_state, settings.pins_master),
            reported: None,
            reported_list: None,
            reported_faults: Vec::new(),
            paths,
        }
    }

    /// The files to watch.
    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(super) fn stamps(&self) -> Stamps {
        self.paths.stamps()
    }

    /// Learns a certificate whose holder proved possession of the key. Returns whether it was
    /// unknown; then the next [`Reloader::reload`] makes a new client CA list.
    pub(super) fn learn(&mut self, der: &[u8]) -> bool {
        self.learned.learn(der, &self.store.current().admission)
    }

    /// Reads everything again and publishes it if anything changed. Returns whether all is well. If
    /// not, another try after a moment may help: perhaps a file was read while it was being
    /// written.
    pub fn reload(&mut self) -> bool {
        let mut faults = Vec::new();
        let flaws = self.ssconf.read(&self.paths.ssconf_dir); // first: it names this node
        let (server, identity_changed) = self.reload_identity(&mut faults);
        let map = self.read_map();
        let map_state = map.state();
        let fault = Fault::of_map(&self.paths.map, &map);
        let policy = if self.latch_damaged {
            BootstrapPolicy::Refuse
        } else {
            self.settings.bootstrap
        };
        let resolved = resolve(map, server, self.last_good.take(), policy);
        if resolved.stale {
            faults.extend(fault);
            self.metrics.reload_failures.of(File::CandidateMap).inc();
        }
        let known = self.gather_known(&resolved.admission, &mut faults);
        let counter = self.metrics.reload_failures.of(File::Ssconf);
        counter.inc_by(flaws.len() as u64);
        faults.extend(flaws.into_iter().map(|(name, flaw)| {
            let name = name.to_owned();
            Fault::Ssconf { name, flaw }
        }));
        self.renew_client_cas(&resolved.admission, &known, &mut faults);
        let joined = (server != ServerPem::Absent).then_some(&self.ssconf);
        let leadership = self
            .seats
            .lead(joined, &resolved.admission, &known, &mut faults);
        let reading = Reading {
            map_state,
            known,
            leadership,
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

    /// The certificates of the candidates in the map: first those from files, then the learned
    /// ones.
    fn gather_known(&mut self, admission: &Admission, faults: &mut Vec<Fault>) -> Known {
        let before = faults.len();
        self.learned.retain(admission);
        let files = self.files.read(&self.paths.sources, faults);
        let all = files.iter().chain(self.learned.iter()).map(Arc::clone);
        let (known, collisions) = Known::gather(all, admission);
        faults.extend(collisions.into_iter().map(Fault::from));
        let failures = (faults.len() - before) as u64;
        let counter = &self.metrics.reload_failures;
        counter.of(File::CandidateCertificates).inc_by(failures);
        known
    }

    /// Gives the acceptor the current client CA list.
    fn renew_client_cas(&mut self, admission: &Admission, known: &Known, faults: &mut Vec<Fault>) {
        let Some(identity) = &mut self.identity else {
            return;
        };
        let policy = self.settings.when_incomplete;
        let list = CaList::new(admission, known, &identity.tls.server, policy);
        if let Err(error) = self.identities.set_client_cas(identity, list) {
            let why = error.to_string();
            faults.push(Fault::ClientCaList { why });
        }
    }

    fn read_map(&self) -> MapFile {
        match files::read(&self.paths.map, MAX_BYTES) {
            FileContent::Absent => MapFile::Absent,
            FileContent::TooLarge => MapFile::TooLarge,
            FileContent::Unreadable(why) => MapFile::Unreadable(why),
            FileContent::Content(text) => parse(&text),
        }
    }

    /// Puts a new `server.pem` into force, or reports what is wrong with it and keeps the old one.
    /// Returns what is known about it, and whether the identity in force changed.
    fn reload_identity(&mut self, faults: &mut Vec<Fault>) -> (ServerPem, bool) {
        let known = |identity: &Option<Identity>| match identity {
            Some(identity) => ServerPem::Known(identity.tls.server.digest),
            None => ServerPem::Faulty,
        };
        let host = rustix::system::uname();
        let names = self.ssconf.names_of(&host.nodename().to_string_lossy());
        let same = |pem: &[u8]| self.identity.as_ref().is_some_and(|i| i.is_of(pem, &names));
        let flaw = match files::read(&self.paths.server_pem, MAX_PEM) {
            FileContent::Absent => return (ServerPem::Absent, self.identity.take().is_some()),
            FileContent::Content(pem) if same(&pem) => return (known(&self.identity), false),
            FileContent::Content(pem) => match self.identities.build(&pem, names) {
                Ok(identity) => {
                    self.identity = Some(identity);
                    return (known(&self.identity), true);
                }
                Err(error) => Flaw::malformed(error),
            },
            FileContent::TooLarge => Flaw::TooLarge { limit: MAX_PEM },
            FileContent::Unreadable(why) => Flaw::Unreadable { why },
        };
        let path = self.paths.server_pem.clone();
        faults.push(Fault::ServerPem { path, flaw });
        self.metrics.reload_failures.of(File::ServerPem).inc();
        (known(&self.identity), false)
    }

    /// Sets the metrics of a reload.
    fn count(&self, resolved: &Resolved, reading: &Reading) {
        let metrics = &self.metrics;
        metrics.map_state.only(Some(reading.map_state));
        metrics.map_stale.set(i64::from(resolved.stale));
        metrics.map_entries.set(resolved.admission.entries() as i64);
        for source in Source::all() {
            let all = reading.known.iter();
            let count = all.filter(|known| known.source == source).count();
            metrics.known_certificates.of(source).set(count as i64);
        }
        let tls = self.identity.as_ref().map(|identity| &identity.tls);
        let list = tls.map(|tls| &tls.client_cas);
        metrics.client_ca_state.only(list.map(|list| list.state));
        let (names, missing) = list.map_or((0, 0), |list| (list.names.len(), list.missing));
        metrics.client_ca_names.set(names as i64);
        metrics.unknown_certificates.set(missing as i64);
        let not_after = tls.map_or(0, |tls| tls.server.not_after);
        let gauge = metrics.not_after.of(Certificate::ServerPem);
        gauge.set(not_after as f64);
        if reading.rule_changed {
            metrics.reloads.inc();
        }
    }

    /// Publishes a reload if anything changed. Ganeti rewrites the map on almost every change of
    /// its configuration, and most of the time the map stays the same.
    fn publish(&self, admission: &Admission, reading: Reading) {
        let old = self.store.snapshot();
        let map_loaded = match reading.map_state {
            MapState::Listed => Some(SystemTime::now()),
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
            && old.leadership == reading.leadership
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
            leadership: reading.leadership,
            faults: reading.faults,
        });
    }

    /// Logs one line for each change, and nothing twice.
    fn report(&mut self, admission: &Admission, server: ServerPem, faults: &[Fault]) {
        let news = Some((admission.clone(), server));
        if self.reported != news {
            let server = match server {
                ServerPem::Known(digest) => digest.to_string(),
                ServerPem::Absent | ServerPem::Faulty => "none".into(),
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
                    state = list.state.name(),
                    certificates_not_known = list.missing,
                    "client CA list"
                );
            }
            self.reported_list = list.cloned();
        }
        if self.reported_faults != faults {
            for fault in faults {
                error!(%fault, "file refused, what was in force stays in force");
            }
            if faults.is_empty() {
                info!("all files are good again");
            }
            self.reported_faults = faults.to_vec();
        }
    }

    /// Keeps the last good map in memory and in the state directory.
    fn remember(&mut self, resolved: Resolved, server: ServerPem) {
        self.last_good = resolved.last_good;
        let kept = match (self.latch_damaged, server) {
            // A damaged file still shows that there once was a map. It stays until there is a new
            // one.
            (true, ServerPem::Known(_) | ServerPem::Faulty) if self.last_good.is_none() => return,
            (true, _) => self
                .state
                .forget()
                .and_then(|()| self.state.keep(self.last_good.as_ref())),
            (false, _) => self.state.keep(self.last_good.as_ref()),
        };
        self.latch_damaged = false;
        if let Err(error) = kept {
            self.metrics.reload_failures.of(File::State).inc();
            warn!(file = %self.state.path().display(), %error,
                "the last good candidate map could not be kept; it holds until this process ends");
        }
    }
}

/// The snapshot that a proxy with these settings would publish now. It writes nothing.
pub fn snapshot_from_files(
    paths: Paths,
    settings: ReloadSettings,
    policy: Policy,
) -> Arc<Snapshot> {
    let store = Store::new(policy);
    let metrics = Arc::new(Metrics::new(&mut Maker::default())); // which nobody reads
    let settings = ReloadSettings {
        keeps_state: false,
        ..settings
    };
    Reloader::new(paths, Arc::clone(&store), metrics, settings).reload();
    store.snapshot()
}
