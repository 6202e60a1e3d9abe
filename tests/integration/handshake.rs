//! What TLS lets through, and what a refused client is told, counted and logged as.

use crate::support::client::{Tls, admitted, alert, context, refusal, refusal_with};
use crate::support::commands::explain_peer;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::{Builder, Proxy};

/// A proxy that admits this one certificate.
pub(crate) fn proxy_for(pki: &Pki, candidate: &Identity) -> Builder {
    Proxy::with(pki).candidates(&[("uuid-1", candidate)])
}

/// Whether a client is refused in both TLS versions: with this alert, counted under this reason,
/// and logged and shown in `/status` with its digest and name.
#[track_caller]
pub(crate) fn assert_refused(proxy: &Proxy, client: &Identity, cn: &str, reason: &str, alert: u8) {
    for tls in Tls::BOTH {
        let (before, lines) = (proxy.rejected(reason), proxy.lines_with("refused").len());
        let failure = refusal(proxy.addr(), Some(client), tls).expect("the client is refused");
        assert_eq!(failure.alert, Some(alert), "{tls:?}: {failure:?}");
        proxy.wait_for("the refusal is counted", |p| p.rejected(reason) > before);
        proxy.wait_for("the refusal is logged", |p| {
            p.lines_with("refused").len() > lines
        });
        let line = proxy.lines_with("refused").pop().unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["reason"], reason);
        assert_eq!(line["digest"], client.digest.as_str());
        assert_eq!(line["cn"], cn);
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        let shown = proxy.status()["last_refusals"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        assert_eq!(shown["reason"], reason);
        assert_eq!(shown["digest"], client.digest.as_str());
        assert_eq!(shown["common_name"], cn);
    }
}

#[test]
fn a_candidate_is_admitted() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    for (tls, version) in [(Tls::V12, "TLSv1.2"), (Tls::V13, "TLSv1.3")] {
        assert!(refusal(proxy.addr(), Some(&node), tls).is_none(), "{tls:?}");
        let counted = format!("noded_proxy_tls_connections_total{{version=\"{version}\"}}");
        assert_eq!(proxy.metric(&counted), 1.0);
    }
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        2.0
    );
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"rejected\"}"),
        0.0
    );
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    for (tls, expected) in [
        (Tls::V12, alert::HANDSHAKE_FAILURE),
        (Tls::V13, alert::CERTIFICATE_REQUIRED),
    ] {
        let before = proxy.rejected("no_certificate");
        let failure = refusal(proxy.addr(), None, tls).expect("the client is refused");
        assert_eq!(failure.alert, Some(expected), "{tls:?}: {failure:?}");
        proxy.wait_for("it is counted", |p| {
            p.rejected("no_certificate") == before + 1.0
        });
    }
    proxy.wait_for("both are logged", |p| p.lines_with("refused").len() == 2);
    for line in proxy.lines_with("refused") {
        assert_eq!(
            (&line["reason"], &line["level"]),
            (&"no_certificate".into(), &"INFO".into())
        );
    }
}

#[test]
fn an_unknown_certificate_is_refused() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let normal = pki.client("node2.example.com");
    assert_refused(
        &proxy,
        &normal,
        "node2.example.com",
        "unknown_digest",
        alert::UNKNOWN_CA,
    );
}

#[test]
fn a_renewed_certificate_with_the_same_name_is_unknown() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let renewed = pki.client("node1.example.com");
    assert_refused(
        &proxy,
        &renewed,
        "node1.example.com",
        "unknown_digest",
        alert::UNKNOWN_CA,
    );
}

#[test]
fn a_certificate_of_another_cluster_is_refused() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let foreign = pki.foreign("node1.example.com");
    assert_refused(
        &proxy,
        &foreign,
        "node1.example.com",
        "unknown_digest",
        alert::UNKNOWN_CA,
    );
}

#[test]
fn a_self_signed_certificate_is_refused() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let own = pki.self_signed("node1.example.com");
    assert_refused(
        &proxy,
        &own,
        "node1.example.com",
        "unknown_digest",
        alert::UNKNOWN_CA,
    );
}

#[test]
fn server_pem_as_a_client_is_refused_once_there_is_a_map() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let cn = "ganeti.example.com";
    assert_refused(
        &proxy,
        pki.server(),
        cn,
        "unknown_digest",
        alert::UNKNOWN_CA,
    );
}

/// Whether a certificate outside its validity is admitted with a warning, and refused on demand.
fn assert_dates_are_a_matter_of_policy(
    outside: impl Fn(&Pki) -> Identity,
    reason: &str,
    todo: &str,
) {
    let pki = Pki::new();
    let node = outside(&pki);
    let proxy = proxy_for(&pki, &node).start();
    assert!(admitted(proxy.addr(), &node));
    assert_eq!(
        proxy.metric("noded_proxy_admitted_outside_validity_total"),
        1.0
    );
    let warning = format!("admitted all the same; {todo}");
    proxy.wait_for("the warning", |p| p.logged(&warning));
    let line = &proxy.lines_with(&warning)[0];
    assert_eq!(
        (&line["level"], &line["digest"]),
        (&"WARN".into(), &node.digest.as_str().into())
    );

    let strict = proxy_for(&pki, &node)
        .config("admission.reject_expired = true")
        .start();
    assert_refused(
        &strict,
        &node,
        "node1.example.com",
        reason,
        alert::UNKNOWN_CA,
    );
    assert_eq!(
        strict.metric("noded_proxy_admitted_outside_validity_total"),
        0.0
    );
}

