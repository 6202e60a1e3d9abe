//! A candidate that is demoted, whatever it is doing at that moment. `threats` runs most of these
//! stories.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::handshake::{assert_refused, proxy_for};
use crate::support::client::{
    Tls, admitted, alert, connect, read_response, refusal, request, send, try_read_response,
};
use crate::support::commands::explain_peer;
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

const NAME: &str = "node1.example.com";

/// A candidate that is demoted: its idle connection is closed, a new one refused.
pub(crate) fn a_demoted_candidate_loses_its_idle_connection_at_once() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let stub = StubNoded::usual();
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node), ("uuid-2", &other)])
        .upstream(stub.address())
        .config("limits.header_timeout = '1h'")
        .start();
    let mut kept = connect(proxy.addr(), Some(&other), Tls::Any).unwrap();
    let mut demoted: Vec<_> = Tls::BOTH
        .map(|tls| connect(proxy.addr(), Some(&node), tls).unwrap())
        .into_iter()
        .collect();
    for stream in demoted.iter_mut().chain([&mut kept]) {
        send(stream, request("version", "[]"));
        assert_eq!(read_response(stream).status, 200);
    }
    proxy.write_map(&[("uuid-2", &other)]);
    for stream in &mut demoted {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed, and politely");
    }
    assert_refused(&proxy, &node, NAME, "unknown_digest", alert::UNKNOWN_CA);
    let told = "no longer admitted: closing its connection";
    assert_eq!(proxy.lines_with(told).len(), 2);
    assert_eq!(proxy.lines_with(told)[0]["digest"], node.digest.as_str());
    let closed = "noded_proxy_terminated_total{reason=\"unknown_digest\",what=\"connection\"}";
    assert_eq!(proxy.metric(closed), 2.0);
    // Who is still listed noticed nothing.
    send(&mut kept, request("version", "[]"));
    assert_eq!(read_response(&mut kept).status, 200);
    assert_eq!(stub.seen().len(), 4);
}

/// A connection that never sent a request is no better.
#[test]
fn a_demoted_candidates_unused_connection_is_closed() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let proxy = proxy_for(&pki, &node)
        .config("limits.header_timeout = '1h'")
        .start();
    let mut unused = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    let mut halfway = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut halfway, "POST /version HTTP/1.1\r\nHost: n");
    proxy.wait_for("both are open", |p| {
        p.metric("noded_proxy_connections_open") == 2.0
    });
    proxy.write_map(&[("uuid-2", &other)]);
    assert_eq!(unused.read(&mut [0; 1]).unwrap(), 0);
    let _ = halfway.write_all(b"ode1\r\nContent-Length: 2\r\n\r\n[]");
    match try_read_response(&mut halfway) {
        Ok(answer) => assert_eq!(answer.status, 403),
        Err(_closed) => {}
    }
    proxy.wait_for("none is open", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
}

/// What runs ends well; what comes behind it on the same connection does not run.
pub(crate) fn a_demoted_candidates_running_request_is_its_last() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let stub = StubNoded::holding();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(
        &mut stream,
        request("version", "[]") + &request("powercycle_node", "[]"),
    );
    stub.wait_holding(1);
    proxy.write_map(&[("uuid-2", &other)]);
    let told = "no longer admitted: closing its connection";
    proxy.wait_for("the demotion is noticed", |p| p.logged(told));
    stub.release_all();
    let answer = read_response(&mut stream);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "[true, \"version\"]")
    );
    match try_read_response(&mut stream) {
        Ok(next) => assert_eq!(next.status, 403),
        Err(_closed) => {}
    }
    assert_eq!(stub.procedures(), ["version"]);
    assert!(!admitted(proxy.addr(), &node));
}

/// A request that has not come to its end when its sender is demoted never reaches noded.
pub(crate) fn a_candidate_demoted_while_it_sends_a_request_is_refused() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    let whole = request("powercycle_node", "[\"kvm\", {}]");
    let (before, behind) = whole.split_at(whole.len() - 4);
    send(&mut stream, before);
    proxy.wait_for("it is open", |p| {
        p.metric("noded_proxy_connections_open") == 1.0
    });
    proxy.write_map(&[("uuid-2", &other)]);
    let told = "no longer admitted: closing its connection";
    proxy.wait_for("the demotion is noticed", |p| p.logged(told));
    // It is told at once, before it sends the rest.
    let answer = read_response(&mut stream);
    assert_eq!(answer.status, 403, "{}", answer.text());
    let _ = stream.write_all(behind.as_bytes());
    assert_terminated(&proxy, "body");
    assert_eq!(stub.accepted(), 0);
}

/// Counted once, as this.
#[track_caller]
fn assert_terminated(proxy: &Proxy, what: &str) {
    let what = format!("reason=\"unknown_digest\",what=\"{what}\"");
    let terminated = format!("noded_proxy_terminated_total{{{what}}}");
    assert_eq!(proxy.metric(&terminated), 1.0);
}

