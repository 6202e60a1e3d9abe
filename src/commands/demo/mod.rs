//! `noded-proxy demo`: the main job with throwaway certificates, told line by line.
//!
//! The proxy is the real one, in this process; only noded is a stand-in, and the certificates live
//! in a directory that goes away at the end. Each line says what was tried, what was expected and
//! what came. It never touches Ganeti's files.

mod client;
mod noded;
mod pki;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::commands::admin_client;
use crate::commands::cli::DemoArgs;
use crate::config::{AdminAddress, Config, Guard};
use crate::daemon::server::{Outcome, Server};
use crate::tls::mint::CertifiedKey;
use client::Client;
use pki::Pki;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longest wait for a change of the map to be in force; it takes some 30 ms.
const IN_FORCE: Duration = Duration::from_secs(5);

/// Longest wait for the last file to be written.
const WRITTEN: Duration = Duration::from_secs(5);

/// Runs the demo; exit status 0 when everything came as it was expected.
pub fn main(args: &DemoArgs) -> ExitCode {
    match run(args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            errln!("demo: {wrong} steps did not come as expected");
            ExitCode::FAILURE
        }
        Err(error) => {
            errln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &DemoArgs) -> Result<usize, Failure> {
    let dir = tempfile::Builder::new()
        .prefix("noded-proxy-demo-")
        .tempdir()?;
    let played = play(args, dir.path());
    remove(dir)?;
    played
}

/// Removes the directory with the keys. What still writes there ends soon, and a file that comes
/// meanwhile keeps it.
fn remove(dir: TempDir) -> io::Result<()> {
    let path = dir.keep();
    let until = Instant::now() + WRITTEN;
    loop {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
}

fn play(args: &DemoArgs, dir: &Path) -> Result<usize, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let stage = Stage::set_up(dir, &runtime)?;
    let mut story = Story { stage, wrong: 0 };
    story.tell(dir)?;
    if args.keep {
        story.stage.print_commands(dir);
        runtime.block_on(stopped())?;
        outln!();
    }
    let wrong = story.wrong;
    let _ = story.stage.stop.send(());
    match runtime.block_on(story.stage.proxy)?? {
        Outcome::Drained => outln!("\nSIGTERM   the proxy drained and ended"),
        Outcome::Cut(left) => return Err(format!("{left} connections had to be cut").into()),
    }
    Ok(wrong)
}

/// Until somebody stops it; then the directory with the keys is removed.
async fn stopped() -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = term.recv() => Ok(()),
    }
}

/// Certificates, a stand-in for noded, and the proxy in front of it.
struct Stage {
    pki: Pki,
    nodes: [CertifiedKey; 3],
    public: SocketAddr,
    admin: SocketAddr,
    stop: oneshot::Sender<()>,
    proxy: tokio::task::JoinHandle<Result<Outcome, crate::daemon::server::StartError>>,
}

impl Stage {
    fn set_up(dir: &Path, runtime: &tokio::runtime::Runtime) -> Result<Self, Failure> {
        let pki = Pki::new()?;
        let nodes = [
            pki.client("node1")?,
            pki.client("node2")?,
            pki.client("node3")?,
        ];
        fs::write(dir.join("server.pem"), pki.server().pem()?)?;
        for (node, name) in nodes.iter().zip(["node1", "node2", "node3"]) {
            fs::write(dir.join(format!("{name}.pem")), node.pem()?)?;
        }
        write_map(
            dir,
            &[("uuid-of-node1", &nodes[0]), ("uuid-of-node2", &nodes[1])],
        )?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config {
            listen: vec![any],
            admin: any,
            server_pem: dir.join("server.pem"),
            ssconf_dir: dir.to_owned(),
            state_dir: dir.to_owned(),
            ..Config::default()
        };
        let _guard = runtime.enter();
        config.upstream.address = noded::spawn()?;
        config.upstream.guard = Guard::Off; // it would close a port of this machine
        let server = Server::build(&config)?;
        let (public, admin) = server.addresses();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let proxy = runtime.spawn(server.run(stopped));
        let public = *public.first().ok_or("the proxy does not listen")?;
        let admin = admin.ok_or("the admin listener is not open")?;
        outln!(
            "noded     a stand-in on {}, plain HTTP on loopback",
            config.upstream.address
        );
        outln!("proxy     listens on {public} (mutual TLS), admin on {admin}");
        outln!("map       node1 and node2 are master candidates, node3 is not\n");
        Ok(Self {
            pki,
            nodes,
            public,
            admin,
            stop,
            proxy,
        })
    }

