//! The cluster's certificates as Ganeti makes them: X.509 v1, RSA 2048, a self-signed
//! `server.pem` that signs one client certificate for each node. And what noded-proxy makes of it: an ECDSA
//! certificate signed by `server.pem`, for the peers that are to show the same.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Name};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A certificate with its key.
pub(crate) struct Identity {
    key: PKey<Private>,
    pub(crate) cert: X509,
}

impl Identity {
    /// With an RSA key, signed by `issuer` or by itself.
    pub(crate) fn new(name: &str, serial: u32, issuer: Option<&Self>) -> Result<Self, ErrorStack> {
        Self::with(PKey::from_rsa(Rsa::generate(2048)?)?, name, serial, issuer)
    }

    /// With a key on P-256, signed by `issuer`.
    fn leaf(issuer: &Self) -> Result<Self, ErrorStack> {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&curve)?)?;
        Self::with(key, "leaf", 2, Some(issuer))
    }

    fn with(
        key: PKey<Private>,
        name: &str,
        serial: u32,
        issuer: Option<&Self>,
    ) -> Result<Self, ErrorStack> {
        let mut subject = X509Name::builder()?;
        subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
        let subject = subject.build();
        let mut cert = X509::builder()?;
        cert.set_version(0)?;
        cert.set_serial_number(BigNum::from_u32(serial)?.to_asn1_integer()?.as_ref())?;
        cert.set_subject_name(&subject)?;
        cert.set_issuer_name(issuer.map_or(&subject, |i| i.cert.subject_name()))?;
        cert.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
        cert.set_not_after(Asn1Time::days_from_now(1825)?.as_ref())?;
        cert.set_pubkey(&key)?;
        cert.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256())?;
        Ok(Self {
            cert: cert.build(),
            key,
        })
    }

    /// Key and certificate, as in server.pem and client.pem.
    pub(crate) fn pem(&self) -> Result<Vec<u8>, ErrorStack> {
        Ok([self.key.private_key_to_pem_pkcs8()?, self.cert.to_pem()?].concat())
    }

    /// `AA:BB:..`, as in the candidate map.
    pub(crate) fn digest(&self) -> Result<String, ErrorStack> {
        let bytes = self.cert.digest(MessageDigest::sha1())?;
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(hex.join(":"))
    }
}

/// Writes `server.pem`, `leaf.pem`, `client/N.pem`, `unlisted.pem` (signed by server.pem, but in no
/// map) and the candidate `map`, in the order of the clients, into `dir`.
pub(crate) fn certs(dir: &Path, candidates: u32) {
    fs::create_dir_all(dir.join("client")).expect("folder");
    let save = |name: &str, id: &Identity| {
        fs::write(dir.join(name), id.pem().expect("pem")).expect("write");
    };
    let server = Identity::new("ganeti.example.com", 1, None).expect("server certificate");
    save("server.pem", &server);
    save("leaf.pem", &Identity::leaf(&server).expect("leaf"));
    let mut map = String::new();
    for n in 1..=candidates {
        let node = format!("node{n}.example.com");
        let id = Identity::new(&node, 100 + n, Some(&server)).expect("client certificate");
        save(&format!("client/{n}.pem"), &id);
        let digest = id.digest().expect("digest");
        let _ = writeln!(map, "00000000-0000-4000-8000-{n:012}={digest}");
    }
    fs::write(dir.join("map"), map).expect("map");
    let rogue = Identity::new("node99.example.com", 99, Some(&server)).expect("certificate");
    save("unlisted.pem", &rogue);
}
