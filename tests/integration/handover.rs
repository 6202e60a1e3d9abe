//! A fresh process takes over, and the old one finishes what it has.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::{read_response, request, send};
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

fn reload(stage: &Stage) -> Output {
    Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["reload", "--state-dir"])
        .arg(stage.proxy.dir().join("state"))
        .output()
        .unwrap()
}

#[track_caller]
fn reloaded(stage: &Stage) -> i32 {
    let output = reload(stage);
    assert!(output.status.success(), "{output:?}");
    main_pid(stage)
}

fn main_pid(stage: &Stage) -> i32 {
    stage.proxy.status()["handover"]["pid"].as_i64().unwrap() as i32
}

fn predecessors(stage: &Stage) -> f64 {
    stage.proxy.metric("noded_proxy_predecessors")
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn running_rpcs_end_in_the_old_process_and_both_keep_to_the_limit() {
    let limit = "upstream.max_clients = 4\nupstream.fast_slots = 1";
    let stage = Stage::configured(StubNoded::holding(), limit);
    let mut running: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    for stream in &mut running {
        send(stream, request("version", "[1]"));
    }
    stage.stub.wait_holding(3);
    let old = main_pid(&stage);
    assert_ne!(reloaded(&stage), old);
    assert_eq!(predecessors(&stage), 1.0);
    stage.proxy.wait_for("the old one keeps what it uses", |p| {
        p.metric("noded_proxy_predecessor_slots") == 3.0
    });
    let mut more: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    for stream in &mut more {
        send(stream, request("version", "[2]"));
    }
    stage.wait_load(1, 2); // the fourth slot
    stage.stub.wait_holding(4);
    stage.stub.release_all();
    for stream in running.iter_mut().chain(&mut more) {
        assert_eq!(read_response(stream).status, 200);
    }
    assert_eq!(stage.stub.accepted(), 6);
    stage
        .proxy
        .wait_for("the old one has ended", |_| predecessors(&stage) == 0.0);
}

#[test]
fn two_reloads_in_a_row_add_up() {
    let stage = Stage::configured(
        StubNoded::holding(),
        "upstream.max_clients = 2\nupstream.fast_slots = 1",
    );
    let mut streams = Vec::new();
    for count in 1..=2 {
        let mut stream = stage.connect();
        send(&mut stream, request("version", "[]"));
        stage.stub.wait_holding(count);
        streams.push(stream);
        reloaded(&stage);
        stage.proxy.wait_for("each keeps its own", |p| {
            p.metric("noded_proxy_predecessor_slots") == count as f64
        });
    }
    assert_eq!(predecessors(&stage), 2.0);
    let mut waits = stage.connect();
    send(&mut waits, request("version", "[]"));
    stage.wait_load(0, 1);
    // The end of a process gives its slot back, also one that is killed.
    let first = stage.proxy.status()["handover"]["predecessors"][0]["pid"].clone();
    kill(first.as_i64().unwrap() as i32);
    stage.stub.wait_holding(3);
    stage.stub.release_all();
    assert_eq!(read_response(&mut streams[1]).status, 200);
    assert_eq!(read_response(&mut waits).status, 200);
    assert_eq!(stage.stub.accepted(), 3);
}

#[test]
fn a_reload_that_fails_says_why_and_changes_nothing() {
    let stage = Stage::new(StubNoded::usual());
    let old = main_pid(&stage);
    let config = stage.proxy.dir().join("config.toml");
    let good = [
        &config,
        &stage.proxy.map_path(),
        &stage.proxy.server_pem_path(),
    ]
    .map(|path| (path.clone(), fs::read(path).unwrap()));
    for (at, content, word) in [
        (0, "listen = ", "config.toml"),
        (0, "no_such_key = 1", "no_such_key"),
        (1, "uuid=", "ssconf_master_candidates_certs"),
        (2, "-----BEGIN", "server.pem"),
    ] {
        fs::write(&good[at].0, content).unwrap();
        let output = reload(&stage);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{content}: {output:?}");
        assert!(
            told.contains("nothing has changed") && told.contains(word),
            "{content}: {told}"
        );
        assert_eq!(main_pid(&stage), old);
        assert_eq!(stage.rpc("version", "[]").status, 200);
        fs::write(&good[at].0, &good[at].1).unwrap();
    }
    assert_ne!(reloaded(&stage), old);
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

/// Its request is in the old process when its certificate leaves the map.
#[test]
fn a_demotion_reaches_a_request_in_the_old_process() {
    let stage = Stage::new(StubNoded::usual());
    let mut stream = stage.connect();
    let whole = request("version", "[1]");
    let (first, rest) = whole.split_at(whole.len() - 1);
    send(&mut stream, first);
    stage.proxy.wait_for("it is open", |p| {
        p.metric("noded_proxy_connections_open") == 1.0
    });
    let old = main_pid(&stage);
    reloaded(&stage);
    stage
        .proxy
        .write_map(&[("uuid-2", &stage.pki.client("node2"))]);
    wait_until("both have read it", || {
        stage.proxy.lines_with("candidate map in force").len() >= 4
    });
    assert_eq!(
        stage.proxy.status()["handover"]["predecessors"][0]["pid"],
        old
    );
    send(&mut stream, rest);
    assert_eq!(read_response(&mut stream).status, 403);
    assert_eq!(stage.stub.accepted(), 0);
}

#[test]
fn a_socket_of_systemd_is_handed_over() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.inheriting(&socket));
    for _ in 0..2 {
        reloaded(&stage);
        assert_eq!(stage.rpc("version", "[]").status, 200);
    }
    assert_eq!(stage.stub.accepted(), 2);
}

#[test]
fn a_killed_successor_leaves_the_rpcs_of_the_old_process_alone() {
    let stage = Stage::new(StubNoded::holding());
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    kill(reloaded(&stage));
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
    assert_eq!(stage.stub.accepted(), 1);
}

#[test]
fn a_stop_ends_the_old_process_too() {
    let mut stage = Stage::new(StubNoded::holding());
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    let new = Pid::from_raw(reloaded(&stage)).unwrap();
    kill_process(new, Signal::TERM).unwrap();
    wait_until("the old one is told", || {
        stage
            .proxy
            .logged("a new process serves; this one finishes what it has")
    });
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
    assert_eq!(stage.proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_connection_that_the_old_process_accepted_may_still_bring_its_request() {
    let stage = Stage::new(StubNoded::usual());
    let mut early = stage.connect();
    stage.proxy.wait_for("it is open", |p| {
        p.metric("noded_proxy_connections_open") == 1.0
    });
    reloaded(&stage);
    assert_eq!(stage.rpc("version", "[]").status, 200);
    send(&mut early, request("node_info", "[]"));
    assert_eq!(read_response(&mut early).status, 200);
    assert_eq!(stage.stub.procedures(), ["version", "node_info"]);
}
