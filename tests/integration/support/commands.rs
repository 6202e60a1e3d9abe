//! The program's own commands, as somebody types them.

use std::path::Path;
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

/// A hook of the repository with this program in it, as the archive's `install` puts it there, and as
/// Ganeti runs it: with this `PATH`, and nothing else of ours.
pub(crate) fn ganeti_s_hook(name: &str, program: &Path) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("hooks")
        .join(name);
    let (text, usual) = (
        std::fs::read_to_string(file).unwrap(),
        "program=/usr/sbin/noded-proxy",
    );
    assert_eq!(text.matches(usual).count(), 1, "{text}");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(text.replace(usual, &format!("program='{}'", program.display())))
        .env_clear()
        .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin");
    command
}