    fn client<'a>(&self, identity: Option<&'a CertifiedKey>) -> Client<'a> {
        Client {
            address: self.public,
            identity,
        }
    }

    fn print_commands(&self, dir: &Path) {
        let (dir, port) = (dir.display(), self.public.port());
        // The certificate that clients are shown has this host's name.
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        outln!("\nStill running; Ctrl-C ends it. To paste:\n");
        for (node, what) in [("node1", "accepted"), ("node3", "refused: not in the map")] {
            outln!(
                "# {what}\ncurl --cacert {dir}/server.pem --cert {dir}/{node}.pem \
                 --connect-to {host}:{port}:127.0.0.1:{port} \
                 -d '[]' https://{host}:{port}/version\n"
            );
        }
        outln!(
            "curl http://{}/status\ncurl http://{}/metrics",
            self.admin,
            self.admin
        );
        outln!("noded-proxy status --admin {}", self.admin);
    }
}

/// The steps, and how many of them came out wrong.
struct Story {
    stage: Stage,
    wrong: usize,
}

impl Story {
    fn tell(&mut self, dir: &Path) -> Result<(), Failure> {
        self.accepted_and_refused();
        self.demoted_while_connected(dir)?;
        self.renewed(dir)?;
        self.torn_map(dir)?;
        self.numbers()
    }

    /// One line of the story; `good` is whether it came as expected.
    fn line(&mut self, good: bool, who: &str, what: &str) {
        self.wrong += usize::from(!good);
        outln!("{} {who:<9} {what}", if good { "ok  " } else { "WRONG" });
    }

    fn expect_answer(&mut self, who: &str, identity: &CertifiedKey) {
        match self.stage.client(Some(identity)).call("version") {
            Ok(answer) => self.line(
                answer.starts_with("200 [true"),
                who,
                &format!("POST /version: {answer}"),
            ),
            Err(why) => self.line(false, who, &format!("POST /version: refused: {why}")),
        }
    }

    fn expect_refusal(&mut self, who: &str, identity: Option<&CertifiedKey>, what: &str) {
        match self.stage.client(identity).call("version") {
            Ok(answer) => self.line(false, who, &format!("{what}: answered: {answer}")),
            Err(why) => self.line(true, who, &format!("{what}: refused: {why}")),
        }
    }

    fn accepted_and_refused(&mut self) {
        let [node1, node2, node3] = self.stage.nodes.clone();
        let server = self.stage.pki.server().clone();
        self.expect_answer("node1", &node1);
        self.expect_answer("node2", &node2);
        self.expect_refusal(
            "node3",
            Some(&node3),
            "its own valid certificate, not in the map",
        );
        self.expect_refusal("nobody", None, "no certificate");
        self.expect_refusal(
            "any node",
            Some(&server),
            "the certificate that every node holds",
        );
        let answer = self.stage.client(Some(&node1)).call("no_such_procedure");
        let good = answer
            .as_ref()
            .is_ok_and(|text| text.starts_with("502 [false"));
        self.line(
            good,
            "node1",
            &format!("noded hangs up: {}", answer.unwrap_or_else(|e| e)),
        );
    }

