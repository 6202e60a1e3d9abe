//! What a running proxy knows, as one value: the only source of all that is shown of it.
//!
//! The admin listener serialises it (`/status`, `/healthz`, `/certs`), the commands deserialise it
//! (`status`, `explain`, `check`, `certs list`), and systemd's status line is a line of it. The
//! names of its fields are an interface: one may be added, none may be renamed or given another
//! meaning.
//!
//! It only shows. It must never decide about a peer, change what it reads, wait for anything but a
//! short lock, or hold a key.

mod admission;
mod certificates;
mod degraded;
mod health;
mod policy;
pub mod times;
pub mod words;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::handover::Holds;
use super::sandbox;
use crate::proxy::listener::State;
use crate::proxy::refusals::RefusalRecord;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::GuardState;
use crate::tls::ServerCertificate;
use crate::trust::sightings::Sightings;
use crate::trust::{Tls, now};
use rules::authz::Mode;
use rules::identity::Digest;
use rules::shown::CommonName;

pub use admission::{Admission, Candidate, Phase};
pub use certificates::{
    Certificate, Certificates, ClientCaList, KnownCandidate, Name, Origin, UsedByAnother,
};
pub use degraded::{Degraded, Kind};
pub use health::Health;
pub use policy::RpcPolicy;

/// The version of this program, as reports name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All that `/status` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the running program.
    pub version: String,
    /// Version of the TLS library.
    pub tls_library: String,
    /// This node's name.
    pub host: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Which rule decides.
    pub mode: Mode,
    /// The RPC policy; an older proxy does not say it.
    #[serde(default)]
    pub policy: Option<RpcPolicy>,
    /// Whether it works, and whether somebody should look.
    pub health: Health,
    /// Where the public listener listens; nowhere while there is no `server.pem`.
    pub listening: Vec<SocketAddr>,
    /// Who is admitted.
    pub admission: Admission,
    /// The certificate of `server.pem`, while there is one in force.
    pub server_pem: Option<ServerPem>,
    /// What clients are told about acceptable certificates.
    pub client_ca_list: Option<ClientCaList>,
    /// Certificates that several nodes used.
    pub certificates_used_by_another_node: Vec<UsedByAnother>,
    /// Client connections.
    pub connections: Connections,
    /// The local node daemon.
    pub upstream: Upstream,
    /// Which layers of the process's own sandbox are in force.
    pub sandbox: sandbox::Report,
    /// The last refusals, newest last.
    pub last_refusals: Vec<RefusalRecord>,
    /// This process, and those that it replaced; an older proxy does not say it.
    #[serde(default)]
    pub handover: Handover,
}

/// Handovers (`systemctl reload`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Handover {
    /// The process that answers.
    pub pid: u32,
    /// Handovers that were tried since the service was started, successful ones among them.
    pub tried: u64,
    /// Why the last one failed, if it did.
    pub failed: Option<String>,
    /// Processes that were replaced and still serve.
    pub predecessors: Vec<Holds>,
}

/// The certificate of `server.pem`, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPem {
    /// Its digest.
    pub digest: Digest,
    /// Common name of its subject.
    pub common_name: Option<CommonName>,
    /// End of its validity, seconds since 1970.
    pub not_after: i64,
    /// Seconds until then.
    pub expires_in_seconds: i64,
    /// Which certificate clients are shown.
    pub shown_to_clients: ServerCertificate,
}

/// Client connections of this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Admitted ones.
    pub open: i64,
    /// Those in their handshake.
    pub handshakes: i64,
}

/// The local node daemon and the connections to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its address.
    pub address: SocketAddr,
    /// Connections that may be in use.
    pub slots: usize,
    /// Connections in use.
    pub slots_in_use: usize,
    /// Requests that wait for a slot.
    pub waiting: usize,
    /// Connections opened in advance.
    pub warm: usize,
    /// Why it was not reached at the last contact or look; `None` while it is.
    pub down: Option<String>,
    /// How the guard of its port stands; an older proxy does not say it.
    #[serde(default)]
    pub guard: Option<GuardState>,
}

