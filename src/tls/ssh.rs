//! The public half of a private SSH key that is in one of OpenSSL's forms (PEM), as clusters have
//! them that are older than OpenSSH 7.8. It never asks for a passphrase, and keeps no private half.

use openssl::bn::{BigNumContext, BigNumRef};
use openssl::ec::PointConversionForm;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};

/// The public half in the binary form of SSH (RFC 4253, 6.6; RFC 5656, 3.1), or why there is none.
pub(crate) fn ssh_public(pem: &[u8]) -> Result<Vec<u8>, &'static str> {
    const NOT_READ: &str = "it is encrypted, or of a kind that cannot be read";
    let no_passphrase = |_: &mut [u8]| Ok(0);
    let key = PKey::private_key_from_pem_callback(pem, no_passphrase);
    drop(ErrorStack::get()); // of a key that cannot be read
    let blob = key.map_err(|_| NOT_READ).and_then(|key| {
        let found = rsa(&key).or_else(|| ecdsa(&key));
        found.ok_or(NOT_READ)
    });
    drop(ErrorStack::get()); // of a key of another kind
    blob
}

fn rsa(key: &PKey<Private>) -> Option<Vec<u8>> {
    let key = key.rsa().ok()?;
    Some([string(b"ssh-rsa"), number(key.e()), number(key.n())].concat())
}

fn ecdsa(key: &PKey<Private>) -> Option<Vec<u8>> {
    let key = key.ec_key().ok()?;
    let curve = match key.group().curve_name()? {
        Nid::X9_62_PRIME256V1 => "nistp256",
        Nid::SECP384R1 => "nistp384",
        Nid::SECP521R1 => "nistp521",
        _ => return None,
    };
    let mut context = BigNumContext::new().ok()?;
    let form = PointConversionForm::UNCOMPRESSED;
    let point = key.public_key().to_bytes(key.group(), form, &mut context);
    let kind = format!("ecdsa-sha2-{curve}");
    let parts = [kind.as_bytes(), curve.as_bytes(), &point.ok()?];
    Some(parts.map(string).concat())
}

/// A text with its length before it.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    [&length, bytes].concat()
}

/// A positive number (RFC 4251, 5): its first bit is 0.
fn number(number: &BigNumRef) -> Vec<u8> {
    let bytes = number.to_vec();
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => string(&[&[0], &bytes[..]].concat()),
        _ => string(&bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::ssh::keys::{Held, held, of_blob};
    use std::process::Command;

    #[test]
    fn old_forms_have_the_public_half_that_ssh_keygen_wrote() {
        let dir = tempfile::tempdir().unwrap();
        for (at, (kind, form)) in [("rsa", "PEM"), ("ecdsa", "PEM"), ("rsa", "PKCS8")]
            .into_iter()
            .enumerate()
        {
            let path = dir.path().join(at.to_string());
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-m", form, "-N", "", "-C", "", "-f"])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
            let blob = ssh_public(&std::fs::read(&path).unwrap()).unwrap();
            let public = std::fs::read(path.with_extension("pub")).unwrap();
            assert_eq!(
                held(&public),
                Held::Public(of_blob(&blob).unwrap()),
                "{kind}"
            );
        }
    }

    #[test]
    fn what_is_encrypted_is_told_and_nobody_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "rsa", "-m", "PEM", "-N", "a secret", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let told = ssh_public(&std::fs::read(&path).unwrap()).unwrap_err();
        assert!(told.contains("encrypted"), "{told}");
        assert!(ssh_public(b"-----BEGIN RSA PRIVATE KEY-----\n").is_err());
    }
}
