//! Requests that the old process has begun when a new one takes over, and noded has not got yet.

use std::fs;
use std::net::TcpStream;

use openssl::ssl::SslStream;

use crate::support::client::{Tls, admitted, connect, read_response, request, send};
use crate::support::handing::{predecessors, reloaded, wait_kept};
use crate::support::pki::Identity;
use crate::support::stage::{Stage, assert_refusal};
use crate::support::stub::{Call, StubNoded, reply_head};

/// Sends all of a request but the last byte, which is returned.
fn begin(stage: &Stage, client: &Identity) -> (SslStream<TcpStream>, String) {
    let mut stream = connect(stage.proxy.addr(), Some(client), Tls::Any).unwrap();
    let mut first = request("version", "[1]");
    let rest = first.split_off(first.len() - 1);
    send(&mut stream, first);
    stage.proxy.wait_for("it is open", |p| {
        p.metric("noded_proxy_connections_open") == 1.0
    });
    (stream, rest)
}

/// Reloads with a further line in the configuration.
fn reload_with(stage: &Stage, line: &str) {
    let config = stage.proxy.dir().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + line + "\n").unwrap();
    reloaded(&stage.proxy);
}

#[track_caller]
fn assert_call_again(stream: &mut SslStream<TcpStream>) {
    assert_refusal(&read_response(stream), 503, "call again");
}

#[test]
fn a_policy_that_is_new_binds_requests_of_all_old_processes() {
    let stage = Stage::new(StubNoded::usual());
    let (mut oldest, rest) = begin(&stage, &stage.client);
    reloaded(&stage.proxy); // the rules are the same
    let (mut old, _) = begin(&stage, &stage.client);
    reload_with(&stage, "policy.deny = ['version']");
    for stream in [&mut oldest, &mut old] {
        send(stream, &rest);
        assert_call_again(stream);
    }
    assert_eq!(stage.rpc("version", "[]").status, 403);
    assert_eq!(stage.stub.accepted(), 0);
}

#[test]
fn a_mode_that_is_new_binds_requests_of_the_old_process() {
    let stage = Stage::configured(StubNoded::usual(), "[admission]\nmode = 'audit'\n[log]");
    let stranger = stage.pki.server().clone();
    let (mut old, rest) = begin(&stage, &stranger);
    let config = stage.proxy.dir().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("'audit'", "'enforce'")).unwrap();
    reloaded(&stage.proxy);
    send(&mut old, &rest);
    assert_call_again(&mut old);
    assert!(!admitted(stage.proxy.addr(), &stranger));
    assert_eq!(stage.stub.accepted(), 0);
}

#[test]
fn a_request_that_waits_in_the_old_process_is_bound_too() {
    let limit = "upstream.max_clients = 1\nupstream.fast_slots = 0";
    let stage = Stage::configured(StubNoded::holding(), limit);
    let mut runs = stage.connect();
    send(&mut runs, request("version", "[1]"));
    stage.stub.wait_holding(1);
    let mut waits = stage.connect();
    send(&mut waits, request("version", "[2]"));
    stage.wait_load(1, 1);
    reload_with(&stage, "policy.deny = ['version']");
    assert_call_again(&mut waits);
    stage.stub.release_all();
    assert_eq!(read_response(&mut runs).status, 200);
    assert_eq!(stage.stub.accepted(), 1);
}

#[test]
fn a_request_that_is_not_whole_in_time_keeps_no_slot() {
    let stage = Stage::configured(StubNoded::usual(), "drain_timeout = '1s'");
    let (mut slow, _) = begin(&stage, &stage.client);
    reloaded(&stage.proxy);
    assert_eq!(predecessors(&stage.proxy), 1.0);
    assert_call_again(&mut slow);
    assert_eq!(stage.stub.accepted(), 0);
}

#[test]
fn a_client_that_reads_slowly_keeps_no_slot() {
    let long = 8 << 20;
    let answer = move |call: &mut Call| {
        call.write(reply_head(long).as_bytes());
        let _ = call.try_write(&vec![b' '; long as usize]);
    };
    let stage = Stage::configured(StubNoded::start(answer), "drain_timeout = '1s'");
    let mut slow = stage.connect();
    send(&mut slow, request("version", "[1]"));
    stage.stub.wait_seen(1);
    reloaded(&stage.proxy);
    wait_kept(&stage.proxy, 0);
    assert_eq!(predecessors(&stage.proxy), 1.0);
    assert_eq!(read_response(&mut slow).body.len() as u64, long);
}

/// All slots were another process's when this one was replaced in its turn.
#[test]
fn a_request_that_waits_in_the_process_between_gets_a_slot() {
    let limit = "upstream.max_clients = 1\nupstream.fast_slots = 0";
    let stage = Stage::configured(StubNoded::holding(), limit);
    let mut runs = stage.connect();
    send(&mut runs, request("version", "[1]"));
    stage.stub.wait_holding(1);
    reloaded(&stage.proxy);
    wait_kept(&stage.proxy, 1);
    let mut waits = stage.connect();
    send(&mut waits, request("version", "[2]"));
    stage.wait_load(0, 1);
    reloaded(&stage.proxy);
    let mut last = stage.connect();
    send(&mut last, request("version", "[3]"));
    stage.wait_load(0, 1);
    stage.stub.release(1);
    assert_eq!(read_response(&mut runs).status, 200);
    stage.stub.wait_holding(1);
    stage.stub.release_all();
    for stream in [&mut waits, &mut last] {
        assert_eq!(read_response(stream).status, 200);
    }
    let bodies = stage.stub.seen();
    let order: Vec<_> = bodies.iter().map(|seen| seen.body()[1]).collect();
    assert_eq!(
        (order.as_slice(), stage.stub.most_at_once()),
        (&b"123"[..], 1)
    );
}

#[test]
fn old_processes_that_keep_half_of_the_slots_are_shown() {
    let limit = "upstream.max_clients = 4\nupstream.fast_slots = 1";
    let stage = Stage::configured(StubNoded::holding(), limit);
    let mut running: Vec<_> = (0..2).map(|_| stage.connect()).collect();
    for stream in &mut running {
        send(stream, request("version", "[1]"));
    }
    stage.stub.wait_holding(2);
    reloaded(&stage.proxy);
    wait_kept(&stage.proxy, 2);
    let health = stage.proxy.health().1;
    assert_eq!(health["faults"][0]["kind"], "predecessor_slots", "{health}");
    stage.proxy.wait_for("it is counted", |p| {
        p.metric("noded_proxy_degraded{reason=\"predecessor_slots\"}") == 1.0
    });
    stage.stub.release(1);
    stage
        .proxy
        .wait_for("one is left", |p| p.health().1["degraded"] == false);
    stage.stub.release_all();
    for stream in &mut running {
        assert_eq!(read_response(stream).status, 200);
    }
}
