//! `noded-proxy check`: what is wrong is found and named, what is good is not complained about.

mod live;
mod node;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::pki::{Pki, map_text};
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;
use node::{Node, PROGRAM, Report, host, nowhere};

#[test]
fn a_good_node_has_no_errors() {
    let stub = StubNoded::start(|call| call.answer(b"[true, 3000000]\n"));
    let node = Node::new(stub.address());
    let report = node.check(&[]);
    report.assert("noded_answers", "ok", &["3000000"]);
    report.assert("client_pem_listed", "ok", &["candidate"]);
    assert_eq!(
        report.ids("error"),
        Vec::<&str>::new(),
        "{:#}",
        report.document
    );
    // The stub is on a port that anybody may take, and has no guard in front of it.
    assert_eq!(
        report.ids("warning"),
        ["noded_port", "guard", "loopback_guard"],
        "{:#}",
        report.document
    );
    let seen = &stub.seen()[0];
    assert!(seen.header("user-agent").unwrap().ends_with(" probe"));
    assert!(
        node.path("state").read_dir().unwrap().next().is_none(),
        "check changes nothing"
    );
}

#[test]
fn a_systemd_that_does_not_answer_is_said_and_holds_up_no_check() {
    let node = Node::new(nowhere());
    node.write("bin/systemctl", "#!/bin/sh\nsleep 900\n", 0o755);
    let output = node.run(&mut Command::new(PROGRAM), &["--offline"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "warning  unit_sandbox: it cannot be told what noded-proxy.service keeps the proxy \
                    from: `systemctl show noded-proxy.service` did not end within 10s, and was killed";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("client_pem_listed"), "{text}");
}

#[test]
fn the_text_has_one_line_for_each_finding_and_a_sum() {
    let node = Node::new(nowhere());
    node.write_map("");
    let output = node.run(&mut Command::new(PROGRAM), &["--offline"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (sum, findings) = lines.split_last().unwrap();
    assert!(
        findings
            .iter()
            .all(|l| ["ok      ", "warning ", "error   "].contains(&&l[..8])),
        "{text}"
    );
    assert!(
        findings
            .iter()
            .any(|l| l.starts_with("warning  admission: bootstrap phase")),
        "{text}"
    );
    assert!(
        sum.starts_with(&format!("{} checks, 0 errors, ", findings.len())),
        "{text}"
    );
    // The unit has the rest alone in its journal.
    let quiet = node.run(&mut Command::new(PROGRAM), &["--offline", "--quiet"]);
    let quiet = String::from_utf8(quiet.stdout).unwrap();
    let rest = lines.iter().filter(|line| !line.starts_with("ok "));
    assert!(quiet.lines().eq(rest.copied()), "{text}{quiet}");
}

#[test]
fn a_key_that_the_tls_library_cannot_use_is_refused_as_run_refuses_it() {
    let node = Node::new(nowhere());
    let file = node.path("pss.pem").display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa-pss",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ])
        .args(["-nodes", "-subj", "/CN=ganeti.example.com", "-days", "1000"])
        .args(["-keyout", &file, "-out"])
        .arg(node.path("certificate.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = |name| fs::read_to_string(node.path(name)).unwrap();
    let pem = text("pss.pem") + &text("certificate.pem");
    node.write("ganeti/server.pem", &pem, 0o440);
    let report = node.offline();
    if cfg!(feature = "aws-lc") {
        report.assert("server_pem", "error", &["the TLS library refuses it: "]);
        // `run` starts without it, and names the same fault.
        let proxy = Proxy::with(&Pki::new()).server_pem(&pem).start();
        let (_, health) = proxy.health();
        let reasons = health["reasons"].to_string();
        assert!(
            reasons.contains("the TLS library refuses it: "),
            "{reasons}"
        );
    } else {
        report.assert("server_pem", "ok", &[]);
    }
}

#[test]
fn offline_tries_no_port_and_asks_nobody() {
    let stub = StubNoded::usual();
    let mut node = Node::new(stub.address());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    node.set("--listen", taken.local_addr().unwrap());
    let report = node.offline();
    assert_eq!(
        report.ids("error"),
        Vec::<&str>::new(),
        "{:#}",
        report.document
    );
    for id in [
        "listen",
        "admin",
        "noded_listens",
        "noded_answers",
        "loopback_guard",
    ] {
        assert_eq!(report.finding(id), None);
    }
    assert_eq!(stub.accepted(), 0);
}

#[test]
fn a_wrong_configuration_is_said_as_run_says_it() {
    let node = Node::new(nowhere());
    node.write(
        "config.toml",
        "upstream.max_clients = 0\nlimits.connections = 0\n",
        0o644,
    );
    let output = node.run(&mut Command::new(PROGRAM), &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0));
    let config = node.path("config.toml");
    let run = Command::new(PROGRAM)
        .arg("run")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let first = |output: &Output| {
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .next()
            .map(String::from)
    };
    assert_eq!(first(&output), first(&run));
    let report = node.check(&[]);
    assert_eq!(
        (report.status, &report.document["ok"]),
        (Some(64), &Value::Bool(false))
    );
    assert_eq!(report.finding("configuration").unwrap().0, "error");
}

#[test]
fn server_pem_before_the_cluster_is_waited_for() {
    let node = Node::new(nowhere());
    fs::remove_file(node.path("ganeti/server.pem")).unwrap();
    let report = node.check(&[]);
    report.assert("server_pem", "warning", &["waits"]);
    // A noded that was started here has made a file, on which `gnt-cluster init` gives up.
    report.assert("leftover", "warning", &["gnt-cluster init", "client.pem"]);
    report.assert("noded_listens", "warning", &["joined"]);
    assert_eq!(report.status, Some(0));
}

#[test]
fn faults_of_server_pem_are_told_apart() {
    let node = Node::new(nowhere());
    let own = node.pki.server();
    let mismatch = node
        .client
        .pem
        .replace(&node.client.cert_pem, &own.cert_pem);
    let table = [
        (
            own.cert_pem.clone(),
            0o440,
            "server_pem",
            "error",
            "no private key",
        ),
        (mismatch, 0o440, "server_pem", "error", "fits none"),
        (
            own.pem[..own.pem.len() / 2].to_owned(),
            0o440,
            "server_pem",
            "error",
            "server.pem",
        ),
        (own.pem.clone(), 0o444, "server_pem_mode", "error", "0444"),
        (
            node.pki.renewed_server(20).pem,
            0o400,
            "server_pem_expiry",
            "warning",
            "renew-crypto",
        ),
        (
            node.pki.renewed_server(5).pem,
            0o400,
            "server_pem_expiry",
            "error",
            "renew-crypto",
        ),
    ];
    for (pem, mode, id, verdict, word) in table {
        node.write("ganeti/server.pem", &pem, mode);
        node.offline().assert(id, verdict, &[word, "server.pem"]);
    }
}

#[test]
fn faults_of_the_map_are_told_apart() {
    let node = Node::new(nowhere());
    let good = map_text(&[("uuid-1", &node.client)]);
    let both = map_text(&[("uuid-1", &node.client), ("uuid-2", &node.client)]);
    let left = map_text(&[("uuid-1", &node.client), ("bootstrap", &node.client)]);
    let table = [
        (good.replace(':', ""), "candidate_map", "error", "line 1"),
        (
            both.clone(),
            "candidate_map_duplicates",
            "error",
            "uuid-1 and uuid-2",
        ),
        (both, "candidate_map_count", "warning", "2 entries, but 1"),
        (left, "candidate_map_leftovers", "warning", "bootstrap"),
        (String::new(), "admission", "warning", "bootstrap phase"),
    ];
    for (text, id, verdict, word) in table {
        node.write_map(&text);
        node.offline().assert(id, verdict, &[word]);
    }
}

#[test]
fn the_own_certificate_stands_in_the_map_exactly_if_the_node_is_a_candidate() {
    let node = Node::new(nowhere());
    let other = node.pki.client("other.example.com");
    node.write_map(&map_text(&[("uuid-2", &other)]));
    node.offline().assert(
        "client_pem_listed",
        "error",
        &["master candidate", "not in the map"],
    );
    node.write(
        "ganeti/ssconf_master_candidates",
        "other.example.com\n",
        0o444,
    );
    node.offline()
        .assert("client_pem_listed", "ok", &["normal node"]);
    node.write_map(&map_text(&[("uuid-1", &node.client)]));
    node.offline()
        .assert("client_pem_listed", "error", &["no master candidate"]);
}

#[test]
fn the_own_certificate_is_signed_by_the_present_server_pem() {
    let node = Node::new(nowhere());
    node.write("ganeti/client.pem", &node.pki.foreign(&host()).pem, 0o440);
    node.offline()
        .assert("client_pem_issuer", "warning", &["same name"]);
    node.write("ganeti/client.pem", &node.pki.server_pem(), 0o440);
    node.offline()
        .assert("client_pem_issuer", "error", &["every node holds"]);
    fs::remove_file(node.path("ganeti/client.pem")).unwrap();
    node.offline()
        .assert("client_pem", "error", &["absent", "candidate"]);
}

#[test]
fn the_state_directory_must_be_writable() {
    let mut node = Node::new(nowhere());
    node.set("--state-dir", "/proc/1");
    let report = node.offline();
    if !rustix::process::geteuid().is_root() {
        report.assert("state_dir", "error", &["/proc/1"]);
    }
    node.set("--state-dir", node.path("nowhere").display());
    node.offline().assert("state_dir", "error", &["nowhere"]);
    node.set("--state-dir", node.path("config.toml").display());
    node.offline()
        .assert("state_dir", "error", &["not a directory"]);
}

/// Root may write anywhere, but not on a disk that is full or cannot be written.
#[test]
fn a_state_directory_without_room_is_an_error() {
    if !crate::state_dir::can_mount() {
        return;
    }
    let mut node = Node::new(nowhere());
    let state = node.path("disk");
    fs::create_dir(&state).unwrap();
    node.set("--state-dir", state.display());
    let mount = "mount -t tmpfs -o \"$1\" none \"$2\" || exit
        [ \"$1\" = ro ] || cat /dev/zero >\"$2/fills\" 2>/dev/null
        shift 2; exec \"$@\"";
    for option in ["ro", "size=64k"] {
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "sh", "-c", mount, "sh", option]);
        inside.arg(&state).arg(PROGRAM);
        let output = node.run(&mut inside, &["--json", "--offline"]);
        Report::of(&output).assert("state_dir", "error", &["disk"]);
    }
}

#[test]
fn the_bundle_of_candidates_is_looked_at() {
    let node = Node::new(nowhere());
    let bundle = node.path("bundle.pem");
    let flag = ["--offline", "--candidate-bundle", bundle.to_str().unwrap()];
    node.check(&flag).assert(
        "candidate_bundle",
        "error",
        &["bundle.pem", "remove the key"],
    );
    node.write("bundle.pem", "garbage", 0o644);
    node.check(&flag).assert(
        "candidate_bundle",
        "warning",
        &["0 certificates", "1 of no use"],
    );
    let client = fs::read_to_string(node.path("ganeti/client.pem")).unwrap();
    node.write("bundle.pem", &client, 0o644);
    node.check(&flag).assert(
        "candidate_bundle",
        "ok",
        &["1 certificate of the candidate map"],
    );
    let report = node.check(&flag);
    report.assert("server_pem_issuer", "ok", &["1 of 1"]);
    // Another server.pem: this node's callers give up, and it cannot see why.
    node.write("ganeti/server.pem", &Pki::new().server_pem(), 0o440);
    let report = node.check(&flag);
    report.assert("server_pem_issuer", "warning", &["0 of 1", "error 60"]);
}

#[test]
fn of_the_candidates_directory_it_looks_at_what_the_proxy_reads() {
    let node = Node::new(nowhere());
    fs::create_dir(node.path("candidates")).unwrap();
    let directory = node.path("candidates");
    let flag = [
        "--offline",
        "--candidate-certs",
        directory.to_str().unwrap(),
    ];
    let client = fs::read_to_string(node.path("ganeti/client.pem")).unwrap();
    node.write("candidates/one.pem", &client, 0o644);
    // What `certs distribute` keeps on the master, and what is half written.
    node.write("candidates/.noded-proxy-given", "node n2\n", 0o600);
    node.write("candidates/two.pem.new", "half", 0o644);
    let one = "1 certificate of the candidate map";
    node.check(&flag).assert("candidate_certs", "ok", &[one]);
    node.write("candidates/two.pem", "garbage", 0o644);
    let report = node.check(&flag);
    report.assert(
        "candidate_certs",
        "warning",
        &[one, "1 of no use", "two.pem"],
    );
}

#[test]
fn audit_mode_is_a_warning() {
    let node = Node::new(nowhere());
    let audit = ["--offline", "--mode", "audit"];
    node.check(&audit).assert(
        "admission",
        "warning",
        &["audit mode", "every node can command"],
    );
    node.offline()
        .assert("admission", "ok", &["1 candidate is admitted, of the map"]);
}

#[test]
fn noded_args_are_compared_with_the_configuration() {
    let node = Node::new(nowhere());
    node.write("defaults", "NODED_ARGS=\"\"\n", 0o644);
    node.offline()
        .assert("noded_args", "warning", &["-b 127.0.0.1 -p 1 --no-ssl"]);
    let short = "NODED_ARGS=\"-b 127.0.0.1 -p 1 --no-ssl --max-clients 5\"\n";
    node.write("defaults", short, 0o644);
    node.offline()
        .assert("noded_max_clients", "error", &["= 20", "5"]);
    fs::remove_file(node.path("defaults")).unwrap();
    node.offline().assert("noded_args", "warning", &["absent"]);
}

#[test]
fn a_malformed_list_is_named_with_its_line_and_what_follows() {
    let node = Node::new(nowhere());
    node.offline().assert("ssconf", "ok", &[]);
    let nodes = "ganeti/ssconf_node_primary_ips";
    node.write(nodes, "node1.example.com 192.0.2.1\nnode2\n", 0o444);
    let wrong = "ssconf_node_primary_ips: line 2: not NAME ADDRESS";
    node.offline()
        .assert("ssconf", "warning", &[wrong, "copied certificate"]);
    node.write("config.toml", "admission.bind_peer = \"enforce\"\n", 0o644);
    node.offline()
        .assert("ssconf", "error", &[wrong, "refuses every candidate"]);
    assert_eq!(node.offline().finding("node_offline"), None);
    node.write("ganeti/ssconf_offline_nodes", &host(), 0o444);
    node.offline()
        .assert("node_offline", "warning", &["gnt-node modify -O no"]);
}

#[test]
fn what_the_unit_forbids_is_told_with_the_drop_in_that_allows_it() {
    let node = Node::new(nowhere());
    assert_eq!(node.offline().finding("unit_sandbox"), None); // there is no unit
    let unit = "TimeoutStopUSec=1min 15s\nProtectSystem=strict\nStateDirectory=noded-proxy\n\
                ReadWritePaths=\nInaccessiblePaths=-/srv\nLoadState=loaded\n";
    node.write("unit", unit, 0o644);
    let state = node.path("state").display().to_string();
    let drop_in = format!("ReadWritePaths={state}");
    let report = node.offline();
    report.assert("unit_sandbox", "error", &[&state, &drop_in]);
    report.assert("unit_timeout", "ok", &["1m"]);
    node.write("config.toml", "drain_timeout = \"2m\"\n", 0o644);
    let allowed = unit.replace("ReadWritePaths=", &drop_in);
    node.write("unit", &allowed, 0o644);
    let report = node.offline();
    report.assert("unit_sandbox", "ok", &[]);
    report.assert("unit_timeout", "warning", &["1m 15s", "TimeoutStopSec=135"]);
}
