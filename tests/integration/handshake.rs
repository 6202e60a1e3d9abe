//! What TLS lets through, and what a refused client is told.

use crate::support::client::{Tls, alert, refusal};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;

#[test]
fn a_candidate_is_admitted() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &node)]).start();
    for tls in Tls::BOTH {
        assert!(refusal(proxy.addr(), Some(&node), tls).is_none(), "{tls:?}");
    }
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        2.0
    );
}

#[test]
fn an_unknown_certificate_is_refused() {
    let pki = Pki::new();
    let (node, other) = (
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    );
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &node)]).start();
    for tls in Tls::BOTH {
        let failure = refusal(proxy.addr(), Some(&other), tls).unwrap();
        assert_eq!(
            failure.alert,
            Some(alert::UNKNOWN_CA),
            "{tls:?}: {failure:?}"
        );
    }
    proxy.wait_for("both are counted", |p| p.rejected("unknown_digest") == 2.0);
}
