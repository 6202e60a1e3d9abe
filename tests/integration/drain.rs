//! How a run ends, how it is handed over, and what systemd is told meanwhile.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;

use rustix::process::Signal;

use crate::support::client::{read_response, request, reset, rpc, send};
use crate::support::manager::Manager;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, replace};
use crate::support::stage::{Stage, read_all};
use crate::support::stub::StubNoded;
use crate::support::wait_until;

fn wait_draining(stage: &Stage) {
    stage.proxy.wait_for("the drain begins", |p| {
        p.metric("noded_proxy_draining") == 1.0
    });
}

#[test]
fn sigterm_lets_running_rpcs_end() {
    let mut stage = Stage::configured(StubNoded::holding(), "upstream.max_clients = 1");
    let (mut running, mut waiting, mut idle) = (stage.connect(), stage.connect(), stage.connect());
    send(&mut running, request("version", "[1]"));
    stage.wait_load(1, 0);
    send(&mut waiting, request("version", "[2]"));
    stage.wait_load(1, 1);
    stage.proxy.wait_for("all are open", |p| {
        p.metric("noded_proxy_connections_open") == 3.0
    });
    let address = stage.proxy.addr();

    stage.proxy.terminate();
    wait_draining(&stage);
    assert!(read_all(&mut idle).is_empty()); // closed
    wait_until("new connections are refused", || {
        TcpStream::connect(address).is_err()
    });
    let (status, health) = stage.proxy.health();
    assert_eq!((status, health["ready"].as_bool()), (503, Some(false)));
    assert!(health["reasons"].to_string().contains("draining"));

    stage.stub.release_all();
    for stream in [&mut running, &mut waiting] {
        let answers = read_all(stream);
        assert_eq!((answers.len(), answers[0].status), (1, 200));
    }
    assert_eq!(stage.proxy.wait_exit().code(), Some(0));
    assert_eq!(stage.stub.accepted(), 2);
    assert!(stage.proxy.logged("drained"));
}

