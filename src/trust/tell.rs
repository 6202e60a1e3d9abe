//! What a reading found, told: metrics, and one log line for each change.
//!
//! It must never decide anything, and it tells nothing twice.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing::{error, info, warn};

use super::Tls;
use super::fault::Fault;
use super::known::{CaList, Known, Source};
use super::metrics::{Certificate, File, Metrics};
use super::now;
use rules::Named;
use rules::admission::{Admission, ServerPem};
use rules::candidates::MapState;
use rules::identity::Digest;

/// The last second of the year 9999, beyond which a date has no usual form.
const LAST: u64 = 253_402_300_799;

/// The end of a certificate, as the log has it.
pub(super) fn expires(not_after: i64) -> impl Display {
    let since = Duration::from_secs(u64::try_from(not_after).unwrap_or(0).min(LAST));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since)
}

/// Remembers what was told.
pub(super) struct Teller {
    metrics: Arc<Metrics>,
    admission: Option<(Admission, ServerPem)>,
    list: Option<CaList>,
    server: Option<Digest>,
    faults: Vec<Fault>,
}

impl Teller {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            admission: None,
            list: None,
            server: None,
            faults: Vec::new(),
        }
    }

    /// The state of the map: that of the file, and whether it is not what is in force.
    pub(super) fn map(&self, file: MapState, stale: bool, admission: &Admission) {
        let metrics = &self.metrics;
        metrics.map_state.only(Some(file));
        metrics.map_stale.set(i64::from(stale));
        metrics.map_entries.set(admission.entries() as i64);
    }

    /// The known certificates, and what follows from them.
    pub(super) fn certificates(&self, known: &Known, tls: Option<&Tls>) {
        let metrics = &self.metrics;
        for source in Source::all() {
            let count = known.iter().filter(|known| known.source == source).count();
            metrics.known_certificates.of(source).set(count as i64);
        }
        let list = tls.map(|tls| &tls.client_cas);
        metrics.client_ca_state.only(list.map(|list| list.state));
        let (names, missing) = list.map_or((0, 0), |list| (list.names.len(), list.missing));
        metrics.client_ca_names.set(names as i64);
        metrics.unknown_certificates.set(missing as i64);
        let not_after = tls.map_or(0, |tls| tls.server.not_after);
        let gauge = metrics.not_after.of(Certificate::ServerPem);
        gauge.set(not_after as f64);
    }

    /// The certificate of `server.pem`, with the end of its validity.
    pub(super) fn server(&mut self, tls: Option<&Tls>) {
        let digest = tls.map(|tls| tls.server.digest);
        if self.server == digest {
            return;
        }
        if let Some(tls) = tls {
            let (server, until) = (&tls.server, tls.server.not_after);
            let expires = expires(until);
            let days = until.saturating_sub(now()).div_euclid(86_400);
            let shown = tls.shown.name();
            info!(digest = %server.digest, %expires, days, shown, "server.pem in force");
        }
        self.server = digest;
    }

    /// Who is admitted.
    pub(super) fn admission(&mut self, admission: &Admission, server: ServerPem) {
        let news = Some((admission.clone(), server));
        if self.admission == news {
            return;
        }
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
        self.admission = news;
    }

    /// The client CA list.
    pub(super) fn list(&mut self, list: Option<&CaList>) {
        if self.list.as_ref() == list {
            return;
        }
        if let Some(list) = list {
            info!(
                names = list.names.len(),
                state = list.state.name(),
                certificates_not_known = list.missing,
                "client CA list"
            );
        }
        self.list = list.cloned();
    }

    /// What is wrong now. A fault that lasts is counted once, also when its text changes.
    pub(super) fn faults(&mut self, faults: &[Fault]) {
        if self.faults == faults {
            return;
        }
        for file in File::all() {
            let faulty = faults.iter().any(|fault| fault.file() == Some(file));
            self.metrics.faulty.of(file).set(i64::from(faulty));
        }
        for (at, fault) in faults.iter().enumerate() {
            error!(%fault, "file refused, what was in force stays in force");
            let mut counted = self.faults.iter().chain(&faults[..at]);
            if !counted.any(|other| other.is_about_the_same(fault))
                && let Some(file) = fault.file()
            {
                self.metrics.reload_failures.of(file).inc();
            }
        }
        if faults.is_empty() {
            info!("all files are good again");
        }
        self.faults = faults.to_vec();
    }
}
