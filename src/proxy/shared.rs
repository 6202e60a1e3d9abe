//! The handles that all connections share, and the last refusals for `/status`. It decides nothing,
//! and it remembers no request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxy::http::Budget;
use crate::proxy::metrics::Metrics;
use crate::proxy::overload::Overload;
use crate::proxy::reason::Reason;
use crate::proxy::settings::Settings;
use crate::proxy::upstream::Upstream;
use crate::trust::sightings::Sightings;
use crate::trust::{Reloads, Store};
use rules::authz::Denied;
use rules::identity::{Digest, PeerIdentity};
use rules::policy::Policy;
use rules::shown::CommonName;

/// Most refusals that are remembered.
const REFUSALS: usize = 32;

/// What every connection gets.
#[derive(Debug)]
pub struct Shared {
    /// This node's name, for refusals that a person reads.
    pub host: String,
    /// Who is admitted.
    pub store: Arc<Store>,
    /// The local node daemon.
    pub upstream: Upstream,
    /// Which procedures may be called.
    pub policy: Policy,
    /// Who may hold a connection, and who may shake hands.
    pub overload: Arc<Overload>,
    /// Memory for bodies.
    pub budget: Budget,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Times and sizes that a client is held to.
    pub settings: Settings,
    /// Cancelled when the proxy drains.
    pub drain: CancellationToken,
    /// Connections, and exchanges with noded: what a drain waits for.
    pub tasks: TaskTracker,
    /// The last refusals.
    pub refusals: Refusals,
    /// Which certificate was seen from which node.
    pub sightings: Sightings,
    /// Where learned certificates go.
    pub reloads: Reloads,
    /// When the process started.
    pub started: Instant,
}

impl Shared {
    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The last refusals, newest last.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<VecDeque<RefusalRecord>>);

/// One refusal as `/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// Seconds since 1970.
    pub time: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Why.
    pub reason: Reason,
    /// Why, in words; empty when an older proxy says nothing more.
    #[serde(default)]
    pub why: String,
    /// Audit mode admitted it all the same.
    pub admitted_by_audit: bool,
    /// Common name of the certificate, if one was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<CommonName>,
    /// Digest of the certificate, if one was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

impl Refusals {
    /// Remembers a refusal.
    pub fn add(
        &self,
        peer: SocketAddr,
        reason: Reason,
        why: &str,
        identity: Option<&PeerIdentity>,
    ) {
        self.keep(peer, reason, why, identity, false);
    }

    /// Remembers what `enforce` would have refused.
    pub fn add_audited(&self, peer: SocketAddr, denied: Denied, identity: &PeerIdentity) {
        let (reason, why) = (Reason::Denied(denied), denied.to_string());
        self.keep(peer, reason, &why, Some(identity), true);
    }

    fn keep(
        &self,
        peer: SocketAddr,
        reason: Reason,
        why: &str,
        identity: Option<&PeerIdentity>,
        admitted_by_audit: bool,
    ) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let record = RefusalRecord {
            time: now.map_or(0, |d| d.as_secs()),
            peer,
            reason,
            why: why.into(),
            admitted_by_audit,
            common_name: identity.and_then(|i| i.common_name.clone()),
            digest: identity.map(|i| i.digest),
        };
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == REFUSALS {
            list.pop_front();
        }
        list.push_back(record);
    }

    /// All that are remembered.
    pub fn list(&self) -> Vec<RefusalRecord> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
