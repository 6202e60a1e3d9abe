//! What there is to say about a certificate, on the snapshot that a proxy would publish now.
//!
//! It reads no file. The handshake is tried in memory, with that snapshot's own acceptor.

use std::net::{IpAddr, Ipv4Addr};

use super::remedy::remedy;
use crate::daemon::report::times;
use crate::proxy::reason::Reason;
use crate::tls::{CertificateInfo, HandshakeError, KeyKind, Rehearsal};
use crate::trust::{Snapshot, now};
use rules::Named;
use rules::admission::{Admission, Nobody};
use rules::authz::{BindPeer, Denied, Permit, Policy};
use rules::identity::Digest;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the certificate is admitted.
    pub admitted: bool,
    /// What, and the text about it.
    pub facts: Vec<(&'static str, String)>,
    /// What the administrator would do.
    pub remedies: Vec<String>,
}

/// Explains what is decided about a certificate shown from an address; without one, addresses do
/// not matter.
pub fn explain(
    snapshot: &Snapshot,
    mut policy: Policy,
    info: &CertificateInfo,
    from: Option<IpAddr>,
) -> Explanation {
    let mut facts = describe(info, now());
    facts.push(("mode", policy.mode.name().into()));
    let address = match (from, policy.bind_peer) {
        (None, BindPeer::Warn | BindPeer::Enforce) => Some("not looked at (give --peer ADDRESS)"),
        (Some(_), BindPeer::Off) => Some("not looked at (bind_peer = \"off\")"),
        (None, BindPeer::Off) | (Some(_), BindPeer::Warn | BindPeer::Enforce) => None,
    };
    facts.extend(address.map(|text| ("address", text.to_owned())));
    if from.is_none() {
        policy.bind_peer = BindPeer::Off;
    }
    facts.extend(state(snapshot));
    let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let peer = info.as_peer(from.to_canonical());
    let decision = snapshot.authorise(&peer, policy, now());
    let handshake = Handshake::of(snapshot, &info.der);
    facts.push(("handshake", handshake.text.clone()));
    let mut found = match &handshake.refusal {
        None => decided(snapshot, info, &decision),
        Some((reason, why)) => {
            let map = match &decision {
                Ok(permit) => format!("would admit it as {}", permit.key()),
                Err(why) => format!("would refuse it, {}: {why}", why.name()),
            };
            refused(*reason, why, ("map", map))
        }
    };
    facts.append(&mut found.facts);
    facts.push(("client CA list", offered(snapshot, info)));
    Explanation { facts, ..found }
}

/// Explains what is decided about a certificate that cannot be read, and why it cannot.
pub fn explain_unreadable(snapshot: &Snapshot, der: &[u8], why: &str) -> Explanation {
    let digest = Digest::of_der(der);
    let mut facts = vec![("digest", digest.to_string())];
    facts.extend(state(snapshot));
    let handshake = Handshake::of(snapshot, der);
    facts.push(("handshake", handshake.text));
    let (reason, why) = handshake
        .refusal
        .unwrap_or_else(|| (Reason::MalformedCertificate, why.into()));
    let near = nearest(snapshot, Some(digest), None);
    let near = near.into_iter().next();
    let near = near.unwrap_or_else(|| "the map does not list this digest".into());
    let found = refused(reason, &why, ("nearest", near));
    facts.extend(found.facts);
    Explanation { facts, ..found }
}

/// What a handshake makes of a certificate.
struct Handshake {
    text: String,
    /// Why no map matters.
    refusal: Option<(Reason, String)>,
}

impl Handshake {
    fn of(snapshot: &Snapshot, der: &[u8]) -> Self {
        let tried = snapshot.tls.as_ref().map(|tls| tls.acceptor.rehearse(der));
        let refusal = match &tried {
            None | Some(Rehearsal::Taken | Rehearsal::NotTried(_)) => None,
            Some(Rehearsal::KeptBack(kind)) => {
                let why = format!(
                    "the TLS library does not take keys of this kind ({}), so a client shows no \
                     certificate",
                    kind.name()
                );
                Some((Reason::UnusableCertificate, why))
            }
            Some(Rehearsal::Refused(HandshakeError::Malformed(why, _))) => {
                Some((Reason::MalformedCertificate, why.clone()))
            }
            Some(Rehearsal::Refused(HandshakeError::Unusable(why, _))) => {
                Some((Reason::UnusableCertificate, why.clone()))
            }
            Some(Rehearsal::Refused(other)) => Some((Reason::ProtocolError, other.to_string())),
        };
        let text = match (&tried, &refusal) {
            (None, _) => "not tried: there is no server.pem".into(),
            (Some(Rehearsal::NotTried(why)), _) => format!("not tried: {why}"),
            (_, Some((_, why))) => format!("fails: {why}"),
            _ if KeyKind::of(der) == KeyKind::OtherCurve => {
                "succeeds in TLS 1.2 alone: TLS 1.3 has no signature for this curve".into()
            }
            _ => "succeeds, if the client has the key".into(),
        };
        Self { text, refusal }
    }
}

