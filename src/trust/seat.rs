//! Which master this node believes in, over restarts: one line in the state directory.
//!
//! The rule is [`rules::master`]; here are the file and what feeds the rule. An administrator may
//! write a name into the file: it counts at the next reload. This file must never take ssconf's
//! word for a new master while there is an old one.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bequest::KeptSeat;
use super::fault::Fault;
use super::known::Known;
use crate::node::directory::Directory;
use crate::node::files::{self, FileContent};
use crate::node::flaw::Flaw;
use crate::node::ssconf::Ssconf;
use rules::admission::{Admission, Latch, ServerPem};
use rules::authz::Permit;
use rules::identity::{Digest, PeerIdentity};
use rules::master::{Facts, Role, Seat, follow};

/// The file's name in the state directory.
pub(super) const NAME: &str = "master";

/// Longest file that is read.
const MAX_BYTES: usize = 4096;

/// Who is master, and who may become it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The master in which this node believes.
    pub seat: Option<Seat>,
    /// The nodes that the master announced as its successors.
    pub announced: Arc<BTreeSet<Box<str>>>,
    /// The cluster's own address.
    pub master_ip: Option<IpAddr>,
}

impl Leadership {
    /// The role of an admitted peer.
    pub(super) fn role(
        &self,
        permit: &Permit,
        peer: &PeerIdentity,
        addresses: &HashMap<String, IpAddr>,
        cluster: Option<&str>,
    ) -> Role {
        let facts = Facts {
            seat: self.seat.as_ref(),
            announced: &self.announced,
            addresses,
            master_ip: self.master_ip,
            cluster,
        };
        Role::of(permit, peer, &facts)
    }
}

/// The seat, and the file that keeps it.
#[derive(Debug)]
pub(super) struct SeatFile {
    state_dir: PathBuf,
    path: PathBuf,
    /// Whether the file may be written.
    writes: bool,
    /// Without a policy nobody asks for the role, and whoever ssconf names is master.
    pins: bool,
    /// The seat of the last reading. It holds while the file is gone or could not be written.
    last: Option<Seat>,
    /// Whether the file could not be written.
    unsaved: bool,
    /// Whether somebody is writing the file.
    is_held: bool,
    /// Whether this node was in no cluster at the last reading.
    away: bool,
}

/// The cluster that this node is in, as far as the seat must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    /// None: there is no `server.pem`.
    None,
    /// `server.pem` does not tell: it is faulty.
    Unknown,
    /// That of a `server.pem` under which there was a candidate map, or may have been.
    Old,
    /// That of another one.
    New,
}

impl Cluster {
    /// A damaged latch makes no cluster new.
    pub(super) fn of(server: ServerPem, latch: &Latch, is_damaged: bool) -> Self {
        match server {
            ServerPem::Absent => Self::None,
            ServerPem::Faulty => Self::Unknown,
            ServerPem::Known(digest) if is_damaged || latch.holds(&digest) => Self::Old,
            ServerPem::Known(_) => Self::New,
        }
    }
}

