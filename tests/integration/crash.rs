//! The main process is killed, and the service manager starts another one, while processes that
//! were replaced still serve.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::{Tls, connect, read_response, request, rpc, send, try_read_response};
use crate::support::handing::{
    command, main_pid, predecessors, reload, reloaded, two_replaced_with_a_call_each, wait_kept,
};
use crate::support::manager::Manager;
use crate::support::pki::Identity;
use crate::support::proxy::{Proxy, has_ended};
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

const TWO: &str = "upstream.max_clients = 2\nupstream.fast_slots = 1";

/// Names of the doors of replaced processes.
fn doors(stage: &Stage) -> usize {
    let state = fs::read_dir(stage.proxy.dir().join("state")).unwrap();
    let names = state.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("replaced-")).count()
}

#[test]
fn a_fresh_main_process_finds_the_replaced_one_and_both_keep_to_the_limit() {
    let mut stage = Stage::configured(StubNoded::holding(), TWO);
    let mut first = stage.connect();
    send(&mut first, request("version", "[1]"));
    stage.stub.wait_holding(1);
    reloaded(&stage.proxy);
    wait_kept(&stage.proxy, 1);
    stage.proxy.crash();
    assert_eq!(predecessors(&stage.proxy), 1.0);
    wait_kept(&stage.proxy, 1);
    let mut more = [stage.connect(), stage.connect()];
    for stream in &mut more {
        send(stream, request("version", "[2]"));
    }
    stage.wait_load(1, 1);
    stage.stub.wait_holding(2);
    assert_eq!(stage.stub.accepted(), 2);
    stage.stub.release_all();
    for stream in more.iter_mut().chain([&mut first]) {
        assert_eq!(read_response(stream).status, 200);
    }
    assert_eq!(stage.stub.accepted(), 3);
    stage
        .proxy
        .wait_for("the old one has ended", |p| predecessors(p) == 0.0);
    wait_until("its door is gone", || doors(&stage) == 0);
}

/// A slot that the old process is done with goes to the fresh one, while its other RPC runs on.
#[test]
fn the_replaced_process_passes_its_slots_on_to_the_fresh_one() {
    let three = "upstream.max_clients = 2\nupstream.fast_slots = 0";
    let mut stage = Stage::configured(StubNoded::holding(), three);
    let mut running = [stage.connect(), stage.connect()];
    for (at, stream) in running.iter_mut().enumerate() {
        send(stream, request("version", "[1]"));
        stage.stub.wait_holding(at + 1);
    }
    reloaded(&stage.proxy);
    wait_kept(&stage.proxy, 2);
    stage.proxy.crash();
    wait_kept(&stage.proxy, 2);
    let mut waits = stage.connect();
    send(&mut waits, request("version", "[2]"));
    stage.wait_load(0, 1);
    stage.stub.release(1);
    stage.wait_load(1, 0);
    wait_kept(&stage.proxy, 1);
    stage.stub.release_all();
    for stream in running.iter_mut().chain([&mut waits]) {
        assert_eq!(read_response(stream).status, 200);
    }
    assert_eq!(stage.stub.accepted(), 3);
}

/// Each of the two has handed its links on, and must not keep a copy.
#[test]
fn processes_of_several_reloads_are_found_and_the_port_is_free() {
    let three = "upstream.max_clients = 3\nupstream.fast_slots = 1";
    let mut stage = Stage::configured(StubNoded::holding(), three);
    let mut streams = two_replaced_with_a_call_each(&stage);
    for _ in 0..2 {
        stage.proxy.crash();
        assert_eq!(predecessors(&stage.proxy), 2.0);
        wait_kept(&stage.proxy, 2);
    }
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(3);
    // And they are handed on by a reload.
    reloaded(&stage.proxy);
    assert_eq!(predecessors(&stage.proxy), 3.0);
    stage.stub.release_all();
    for stream in streams.iter_mut().chain([&mut stream]) {
        assert_eq!(read_response(stream).status, 200);
    }
    stage
        .proxy
        .wait_for("all have ended", |p| predecessors(p) == 0.0);
}

