//! Whether the proxy works, and why somebody should look: what `/healthz` answers.
//!
//! Each reason is a value with its facts. It is only shown: no connection is refused because of it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::proxy::listener::State;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Guard, Looked};
use crate::trust::{Fault, Snapshot, now};
use rules::admission::{Admission, Nobody};
use rules::authz::Mode;
use rules::named;
use rules::noded::Answers;

/// A certificate that ends sooner than this makes the proxy degraded; Ganeti's own threshold
/// (`lib/constants.py`, `SSL_CERT_EXPIRATION_ERROR`).
const EXPIRY_WARNING: i64 = 7 * 86_400;

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

/// Why somebody should look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Degraded {
    /// A file is at fault.
    Fault(Fault),
    /// Audit mode protects nobody.
    AuditMode,
    /// There is no `server.pem`.
    NoServerPem,
    /// `server.pem` is there, and no good one was read since the start.
    ServerPemFaulty,
    /// `server.pem` ends within the week, or has ended.
    ServerPemExpires {
        /// End of its validity, seconds since 1970.
        not_after: i64,
    },
    /// The port cannot be opened.
    CannotListen {
        /// The address.
        address: SocketAddr,
        /// Why not, and who holds it.
        why: String,
    },
    /// noded could not be reached at the last contact.
    NodedDown {
        /// Why not.
        why: String,
    },
    /// Somebody else listens on noded's port. Nothing is sent to him.
    NodedImpersonated {
        /// The user whose process it is.
        uid: u32,
    },
    /// Other machines reach noded without the proxy.
    NodedExposed {
        /// Where it listens.
        address: SocketAddr,
    },
    /// It cannot be seen who listens on noded's port.
    NodedUnseen {
        /// Why not.
        why: String,
    },
    /// Local users may reach noded's port.
    GuardMissing {
        /// What is known of the guard.
        why: String,
    },
    /// The proxy is about to end.
    Draining,
}

// The label of `noded_proxy_degraded`.
named! {
    /// Why somebody should look, without the facts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Kind {
        /// [`Fault::CandidateMap`].
        CandidateMap = "candidate_map",
        /// [`Fault::ServerPem`], or no good one is known since the start.
        ServerPem = "server_pem",
        /// [`Fault::CandidateCertificates`] and [`Fault::CandidateDirectory`].
        CandidateCertificates = "candidate_certificates",
        /// [`Fault::Ssconf`].
        Ssconf = "ssconf",
        /// [`Fault::SameDigest`].
        SameDigest = "same_digest",
        /// [`Fault::Master`].
        Master = "master",
        /// [`Fault::MasterFile`].
        MasterFile = "master_file",
        /// [`Fault::ClientCaList`].
        ClientCaList = "client_ca_list",
        /// [`Degraded::AuditMode`].
        AuditMode = "audit_mode",
        /// [`Degraded::NoServerPem`].
        NoServerPem = "no_server_pem",
        /// [`Degraded::ServerPemExpires`].
        ServerPemExpires = "server_pem_expires",
        /// [`Degraded::CannotListen`].
        CannotListen = "cannot_listen",
        /// [`Degraded::NodedDown`].
        NodedDown = "noded_down",
        /// [`Degraded::NodedImpersonated`].
        NodedImpersonated = "noded_impersonated",
        /// [`Degraded::NodedExposed`].
        NodedExposed = "noded_exposed",
        /// [`Degraded::NodedUnseen`].
        NodedUnseen = "noded_unseen",
        /// [`Degraded::GuardMissing`].
        GuardMissing = "guard_missing",
        /// [`Degraded::Draining`].
        Draining = "draining",
    }
}

impl Degraded {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Fault(fault) => match fault {
                Fault::CandidateMap { .. } => Kind::CandidateMap,
                Fault::ServerPem { .. } => Kind::ServerPem,
                Fault::CandidateCertificates { .. } => Kind::CandidateCertificates,
                Fault::CandidateDirectory { .. } => Kind::CandidateCertificates,
                Fault::Ssconf { .. } => Kind::Ssconf,
                Fault::SameDigest { .. } => Kind::SameDigest,
                Fault::Master(_) => Kind::Master,
                Fault::MasterFile { .. } => Kind::MasterFile,
                Fault::ClientCaList { .. } => Kind::ClientCaList,
            },
            Self::AuditMode => Kind::AuditMode,
            Self::NoServerPem => Kind::NoServerPem,
            Self::ServerPemFaulty => Kind::ServerPem,
            Self::ServerPemExpires { .. } => Kind::ServerPemExpires,
            Self::CannotListen { .. } => Kind::CannotListen,
            Self::NodedDown { .. } => Kind::NodedDown,
            Self::NodedImpersonated { .. } => Kind::NodedImpersonated,
            Self::NodedExposed { .. } => Kind::NodedExposed,
            Self::NodedUnseen { .. } => Kind::NodedUnseen,
            Self::GuardMissing { .. } => Kind::GuardMissing,
            Self::Draining => Kind::Draining,
        }
    }
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault(fault) => return fault.fmt(f),
            Self::AuditMode => "AUDIT MODE: every certificate of this cluster is admitted",
            Self::NoServerPem => "there is no server.pem in force: this node is in no cluster",
            Self::ServerPemFaulty => {
                "there is no server.pem in force: the file is faulty and no good one is known"
            }
            Self::ServerPemExpires { .. } => {
                "server.pem expires within 7 days: gnt-cluster renew-crypto --new-cluster-certificate"
            }
            Self::CannotListen { address, why } => {
                return write!(f, "cannot listen on {address}: {why}");
            }
            Self::NodedDown { why } => why,
            Self::NodedImpersonated { uid } => {
                return write!(
                    f,
                    "noded is impersonated: a process of uid {uid} listens on its port, and is \
                     sent nothing: stop it, then start ganeti-noded"
                );
            }
            Self::NodedExposed { address } => {
                return write!(
                    f,
                    "noded is exposed on {address}: other machines reach it without the proxy: \
                     -b 127.0.0.1 in NODED_ARGS, then restart ganeti-noded"
                );
            }
            Self::NodedUnseen { why } => {
                return write!(f, "cannot see who listens on noded's port: {why}");
            }
            Self::GuardMissing { why } => {
                return write!(
                    f,
                    "the guard of noded's port is missing ({why}): local users may command noded: \
                     systemctl restart noded-proxy-guard"
                );
            }
            Self::Draining => "draining",
        })
    }
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
        faults.extend(of_server_pem(snapshot, now()));
        faults.extend(of_noded(
            shared.upstream.down(),
            shared.upstream.looked().as_ref(),
        ));
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

fn of_server_pem(snapshot: &Snapshot, now: i64) -> Option<Degraded> {
    let not_after = snapshot.tls.as_ref().map(|tls| tls.server.not_after);
    match (not_after, &snapshot.admission) {
        (None, Admission::Nobody(Nobody::NoIdentity)) => Some(Degraded::ServerPemFaulty),
        (None, _) => Some(Degraded::NoServerPem),
        (Some(not_after), _) if not_after - now < EXPIRY_WARNING => {
            Some(Degraded::ServerPemExpires { not_after })
        }
        (Some(_), _) => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::node::flaw::Flaw;
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
        assert_eq!(json["reasons"].as_array().unwrap().len(), 12);
        assert_eq!(
            json["reasons"][11],
            "cannot listen on [::]:1811: taken by x"
        );
        assert_eq!(serde_json::from_value::<Health>(json).unwrap(), poor());
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
