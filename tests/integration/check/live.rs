//! What needs other processes: ports, noded, and the guard of its port.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use super::node::{Node, PROGRAM, Report, nowhere};
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
}

#[test]
fn nothing_upstream_is_an_error() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = Node::new(gone).check(&[]);
    report.assert("noded_listens", "error", &[&gone.to_string(), "NODED_ARGS"]);
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
    report.assert("noded_exposure", "error", &["0.0.0.0", "-b 127.0.0.1"]);
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

/// In a network namespace of its own: the shipped rules keep the user nobody out, and check proves
/// it.
#[test]
fn the_guard_is_proven() {
    if lab::script("noded").is_none() {
        return;
    }
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/noded-proxy-guard.nft");
    let rules = fs::read_to_string(rules).unwrap();
    // The proxy's user need not exist here, and nft does not stay to own the table.
    let rules = rules
        .replace("root, noded-proxy }", "root }")
        .replace("flags owner", "");
    let node = Node::new(SocketAddr::from(([127, 0, 0, 1], 298)));
    let serve = "socat TCP-LISTEN:298,bind=127.0.0.1,fork,reuseaddr SYSTEM:true &";
    let wait = "until ss -Hltn | grep -q 127.0.0.1:298; do sleep 0.02; done";
    let script = format!("set -e; ip link set lo up; nft -f -; {serve} {wait}; \"$0\" \"$@\"");
    let verdict = |rules: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            "-c",
            &script,
            PROGRAM,
        ]);
        command.arg("check");
        for (flag, value) in &node.flags {
            command.args([*flag, value]);
        }
        command
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        Report::of(&child.wait_with_output().unwrap())
    };
    verdict("").assert(
        "loopback_guard",
        "warning",
        &["systemd/noded-proxy-guard.nft"],
    );
    let guarded = verdict(&rules);
    guarded.assert("loopback_guard", "ok", &["kept out"]);
    guarded.assert("noded_listens", "ok", &["accepted"]);
}
