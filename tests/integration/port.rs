//! What the proxy sees of noded's port without connecting: who listens there, from where it is
//! reached, and whether its guard holds. And whom commands ask on the admin port.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use noded_proxy::proxy::upstream::now;
use rules::guard::Said;

use crate::support::client::rpc;
use crate::support::impostor::{Impostor, NOBODY};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::{Proxy, replace};
use crate::support::stage::assert_refusal;
use crate::support::stub::StubNoded;

fn before(address: SocketAddr, args: &[&str]) -> (Proxy, Identity) {
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(address);
    let proxy = args.iter().fold(proxy, |proxy, arg| proxy.arg(arg));
    (proxy.start(), client)
}

fn kinds(proxy: &Proxy) -> Vec<String> {
    let (_, health) = proxy.health();
    let faults = health["faults"].as_array().cloned().unwrap_or_default();
    let kind = |fault: &serde_json::Value| fault["kind"].as_str().unwrap().to_owned();
    faults.iter().map(kind).collect()
}

fn noded_is(proxy: &Proxy, state: &str) -> bool {
    proxy.metric(&format!("noded_proxy_noded{{state=\"{state}\"}}")) == 1.0
}

fn guard_is(proxy: &Proxy, state: &str) -> bool {
    proxy.metric(&format!("noded_proxy_guard{{state=\"{state}\"}}")) == 1.0
}

#[test]
fn a_noded_that_goes_and_comes_is_seen_without_a_connection() {
    let stub = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stub.local_addr().unwrap();
    let (proxy, _) = before(address, &[]);
    assert!(noded_is(&proxy, "listens"));
    assert_eq!(kinds(&proxy), [""; 0]);
    stub.set_nonblocking(true).unwrap();
    assert!(stub.accept().is_err(), "no connection was opened");
    drop(stub);
    proxy.wait_for("noded is down", |proxy| noded_is(proxy, "down"));
    assert_eq!(kinds(&proxy), ["noded_down"]);
    assert_eq!(proxy.metric("noded_proxy_upstream_up"), 0.0);
    let line = &proxy.lines_with("noded is down")[0];
    assert!(line["why"].as_str().unwrap().contains("nobody listens"));
    let _stub = TcpListener::bind(address).unwrap();
    proxy.wait_for("noded is up", |proxy| proxy.logged("noded is up again"));
    assert_eq!(kinds(&proxy), [""; 0]);
}

#[test]
fn a_noded_that_other_machines_reach_is_a_fault() {
    for (all, loopback) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
        let all: IpAddr = all.parse().unwrap();
        let loopback: IpAddr = loopback.parse().unwrap();
        let Ok(stub) = TcpListener::bind((all, 0)) else {
            assert!(all.is_ipv6()); // a machine without it
            continue;
        };
        let at = stub.local_addr().unwrap();
        let (proxy, _) = before((loopback, at.port()).into(), &[]);
        assert!(noded_is(&proxy, "exposed") && noded_is(&proxy, "listens"));
        assert_eq!(kinds(&proxy), ["noded_exposed"]);
        let (_, health) = proxy.health();
        let reason = health["reasons"][0].as_str().unwrap();
        // The remedy does not lead noded away from where the proxy looks for it.
        for words in [
            at.to_string(),
            loopback.to_string(),
            "upstream.address".into(),
        ] {
            assert!(reason.contains(&words), "{words}: {reason}");
        }
        let told = "noded is exposed: other machines reach it without the proxy";
        assert!(proxy.logged(told));
    }
}

