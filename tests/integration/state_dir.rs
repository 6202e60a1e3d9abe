//! The state directory at fault: full, gone, or used by root's commands.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::Command;

use crate::handshake::proxy_for;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;
use crate::support::wait_until;

const TOUCHED: &str = "somebody changed or removed what is kept there: it is written anew";
const FAULTY: &str = "noded_proxy_faulty{file=\"state\"}";

/// Mounts a small file system of its own for the proxy on `state`, full or not: run by `sh` before
/// the proxy, in a mount namespace. Its directory is behind the fourth word of the command.
const FULL: &str = "state=$(dirname \"$4\")/state; mount -t tmpfs -o size=64k none \"$state\" && \
                    head -c 1M /dev/zero >\"$state/filler\"; exec \"$@\"";

pub(crate) fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("SKIPPED: no mount namespace is to be had here");
    }
    can
}

/// Whether the fault is told everywhere, and lasts over further readings.
fn assert_told(proxy: &Proxy, why: &str) {
    proxy.wait_for("it is told", |p| p.metric(FAULTY) == 1.0);
    let retries = "noded_proxy_readings_total{cause=\"retry\"}";
    let before = proxy.metric(retries);
    proxy.wait_for("it is tried again", |p| p.metric(retries) > before);
    assert_eq!(proxy.metric(FAULTY), 1.0, "it lasts");
    let (status, health) = proxy.health();
    assert_eq!((status, health["degraded"].as_bool()), (200, Some(true)));
    assert!(health["reasons"].to_string().contains(why), "{health}");
}

fn assert_over(proxy: &Proxy) {
    proxy.wait_for("it is over", |p| p.metric(FAULTY) == 0.0);
    proxy.wait_for("health is good", |p| p.health().1["degraded"] == false);
}

#[test]
fn a_full_state_directory_is_told_until_there_is_room() {
    if !can_mount() {
        return;
    }
    let pki = Pki::new();
    let node: Identity = pki.client("node1");
    let wrapper = ["unshare", "--mount", "sh", "-c", FULL, "sh"];
    let proxy = proxy_for(&pki, &node).through(&wrapper).start();
    assert_told(&proxy, "No space left on device");
    let state = proxy.dir().join("state");
    let seen = format!(
        "/proc/{}/root{}",
        proxy.pid().as_raw_nonzero(),
        state.display()
    );
    fs::remove_file(format!("{seen}/filler")).unwrap();
    assert_over(&proxy);
    assert!(fs::metadata(format!("{seen}/last-good-map")).is_ok());
}

#[test]
fn a_state_directory_that_is_removed_is_told_until_it_is_back() {
    let pki = Pki::new();
    let node = pki.client("node1");
    let proxy = proxy_for(&pki, &node).config("sandbox = 'off'").start();
    let state = proxy.dir().join("state");
    proxy.wait_for("the state is kept", |p| p.state_path().exists());
    wait_until("it is gone", || fs::remove_dir_all(&state).is_ok());
    assert_told(&proxy, "No such file or directory");
    fs::create_dir(&state).unwrap();
    assert_over(&proxy);
    proxy.wait_for("the state is kept", |p| p.state_path().exists());
}

/// A restart forgets the latch then, so an absent map opens the phase: that is no beginning.
#[test]
fn a_bootstrap_phase_of_a_node_that_can_keep_nothing_is_shown() {
    let pki = Pki::new();
    let node = pki.client("node1");
    let mut proxy = proxy_for(&pki, &node).config("sandbox = 'off'").start();
    let state = proxy.dir().join("state");
    proxy.restart(|_| fs::remove_dir_all(&state).unwrap());
    proxy.wait_for("the map is in force", |p| {
        p.status()["admission"]["phase"] == "listed"
    });
    proxy.restart(|p| fs::remove_file(p.map_path()).unwrap());
    let shown = |p: &Proxy| {
        let faults = p.health().1["faults"].clone();
        let mut faults = faults.as_array().cloned().unwrap_or_default().into_iter();
        let phase = faults.find(|fault| fault["kind"] == "bootstrap_phase");
        phase.map(|phase| phase["before"].clone())
    };
    proxy.wait_for("it is shown", |p| shown(p) == Some("unknown".into()));
    fs::create_dir(&state).unwrap();
    proxy.wait_for("the state is good", |p| p.metric(FAULTY) == 0.0);
    assert_eq!(shown(&proxy), Some("unknown".into()), "nobody knows yet");
    proxy.write_map(&[("uuid-1", &node)]);
    assert_over(&proxy);
}

#[test]
fn what_is_kept_and_removed_by_somebody_is_written_anew() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1")).start();
    let kept = ["last-good-map", "latch"].map(|name| proxy.dir().join("state").join(name));
    let are_kept = || kept.iter().all(|file| file.exists());
    proxy.wait_for("the state is kept", |_| are_kept());
    kept.iter().for_each(|file| fs::remove_file(file).unwrap());
    proxy.wait_for("it is kept again", |_| are_kept());
    proxy.wait_for("it is told", |p| p.logged(TOUCHED));
}

fn reset(dir: &std::path::Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    let output = command.args(["reset", "--state-dir"]).arg(dir).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), text)
}

#[test]
fn the_lock_that_root_s_reset_makes_belongs_to_the_owner_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    if chown(dir.path(), Some(65_534), Some(65_534)).is_err() {
        return eprintln!("SKIPPED: only root can give a directory away");
    }
    assert!(reset(dir.path()).0);
    let lock = dir.path().join("lock");
    assert_eq!(fs::metadata(&lock).unwrap().uid(), 65_534);
    fs::remove_file(&lock).unwrap();
    symlink(dir.path().join("victim"), &lock).unwrap();
    let (done, why) = reset(dir.path());
    assert!(!done && why.contains("symbolic link"), "{why}");
    assert!(!dir.path().join("victim").exists());
}
