//! The proxy under test: the real program, in a directory of its own, on ports of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Response, try_read_response};
use super::pki::{Identity, Pki, map_text};
use super::stub::{Reading, StubNoded};
use super::{PATIENCE, is_so_in_time, wait_until};

/// A proxy to be started.
pub(crate) struct Builder {
    server_pem: Option<String>,
    map: Option<String>,
    upstream: Option<SocketAddr>,
    config: String,
    args: Vec<String>,
    wrapper: Vec<String>,
    stdin: Option<TcpListener>,
    ports_in_file: bool,
    own_program: bool,
}

/// A running proxy. It is killed when this is dropped; if the test failed, its log is printed.
pub(crate) struct Proxy {
    dir: TempDir,
    command: Vec<String>,
    stdin: Option<TcpListener>,
    runs: usize,
    child: Child,
    /// Processes of earlier runs, which may still serve.
    earlier: Vec<Child>,
    admin: SocketAddr,
    /// Where nobody said who is upstream.
    _noded: StubNoded,
}

impl Proxy {
    /// A proxy with this cluster's `server.pem`, no candidate map, and a noded that closes each
    /// connection.
    pub(crate) fn with(pki: &Pki) -> Builder {
        Builder {
            server_pem: Some(pki.server_pem()),
            map: None,
            upstream: None,
            config: String::new(),
            args: Vec::new(),
            wrapper: Vec::new(),
            stdin: None,
            ports_in_file: false,
            own_program: false,
        }
    }
}

impl Builder {
    /// The candidate map: keys and the certificates listed under them.
    pub(crate) fn candidates(mut self, candidates: &[(&str, &Identity)]) -> Self {
        self.map = Some(map_text(candidates));
        self
    }

    /// The candidate map, as text.
    pub(crate) fn map_text(mut self, text: &str) -> Self {
        self.map = Some(text.into());
        self
    }

    /// Where noded is.
    pub(crate) fn upstream(mut self, address: SocketAddr) -> Self {
        self.upstream = Some(address);
        self
    }

    /// Lines of the configuration file. It may be said more than once.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config += toml;
        self.config.push('\n');
        self
    }

    /// Lines of the configuration file that say where it listens, in place of flags.
    pub(crate) fn ports_in_file(mut self, toml: &str) -> Self {
        self.ports_in_file = true;
        self.config = format!("{toml}\n{}", self.config);
        self
    }

    /// Started from a copy of the program in its directory, [`Proxy::program`].
    pub(crate) fn own_program(mut self) -> Self {
        self.own_program = true;
        self
    }

    /// A further argument of `noded-proxy run`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The node is in no cluster yet.
    pub(crate) fn no_server_pem(mut self) -> Self {
        self.server_pem = None;
        self
    }

    /// Another cluster's `server.pem`.
    pub(crate) fn server_pem(mut self, pem: &str) -> Self {
        self.server_pem = Some(pem.into());
        self
    }

    /// Started through another program, which must become it in the end.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().copied().map(String::from).collect();
        self
    }

    /// Started with a listening socket that somebody else holds (systemd.socket(5)).
    pub(crate) fn inheriting(mut self, listener: &TcpListener) -> Self {
        let script = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3<&0 </dev/null";
        self.stdin = Some(listener.try_clone().unwrap());
        self.through(&["sh", "-c", script, "sh"])
    }

    /// Root without its power to read every file, as a service with an ordinary user is.
    pub(crate) fn unprivileged(mut self) -> Self {
        if rustix::process::geteuid().is_root() {
            let drop = "--bounding-set=-dac_override,-dac_read_search";
            self.wrapper = ["setpriv", drop, "--inh-caps=-all"]
                .map(String::from)
                .into();
        }
        self
    }

    /// A command that runs the proxy's: `prlimit`, `setpriv`.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper
            .extend(wrapper.iter().map(|word| (*word).into()));
        self
    }

    /// Starts it and waits until it listens (or says that it waits for `server.pem`).
    pub(crate) fn start(self) -> Proxy {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("ganeti")).unwrap();
        fs::create_dir(root.join("state")).unwrap();
        if let Some(pem) = &self.server_pem {
            fs::write(root.join("ganeti/server.pem"), pem).unwrap();
        }
        if let Some(map) = &self.map {
            fs::write(root.join("ganeti").join(MAP), map).unwrap();
        }
        fs::write(root.join("config.toml"), &self.config).unwrap();
        let path = |name: &str| root.join(name).display().to_string();
        let noded = StubNoded::reading(Reading::Nothing, |_| {});
        let upstream = self.upstream.unwrap_or_else(|| noded.address());
        let flags = [
            ("--config", path("config.toml")),
            ("--listen", "127.0.0.1:0".into()),
            ("--admin", "127.0.0.1:0".into()),
            ("--upstream", upstream.to_string()),
            ("--server-pem", path("ganeti/server.pem")),
            ("--ssconf-dir", path("ganeti")),
            ("--state-dir", path("state")),
            ("--log-format", "json".into()),
        ];
        let mut command = self.wrapper;
        let mut program = PROGRAM.to_owned();
        if self.own_program {
            program = path("noded-proxy");
            fs::copy(PROGRAM, &program).unwrap();
        }
        command.extend([program, "run".into()]);
        let asked = flags
            .into_iter()
            .filter(|(flag, _)| !(self.ports_in_file && ["--listen", "--admin"].contains(flag)));
        command.extend(asked.flat_map(|(flag, value)| [flag.into(), value]));
        if !self.args.iter().any(|arg| arg == "--guard") {
            command.extend(["--guard", "off"].map(String::from));
        }
        command.extend(self.args);
        let child = spawn(&command, self.stdin.as_ref(), root, 1);
        let admin = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Proxy {
            dir,
            command,
            stdin: self.stdin,
            runs: 1,
            child,
            earlier: Vec::new(),
            admin,
            _noded: noded,
        };
        proxy.wait_for_start();
        proxy
    }
}

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