#[test]
fn an_expired_certificate_is_admitted_with_a_warning_or_refused_on_demand() {
    let todo = "renew it with gnt-cluster renew-crypto --new-node-certificates";
    assert_dates_are_a_matter_of_policy(|pki| pki.expired("node1.example.com"), "expired", todo);
}

#[test]
fn a_certificate_not_yet_valid_is_admitted_with_a_warning_or_refused_on_demand() {
    assert_dates_are_a_matter_of_policy(
        |pki| pki.not_yet_valid("node1.example.com"),
        "not_yet_valid",
        "set the clocks of both nodes",
    );
}

#[test]
fn reject_expired_admits_a_certificate_within_its_validity() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node)
        .config("admission.reject_expired = true")
        .start();
    assert!(admitted(proxy.addr(), &node));
    assert_eq!(
        proxy.metric("noded_proxy_admitted_outside_validity_total"),
        0.0
    );
}

/// A candidate's certificate, sent along behind somebody's own. (A row of `threats`.)
pub(crate) fn a_candidates_certificate_in_the_chain_does_not_help() {
    let pki = Pki::new();
    let (node, thief) = (
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    );
    let proxy = proxy_for(&pki, &node).start();
    for tls in Tls::BOTH {
        let mut settings = context(Some(&thief), tls);
        settings.add_extra_chain_cert(node.cert.clone()).unwrap();
        settings
            .add_extra_chain_cert(pki.server().cert.clone())
            .unwrap();
        let failure = refusal_with(proxy.addr(), settings).expect("the client is refused");
        assert_eq!(
            failure.alert,
            Some(alert::UNKNOWN_CA),
            "{tls:?}: {failure:?}"
        );
    }
    proxy.wait_for("both are logged", |p| p.lines_with("refused").len() == 2);
    for line in proxy.lines_with("refused") {
        assert_eq!(line["digest"], thief.digest.as_str());
    }
}

#[test]
fn a_candidate_that_sends_its_issuer_along_is_admitted() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    for tls in Tls::BOTH {
        let mut settings = context(Some(&node), tls);
        settings
            .add_extra_chain_cert(pki.server().cert.clone())
            .unwrap();
        assert!(refusal_with(proxy.addr(), settings).is_none(), "{tls:?}");
    }
}

/// Certificates are public; the key is the proof. (A row of `threats`. Keys on P-256, because a
/// client's library notices an RSA signature that does not fit before the proxy can.)
pub(crate) fn a_stolen_certificate_without_its_key_does_not_help() {
    let pki = Pki::new();
    let node = pki.client_ec("node1.example.com");
    let stolen = node.with_key_behind(&pki.client_ec("thief.example.com"));
    let proxy = proxy_for(&pki, &node).start();
    for tls in Tls::BOTH {
        assert!(
            refusal(proxy.addr(), Some(&node), tls).is_none(),
            "the owner is admitted: {tls:?}"
        );
        let before = proxy.rejected("protocol_error");
        let failure = refusal(proxy.addr(), Some(&stolen), tls).expect("the thief is refused");
        assert_eq!(
            failure.alert,
            Some(alert::DECRYPT_ERROR),
            "{tls:?}: {failure:?}"
        );
        proxy.wait_for("it is counted", |p| {
            p.rejected("protocol_error") == before + 1.0
        });
    }
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        2.0
    );
}

/// A node with another `server.pem`: its callers leave as soon as they have seen it.
#[test]
fn a_caller_that_does_not_trust_this_node_is_told_by_name() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let pem = proxy.dir().join("client.pem");
    std::fs::write(&pem, &node.pem).unwrap();
    let other = proxy.dir().join("other.pem");
    std::fs::write(&other, &Pki::new().server().cert_pem).unwrap();
    // Ganeti's own client library, which looks at the certificate after the handshake.
    let script = "import pycurl, sys\n\
        c = pycurl.Curl()\n\
        c.setopt(c.URL, sys.argv[1]); c.setopt(c.POSTFIELDS, '[]')\n\
        c.setopt(c.SSLCERT, sys.argv[2]); c.setopt(c.SSLKEY, sys.argv[2])\n\
        c.setopt(c.CAINFO, sys.argv[3])\n\
        try: c.perform()\n\
        except pycurl.error as e: print(e.args[0])";
    let done = std::process::Command::new("/usr/bin/python3")
        .args(["-c", script])
        .arg(format!("https://{}/version", proxy.addr()))
        .args([&pem, &other])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "60\n", "{done:?}");
    let counted = "noded_proxy_connections_total{result=\"no_request\"}";
    proxy.wait_for("it is counted", |p| p.metric(counted) == 1.0);
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        0.0
    );
    let line = &proxy.lines_with("admitted, and left without a request")[0];
    assert_eq!(line["cn"], "node1.example.com");
    let refusal = &proxy.status()["last_refusals"][0];
    assert_eq!(refusal["reason"], "no_request");
    let text = explain_peer(&proxy);
    for words in ["no_request", "server.pem"] {
        assert!(text.contains(words), "{text}");
    }
}
