//! The real node daemon and Ganeti's own RPC client, by way of `tests/lab`.
//!
//! They need root, Debian's ganeti and mount namespaces. Where one is missing the tests say so
//! loudly and pass; with `NODED_PROXY_REQUIRE_LAB=1` they fail.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use serde_json::Value;
use tempfile::TempDir;

use super::pki::Pki;
use super::proxy::{Builder, Proxy};

/// A script of `tests/lab`, or nothing (and a loud word) where the lab cannot run.
pub(crate) fn script(name: &str) -> Option<PathBuf> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    match MISSING.get_or_init(missing) {
        None => Some(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/lab")
                .join(name),
        ),
        Some(why) => {
            let required = std::env::var_os("NODED_PROXY_REQUIRE_LAB").is_some_and(|v| v == "1");
            assert!(!required, "the lab is required and cannot run: {why}");
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            // Not eprintln: that would be captured, and nobody would know.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
            None
        }
    }
}

fn missing() -> Option<String> {
    if !Path::new("/usr/sbin/ganeti-noded").exists() {
        return Some("Ganeti is not installed (tests/lab/setup installs it)".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("the real node daemon needs root".into());
    }
    let namespaces = Command::new("unshare")
        .args(["--mount", "--uts", "true"])
        .output();
    match namespaces {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "no mount namespaces: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// One real noded with certificates and files of its own.
pub(crate) struct Noded {
    state: TempDir,
    env: HashMap<String, String>,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Noded {
    /// Starts one; nothing where the lab cannot run.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let script = script("noded")?;
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(script)
            .args(["run", "--until-eof", "--no-mlock", "--state"])
            .arg(state.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert!(
            ready.starts_with("READY "),
            "noded did not start: {ready:?}"
        );
        let env = fs::read_to_string(state.path().join("lab/env")).unwrap();
        let env = env.lines().filter_map(|line| line.split_once('='));
        let env = env
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let stdin = child.stdin.take();
        Some(Self {
            state,
            env,
            child,
            stdin,
        })
    }

    /// Without TLS, as behind the proxy, with the client certificate in its map. Tests that run at
    /// the same time share it.
    pub(crate) fn plain() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Noded>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(noded) = shared.upgrade() {
            return Some(noded);
        }
        let noded = Arc::new(Self::start(&["--no-ssl", "--map", "client"])?);
        *shared = Arc::downgrade(&noded);
        Some(noded)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        format!("{}:{}", self.env["NODED_BIND"], self.env["NODED_PORT"])
            .parse()
            .unwrap()
    }

    /// A file that noded has under this path.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.state.path().join(path.trim_start_matches('/'))
    }

    /// A file of its own, by the name in `lab/env`.
    pub(crate) fn path(&self, name: &str) -> &Path {
        Path::new(&self.env[name])
    }

    /// Ends the daemon, and not its children: they answer what they have begun.
    pub(crate) fn stop_daemon(&self) {
        let mut stop = Command::new(script("noded").unwrap());
        let done = stop
            .arg("stop")
            .arg("--state")
            .arg(self.state.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(&self.env[name]).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.read("LOG")
    }

    /// The proxy in front of it, with its certificates; noded's client certificate is the one
    /// candidate.
    pub(crate) fn proxy(&self) -> Builder {
        let pem = self.read("CLIENT_PEM");
        let cert = openssl::x509::X509::from_pem(pem.as_bytes()).unwrap();
        let digest = cert.digest(openssl::hash::MessageDigest::sha1()).unwrap();
        let digest: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Proxy::with(&Pki::new())
            .server_pem(&self.read("SERVER_PEM"))
            .map_text(&format!(
                "11111111-2222-4333-8444-555555555555={}\n",
                digest.join(":")
            ))
            .upstream(self.address())
    }

    /// One call by Ganeti's client straight to noded.
    pub(crate) fn direct(&self, options: &[&str], procedure: &str, body: &str) -> Answer {
        self.call(options, procedure, body)
    }

    /// One call by Ganeti's client through the proxy.
    pub(crate) fn through(
        &self,
        proxy: &Proxy,
        options: &[&str],
        procedure: &str,
        body: &str,
    ) -> Answer {
        let port = proxy.addr().port().to_string();
        self.call(&[&["--port", &port], options].concat(), procedure, body)
    }

    /// The same by a client that speaks TLS 1.2 at most.
    pub(crate) fn in_tls_1_2(&self, proxy: &Proxy, procedure: &str, body: &str) -> Answer {
        let priorities = self.file("no-tls-1.3");
        fs::write(&priorities, "[overrides]\ndisabled-version = tls1.3\n").unwrap();
        let port = proxy.addr().port().to_string();
        let mut command = self.client_command(&["--port", &port]);
        command.env("GNUTLS_SYSTEM_PRIORITY_FILE", priorities);
        answer(lines(command, procedure, body))
    }

    fn call(&self, options: &[&str], procedure: &str, body: &str) -> Answer {
        answer(self.client(options, procedure, body))
    }

    /// Ganeti's client; each line that it prints.
    pub(crate) fn client(&self, options: &[&str], procedure: &str, body: &str) -> Vec<Value> {
        lines(self.client_command(options), procedure, body)
    }

    fn client_command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(script("rpc-client").unwrap());
        command
            .args(["--host", "127.0.0.1", "--max-body", "0", "--state"])
            .arg(self.state.path())
            .args(options);
        command
    }
}

/// Each line that this client prints of a call.
fn lines(mut client: Command, procedure: &str, body: &str) -> Vec<Value> {
    let body_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(body_file.path(), body).unwrap();
    client.arg("--body-file").arg(body_file.path());
    let output = client.arg(procedure).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn answer(mut lines: Vec<Value>) -> Answer {
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines.remove(0);
    let text = |key: &str| line[key].as_str().map(str::to_owned);
    Answer {
        status: line["status"].as_u64().unwrap_or(0),
        error: text("error"),
        body: text("body").unwrap_or_default(),
        good: line["ok"] == true,
        fail_msg: text("fail_msg"),
    }
}

impl Drop for Noded {
    fn drop(&mut self) {
        drop(self.stdin.take()); // the script ends noded when its standard input ends
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(
                std::io::stderr(),
                "log of noded:\n{}",
                fs::read_to_string(&self.env["LOG"]).unwrap_or_default()
            );
        }
    }
}

/// What Ganeti's client made of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    /// curl's error.
    pub(crate) error: Option<String>,
    pub(crate) body: String,
    /// Ganeti's verdict.
    pub(crate) good: bool,
    pub(crate) fail_msg: Option<String>,
}