/// The candidate map's name in the ssconf directory.
const MAP: &str = "ssconf_master_candidates_certs";

fn spawn(command: &[String], stdin: Option<&TcpListener>, root: &Path, run: usize) -> Child {
    let log = File::create(root.join(format!("log-{run}"))).unwrap();
    let stdin = stdin.map_or_else(Stdio::null, |l| {
        OwnedFd::from(l.try_clone().unwrap()).into()
    });
    let mut process = Command::new(&command[0]);
    process
        .args(&command[1..])
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(log);
    process.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
    process.spawn().unwrap()
}

impl Proxy {
    fn wait_for_start(&mut self) {
        wait_until("the proxy starts", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the proxy ended at its start: {status}\n{}", self.log());
            }
            self.address_in_log("admin listener open").is_some()
                && (self.logged("listening")
                    || self.log().contains("waiting for server.pem")
                    || self.log().contains("cannot listen there"))
        });
        self.admin = self.address_in_log("admin listener open").unwrap();
    }

    /// The last address that was logged with this message.
    fn address_in_log(&self, message: &str) -> Option<SocketAddr> {
        let lines = self.log_lines();
        let line = lines.iter().rev().find(|line| line["message"] == message)?;
        line["address"].as_str()?.parse().ok()
    }

    /// The public listener's address; the last one if it was opened again. The log may tell it a
    /// moment after `/healthz` says that it is open.
    pub(crate) fn addr(&self) -> SocketAddr {
        let address = || self.address_in_log("listening");
        wait_until("the public listener is open", || address().is_some());
        address().unwrap()
    }

    /// The admin listener's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The main process.
    pub(crate) fn pid(&self) -> Pid {
        let last = self.successors().pop();
        last.unwrap_or_else(|| Pid::from_child(&self.child))
    }

    /// The directory of this proxy: `ganeti`, `state` and its log.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The candidate map.
    pub(crate) fn map_path(&self) -> PathBuf {
        self.dir().join("ganeti").join(MAP)
    }

    /// `server.pem`.
    pub(crate) fn server_pem_path(&self) -> PathBuf {
        self.dir().join("ganeti/server.pem")
    }

    /// The file in which the last good map is kept.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.dir().join("state/last-good-map")
    }

    /// Writes the candidate map as noded does: a temporary file renamed over the old one.
    pub(crate) fn write_map(&self, candidates: &[(&str, &Identity)]) {
        replace(&self.map_path(), map_text(candidates).as_bytes(), 0o644);
    }

    /// Writes the candidate map as `scp -p` does: in place, with this mode.
    pub(crate) fn write_map_in_place(&self, text: &[u8], mode: u32) {
        overwrite(&self.map_path(), text, mode);
    }

    /// One sample of `/metrics`, named as it stands there: `name` or `name{label="value"}`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let sample = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        match text.lines().find_map(sample) {
            Some(value) => value,
            // These have no samples before the first RPC.
            None if name.starts_with("noded_proxy_rpc") => 0.0,
            None => panic!("no metric {name} in\n{text}"),
        }
    }

    /// Refused connections with this reason.
    pub(crate) fn rejected(&self, reason: &str) -> f64 {
        self.metric(&format!(
            "noded_proxy_rejected_connections_total{{reason=\"{reason}\"}}"
        ))
    }

    /// `/status`.
    pub(crate) fn status(&self) -> Value {
        self.get("/status").json()
    }

    /// `/healthz`: HTTP status and document.
    pub(crate) fn health(&self) -> (u16, Value) {
        let response = self.get("/healthz");
        (response.status, response.json())
    }

    /// GET from the admin listener.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask_admin("GET", path)
    }

    /// Any request to the admin listener.
    pub(crate) fn ask_admin(&self, method: &str, path: &str) -> Response {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        try_read_response(&mut stream).unwrap()
    }

    /// The log of the present run.
    pub(crate) fn log(&self) -> String {
        let mut log = String::new();
        let mut file = File::open(self.dir().join(format!("log-{}", self.runs))).unwrap();
        file.read_to_string(&mut log).unwrap();
        log
    }

    /// The log's complete lines, parsed.
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        let log = self.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.into()));
        whole.lines().map(parse).collect()
    }

    /// Whether a line with this message was logged.
    pub(crate) fn logged(&self, message: &str) -> bool {
        self.log_lines()
            .iter()
            .any(|line| line["message"] == message)
    }

    /// The lines with this message.
    pub(crate) fn lines_with(&self, message: &str) -> Vec<Value> {
        self.log_lines()
            .into_iter()
            .filter(|line| line["message"] == message)
            .collect()
    }

    /// Waits until a condition holds; a failure shows the log.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let in_time = is_so_in_time(|| is_so(self));
        assert!(in_time, "waited in vain: {what}; the log:\n{}", self.log());
    }

    /// Sends SIGHUP and waits until a new process serves, or the old one says why not.
    pub(crate) fn sighup(&self) {
        let tried = || self.status()["handover"]["tried"].as_u64();
        let before = tried();
        self.signal(Signal::HUP);
        wait_until("SIGHUP comes to an end", || tried() > before);
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The processes that took over from it, one after the other.
    fn successors(&self) -> Vec<Pid> {
        let lines = self.lines_with("a new process serves; this one finishes what it has");
        let pids = lines.iter().filter_map(|line| line["pid"].as_i64());
        pids.filter_map(|pid| Pid::from_raw(pid as i32)).collect()
    }

    /// Waits for its end, and that of its successors.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the proxy ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some() && self.successors().into_iter().all(has_ended)
        });
        status.unwrap()
    }

    /// Kills the main process. Those that it replaced go on, and another one is started in the same
    /// directory, on the same ports, as a service manager does it.
    pub(crate) fn crash(&mut self) {
        let (main, public, admin) = (self.pid(), self.addr(), self.admin);
        kill_process(main, Signal::KILL).unwrap();
        wait_until("the main process is dead", || has_ended(main));
        self.start_again(public, admin);
    }

    /// Starts another process in the same directory, on these ports.
    pub(crate) fn start_again(&mut self, public: SocketAddr, admin: SocketAddr) {
        for (flag, value) in [("--listen", public), ("--admin", admin)] {
            let at = self.command.iter().position(|word| word == flag).unwrap();
            self.command[at + 1] = value.to_string();
        }
        self.runs += 1;
        let (command, dir) = (&self.command, self.dir.path());
        let child = spawn(command, self.stdin.as_ref(), dir, self.runs);
        self.earlier.push(std::mem::replace(&mut self.child, child));
        self.wait_for_start();
    }

    /// Whether all processes of earlier runs have ended.
    pub(crate) fn earlier_ended(&mut self) -> bool {
        let mut earlier = self.earlier.iter_mut();
        earlier.all(|child| child.try_wait().unwrap().is_some())
    }

    /// Puts a program in place of its own copy; its own again without one.
    pub(crate) fn install(&self, program: Option<&str>) {
        let path = self.dir().join("noded-proxy");
        let new = path.with_extension("new");
        match program {
            Some(text) => fs::write(&new, text).unwrap(),
            None => fs::copy(PROGRAM, &new).map(drop).unwrap(),
        }
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    /// Takes the right to execute its own copy of the program away.
    pub(crate) fn forbid_to_run(&self) {
        let path = self.dir().join("noded-proxy");
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Looks up where the admin listener is now.
    pub(crate) fn find_admin(&mut self) {
        self.admin = self.address_in_log("admin listener open").unwrap();
    }

    /// Ends it, lets `meanwhile` change the files, and starts it again in the same directory.
    pub(crate) fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.terminate();
        self.wait_exit();
        meanwhile(self);
        self.runs += 1;
        self.child = spawn(
            &self.command,
            self.stdin.as_ref(),
            self.dir.path(),
            self.runs,
        );
        self.wait_for_start();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for pid in self.successors() {
            let _ = kill_process(pid, Signal::KILL);
        }
        for child in self.earlier.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("log of the proxy:\n{}", self.log());
        }
    }
}

/// Whether it is gone, or nobody has asked yet how it ended.
pub(crate) fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// Replaces a file as noded does: a temporary file in the same directory, renamed over it.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) {
    let new = path.with_extension("new");
    let mut file = create(&new, mode);
    file.write_all(content).unwrap();
    drop(file);
    fs::rename(&new, path).unwrap();
}

/// Overwrites a file in place, with a new mode.
pub(crate) fn overwrite(path: &Path, content: &[u8], mode: u32) {
    create(path, mode).write_all(content).unwrap();
    let is = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    if is != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn create(path: &Path, mode: u32) -> File {
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .unwrap()
}
