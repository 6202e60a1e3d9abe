//! What the configuration says, as each part below takes it.
//!
//! The only place where a key meets a part's own settings. It copies values and decides nothing:
//! what a value means is the part's business, and what it must fit to (open files, for example) is
//! the daemon's.

use super::keys::Config;
use super::upstream::{Guard, Warm};
use crate::proxy;
use crate::proxy::http::BodyLimits;
use crate::proxy::overload::Bounds;
use crate::proxy::upstream;
use crate::proxy::upstream::GuardWatch;
use crate::tls::Profile;
use crate::trust::{Paths, ReloadSettings, Sources};
use rules::authz::Policy;
use rules::succession::InForce;

impl Config {
    /// The access rule's settings.
    pub fn access(&self) -> Policy {
        Policy {
            reject_expired: self.admission.reject_expired,
            bind_peer: self.admission.bind_peer,
            mode: self.admission.mode,
        }
    }

    /// All that decides who may call what, for a process that this one replaces.
    pub fn in_force(&self) -> InForce {
        let files = [&self.map_path(), &self.server_pem, &self.ssconf_dir];
        InForce {
            access: self.access(),
            bootstrap: self.admission.bootstrap,
            policy: self.policy.clone(),
            legacy: self.tls.legacy,
            files: files.map(|path| path.display().to_string()).into(),
        }
    }

    /// The files that trust reads.
    pub fn paths(&self) -> Paths {
        Paths {
            map: self.map_path(),
            server_pem: self.server_pem.clone(),
            state_dir: self.state_dir.clone(),
            ssconf_dir: self.ssconf_dir.clone(),
            sources: Sources {
                directory: self.candidate_certs.clone(),
                bundle: self.candidate_bundle.clone(),
            },
        }
    }

    /// How trust takes what it reads, in the daemon.
    pub fn reload_settings(&self) -> ReloadSettings {
        ReloadSettings {
            bootstrap: self.admission.bootstrap,
            profile: self.tls_profile(),
            shown: self.tls.certificate,
            when_incomplete: self.client_ca_list.when_incomplete,
            keeps_state: true,
            pins_master: !self.policy.is_empty(),
        }
    }

    /// How strict TLS is.
    pub fn tls_profile(&self) -> Profile {
        match self.tls.legacy {
            true => Profile::Legacy,
            false => Profile::Modern,
        }
    }

    /// What clients are held to.
    pub fn proxy_settings(&self) -> proxy::Settings {
        let limits = &self.limits;
        proxy::Settings {
            handshake_timeout: limits.handshake_timeout,
            header_timeout: limits.header_timeout,
            body: BodyLimits {
                most: limits.body,
                in_memory: limits.body_in_memory(),
                rate: limits.body_rate,
            },
            memory: limits.memory,
            spool: limits.spool(),
            spool_directory: self.state_dir.clone(),
            logged: self.log.rpcs,
        }
    }

    /// The bounds on connections and handshakes, as they were asked for. The process may have fewer
    /// files.
    pub fn bounds(&self) -> Bounds {
        let limits = &self.limits;
        Bounds {
            connections: limits.connections,
            handshakes: limits.handshakes,
            handshakes_per_source: limits.handshakes_per_source,
            reserved: limits.reserved(),
        }
    }

    /// How the guard of noded's port is watched.
    pub fn guard_watch(&self) -> GuardWatch {
        match &self.upstream.guard {
            _ if self.upstream.tls => GuardWatch::NotNeeded,
            Guard::Off => GuardWatch::Off,
            Guard::Says(path) => GuardWatch::Says(path.clone()),
        }
    }

    /// How noded is reached.
    pub fn upstream_settings(&self) -> upstream::Settings {
        let noded = &self.upstream;
        upstream::Settings {
            address: noded.address,
            tls: noded.tls,
            connect_timeout: noded.connect_timeout,
            send_timeout: noded.send_timeout,
            slots: noded.max_clients,
            fast_slots: noded.fast_slots(),
            queue_length: noded.queue_length,
            queue_timeout: noded.queue_timeout,
            guard: self.guard_watch(),
            warm: noded.warm == Warm::Auto,
        }
    }
}
