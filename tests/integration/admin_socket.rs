//! The admin listener at a socket in the file system: who reaches it, who is asked there, and that a
//! left-over one is in nobody's way.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::handing::{kill, reloaded};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::{impostor::NOBODY, wait_until};

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn status(path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["status", "--admin", &format!("unix:{}", path.display())])
        .output()
        .unwrap()
}

fn socket_in(dir: &TempDir) -> PathBuf {
    dir.path().join("admin.sock")
}

#[test]
fn it_answers_beside_the_port_for_user_and_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = socket_in(&dir);
    let pki = Pki::new();
    let flag = format!("unix:{}", path.display());
    let mut proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &pki.client("node1"))])
        .arg("--admin")
        .arg(&flag)
        .start();
    assert_eq!(proxy.get("/healthz/live").status, 200);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let told = String::from_utf8(status(&path).stdout).unwrap();
    assert!(told.contains("1 entry"), "{told}");
    let next = reloaded(&proxy);
    let told = String::from_utf8(status(&path).stdout).unwrap();
    assert!(told.contains("1 entry"), "{told}");
    // Killed, it leaves the socket behind. The next one takes its place.
    kill(next);
    proxy.wait_exit();
    assert!(is_socket(&path));
    let told = String::from_utf8(status(&path).stderr).unwrap();
    assert!(told.contains(&flag) && told.contains("no answer"), "{told}");
    let proxy = Proxy::with(&pki).arg("--admin").arg(&flag).start();
    let told = String::from_utf8(status(&path).stdout).unwrap();
    assert!(told.contains("bootstrap"), "{told}");
    drop(proxy);
}

#[test]
fn the_unit_s_runtime_directory_has_it_unless_it_is_turned_off() {
    for (config, expected) in [("", true), ("admin_socket = \"off\"", false)] {
        let dir = tempfile::tempdir().unwrap();
        let unit = format!("RUNTIME_DIRECTORY={}", dir.path().display());
        let proxy = Proxy::with(&Pki::new()).config(config);
        let proxy = proxy.through(&["env", &unit]).start();
        assert_eq!(is_socket(&socket_in(&dir)), expected, "{config}");
        assert_eq!(proxy.logged("admin socket open"), expected);
    }
}

#[test]
fn a_socket_that_cannot_be_made_stops_nothing() {
    let proxy = Proxy::with(&Pki::new()).config("admin_socket = \"/nonexistent/admin.sock\"");
    let proxy = proxy.start();
    assert!(proxy.logged("cannot open the admin socket"));
    assert_eq!(proxy.get("/healthz/live").status, 200);
}

#[test]
fn a_stranger_s_socket_is_asked_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can listen as another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (path, told) = (socket_in(&dir), dir.path().join("told"));
    let listen = format!("UNIX-LISTEN:{}", path.display());
    let keep = format!("OPEN:{},creat,append", told.display());
    let mut stranger = Command::new("setpriv")
        .args([&format!("--reuid={NOBODY}"), "--clear-groups"])
        .args(["socat", "-u", &listen, &keep])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the stranger listens", || is_socket(&path));
    let output = status(&path);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains(&format!("a process of uid {NOBODY}")),
        "{words}"
    );
    assert_eq!(fs::read(told).unwrap_or_default(), b"");
}
