//! What the running proxy says, and what was seen beside it, as findings. It only
//! translates.

use super::finding::Finding;
use super::ids::Id;
use super::observed::Proxy;
use crate::shown::printable;

const SUBJECT: &str = "noded-proxy";

/// All findings on the proxy of this node.
pub(super) fn judge(proxy: &Proxy) -> Vec<Finding> {
    let mut found = Vec::new();
    if proxy.unused {
        let text = "noded has the RPC port, with its own TLS";
        return vec![Finding::new(Id::ProxyUnused, SUBJECT, text)];
    }
    match &proxy.down {
        Some(why) => found.push(Finding::new(Id::ProxyDown, SUBJECT, why)),
        None if !proxy.ready => {
            found.push(Finding::new(
                Id::ProxyNotReady,
                SUBJECT,
                "the RPC port is closed",
            ));
        }
        None => {}
    }
    if proxy.audit {
        found.push(Finding::new(
            Id::ProxyAudit,
            SUBJECT,
            "it admits each certificate of the cluster",
        ));
    }
    let faults = proxy.faults.iter();
    found.extend(faults.filter_map(|(kind, why)| Some(Finding::new(id(kind)?, SUBJECT, why))));
    for (digest, nodes) in &proxy.shared {
        let nodes: Vec<String> = nodes.iter().map(|node| printable(node)).collect();
        let text = format!("{digest} was used by {}", nodes.join(" and "));
        found.push(Finding::new(
            Id::CertificateShared,
            &digest.to_string(),
            text,
        ));
    }
    let past = proxy.past.iter();
    found.extend(past.map(|why| Finding::new(Id::NodedOpen, "noded", why)));
    found
}

/// The finding for a reason why the proxy is degraded, by the name of its kind.
fn id(kind: &str) -> Option<Id> {
    match kind {
        "audit_mode" => None, // said above
        "candidate_map" => Some(Id::ProxyMap),
        "guard_missing" => Some(Id::ProxyGuard),
        "noded_down" => Some(Id::NodedDown),
        "noded_exposed" | "noded_impersonated" => Some(Id::NodedOpen),
        _ => Some(Id::ProxyDegraded),
    }
}
