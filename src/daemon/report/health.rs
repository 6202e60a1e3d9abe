//! Whether the proxy works, and why somebody should look: what `/healthz` answers.
//!
//! Each reason is a value with its facts. It is only shown: no connection is refused because of it.

use serde::{Deserialize, Serialize};

use super::degraded::{Degraded, Kind, MapBefore};
use crate::proxy::listener::State;
use crate::proxy::reason::Reason;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Guard, Looked};
use crate::trust::{Snapshot, now};
use rules::admission::{Admission, Nobody};
use rules::authz::{Denied, Mode};
use rules::candidates::MapState;
use rules::noded::Answers;

/// A certificate that ends sooner than this makes the proxy degraded; Ganeti's own threshold
/// (`lib/constants.py`, `SSL_CERT_EXPIRATION_ERROR`).
const EXPIRY_WARNING: i64 = 7 * 86_400;

/// Ganeti's own allowance for clocks that differ (`lib/constants.py`, `NODE_MAX_CLOCK_SKEW`).
const CLOCK_SKEW: i64 = 150;

/// What `/healthz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The process answers.
    pub live: bool,
    /// The public listener is open.
    pub ready: bool,
    /// It works, and somebody should look.
    pub degraded: bool,
    /// Why, one line each.
    pub reasons: Vec<String>,
    /// The same reasons in the same order, with their facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Degraded>,
}

impl Health {
    pub(super) fn of(shared: &Shared, snapshot: &Snapshot, listening: &State) -> Self {
        let draining = shared.drain.is_cancelled();
        let mut faults: Vec<Degraded> = snapshot
            .faults
            .iter()
            .cloned()
            .map(Degraded::Fault)
            .collect();
        if shared.store.policy().mode == Mode::Audit {
            faults.push(Degraded::AuditMode);
        }
        if let State::Blocked { address, why } = listening {
            let (address, why) = (*address, why.clone());
            faults.push(Degraded::CannotListen { address, why });
        }
        let refused = Reason::Denied(Denied::BootstrapRefused);
        faults.extend(of_bootstrap(snapshot, shared.metrics.rejections(refused)));
        faults.extend(of_server_pem(snapshot, now()));
        faults.extend(of_noded(
            shared.upstream.down(),
            shared.upstream.looked().as_ref(),
        ));
        let slots = shared.upstream.slots();
        faults.extend(of_predecessors(slots.of_predecessors(), slots.most()));
        if draining {
            faults.push(Degraded::Draining);
        }
        let listens = !listening.addresses().is_empty();
        Self::new(listens && !draining, faults)
    }

    pub(super) fn new(ready: bool, faults: Vec<Degraded>) -> Self {
        Self {
            live: true,
            ready,
            degraded: !faults.is_empty(),
            reasons: faults.iter().map(ToString::to_string).collect(),
            faults,
        }
    }

    /// The kinds of what is wrong now.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.faults.iter().map(Degraded::kind)
    }

    /// Ready, and nobody needs to look.
    pub fn is_good(&self) -> bool {
        self.ready && !self.degraded
    }
}

/// What contacts with noded and looks at its port have said. An impostor is told instead of the
/// noded that is not there.
fn of_noded(down: Option<String>, looked: Option<&Looked>) -> Vec<Degraded> {
    let noded = looked.map(|looked| looked.noded.as_ref());
    let (seen, unseen) = (noded.and_then(Result::ok), noded.and_then(Result::err));
    let reached = match (seen.map(|seen| seen.answers), down) {
        (Some(Answers::Impostor(uid)), _) => Some(Degraded::NodedImpersonated { uid }),
        (_, down) => down.map(|why| Degraded::NodedDown { why }),
    };
    let exposed = seen.and_then(|seen| seen.exposed);
    let exposed = exposed.map(|address| Degraded::NodedExposed { address });
    let unseen = unseen.cloned().map(|why| Degraded::NodedUnseen { why });
    let guard = match looked.map(|looked| &looked.guard) {
        Some(Guard::Missing(why)) => Some(Degraded::GuardMissing {
            why: why.to_string(),
        }),
        _ => None,
    };
    [reached, exposed, unseen, guard]
        .into_iter()
        .flatten()
        .collect()
}

/// A few RPCs that go on after a reload are nothing to look at.
fn of_predecessors(slots: usize, most: usize) -> Option<Degraded> {
    let many = slots > 0 && slots * 2 >= most;
    many.then_some(Degraded::PredecessorSlots { slots, most })
}

/// A cluster begins without a map. It is another matter if there was one before, or may have been,
/// or if somebody is refused who would be in it.
fn of_bootstrap(snapshot: &Snapshot, refused: u64) -> Option<Degraded> {
    if !matches!(snapshot.admission, Admission::Bootstrap(_)) {
        return None;
    }
    let before = match (snapshot.had_map, snapshot.map_state) {
        (Some(true), _) => MapBefore::Other,
        (None, _) => MapBefore::Unknown,
        (Some(false), MapState::Empty) => MapBefore::Empty,
        (Some(false), _) => MapBefore::None,
    };
    (before != MapBefore::None || refused > 0)
        .then_some(Degraded::BootstrapPhase { refused, before })
}

