//! The program's own commands, as somebody types them.

use std::process::{Command, Stdio};

use super::proxy::Proxy;

/// What `explain --peer` says of the address that the tests call from.
pub(crate) fn explain_peer(proxy: &Proxy) -> String {
    let explain = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["explain", "--peer", "127.0.0.1", "--admin"])
        .arg(proxy.admin().to_string())
        .output()
        .unwrap();
    String::from_utf8_lossy(&explain.stdout).into_owned()
}

/// A command ends without a word where nobody reads what it shows, as `status | head -3` does.
#[track_caller]
pub(crate) fn assert_ends_quietly_unread(arguments: &[&str]) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take()); // before anything was read
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.is_empty(), "{arguments:?}: {told}");
}
