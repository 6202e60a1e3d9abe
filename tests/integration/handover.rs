//! A fresh process takes over, and the old one finishes what it has.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::{admitted, read_response, request, rpc, send};
use crate::support::handing::{
    command, kill, main_pid, predecessors, reload, reloaded, two_replaced_with_a_call_each,
    wait_kept,
};
use crate::support::manager::Manager;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

#[test]
fn running_rpcs_end_in_the_old_process_and_both_keep_to_the_limit() {
    let limit = "upstream.max_clients = 4\nupstream.fast_slots = 1";
    let stage = Stage::configured(StubNoded::holding(), limit);
    let mut running: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    for stream in &mut running {
        send(stream, request("version", "[1]"));
    }
    stage.stub.wait_holding(3);
    let old = main_pid(&stage.proxy);
    assert_ne!(reloaded(&stage.proxy), old);
    assert_eq!(predecessors(&stage.proxy), 1.0);
    wait_kept(&stage.proxy, 3);
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
    stage.proxy.wait_for("the old one has ended", |_| {
        predecessors(&stage.proxy) == 0.0
    });
}

#[test]
fn two_reloads_in_a_row_add_up() {
    let stage = Stage::configured(
        StubNoded::holding(),
        "upstream.max_clients = 2\nupstream.fast_slots = 1",
    );
    let mut streams = two_replaced_with_a_call_each(&stage);
    assert_eq!(predecessors(&stage.proxy), 2.0);
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
fn whatever_the_umask_nobody_else_can_ask_for_a_reload() {
    let wrapper = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.through(&wrapper));
    let mode = || {
        fs::metadata(stage.proxy.dir().join("state/control"))
            .unwrap()
            .mode()
    };
    assert_eq!(mode() & 0o777, 0o600);
    reloaded(&stage.proxy);
    wait_until("the new one has its own", || mode() & 0o777 == 0o600);
}

/// Waits for the old process's word.
fn wait_handed_over(proxy: &Proxy, times: usize) {
    proxy.wait_for("another process serves", |p| {
        let told = p.lines_with("a new process serves; this one finishes what it has");
        told.len() >= times
    });
}

/// As `kill -HUP $MAINPID` may come: the new process is not told yet that it may serve.
#[test]
fn a_sighup_to_a_process_that_has_just_become_the_main_one_is_a_reload() {
    let manager = Manager::new();
    let path = manager.path();
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.through(&["env", &path]));
    manager.wait_for("READY=1");
    kill_process(stage.proxy.pid(), Signal::HUP).unwrap();
    for reloads in 1..=3 {
        let told = manager.wait_for("MAINPID=");
        let mut lines = told.lines();
        let new = lines.find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok());
        if reloads < 3 {
            kill_process(Pid::from_raw(new.unwrap()).unwrap(), Signal::HUP).unwrap();
        }
    }
    wait_handed_over(&stage.proxy, 3);
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

