//! `server.pem`, `client.pem` and what was put aside of it, and those of Ganeti's other services, to
//! plain values. It judges nothing, and a key never leaves it.

use std::path::Path;

use super::look::Look;
use super::places::Places;
use crate::node::reading::Half;
use crate::tls::{CertificateInfo, Credentials, CredentialsError, Lone};
use rules::dn::Name;
use rules::verify::observed::{Certificate, Certificates, Pem, SameName, Seen};

/// Largest PEM file that is read.
const MOST: usize = 1 << 20;
/// Of the remote API and of SPICE.
const SERVICES: [&str; 3] = ["rapi.pem", "spice.pem", SPICE_CA];
/// This one has no key.
const SPICE_CA: &str = "spice-ca.pem";
const NO_KEY: &str = "there is no private key in it that can be read";

/// All certificates of the node.
pub(super) fn read(look: &Look<'_>, places: &Places) -> Certificates {
    let server = match parts(look, &places.server_pem) {
        Seen::Good((server, None)) => Some(server),
        _ => None,
    };
    let pem = |path: &Path| pem(look, path, server.as_ref());
    let directory = places.server_pem.parent().unwrap_or_else(|| Path::new("/"));
    let names = look.names(directory).into_iter();
    let backups = names.filter(|name| name.starts_with("client.pem.backup-"));
    Certificates {
        client: pem(&directory.join("client.pem")),
        client_backups: backups.map(|name| pem(&directory.join(name))).collect(),
        server: pem(&places.server_pem),
        services: services(look, &places.data),
    }
}

/// Those that are there.
fn services(look: &Look<'_>, data: &Path) -> Vec<Pem> {
    let all = SERVICES.map(|name| {
        let found = pem(look, &data.join(name), None);
        Pem {
            key_fault: found.key_fault.filter(|_| name != SPICE_CA),
            ..found
        }
    });
    let there = all.into_iter();
    there
        .filter(|pem| pem.certificate != Seen::Absent)
        .collect()
}

fn pem(look: &Look<'_>, path: &Path, server: Option<&Lone>) -> Pem {
    let named = |certificate, key_fault: Option<String>| Pem {
        path: path.display().to_string(),
        certificate,
        key_fault,
    };
    match parts(look, path) {
        Seen::Absent => named(Seen::Absent, None),
        Seen::Faulty(why) => named(Seen::Faulty(why), None),
        Seen::Good((own, fault)) => {
            // What is wrong with the key says nothing of the certificate.
            let signed = server.filter(|_| fault.is_none());
            let signed = signed.map(|server| own.signed_by(server));
            named(Seen::Good(told(own.info(), server, signed)), fault)
        }
    }
}

/// The certificate of a file, and what is wrong with its key.
fn parts(look: &Look<'_>, path: &Path) -> Seen<(Lone, Option<String>)> {
    let content = match look.bytes(path, MOST) {
        Seen::Absent => return Seen::Absent,
        Seen::Faulty(why) => return Seen::Faulty(why),
        Seen::Good(content) => content,
    };
    let (own, fault) = match look.tree.half(path) {
        None => match Credentials::from_pem(&content) {
            Ok(good) => (Ok(good.lone()), None),
            Err(error @ (CredentialsError::Key(_) | CredentialsError::Mismatch(_))) => {
                (Lone::first(&content), Some(short(&error)))
            }
            Err(error) => (Err(error), None),
        },
        Some(half) => {
            let own = Lone::first(&content);
            let fits = |public: &Vec<u8>| own.as_ref().is_ok_and(|own| own.fits(public));
            let fault = match half {
                Half::Public(public) if !fits(public) => {
                    Some(short(&CredentialsError::Mismatch(1)))
                }
                Half::Unreadable => Some(NO_KEY.into()),
                Half::Public(_) | Half::Unknown => None,
            };
            (own, fault)
        }
    };
    match own {
        Ok(own) => Seen::Good((own, fault)),
        Err(error) => Seen::Faulty(short(&error)),
    }
}

/// Without what the library adds: numbers of errors and lines of its source.
fn short(error: &CredentialsError) -> String {
    match error {
        CredentialsError::Key(_) => NO_KEY.into(),
        CredentialsError::Certificate(_) => "a certificate in it cannot be read".into(),
        other => other.to_string(),
    }
}

fn told(info: &CertificateInfo, server: Option<&Lone>, signed: Option<bool>) -> Certificate {
    let compared = |server: &Lone| compare(&info.issuer, &server.info().subject);
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
