//! Ends of a transfer: the program under test, or Ganeti's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::pki::{Identity, Pki};
use crate::support::wait_until;

/// Where Ganeti has its own program.
const ORIGINAL: &str = "/usr/lib/ganeti/import-export";

pub(super) const MAGIC: &str = "0123456789abcdef0123456789abcdef01234567";

/// Which program an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Ganetis,
}

pub(super) use Kind::{Ganetis, Ours};

/// Whether Ganeti's own program can be run. If not, the test says so and passes.
pub(super) fn can_run(kinds: &[Kind]) -> bool {
    if !kinds.contains(&Ganetis) {
        return true;
    }
    is_there(ORIGINAL.as_ref()) && is_there("/usr/bin/socat".as_ref())
}

fn is_there(program: &Path) -> bool {
    let is_there = program.exists();
    if !is_there {
        let program = program.display();
        eprintln!("NOT TESTED: {program} is not installed (tests/lab/setup)");
        let required = std::env::var_os("NODED_PROXY_REQUIRE_LAB").is_some_and(|v| v == "1");
        assert!(!required, "{program} is required");
    }
    is_there
}

/// Whether the program is there with which Ganeti's own compresses. If not, the test says so and
/// passes; with `NODED_PROXY_REQUIRE_LAB=1` it fails.
pub(super) fn has_tool(tool: &str, kinds: &[Kind]) -> bool {
    !kinds.contains(&Ganetis) || is_there(&Path::new("/usr/bin").join(tool))
}

/// The program without arguments, with the umask that noded has.
pub(super) fn program(kind: Kind) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    match kind {
        Ours => command.args([env!("CARGO_BIN_EXE_noded-proxy"), "import-export"]),
        Ganetis => command.arg(ORIGINAL),
    };
    command
}

/// A directory with the certificates of a transfer.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    importer: Identity,
    exporter: Identity,
    /// The status files are where noded has them, so that transfers are counted.
    pub(super) as_noded: bool,
    /// The configuration of OpenSSL for Ganeti's program, if not the machine's.
    pub(super) openssl: Option<PathBuf>,
}

impl Bench {
    /// Inside a cluster: both ends have `server.pem`.
    pub(super) fn of_a_cluster() -> Self {
        let pki = Pki::new();
        Self::with(pki.server().clone(), pki.server().clone())
    }

    /// Between clusters: each end has a throw-away certificate with its node's name.
    pub(super) fn of_a_move() -> Self {
        let pki = Pki::new();
        Self::with(
            pki.self_signed("dst.example.com"),
            pki.self_signed("src.example.com"),
        )
    }