fn spawner_of(main: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_process_whose_spawner_was_killed_says_that_it_must_be_restarted() {
    let stage = Stage::new(StubNoded::usual());
    let spawner = spawner_of(main_pid(&stage.proxy));
    kill(spawner);
    // It is a zombie from the moment when its socket is closed.
    wait_until("it has ended", || {
        let stat = fs::read_to_string(format!("/proc/{spawner}/stat")).unwrap_or_default();
        !stat.contains(") ") || stat.contains(") Z")
    });
    let output = reload(&stage.proxy);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("restart it"), "{told}");
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

/// `systemctl kill -s HUP` reaches all processes of the service.
#[test]
fn a_sighup_to_the_spawner_too_is_a_reload() {
    let stage = Stage::new(StubNoded::usual());
    for reloads in 1..=2 {
        let old = main_pid(&stage.proxy);
        for pid in [spawner_of(old), old] {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
        }
        wait_handed_over(&stage.proxy, reloads);
    }
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

#[test]
fn a_reload_that_fails_says_why_and_changes_nothing() {
    let stage = Stage::new(StubNoded::usual());
    let old = main_pid(&stage.proxy);
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
        let output = reload(&stage.proxy);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{content}: {output:?}");
        assert!(
            told.contains("nothing has changed") && told.contains(word),
            "{content}: {told}"
        );
        assert_eq!(main_pid(&stage.proxy), old);
        assert_eq!(stage.rpc("version", "[]").status, 200);
        fs::write(&good[at].0, &good[at].1).unwrap();
    }
    // Whoever may read all files cannot read this one.
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    let output = reload(&stage.proxy);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told.contains("config.toml"), "{told}");
    assert_eq!(main_pid(&stage.proxy), old);
    fs::remove_dir(&config).unwrap();
    fs::write(&config, &good[0].1).unwrap();
    assert_ne!(reloaded(&stage.proxy), old);
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

#[test]
fn the_service_manager_and_status_say_why_the_last_reload_failed() {
    let manager = Manager::new();
    let path = manager.path();
    let stage = Stage::built(StubNoded::usual(), |proxy| proxy.through(&["env", &path]));
    manager.wait_for("READY=1");
    let config = stage.proxy.dir().join("config.toml");
    let good = fs::read(&config).unwrap();
    let state = stage.proxy.dir().join("state");
    let long = "_x".repeat(3000);
    fs::write(
        &config,
        format!("state_dir = {state:?}\nno_such_key{long} = 1"),
    )
    .unwrap();
    // As the unit has it: by the very file that is wrong.
    let output = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["reload", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let told = manager.wait_for_before("READY=1", "RELOADING=1");
    let why = "; the last reload failed: ";
    assert!(told.contains(why) && told.contains("no_such_key"), "{told}");
    // A change of the map does not take it away.
    let two = [
        ("uuid-1", &stage.client),
        ("uuid-2", &stage.pki.client("node2")),
    ];
    stage.proxy.write_map(&two);
    let told = manager.wait_for("STATUS=2 candidates admitted");
    assert!(told.contains(why), "{told}");
    let admin = stage.proxy.admin().to_string();
    let status = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["status", "--admin", &admin])
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("last reload:"), "{status}");
    fs::write(&config, good).unwrap();
    reloaded(&stage.proxy);
    manager.wait_for("MAINPID=");
    let told = manager.wait_for("READY=1");
    assert!(!told.contains(why), "{told}");
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
    let old = main_pid(&stage.proxy);
    reloaded(&stage.proxy);
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
        reloaded(&stage.proxy);
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
    kill(reloaded(&stage.proxy));
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
    let new = Pid::from_raw(reloaded(&stage.proxy)).unwrap();
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
    reloaded(&stage.proxy);
    assert_eq!(stage.rpc("version", "[]").status, 200);
    send(&mut early, request("node_info", "[]"));
    assert_eq!(read_response(&mut early).status, 200);
    assert_eq!(stage.stub.procedures(), ["version", "node_info"]);
}

/// Two writers would take turns for ever, and spoil each other's files.
#[test]
fn a_replaced_process_leaves_the_state_directory_alone() {
    let stage = Stage::new(StubNoded::holding());
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    let kept = || fs::read_to_string(stage.proxy.state_path()).unwrap();
    let before = kept();
    kill(reloaded(&stage.proxy));
    let other = stage.pki.client("node2");
    let two = [("uuid-1", &stage.client), ("uuid-2", &other)];
    let other_two = [("uuid-2", &other), ("uuid-3", &stage.client)];
    for (map, read) in [(two, 3), (other_two, 4)] {
        stage.proxy.write_map(&map);
        // The next one is read when the one before is kept, if it is.
        stage.proxy.wait_for("it is in force", |p| {
            p.lines_with("candidate map in force").len() >= read
        });
    }
    assert_eq!(kept(), before);
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
}

#[test]
fn the_new_process_keeps_what_it_learns() {
    let stage = Stage::new(StubNoded::usual());
    let learned = |client: &Identity| {
        let name = format!("state/learned/{}.pem", client.digest);
        stage.proxy.dir().join(name).exists()
    };
    assert_eq!(stage.rpc("version", "[]").status, 200);
    stage
        .proxy
        .wait_for("it is learned", |_| learned(&stage.client));
    reloaded(&stage.proxy);
    let known = stage.proxy.get("/certs").text();
    assert!(known.contains("\"learned\""), "{known}");
    let other = stage.pki.client("node2");
    stage
        .proxy
        .write_map(&[("uuid-1", &stage.client), ("uuid-2", &other)]);
    stage
        .proxy
        .wait_for("it is admitted", |p| admitted(p.addr(), &other));
    stage.proxy.wait_for("it is learned", |_| learned(&other));
    let kept = fs::read_to_string(stage.proxy.state_path()).unwrap();
    assert!(kept.contains(&other.digest), "{kept}");
}