#[test]
fn a_stop_of_the_fresh_process_ends_the_replaced_one_too() {
    let mut stage = Stage::configured(StubNoded::holding(), "drain_timeout = '300ms'");
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    reloaded(&stage.proxy);
    stage.proxy.crash();
    stage.proxy.terminate();
    stage.proxy.wait_exit();
    wait_until("the old one has ended", || stage.proxy.earlier_ended());
    assert_eq!(stage.stub.accepted(), 1);
}

#[test]
fn a_program_on_disk_that_cannot_serve_changes_nothing() {
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.own_program());
    let old = main_pid(&stage.proxy);
    for (program, why) in [
        ("#!/bin/sh\nexit 0\n", "ended before it was ready"),
        ("no program", "cannot start"),
        ("#!/nonexistent\n", "cannot start"),
        (
            "#!/bin/sh\nread offer; echo hello >&0\n",
            "nothing that is understood",
        ),
    ] {
        stage.proxy.install(Some(program));
        let output = reload(&stage.proxy);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{program}: {told}");
        let unchanged = told.contains("nothing has changed");
        assert!(unchanged && told.contains(why), "{program}: {told}");
        assert_eq!(main_pid(&stage.proxy), old);
        assert_eq!(stage.rpc("version", "[]").status, 200);
    }
    // The right program, which nobody may execute.
    stage.proxy.install(None);
    stage.proxy.forbid_to_run();
    let output = reload(&stage.proxy);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = "nothing has changed: cannot start";
    assert!(
        told.contains(why) && told.contains("Permission denied"),
        "{told}"
    );
    assert_eq!(
        (output.status.code(), main_pid(&stage.proxy)),
        (Some(1), old)
    );
    stage.proxy.install(None);
    assert_ne!(reloaded(&stage.proxy), old);
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

/// How long the first of those that were replaced has been that.
fn age(proxy: &Proxy) -> f64 {
    proxy.metric("noded_proxy_predecessor_age_seconds")
}

/// As an alert has it: neither a further reload nor a crash makes it young again.
#[test]
fn how_long_ago_a_process_was_replaced_is_known_to_each_that_follows() {
    let mut stage = Stage::new(StubNoded::holding());
    assert_eq!(age(&stage.proxy), 0.0);
    let mut early = stage.connect();
    send(&mut early, request("version", "[]"));
    stage.stub.wait_holding(1);
    reloaded(&stage.proxy);
    stage.proxy.wait_for("it is old", |p| age(p) >= 2.0);
    reloaded(&stage.proxy);
    assert!(age(&stage.proxy) >= 2.0);
    stage.proxy.crash();
    wait_kept(&stage.proxy, 1);
    assert!(age(&stage.proxy) >= 2.0);
    stage.stub.release_all();
    assert_eq!(read_response(&mut early).status, 200);
    stage.proxy.wait_for("there is none", |p| age(p) == 0.0);
}

/// Nobody can know whether the service manager took it for the main process in between.
#[test]
fn a_successor_that_ends_at_the_last_moment_leaves_the_old_process_serving() {
    let mut stage = Stage::built(StubNoded::holding(), |proxy| proxy.own_program());
    let (public, admin) = (stage.proxy.addr(), stage.proxy.admin());
    // It hears nothing any more when it says that it is ready.
    let ready = "#!/usr/bin/perl\n<STDIN>; shutdown(STDIN, 0); open(my $link, '+<&=', 0);\n\
                 syswrite($link, qq({\"Ready\":{\"pid\":$$}}\\n));\n";
    stage.proxy.install(Some(ready));
    let mut early = stage.connect();
    send(&mut early, request("version", "[1]"));
    stage.stub.wait_holding(1);
    let output = reload(&stage.proxy);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // It serves with all its slots, and keeps what it learns.
    let mut more: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    for stream in &mut more {
        send(stream, request("version", "[2]"));
    }
    stage.stub.wait_holding(4);
    let other = stage.pki.client("node2");
    let two = [("uuid-1", &stage.client), ("uuid-2", &other)];
    stage.proxy.write_map(&two);
    stage.proxy.wait_for("it is kept", |p| {
        fs::read_to_string(p.state_path()).is_ok_and(|kept| kept.contains(&other.digest))
    });
    // If the service manager has started another one, that one takes over.
    stage.proxy.install(None);
    stage.proxy.start_again(public, admin);
    wait_kept(&stage.proxy, 4);
    stage.stub.release_all();
    for stream in more.iter_mut().chain([&mut early]) {
        assert_eq!(read_response(stream).status, 200);
    }
    assert_eq!(stage.rpc("version", "[]").status, 200);
    reloaded(&stage.proxy);
}

