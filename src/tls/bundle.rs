//! PEM text with several certificates, of which one may be of no use. It never reads a file.

use openssl::x509::X509;

use super::credentials::{CertificateInfo, CredentialsError};

/// One certificate of a bundle.
pub(crate) struct Bundled {
    /// The line at which it begins, from 1.
    pub(crate) line: usize,
    /// What it holds, or why it is of no use.
    pub(crate) certificate: Result<CertificateInfo, CredentialsError>,
}

/// All certificates in PEM text, each by itself; keys and other blocks are skipped.
pub(crate) fn bundle(pem: &[u8]) -> Vec<Bundled> {
    let (mut all, mut open) = (Vec::new(), None);
    let mut offset = 0;
    for (at, line) in pem.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let text = line.trim_ascii();
        if text.starts_with(b"-----BEGIN ") {
            all.extend(open.take().map(|begun| one(begun, &pem[..offset])));
            open = text
                .ends_with(b"CERTIFICATE-----")
                .then_some((at + 1, offset));
        }
        offset += line.len();
        if text.starts_with(b"-----END ") {
            all.extend(open.take().map(|begun| one(begun, &pem[..offset])));
        }
    }
    all.extend(open.take().map(|begun| one(begun, pem)));
    all
}

/// The certificate that begins at this line and offset, and ends where the text does.
fn one((line, begin): (usize, usize), text: &[u8]) -> Bundled {
    let parsed = X509::from_pem(&text[begin..]).map_err(CredentialsError::Certificate);
    let certificate = parsed.and_then(|found| Ok(CertificateInfo::of(&found)?));
    Bundled { line, certificate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{CertificateBuilder, common_name, p256_key};

    fn minted(name: &str) -> String {
        let name = common_name(name).unwrap();
        let minted = CertificateBuilder::new(name, p256_key().unwrap()).mint();
        String::from_utf8(minted.unwrap().pem().unwrap()).unwrap()
    }

    /// The names that were found, `-` for what is of no use, each with its line.
    fn names(pem: &str) -> Vec<(usize, String)> {
        let name = |bundled: Bundled| {
            let found = bundled.certificate.ok().and_then(|info| info.common_name);
            (
                bundled.line,
                found.map_or_else(|| "-".into(), |name| name.to_string()),
            )
        };
        bundle(pem.as_bytes()).into_iter().map(name).collect()
    }

    #[test]
    fn each_certificate_stands_for_itself() {
        let (one, two) = (minted("one"), minted("two"));
        let line = |text: &str, of: &str| text[..text.rfind(of).unwrap()].lines().count() + 1;
        let cut: String = two
            .lines()
            .take(two.lines().count() - 3)
            .fold(String::new(), |text, line| text + line + "\n");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let begin = "-----BEGIN CERTIFICATE-----";
        let first = line(&one, begin);
        let is = |line, name: &str| (line, name.to_owned());
        let table = [
            (String::new(), vec![]),
            ("text\n".into(), vec![]),
            (one.clone(), vec![is(first, "one")]),
            (
                format!("{garbage}{one}"),
                vec![is(1, "-"), is(3 + first, "one")],
            ),
            (
                format!("{cut}{one}"),
                vec![
                    is(first, "-"),
                    is(line(&format!("{cut}{one}"), begin), "one"),
                ],
            ),
            (
                format!("{one}{cut}"),
                vec![
                    is(first, "one"),
                    is(line(&format!("{one}{cut}"), begin), "-"),
                ],
            ),
            (one.replace('\n', "\r\n"), vec![is(first, "one")]),
        ];
        for (pem, expected) in table {
            assert_eq!(names(&pem), expected, "{pem}");
        }
    }
}
