//! Which lines the log has, and in what form where standard error is systemd's journal.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::handshake::proxy_for;
use crate::support::client::{admitted, rpc};
use crate::support::pki::Pki;
use crate::support::stub::StubNoded;

/// Has a good RPC, one that noded fails, one that is refused, and a refused connection: of the RPCs,
/// these have a line.
fn told_are(rpcs: &str, expected: &[&str]) {
    let pki = Pki::new();
    let (node, other) = (pki.client("node1"), pki.client("node2"));
    let stub = StubNoded::start(|call| {
        call.read_request();
        if call.procedure() != "fails" {
            call.answer_as_noded();
        }
    });
    let config = format!("log.rpcs = \"{rpcs}\"\n[policy]\ndeny = [\"node_stop_master\"]");
    let proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .config(&config)
        .start();
    for procedure in ["version", "fails", "node_stop_master"] {
        let _ = rpc(proxy.addr(), &node, procedure, "[]");
    }
    assert!(!admitted(proxy.addr(), &other));
    for code in ["200\",procedure=\"version", "502\",procedure=\"other"] {
        let counted = format!("noded_proxy_rpcs_total{{code=\"{code}\"}}");
        proxy.wait_for("it is counted", |p| p.metric(&counted) == 1.0);
    }
    // The lines come in the order of what they tell, so those before this one are there too.
    proxy.wait_for("the connection is told", |p| p.logged("refused"));
    proxy.wait_for("the RPCs are told", |p| {
        p.lines_with("rpc").len() >= expected.len()
    });
    let told = proxy.lines_with("rpc");
    let procedures = told.iter().map(|line| line["procedure"].as_str().unwrap());
    assert_eq!(
        procedures.collect::<BTreeSet<_>>(),
        expected.iter().copied().collect()
    );
    let reason = |of: &str| {
        let line = told.iter().find(|line| line["procedure"] == of)?;
        line["reason"].as_str()
    };
    assert_eq!(
        (reason("node_stop_master"), reason("version")),
        (Some("policy"), None)
    );
    let failed = expected.contains(&"fails").then_some("empty_reply");
    assert_eq!(reason("fails"), failed);
}

#[test]
fn each_rpc_has_its_line() {
    told_are("all", &["version", "fails", "node_stop_master"]);
}

#[test]
fn rpcs_that_go_well_can_be_left_out() {
    told_are("failed", &["fails", "node_stop_master"]);
}

#[test]
fn refusals_are_told_also_without_any_rpc() {
    told_are("none", &["node_stop_master"]);
}

/// The first line on standard error of a proxy that starts in this environment.
fn first_line(environment: &str, flags: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let script = format!("{environment} exec \"$@\"");
    let mut child = Command::new("sh")
        .args([
            "-c",
            &script,
            "sh",
            env!("CARGO_BIN_EXE_noded-proxy"),
            "run",
        ])
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--upstream", "127.0.0.1:1", "--guard", "off"])
        .args(["--config", "/dev/null", "--state-dir", &path("state")])
        .args(["--server-pem", &path("none"), "--ssconf-dir", &path("")])
        .args(flags)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    line
}

/// Whether a line begins with a date.
fn is_dated(line: &str) -> bool {
    assert!(line.len() > 20, "{line}");
    line.trim_start().starts_with("20")
}

const HERE: &str = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2);";

#[test]
fn a_line_of_text_has_its_time_but_not_in_the_journal() {
    assert!(is_dated(&first_line("", &["--log-format", "text"])));
    let journal = first_line(HERE, &["--log-format", "text"]);
    assert!(!is_dated(&journal), "{journal}");
}

/// A program whose standard error was turned elsewhere inherits the variable all the same.
#[test]
fn a_journal_that_is_somewhere_else_changes_nothing() {
    assert!(is_dated(&first_line("export JOURNAL_STREAM=8:1;", &[])));
}

#[test]
fn a_form_that_was_chosen_is_taken_in_the_journal_too() {
    let line = first_line(HERE, &["--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["timestamp"].is_string(), "{line}");
}