/// The same with a body that is far too long for memory: not a byte of it may be with noded when
/// the rest comes after the demotion.
pub(crate) fn a_candidate_demoted_while_it_sends_a_long_request_is_refused() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address());
    let proxy = proxy.config("limits.body_in_memory = '1MiB'").start();
    for chunked in [false, true] {
        proxy.write_map(&[("uuid-1", &node)]);
        wait_until("it is admitted", || admitted(proxy.addr(), &node));
        stub.forget();
        let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
        let framing = match chunked {
            true => "Transfer-Encoding: chunked\r\n\r\n800000\r\n",
            false => "Content-Length: 8388608\r\n\r\n",
        };
        let head = "POST /write_ssconf_files HTTP/1.1\r\nHost: h\r\n";
        send(&mut stream, format!("{head}{framing}"));
        send(&mut stream, vec![b' '; 7 << 20]);
        proxy.write_map(&[("uuid-2", &other)]);
        let answer = read_response(&mut stream);
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        let _ = stream.write_all(&vec![b' '; 1 << 20]);
        let _ = stream.write_all(b"\r\n0\r\n\r\n");
        if let Ok(other) = try_read_response(&mut stream) {
            panic!("another answer: {other:?}\n{}", proxy.log());
        }
        assert_eq!(stub.accepted(), 0, "chunked: {chunked}");
    }
}

/// A request that waits for a slot has not begun: demotion refuses it.
pub(crate) fn a_candidate_demoted_in_the_queue_is_refused() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let stub = StubNoded::holding();
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node), ("uuid-2", &other)])
        .upstream(stub.address())
        .config("upstream.max_clients = 1\nupstream.fast_slots = 0")
        .start();
    let mut running = connect(proxy.addr(), Some(&other), Tls::Any).unwrap();
    send(&mut running, request("version", "[]"));
    stub.wait_holding(1);
    let mut queued = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut queued, request("powercycle_node", "[]"));
    proxy.wait_for("it waits", |p| p.metric("noded_proxy_queue_length") == 1.0);
    proxy.write_map(&[("uuid-2", &other)]);
    let answer = read_response(&mut queued); // at once, while the slot is still taken
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_terminated(&proxy, "queued");
    stub.release_all();
    assert_eq!(read_response(&mut running).status, 200);
    let refused = "noded_proxy_refused_requests_total{reason=\"unknown_digest\"}";
    proxy.wait_for("it is counted", |p| p.metric(refused) == 1.0);
    let told = proxy.status()["last_refusals"][0].clone();
    assert_eq!(told["reason"], "unknown_digest", "{told}");
    assert_eq!(told["procedure"], "powercycle_node", "{told}");
    assert_eq!(stub.procedures(), ["version"]);
}

#[test]
fn a_candidate_promoted_again_is_admitted() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let proxy = proxy_for(&pki, &node).start();
    assert!(admitted(proxy.addr(), &node));
    proxy.write_map(&[("uuid-2", &other)]);
    wait_until("it is demoted", || {
        refusal(proxy.addr(), Some(&node), Tls::Any).is_some()
    });
    proxy.write_map(&[("uuid-2", &other), ("uuid-1", &node)]);
    wait_until("it is promoted", || admitted(proxy.addr(), &node));
    assert!(admitted(proxy.addr(), &other));
}

/// What was refused after the handshake is remembered too.
#[test]
fn refused_requests_are_remembered_with_time_and_procedure() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node)
        .config("policy.deny = ['powercycle_node']")
        .start();
    for (path, status) in [("powercycle_node", 403), ("Version", 404)] {
        let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
        send(&mut stream, request(path, "[]"));
        assert_eq!(read_response(&mut stream).status, status);
    }
    let refusals = proxy.status()["last_refusals"].clone();
    assert_eq!(refusals[0]["reason"], "policy");
    assert_eq!(refusals[0]["procedure"], "powercycle_node");
    assert!(refusals[0]["time"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(refusals[1]["reason"], "path");
    let text = explain_peer(&proxy);
    assert!(text.contains("policy: policy.deny"), "{text}");
    assert!(text.contains("powercycle_node"), "{text}");
}

/// Between the slot and the first byte there may be seconds: noded's backlog is full.
#[test]
fn a_candidate_demoted_while_the_proxy_connects_to_noded_is_refused() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("node2.example.com"));
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let noded = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    noded.bind(&any.into()).unwrap();
    noded.listen(0).unwrap();
    let address = noded.local_addr().unwrap().as_socket().unwrap();
    let mut pending = Vec::new();
    let soon = std::time::Duration::from_millis(300);
    while let Ok(one) = TcpStream::connect_timeout(&address, soon) {
        pending.push(one);
        assert!(pending.len() < 16, "the backlog never fills");
    }
    let config = "upstream.connect_timeout = '1m'\nupstream.warm = 'off'";
    let proxy = proxy_for(&pki, &node)
        .upstream(address)
        .config(config)
        .start();
    let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    send(&mut stream, request("powercycle_node", "[]"));
    proxy.wait_for("it has a slot", |p| {
        p.metric("noded_proxy_slots_in_use") == 1.0
    });
    proxy.write_map(&[("uuid-2", &other)]);
    let told = "no longer admitted: closing its connection";
    proxy.wait_for("the demotion is noticed", |p| p.logged(told));
    let noded: TcpListener = noded.into();
    for _ in &pending {
        drop(noded.accept().unwrap());
    }
    let (mut from_proxy, _) = noded.accept().unwrap();
    let answer = read_response(&mut stream);
    assert_eq!(answer.status, 403, "{}", answer.text());
    let mut told = Vec::new();
    let _ = from_proxy.read_to_end(&mut told);
    assert_eq!(String::from_utf8_lossy(&told), "");
}
