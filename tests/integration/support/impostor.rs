//! A process of another user on a port that noded should have, or the proxy.
//!
//! It needs root, to become that user. Where the tests have it not they say so and pass.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait_until;

/// nobody's uid.
pub(crate) const NOBODY: u32 = 65_534;

/// Listens, keeps what it is sent, and answers with what it is told.
pub(crate) struct Impostor {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

/// Connections and bytes go to files of its own directory.
const SCRIPT: &str = r#"
import os, socket, sys
port, uid, directory, answer = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.chdir(directory)
os.setgroups([]); os.setgid(uid); os.setuid(uid)
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", port)); s.listen(16)
received = open("received", "ab", 0)
accepted = open("accepted", "ab", 0)
print(s.getsockname()[1], flush=True)
while True:
    c = s.accept()[0]
    accepted.write(b".")
    c.settimeout(5)
    try:
        received.write(c.recv(65536))
        c.sendall(answer.encode())
    except OSError: pass
    c.close()
"#;

impl Impostor {
    /// As nobody, on a port of its choice; nothing where the tests are not root.
    pub(crate) fn start() -> Option<Self> {
        Self::at(0, NOBODY, "HTTP/1.0 200 OK\r\n\r\n")
    }

    /// On this port, as this user, with this answer.
    pub(crate) fn at(port: u16, uid: u32, answer: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can listen as another user");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().to_str().unwrap();
        Command::new("chmod").args(["777", name]).status().unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SCRIPT, &port.to_string(), &uid.to_string()])
            .args([name, answer])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut ready).unwrap();
        let port: u16 = ready.trim().parse().expect("the impostor listens");
        Some(Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            dir,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was sent so far.
    pub(crate) fn received(&self) -> String {
        let bytes = fs::read(self.dir.path().join("received")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many connections it has accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        fs::read(self.dir.path().join("accepted")).unwrap().len()
    }

    /// Waits until it has accepted so many.
    pub(crate) fn wait_accepted(&self, connections: usize) {
        wait_until("the impostor accepts", || self.accepted() >= connections);
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
