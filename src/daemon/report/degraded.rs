//! Why somebody should look at this proxy: each reason is a value with its facts, its words, and its
//! kind for the metric. It is only shown: no connection is refused because of it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::trust::Fault;
use rules::named;

/// Why somebody should look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Degraded {
    /// A file is at fault.
    Fault(Fault),
    /// Audit mode protects nobody.
    AuditMode,
    /// The bootstrap phase is open, and that is not how a cluster begins.
    BootstrapPhase {
        /// Connections with other certificates than that of `server.pem` that were refused for it.
        refused: u64,
        /// Whether there was a map before.
        before: MapBefore,
    },
    /// There is no `server.pem`.
    NoServerPem,
    /// `server.pem` is there, and no good one was read since the start.
    ServerPemFaulty,
    /// `server.pem` ends within the week.
    ServerPemExpires {
        /// End of its validity, seconds since 1970.
        not_after: i64,
    },
    /// `server.pem` has ended.
    ServerPemExpired {
        /// End of its validity, seconds since 1970.
        not_after: i64,
    },
    /// `server.pem` begins in the future: the clock is wrong, here or where it was made.
    ServerPemNotYetValid {
        /// Start of its validity, seconds since 1970.
        not_before: i64,
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
    /// Processes that a reload replaced keep half of the slots, or more.
    PredecessorSlots {
        /// So many.
        slots: usize,
        /// Of so many.
        most: usize,
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
        /// [`Fault::State`].
        State = "state",
        /// [`Fault::Watches`], [`Fault::Reading`].
        Watches = "watches",
        /// [`Degraded::AuditMode`].
        AuditMode = "audit_mode",
        /// [`Degraded::BootstrapPhase`].
        BootstrapPhase = "bootstrap_phase",
        /// [`Degraded::NoServerPem`].
        NoServerPem = "no_server_pem",
        /// [`Degraded::ServerPemExpires`].
        ServerPemExpires = "server_pem_expires",
        /// [`Degraded::ServerPemExpired`].
        ServerPemExpired = "server_pem_expired",
        /// [`Degraded::ServerPemNotYetValid`].
        ServerPemNotYetValid = "server_pem_not_yet_valid",
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
        /// [`Degraded::PredecessorSlots`].
        PredecessorSlots = "predecessor_slots",
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
                Fault::State { .. } => Kind::State,
                Fault::Watches { .. } | Fault::Reading { .. } => Kind::Watches,
            },
            Self::AuditMode => Kind::AuditMode,
            Self::BootstrapPhase { .. } => Kind::BootstrapPhase,
            Self::NoServerPem => Kind::NoServerPem,
            Self::ServerPemFaulty => Kind::ServerPem,
            Self::ServerPemExpires { .. } => Kind::ServerPemExpires,
            Self::ServerPemExpired { .. } => Kind::ServerPemExpired,
            Self::ServerPemNotYetValid { .. } => Kind::ServerPemNotYetValid,
            Self::CannotListen { .. } => Kind::CannotListen,
            Self::NodedDown { .. } => Kind::NodedDown,
            Self::NodedImpersonated { .. } => Kind::NodedImpersonated,
            Self::NodedExposed { .. } => Kind::NodedExposed,
            Self::NodedUnseen { .. } => Kind::NodedUnseen,
            Self::GuardMissing { .. } => Kind::GuardMissing,
            Self::PredecessorSlots { .. } => Kind::PredecessorSlots,
            Self::Draining => Kind::Draining,
        }
    }
}

/// What is known of a candidate map before the bootstrap phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapBefore {
    /// There was none, as far as this node remembers.
    None,
    /// There was one, under another `server.pem`.
    Other,
    /// The file is there, and empty.
    Empty,
    /// Nobody knows, for the state directory could not be written at the start.
    Unknown,
}

fn bootstrap(f: &mut fmt::Formatter<'_>, refused: u64, before: MapBefore) -> fmt::Result {
    let before = match before {
        MapBefore::None => "",
        MapBefore::Other => "there was one under another server.pem; ",
        MapBefore::Empty => "its file is empty; ",
        MapBefore::Unknown => {
            "nobody knows whether there was one, for the state directory could not be written at \
             the start; "
        }
    };
    write!(
        f,
        "bootstrap phase: there is no candidate map, and the certificate of server.pem is admitted, \
         which every node holds; {before}connections refused for it: {refused}; gnt-cluster \
         copyfile -n NODE FILE on the master brings the map, by ssh"
    )
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault(fault) => return fault.fmt(f),
            Self::AuditMode => "AUDIT MODE: every certificate of this cluster is admitted",
            Self::BootstrapPhase { refused, before } => return bootstrap(f, *refused, *before),
            Self::NoServerPem => "there is no server.pem in force: this node is in no cluster",
            Self::ServerPemFaulty => {
                "there is no server.pem in force: the file is faulty and no good one is known"
            }
            Self::ServerPemExpires { .. } => {
                "server.pem expires within 7 days: gnt-cluster renew-crypto --new-cluster-certificate"
            }
            Self::ServerPemExpired { .. } => {
                "server.pem has expired: gnt-cluster renew-crypto --new-cluster-certificate; unless \
                 the clock is wrong"
            }
            Self::ServerPemNotYetValid { .. } => "server.pem is not valid yet: set the clock",
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
                     -b 127.0.0.1 (or ::1: that of upstream.address) in NODED_ARGS, then restart \
                     ganeti-noded"
                );
            }
            Self::NodedUnseen { why } => {
                return write!(f, "cannot see who listens on noded's port: {why}");
            }
            Self::GuardMissing { why } => {
                return write!(
                    f,
                    "the guard of noded's port is missing ({why}): local users may command noded: \
                     systemctl reset-failed noded-proxy-guard; systemctl restart noded-proxy-guard"
                );
            }
            Self::PredecessorSlots { slots, most } => {
                return write!(
                    f,
                    "processes that a reload replaced keep {slots} of {most} slots for their RPCs"
                );
            }
            Self::Draining => "draining",
        })
    }
}
