//! Learned certificates: kept under their digest in the state directory, `learned/DIGEST.pem`.
//!
//! A client that completed a handshake has shown its certificate and proved that it holds the key.
//! From then on the certificate of its digest is known, even after a restart. A learned certificate
//! never admits anybody: only digests of the map in force are kept, and one that has left the map
//! is forgotten together with its file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::Mode;
use tracing::{debug, info, warn};

use super::fault::Fault;
use super::known::{KnownCertificate, Source, lists};
use super::tell::expires;
use crate::node::directory::Directory;
use crate::node::files::{self, FileContent};
use crate::tls::{CertificateInfo, certificate, certificates, pem};
use rules::admission::{Admission, Nobody};
use rules::identity::Digest;

/// The directory's name in the state directory.
const NAME: &str = "learned";

/// Most learned certificates that are kept. Ganeti's own map ends at 1351 entries.
const MOST: usize = 4096;

/// Largest certificate that is learned, in bytes of DER. Ganeti's have 800.
const MAX_DER: usize = 16 << 10;

/// The learned certificates, and their files.
#[derive(Debug)]
pub(super) struct Learned {
    state_dir: PathBuf,
    writes: bool,
    certificates: BTreeMap<Digest, Arc<KnownCertificate>>,
    /// Those whose file could not be written yet.
    unsaved: BTreeSet<Digest>,
}

impl Learned {
    /// Reads what was learned before. With `writes` false the files are never touched.
    pub(super) fn load(state_dir: &Path, writes: bool) -> Self {
        let mut certificates = BTreeMap::new();
        for path in files_in(state_dir).into_iter().take(MOST) {
            match read(&path) {
                Ok(known) => {
                    certificates.insert(known.info.digest, Arc::new(known));
                }
                Err(why) => warn!(file = %path.display(), why, "a learned certificate is ignored"),
            }
        }
        Self {
            state_dir: state_dir.to_owned(),
            writes,
            certificates,
            unsaved: BTreeSet::new(),
        }
    }

    /// From now on the files are never touched.
    pub(super) fn leave(&mut self) {
        self.writes = false;
        self.unsaved.clear();
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<KnownCertificate>> {
        self.certificates.values()
    }

    /// Learns a certificate whose holder proved possession of the key. Returns whether it was
    /// unknown.
    pub(super) fn learn(&mut self, der: &[u8], admission: &Admission) -> bool {
        let Ok(info) = certificate(der) else {
            return false;
        };
        let digest = info.digest;
        let wanted = lists(admission, &digest) && der.len() <= MAX_DER;
        if !wanted || self.certificates.len() >= MOST || self.certificates.contains_key(&digest) {
            return false;
        }
        let (cn, expires) = (
            info.common_name.as_deref().unwrap_or("-"),
            expires(info.not_after),
        );
        info!(cn, %digest, %expires, "certificate learned");
        if self.writes {
            self.unsaved.insert(digest);
        }
        let known = KnownCertificate {
            info,
            source: Source::Learned,
            since: Some(SystemTime::now()),
        };
        self.certificates.insert(digest, Arc::new(known));
        true
    }

    /// Forgets the certificates that the map no longer lists.
    pub(super) fn retain(&mut self, admission: &Admission) {
        if let Admission::Nobody(Nobody::NoIdentity | Nobody::NoGoodMap) = admission {
            return; // a fault does not tell who left the map
        }
        let (state_dir, writes) = (&self.state_dir, self.writes);
        let unsaved = &mut self.unsaved;
        self.certificates.retain(|digest, _| {
            let stays = lists(admission, digest);
            if !stays && !unsaved.remove(digest) && writes {
                match remove(state_dir, digest) {
                    Ok(_) => debug!(%digest, "learned certificate forgotten"),
                    Err(error) => debug!(%digest, %error, "learned certificate not removed"),
                }
            }
            stays
        });
    }

    /// Writes what is not written yet. What cannot be written is known until this process ends, and
    /// that is a fault.
    pub(super) fn save(&mut self, faults: &mut Vec<Fault>) {
        while let Some(digest) = self.unsaved.first() {
            let known = self.certificates.get(digest);
            if let Err(error) = known.map_or(Ok(()), |known| write(&self.state_dir, &known.info)) {
                return faults.push(Fault::unwritable(&self.state_dir, &error));
            }
            self.unsaved.pop_first();
        }
    }
}

fn write(state_dir: &Path, info: &CertificateInfo) -> io::Result<()> {
    let directory = Directory::open(state_dir)?.inside_or_made(NAME)?;
    let pem = pem(&info.der).map_err(io::Error::other)?;
    directory.replace(&file_of(&info.digest), &pem, Mode::RUSR | Mode::WUSR)
}

fn remove(state_dir: &Path, digest: &Digest) -> io::Result<bool> {
    let directory = Directory::open(state_dir)?.inside(NAME)?;
    directory.remove(&file_of(digest))
}

fn file_of(digest: &Digest) -> OsString {
    format!("{digest}.pem").into()
}

/// Removes all learned certificates from an open state directory. Returns how many there were.
pub(super) fn forget_all(state: &Directory) -> io::Result<usize> {
    let directory = match state.inside(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened.map_err(|error| io::Error::other(format!("{NAME}: {error}")))?,
    };
    let mut removed = 0;
    for name in directory.names()? {
        if Path::new(&name).extension() == Some(OsStr::new("pem")) {
            removed += usize::from(directory.remove(&name)?);
        }
    }
    Ok(removed)
}

/// The files of learned certificates in a state directory.
fn files_in(state_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(state_dir.join(NAME)) else {
        return Vec::new();
    };
    let is_pem = |path: &PathBuf| path.extension() == Some(OsStr::new("pem"));
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_pem)
        .collect()
}

/// Reads one file: its certificate must have the digest that is the file's name.
fn read(path: &Path) -> Result<KnownCertificate, String> {
    let content = match files::read(path, 2 * MAX_DER) {
        FileContent::Content(content) => content,
        FileContent::Absent => return Err("it is gone".into()),
        FileContent::TooLarge => return Err("it is too large".into()),
        FileContent::Unreadable(why) => return Err(why),
    };
    let mut list = certificates(&content).map_err(|error| error.to_string())?;
    let info = list.swap_remove(0);
    let named = path.file_stem().and_then(OsStr::to_str);
    if named != Some(&*info.digest.to_string()) {
        return Err("its certificate has another digest than its name says".into());
    }
    let since = fs::metadata(path).and_then(|data| data.modified()).ok();
    Ok(KnownCertificate {
        info,
        source: Source::Learned,
        since,
    })
}
