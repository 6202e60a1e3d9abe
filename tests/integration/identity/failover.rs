//! The failover of the mail of May 2015: `server.pem` was made on an old distribution
//! (PrintableString), the new master's self-signed `client.pem` on a new one (UTF8String). It has
//! the same name to people, and another to GnuTLS.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use openssl::asn1::Asn1Type;

use super::clients::{VERSIONS, installed, save, wget, wget_page};
use super::minted::Wish;
use crate::support::lab::script;
use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

/// `server.pem` of the old distribution and the new master's `client.pem`.
fn wheezy_and_jessie() -> (Identity, Identity) {
    let of = |string_type| {
        Wish {
            string_type,
            ..Wish::default()
        }
        .mint()
    };
    (of(Asn1Type::PRINTABLESTRING), of(Asn1Type::UTF8STRING))
}

/// The real noded on files of our own; it ends with its standard input.
struct Noded {
    address: SocketAddr,
    child: Child,
}

impl Noded {
    fn start(script: &Path, state: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(script)
            .args(["run", "--until-eof", "--no-mlock", "--state"])
            .arg(state)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut ready).unwrap();
        let url = ready.split_whitespace().nth(1).unwrap_or_default();
        let address = url.split("://").nth(1).unwrap_or(&ready).parse().unwrap();
        Self { address, child }
    }
}

impl Drop for Noded {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that sends the names of `-CAfile` alone, which is what noded does with `server.pem`.
fn s_server(port: u16, server: &Path, ca: &Path) -> Killed {
    let child = Command::new("openssl")
        .args(["s_server", "-www", "-Verify", "1", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .args([Path::new("-cert"), server, Path::new("-key"), server])
        .args([Path::new("-CAfile"), ca])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("s_server listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Killed(child)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_strict_client_fails_at_a_server_that_sends_the_one_name_and_is_admitted_by_the_proxy() {
    if !["wget", "openssl"].into_iter().all(installed) {
        return;
    }
    let (server, master) = wheezy_and_jessie();
    let files = tempfile::tempdir().unwrap();
    let server_pem = save(files.path(), "server.pem", &server);
    let master_pem = save(files.path(), "client.pem", &master);
    let port = free_port();
    let old = s_server(port, &server_pem, &server_pem);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for version in VERSIONS {
        let found = wget_page(address, &master_pem, version);
        assert!(
            found.is_err(),
            "offered against the list, {version:?}: {found:?}"
        );
    }
    drop(old);
    // The same server with the exact name in its list takes it: the string type was what it failed
    // for.
    let exact = s_server(port, &server_pem, &master_pem);
    for version in VERSIONS {
        assert!(
            wget_page(address, &master_pem, version).is_ok(),
            "{version:?}"
        );
    }
    drop(exact);
    let stub = StubNoded::usual();
    let proxy = Proxy::with(&Pki::new())
        .server_pem(&server.pem)
        .candidates(&[("master", &master)])
        .upstream(stub.address())
        .start();
    let admitted = Ok("[true, \"version\"]".to_owned());
    assert_eq!(
        wget(proxy.addr(), &master_pem, VERSIONS[0]),
        admitted,
        "not known yet"
    );
    proxy.wait_for("the certificate is known", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
    for version in VERSIONS {
        assert_eq!(wget(proxy.addr(), &master_pem, version), admitted, "known");
    }
}

/// The same against the real noded, with its own TLS and behind the proxy.
#[test]
fn the_real_noded_locks_a_strict_new_master_out_and_the_proxy_lets_it_in() {
    let Some(noded) = script("noded") else { return };
    if !installed("wget") {
        return;
    }
    let (server, master) = wheezy_and_jessie();
    let state = tempfile::tempdir().unwrap();
    let data = state.path().join("var/lib/ganeti");
    std::fs::create_dir_all(&data).unwrap();
    save(&data, "server.pem", &server);
    let master_pem = save(&data, "client.pem", &master);
    // Beside it, a candidate whose name has the string type of server.pem: noded takes that one.
    let same_type = wheezy_and_jessie().0;
    let same_type_pem = save(&data, "same-type.pem", &same_type);
    let map = state.path().join("map");
    std::fs::write(&map, map_text(&[("u1", &master), ("u2", &same_type)])).unwrap();
    let map = map.display().to_string();
    let direct = Noded::start(&noded, state.path(), &["--map", &map]);
    for version in VERSIONS {
        let found = wget(direct.address, &master_pem, version);
        assert!(found.is_err(), "noded admitted it, {version:?}: {found:?}");
        let taken = wget(direct.address, &same_type_pem, version);
        assert!(taken.is_ok(), "{version:?}: {taken:?}");
    }
    drop(direct);
    let plain = Noded::start(&noded, state.path(), &["--map", "client", "--no-ssl"]);
    let proxy = Proxy::with(&Pki::new())
        .server_pem(&server.pem)
        .candidates(&[("master", &master)])
        .upstream(plain.address)
        .start();
    let unknown = wget(proxy.addr(), &master_pem, VERSIONS[0]);
    proxy.wait_for("the certificate is known", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
    let known = VERSIONS.map(|version| wget(proxy.addr(), &master_pem, version));
    for answer in [unknown].iter().chain(&known) {
        let answer = answer.as_ref().map(|text| text.contains("[true, "));
        assert_eq!(answer, Ok(true));
    }
}
