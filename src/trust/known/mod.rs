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

/// Where a certificate is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file in `candidate_certs`.
    Directory,
    /// `candidate_bundle`.
    Bundle,
    /// A handshake in which its holder proved possession.
    Learned,
}

impl Source {
    /// Every name, as in the label of `noded_proxy_known_certificates`.
    pub const NAMES: [&'static str; 3] = ["directory", "bundle", "learned"];

    /// The source's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Bundle => "bundle",
            Self::Learned => "learned",
        }
    }
}

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

/// The known certificates of the candidates in the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(BTreeMap<Digest, Arc<KnownCertificate>>);

impl Known {
    /// Those of `found` that are admitted. If several have one digest, the first counts. Also
    /// returns the collisions: different certificates with one digest.
    pub(super) fn gather(
        found: impl IntoIterator<Item = Arc<KnownCertificate>>,
        admission: &Admission,
    ) -> (Self, Vec<String>) {
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
                        collisions.push(format!(
                            "two different certificates have the digest {digest} ({}, {}): the first counts",
                            first.source.name(),
                            certificate.source.name()
                        ));
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

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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

/// The client CA list that goes into each CertificateRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaList {
    /// The names, ordered, each once. If there are none, any client offers the certificate that it
    /// has.
    pub names: Vec<Name>,
    /// How it came about, one of [`CaList::STATES`].
    pub state: &'static str,
    /// Digests in the map whose certificate is not known.
    pub missing: usize,
}

impl CaList {
    /// `complete`: all names. `incomplete`: empty, because some certificate is not known.
    /// `partial`: the names that are known. `too_long`: empty, because TLS cannot carry all names.
    /// `nobody`: empty, because nobody is admitted.
    pub const STATES: [&'static str; 5] =
        ["complete", "incomplete", "partial", "too_long", "nobody"];

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
            Admission::Nobody(_) => return Self::empty("nobody", 0),
        };
        let state = match (missing, policy) {
            (0, _) => "complete",
            (_, WhenIncomplete::Empty) => return Self::empty("incomplete", missing),
            (_, WhenIncomplete::Partial) => "partial",
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
            None => Self::empty("too_long", missing),
        }
    }

    /// The list of an acceptor that is not used yet.
    pub(super) fn before_the_first() -> Self {
        Self::empty("nobody", 0)
    }

    fn empty(state: &'static str, missing: usize) -> Self {
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