    pub(super) fn with(importer: Identity, exporter: Identity) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("importer.pem", &importer.pem),
            ("importer.crt", &importer.cert_pem),
            ("exporter.pem", &exporter.pem),
            ("exporter.crt", &exporter.cert_pem),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self {
            dir,
            importer,
            exporter,
            as_noded: false,
            openssl: None,
        }
    }

    pub(super) fn exporter(&self) -> &Identity {
        &self.exporter
    }

    pub(super) fn importer(&self) -> &Identity {
        &self.importer
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file with so many bytes that do not repeat, and its name.
    pub(super) fn disk(&self, size: usize) -> PathBuf {
        let path = self.path("disk");
        fs::write(&path, noise(size)).unwrap();
        path
    }

    /// Where the status of an end is.
    pub(super) fn status_of(&self, mode: &str) -> PathBuf {
        let name = match self.as_noded {
            true => format!("run/import-export/{mode}-disk0-2026-11-28_01_27_38-x"),
            false => format!("{mode}-status"),
        };
        self.path(&name).join("status")
    }

    fn end(&self, kind: Kind, mode: &str, peer: &str) -> Command {
        let status = self.status_of(mode);
        fs::create_dir_all(status.parent().unwrap()).unwrap();
        let mut command = program(kind);
        if let (Ganetis, Some(path)) = (kind, &self.openssl) {
            command.env("OPENSSL_CONF", path);
        }
        let own = self.path(&format!("{mode}er.pem"));
        command.arg(status).arg(mode);
        command.arg(format!("--key={}", own.display()));
        command.arg(format!("--cert={}", own.display()));
        command.arg(format!("--ca={}", self.path(peer).display()));
        command.arg(format!("--magic={MAGIC}"));
        command
    }

    /// An importer, as noded starts one.
    pub(super) fn import(&self, kind: Kind, suffix: &str, more: &[&str]) -> End {
        let mut command = self.end(kind, "import", "exporter.crt");
        command.args(["--ipv4", "--compress=none", "--connect-timeout=60"]);
        command.arg(format!("--cmd-suffix={suffix}")).args(more);
        End::start(command, self.status_of("import"))
    }

    /// An exporter, as noded starts one.
    pub(super) fn export(&self, kind: Kind, port: u16, prefix: &str, more: &[&str]) -> End {
        let mut command = self.end(kind, "export", "importer.crt");
        command.args(["--ipv4", "--host=127.0.0.1", "--compress=none"]);
        command.args(["--connect-retries=10", "--connect-timeout=20"]);
        command.arg(format!("--port={port}"));
        command.arg(format!("--cmd-prefix={prefix}")).args(more);
        End::start(command, self.status_of("export"))
    }

    /// Without a command, and over IPv6.
    pub(super) fn import_v6(&self, kind: Kind, suffix: &str) -> End {
        let mut command = self.end(kind, "import", "exporter.crt");
        command.args(["--ipv6", "--compress=none", "--connect-timeout=60"]);
        command.arg(format!("--cmd-suffix={suffix}"));
        End::start(command, self.status_of("import"))
    }

    /// The same for an exporter.
    pub(super) fn export_v6(&self, kind: Kind, port: u16, suffix: &str) -> End {
        let mut command = self.end(kind, "export", "importer.crt");
        command.args(["--ipv6", "--host=::1", "--compress=none"]);
        command.args(["--connect-retries=10", "--connect-timeout=20"]);
        command.arg(format!("--port={port}")).arg(suffix);
        End::start(command, self.status_of("export"))
    }

    /// An importer of ours that another program starts, which leaves what it got as
    /// [`Bench::importing`] does.
    pub(super) fn importing_through(&self, program: &[&str]) -> End {
        let own = self.end(Ours, "import", "exporter.crt");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(own.get_program());
        command
            .args(own.get_args())
            .args(["--ipv4", "--compress=none"]);
        command.arg(format!("--cmd-suffix={}", self.keeps()));
        End::start(command, self.path("import-status/status"))
    }

    /// An exporter of ours that another program starts.
    pub(super) fn export_through(&self, program: &[&str], port: u16, prefix: &str) -> End {
        let own = self.end(Ours, "export", "importer.crt");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(own.get_program());
        command.args(own.get_args());
        command.args(["--ipv4", "--host=127.0.0.1", "--compress=none"]);
        command.arg(format!("--port={port}"));
        command.arg(format!("--cmd-prefix={prefix}"));
        End::start(command, self.status_of("export"))
    }

    /// The same, with `pid` open, as noded leaves it.
    pub(super) fn export_with_open_file(&self, port: u16, prefix: &str) -> End {
        let script = format!("exec 9>{}; exec \"$@\"", self.path("pid").display());
        self.export_through(&["bash", "-c", &script, "bash"], port, prefix)
    }

    /// An importer that leaves what it got in `got`, and in `done` when it believes that it has all.
    pub(super) fn importing(&self, kind: Kind, more: &[&str]) -> End {
        self.import(kind, &self.keeps(), more)
    }

    fn keeps(&self) -> String {
        let (got, done) = (self.path("got"), self.path("done"));
        format!("| ( cat > {}; touch {} )", got.display(), done.display())
    }

    /// What the import command got.
    pub(super) fn got(&self) -> Vec<u8> {
        fs::read(self.path("got")).unwrap_or_default()
    }

    /// Whether the import command saw the end of its input.
    pub(super) fn saw_end(&self) -> bool {
        self.path("done").exists()
    }

    /// The prefix that sends the disk.
    pub(super) fn cat(&self) -> String {
        format!("cat {} |", self.path("disk").display())
    }
}

/// Bytes that do not repeat.
pub(super) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A running end. It is killed when the test ends.
pub(super) struct End {
    child: Child,
    status: PathBuf,
}

impl End {
    pub(super) fn start(mut command: Command, status: PathBuf) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::create(status.with_extension("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        Self { child, status }
    }

    /// What the status file says.
    pub(super) fn status(&self) -> Value {
        let text = fs::read_to_string(&self.status).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The port it listens on, once it does.
    #[track_caller]
    pub(super) fn port(&self) -> u16 {
        wait_until("it listens", || self.status()["listen_port"].is_u64());
        self.status()["listen_port"].as_u64().unwrap() as u16
    }

    /// Waits for the end: whether it succeeded, by status file and exit status, which agree.
    #[track_caller]
    pub(super) fn succeeds(&mut self) -> bool {
        let mut ended: Option<ExitStatus> = None;
        wait_until("it ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        let status = self.status();
        let good = status["exit_status"] == 0;
        let exit = ended.is_some_and(|exit| exit.success());
        assert_eq!(good, exit, "{status}");
        assert_eq!(good, status["error_message"].is_null(), "{status}");
        good
    }

    /// Waits for an end that was forced.
    #[track_caller]
    pub(super) fn reap(&mut self) {
        wait_until("it is gone", || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
    }

    /// All lines that Ganeti would show.
    pub(super) fn output(&self) -> String {
        let status = self.status();
        let lines = status["recent_output"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
        lines.join("\n")
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::TERM);
            if std::thread::panicking() {
                let _ = self.child.kill(); // a second panic would hide the first
                let _ = self.child.wait();
                return;
            }
            wait_until("it obeys SIGTERM", || {
                matches!(self.child.try_wait(), Ok(Some(_)))
            });
        }
    }
}
