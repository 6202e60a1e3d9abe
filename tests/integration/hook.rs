//! The hook of `gnt-cluster verify`, as Ganeti runs it: the script of the repository, with the
//! environment that hooks have.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::commands::ganeti_s_hook;
use crate::support::lab::Noded;
use crate::support::pki::Pki;
use crate::support::proxy::{Builder, Proxy, replace};
use crate::support::stub::StubNoded;

/// What the hook answered.
struct Said {
    good: bool,
    line: String,
}

/// A folder with a program `noded-proxy` that takes this configuration file as its usual one.
fn installed(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::write(file("config.toml"), config).unwrap();
    let program = format!(
        "#!/bin/sh\nexec {} \"$@\" --config {}\n",
        env!("CARGO_BIN_EXE_noded-proxy"),
        file("config.toml").display()
    );
    fs::write(file("noded-proxy"), program).unwrap();
    fs::set_permissions(file("noded-proxy"), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Runs the hook with the programs of this folder.
fn hook(programs: &Path) -> Said {
    let output = ganeti_s_hook(
        "cluster-verify-post.d/noded-proxy",
        &programs.join("noded-proxy"),
    )
    .env("GANETI_HOOKS_PHASE", "post")
    .env("GANETI_OP_CODE", "OP_CLUSTER_VERIFY_GROUP")
    .output()
    .unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{:?}", output.stderr);
    assert!(line.is_ascii() && line.ends_with('\n'), "{line:?}");
    assert_eq!(line.lines().count(), 1, "{line}");
    let host = Command::new("uname").arg("-n").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    assert!(
        line.starts_with(&format!("{}: noded-proxy", host.trim())),
        "{line}"
    );
    let good = output.status.success();
    Said { good, line }
}

/// The configuration with which a proxy was started, as the file has it.
fn configuration(proxy: &Proxy, upstream: SocketAddr, more: &str) -> String {
    format!(
        "admin = \"{}\"\nstate_dir = \"{}\"\n[upstream]\naddress = \"{upstream}\"\n{more}\n",
        proxy.admin(),
        proxy.dir().join("state").display(),
    )
}

fn assert_wrong(said: &Said, words: &[&str]) {
    assert!(!said.good, "{}", said.line);
    for word in words {
        assert!(said.line.contains(word), "{word}: {}", said.line);
    }
}

/// noded's own TLS lets local users connect and do nothing, so all can be well without a guard.
#[test]
fn it_is_content_with_a_good_proxy_and_with_no_other() {
    let Some(noded) = Noded::start(&["--map", "absent"]) else {
        return;
    };
    let proxy = noded.proxy().arg("--upstream-tls").start();
    let config = configuration(&proxy, noded.address(), "tls = true");
    let programs = installed(&config);
    let well = || hook(programs.path());
    proxy.wait_for("all is well", |_| well().good);
    assert!(well().line.ends_with(": noded-proxy is well\n"));

    let map = fs::read_to_string(proxy.map_path()).unwrap();
    replace(&proxy.map_path(), b"not a map\n", 0o444);
    proxy.wait_for("the map is stale", |_| !well().good);
    assert_wrong(&well(), &["candidate map", "line 1"]);
    replace(&proxy.map_path(), map.as_bytes(), 0o444);
    proxy.wait_for("all is well again", |_| well().good);

    noded.stop_daemon();
    proxy.wait_for("noded is down", |_| !well().good);
    assert_wrong(&well(), &["noded", "nobody listens there"]);
    drop(proxy);
    assert_wrong(&well(), &["the proxy is down"]);
}

/// What the hook says of a proxy with a stand-in for noded.
fn said_of(build: impl Fn(Builder) -> Builder, upstream: SocketAddr, more: &str) -> Said {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &node)]);
    let proxy = build(proxy.upstream(upstream)).start();
    hook(installed(&configuration(&proxy, upstream, more)).path())
}

#[test]
fn audit_mode_is_told() {
    let stub = StubNoded::usual();
    let audit = |proxy: Builder| proxy.config("admission.mode = \"audit\"");
    let said = said_of(audit, stub.address(), "guard = \"off\"");
    assert_wrong(&said, &["AUDIT MODE"]);
}

#[test]
fn a_guard_that_is_not_there_is_told_once() {
    let stub = StubNoded::usual();
    let guarded = |proxy: Builder| proxy.arg("--guard").arg("/nonexistent/state");
    let said = said_of(guarded, stub.address(), "guard = \"/nonexistent/state\"");
    assert_wrong(&said, &["guard"]);
    assert_eq!(
        said.line.matches("the guard of").count(),
        1,
        "{}",
        said.line
    );
}

#[test]
fn noded_that_any_local_user_can_command_is_told() {
    let stub = StubNoded::usual();
    let said = said_of(|proxy| proxy, stub.address(), "guard = \"off\"");
    let is_root = rustix::process::geteuid().is_root();
    let words = if is_root {
        "the user nobody can connect"
    } else {
        "by root alone"
    };
    assert_wrong(&said, &[words]);
}

#[test]
fn noded_that_other_machines_can_command_is_told() {
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let upstream = SocketAddr::from(([127, 0, 0, 1], public.local_addr().unwrap().port()));
    std::thread::spawn(move || while public.accept().is_ok() {});
    // Also while no proxy is there that could say it.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config =
        format!("admin = \"{nobody}\"\n[upstream]\naddress = \"{upstream}\"\nguard = \"off\"\n");
    let said = hook(installed(&config).path());
    assert_wrong(
        &said,
        &[
            "the proxy is down",
            "other machines reach it without the proxy, on 0.0.0.0",
        ],
    );
}

#[test]
fn a_wrong_configuration_and_a_missing_program_are_a_line_too() {
    let said = hook(installed("[upstream]\nmax_clients = 0\n").path());
    assert_wrong(&said, &["upstream.max_clients = 0: expected"]);
    let nothing = tempfile::tempdir().unwrap();
    let said = hook(nothing.path());
    assert_wrong(&said, &["noded-proxy is not installed"]);
}
