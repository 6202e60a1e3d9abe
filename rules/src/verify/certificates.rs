//! `server.pem`, `client.pem` and those of Ganeti's other services: whose they are, whether they fit, and how long they
//! hold. Nothing here looks at a file.

use super::finding::Finding;
use super::ids::Id;
use super::observed::{Certificate, Pem, SameName, Seen};
use super::role::{Place, Role};
use crate::shown::printable;

const DAY: i64 = 86_400;
/// Ganeti's own threshold (`lib/constants.py`, `SSL_CERT_EXPIRATION_WARN`).
const WARN_DAYS: i64 = 30;
/// Ganeti's own allowance for clocks that differ (`lib/constants.py`, `NODE_MAX_CLOCK_SKEW`).
const CLOCK_SKEW: i64 = 150;
/// Size of the RSA keys that Ganeti makes since 2.2.
const RSA_BITS: u32 = 2048;

/// All findings on certificates.
pub(super) fn judge(place: &Place<'_>) -> Vec<Finding> {
    let all = &place.seen.certificates;
    let mut found: Vec<Finding> = server(&all.server).into_iter().collect();
    found.extend(client(place, &all.client));
    found.extend(all.services.iter().filter_map(service));
    for pem in [&all.server, &all.client].into_iter().chain(&all.services) {
        let certificate = pem.certificate.good();
        found.extend(
            certificate
                .iter()
                .flat_map(|c| quality(pem, c, place.seen.at)),
        );
    }
    let backups = all.client_backups.iter();
    found.extend(backups.filter_map(|pem| stolen(place, pem)));
    found
}

fn server(pem: &Pem) -> Option<Finding> {
    let why = match (&pem.certificate, &pem.key_fault) {
        (Seen::Absent, _) => "the file is absent",
        (Seen::Faulty(why), _) | (Seen::Good(_), Some(why)) => why,
        (Seen::Good(_), None) => return None,
    };
    Some(Finding::new(Id::ServerPem, &pem.path, why))
}

/// One of the remote API or of SPICE.
fn service(pem: &Pem) -> Option<Finding> {
    let why = match (&pem.certificate, &pem.key_fault) {
        (Seen::Faulty(why), _) | (Seen::Good(_), Some(why)) => why,
        (Seen::Absent, _) | (Seen::Good(_), None) => return None,
    };
    Some(Finding::new(Id::ServicePem, &pem.path, why))
}

fn client(place: &Place<'_>, pem: &Pem) -> Vec<Finding> {
    let fault = |id, why: &str| vec![Finding::new(id, &pem.path, why)];
    let certificate = match &pem.certificate {
        Seen::Absent if place.role == Role::Candidate => {
            return fault(Id::ClientPem, "the file is absent");
        }
        Seen::Absent => return Vec::new(),
        Seen::Faulty(why) => return fault(Id::ClientPem, why),
        Seen::Good(certificate) => certificate,
    };
    let mut found = Vec::new();
    if let Some(why) = &pem.key_fault {
        found.extend(fault(Id::ClientKey, why));
    }
    found.extend(issuer(pem, certificate));
    found.extend(name(place, pem, certificate));
    found.extend(stolen(place, pem).or_else(|| unlisted(place, pem, certificate)));
    found
}

fn issuer(pem: &Pem, certificate: &Certificate) -> Option<Finding> {
    match (certificate.signed_by_server, certificate.issuer_name) {
        (Some(false), _) => {
            let text = "the signature is not that of server.pem";
            Some(Finding::new(Id::ClientIssuer, &pem.path, text))
        }
        (Some(true), Some(SameName::OtherTypes | SameName::Other)) => {
            let text =
                "server.pem signed it, and the issuer's name is not its subject byte by byte";
            Some(Finding::new(Id::ClientIssuerTypes, &pem.path, text))
        }
        _ => None,
    }
}

/// Certificates of Ganeti before 2.12.5 sign themselves in the cluster's name: these have another
/// fault, which is told.
fn name(place: &Place<'_>, pem: &Pem, certificate: &Certificate) -> Option<Finding> {
    let cn = certificate.common_name.as_deref()?;
    let signed = certificate.signed_by_server == Some(true);
    let wrong = signed && place.role != Role::Unknown && cn != place.seen.host;
    let text = format!(
        "it is of {cn}, and this node is {}",
        printable(&place.seen.host)
    );
    wrong.then(|| Finding::new(Id::ClientName, &pem.path, text))
}

/// A certificate with its key that the map admits for another node.
fn stolen(place: &Place<'_>, pem: &Pem) -> Option<Finding> {
    let certificate = pem.certificate.good()?;
    if pem.key_fault.is_some() {
        return None; // without the key it is of no use
    }
    let map = place.seen.map.good()?;
    let entries = map
        .iter()
        .filter(|(_, digest)| *digest == certificate.digest);
    let uuids: Vec<&str> = entries.map(|(uuid, _)| uuid.as_str()).collect();
    let uuid = *uuids.first()?;
    let other = match (place.role, place.uuid) {
        (_, Some(own)) => !uuids.contains(&own),
        (Role::Normal, None) => true,
        (Role::Candidate, None) => {
            let cn = certificate.common_name.as_deref();
            cn.is_some_and(|cn| cn != place.seen.host)
        }
        (Role::Unknown, None) => false, // nobody can say whose it should be
    };
    let text = format!(
        "digest {} is that of {}",
        certificate.digest,
        printable(&place.name(uuid))
    );
    other.then(|| Finding::new(Id::ClientStolen, &pem.path, text))
}

fn unlisted(place: &Place<'_>, pem: &Pem, certificate: &Certificate) -> Option<Finding> {
    let map = place.seen.map.good().filter(|map| !map.is_empty())?;
    let listed = map.iter().any(|(_, digest)| *digest == certificate.digest);
    let text = format!("digest {}", certificate.digest);
    (place.role == Role::Candidate && !listed)
        .then(|| Finding::new(Id::ClientNotListed, &pem.path, text))
}

/// Dates, key and signature.
fn quality(pem: &Pem, certificate: &Certificate, now: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    // A node may say any number.
    let left = certificate.not_after.saturating_sub(now);
    let days = left.saturating_abs() / DAY;
    let until = certificate.not_before.saturating_sub(now);
    if until > CLOCK_SKEW {
        let text = format!("it begins in {until} s");
        found.push(Finding::new(Id::CertificateNotYetValid, &pem.path, text));
    } else if left < 0 {
        let text = format!("it ended {days} days ago");
        found.push(Finding::new(Id::CertificateExpired, &pem.path, text));
    } else if left < WARN_DAYS * DAY {
        let text = format!("it ends in {days} days");
        found.push(Finding::new(Id::CertificateExpires, &pem.path, text));
    }
    let (bits, signature) = (certificate.key_bits, &certificate.signature);
    let old = ["sha1", "md5", "SHA1", "MD5"]
        .iter()
        .any(|old| signature.contains(old));
    if (certificate.rsa && bits < RSA_BITS) || old {
        let text = format!("a key of {bits} bits, signed by {}", printable(signature));
        found.push(Finding::new(Id::CertificateWeak, &pem.path, text));
    }
    found
}
