//! The running proxy's view. What is in the test machine's own directories is none of this business.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::identity::rules::admitted_from;
use crate::support::commands::ganeti_s_hook;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, replace};
use crate::support::stub::StubNoded;

/// The ids of all findings with the proxy of this admin address.
fn findings(proxy: &Proxy, admin: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let document = document(proxy, admin, upstream);
    let findings = document["findings"].as_array().unwrap().iter();
    findings
        .map(|found| found["id"].as_str().unwrap().to_owned())
        .filter(|id| id.starts_with("proxy_"))
        .collect()
}

fn document(proxy: &Proxy, admin: SocketAddr, upstream: SocketAddr) -> Value {
    let directory = proxy.map_path().parent().unwrap().to_owned();
    let config = proxy.dir().join("verify.toml");
    fs::write(&config, format!("ssconf_dir = {directory:?}\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["verify", "--json", "--guard", "off", "--config"])
        .arg(config)
        .args(["--admin", &admin.to_string()])
        .args(["--upstream", &upstream.to_string()])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One certificate comes from two nodes' addresses: it was copied from one to the other.
#[test]
fn a_certificate_that_the_proxy_saw_from_two_nodes_is_found_and_names_both() {
    let (stub, pki) = (StubNoded::usual(), Pki::new());
    let [one, two] = ["node1.example.com", "node2.example.com"].map(|name| pki.client(name));
    let proxy = Proxy::with(&pki)
        .candidates(&[("u1", &one), ("u2", &two)])
        .upstream(stub.address())
        .start();
    let directory = proxy.map_path();
    let ssconf = |name: &str, text: &str| {
        replace(&directory.with_file_name(name), text.as_bytes(), 0o444);
    };
    ssconf("ssconf_node_list", "node1.example.com\nnode2.example.com\n");
    ssconf("ssconf_master_candidates_ips", "127.0.0.1\n127.0.0.2\n");
    ssconf(
        "ssconf_node_primary_ips",
        "node1.example.com 127.0.0.1\nnode2.example.com 127.0.0.2\n",
    );
    let admin = proxy.admin();
    let shared = || -> Vec<Value> {
        let document = document(&proxy, admin, stub.address());
        let findings = document["findings"].as_array().unwrap().iter();
        let shared = findings.filter(|found| found["id"] == "certificate_shared");
        shared.cloned().collect()
    };
    proxy.sighup();
    proxy.wait_for("both have come from their own nodes", |proxy| {
        let come = [(&one, "127.0.0.1"), (&two, "127.0.0.2")];
        let come = come.map(|(node, from)| admitted_from(proxy, node, from)) == [true; 2];
        let candidates = &proxy.get("/certs").json()["candidates"];
        let nodes = |at: usize| candidates[at]["seen"]["nodes"].to_string();
        let own = [0, 1].map(nodes).concat();
        come && own.contains("node1") && own.contains("node2")
    });
    assert_eq!(shared(), [Value::Null; 0]);
    assert!(admitted_from(&proxy, &one, "127.0.0.2"));
    proxy.wait_for("the copy has come", |_| !shared().is_empty());
    let found = &shared()[0];
    let expected = format!(
        "{} was used by node1.example.com and node2.example.com",
        one.digest
    );
    assert_eq!(
        (&found["what"], &found["subject"], &found["severity"]),
        (
            &expected.into(),
            &one.digest.as_str().into(),
            &"error".into()
        )
    );
    assert_eq!(shared().len(), 1, "nothing of the one that was not copied");
}

#[test]
fn the_view_of_the_running_proxy_is_part_of_it() {
    let (stub, pki) = (StubNoded::usual(), Pki::new());
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &node)]);
    let proxy = proxy
        .upstream(stub.address())
        .config("admission.mode = \"audit\"")
        .start();
    let admin = proxy.admin();
    fs::write(
        proxy.map_path().with_file_name("ssconf_node_list"),
        "node1\n",
    )
    .unwrap();
    let found = || findings(&proxy, admin, stub.address());
    proxy.wait_for("only audit mode is told", |_| found() == ["proxy_audit"]);
    replace(&proxy.map_path(), b"not a map\n", 0o444);
    proxy.wait_for("the map is told", |_| {
        found() == ["proxy_audit", "proxy_map"]
    });
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(findings(&proxy, nobody, stub.address()), ["proxy_down"]);
}

/// As Ganeti runs it, with a program that looks at a recorded tree.
#[test]
fn the_hook_says_the_errors_in_one_line() {
    let tree = super::tree::Recorded::of(super::NORMAL);
    let run = || {
        let hook = "cluster-verify-post.d/noded-proxy-verify";
        let output = ganeti_s_hook(hook, &tree.path("bin/noded-proxy"))
            .output()
            .unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.stderr.is_empty() && line.lines().count() == 1,
            "{line}"
        );
        (output.status.success(), line)
    };
    let (good, line) = run();
    assert!(
        !good && line.contains("noded-proxy is not installed"),
        "{line}"
    );
    let program = format!(
        "#!/bin/sh\nexec {} \"$@\" --root {}\n",
        env!("CARGO_BIN_EXE_noded-proxy"),
        tree.path("").display()
    );
    tree.put("bin/noded-proxy", program, 0o755);
    assert!(run().0, "{}", run().1);
    tree.chmod("var/lib/ganeti/server.pem", 0o444);
    let (good, line) = run();
    assert!(
        !good && line.contains("n3.example.com: noded-proxy verify: secret_readable"),
        "{line}"
    );
}
