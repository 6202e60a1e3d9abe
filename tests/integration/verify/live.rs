//! The running proxy's view. What is in the test machine's own directories is none of this business.

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
    std::fs::write(&config, format!("ssconf_dir = {directory:?}\n")).unwrap();
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
    std::fs::write(
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