/// Calls with a number of its own each, until it is told to end. Returns how many were answered.
fn call_on(public: SocketAddr, client: &Identity, end: &AtomicBool) -> usize {
    let mut answered = 0;
    for number in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let Ok(mut stream) = connect(public, Some(client), Tls::Any) else {
            thread::sleep(Duration::from_millis(5)); // nobody is there
            continue;
        };
        let sent = stream.write_all(request("version", &format!("[{number}]")).as_bytes());
        let Ok(answer) = sent.map_err(|error| error.to_string()).and_then(|()| {
            try_read_response(&mut stream) // its proxy was killed
        }) else {
            continue;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        answered += 1;
        assert!(try_read_response(&mut stream).is_err(), "a second answer");
    }
    answered
}

/// Starts a process whenever the main process is dead, as systemd does, until it serves.
fn supervise(proxy: &mut Proxy, manager: &Manager, main: &mut Pid, client: &Identity) {
    let (public, admin) = (proxy.addr(), proxy.admin());
    wait_until("the port is served", || {
        *main = manager.new_main().unwrap_or(*main);
        if has_ended(*main) {
            proxy.start_again(public, admin);
            manager.new_main();
            *main = proxy.pid();
        }
        rpc(public, client, "node_info", "[]").is_ok()
    });
}

/// Whoever is the main process at some moment of a reload is killed.
#[test]
fn killed_at_any_moment_of_a_reload_the_port_is_served_again_and_no_rpc_runs_twice() {
    let manager = Manager::new();
    let variable = manager.path();
    let stage = Stage::built(StubNoded::usual(), |p| p.through(&["env", &variable]));
    let Stage {
        client,
        mut proxy,
        stub,
        ..
    } = stage;
    let (public, end) = (proxy.addr(), AtomicBool::new(false));
    let mut main = proxy.pid();
    let answered = thread::scope(|scope| {
        let caller = scope.spawn(|| call_on(public, &client, &end));
        for round in 0..10 {
            let mut asks = command(&proxy);
            asks.stderr(Stdio::null()).stdout(Stdio::null());
            let mut asks = asks.spawn().unwrap();
            thread::sleep(Duration::from_millis(45 * round)); // the moment; any will do
            main = manager.new_main().unwrap_or(main);
            kill_process(main, Signal::KILL).unwrap();
            wait_until("it is dead", || has_ended(main));
            asks.wait().unwrap();
            supervise(&mut proxy, &manager, &mut main, &client);
        }
        end.store(true, Ordering::Relaxed);
        caller.join().unwrap()
    });
    let seen: Vec<_> = stub.seen().into_iter().map(|seen| seen.raw).collect();
    let numbered = seen.iter().filter(|raw| !raw.ends_with(b"[]"));
    let numbered: Vec<_> = numbered.collect();
    assert_eq!(
        BTreeSet::from_iter(&numbered).len(),
        numbered.len(),
        "run twice"
    );
    assert!(answered > 0 && numbered.len() >= answered, "{answered}");
    reloaded(&proxy);
    assert_eq!(rpc(public, &client, "version", "[]").unwrap().status, 200);
}
