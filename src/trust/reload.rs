//! From files to a published snapshot: reads all, builds all, and publishes the whole or keeps the
//! old one. A faulty file never changes who is admitted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::bequest::Bequest;
use super::fault::{Fault, distinct};
use super::keeper::Keeper;
use super::known::{CaList, Known};
use super::learned::Learned;
use super::metrics::{Cause, Metrics};
use super::paths::{Paths, ReloadSettings, Stamps};
use super::seat::{Cluster, Leadership, SeatFile};
use super::server_pem::{Identity, IdentityBuilder};
use super::sighted::SightingsFile;
use super::sources::Files;
use super::tell::Teller;
use super::{Snapshot, Store, Tls, seat};
use crate::metrics::Maker;
use crate::node::files::{self, FileContent};
use crate::node::flaw::Flaw;
use crate::node::ssconf::Ssconf;
use rules::admission::{Admission, Resolved, ServerPem, resolve};
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
    keeper: Keeper,
    identity: Option<Identity>,
    files: Files,
    learned: Learned,
    ssconf: Ssconf,
    seats: SeatFile,
    sighted: SightingsFile,
    teller: Teller,
    /// Files that somebody is writing. What was read of them before still counts.
    held: BTreeSet<PathBuf>,
    last_map: Option<MapFile>,
    last_server: Option<ServerPem>,
    unwatched: Option<Fault>,
}