/// Another user's process on noded's port is told nothing: no connection, not a byte.
#[test]
fn an_impostor_is_sent_nothing() {
    let Some(impostor) = Impostor::start() else {
        return;
    };
    let address = impostor.address();
    let (proxy, client) = before(address, &[]);
    assert_eq!(kinds(&proxy), ["noded_impersonated"]);
    let secret = r#"["/var/lib/ganeti/cluster-domain-secret", "secret"]"#;
    for _ in 0..3 {
        let answer = rpc(proxy.addr(), &client, "upload_file_single", secret).unwrap();
        assert_refusal(&answer, 502, "impersonated");
        assert!(answer.text().contains(&format!("uid {NOBODY}")));
    }
    assert_eq!(
        (impostor.accepted(), impostor.received()),
        (0, String::new())
    );
    let errors = "noded_proxy_upstream_errors_total{kind=\"impersonated\"}";
    assert_eq!(proxy.metric(errors), 3.0);
    assert_eq!(proxy.metric("noded_proxy_upstream_up"), 0.0);
    assert!(noded_is(&proxy, "impersonated"));
    // The real one comes back.
    drop(impostor);
    let _noded = StubNoded::usual_at(address);
    let answer = rpc(proxy.addr(), &client, "version", "[]").unwrap();
    assert_eq!(answer.status, 200);
    proxy.wait_for("all is well", |proxy| kinds(proxy).is_empty());
}

/// A connection that was opened in advance belongs to the noded that it was opened to.
#[test]
fn an_impostor_after_noded_is_sent_nothing_on_a_warm_connection() {
    let noded = StubNoded::usual();
    let address = noded.address();
    let (proxy, client) = before(address, &[]);
    let answered = || rpc(proxy.addr(), &client, "version", "[]").unwrap().status;
    for _ in 0..8 {
        assert_eq!(answered(), 200);
    }
    proxy.wait_for("a warm connection", |proxy| {
        proxy.metric("noded_proxy_warm_connections") >= 1.0
    });
    drop(noded);
    let mut impostor = None;
    crate::support::wait_until("noded has left", || {
        impostor = impostor.take().or_else(|| {
            let free = TcpListener::bind(address).is_ok();
            free.then(|| Impostor::at(address.port(), NOBODY, ""))
                .flatten()
        });
        impostor.is_some() || !rustix::process::geteuid().is_root()
    });
    let Some(impostor) = impostor else { return };
    for _ in 0..5 {
        let _ = rpc(proxy.addr(), &client, "version", "[]").unwrap();
    }
    assert_eq!(impostor.received(), String::new());
    assert!(noded_is(&proxy, "impersonated"));
}

/// The file in which the guard of a port says that it holds.
struct GuardFile {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl GuardFile {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        Self { path, _dir: dir }
    }

    fn say(&self, said: Said) {
        replace(&self.path, said.to_string().as_bytes(), 0o644);
    }
}

fn holds(port: u16) -> Said {
    Said {
        port,
        loaded: now(),
        renewed: now() + std::time::Duration::from_secs(3600), // nobody renews it here
        owned: true,
    }
}

fn watching(path: &Path) -> (Proxy, TcpListener) {
    let noded = TcpListener::bind("127.0.0.1:0").unwrap();
    let args = ["--guard", path.to_str().unwrap()];
    (before(noded.local_addr().unwrap(), &args).0, noded)
}

#[test]
fn a_missing_guard_is_a_fault_and_one_that_comes_is_seen() {
    let guard = GuardFile::new();
    let (proxy, noded) = watching(&guard.path);
    let port = noded.local_addr().unwrap().port();
    assert!(guard_is(&proxy, "missing"));
    assert_eq!(kinds(&proxy), ["guard_missing"]);
    let told = |words: &str| {
        let lines = proxy.log_lines();
        let found = |line: &&serde_json::Value| line["message"].to_string().contains(words);
        lines.iter().filter(found).count()
    };
    assert_eq!(told("the guard is missing"), 1);
    let said = holds(port);
    guard.say(said);
    proxy.wait_for("the guard holds", |proxy| guard_is(proxy, "holds"));
    assert_eq!((kinds(&proxy).len(), told("the guard holds")), (0, 1));
    assert_eq!(proxy.status()["upstream"]["guard"], "holds");
    // It is lost, in each way that can be told.
    let faulty = [
        ("says nothing", None),
        ("guards another port", Some(Said { port: 1, ..said })),
        (
            "has stopped to say it",
            Some(Said {
                renewed: std::time::Duration::ZERO,
                ..said
            }),
        ),
    ];
    for (what, faulty) in faulty {
        match faulty {
            Some(faulty) => guard.say(faulty),
            None => fs::remove_file(&guard.path).unwrap(),
        }
        proxy.wait_for(what, |proxy| guard_is(proxy, "missing"));
        assert_eq!(kinds(&proxy), ["guard_missing"], "{what}");
        guard.say(said);
        proxy.wait_for("it holds again", |proxy| guard_is(proxy, "holds"));
    }
    assert_eq!(proxy.metric("noded_proxy_guard_losses_total"), 3.0);
}