/// A refusal before anybody asks the map, and what the map has to do with it.
fn refused(reason: Reason, why: &str, map: (&'static str, String)) -> Explanation {
    let decision = format!("REFUSED, {}: {why}", reason.name());
    Explanation {
        admitted: false,
        facts: vec![("decision", decision), map],
        remedies: vec![remedy(&reason.into()).into()],
    }
}

/// What the map decides.
fn decided(
    snapshot: &Snapshot,
    info: &CertificateInfo,
    decision: &Result<Permit, Denied>,
) -> Explanation {
    let (mut facts, mut remedies) = (Vec::new(), Vec::new());
    match decision {
        Ok(permit) => {
            facts.push(("decision", format!("ADMITTED as {}", permit.key())));
            let odd = [
                permit.outside_validity(),
                permit.misplaced(),
                permit.audited(),
            ];
            for why in odd.into_iter().flatten() {
                facts.push(("but", format!("{}: {why}", why.name())));
                remedies.push(remedy(&Reason::Denied(why).into()).into());
            }
        }
        Err(why) => {
            facts.push(("decision", format!("REFUSED, {}: {why}", why.name())));
            let near = nearest(snapshot, Some(info.digest), info.common_name.as_deref());
            facts.extend(near.into_iter().map(|text| ("nearest", text)));
            remedies.push(match why {
                Denied::UnknownDigest => unknown(snapshot, info).into(),
                _ => remedy(&Reason::Denied(*why).into()).into(),
            });
        }
    }
    Explanation {
        admitted: decision.is_ok(),
        facts,
        remedies,
    }
}

fn describe(info: &CertificateInfo, now: i64) -> Vec<(&'static str, String)> {
    vec![
        ("subject", format!("{:?}", info.subject)),
        ("issuer", format!("{:?}", info.issuer)),
        ("digest", info.digest.to_string()),
        (
            "certificate",
            format!(
                "{} {}, {}, X.509 version {}",
                info.kind.name(),
                info.key_bits,
                info.signature,
                info.x509_version
            ),
        ),
        (
            "valid",
            format!(
                "from {}, {}",
                times::day(info.not_before),
                times::expiry(info.not_after, now)
            ),
        ),
    ]
}

/// Who is admitted, and what is wrong with the files.
fn state(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let admission = match &snapshot.admission {
        Admission::Listed(map) => format!("{} candidates are listed", map.entries()),
        Admission::Bootstrap(server) => format!("bootstrap phase: {server} (server.pem) alone"),
        Admission::Nobody(why) => format!("nobody: {why}"),
    };
    let file = format!("{admission}; the map file is {}", snapshot.map_state.name());
    let mut facts = vec![("admission", file)];
    facts.extend(
        snapshot
            .faults
            .iter()
            .map(|fault| ("fault", fault.to_string())),
    );
    facts
}

/// What in the map comes near: the same digest, or a known certificate with the same name.
pub fn nearest(snapshot: &Snapshot, digest: Option<Digest>, name: Option<&str>) -> Vec<String> {
    let Admission::Listed(map) = &snapshot.admission else {
        return Vec::new();
    };
    let same_digest = digest
        .and_then(|digest| map.key_of(&digest))
        .map(|key| format!("the map lists this digest under {key}"));
    let named = snapshot.known.iter().filter(|known| {
        let other = Some(known.info.digest) != digest;
        other && name.is_some() && known.info.common_name.as_deref() == name
    });
    let named = named.map(|known| {
        let key = map.key_of(&known.info.digest).unwrap_or("-");
        format!(
            "{key} has the same name and another certificate, {}",
            known.info.digest
        )
    });
    same_digest.into_iter().chain(named).collect()
}

/// Why a digest is not in the map, as far as the certificate tells.
fn unknown(snapshot: &Snapshot, info: &CertificateInfo) -> &'static str {
    let Some(tls) = &snapshot.tls else {
        return remedy(&Reason::Denied(Denied::Nobody(Nobody::NotInCluster)).into());
    };
    let same_name = snapshot
        .known
        .iter()
        .any(|known| known.info.common_name == info.common_name)
        && info.common_name.is_some()
        && info.subject != info.issuer;
    if info.der == tls.server.der {
        "the client shows server.pem, so it has no client.pem: gnt-cluster renew-crypto \
         --new-node-certificates"
    } else if same_name {
        "the node got a new certificate and the map has another one: if the client's \
         /var/lib/ganeti/client.pem is this certificate, gnt-cluster renew-crypto \
         --new-node-certificates"
    } else if tls.issuer.issued(&info.der) {
        "a node of this cluster that is no master candidate: gnt-node modify \
         --master-candidate=yes NODE, if it shall be one; if it is one already, the map here is \
         old: gnt-cluster copyfile -n NODE FILE on the master"
    } else if info.issuer.reads_like(&tls.server.subject) {
        "not signed by this server.pem, though its issuer has the same name: made under an older \
         server.pem or by another cluster; gnt-cluster renew-crypto --new-node-certificates"
    } else {
        "a certificate of another cluster or none: nothing to do, unless the client should be a \
         node of this one"
    }
}

/// Whether a client that obeys the list would offer this certificate.
fn offered(snapshot: &Snapshot, info: &CertificateInfo) -> String {
    let Some(tls) = &snapshot.tls else {
        return "none: there is no server.pem in force".into();
    };
    let list = &tls.client_cas;
    let (state, names) = (list.state.name(), list.names.len());
    let verdict = if list.names.is_empty() {
        "empty: any client offers its certificate"
    } else if list.names.contains(&info.issuer) {
        "has the issuer: a strict client offers this certificate"
    } else if list.names.iter().any(|name| name.reads_like(&info.issuer)) {
        "has the issuer's name in another string type: a strict client does NOT offer this \
         certificate"
    } else {
        "has not the issuer: a strict client does NOT offer this certificate"
    };
    format!("{state}, {names} names; {verdict}")
}
