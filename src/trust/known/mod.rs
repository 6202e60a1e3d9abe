//! Known candidate certificates, and the client CA list made of them.
//!
//! Pure. The candidate map names certificates only by digest. Their content is known from files, or
//! from a candidate's first call. A certificate never counts without the map: it leaves with its
//! digest.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;

use crate::tls::CertificateInfo;
use rules::admission::Admission;
use rules::candidates::CandidateMap;
use rules::dn::Name;
use rules::identity::Digest;
use rules::{named, serde_by_name};

// The label of `noded_proxy_known_certificates`.
named! {
    /// Where a certificate is known from.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Source {
        /// A file in `candidate_certs`.
        Directory = "directory",
        /// `candidate_bundle`.
        Bundle = "bundle",
        /// A handshake in which its holder proved possession.
        Learned = "learned",
    }
}

serde_by_name!(Source);

/// One certificate that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCertificate {
    /// The certificate.
    pub info: CertificateInfo,
    /// Where it is known from.
    pub source: Source,
    /// Since when: the file's last change, or the handshake.
    pub since: Option<SystemTime>,
}

/// Two different certificates with one digest, of which one is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Collision {
    pub(super) digest: Digest,
    /// Where the certificate that counts comes from.
    pub(super) first: Source,
    /// Where the other one comes from.
    pub(super) second: Source,
}

/// The known certificates of the candidates in the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(BTreeMap<Digest, Arc<KnownCertificate>>);

impl Known {
    /// Those of `found` that are admitted. If several have one digest, the first counts. Also
    /// returns the collisions: different certificates with one digest.
    pub(super) fn gather(
        found: impl IntoIterator<Item = Arc<KnownCertificate>>,
        admission: &Admission,
    ) -> (Self, Vec<Collision>) {
        let (mut known, mut collisions) = (BTreeMap::new(), Vec::new());
        for certificate in found {
            let digest = certificate.info.digest;
            if !lists(admission, &digest) {
                continue;
            }
            match known.entry(digest) {
                Entry::Vacant(entry) => {
                    entry.insert(certificate);
                }
                Entry::Occupied(first) => {
                    let first: &Arc<KnownCertificate> = first.get();
                    if first.info.der != certificate.info.der {
                        collisions.push(Collision {
                            digest,
                            first: first.source,
                            second: certificate.source,
                        });
                    }
                }
            }
        }
        (Self(known), collisions)
    }

    /// The certificate of a digest.
    pub fn get(&self, digest: &Digest) -> Option<&Arc<KnownCertificate>> {
        self.0.get(digest)
    }

    /// DER of the certificate of a digest.
    pub fn der(&self, digest: &Digest) -> Option<&[u8]> {
        self.0.get(digest).map(|known| &*known.info.der)
    }

    /// All, ordered by digest.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KnownCertificate>> {
        self.0.values()
    }

    /// Digests of the map whose certificate is not known.
    pub fn missing(&self, map: &CandidateMap) -> usize {
        let known = self.0.keys().filter(|digest| map.contains(digest)).count();
        map.entries() - known
    }
}

/// Whether the map in force lists a digest.
pub(super) fn lists(admission: &Admission, digest: &Digest) -> bool {
    match admission {
        Admission::Listed(map) => map.contains(digest),
        Admission::Bootstrap(_) | Admission::Nobody(_) => false,
    }
}

/// What is sent while some candidate's certificate is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenIncomplete {
    /// No name at all. Then any client offers the certificate that it has.
    #[default]
    Empty,
    /// The names that are known.
    Partial,
}

// The label of `noded_proxy_client_ca_list_state`.
named! {
    /// How the client CA list came about.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum CaState {
        /// It has all names.
        Complete = "complete",
        /// Empty: some candidate's certificate is not known.
        Incomplete = "incomplete",
        /// It has the names that are known.
        Partial = "partial",
        /// Empty: TLS cannot carry all names.
        TooLong = "too_long",
        /// Empty: nobody is admitted.
        Nobody = "nobody",
    }
}

serde_by_name!(CaState);

/// The client CA list that goes into each CertificateRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaList {
    /// The names, ordered, each once. If there are none, any client offers the certificate that it
    /// has.
    pub names: Vec<Name>,
    /// How it came about.
    pub state: CaState,
    /// Digests in the map whose certificate is not known.
    pub missing: usize,
}

impl CaList {
    /// Longest list that is sent, in bytes. TLS carries 65535 bytes of names, with two more bytes
    /// for the length of each (RFC 5246 7.4.4, RFC 8446 4.2.4). A GnuTLS client accepts 128 KiB of
    /// handshake, OpenSSL's 100 KiB.
    const MAX_BYTES: usize = 60_000;

    /// The list for a map and the certificates known of it.
    pub fn new(
        admission: &Admission,
        known: &Known,
        server: &CertificateInfo,
        policy: WhenIncomplete,
    ) -> Self {
        let missing = match admission {
            Admission::Listed(map) => known.missing(map),
            Admission::Bootstrap(_) => 0, // server.pem alone is admitted, and it is known
            Admission::Nobody(_) => return Self::empty(CaState::Nobody, 0),
        };
        let state = match (missing, policy) {
            (0, _) => CaState::Complete,
            (_, WhenIncomplete::Empty) => return Self::empty(CaState::Incomplete, missing),
            (_, WhenIncomplete::Partial) => CaState::Partial,
        };
        let infos = || known.iter().map(|k| &k.info).chain([server]);
        // A client offers its certificate if the *issuer* is in the list. If not all names fit, the
        // issuers are sent.
        let issuers: BTreeSet<&Name> = infos().map(|info| &info.issuer).collect();
        let mut all: BTreeSet<&Name> = infos().map(|info| &info.subject).collect();
        all.extend(&issuers);
        let names = [all, issuers].into_iter().find(|names| fits(names));
        match names {
            Some(names) => Self {
                names: names.into_iter().cloned().collect(),
                state,
                missing,
            },
            None => Self::empty(CaState::TooLong, missing),
        }
    }

    /// The list of an acceptor that is not used yet.
    pub(super) fn before_the_first() -> Self {
        Self::empty(CaState::Nobody, 0)
    }

    fn empty(state: CaState, missing: usize) -> Self {
        Self {
            names: Vec::new(),
            state,
            missing,
        }
    }
}

fn fits(names: &BTreeSet<&Name>) -> bool {
    names.iter().map(|name| name.der().len() + 2).sum::<usize>() <= CaList::MAX_BYTES
}

#[cfg(test)]
mod tests;