impl Report {
    /// What the proxy knows now.
    pub fn of(shared: &Shared, listening: &State, sandbox: sandbox::Report) -> Self {
        let snapshot = shared.store.snapshot();
        let tls = snapshot.tls.as_ref();
        Self {
            version: VERSION.into(),
            tls_library: crate::tls::library().into(),
            host: shared.host.clone(),
            uptime_seconds: shared.uptime().as_secs(),
            mode: shared.store.policy().mode,
            policy: Some(RpcPolicy::of(shared)),
            health: Health::of(shared, &snapshot, listening),
            listening: listening.addresses().to_vec(),
            admission: Admission::of(&snapshot),
            server_pem: tls.map(ServerPem::of),
            client_ca_list: tls.map(|tls| ClientCaList::of(&tls.client_cas)),
            certificates_used_by_another_node: used_by_another(shared.store.sightings()),
            connections: Connections::of(shared),
            upstream: Upstream::of(shared),
            sandbox,
            last_refusals: shared.refusals.list(),
            handover: Handover::default(),
        }
    }
}

impl ServerPem {
    fn of(tls: &Tls) -> Self {
        let server = &tls.server;
        Self {
            digest: server.digest,
            common_name: server.common_name.clone(),
            not_after: server.not_after,
            expires_in_seconds: server.not_after - now(),
            shown_to_clients: tls.shown,
        }
    }
}

impl Connections {
    fn of(shared: &Shared) -> Self {
        Self {
            open: shared.metrics.open.get(),
            handshakes: shared.metrics.handshakes.get(),
        }
    }
}

impl Upstream {
    fn of(shared: &Shared) -> Self {
        let (upstream, load) = (&shared.upstream, shared.upstream.slots().load());
        Self {
            address: upstream.address(),
            slots: load.most,
            slots_in_use: load.in_use,
            waiting: load.waiting,
            warm: load.warm,
            down: upstream.down(),
            guard: upstream.looked().map(|looked| looked.guard.state()),
        }
    }
}

fn used_by_another(sightings: &Sightings) -> Vec<UsedByAnother> {
    let all = sightings.shared().into_iter();
    all.map(|(digest, seen)| UsedByAnother { digest, seen })
        .collect()
}

#[cfg(test)]
pub(crate) mod example;

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::Value;
    use std::fmt::Debug;

    /// The document comes back whole, also with a field that only a newer proxy has.
    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Value {
        let json = serde_json::to_value(value).unwrap();
        let mut newer = json.clone();
        newer["more"] = "x".into();
        assert_eq!(serde_json::from_value::<T>(newer).unwrap(), *value);
        json
    }

    #[test]
    fn documents_come_back_with_or_without_more_fields() {
        comes_back(&example::report());
        let certificates = comes_back(&example::certificates());
        assert_eq!(certificates["source"], "running proxy");
        assert_eq!(certificates["phase"], "listed");
        let mut poor = example::report();
        poor.health = health::tests::poor();
        comes_back(&poor);
    }

    /// What programs read, by name: these names stay.
    #[test]
    fn the_names_of_fields_are_an_interface() {
        let report = comes_back(&example::report());
        let names = |value: &Value| {
            let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names.join(" ")
        };
        let table = [
            (
                &report,
                "admission certificates_used_by_another_node client_ca_list connections handover \
                 health host last_refusals listening mode policy sandbox server_pem tls_library \
                 upstream \
                 uptime_seconds version",
            ),
            (
                &report["policy"],
                "allow_from_master_only audited deny refused state",
            ),
            (&report["health"], "degraded faults live ready reasons"),
            (
                &report["admission"],
                "candidate_addresses candidates entries faults generation map_age_seconds \
                 map_file master phase",
            ),
            (
                &report["server_pem"],
                "common_name digest expires_in_seconds not_after shown_to_clients",
            ),
            (
                &report["client_ca_list"],
                "certificates_not_known names state",
            ),
            (&report["connections"], "handshakes open"),
            (
                &report["upstream"],
                "address down guard slots slots_in_use waiting warm",
            ),
            (&report["handover"], "failed pid predecessors tried"),
            (
                &report["sandbox"],
                "filesystem network no_new_privs signals",
            ),
            (
                &report["last_refusals"][0],
                "admitted_by_audit common_name digest peer reason time why",
            ),
        ];
        for (value, expected) in table {
            assert_eq!(names(value), expected);
        }
        assert_eq!(report["last_refusals"][0]["reason"], "unknown_digest");
        assert_eq!(report["listening"][0], "[::]:1811");
        assert_eq!(
            (&report["mode"], &report["server_pem"]["shown_to_clients"]),
            (&"audit".into(), &"ecdsa".into())
        );
    }
}