/// The new configuration has no policy, so nobody would need the name of the master.
#[test]
fn a_reload_that_fails_leaves_the_state_directory_alone() {
    let stage = Stage::configured(
        StubNoded::usual(),
        "policy.allow_from_master_only = ['dangerous']",
    );
    let ssconf = stage.proxy.dir().join("ganeti/ssconf_master_node");
    fs::write(ssconf, "node1.example.com\n").unwrap();
    let seat = stage.proxy.dir().join("state/master");
    stage.proxy.wait_for("it is kept", |_| seat.exists());
    let inode = || fs::metadata(&seat).unwrap().ino();
    let before = inode();
    fs::write(stage.proxy.dir().join("config.toml"), "").unwrap();
    let map = fs::read(stage.proxy.map_path()).unwrap();
    fs::write(stage.proxy.map_path(), "uuid=").unwrap();
    assert_eq!(reload(&stage.proxy).status.code(), Some(1));
    assert_eq!(inode(), before);
    fs::write(stage.proxy.map_path(), map).unwrap();
    reloaded(&stage.proxy);
    stage.proxy.wait_for("it is forgotten", |_| !seat.exists());
}

#[test]
fn a_reload_may_change_the_addresses() {
    let mut stage = Stage::built(StubNoded::usual(), |proxy| {
        proxy.ports_in_file("listen = ['127.0.0.1:0']\nadmin = '127.0.0.1:0'")
    });
    let (public, admin) = (stage.proxy.addr(), stage.proxy.admin());
    let config = stage.proxy.dir().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("127.0.0.1:0", "127.0.0.2:0")).unwrap();
    assert!(reload(&stage.proxy).status.success());
    wait_until("the new ports are open", || {
        stage.proxy.find_admin();
        let new = [stage.proxy.addr(), stage.proxy.admin()];
        new.iter().all(|at| at.ip().to_string() == "127.0.0.2")
    });
    wait_until("the old ports are closed", || {
        let old = [public, admin].map(TcpStream::connect);
        old.iter().all(Result::is_err)
    });
    assert_eq!(stage.rpc("version", "[]").status, 200);
    reloaded(&stage.proxy);
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

#[test]
fn nobody_answers_a_reload_where_no_proxy_runs() {
    let mut stage = Stage::new(StubNoded::usual());
    stage.proxy.terminate();
    stage.proxy.wait_exit();
    let output = reload(&stage.proxy);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no proxy answers at"), "{told}");
}

/// Callers on many connections, connections in advance, and one reload after the other.
#[test]
fn under_load_no_call_is_lost_and_all_processes_together_keep_to_the_limit() {
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    // Long enough that all slots are taken when the next process comes.
    let stub = StubNoded::start(|call| {
        thread::sleep(Duration::from_millis(50));
        call.answer_as_noded();
    });
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(stub.address())
        .config("upstream.max_clients = 3\nupstream.fast_slots = 1")
        .start();
    let (public, end) = (proxy.addr(), AtomicBool::new(false));
    let call = || {
        while !end.load(Ordering::Relaxed) {
            let answer = rpc(public, &client, "version", "[]");
            assert_eq!(answer.unwrap().status, 200);
        }
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..5).map(|_| scope.spawn(call)).collect();
        for _ in 0..5 {
            let before = stub.accepted();
            reloaded(&proxy);
            wait_until("calls go on", || stub.accepted() > before + 20);
        }
        end.store(true, Ordering::Relaxed);
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
    });
    assert_eq!(stub.most_at_once(), 3);
}

#[test]
fn two_who_ask_at_a_time_are_both_told_of_a_new_process() {
    let stage = Stage::new(StubNoded::usual());
    let old = main_pid(&stage.proxy);
    let asked: Vec<_> = (0..2)
        .map(|_| {
            let mut asks = command(&stage.proxy);
            asks.stdout(Stdio::piped()).stderr(Stdio::piped());
            asks.spawn().unwrap()
        })
        .collect();
    let told = asked.into_iter().map(|asks| {
        let output = asks.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let told: Vec<_> = told.collect();
    assert_ne!(told[0], told[1], "each has its own");
    assert!(
        !told.contains(&format!("process {old} serves\n")),
        "{told:?}"
    );
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

#[test]
fn a_proxy_that_drains_tells_who_asks_for_a_reload_at_once() {
    let mut stage = Stage::new(StubNoded::holding());
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    stage.stub.wait_holding(1);
    stage.proxy.terminate();
    stage.proxy.wait_for("the drain begins", |p| {
        p.metric("noded_proxy_draining") == 1.0
    });
    let output = reload(&stage.proxy);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no proxy answers at"), "{told}");
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
    stage.proxy.wait_exit();
}

#[test]
fn an_admin_request_that_the_old_process_accepted_is_answered() {
    let stage = Stage::new(StubNoded::usual());
    let mut early = TcpStream::connect(stage.proxy.admin()).unwrap();
    write!(early, "GET /metrics HTTP/1.1\r\n").unwrap();
    stage.proxy.status(); // the one before it is accepted, too
    reloaded(&stage.proxy);
    write!(early, "Host: admin\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut early).status, 200);
}
