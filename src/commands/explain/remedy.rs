//! What the administrator does about a refusal: one remedy for each reason.
//!
//! Pure. A new reason does not compile without its remedy.

use crate::proxy::http::Refusal;
use crate::proxy::reason::{Cause, Reason};
use rules::admission::Nobody;
use rules::authz::Denied;

/// What the administrator would do about a reason.
pub fn remedy(cause: &Cause) -> &'static str {
    match cause {
        Cause::Connection(reason) => of_connection(*reason),
        Cause::Request(refusal) => of_request(refusal),
        Cause::Policy => {
            "if the call is meant to pass, change the rule in [policy] that the reason names; else \
             ask who calls: docs/policy.md"
        }
        Cause::NoRequest => {
            "the client was admitted and left. If it reports a certificate problem (curl: error \
             60), it does not trust this node: is server.pem here the cluster's? `noded-proxy \
             check` compares it; gnt-cluster renew-crypto --new-cluster-certificate gives all \
             nodes the same"
        }
    }
}

fn of_connection(reason: Reason) -> &'static str {
    match reason {
        Reason::Denied(denied) => of_denied(denied),
        Reason::NoCertificate => {
            "the client has no certificate, or it is a strict (GnuTLS) client and found no name of \
             its own in the client CA list: see `noded-proxy certs list`; or its key is of a kind \
             that the TLS library does not take: give its certificate to `noded-proxy explain`"
        }
        Reason::MalformedCertificate => {
            "the TLS library cannot read the client's certificate: make it anew, gnt-cluster \
             renew-crypto --new-node-certificates"
        }
        Reason::UnusableCertificate => {
            "the TLS library cannot do with the key of the client's certificate (its kind, its usage \
             or the certificate's size): give the node one as Ganeti makes it, gnt-cluster \
             renew-crypto --new-node-certificates; a proxy that is built with OpenSSL takes more kinds"
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

fn of_request(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Denied(denied) => of_denied(*denied),
        Refusal::Method | Refusal::Path => {
            "Ganeti's clients send POST /PROCEDURE and nothing else: find out what calls"
        }
        Refusal::Head(_) | Refusal::HeadTooLarge | Refusal::Host => {
            "this is no request of Ganeti's clients: find out what calls"
        }
        Refusal::Framing(_) => {
            "a request whose length can be read in two ways is an attack or a broken client: find \
             out what calls"
        }
        Refusal::BodyTooLarge(_) => "raise limits.body if the request is genuine",
        Refusal::NotAscii => "Ganeti escapes such bytes as \\u: find out what calls",
        Refusal::SlowHead => "look at the network, and find out what calls",
        Refusal::SlowBody => "look at the network, or lower limits.body_rate",
        Refusal::IncompleteBody(_) => {
            "the client ended within its request: look in its log, and at the network"
        }
        Refusal::SpoolFull => "raise limits.spool, or find out who sends so much at once",
        Refusal::SpoolFailed(_) => {
            "make room on the file system of state_dir, and see `noded-proxy check`"
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
            "there is no candidate map: gnt-cluster copyfile -n NODE FILE on the master brings it by \
             ssh; if the cluster has none, gnt-cluster renew-crypto --new-node-certificates"
        }
        Denied::Nobody(Nobody::MapGone) => {
            "there was a candidate map under this server.pem and it is gone: gnt-cluster \
             copyfile -n NODE FILE on the master brings it by ssh; if the cluster is to have none, \
             noded-proxy reset opens the bootstrap phase"
        }
        // Over /status only the common name of these arrives, so they share one text.
        Denied::Nobody(
            Nobody::NotInCluster
            | Nobody::NoIdentity
            | Nobody::BootstrapRefused
            | Nobody::NoGoodMap,
        ) => {
            "if the node is in a cluster, repair the file that `noded-proxy check` finds at fault: \
             gnt-cluster copyfile -n NODE FILE on the master brings it by ssh"
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
        let remedies: BTreeSet<&str> = Reason::all().map(of_connection).collect();
        assert_eq!(remedies.len(), Reason::all().count());
        let remedies: BTreeSet<&str> = Cause::all().map(|cause| remedy(&cause)).collect();
        assert!(remedies.iter().all(|text| !text.contains("see the log")));
    }
}
