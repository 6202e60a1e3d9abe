//! Certificates as Ganeti makes them, minted when they are needed: RSA 2048, X.509 v1, no
//! extensions.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use noded_proxy::tls::mint::{CertificateBuilder, CertifiedKey, common_name, p256_key, rsa_key};
use openssl::ec::EcKey;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

/// Name in every cluster's `server.pem`, ours and foreign ones.
const CLUSTER: &str = "ganeti.example.com";
/// Validity of Ganeti's certificates, in days.
const VALID: (i64, i64) = (-1, 1825);

/// RSA keys cost a tenth of a second each, so the tests share some. One test sees no key twice.
static KEYS: [OnceLock<PKey<Private>>; 24] = [const { OnceLock::new() }; 24];
static NEXT_KEY: AtomicUsize = AtomicUsize::new(0);

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
            server: mint(CLUSTER, rsa(), None, VALID),
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
        mint(cn, rsa(), Some(&self.server), VALID)
    }

    /// A `client.pem` with a key on P-256.
    pub(crate) fn client_ec(&self, cn: &str) -> Identity {
        mint(cn, p256_key().unwrap(), Some(&self.server), VALID)
    }

    /// A `client.pem` of another cluster whose `server.pem` has the same name as ours.
    pub(crate) fn foreign(&self, cn: &str) -> Identity {
        Self::new().client(cn)
    }

    /// A certificate that nobody but itself signed.
    pub(crate) fn self_signed(&self, cn: &str) -> Identity {
        mint(cn, rsa(), None, VALID)
    }

    /// A `client.pem` that ended a month ago.
    pub(crate) fn expired(&self, cn: &str) -> Identity {
        mint(cn, rsa(), Some(&self.server), (-400, -30))
    }

    /// A `client.pem` that begins in a month.
    pub(crate) fn not_yet_valid(&self, cn: &str) -> Identity {
        mint(cn, rsa(), Some(&self.server), (30, 400))
    }

    /// A renewed `server.pem` of this cluster: the same name, another key, ending in `days`.
    pub(crate) fn renewed_server(&self, days: i64) -> Identity {
        mint(CLUSTER, rsa(), None, (-1, days))
    }
}

pub(crate) fn rsa() -> PKey<Private> {
    let slot = &KEYS[NEXT_KEY.fetch_add(1, Ordering::Relaxed) % KEYS.len()];
    slot.get_or_init(|| rsa_key(2048).unwrap()).clone()
}

/// Mints a certificate, valid between these days from now.
fn mint(cn: &str, key: PKey<Private>, issuer: Option<&Identity>, days: (i64, i64)) -> Identity {
    let builder = CertificateBuilder::new(common_name(cn).unwrap(), key);
    signed(builder.valid_days(days.0, days.1), issuer)
}

/// Signs a certificate: by its issuer, or by itself.
pub(crate) fn signed(builder: CertificateBuilder<'_>, issuer: Option<&Identity>) -> Identity {
    let issuer = issuer.map(|issuer| CertifiedKey {
        key: issuer.key.clone(),
        certificate: issuer.cert.clone(),
    });
    let minted = match &issuer {
        Some(issuer) => builder.signed_by(issuer).mint(),
        None => builder.mint(),
    };
    Identity::new(minted.unwrap())
}

impl Identity {
    /// From its parts.
    pub(crate) fn new(minted: CertifiedKey) -> Self {
        let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
        Self {
            pem: text(minted.pem().unwrap()),
            cert_pem: text(minted.certificate.to_pem().unwrap()),
            der: minted.certificate.to_der().unwrap(),
            digest: minted.digest().unwrap().to_string(),
            key: minted.key,
            cert: minted.certificate,
        }
    }

    /// The same certificate with a key that pretends to be its own: what a thief of the certificate
    /// alone can make. Both keys are on P-256.
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
