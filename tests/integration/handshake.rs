//! What TLS lets through, and what a refused client is told, counted and logged as.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::{Ssl, SslContext, SslSessionCacheMode, SslStream, SslVersion};

use crate::support::client::{
    Tls, admitted, alert, connect, connect_with, context, read_response, refusal, refusal_with,
    request, send, shake_hands, tcp,
};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::{Builder, Proxy};
use crate::support::wait_until;

/// A proxy that admits this one certificate.
pub(crate) fn proxy_for(pki: &Pki, candidate: &Identity) -> Builder {
    Proxy::with(pki).candidates(&[("uuid-1", candidate)])
}

/// Whether a client is refused in both TLS versions: with this alert, counted under this reason, and
/// logged and shown in `/status` with its digest and name.
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
fn the_server_shows_server_pem() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    for tls in Tls::BOTH {
        let stream = connect(proxy.addr(), Some(&node), tls).unwrap();
        let shown = stream.ssl().peer_certificate().unwrap();
        assert_eq!(shown.to_der().unwrap(), pki.server().der);
    }
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
fn assert_dates_are_a_matter_of_policy(outside: impl Fn(&Pki) -> Identity, reason: &str) {
    let pki = Pki::new();
    let node = outside(&pki);
    let proxy = proxy_for(&pki, &node).start();
    assert!(admitted(proxy.addr(), &node));
    assert_eq!(
        proxy.metric("noded_proxy_admitted_outside_validity_total"),
        1.0
    );
    let warning = "admitted all the same; renew it with gnt-cluster renew-crypto";
    proxy.wait_for("the warning", |p| p.logged(warning));
    let line = &proxy.lines_with(warning)[0];
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
    assert_dates_are_a_matter_of_policy(|pki| pki.expired("node1.example.com"), "expired");
}

#[test]
fn a_certificate_not_yet_valid_is_admitted_with_a_warning_or_refused_on_demand() {
    assert_dates_are_a_matter_of_policy(
        |pki| pki.not_yet_valid("node1.example.com"),
        "not_yet_valid",
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

/// Certificates are public; the key is the proof. (A row of `threats`. Keys on P-256, because a client's library
/// notices an RSA signature that does not fit before the proxy can.)
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

/// A client that keeps sessions and counts those it is given.
fn session_keeper(node: &Identity, tls: Tls) -> (SslContext, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    let mut settings = context(Some(node), tls);
    settings.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    settings.set_new_session_callback(move |_, session| {
        let resumable = session.id().len() + usize::from(session.time() > 0);
        counter.fetch_add(usize::from(resumable > 0), Ordering::SeqCst);
    });
    (settings.build(), given)
}

/// One answered request, so that everything the server sends after the handshake was read.
pub(crate) fn ask(stream: &mut SslStream<TcpStream>) {
    send(stream, request("version", "[]"));
    read_response(stream);
}

/// Runs `openssl s_client`, another TLS library, with this standard input.
fn s_client(proxy: &Proxy, node: &Identity, options: &[&str], input: &str) -> String {
    let pem = proxy.dir().join("client.pem");
    std::fs::write(&pem, &node.pem).unwrap();
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &proxy.addr().to_string(),
            "-servername",
            "node1",
        ])
        .arg("-cert")
        .arg(pem)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed (tests/lab/setup)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// No session identifier, no ticket, and no session taken up again. (A row of `threats`.)
pub(crate) fn no_session_is_resumed(tls: Tls) {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let (client, given) = session_keeper(&node, tls);
    let mut stream = shake_hands(proxy.addr(), Ssl::new(&client).unwrap()).unwrap();
    ask(&mut stream);
    assert!(!stream.ssl().session_reused());
    assert_eq!(given.load(Ordering::SeqCst), 0, "sessions to keep");

    let version = if tls == Tls::V12 {
        "-tls1_2"
    } else {
        "-tls1_3"
    };
    let kept = proxy.dir().join("session");
    let keep = ["-sess_out", kept.to_str().unwrap(), version, "-ign_eof"];
    let request =
        request("version", "[]").replace("Content-Type", "Connection: close\r\nContent-Type");
    let told = s_client(&proxy, &node, &keep, &request);
    assert!(
        told.contains("HTTP/1.1 502"),
        "an admitted client with an answer:\n{told}"
    );
    assert!(!told.contains("Session Ticket arrived"), "{told}");
    if kept.exists() {
        let offer = ["-sess_in", kept.to_str().unwrap(), version, "-ign_eof"];
        let told = s_client(&proxy, &node, &offer, &request);
        assert!(
            told.contains("New, TLSv1") && !told.contains("Reused, "),
            "{told}"
        );
    }
}

#[test]
fn renegotiation_is_refused() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    // "R" asks s_client to renegotiate.
    let told = s_client(&proxy, &node, &["-tls1_2"], "R\n");
    assert!(told.contains("RENEGOTIATING"), "{told}");
    assert!(
        told.contains("no renegotiation") || told.contains("error:"),
        "{told}"
    );
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        1.0
    );
    proxy.wait_for("the connection is closed", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
}

