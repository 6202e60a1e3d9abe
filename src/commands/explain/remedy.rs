//! What the administrator does about a refusal: one remedy for each reason.
//!
//! Pure. A new reason does not compile without its remedy.

use crate::proxy::reason::Reason;
use rules::admission::Nobody;
use rules::authz::Denied;

/// What the administrator would do about a reason.
pub fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Denied(denied) => of_denied(denied),
        Reason::NoCertificate => {
            "the client has no certificate, or it is a strict (GnuTLS) client and found no name of \
             its own in the client CA list: see `noded-proxy certs list`"
        }
        Reason::ProtocolError => {
            "client and proxy have no TLS version or cipher in common (old nodes need tls.legacy), \
             or the client does not have the key of its certificate, or it does not speak TLS"
        }
        Reason::HandshakeTimeout => {
            "the client did not finish its handshake within limits.handshake_timeout: look for a \
             slow or broken network, an overloaded client, or a port scan"
        }
        Reason::PeerClosed => {
            "the client went away during its handshake: look in the client's log whether it trusts \
             the certificate it was shown; else it is a broken network or a port scan"
        }
        Reason::OverLimit => {
            "too many connections or unfinished handshakes at once: find the addresses that open \
             them; if they are meant to, raise limits.connections, limits.handshakes or \
             limits.handshakes_per_source"
        }
        Reason::NotInCluster => {
            "this node has no server.pem: if it is to join the cluster, gnt-node add on the \
             master; if not, the client calls the wrong node"
        }
    }
}

fn of_denied(denied: Denied) -> &'static str {
    match denied {
        Denied::UnknownDigest => {
            "give its certificate to `noded-proxy explain` to see why: no candidate (gnt-node \
             modify --master-candidate=yes), or renewed (gnt-cluster \
             renew-crypto --new-node-certificates)"
        }
        Denied::DigestCollision => {
            "somebody forged a certificate, or the file in candidate_certs is wrong: compare both, \
             then gnt-cluster renew-crypto --new-node-certificates"
        }
        Denied::BootstrapRefused => {
            "there is no candidate map: gnt-cluster redist-conf on the master, or gnt-cluster \
             renew-crypto --new-node-certificates"
        }
        Denied::Nobody(Nobody::MapGone) => {
            "there was a candidate map under this server.pem and it is gone: gnt-cluster \
             redist-conf on the master writes it anew; if the cluster is to have none, noded-proxy \
             reset opens the bootstrap phase"
        }
        // Over /status only the common name of these arrives, so they share one text.
        Denied::Nobody(
            Nobody::NotInCluster
            | Nobody::NoIdentity
            | Nobody::BootstrapRefused
            | Nobody::NoGoodMap,
        ) => {
            "if the node is in a cluster, repair the file that `noded-proxy check` finds at fault; \
             on the master: gnt-cluster redist-conf"
        }
        Denied::Expired => {
            "the certificate has expired: gnt-cluster renew-crypto --new-node-certificates"
        }
        Denied::NotYetValid => "set the clocks of both nodes, or wait",
        Denied::AddressNotCandidate => {
            "a candidate calls from another address than its primary one (routing, NAT), or this \
             is no candidate"
        }
        Denied::OtherNodesCertificate => {
            "was the certificate copied from one node to another? gnt-cluster renew-crypto \
             --new-node-certificates gives each node its own"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::Named;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_remedy_of_its_own() {
        let remedies: BTreeSet<&str> = Reason::all().map(remedy).collect();
        assert_eq!(remedies.len(), Reason::all().count());
        assert!(remedies.iter().all(|text| !text.contains("see the log")));
    }
}
