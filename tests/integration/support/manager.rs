//! systemd's side of sd_notify(3).

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::process::Pid;
use tempfile::TempDir;

use super::PATIENCE;

/// A service manager that listens.
pub(crate) struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { dir, socket }
    }

    /// The variable that names it.
    pub(crate) fn path(&self) -> String {
        let path: &Path = self.dir.path();
        format!("NOTIFY_SOCKET={}", path.join("notify").display())
    }

    /// Reads messages until one has a line that begins so.
    pub(crate) fn wait_for(&self, line: &str) -> String {
        self.wait_for_before(line, "nothing")
    }

    /// The same; no line that comes before may begin like the second one. Of a message with more than
    /// 4096 bytes systemd takes nothing.
    pub(crate) fn wait_for_before(&self, line: &str, never: &str) -> String {
        let mut buffer = [0; 4097];
        loop {
            let length = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("no {line}: {e}"));
            assert!(length <= 4096, "a message that is too long");
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            let spoken = message.lines().any(|found| found.starts_with(never));
            assert!(!spoken, "{message}");
            if message.lines().any(|found| found.starts_with(line)) {
                return message;
            }
        }
    }

    /// With this socket in place of its own.
    pub(crate) fn at(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            ..Self::new()
        }
    }

    /// The last main process of which it was told since it was asked last.
    pub(crate) fn new_main(&self) -> Option<Pid> {
        let (mut buffer, mut last) = ([0; 4096], None);
        self.socket.set_nonblocking(true).unwrap();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let mut lines = message.lines();
            let pid = lines.find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok());
            last = pid.and_then(Pid::from_raw).or(last);
        }
        self.socket.set_nonblocking(false).unwrap();
        last
    }
}
