//! What is known of the candidates' certificates: what `/certs` and `certs list` show.
//!
//! Certificates are public. A key is never in it, though it stands in the same files.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::VERSION;
use super::admission::{Candidate, Phase};
use crate::tls::CertificateInfo;
use crate::trust::sightings::{Sighting, Sightings};
use crate::trust::{CaList, CaState, Snapshot, Source};
use rules::dn;
use rules::identity::Digest;
use rules::shown::CommonName;

/// Candidates in one document; Ganeti's own map ends at 1351 entries.
const MOST: usize = 4096;

/// The client CA list, `server.pem`, and each candidate in the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// Version of the program that says so; an older one does not name it.
    #[serde(default)]
    pub version: String,
    /// Who is admitted.
    #[serde(flatten)]
    pub phase: Phase,
    /// Who says so.
    pub source: Origin,
    /// What clients are told about acceptable certificates.
    pub client_ca_list: Option<ClientCaList>,
    /// The certificate of `server.pem`.
    pub server_pem: Option<Certificate>,
    /// The candidates of the map.
    pub candidates: Vec<KnownCandidate>,
}

/// Who says what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A running proxy, which also knows who called.
    #[serde(rename = "running proxy")]
    RunningProxy,
    /// The files and the state directory.
    #[serde(rename = "files")]
    Files,
}

/// What clients are told about acceptable certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCaList {
    /// How it came about.
    pub state: CaState,
    /// Digests in the map whose certificate is not known.
    pub certificates_not_known: usize,
    /// Its names; none lets any client offer what it has.
    pub names: Vec<Name>,
}

/// A distinguished name as people read it, and the string types that make it another one to GnuTLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The text.
    pub name: String,
    /// The ASN.1 string types of its attributes.
    pub string_types: Vec<String>,
}

/// One line of the candidate map, with what is known of its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownCandidate {
    /// The key, usually the node's UUID.
    pub key: String,
    /// Digest of the certificate.
    pub digest: Digest,
    /// Where the certificate is known from.
    pub known_from: Option<Source>,
    /// Since when, in seconds since 1970.
    pub known_since: Option<u64>,
    /// The certificate, if it is known.
    pub certificate: Option<Certificate>,
    /// Who called with it, as far as the running proxy remembers.
    pub seen: Option<Sighting>,
}

/// A certificate, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its digest.
    pub digest: Digest,
    /// Common name of its subject.
    pub common_name: Option<CommonName>,
    /// Its subject.
    pub subject: Name,
    /// Its issuer's name.
    pub issuer: Name,
    /// Both names are the same.
    pub self_issued: bool,
    /// Version of X.509.
    pub x509_version: u8,
    /// Kind and size of its key.
    pub key: String,
    /// Algorithm of its signature.
    pub signature: String,
    /// End of its validity, seconds since 1970.
    pub not_after: i64,
}

/// A certificate that several nodes used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedByAnother {
    /// Its digest.
    pub digest: Digest,
    /// The nodes, and the last call.
    pub seen: Sighting,
}

impl Certificates {
    /// What is known by this snapshot. `sightings` is what only a running proxy knows.
    pub fn of(snapshot: &Snapshot, sightings: Option<&Sightings>) -> Self {
        let tls = snapshot.tls.as_ref();
        let candidates = Candidate::list(&snapshot.admission, MOST).into_iter();
        Self {
            version: VERSION.into(),
            phase: Phase::of(&snapshot.admission),
            source: match sightings {
                Some(_) => Origin::RunningProxy,
                None => Origin::Files,
            },
            client_ca_list: tls.map(|tls| ClientCaList::of(&tls.client_cas)),
            server_pem: tls.map(|tls| Certificate::of(&tls.server)),
            candidates: candidates
                .map(|candidate| KnownCandidate::of(candidate, snapshot, sightings))
                .collect(),
        }
    }

    /// Each candidate's certificate is known, and clients can be told so.
    pub fn is_complete(&self) -> bool {
        let list = self.client_ca_list.as_ref();
        list.is_some_and(|list| list.certificates_not_known == 0)
    }
}

impl KnownCandidate {
    fn of(candidate: Candidate, snapshot: &Snapshot, sightings: Option<&Sightings>) -> Self {
        let Candidate { key, digest } = candidate;
        let known = snapshot.known.get(&digest);
        Self {
            key,
            digest,
            known_from: known.map(|known| known.source),
            known_since: known.and_then(|known| known.since).map(seconds),
            certificate: known.map(|known| Certificate::of(&known.info)),
            seen: sightings.and_then(|sightings| sightings.of(&digest)),
        }
    }
}

impl ClientCaList {
    pub(super) fn of(list: &CaList) -> Self {
        Self {
            state: list.state,
            certificates_not_known: list.missing,
            names: list.names.iter().map(Name::of).collect(),
        }
    }
}

impl Certificate {
    fn of(info: &CertificateInfo) -> Self {
        let kind = if info.rsa { "RSA" } else { "other" };
        Self {
            digest: info.digest,
            common_name: info.common_name.clone(),
            subject: Name::of(&info.subject),
            issuer: Name::of(&info.issuer),
            self_issued: info.subject == info.issuer,
            x509_version: info.x509_version,
            key: format!("{kind} {}", info.key_bits),
            signature: info.signature.clone(),
            not_after: info.not_after,
        }
    }
}

impl Name {
    fn of(name: &dn::Name) -> Self {
        let types = name.string_types().into_iter();
        Self {
            name: name.to_string(),
            string_types: types.map(Into::into).collect(),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