/// A guard that could not load its rules has left the reason.
#[test]
fn why_a_guard_is_missing_is_told() {
    let guard = GuardFile::new();
    let (proxy, noded) = watching(&guard.path);
    let reason = |proxy: &Proxy, words: &str| {
        let (_, health) = proxy.health();
        health["reasons"].to_string().contains(words)
    };
    assert!(reason(&proxy, "is missing (it does not run)"));
    let why = guard.path.with_extension("why");
    replace(&why, b"nft: syntax error", 0o644);
    let failed = "is missing (it has failed: nft: syntax error)";
    proxy.wait_for("the reason is shown", |proxy| reason(proxy, failed));
    // What it says while it holds counts more than an old reason.
    guard.say(holds(noded.local_addr().unwrap().port()));
    proxy.wait_for("the guard holds", |proxy| guard_is(proxy, "holds"));
}

/// `kill -9` of the guard: systemd loads it anew before the next look.
#[test]
fn a_guard_that_was_away_for_a_moment_is_seen() {
    let guard = GuardFile::new();
    let noded = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = noded.local_addr().unwrap();
    let said = holds(address.port());
    guard.say(said);
    let (proxy, _) = before(address, &["--guard", guard.path.to_str().unwrap()]);
    assert_eq!(kinds(&proxy), [""; 0]);
    guard.say(Said {
        loaded: now(),
        ..said
    });
    proxy.wait_for("it is missed", |proxy| guard_is(proxy, "missing"));
    let (_, health) = proxy.health();
    let reason = health["reasons"][0].as_str().unwrap();
    assert!(reason.contains("away for a moment"), "{reason}");
    assert_eq!(proxy.metric("noded_proxy_guard_losses_total"), 1.0);
}

#[test]
fn with_upstream_tls_no_guard_is_needed() {
    let noded = TcpListener::bind("127.0.0.1:0").unwrap();
    let args = ["--upstream-tls", "--guard", "/nonexistent/state"];
    let (proxy, _) = before(noded.local_addr().unwrap(), &args);
    assert!(guard_is(&proxy, "not_needed"));
    assert_eq!(kinds(&proxy), [""; 0]);
}

/// With the proxy stopped, whoever listens on the admin port tells root nothing, and is told
/// nothing.
#[test]
fn root_s_commands_ask_no_stranger_on_the_admin_port() {
    let status = r#"{"version": "9", "tls_library": "x", "client_ca_list": {}}"#;
    let answer = format!("HTTP/1.0 200 OK\r\n\r\n{status}");
    let Some(stranger) = Impostor::at(0, NOBODY, &answer) else {
        return;
    };
    let (proxy, _) = before(stranger.address(), &[]);
    let state_dir = proxy.dir().join("state");
    let run = |command: &[&str], admin: SocketAddr| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
        program.args(command).args(["--admin", &admin.to_string()]);
        if command[0] != "status" {
            program.arg("--config").arg(proxy.dir().join("config.toml"));
            program.arg("--state-dir").arg(&state_dir);
        }
        let output = program.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let commands = [
        &["status"][..],
        &["status", "--json"],
        &["certs", "list"],
        &["explain", "--peer", "192.0.2.1"],
    ];
    for command in commands {
        let (code, said) = run(command, stranger.address());
        assert_eq!(code, Some(1), "{command:?}: {said}");
        assert!(said.contains(&format!("uid {NOBODY}")), "{said}");
        assert!(!said.contains("version 9"), "{said}");
    }
    assert_eq!(stranger.received(), "");
    // The user whose the state directory is runs the proxy.
    let service = Impostor::at(0, 1, &answer).unwrap();
    std::os::unix::fs::chown(&state_dir, Some(1), Some(1)).unwrap();
    let (_, said) = run(&["explain", "--peer", "192.0.2.1"], service.address());
    assert!(said.contains("version 9"), "{said}");
}