    fn demoted_while_connected(&mut self, dir: &Path) -> Result<(), Failure> {
        let [node1, node2, _] = self.stage.nodes.clone();
        let mut open = self.stage.client(Some(&node2)).connect()?;
        let first = open.call("version")?;
        self.line(
            first.starts_with("200"),
            "node2",
            "holds a connection open, and is demoted now",
        );
        write_map(dir, &[("uuid-of-node1", &node1)])?;
        let begun = Instant::now();
        let closed = open.closed_within(IN_FORCE);
        let after = format!(
            "its open connection was closed after {} ms",
            begun.elapsed().as_millis()
        );
        self.line(closed, "node2", &after);
        self.expect_refusal("node2", Some(&node2), "a new connection");
        self.expect_answer("node1", &node1);
        Ok(())
    }

    fn renewed(&mut self, dir: &Path) -> Result<(), Failure> {
        let [node1, node2, _] = self.stage.nodes.clone();
        let renewed = self.stage.pki.client("node2")?;
        write_map(
            dir,
            &[("uuid-of-node1", &node1), ("uuid-of-node2", &renewed)],
        )?;
        let end = Instant::now() + IN_FORCE;
        while self.stage.client(Some(&renewed)).call("version").is_err() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        self.expect_answer("node2", &renewed);
        self.expect_refusal(
            "node2",
            Some(&node2),
            "its certificate from before the renewal",
        );
        Ok(())
    }

    fn torn_map(&mut self, dir: &Path) -> Result<(), Failure> {
        let node1 = self.stage.nodes[0].clone();
        let server = self.stage.pki.server().clone();
        fs::write(dir.join(MAP), b"uuid-of-node1=AA:BB:CC")?;
        let stale = self.comes("noded_proxy_candidate_map_stale 1")?;
        self.line(
            stale,
            "map",
            "cut short in the middle of a line: the last good one stays in force",
        );
        self.expect_answer("node1", &node1);
        fs::write(dir.join(MAP), b"")?;
        let noticed = self.comes("noded_proxy_candidate_map_state{state=\"empty\"} 1")?;
        self.line(noticed, "map", "emptied: the last good one stays in force");
        self.expect_refusal(
            "any node",
            Some(&server),
            "map emptied, server.pem's certificate",
        );
        write_map(dir, &[("uuid-of-node1", &node1)])
    }

    /// Whether a metric has this value before its time is over.
    fn comes(&self, metric: &str) -> Result<bool, Failure> {
        let end = Instant::now() + IN_FORCE;
        while !self.metrics()?.contains(metric) {
            if Instant::now() >= end {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }

    fn metrics(&self) -> Result<String, Failure> {
        Ok(admin_client::get(
            &AdminAddress::Tcp(self.stage.admin),
            "/".as_ref(),
            "/metrics",
        )?
        .text()
        .to_owned())
    }

    fn numbers(&mut self) -> Result<(), Failure> {
        outln!("\n/metrics, what has happened so far:\n");
        let shown = [
            "rejected_connections_total",
            "rpcs_total",
            "upstream_errors_total",
            "candidate_map",
            "reload",
        ];
        for line in self.metrics()?.lines() {
            let ours = shown
                .iter()
                .any(|name| line.starts_with(&format!("noded_proxy_{name}")));
            if ours && !line.ends_with(" 0") {
                outln!("  {line}");
            }
        }
        Ok(())
    }
}

const MAP: &str = "ssconf_master_candidates_certs";

/// Writes the candidate map as noded does: a temporary file, then a rename.
fn write_map(dir: &Path, candidates: &[(&str, &CertifiedKey)]) -> Result<(), Failure> {
    let mut text = String::new();
    for (key, identity) in candidates {
        text += &format!("{key}={}\n", identity.digest()?);
    }
    let new = dir.join(format!("{MAP}.new"));
    fs::write(&new, text)?;
    Ok(fs::rename(new, dir.join(MAP))?)
}