/// What one reload found, to be published together.
struct Reading {
    map_state: MapState,
    had_map: Option<bool>,
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
        let (state_dir, writes) = (&*paths.state_dir, settings.keeps_state);
        Self {
            identities: IdentityBuilder::new(&store, settings.profile, settings.shown),
            sighted: SightingsFile::load(state_dir, writes, store.sightings()),
            store,
            teller: Teller::new(Arc::clone(&metrics)),
            metrics,
            settings,
            keeper: Keeper::new(state_dir, writes),
            identity: None,
            files: Files::default(),
            learned: Learned::load(state_dir, writes),
            ssconf: Ssconf::default(),
            seats: SeatFile::new(state_dir, writes, settings.pins_master),
            held: BTreeSet::new(),
            last_map: None,
            last_server: None,
            unwatched: None,
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

    /// From now on these files are being written, and no others.
    pub(super) fn hold(&mut self, held: BTreeSet<PathBuf>) {
        self.held = held;
    }

    /// From now on this is wrong with the watches.
    pub(super) fn unwatched(&mut self, fault: Option<Fault>) {
        self.unwatched = fault;
    }

    /// From now on the state directory is this process's: reads what others kept there, and keeps
    /// it.
    pub(super) fn own_state(&mut self) {
        let directory = &*self.paths.state_dir;
        self.keeper.own();
        self.learned = Learned::load(directory, true);
        self.seats.own();
        self.sighted = SightingsFile::load(directory, true, self.store.sightings());
    }

    /// What is remembered, for a process that takes over.
    pub(super) fn bequest(&self) -> Bequest {
        let seat = self.seats.bequeath();
        let mut bequest = Bequest {
            seat,
            ..Bequest::default()
        };
        self.keeper.bequeath(&mut bequest);
        bequest
    }

    /// Before the first reading: what the process before this one remembers.
    pub fn inherit(&mut self, mut bequest: Bequest) {
        self.seats.inherit(&bequest.seat);
        self.keeper.inherit(&mut bequest);
    }

    /// From now on the state directory is another process's.
    pub(super) fn leave_state(&mut self) {
        self.keeper.leave();
        self.learned.leave();
        self.seats.leave();
        let (store, mode) = (&self.store, self.store.policy().mode);
        self.sighted
            .leave(store.sightings(), &store.current().admission, mode);
    }

    /// Looks at the state directory. Returns whether there is news of it.
    pub(super) fn look_at_state(&mut self) -> bool {
        self.keeper.look() || self.sighted.fault().is_some()
    }

    /// Keeps which certificate was seen from which node. What cannot be written is a fault of the
    /// next reading.
    pub(super) fn keep_sightings(&mut self) {
        let (store, mode) = (&self.store, self.store.policy().mode);
        self.sighted
            .keep(store.sightings(), &store.current().admission, mode);
    }

    /// Reads everything again for this reason.
    pub(super) fn reload_because(&mut self, cause: Cause) -> bool {
        let good = self.reload();
        self.metrics.readings.of(cause).inc(); // when the outcome is in force
        good
    }

    /// Reads everything again and publishes it if anything changed. Returns whether all is well. If
    /// not, another try after a moment may help: perhaps a file was read while it was being
    /// written.
    pub fn reload(&mut self) -> bool {
        let (mut faults, mut of_ssconf) = (Vec::new(), Vec::new());
        self.read_ssconf(&mut of_ssconf); // first: it names this node
        let (server, identity_changed) = self.reload_identity(&mut faults);
        self.last_server = Some(server);
        let map = self.read_map();
        let map_state = map.state();
        let fault = Fault::of_map(&self.paths.map, &map);
        let policy = self.keeper.policy(self.settings.bootstrap);
        let resolved = resolve(map, server, self.keeper.memory(), policy);
        faults.extend(fault.filter(|_| resolved.stale));
        let known = self.gather_known(&resolved.admission, &mut faults);
        faults.append(&mut of_ssconf);
        self.renew_client_cas(&resolved.admission, &known, &mut faults);
        let (latch, is_damaged) = (self.keeper.memory().latch, self.keeper.is_damaged());
        let cluster = Cluster::of(server, &latch, is_damaged);
        let (ssconf, admission) = (&self.ssconf, &resolved.admission);
        let leadership = self
            .seats
            .lead(cluster, ssconf, admission, &known, &mut faults);
        self.learned.save(&mut faults);
        faults.extend(self.sighted.fault());
        faults.extend(self.unwatched.clone());
        let reading = Reading {
            map_state,
            had_map: self.keeper.had_map(),
            known,
            leadership,
            rule_changed: identity_changed || self.store.current().admission != resolved.admission,
            faults,
        };
        self.count(&resolved, &reading);
        self.publish_and_keep(resolved, server, reading)
    }

    /// Publishes first, because a write may take its time, and then keeps what is to outlive the
    /// process. Returns whether all is well.
    fn publish_and_keep(
        &mut self,
        resolved: Resolved,
        server: ServerPem,
        mut reading: Reading,
    ) -> bool {
        let admission = resolved.admission;
        let of_the_files = reading.faults.clone();
        reading.faults = distinct(of_the_files.clone(), self.keeper.faults());
        self.teller.server(self.identity.as_ref().map(|i| &i.tls));
        self.teller.admission(&admission, server);
        let list = self.identity.as_ref().map(|i| &i.tls.client_cas);
        self.teller.list(list);
        self.publish(&admission, reading);
        self.keeper.remember(resolved.memory);
        let faults = distinct(of_the_files, self.keeper.faults());
        if self.store.current().faults != faults {
            let mut snapshot = Snapshot::clone(&self.store.current());
            snapshot.faults.clone_from(&faults);
            self.store.publish(snapshot);
        }
        self.teller.faults(&faults);
        faults.is_empty()
    }

    fn read_ssconf(&mut self, faults: &mut Vec<Fault>) {
        let (dir, held) = (&self.paths.ssconf_dir, &self.held);
        let flaws = self.ssconf.read(dir, |name| held.contains(&dir.join(name)));
        faults.extend(flaws.into_iter().map(|(name, flaw)| {
            let name = name.to_owned();
            Fault::Ssconf { name, flaw }
        }));
        let seat = self.paths.state_dir.join(seat::NAME);
        self.seats.hold(self.held.contains(&seat));
    }

    /// The certificates of the candidates in the map: first those from files, then the learned
    /// ones.
    fn gather_known(&mut self, admission: &Admission, faults: &mut Vec<Fault>) -> Known {
        self.learned.retain(admission);
        let (sources, is_held) = (&self.paths.sources, |path: &Path| self.held.contains(path));
        let directory = sources.directory.as_deref().is_some_and(is_held);
        let held = directory || sources.bundle.as_deref().is_some_and(is_held);
        let files = self.files.read(sources, held, faults);
        let all = files.iter().chain(self.learned.iter()).map(Arc::clone);
        let (known, collisions) = Known::gather(all, admission);
        faults.extend(collisions.into_iter().map(Fault::from));
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

    /// The map as it is, or as it was before somebody began to write it.
    fn read_map(&mut self) -> MapFile {
        if let Some(before) = &self.last_map
            && self.held.contains(&self.paths.map)
        {
            return before.clone();
        }
        let map = match files::read(&self.paths.map, MAX_BYTES) {
            FileContent::Absent => MapFile::Absent,
            FileContent::TooLarge => MapFile::TooLarge,
            FileContent::Unreadable(why) => MapFile::Unreadable(why),
            FileContent::Content(text) => parse(&text),
        };
        self.last_map = Some(map.clone());
        map
    }

    /// Puts a new `server.pem` into force, or reports what is wrong with it and keeps the old one.
    /// Returns what is known about it, and whether the identity in force changed.
    fn reload_identity(&mut self, faults: &mut Vec<Fault>) -> (ServerPem, bool) {
        let known = |identity: &Option<Identity>| match identity {
            Some(identity) => ServerPem::Known(identity.tls.server.digest),
            None => ServerPem::Faulty,
        };
        if let Some(before) = self.last_server
            && self.held.contains(&self.paths.server_pem)
        {
            return (before, false);
        }
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
        (known(&self.identity), false)
    }

    /// Sets the metrics of a reload.
    fn count(&self, resolved: &Resolved, reading: &Reading) {
        let teller = &self.teller;
        teller.map(reading.map_state, resolved.stale, &resolved.admission);
        let tls = self.identity.as_ref().map(|identity| &identity.tls);
        teller.certificates(&reading.known, tls);
        if reading.rule_changed {
            self.metrics.reloads.inc();
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
            had_map: reading.had_map,
            map_loaded,
            candidate_addresses: Arc::clone(&self.ssconf.candidate_addresses),
            primary_addresses: Arc::clone(&self.ssconf.primary_addresses),
            leadership: reading.leadership,
            faults: reading.faults,
        });
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