fn of_server_pem(snapshot: &Snapshot, now: i64) -> Option<Degraded> {
    match (&snapshot.tls, &snapshot.admission) {
        (Some(tls), _) => of_validity(tls.server.not_before, tls.server.not_after, now),
        (None, Admission::Nobody(Nobody::NoIdentity)) => Some(Degraded::ServerPemFaulty),
        (None, _) => Some(Degraded::NoServerPem),
    }
}

fn of_validity(not_before: i64, not_after: i64, now: i64) -> Option<Degraded> {
    match not_after - now {
        _ if not_before > now + CLOCK_SKEW => Some(Degraded::ServerPemNotYetValid { not_before }),
        ..0 => Some(Degraded::ServerPemExpired { not_after }),
        0..EXPIRY_WARNING => Some(Degraded::ServerPemExpires { not_after }),
        EXPIRY_WARNING.. => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::node::flaw::Flaw;
    use crate::trust::Fault;
    use serde_json::json;

    pub(in super::super) fn poor() -> Health {
        let fault = Fault::ServerPem {
            path: "/server.pem".into(),
            flaw: Flaw::at_line(3, "no"),
        };
        Health::new(
            true,
            vec![
                Degraded::Fault(fault),
                Degraded::AuditMode,
                Degraded::NoServerPem,
                Degraded::ServerPemFaulty,
                Degraded::ServerPemExpires { not_after: 7 },
                Degraded::ServerPemExpired { not_after: 7 },
                Degraded::ServerPemNotYetValid { not_before: 7 },
                Degraded::NodedDown { why: "gone".into() },
                Degraded::NodedImpersonated { uid: 33 },
                Degraded::NodedExposed {
                    address: "0.0.0.0:298".parse().unwrap(),
                },
                Degraded::NodedUnseen { why: "no".into() },
                Degraded::GuardMissing { why: "no".into() },
                Degraded::Draining,
                Degraded::CannotListen {
                    address: "[::]:1811".parse().unwrap(),
                    why: "taken by x".into(),
                },
                Degraded::BootstrapPhase {
                    refused: 2,
                    before: MapBefore::Other,
                },
                Degraded::PredecessorSlots { slots: 7, most: 9 },
            ],
        )
    }

    #[test]
    fn each_reason_is_a_text_and_its_facts() {
        let json = serde_json::to_value(poor()).unwrap();
        assert_eq!(json["reasons"][0], "server.pem /server.pem: line 3: no");
        let fault = json!({
            "kind": "fault",
            "file": "server_pem",
            "path": "/server.pem",
            "flaw": { "kind": "malformed", "line": 3, "why": "no" },
        });
        assert_eq!(json["faults"][0], fault);
        let expires = json!({ "kind": "server_pem_expires", "not_after": 7 });
        assert_eq!(json["faults"][4], expires);
        assert_eq!(json["reasons"].as_array().unwrap().len(), 16);
        assert_eq!(
            json["reasons"][13],
            "cannot listen on [::]:1811: taken by x"
        );
        assert_eq!(serde_json::from_value::<Health>(json).unwrap(), poor());
    }

    #[test]
    fn the_validity_of_server_pem_as_a_table() {
        const DAY: i64 = 86_400;
        let table = [
            (-DAY, 7 * DAY, None),
            (150, 9 * DAY, None),
            (
                -DAY,
                7 * DAY - 1,
                Some("server.pem expires within 7 days: "),
            ),
            (-DAY, 0, Some("server.pem expires within 7 days: ")),
            (-9 * DAY, -1, Some("server.pem has expired: ")),
            (
                151,
                9 * DAY,
                Some("server.pem is not valid yet: set the clock"),
            ),
        ];
        for (from, to, expected) in table {
            let now = 1_795_689_000;
            let found = of_validity(now + from, now + to, now).map(|found| found.to_string());
            let fits = match (&found, expected) {
                (Some(found), Some(expected)) => found.starts_with(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(fits, "{from} {to}: {found:?}");
        }
    }

    #[test]
    fn slots_of_predecessors_as_a_table() {
        for (slots, most, many) in [(0, 0, false), (0, 1, false), (1, 1, true), (9, 20, false)]
            .into_iter()
            .chain([(10, 20, true), (2, 3, true), (1, 3, false), (5, 2, true)])
        {
            assert_eq!(
                of_predecessors(slots, most).is_some(),
                many,
                "{slots} {most}"
            );
        }
    }

    #[test]
    fn a_good_one_has_no_reasons() {
        let good = Health::new(true, Vec::new());
        assert!(good.is_good() && !Health::new(false, Vec::new()).is_good());
        assert!(!poor().is_good());
        let json = json!({ "live": true, "ready": true, "degraded": false, "reasons": [] });
        assert_eq!(serde_json::to_value(&good).unwrap(), json);
        assert_eq!(serde_json::from_value::<Health>(json).unwrap(), good);
    }
}
