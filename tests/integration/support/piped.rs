//! The proxy with its log in a pipe, for tests that read it line by line or stop reading it. It
//! waits for nothing: not for the ports, and not for the admin listener.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

use super::pki::{Identity, Pki, map_text};

/// The running program; it is killed when this is dropped.
pub(crate) struct Piped {
    pub(crate) child: Child,
    /// Its log, until somebody takes it.
    pub(crate) log: Option<Lines<BufReader<ChildStderr>>>,
    _dir: TempDir,
}

impl Piped {
    /// A proxy that admits this node, on any RPC port.
    pub(crate) fn start(pki: &Pki, node: &Identity, upstream: SocketAddr, admin: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("server.pem"), pki.server_pem()).unwrap();
        let map = map_text(&[("uuid-1", node)]);
        fs::write(path("ssconf_master_candidates_certs"), map).unwrap();
        fs::write(path("config"), "").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
            .args(["run", "--listen", "127.0.0.1:0", "--admin", admin])
            .args(["--ssconf-dir", &path(""), "--state-dir", &path("")])
            .args(["--server-pem", &path("server.pem")])
            .args(["--config", &path("config")])
            .args(["--upstream", &upstream.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self {
            child,
            log: Some(log),
            _dir: dir,
        }
    }

    /// Reads on to the next line with these words.
    pub(crate) fn line_with(&mut self, words: &str) -> String {
        let log = self.log.as_mut().expect("the log was taken");
        let mut lines = log.map(Result::unwrap);
        lines.find(|line| line.contains(words)).unwrap()
    }

    /// The address at the end of the next line with these words.
    pub(crate) fn address_in(&mut self, words: &str) -> SocketAddr {
        let line = self.line_with(words);
        line.rsplit_once('=').unwrap().1.parse().unwrap()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