#[test]
fn http_1_1_is_chosen_whatever_else_is_offered() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let offers: [(&[u8], Option<&[u8]>); 3] = [
        (b"\x02h2\x08http/1.1", Some(b"http/1.1")),
        (b"\x08http/1.1", Some(b"http/1.1")),
        (b"\x02h2", None),
    ];
    for tls in Tls::BOTH {
        for (offer, expected) in offers {
            let settings = |context: &mut openssl::ssl::SslContextBuilder| {
                context.set_alpn_protos(offer).unwrap();
            };
            let mut stream = connect_with(proxy.addr(), Some(&node), tls, settings).unwrap();
            assert_eq!(stream.ssl().selected_alpn_protocol(), expected, "{tls:?}");
            ask(&mut stream);
        }
    }
}

#[test]
fn tls_1_1_is_refused() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let mut settings = context(Some(&node), Tls::Any);
    settings
        .set_min_proto_version(Some(SslVersion::TLS1))
        .unwrap();
    settings
        .set_max_proto_version(Some(SslVersion::TLS1_1))
        .unwrap();
    let failure = refusal_with(proxy.addr(), settings).expect("the client is refused");
    assert_eq!(failure.alert, Some(alert::PROTOCOL_VERSION), "{failure:?}");
    proxy.wait_for("it is counted", |p| p.rejected("protocol_error") == 1.0);
}

#[test]
fn what_is_not_tls_is_a_protocol_error() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let mut plain = tcp(proxy.addr()).unwrap();
    send(&mut plain, request("version", "[]"));
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    proxy.wait_for("it is counted", |p| p.rejected("protocol_error") == 1.0);
}

#[test]
fn a_tcp_ping_is_counted_and_not_logged() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let lines = proxy.log_lines().len();
    for _ in 0..3 {
        drop(tcp(proxy.addr()).unwrap());
    }
    proxy.wait_for("pings are counted", |p| {
        p.metric("noded_proxy_tcp_pings_total") == 3.0
    });
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"ping\"}"),
        3.0
    );
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"rejected\"}"),
        0.0
    );
    assert_eq!(proxy.log_lines().len(), lines, "{}", proxy.log());
}

#[test]
fn a_client_that_leaves_in_the_handshake_is_counted_and_not_logged() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let lines = proxy.log_lines().len();
    let mut half = tcp(proxy.addr()).unwrap();
    send(&mut half, HALF_A_HELLO);
    drop(half);
    proxy.wait_for("it is counted", |p| p.rejected("peer_closed") == 1.0);
    assert_eq!(proxy.log_lines().len(), lines, "{}", proxy.log());
}

/// The beginning of a TLS record with a ClientHello of 256 bytes.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03";

/// Reads until the peer has closed; returns what came before.
fn until_closed(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the connection was not closed")
            }
            Err(_) => return all,
        }
    }
}

#[test]
fn a_silent_client_is_cut_at_the_handshake_timeout() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com"))
        .config("limits.handshake_timeout = '150ms'")
        .start();
    let mut silent = tcp(proxy.addr()).unwrap();
    assert_eq!(until_closed(&mut silent), b"");
    let mut stuck = tcp(proxy.addr()).unwrap();
    send(&mut stuck, HALF_A_HELLO);
    until_closed(&mut stuck);
    proxy.wait_for("both are counted", |p| {
        p.rejected("handshake_timeout") == 2.0
    });
    assert_eq!(proxy.metric("noded_proxy_handshakes_open"), 0.0);
}

#[test]
fn a_slow_head_is_cut_at_the_header_timeout() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let stub = crate::support::stub::StubNoded::usual();
    let proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .config("limits.header_timeout = '300ms'")
        .start();
    let mut slow = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut slow, "POST /version HTTP/1.1\r\nHost: no");
    assert!(!until_closed(&mut slow).starts_with(b"HTTP/1.1 200"));
    let mut idle = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    until_closed(&mut idle);
    let mut between = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut between, request("version", "[]"));
    assert_eq!(read_response(&mut between).status, 200);
    until_closed(&mut between);
    assert_eq!(stub.seen().len(), 1);
}

#[test]
fn unfinished_handshakes_are_limited() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node)
        .config("limits.handshakes = 2\nlimits.handshake_timeout = '1h'")
        .start();
    let silent: Vec<TcpStream> = (0..2).map(|_| tcp(proxy.addr()).unwrap()).collect();
    proxy.wait_for("both wait", |p| {
        p.metric("noded_proxy_handshakes_open") == 2.0
    });
    assert!(refusal(proxy.addr(), Some(&node), Tls::Any).is_some());
    proxy.wait_for("it is counted", |p| p.rejected("over_limit") == 1.0);
    drop(silent);
    proxy.wait_for("both are gone", |p| {
        p.metric("noded_proxy_handshakes_open") == 0.0
    });
    assert!(admitted(proxy.addr(), &node));
}

#[test]
fn open_connections_are_limited() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node)
        .config("limits.connections = 2")
        .start();
    let mut open: Vec<_> = (0..2)
        .map(|_| connect(proxy.addr(), Some(&node), Tls::Any).unwrap())
        .collect();
    open.iter_mut().for_each(ask);
    assert!(refusal(proxy.addr(), Some(&node), Tls::Any).is_some());
    proxy.wait_for("it is counted", |p| p.rejected("over_limit") == 1.0);
    drop(open);
    wait_until("a place is free", || admitted(proxy.addr(), &node));
}
