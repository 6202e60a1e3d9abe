//! Certificates as Ganeti makes them, minted when they are needed: RSA 2048, X.509 v1, no extensions.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Name};
use rules::identity::Digest;

/// Name in every cluster's `server.pem`, ours and foreign ones.
const CLUSTER: &str = "ganeti.example.com";
const DAY: i64 = 86_400;

/// RSA keys cost a tenth of a second each, so the tests share some. One test sees no key twice.
static KEYS: [OnceLock<PKey<Private>>; 24] = [const { OnceLock::new() }; 24];
static NEXT_KEY: AtomicUsize = AtomicUsize::new(0);
static SERIAL: AtomicU32 = AtomicU32::new(1);

/// One cluster's certificates.
pub(crate) struct Pki {
    server: Identity,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    /// Key and certificate, as in `server.pem` and `client.pem`.
    pub(crate) pem: String,
    /// The certificate alone.
    pub(crate) cert_pem: String,
    /// The certificate, DER.
    pub(crate) der: Vec<u8>,
    /// Its digest, as the candidate map has it.
    pub(crate) digest: String,
    pub(crate) key: PKey<Private>,
    pub(crate) cert: X509,
}

impl Pki {
    /// A new cluster.
    pub(crate) fn new() -> Self {
        Self {
            server: mint(CLUSTER, rsa(), None, (-DAY, 1825 * DAY)),
        }
    }

    /// The text of `server.pem`.
    pub(crate) fn server_pem(&self) -> String {
        self.server.pem.clone()
    }

    /// `server.pem`: the self-signed certificate that every node of the cluster holds.
    pub(crate) fn server(&self) -> &Identity {
        &self.server
    }

    /// A node's `client.pem`, signed by `server.pem`.
    pub(crate) fn client(&self, cn: &str) -> Identity {
        mint(cn, rsa(), Some(&self.server), (-DAY, 1825 * DAY))
    }

    /// A `client.pem` with a key on P-256.
    pub(crate) fn client_ec(&self, cn: &str) -> Identity {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        mint(cn, key, Some(&self.server), (-DAY, 1825 * DAY))
    }

    /// A `client.pem` of another cluster whose `server.pem` has the same name as ours.
    pub(crate) fn foreign(&self, cn: &str) -> Identity {
        Self::new().client(cn)
    }

    /// A certificate that nobody but itself signed.
    pub(crate) fn self_signed(&self, cn: &str) -> Identity {
        mint(cn, rsa(), None, (-DAY, 1825 * DAY))
    }

    /// A `client.pem` that ended a month ago.
    pub(crate) fn expired(&self, cn: &str) -> Identity {
        mint(cn, rsa(), Some(&self.server), (-400 * DAY, -30 * DAY))
    }

    /// A `client.pem` that begins in a month.
    pub(crate) fn not_yet_valid(&self, cn: &str) -> Identity {
        mint(cn, rsa(), Some(&self.server), (30 * DAY, 400 * DAY))
    }

    /// A renewed `server.pem` of this cluster: the same name, another key, ending in `days`.
    pub(crate) fn renewed_server(&self, days: i64) -> Identity {
        mint(CLUSTER, rsa(), None, (-DAY, days * DAY))
    }
}

pub(crate) fn rsa() -> PKey<Private> {
    let slot = &KEYS[NEXT_KEY.fetch_add(1, Ordering::Relaxed) % KEYS.len()];
    slot.get_or_init(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap())
        .clone()
}

/// Mints a certificate, valid from `valid.0` to `valid.1` seconds from now.
fn mint(cn: &str, key: PKey<Private>, issuer: Option<&Identity>, valid: (i64, i64)) -> Identity {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let at = |offset: i64| Asn1Time::from_unix(now + offset).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, cn).unwrap();
    let subject = subject.build();
    let serial = BigNum::from_u32(SERIAL.fetch_add(1, Ordering::Relaxed)).unwrap();
    let mut cert = X509::builder().unwrap();
    cert.set_version(0).unwrap();
    cert.set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    cert.set_subject_name(&subject).unwrap();
    cert.set_issuer_name(issuer.map_or(&subject, |i| i.cert.subject_name()))
        .unwrap();
    cert.set_not_before(&at(valid.0)).unwrap();
    cert.set_not_after(&at(valid.1)).unwrap();
    cert.set_pubkey(&key).unwrap();
    cert.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256())
        .unwrap();
    Identity::new(key, cert.build())
}

impl Identity {
    /// From its parts.
    pub(crate) fn new(key: PKey<Private>, cert: X509) -> Self {
        let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
        let cert_pem = text(cert.to_pem().unwrap());
        let pem = text(key.private_key_to_pem_pkcs8().unwrap()) + &cert_pem;
        let der = cert.to_der().unwrap();
        let digest = Digest::of_der(&der).to_string();
        Self {
            pem,
            cert_pem,
            der,
            digest,
            key,
            cert,
        }
    }

    /// The same certificate with a key that pretends to be its own: what a thief of the certificate alone can
    /// make. Both keys are on P-256.
    pub(crate) fn with_key_behind(&self, other: &Self) -> Self {
        let (mine, theirs) = (self.key.ec_key().unwrap(), other.key.ec_key().unwrap());
        let (group, public) = (mine.group(), mine.public_key());
        let forged = EcKey::from_private_components(group, theirs.private_key(), public).unwrap();
        Self {
            key: PKey::from_ec_key(forged).unwrap(),
            ..self.clone()
        }
    }
}

/// The candidate map's text, as Ganeti writes it.
pub(crate) fn map_text(candidates: &[(&str, &Identity)]) -> String {
    candidates
        .iter()
        .map(|(key, id)| format!("{key}={}\n", id.digest))
        .collect()
}
