//! Which files there are, and how their content is used: the part of the configuration that trust
//! sees. It never reads the content of a file.

use std::path::PathBuf;

use super::known::WhenIncomplete;
use super::seat;
use super::sources::Sources;
use crate::config::Config;
use crate::node::files::Stamp;
use crate::node::ssconf;
use crate::tls::{Profile, ServerCertificate};
use rules::admission::BootstrapPolicy;

/// The files that a [`super::Reloader`] reads.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The candidate map.
    pub map: PathBuf,
    /// Key and certificate of the cluster.
    pub server_pem: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// Ganeti's ssconf directory.
    pub ssconf_dir: PathBuf,
    /// Candidate certificates.
    pub sources: Sources,
}

/// Stamps of the watched files, to notice changes that no event reported.
pub(super) type Stamps = Vec<(PathBuf, Option<Stamp>)>;

impl Paths {
    /// What the configuration says.
    pub fn of(config: &Config) -> Self {
        Self {
            map: config.map_path(),
            server_pem: config.server_pem.clone(),
            state_dir: config.state_dir.clone(),
            ssconf_dir: config.ssconf_dir.clone(),
            sources: Sources {
                directory: config.candidate_certs.clone(),
                bundle: config.candidate_bundle.clone(),
            },
        }
    }

    /// The single files to watch.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let ssconf = ssconf::FILES.map(|name| self.ssconf_dir.join(name));
        let seat = self.state_dir.join(seat::NAME);
        let mut files = vec![self.map.clone(), self.server_pem.clone(), seat];
        files.extend(ssconf);
        files.extend(self.sources.bundle.clone());
        files
    }

    pub(super) fn stamps(&self) -> Stamps {
        let files = self.files().into_iter();
        let mut stamps: Stamps = files
            .map(|path| {
                let stamp = Stamp::of(&path);
                (path, stamp)
            })
            .collect();
        stamps.extend(self.sources.stamps());
        stamps
    }
}

/// How a [`super::Reloader`] uses what it reads.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether an absent or empty map opens the bootstrap phase.
    pub bootstrap: BootstrapPolicy,
    /// How strict TLS is.
    pub profile: Profile,
    /// Which certificate clients are shown.
    pub shown: ServerCertificate,
    /// What is sent while the client CA list is incomplete.
    pub when_incomplete: WhenIncomplete,
    /// Whether this process owns the state directory. If not, it reads the directory and never
    /// writes to it.
    pub keeps_state: bool,
    /// Whether a policy asks who is master, so that the role must not move unannounced.
    pub pins_master: bool,
}

impl Rules {
    /// What the configuration says, for the daemon.
    pub fn of(config: &Config) -> Self {
        Self {
            bootstrap: config.admission.bootstrap,
            profile: if config.tls.legacy {
                Profile::Legacy
            } else {
                Profile::Modern
            },
            shown: config.tls.certificate,
            when_incomplete: config.client_ca_list.when_incomplete,
            keeps_state: true,
            pins_master: !config.policy.is_empty(),
        }
    }
}