#[test]
fn sigint_drains_too() {
    let mut stage = Stage::new(StubNoded::usual());
    stage.proxy.signal(Signal::INT);
    assert_eq!(stage.proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_drain_waits_for_the_rpc_of_a_client_that_left() {
    let mut stage = Stage::new(StubNoded::holding());
    let mut leaver = stage.connect();
    send(&mut leaver, request("version", "[]"));
    stage.stub.wait_holding(1);
    reset(leaver);
    stage.proxy.wait_for("it is gone", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
    stage.proxy.terminate();
    wait_draining(&stage);
    assert_eq!(stage.proxy.metric("noded_proxy_slots_in_use"), 1.0);
    stage.stub.release_all();
    assert_eq!(stage.proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_large_answer_is_delivered_whole_during_the_drain() {
    let reply = crate::support::stage::ascii(8 << 20);
    let expected = reply.clone();
    let mut stage = Stage::new(StubNoded::start(move |call| call.answer(&reply)));
    let mut stream = stage.connect();
    send(&mut stream, request("hooks_runner", "[]"));
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    stage.proxy.terminate();
    wait_draining(&stage);
    let answer = read_response(&mut first.chain(&mut stream));
    assert_eq!(answer.body.len(), expected.len());
    assert!(answer.body == expected);
    drop(stream);
    assert_eq!(stage.proxy.wait_exit().code(), Some(0));
}

#[test]
fn after_the_deadline_what_still_runs_is_cut_and_the_exit_status_says_so() {
    let mut stage = Stage::configured(StubNoded::holding(), "drain_timeout = '300ms'");
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    stage.proxy.terminate();
    assert_eq!(stage.proxy.wait_exit().code(), Some(1));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b""); // nothing that looks like an answer
    assert_eq!(stage.proxy.lines_with("rpc")[0]["outcome"], "cut");
}

#[test]
fn more_signals_during_the_drain_change_nothing() {
    let mut stage = Stage::new(StubNoded::holding());
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    stage.proxy.terminate();
    wait_draining(&stage);
    for signal in [Signal::HUP, Signal::TERM, Signal::HUP] {
        stage.proxy.signal(signal);
        assert_eq!(stage.proxy.metric("noded_proxy_draining"), 1.0); // it still answers
    }
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
    assert_eq!(stage.proxy.wait_exit().code(), Some(0));
}

#[test]
fn an_inherited_socket_stays_open_over_a_restart() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut stage = Stage::built(StubNoded::usual(), |proxy| proxy.inheriting(&socket));
    assert_eq!(stage.proxy.addr(), address);
    assert_eq!(stage.rpc("version", "[]").status, 200);
    thread::scope(|scope| {
        let mut call = None;
        stage.proxy.restart(|_| {
            // Nobody runs: the connection waits in the socket.
            let identity = &stage.client;
            call = Some(scope.spawn(move || rpc(address, identity, "node_info", "[]")));
        });
        assert_eq!(call.unwrap().join().unwrap().unwrap().status, 200);
    });
    assert_eq!(stage.stub.procedures(), ["version", "node_info"]);
}

#[test]
fn an_inherited_socket_refuses_while_the_node_is_in_no_cluster() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .no_server_pem();
    let proxy = proxy.inheriting(&socket).start();
    assert!(rpc(address, &client, "version", "[]").is_err());
    proxy.wait_for("it is counted", |p| p.rejected("not_in_cluster") == 1.0);
    replace(&proxy.server_pem_path(), pki.server_pem().as_bytes(), 0o440);
    proxy.wait_for("it listens", |p| p.health().0 == 200);
    assert_eq!(rpc(address, &client, "version", "[]").unwrap().status, 502); // noded is not there
}

#[test]
fn systemd_is_told_everything() {
    let manager = Manager::new();
    let path = manager.path();
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.through(&["env", &path]));
    let mut proxy = stage.proxy;
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=1 candidate admitted"), "{ready}");
    for handovers in 1..=2 {
        proxy.signal(Signal::HUP);
        let reloading = manager.wait_for_before("RELOADING=1", "STOPPING=1");
        let clock = reloading
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            clock.is_some_and(|usec| usec.parse::<u64>().is_ok()),
            "{reloading}"
        );
        manager.wait_for("MAINPID=");
        manager.wait_for_before("READY=1", "STOPPING=1");
        proxy.wait_for("the old process says whom to signal next", |p| {
            p.lines_with("a new process serves; this one finishes what it has")
                .len()
                == handovers
        });
    }
    proxy.write_map(&[
        ("uuid-1", &stage.client),
        ("uuid-2", &stage.pki.client("node2")),
    ]);
    // The replaced ones say nothing to it.
    manager.wait_for_before("STATUS=2 candidates admitted", "STOPPING=1");
    proxy.terminate();
    manager.wait_for("STOPPING=1");
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn systemd_is_told_ready_while_the_node_is_in_no_cluster() {
    let manager = Manager::new();
    let path = manager.path();
    let pki = Pki::new();
    let proxy = Proxy::with(&pki)
        .no_server_pem()
        .through(&["env", &path])
        .start();
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=waiting for server.pem"), "{ready}");
    replace(&proxy.server_pem_path(), pki.server_pem().as_bytes(), 0o440);
    manager.wait_for("STATUS=bootstrap phase");
}

/// As some container managers have it.
#[test]
fn a_manager_with_an_abstract_socket_is_told_too() {
    let name = format!("noded-proxy-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::at(UnixDatagram::bind_addr(&address).unwrap());
    let variable = format!("NOTIFY_SOCKET=@{name}");
    let wrapper = ["env", &variable];
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.through(&wrapper));
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=1 candidate admitted"), "{ready}");
    stage.proxy.terminate();
    manager.wait_for("STOPPING=1");
}

#[test]
fn the_watchdog_is_fed() {
    let manager = Manager::new();
    let path = manager.path();
    let script = "export WATCHDOG_PID=$$; exec \"$@\"";
    let wrapper = [
        "env",
        &path,
        "WATCHDOG_USEC=300000",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.through(&wrapper));
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    stage.proxy.signal(Signal::HUP);
    manager.wait_for("MAINPID=");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1"); // of the new one
    }
}
