//! What needs other processes: ports, noded, and the guard of its port.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use noded_proxy::config::NODED_PORT;

use super::node::{Node, PROGRAM, Report, nowhere};
use crate::support::impostor::{Impostor, NOBODY};
use crate::support::lab::{self, Noded};
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;

#[test]
fn a_port_that_is_taken_is_found_with_its_holder() {
    let mut node = Node::new(nowhere());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    node.set("--listen", address);
    let me = format!("(pid {})", std::process::id());
    node.check(&[])
        .assert("listen", "error", &[&address.to_string(), &me]);
}

#[test]
fn the_proxy_that_runs_already_may_hold_its_ports() {
    let mut node = Node::new(nowhere());
    let proxy = Proxy::with(&node.pki)
        .candidates(&[("uuid-1", &node.client)])
        .start();
    node.set("--listen", proxy.addr());
    node.set("--admin", proxy.admin());
    let report = node.check(&[]);
    for id in ["listen", "admin"] {
        let (verdict, message) = report.finding(id).unwrap();
        assert_eq!(verdict, "ok", "{message}");
        assert!(message.contains("running noded-proxy"), "{message}");
    }
    // It is known by its process too, if the admin port is not where the configuration says.
    node.set("--admin", "127.0.0.1:0");
    let report = node.check(&[]);
    report.assert("listen", "ok", &["held by noded-proxy (pid "]);
}

#[test]
fn nothing_upstream_is_an_error() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = Node::new(gone).check(&[]);
    report.assert("noded_listens", "error", &[&gone.to_string(), "NODED_ARGS"]);
    report.assert("noded_exposure", "ok", &["nobody listens"]);
    assert_eq!(report.finding("loopback_guard"), None);
}

#[test]
fn what_is_not_noded_is_an_error() {
    let stub = StubNoded::saying("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    let node = Node::new(stub.address());
    node.check(&[])
        .assert("noded_answers", "error", &["404", "what listens there"]);
}

#[test]
fn noded_on_all_addresses_is_an_error() {
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let upstream = SocketAddr::from(([127, 0, 0, 1], public.local_addr().unwrap().port()));
    std::thread::spawn(move || while public.accept().is_ok() {}); // closes each at once
    let report = Node::new(upstream).check(&[]);
    report.assert(
        "noded_exposure",
        "error",
        &["other machines reach it", "0.0.0.0", "-b 127.0.0.1"],
    );
    report.assert("noded_answers", "error", &["--no-ssl"]);
}

/// The flags for the files of a real noded.
fn beside(noded: &Noded) -> Node {
    let mut node = Node::new(noded.address());
    let data = noded.file("/var/lib/ganeti");
    node.set("--server-pem", data.join("server.pem").display());
    node.set("--ssconf-dir", data.display());
    node
}

#[test]
fn the_real_noded_answers_in_clear() {
    let Some(noded) = Noded::start(&["--no-ssl", "--map", "client"]) else {
        return;
    };
    let report = beside(&noded).check(&[]);
    report.assert("noded_answers", "ok", &["protocol version"]);
    report.assert("noded_kind", "ok", &["a process for each connection"]);
    report.assert(
        "loopback_guard",
        "warning",
        &["any local user can command noded"],
    );
    assert!(!noded.log().contains("Traceback"), "{}", noded.log());
}

#[test]
fn the_real_noded_answers_over_tls_while_its_map_is_empty() {
    let Some(noded) = Noded::start(&[]) else {
        return;
    };
    let node = beside(&noded);
    let report = node.check(&["--upstream-tls"]);
    report.assert("noded_answers", "ok", &["protocol version"]);
    assert_eq!(report.finding("loopback_guard"), None);
    // Asked in clear it gives no answer, and the finding says why that may be.
    node.check(&[])
        .assert("noded_answers", "error", &["--no-ssl"]);
}

#[test]
fn the_real_noded_takes_no_server_pem_once_it_has_a_map() {
    let Some(noded) = Noded::start(&["--map", "client"]) else {
        return;
    };
    let report = beside(&noded).check(&["--upstream-tls"]);
    report.assert("noded_answers", "error", &["--no-ssl"]);
}

/// In a network namespace of its own: without the guard it is an error that nobody may connect; the
/// shipped guard keeps him out, and check proves it.
#[test]
fn the_guard_is_proven() {
    if lab::script("noded").is_none() {
        return;
    }
    let mut node = Node::new(SocketAddr::from(([127, 0, 0, 1], NODED_PORT)));
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/noded-proxy-guard.nft");
    let rules = fs::read_to_string(rules).unwrap();
    // The proxy's user need not exist here.
    node.write(
        "guard.nft",
        &rules.replace("noded-proxy }", "daemon }"),
        0o644,
    );
    let state = node.path("guard-state");
    node.set("--guard", state.display());
    let guard = format!(
        "\"$0\" guard --rules {} --state {state} & until [ -e {state} ]; do sleep 0.02; done",
        node.path("guard.nft").display(),
        state = state.display()
    );
    let serve = format!(
        "socat TCP-LISTEN:{NODED_PORT},bind=127.0.0.1,fork,reuseaddr SYSTEM:true & \
         until ss -Hltn | grep -q 127.0.0.1:{NODED_PORT}; do sleep 0.02; done"
    );
    let verdict = |guard: &str| {
        let script = format!("set -e; ip link set lo up; {guard}\n{serve}; \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["bash", "-c", &script, PROGRAM, "check", "--json"]);
        for (flag, value) in &node.flags {
            command.args([*flag, value]);
        }
        Report::of(&command.output().unwrap())
    };
    let restart = "systemctl restart noded-proxy-guard";
    let open = verdict(":");
    open.assert("loopback_guard", "error", &["any local user", restart]);
    open.assert("guard", "error", &["does not run", restart]);
    assert_eq!(open.status, Some(1));
    let guarded = verdict(&guard);
    guarded.assert("loopback_guard", "ok", &["kept out"]);
    guarded.assert("guard", "ok", &["holds"]);
    guarded.assert("noded_port", "ok", &["only root"]);
    guarded.assert("noded_listens", "ok", &["accepted"]);
}

/// Whoever has noded's port is asked nothing if he is not root.
#[test]
fn an_impostor_is_named_and_asked_nothing() {
    let Some(impostor) = Impostor::start() else {
        return;
    };
    let report = Node::new(impostor.address()).check(&[]);
    let uid = format!("uid {NOBODY}");
    report.assert("noded_owner", "error", &["impersonated", &uid, "python3"]);
    assert_eq!(report.finding("noded_answers"), None);
    assert_eq!(report.finding("loopback_guard"), None);
    assert_eq!(impostor.received(), "");
}
