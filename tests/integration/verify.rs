//! `noded-proxy verify` on recorded trees of a good cluster's nodes, each with one fault that was
//! made by hand; and what it says of a running proxy.

mod cluster;
mod faults;
mod live;
mod many;
mod modes;
mod offline;
pub(crate) mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use tree::{Recorded, cluster};

const MASTER: usize = 0;
const CANDIDATE: usize = 1;
const NORMAL: usize = 2;

/// Exit status and document.
fn document(tree: &Recorded, arguments: &[&str]) -> (i32, Value) {
    let output = tree.verify(&[&["--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text);
    let document = document.unwrap_or_else(|_| panic!("{text}: {:?}", output.stderr));
    (output.status.code().unwrap(), document)
}

fn ids(document: &Value) -> BTreeSet<&str> {
    let findings = document["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|found| found["id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_good_cluster_has_no_findings() {
    for node in [MASTER, CANDIDATE, NORMAL] {
        let (status, document) = document(&Recorded::of(node), &[]);
        assert_eq!(
            document["findings"].as_array().unwrap().len(),
            0,
            "{document:#}"
        );
        assert_eq!((status, &document["host"]), (0, &tree::NODES[node].into()));
    }
}

/// How an empty directory and trees that lack what each node has are told of.
#[test]
fn what_is_no_tree_of_a_node_is_said_and_has_no_findings() {
    let data = "it has no directory /var/lib/ganeti";
    let name = "its /etc/hostname does not name it";
    for (file, expected) in [
        ("x", data),
        ("var/lib/ganeti", data),
        ("var/lib/ganeti/x", name),
        ("etc/hostname", data),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        let root = dir.path().display().to_string();
        let expected = format!("--root {root}: this is no tree of a node: {expected}\n");
        for options in [&[][..], &["--json"], &["--metrics", &format!("{root}/m")]] {
            let verify = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
                .args(["verify", "--root", &root])
                .args(options)
                .output()
                .unwrap();
            let said = String::from_utf8(verify.stderr).unwrap();
            assert_eq!(said, format!("noded-proxy: {expected}"), "{file}");
            assert_eq!((verify.status.code(), verify.stdout.len()), (Some(2), 0));
            assert!(!dir.path().join("m").exists());
        }
        let line = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
            .args(["verify", "--nagios", "--root", &root])
            .output()
            .unwrap();
        let said = String::from_utf8(line.stdout).unwrap();
        assert!(
            said.starts_with("VERIFY UNKNOWN - ") && said.ends_with(&expected),
            "{said}"
        );
        assert_eq!(line.status.code(), Some(3));
    }
}

#[test]
fn hostile_files_are_findings_and_no_secret_is_shown() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("shadow"), "ssh-rsa secret-of-another").unwrap();
    let tree = Recorded::of(NORMAL);
    tree.ssh("authorized_keys", &vec![b'x'; 5 << 20], 0o600);
    tree.link(&outside.path().join("shadow"), "root/.ssh/authorized_keys2");
    tree.link(Path::new("/dev/zero"), "root/.ssh/endless");
    tree.data("rapi/users", "u secret-password write\n", 0o640);
    let text = tree.verify(&[]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("unreadable: /root/.ssh/authorized_keys: it has more than"),
        "{text}"
    );
    assert!(text.contains("rapi_password"), "{text}");
    assert!(!text.contains("secret-"), "{text}");
}

#[test]
fn what_is_allowed_or_ignored_is_not_found() {
    let (tree, cluster) = (Recorded::of(NORMAL), cluster());
    tree.authorize(&cluster.stranger.line("admin@desk"));
    let rapi = cluster.pki.self_signed("api");
    tree.data("rapi.pem", &rapi.pem, 0o440);
    let config = format!(
        "[verify]\nallow_ssh_keys = [\"{}\"]\nignore = [\"rapi_key_here\"]\n",
        cluster.stranger.fingerprint
    );
    tree.put("config.toml", config, 0o644);
    let config = tree.path("config.toml");
    let (status, document) = document(&tree, &["--config", config.to_str().unwrap()]);
    assert_eq!(
        (status, ids(&document)),
        (0, BTreeSet::new()),
        "{document:#}"
    );
    let wrong = "[verify]\nallow_ssh_keys = [\"admin\"]\n";
    tree.put("config.toml", wrong, 0o644);
    let refused = tree.verify(&["--config", config.to_str().unwrap()]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{told}");
    assert!(
        told.contains("verify.allow_ssh_keys = admin: expected SHA256:"),
        "{told}"
    );
}

#[test]
fn lines_for_programs_and_metrics() {
    let (tree, cluster) = (Recorded::of(NORMAL), cluster());
    let said = |arguments: &[&str]| {
        let output = tree.verify(arguments);
        assert!(output.stderr.is_empty(), "{:?}", output.stderr);
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.is_ascii() && line.lines().count() == 1, "{line}");
        (output.status.code().unwrap(), line)
    };
    let good = said(&["--hook"]);
    assert_eq!(
        good,
        (0, "n3.example.com: noded-proxy verify: no errors\n".into())
    );
    assert_eq!(said(&["--nagios"]).0, 0);
    tree.authorize(&cluster.stranger.line("admin@desk"));
    assert_eq!(said(&["--hook"]), good, "warnings are not for the hook");
    assert_eq!(said(&["--nagios"]).0, 1);
    tree.data("client.pem", &cluster.clients[0].pem, 0o440);
    let (status, line) = said(&["--hook"]);
    assert!(
        status == 1 && line.contains("client_stolen (/var/lib/ganeti/client.pem)"),
        "{line}"
    );
    let (status, line) = said(&["--nagios"]);
    assert!(
        status == 2 && line.starts_with("VERIFY CRITICAL - n3.example.com: "),
        "{line}"
    );
    let file = tree.path("verify.prom");
    assert_eq!(
        said(&["--nagios", "--metrics", file.to_str().unwrap()]).0,
        2
    );
    let metrics = fs::read_to_string(file).unwrap();
    assert!(
        metrics.contains("noded_proxy_verify_findings{id=\"client_stolen\"} 1\n"),
        "{metrics}"
    );
    // The line must not say that all is well before it is known that the metrics are written.
    let nowhere = tree.path("nowhere/verify.prom");
    let (status, line) = said(&["--nagios", "--metrics", nowhere.to_str().unwrap()]);
    assert!(
        status == 3 && line.starts_with("VERIFY UNKNOWN - ") && line.contains("--metrics"),
        "{status}: {line}"
    );
}

/// The program, without root's right to read what its mode forbids.
fn without_rights() -> Command {
    let program = env!("CARGO_BIN_EXE_noded-proxy");
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut wrapped = Command::new("setpriv");
    let drop = "--bounding-set=-dac_override,-dac_read_search";
    wrapped.args([drop, "--inh-caps=-all", program]);
    wrapped
}

#[test]
fn what_cannot_be_looked_at_is_status_2() {
    let nothing = tempfile::tempdir().unwrap();
    let tree = Recorded::of(NORMAL);
    tree.remove("var/lib/ganeti/ssconf_node_list");
    let (status, text) = document(&tree, &[]);
    assert_eq!(
        (status, &text["could_not_look_at"][0]),
        (2, &"ssconf_node_list".into())
    );
    let closed = Recorded::of(NORMAL);
    closed.chmod("root/.ssh/authorized_keys", 0);
    let nowhere = nothing.path().join("no");
    for root in [nowhere, closed.path("")] {
        let mut command = without_rights();
        let command = command.args(["verify", "--nagios", "--root"]).arg(&root);
        let output = command.output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{line}");
        assert!(line.starts_with("VERIFY UNKNOWN - "), "{line}");
    }
}
