//! A port that is taken when the proxy starts: it says who has it, goes on without, and takes it as
//! soon as it is free.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;

use crate::handshake::proxy_for;
use crate::support::client::{read_response, rpc, send, tcp};
use crate::support::piped::Piped;
use crate::support::pki::Pki;
use crate::support::stub::StubNoded;
use crate::support::{PATIENCE, wait_until};

const MESSAGE: &str = "cannot listen there, trying again";

fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn the_rpc_port_is_taken_at_the_start_and_free_later() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let stub = StubNoded::usual();
    let manager = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(manager.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let notify = format!("NOTIFY_SOCKET={}", manager.path().join("notify").display());
    let (holder, address) = taken();
    let mut proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .arg(&format!("--listen={address}"))
        .through(&["env", &notify])
        .start();
    let this_process = format!("(pid {})", std::process::id());
    let told = proxy.lines_with(MESSAGE).pop().unwrap();
    assert_eq!(told["address"], address.to_string());
    assert!(
        told["why"].as_str().unwrap().contains(&this_process),
        "{told}"
    );
    let (status, health) = proxy.health();
    assert_eq!(
        (status, &health["ready"], &health["degraded"]),
        (503, &false.into(), &true.into())
    );
    assert_eq!(health["faults"][0]["kind"], "cannot_listen");
    let reason = health["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains(&address.to_string()) && reason.contains(&this_process),
        "{reason}"
    );
    assert_eq!(
        proxy.status()["listening"].as_array().unwrap().len(),
        0,
        "all ports or none"
    );
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let notified = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(
        notified.contains("READY=1") && notified.contains("STATUS=cannot listen"),
        "{notified}"
    );

    drop(holder);
    proxy.wait_for("it listens", |p| p.health().0 == 200);
    assert_eq!(rpc(address, &node, "version", "[]").unwrap().status, 200);
    assert_eq!(proxy.lines_with(MESSAGE).len(), 1);
    assert_eq!(proxy.health().1["degraded"], false);
    proxy.terminate();
    assert!(proxy.wait_exit().success());
}

#[test]
fn a_proxy_that_waits_for_its_port_ends_at_once_when_told() {
    let pki = Pki::new();
    let (_holder, address) = taken();
    let mut proxy = proxy_for(&pki, &pki.client("node1.example.com"))
        .arg(&format!("--listen={address}"))
        .start();
    proxy.terminate();
    assert!(proxy.wait_exit().success());
}

#[test]
fn the_admin_port_is_taken_at_the_start_and_free_later() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let stub = StubNoded::usual();
    let (holder, admin) = taken();
    let mut proxy = Piped::start(&pki, &node, stub.address(), &admin.to_string());
    let told = proxy.line_with("cannot open the admin listener, trying again");
    let this_process = format!("(pid {})", std::process::id());
    assert!(
        told.contains(&admin.to_string()) && told.contains(&this_process),
        "{told}"
    );
    let public = proxy.address_in(" listening address=");
    assert_eq!(rpc(public, &node, "version", "[]").unwrap().status, 200);

    drop(holder);
    proxy.line_with("admin listener open");
    wait_until("it answers", || TcpStream::connect(admin).is_ok());
    let mut stream = tcp(admin).unwrap();
    send(&mut stream, "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n");
    assert_eq!(read_response(&mut stream).status, 200);
}