impl SeatFile {
    pub(super) fn new(state_dir: &Path, writes: bool, pins: bool) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            path: state_dir.join(NAME),
            writes,
            pins,
            last: None,
            unsaved: false,
            is_held: false,
            away: false,
        }
    }

    /// From now on the file is another process's: what that one writes is read.
    pub(super) fn leave(&mut self) {
        (self.writes, self.unsaved) = (false, false);
    }

    /// From now on the file is this process's. What is known of the seat stays.
    pub(super) fn own(&mut self) {
        self.writes = true;
    }

    /// What is known of the seat, for another process.
    pub(super) fn bequeath(&self) -> KeptSeat {
        KeptSeat {
            master: self.last.as_ref().map(ToString::to_string),
            unsaved: self.unsaved,
            away: self.away,
        }
    }

    /// What the process before this one knows of the seat.
    pub(super) fn inherit(&mut self, kept: &KeptSeat) {
        self.last = kept.master.as_deref().and_then(Seat::parse);
        self.unsaved = kept.unsaved && self.last.is_some();
        self.away = kept.away;
    }

    /// While the file is being written, the seat of the last reading holds.
    pub(super) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held && self.last.is_some();
    }

    /// Who is master now, and who is to become it; nobody while this node is in no cluster. The seat
    /// outlives a `server.pem` that is away for a while, and is forgotten when another one comes.
    pub(super) fn lead(
        &mut self,
        cluster: Cluster,
        ssconf: &Ssconf,
        admission: &Admission,
        known: &Known,
        faults: &mut Vec<Fault>,
    ) -> Leadership {
        match cluster {
            Cluster::None => {
                self.away = true;
                return Leadership::default();
            }
            Cluster::New if self.away => self.forget(faults),
            Cluster::New | Cluster::Old | Cluster::Unknown => {}
        }
        self.away &= cluster == Cluster::Unknown;
        Leadership {
            seat: self.renew(ssconf, admission, known, faults),
            announced: Arc::clone(&ssconf.announced),
            master_ip: ssconf.master_ip,
        }
    }

    /// Who is master now. `known` are the candidates' certificates, by which the master's key is
    /// told.
    fn renew(
        &mut self,
        ssconf: &Ssconf,
        admission: &Admission,
        known: &Known,
        faults: &mut Vec<Fault>,
    ) -> Option<Seat> {
        let named = ssconf.master_node.as_deref();
        if !self.pins {
            self.forget(faults);
            return named.map(Seat::of);
        }
        let found = self.found();
        let old = match self.told_by(&found) {
            Ok(old) => old,
            Err(flaw) => {
                // Closed: nobody has a master's rights until somebody has looked.
                faults.push(self.fault(flaw));
                return None;
            }
        };
        let (mut seat, doubt) = follow(old.clone(), named, &ssconf.announced);
        faults.extend(doubt.map(Fault::Master));
        if let (Some(seat), Admission::Listed(map)) = (&mut seat, admission) {
            let names_it = |digest: &Digest| {
                let certificate = known.get(digest).map(|known| &known.info);
                certificate.and_then(|info| info.common_name.as_deref()) == Some(&*seat.name)
            };
            let keys: Vec<(&str, bool)> = map
                .iter()
                .map(|(key, digest)| (key, names_it(&digest)))
                .collect();
            seat.learn_key(keys.into_iter());
        }
        self.write(seat.as_ref(), &found, faults);
        self.last.clone_from(&seat);
        seat
    }

    /// Forgets the seat: it is another cluster's, or nobody asks for it.
    fn forget(&mut self, faults: &mut Vec<Fault>) {
        (self.last, self.unsaved) = (None, false);
        if !self.writes {
            return;
        }
        // Without the directory there is no such file, and that is told elsewhere.
        let removed = Directory::open(&self.state_dir).map(|state| state.remove(NAME.as_ref()));
        if let Ok(Err(error)) = removed {
            faults.push(Fault::unwritable(&self.state_dir, &error));
        }
    }

    fn fault(&self, flaw: Flaw) -> Fault {
        let path = self.path.clone();
        Fault::MasterFile { path, flaw }
    }

    fn found(&self) -> FileContent {
        files::read(&self.path, MAX_BYTES)
    }

    fn told_by(&self, found: &FileContent) -> Result<Option<Seat>, Flaw> {
        if self.unsaved || self.is_held {
            return Ok(self.last.clone());
        }
        match found {
            FileContent::Absent => Ok(self.last.clone()),
            FileContent::TooLarge => Err(Flaw::TooLarge { limit: MAX_BYTES }),
            FileContent::Unreadable(why) => Err(Flaw::Unreadable { why: why.clone() }),
            FileContent::Content(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let seat = Seat::parse(&text);
                seat.map(Some)
                    .ok_or_else(|| Flaw::malformed("expected the master's name"))
            }
        }
    }

    /// Writes the seat, if the file does not say so already. What an administrator writes
    /// meanwhile stays, and is read next.
    fn write(&mut self, seat: Option<&Seat>, found: &FileContent, faults: &mut Vec<Fault>) {
        let Some(seat) = seat.filter(|_| self.writes && !self.is_held) else {
            return;
        };
        let text = format!("{seat}\n");
        let is_there = |found: &[u8]| Seat::parse(&String::from_utf8_lossy(found));
        let is_so_still = || *found == self.found();
        self.unsaved = match found {
            FileContent::Content(found) if is_there(found).as_ref() == Some(seat) => false,
            _ => files::replace_if(&self.path, text.as_bytes(), is_so_still)
                .inspect_err(|error| faults.push(Fault::unwritable(&self.state_dir, error)))
                .is_err(),
        };
    }
}

#[cfg(test)]
#[path = "seat_tests.rs"]
mod tests;
