//! What a certificate is for, by its extended key usage. It never asks the library, which would
//! have a say in more than that.

use rules::dn::read_tlv;

/// Extension `extKeyUsage` (RFC 5280, 4.2.1.12).
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// `anyExtendedKeyUsage`.
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// `id-kp-clientAuth`.
const CLIENT: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// Whether a certificate (DER) says what it is for, and clients are not among it. The certificates
/// of Ganeti say nothing.
pub(crate) fn excludes_clients(der: &[u8]) -> bool {
    let Some(usage) = extension(der, EXTENDED_KEY_USAGE) else {
        return false;
    };
    let purposes = read_tlv(usage).map_or(&[][..], |(_, purposes, _)| purposes);
    !values(purposes).any(|(_, purpose)| purpose == ANY || purpose == CLIENT)
}

/// The content of an extension.
fn extension<'a>(der: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let (_, certificate, _) = read_tlv(der)?;
    let (_, tbs, _) = read_tlv(certificate)?;
    let (_, explicit) = values(tbs).find(|(tag, _)| *tag == 0xa3)?; // [3], the extensions
    let (_, extensions, _) = read_tlv(explicit)?;
    let found = values(extensions).find(|(_, one)| {
        let name = values(one).next();
        name.is_some_and(|(_, name)| name == wanted)
    });
    let (_, value) = values(found?.1).last()?; // behind it may stand whether it is critical
    Some(value)
}

/// The values that stand one behind the other.
fn values(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = read_tlv(der)?;
        der = rest;
        Some((tag, content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{CertificateBuilder, common_name, p256_key};
    use openssl::x509::X509Extension;
    use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

    fn with(extensions: Vec<X509Extension>) -> Vec<u8> {
        let name = common_name("node1").unwrap();
        let version = if extensions.is_empty() { 1 } else { 3 };
        let builder = CertificateBuilder::new(name, p256_key().unwrap()).x509_version(version);
        let builder = extensions
            .into_iter()
            .fold(builder, CertificateBuilder::extension);
        builder.mint().unwrap().certificate.to_der().unwrap()
    }

    #[test]
    fn purposes_as_a_table() {
        let usage = ExtendedKeyUsage::new;
        let basic = || BasicConstraints::new().critical().build().unwrap();
        let any = || usage().other("2.5.29.37.0").build().unwrap();
        let table = [
            ("none", vec![], false),
            (
                "other extensions",
                vec![
                    basic(),
                    KeyUsage::new()
                        .critical()
                        .digital_signature()
                        .build()
                        .unwrap(),
                ],
                false,
            ),
            (
                "servers",
                vec![basic(), usage().server_auth().build().unwrap()],
                true,
            ),
            (
                "servers, critical",
                vec![usage().critical().server_auth().build().unwrap()],
                true,
            ),
            (
                "clients",
                vec![usage().client_auth().build().unwrap()],
                false,
            ),
            (
                "both",
                vec![usage().server_auth().client_auth().build().unwrap()],
                false,
            ),
            ("any", vec![any()], false),
            ("code", vec![usage().code_signing().build().unwrap()], true),
        ];
        for (case, extensions, expected) in table {
            assert_eq!(excludes_clients(&with(extensions)), expected, "{case}");
        }
        assert!(!excludes_clients(b"") && !excludes_clients(&[0x30, 0x03, 0x30, 0x01, 0xa3]));
    }
}
