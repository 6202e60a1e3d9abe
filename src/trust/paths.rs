//! Which files trust reads, and how it takes what they say. `config` fills both; nothing here reads
//! a configuration file or a flag.

use std::path::PathBuf;

use super::known::WhenIncomplete;
use super::seat;
use super::sources::Sources;
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
pub struct ReloadSettings {
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
