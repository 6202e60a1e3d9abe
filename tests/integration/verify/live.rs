//! The running proxy's view. What is in the test machine's own directories is none of this business.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;

/// The findings with the proxy of this admin address.
fn findings(proxy: &Proxy, admin: SocketAddr, upstream: SocketAddr) -> Vec<String> {
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
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    findings
        .map(|found| found["id"].as_str().unwrap().to_owned())
        .filter(|id| id.starts_with("proxy_"))
        .collect()
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
    crate::support::proxy::replace(&proxy.map_path(), b"not a map\n", 0o444);
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
        let script = "/hooks/cluster-verify-post.d/noded-proxy-verify";
        let output = Command::new([env!("CARGO_MANIFEST_DIR"), script].concat())
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", tree.path("bin").display()),
            )
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
