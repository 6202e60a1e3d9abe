//! What is counted of the files that decide, and the state in which they were found last.
//!
//! It must never decide anything: nothing reads a gauge back.

use rules::candidates::MapState;
use rules::named;

use super::known::{CaState, Source};
use crate::metrics::{Counter, Counters, FloatGauge, FloatGauges, Gauge, Gauges, Maker};

named! {
    /// A file, or a kind of files, that can be faulty.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum File {
        /// The candidate map.
        CandidateMap = "candidate_map",
        /// `server.pem`.
        ServerPem = "server_pem",
        /// Other files of Ganeti's ssconf.
        Ssconf = "ssconf",
        /// The certificates in `candidate_certs` and `candidate_bundle`.
        CandidateCertificates = "candidate_certificates",
        /// The state directory, and what the proxy remembers there.
        State = "state",
        /// The watches on the directories of all these.
        Watches = "watches",
    }
}

named! {
    /// What made the proxy read the files.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Cause {
        /// The start.
        Start = "start",
        /// inotify told of a change.
        Inotify = "inotify",
        /// A change that inotify did not tell of.
        Poll = "poll",
        /// A fault that was found before.
        Retry = "retry",
        /// SIGHUP.
        Asked = "asked",
        /// A certificate was learned.
        Learned = "learned",
    }
}

named! {
    /// A certificate whose end of validity is shown.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Certificate {
        /// That of `server.pem`.
        ServerPem = "server_pem",
        /// That of the peer that was admitted last.
        LastAdmittedPeer = "last_admitted_peer",
    }
}

/// The handles.
#[derive(Debug)]
pub struct Metrics {
    pub(super) map_state: Gauges<MapState>,
    pub(super) map_entries: Gauge,
    pub(super) map_stale: Gauge,
    pub(super) map_last_good: FloatGauge,
    pub(super) reloads: Counter,
    pub(super) readings: Counters<Cause>,
    pub(super) reload_failures: Counters<File>,
    pub(super) faulty: Gauges<File>,
    pub(super) known_certificates: Gauges<Source>,
    pub(super) unknown_certificates: Gauge,
    pub(super) client_ca_names: Gauge,
    pub(super) client_ca_state: Gauges<CaState>,
    /// The proxy sets that of the peer.
    pub(crate) not_after: FloatGauges<Certificate>,
}

impl Metrics {
    pub(crate) fn new(make: &mut Maker) -> Self {
        Self {
            map_state: make.gauges(
                "candidate_map_state",
                "1 for the state in which the candidate map file was found last",
                "state",
            ),
            map_entries: make.gauge(
                "candidate_map_entries",
                "Entries of the candidate map in force",
            ),
            map_stale: make.gauge(
                "candidate_map_stale",
                "1 while the map file does not say what is in force",
            ),
            map_last_good: make.float_gauge(
                "candidate_map_last_good_timestamp_seconds",
                "When the candidate map in force was read, 0 for never",
            ),
            reloads: make.counter(
                "reloads_total",
                "Changes of the candidate map or of server.pem that took effect",
            ),
            readings: make.counters(
                "readings_total",
                "Readings of the files that decide, by what made them necessary",
                "cause",
            ),
            reload_failures: make.counters(
                "reload_failures_total",
                "Faults found, by file; one that lasts counts once",
                "file",
            ),
            faulty: make.gauges("faulty", "1 while a file of this kind is faulty", "file"),
            known_certificates: make.gauges(
                "known_certificates",
                "Candidates whose certificate is known, by its source",
                "source",
            ),
            unknown_certificates: make.gauge(
                "unknown_certificates",
                "Candidates whose certificate is not known",
            ),
            client_ca_names: make.gauge(
                "client_ca_list_names",
                "Names in the client CA list; with 0 any client offers its certificate",
            ),
            client_ca_state: make.gauges(
                "client_ca_list_state",
                "1 for the state of the client CA list",
                "state",
            ),
            not_after: make.float_gauges(
                "certificate_not_after_timestamp_seconds",
                "End of validity of server.pem and of the certificate of the last admitted peer",
                "certificate",
            ),
        }
    }
}
