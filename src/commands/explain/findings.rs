//! What there is to say about a certificate: pure, on the snapshot that a proxy would publish now.

use std::net::{IpAddr, Ipv4Addr};

use crate::commands::certs::date;
use crate::tls::CertificateInfo;
use crate::trust::Snapshot;
use rules::admission::Admission;
use rules::authz::{BindPeer, Denied, Policy};
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

/// Explains what is decided about a certificate shown from an address; without one, addresses do not matter.
pub fn explain(
    snapshot: &Snapshot,
    mut policy: Policy,
    info: &CertificateInfo,
    from: Option<IpAddr>,
) -> Explanation {
    let mut facts = describe(info);
    facts.push(("mode", policy.mode.name().into()));
    if from.is_none() && policy.bind_peer != BindPeer::Off {
        facts.push(("address", "not looked at (give --peer ADDRESS)".into()));
        policy.bind_peer = BindPeer::Off;
    }
    facts.extend(state(snapshot));
    let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let peer = info.as_peer(from.to_canonical());
    let decision = snapshot.authorise(&peer, policy, crate::trust::now());
    let mut remedies = Vec::new();
    match &decision {
        Ok(permit) => {
            facts.push(("decision", format!("ADMITTED as {}", permit.key())));
            let odd = [
                permit.outside_validity(),
                permit.misplaced(),
                permit.audited(),
            ];
            for why in odd.into_iter().flatten() {
                facts.push(("but", format!("{}: {why}", why.reason())));
                remedies.push(remedy(why.reason()).into());
            }
        }
        Err(why) => {
            facts.push(("decision", format!("REFUSED, {}: {why}", why.reason())));
            let near = nearest(snapshot, Some(info.digest), info.common_name.as_deref());
            facts.extend(near.into_iter().map(|text| ("nearest", text)));
            remedies.push(match why {
                Denied::UnknownDigest => unknown(snapshot, info).into(),
                _ => remedy(why.reason()).into(),
            });
        }
    }
    facts.push(("client CA list", offered(snapshot, info)));
    Explanation {
        admitted: decision.is_ok(),
        facts,
        remedies,
    }
}

fn describe(info: &CertificateInfo) -> Vec<(&'static str, String)> {
    let day = |seconds: i64| date(u64::try_from(seconds).unwrap_or_default());
    vec![
        ("subject", format!("{:?}", info.subject)),
        ("issuer", format!("{:?}", info.issuer)),
        ("digest", info.digest.to_string()),
        (
            "certificate",
            format!(
                "{} {}, {}, X.509 version {}",
                if info.rsa { "RSA" } else { "other key" },
                info.key_bits,
                info.signature,
                info.x509_version
            ),
        ),
        (
            "valid",
            format!("{} to {}", day(info.not_before), day(info.not_after)),
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
    let file = format!("{admission}; the map file is {}", snapshot.map_state);
    let mut facts = vec![("admission", file)];
    facts.extend(snapshot.faults.iter().map(|fault| ("fault", fault.clone())));
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
        return remedy("nobody_admitted");
    };
    let same_name = snapshot
        .known
        .iter()
        .any(|known| known.info.common_name == info.common_name && info.subject != info.issuer);
    if info.der == tls.server.der {
        "the client shows server.pem, so it has no client.pem: gnt-cluster renew-crypto --new-node-certificates"
    } else if same_name {
        "the node got a new certificate and the map has another one: if the client's \
         /var/lib/ganeti/client.pem is this certificate, gnt-cluster renew-crypto --new-node-certificates"
    } else if tls.issuer.issued(&info.der) {
        "a node of this cluster that is no master candidate: gnt-node modify --master-candidate=yes NODE, if it \
         shall be one; if it is one already, gnt-cluster redist-conf on the master"
    } else if info.issuer.reads_like(&tls.server.subject) {
        "not signed by this server.pem, though its issuer has the same name: made under an older server.pem or \
         by another cluster; gnt-cluster renew-crypto --new-node-certificates"
    } else {
        "a certificate of another cluster or none: nothing to do, unless the client should be a node of this one"
    }
}

/// Whether a client that obeys the list would offer this certificate.
fn offered(snapshot: &Snapshot, info: &CertificateInfo) -> String {
    let Some(tls) = &snapshot.tls else {
        return "none: there is no server.pem".into();
    };
    let list = &tls.client_cas;
    let (state, names) = (list.state, list.names.len());
    let verdict = if list.names.is_empty() {
        "empty: any client offers its certificate"
    } else if list.names.contains(&info.issuer) {
        "has the issuer: a strict client offers this certificate"
    } else if list.names.iter().any(|name| name.reads_like(&info.issuer)) {
        "has the issuer's name in another string type: a strict client does NOT offer this certificate"
    } else {
        "has not the issuer: a strict client does NOT offer this certificate"
    };
    format!("{state}, {names} names; {verdict}")
}

/// What the administrator would do about a reason.
pub fn remedy(reason: &str) -> &'static str {
    match reason {
        "unknown_digest" => {
            "give its certificate to `noded-proxy explain` to see why: no candidate (gnt-node modify \
             --master-candidate=yes), or renewed (gnt-cluster renew-crypto --new-node-certificates)"
        }
        "digest_collision" => {
            "somebody forged a certificate, or the file in candidate_certs is wrong: compare both, then \
             gnt-cluster renew-crypto --new-node-certificates"
        }
        "bootstrap_refused" => {
            "there is no candidate map: gnt-cluster redist-conf on the master, or gnt-cluster renew-crypto \
             --new-node-certificates"
        }
        "nobody_admitted" => {
            "repair the file that is at fault; on the master: gnt-cluster redist-conf"
        }
        "expired" => "gnt-cluster renew-crypto --new-node-certificates",
        "not_yet_valid" => "set the clocks of both nodes, or wait",
        "address_not_candidate" => {
            "a candidate calls from another address than its primary one (routing, NAT), or this is no candidate"
        }
        "other_nodes_certificate" => {
            "was the certificate copied from one node to another? gnt-cluster renew-crypto \
             --new-node-certificates gives each node its own"
        }
        "no_certificate" => {
            "the client has no certificate, or a strict (GnuTLS) client found no name of its own in the client CA \
             list: see `noded-proxy certs list`"
        }
        "protocol_error" => {
            "no common TLS version or cipher, a signature that fails (the client has not the key), or not TLS at \
             all; old nodes need tls.legacy"
        }
        "handshake_timeout" | "peer_closed" => {
            "a slow or broken network, a port scan, or an overloaded client"
        }
        _ => "see the log of the proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_remedy_of_its_own() {
        for reason in Denied::REASONS {
            assert_ne!(remedy(reason), remedy("?"), "{reason}");
        }
    }
}
