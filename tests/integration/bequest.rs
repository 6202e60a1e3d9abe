//! What a process knows passes to the one that replaces it, also if it could not be kept.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::support::client::admitted;
use crate::support::handing::{command, main_pid, reloaded};
use crate::support::pki::{Pki, map_text};
use crate::support::proxy::{Proxy, has_ended};
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

#[test]
fn a_reload_opens_no_bootstrap_phase_though_the_state_directory_is_gone() {
    let stage = Stage::configured(StubNoded::usual(), "sandbox = 'off'");
    let (proxy, pki) = (&stage.proxy, &stage.pki);
    let map = fs::read(proxy.map_path()).unwrap();
    let state = proxy.dir().join("state");
    // The proxy may be at work there.
    wait_until("it is gone", || fs::remove_dir_all(&state).is_ok());
    for _ in 0..2 {
        fs::remove_file(proxy.map_path()).unwrap();
        proxy.wait_for("the map is missed", |p| {
            p.metric("noded_proxy_candidate_map_stale") == 1.0
        });
        let old = main_pid(proxy);
        proxy.sighup();
        let failed = proxy.status()["handover"]["failed"].to_string();
        assert_eq!(main_pid(proxy), old, "{failed}");
        assert!(failed.contains("there was a map"), "{failed}");
        assert!(!admitted(proxy.addr(), pki.server()), "bootstrap phase");
        assert!(admitted(proxy.addr(), &stage.client));
        fs::write(proxy.map_path(), &map).unwrap();
        proxy.sighup();
        assert_ne!(main_pid(proxy), old);
    }
    fs::create_dir(&state).unwrap();
    let kept = ["last-good-map", "latch"].map(|name| state.join(name));
    proxy.wait_for("the state is kept", |_| kept.iter().all(|f| f.exists()));
}

/// Cut at the end of a line the map looks whole, and the new process does not see who writes it.
#[test]
fn a_reload_waits_for_whoever_writes_the_map_in_place() {
    let pki = Pki::new();
    let nodes = ["node1", "node2"].map(|name| pki.client(name));
    let both = [("uuid-1", &nodes[0]), ("uuid-2", &nodes[1])];
    let proxy = Proxy::with(&pki).candidates(&both).start();
    let text = map_text(&both);
    let (half, rest) = text.split_at(text.find('\n').unwrap() + 1);
    let waits = || proxy.lines_with("the handover waits for whoever writes this file");
    let torn = || {
        let maps = proxy.lines_with("candidate map in force");
        maps.iter().filter(|map| map["entries"] == 1).count()
    };
    loop {
        let (waited, before, begun) = (waits().len(), torn(), Instant::now());
        let mut map = File::create(proxy.map_path()).unwrap();
        map.write_all(half.as_bytes()).unwrap();
        let mut reload = command(&proxy);
        let reload = reload.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        proxy.wait_for("it waits", |_| waits().len() > waited);
        map.write_all(rest.as_bytes()).unwrap();
        drop(map);
        // On a machine that is too busy the while is over, and the half of the map counts.
        let was_in_time = begun.elapsed() < Duration::from_secs(2);
        let output = reload.unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        if was_in_time {
            assert_eq!(torn(), before, "{}", proxy.log());
            break;
        }
    }
    proxy.wait_for("both are admitted", |p| {
        nodes.iter().all(|node| admitted(p.addr(), node))
    });
}

#[test]
fn a_writer_that_never_closes_the_map_stops_no_reload() {
    let stage = Stage::new(StubNoded::usual());
    let map = fs::read(stage.proxy.map_path()).unwrap();
    let mut file = File::create(stage.proxy.map_path()).unwrap();
    file.write_all(&map).unwrap();
    let old = main_pid(&stage.proxy);
    stage.proxy.sighup();
    assert_ne!(main_pid(&stage.proxy), old);
    assert!(admitted(stage.proxy.addr(), &stage.client));
    drop(file);
}

/// Which socket there is at which a reload is asked for.
fn control(proxy: &Proxy) -> Option<(u64, i64, i64)> {
    let found = fs::metadata(proxy.dir().join("state/control"));
    found
        .ok()
        .map(|file| (file.ino(), file.ctime(), file.ctime_nsec()))
}

#[test]
fn the_socket_for_reloads_that_somebody_removes_is_opened_anew() {
    let stage = Stage::new(StubNoded::usual());
    for _ in 0..2 {
        let state = stage.proxy.dir().join("state");
        fs::remove_file(state.join("control")).unwrap();
        for entry in fs::read_dir(state).unwrap() {
            let _ = fs::remove_file(entry.unwrap().path()); // the proxy may be at work there
        }
        wait_until("it is there again", || control(&stage.proxy).is_some());
        let old = main_pid(&stage.proxy);
        assert_ne!(reloaded(&stage.proxy), old);
    }
}

/// Somebody runs the proxy by hand while the service runs.
#[test]
fn a_second_proxy_takes_the_socket_for_reloads_when_the_first_has_ended() {
    let mut stage = Stage::new(StubNoded::usual());
    let (first, before) = (stage.proxy.pid(), control(&stage.proxy));
    let any = ([127, 0, 0, 1], 0).into();
    stage.proxy.start_again(any, any);
    let proxy = &stage.proxy;
    let told = || proxy.logged("nobody can ask for a reload, except by SIGHUP");
    wait_until("it is told", told);
    proxy.sighup();
    let second = main_pid(proxy);
    assert_eq!(control(proxy), before);
    kill_process(first, Signal::TERM).unwrap();
    wait_until("the first has ended", || has_ended(first));
    wait_until("the second has it", || {
        control(proxy).is_some_and(|found| Some(found) != before)
    });
    assert_ne!(reloaded(proxy), second);
}
