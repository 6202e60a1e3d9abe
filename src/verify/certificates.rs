//! `server.pem`, `client.pem` and what was put aside of it, to plain values. It judges nothing, and a
//! key never leaves it.

use std::path::Path;

use super::look::Look;
use super::places::Places;
use crate::tls::{CertificateInfo, Credentials, CredentialsError, certificates};
use rules::dn::Name;
use rules::verify::observed::{Certificate, Certificates, Pem, SameName, Seen};

/// Largest PEM file that is read.
const MOST: usize = 1 << 20;

/// All certificates of the node.
pub(super) fn read(look: &Look<'_>, places: &Places) -> Certificates {
    let server = Credentials::from_pem(
        look.bytes(&places.server_pem, MOST)
            .good()
            .map_or(&b""[..], |content| content),
    );
    let server = server.ok();
    let pem = |path: &Path| pem(look, path, server.as_ref());
    let directory = places.server_pem.parent().unwrap_or_else(|| Path::new("/"));
    let names = look.names(directory).into_iter();
    let backups = names.filter(|name| name.starts_with("client.pem.backup-"));
    Certificates {
        client: pem(&directory.join("client.pem")),
        client_backups: backups.map(|name| pem(&directory.join(name))).collect(),
        server: pem(&places.server_pem),
    }
}

fn pem(look: &Look<'_>, path: &Path, server: Option<&Credentials>) -> Pem {
    let named = |certificate, key_fault: Option<String>| Pem {
        path: path.display().to_string(),
        certificate,
        key_fault,
    };
    let content = match look.bytes(path, MOST) {
        Seen::Absent => return named(Seen::Absent, None),
        Seen::Faulty(why) => return named(Seen::Faulty(why), None),
        Seen::Good(content) => content,
    };
    match Credentials::from_pem(&content) {
        Ok(good) => {
            let signed = server.map(|server| good.signed_by(server));
            named(Seen::Good(told(&good.info(), server, signed)), None)
        }
        Err(error @ (CredentialsError::Key(_) | CredentialsError::Mismatch(_))) => {
            // What is wrong with the key says nothing of the certificate.
            let first = certificates(&content)
                .ok()
                .and_then(|all| all.into_iter().next());
            match first {
                Some(info) => named(Seen::Good(told(&info, server, None)), Some(short(&error))),
                None => named(Seen::Faulty(short(&error)), None),
            }
        }
        Err(error) => named(Seen::Faulty(short(&error)), None),
    }
}

/// Without what the library adds: numbers of errors and lines of its source.
fn short(error: &CredentialsError) -> String {
    match error {
        CredentialsError::Key(_) => "there is no private key in it that can be read".into(),
        CredentialsError::Certificate(_) => "a certificate in it cannot be read".into(),
        other => other.to_string(),
    }
}

fn told(info: &CertificateInfo, server: Option<&Credentials>, signed: Option<bool>) -> Certificate {
    let compared = |server: &Credentials| compare(&info.issuer, &server.info().subject);
    Certificate {
        digest: info.digest,
        common_name: info.common_name.clone(),
        not_before: info.not_before,
        not_after: info.not_after,
        rsa: info.rsa,
        key_bits: info.key_bits,
        signature: info.signature.clone(),
        signed_by_server: signed,
        issuer_name: server.map(compared),
    }
}

fn compare(issuer: &Name, subject: &Name) -> SameName {
    match issuer == subject {
        true => SameName::Same,
        false if issuer.reads_like(subject) => SameName::OtherTypes,
        false => SameName::Other,
    }
}
