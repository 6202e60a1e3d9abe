//! A certificate without its private key: whether a public key is its own, and who signed it. It
//! judges nothing.

use openssl::base64::decode_block;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::X509;

use super::credentials::{CertificateInfo, Credentials, CredentialsError};

/// A certificate without its private key.
pub(crate) struct Lone {
    certificate: X509,
    info: CertificateInfo,
}

impl Lone {
    /// The first certificate in PEM text.
    pub(crate) fn first(pem: &[u8]) -> Result<Self, CredentialsError> {
        let all = X509::stack_from_pem(pem).map_err(CredentialsError::Certificate)?;
        let certificate = all.into_iter().next();
        let certificate = certificate.ok_or(CredentialsError::NoCertificate)?;
        let info = CertificateInfo::of(&certificate)?;
        Ok(Self { certificate, info })
    }

    /// Whether this is its public key, in PEM text.
    pub(crate) fn fits(&self, public: &[u8]) -> bool {
        let key = PKey::public_key_from_pem(public);
        let own = self.certificate.public_key();
        drop(ErrorStack::get()); // of a key that cannot be read
        matches!((own, key), (Ok(own), Ok(key)) if own.public_eq(&key))
    }

    /// Whether the key of `issuer` made its signature.
    pub(crate) fn signed_by(&self, issuer: &Self) -> bool {
        let key = issuer.certificate.public_key();
        let signed = key.and_then(|key| self.certificate.verify(&key));
        drop(ErrorStack::get()); // of a signature of another kind
        signed.unwrap_or(false)
    }

    pub(crate) fn info(&self) -> &CertificateInfo {
        &self.info
    }
}

impl Credentials {
    /// The certificate alone.
    pub(crate) fn lone(&self) -> Lone {
        Lone {
            certificate: self.own.certificate.clone(),
            info: self.info(),
        }
    }
}

/// The bytes that a text in base64 stands for.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
    match text {
        "" => Some(Vec::new()),
        text if text.bytes().all(plain) => {
            let bytes = decode_block(text).ok();
            drop(ErrorStack::get()); // of a text of another length
            bytes
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{CertificateBuilder, common_name, p256_key};
    use proptest::prelude::*;

    #[test]
    fn a_public_half_fits_its_own_certificate_alone() {
        let minted = |name| {
            let key = p256_key().unwrap();
            let builder = CertificateBuilder::new(common_name(name).unwrap(), key);
            builder.mint().unwrap()
        };
        let (own, other) = (minted("n1"), minted("n2"));
        let public = |of: &super::super::mint::CertifiedKey| of.key.public_key_to_pem().unwrap();
        let lone = Lone::first(&own.pem().unwrap()).unwrap();
        assert!(lone.fits(&public(&own)) && !lone.fits(&public(&other)));
        assert!(!lone.fits(b"") && !lone.fits(&own.pem().unwrap()));
        let stranger = Lone::first(&other.pem().unwrap()).unwrap();
        assert!(lone.signed_by(&lone) && !lone.signed_by(&stranger));
        assert_eq!(lone.info().common_name.as_deref(), Some("n1"));
        assert!(Lone::first(b"").is_err() && Lone::first(&public(&own)).is_err());
    }

    #[test]
    fn base64_as_a_table() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9", None),
            ("Zm 9v", None),
            ("Zm9v\n", None),
            ("=", None),
            ("====", None),
        ] {
            assert_eq!(from_base64(text).as_deref(), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-Za-z0-9+/=]{0,40}") {
            let _ = from_base64(&text);
        }
    }
}
