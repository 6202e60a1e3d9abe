//! The last refusals, for `/status`, and which refusals are logged one by one.
//!
//! It decides about no peer: what it is told has been refused already. It remembers no request.

mod bursts;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::info;

use crate::proxy::reason::{Cause, Reason};
use bursts::{Bursts, LeftOut};
use rules::Named;
use rules::authz::Denied;
use rules::identity::{Digest, PeerIdentity};
use rules::shown::CommonName;

/// Most refusals that are remembered.
const REFUSALS: usize = 32;

/// The last refusals, and which of them have a log line.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Newest last.
    last: Mutex<VecDeque<RefusalRecord>>,
    bursts: Mutex<Bursts>,
    /// Something was left out of the log.
    left_out: Notify,
}

/// One refusal as `/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// Seconds since 1970.
    pub time: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Why.
    pub reason: Cause,
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
    /// The procedure, of a request that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
}

impl Refusals {
    /// Remembers a refusal; whether it may have a log line of its own.
    pub(super) fn add(
        &self,
        peer: SocketAddr,
        reason: Cause,
        why: &str,
        identity: Option<&PeerIdentity>,
    ) -> bool {
        let name = reason.name();
        self.keep(record(peer, reason, why, identity));
        self.may_log(peer, name)
    }

    /// Remembers a request that was refused. It has its log line as each RPC has.
    pub(super) fn add_request(
        &self,
        peer: SocketAddr,
        reason: Cause,
        why: &str,
        identity: &PeerIdentity,
        procedure: &str,
    ) {
        let procedure = Some(procedure.into());
        let record = record(peer, reason, why, Some(identity));
        self.keep(RefusalRecord {
            procedure,
            ..record
        });
    }

    /// Remembers what `enforce` would have refused; whether it may have a log line of its own.
    pub(super) fn add_audited(
        &self,
        peer: SocketAddr,
        denied: Denied,
        identity: &PeerIdentity,
    ) -> bool {
        let (reason, why) = (Reason::Denied(denied), denied.to_string());
        let record = record(peer, reason.into(), &why, Some(identity));
        self.keep(RefusalRecord {
            admitted_by_audit: true,
            ..record
        });
        self.may_log(peer, reason.name())
    }

    fn may_log(&self, peer: SocketAddr, reason: &'static str) -> bool {
        let now = Instant::now();
        let mut bursts = lock(&self.bursts);
        let ended = bursts.ended(now);
        let may = bursts.count(peer.ip(), reason, now);
        drop(bursts); // logging may take a while
        tell(&ended);
        if !may {
            self.left_out.notify_one();
        }
        may
    }

    /// Tells at the end of each burst what was left out of the log. Runs for ever.
    pub(crate) async fn tell_bursts(&self) {
        loop {
            self.left_out.notified().await;
            let end = lock(&self.bursts).end();
            if let Some(end) = end {
                tokio::time::sleep_until(end.into()).await;
            }
            let ended = lock(&self.bursts).ended(Instant::now());
            tell(&ended);
        }
    }

    /// Tells what was left out so far: the process ends.
    pub(crate) fn tell_now(&self) {
        let left_out = lock(&self.bursts).take();
        tell(&left_out);
    }

    fn keep(&self, record: RefusalRecord) {
        let mut list = lock(&self.last);
        if list.len() == REFUSALS {
            let goes = oldest_of_most(list.iter().map(|record| record.peer.ip()));
            list.remove(goes);
        }
        list.push_back(record);
    }

    /// All that are remembered.
    pub fn list(&self) -> Vec<RefusalRecord> {
        lock(&self.last).iter().cloned().collect()
    }
}

fn record(
    peer: SocketAddr,
    reason: Cause,
    why: &str,
    identity: Option<&PeerIdentity>,
) -> RefusalRecord {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    RefusalRecord {
        time: now.map_or(0, |d| d.as_secs()),
        peer,
        reason,
        why: why.into(),
        admitted_by_audit: false,
        common_name: identity.and_then(|i| i.common_name.clone()),
        digest: identity.map(|i| i.digest),
        procedure: None,
    }
}

/// The place of the oldest record of the address that has the most: a flood pushes out its own.
fn oldest_of_most(peers: impl Iterator<Item = IpAddr>) -> usize {
    let mut first_and_count: HashMap<IpAddr, (usize, usize)> = HashMap::new();
    for (at, peer) in peers.enumerate() {
        first_and_count.entry(peer).or_insert((at, 0)).1 += 1;
    }
    let most = first_and_count
        .into_values()
        .max_by_key(|(first, count)| (*count, Reverse(*first)));
    most.map_or(0, |(first, _)| first)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line for each source and reason.
fn tell(left_out: &[LeftOut]) {
    for LeftOut {
        source,
        reason,
        count,
    } in left_out
    {
        let source = source.map_or_else(|| "others".into(), |source| source.to_string());
        info!(source, reason, count, "further refusals");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_pushes_out_its_own_refusals_and_not_those_of_others() {
        let refusals = Refusals::default();
        let refuse = |last: u8, port: u16| {
            let peer = SocketAddr::from(([192, 0, 2, last], port));
            refusals.add(peer, Reason::ProtocolError.into(), "x", None);
        };
        refuse(1, 1);
        refuse(2, 1);
        (0..100).for_each(|port| refuse(3, port));
        refuse(1, 2);
        let kept: Vec<SocketAddr> = refusals.list().iter().map(|kept| kept.peer).collect();
        let of = |last: u8| {
            let host = IpAddr::from([192, 0, 2, last]);
            let ports = kept.iter().filter(|peer| peer.ip() == host);
            Vec::from_iter(ports.map(SocketAddr::port))
        };
        assert_eq!((of(1), of(2)), (vec![1, 2], vec![1]));
        assert_eq!(of(3), Vec::from_iter(71..100), "the newest of it");
    }
}
