//! Connections that come to nothing: pings, silence, slowness, garbage, too many at a time.

use std::io::Read;
use std::net::Shutdown;

use crate::handshake::proxy_for;
use crate::support::client::{Tls, admitted, ask, connect, read_response, request, send, tcp};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stage::assert_refusal;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

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
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .config("limits.header_timeout = '300ms'")
        .start();
    let mut slow = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut slow, "POST /version HTTP/1.1\r\nHost: no");
    assert_refusal(&read_response(&mut slow), 408, "too slowly");
    let mut half = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut half, "POST /version HTTP/1.1\r\nHost: no");
    half.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_refusal(&read_response(&mut half), 400, "ends in the middle");
    for reason in ["slow_head", "malformed_head"] {
        let series = format!("noded_proxy_refused_requests_total{{reason=\"{reason}\"}}");
        assert_eq!(proxy.metric(&series), 1.0, "{reason}");
    }
    let mut idle = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    until_closed(&mut idle);
    let mut between = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut between, request("version", "[]"));
    assert_eq!(read_response(&mut between).status, 200);
    until_closed(&mut between);
    assert_eq!(stub.seen().len(), 1);
}

#[test]
fn open_connections_are_limited() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let other = pki.client("node2.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node), ("uuid-2", &other)])
        .config("limits.connections = 4")
        .start();
    // One candidate has no more of them than it leaves free.
    let mut open: Vec<_> = (0..2)
        .map(|_| connect(proxy.addr(), Some(&node), Tls::Any).unwrap())
        .collect();
    open.iter_mut().for_each(ask);
    let refused = || match connect(proxy.addr(), Some(&node), Tls::Any) {
        Ok(mut stream) => stream.read(&mut [0]).map_or(true, |count| count == 0),
        Err(_) => true,
    };
    assert!(refused());
    proxy.wait_for("it is counted", |p| p.rejected("over_limit") == 1.0);
    assert!(admitted(proxy.addr(), &other));
    drop(open);
    wait_until("a place is free", || admitted(proxy.addr(), &node));
}
