//! Throwaway certificates as Ganeti makes them: RSA 2048, SHA-256, X.509 version 1, a common name and nothing
//! else (`lib/utils/x509.py`, Ganeti 3.0.2).

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Name};

use rules::identity::Digest;

/// Key and certificate.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) key: PKey<Private>,
    pub(super) certificate: X509,
}

impl Identity {
    /// The file as Ganeti writes it: the key first.
    pub(super) fn pem(&self) -> Result<Vec<u8>, ErrorStack> {
        let mut pem = self.key.private_key_to_pem_pkcs8()?;
        pem.extend(self.certificate.to_pem()?);
        Ok(pem)
    }

    pub(super) fn digest(&self) -> Result<Digest, ErrorStack> {
        Ok(Digest::of_der(&self.certificate.to_der()?))
    }
}

/// The cluster's certificate, which signs those of the nodes.
pub(super) struct Pki {
    server: Identity,
}

impl Pki {
    pub(super) fn new() -> Result<Self, ErrorStack> {
        let key = PKey::from_rsa(Rsa::generate(2048)?)?;
        let name = common_name("ganeti.example.com")?;
        let certificate = certificate(&key, &name, &key, &name)?;
        Ok(Self {
            server: Identity { key, certificate },
        })
    }

    pub(super) fn server(&self) -> &Identity {
        &self.server
    }

    /// A node's client certificate, signed by the cluster's.
    pub(super) fn client(&self, node: &str) -> Result<Identity, ErrorStack> {
        let key = PKey::from_rsa(Rsa::generate(2048)?)?;
        let issuer = common_name("ganeti.example.com")?;
        let certificate = certificate(&key, &common_name(node)?, &self.server.key, &issuer)?;
        Ok(Identity { key, certificate })
    }
}

fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn certificate(
    key: &PKey<Private>,
    subject: &X509Name,
    signer: &PKey<Private>,
    issuer: &X509Name,
) -> Result<X509, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?; // version 1 unless told otherwise
    let serial = Asn1Integer::from_bn(&serial)?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    let (today, tomorrow) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(1)?);
    builder.set_not_before(&today)?;
    builder.set_not_after(&tomorrow)?;
    builder.set_pubkey(key)?;
    builder.sign(signer, MessageDigest::sha256())?;
    Ok(builder.build())
}
