//! The threats that the proxy is there for, each attacked end to end. One test is one row of the
//! table.
//!
//! `docs/security.md` has the table. Two of its rows are tested elsewhere: certificates made to
//! collide in SHA-1 (`identity::rules`, `rules::authz`), and local users at noded's loopback port
//! (`guard`, `tests/e2e/run`).

use std::io::{Read, Write};

use crate::handshake::{self, proxy_for};
use crate::support::client::{Tls, admitted, ask, connect, refusal, request, send, tcp};
use crate::support::pki::Pki;
use crate::support::stub::{Seen, StubNoded};
use crate::{access, demotion, session};

const NAME: &str = "node1.example.com";

/// Anybody without a certificate, or with an unknown one; a normal node with its own valid
/// certificate.
#[test]
fn who_is_no_candidate_reaches_no_node_daemon() {
    let pki = Pki::new();
    let (node, normal) = (pki.client(NAME), pki.client("node2.example.com"));
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    let strangers = [
        None,
        Some(normal),
        Some(pki.server().clone()),
        Some(pki.foreign(NAME)),
        Some(pki.self_signed(NAME)),
        Some(pki.client(NAME)),
    ];
    for stranger in &strangers {
        assert!(refusal(proxy.addr(), stranger.as_ref(), Tls::V12).is_some());
        // In TLS 1.3 the request comes with the certificate, before the client can know of the
        // refusal.
        let mut stream = connect(proxy.addr(), stranger.as_ref(), Tls::V13).unwrap();
        let _ = stream.write_all(request("powercycle_node", "[]").as_bytes());
        assert!(stream.read(&mut [0; 1]).is_err());
    }
    let counted = |p: &crate::support::proxy::Proxy| {
        (p.rejected("no_certificate"), p.rejected("unknown_digest"))
    };
    proxy.wait_for("all are counted by reason", |p| counted(p) == (2.0, 10.0));
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        0.0
    );
    assert!(stub.seen().is_empty());
    assert!(admitted(proxy.addr(), &node));
}

#[test]
fn a_demoted_candidate_new_connection_and_open_connection() {
    demotion::a_demoted_candidate_loses_its_idle_connection_at_once();
}

#[test]
fn a_demoted_candidate_with_a_running_request() {
    demotion::a_demoted_candidates_running_request_is_its_last();
}

#[test]
fn a_demoted_candidate_with_half_a_request() {
    demotion::a_candidate_demoted_while_it_sends_a_request_is_refused();
}

#[test]
fn a_demoted_candidate_with_half_a_long_request() {
    demotion::a_candidate_demoted_while_it_sends_a_long_request_is_refused();
}

#[test]
fn a_demoted_candidate_with_a_request_in_the_queue() {
    demotion::a_candidate_demoted_in_the_queue_is_refused();
}

#[test]
fn a_demoted_candidate_with_a_saved_tls_1_2_session() {
    session::no_session_is_resumed(Tls::V12);
}

#[test]
fn a_demoted_candidate_with_a_saved_tls_1_3_session() {
    session::no_session_is_resumed(Tls::V13);
}

#[test]
fn a_candidates_certificate_without_its_key() {
    handshake::a_stolen_certificate_without_its_key_does_not_help();
}

#[test]
fn a_candidates_certificate_in_somebody_elses_chain() {
    handshake::a_candidates_certificate_in_the_chain_does_not_help();
}

/// Slow and silent clients, strangers and candidates alike, cost noded nothing and keep nobody out.
#[test]
fn slow_silent_and_flooding_clients() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .config("upstream.max_clients = 2\nupstream.fast_slots = 0")
        .start();
    let silent: Vec<_> = (0..50).map(|_| tcp(proxy.addr()).unwrap()).collect();
    let mut slow: Vec<_> = (0..10)
        .map(|_| connect(proxy.addr(), Some(&node), Tls::Any).unwrap())
        .collect();
    for stream in &mut slow {
        send(
            stream,
            "POST /node_info HTTP/1.1\r\nHost: n\r\nContent-Length: 1000\r\n\r\n[",
        );
    }
    proxy.wait_for("all are there", |p| {
        p.metric("noded_proxy_handshakes_open") == 50.0
            && p.metric("noded_proxy_connections_open") == 10.0
    });
    for _ in 0..10 {
        ask(&mut connect(proxy.addr(), Some(&node), Tls::Any).unwrap());
    }
    assert_eq!(stub.procedures(), ["version"; 10]);
    drop((silent, slow));
    proxy.wait_for("all are gone", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
    assert_eq!(stub.procedures(), ["version"; 10]);
}

/// A second request hidden in the framing of the first: noded sees at most what hyper and the rules
/// let through, behind a head that the proxy wrote itself.
#[test]
fn smuggled_requests() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    let hidden = "POST /powercycle_node HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\n[]";
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let length = hidden.len();
    let head = "POST /version HTTP/1.1\r\nHost: n\r\nConnection: close\r\n";
    let attacks = [
        format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Content-Length: {length}, 0\r\n\r\n{hidden}"),
        format!("Content-Length: +{length}\r\n\r\n{hidden}"),
        format!("Content-Length : {length}\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n{chunked}"),
        format!("X: a\rContent-Length: 0\r\n\r\n{hidden}"),
        format!("Content-Length: {length}\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{chunked}"),
    ];
    for attack in attacks {
        let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
        send(&mut stream, format!("{head}{attack}"));
        let _ = stream.read_to_end(&mut Vec::new());
    }
    proxy.wait_for("all connections have ended", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
    let seen = stub.seen();
    for request in &seen {
        // Each request that noded saw has one length, and all of the body belongs to it.
        assert!(
            request.head().starts_with("POST /version HTTP/1.1\r\n"),
            "{}",
            request.head()
        );
        assert_eq!(request.header("transfer-encoding"), None);
        assert_eq!(
            request.header("content-length"),
            Some(request.body().len().to_string().as_str())
        );
    }
    // The two honest framings at the end.
    let whole = |request: &&Seen| request.body() == hidden.as_bytes();
    assert_eq!(seen.iter().filter(whole).count(), 2);
}

/// An empty map never opens the node once a real one was seen, and a broken one locks nobody out.
#[test]
fn a_broken_ssconf_file() {
    access::keeps_the_last_good_map("empty", "empty", |p| p.write_map_in_place(b"", 0o644));
    access::keeps_the_last_good_map("malformed", "line 1", |p| p.write_map_in_place(b"?", 0o644));
}
